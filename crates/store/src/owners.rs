//! Whose the records are, remembered.

use kindling_spec::ProjectId;
use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::Noun;

/// Ids that are remembered at least, if so many are asked for; at most twice as many.
const KEPT: usize = 10_000;

/// Whose what is. A record's project never changes and no id is given twice, so an answer stays right. Of what was deleted
/// meanwhile, perhaps by another process, it says whose it was; who then looks for the record finds none. Only of kinds whose
/// records are always looked for is anything remembered, and only of what was found.
#[derive(Default)]
pub(crate) struct Owners(Mutex<Generations>);

/// What was asked for lately, and before that.
#[derive(Default)]
struct Generations {
    young: HashMap<String, (Noun, ProjectId)>,
    old: HashMap<String, (Noun, ProjectId)>,
}

/// Whether records of this kind are remembered.
fn stays(what: Noun) -> bool {
    match what {
        Noun::Task | Noun::Fleet | Noun::Trial | Noun::Model | Noun::Key | Noun::Project => true,
        Noun::Dataset
        | Noun::Draft
        | Noun::DraftExample
        | Noun::Upload
        | Noun::Webhook
        | Noun::Analysis
        | Noun::File => false,
    }
}

impl Owners {
    pub(crate) fn get(&self, what: Noun, id: &str) -> Option<ProjectId> {
        let mut kept = self.lock();
        if let Some((noun, project)) = kept.young.get(id) {
            return (*noun == what).then(|| project.clone());
        }
        let (noun, project) = kept.old.remove(id)?;
        let found = (noun == what).then(|| project.clone());
        kept.put(id.to_owned(), (noun, project));
        found
    }

    pub(crate) fn put(&self, what: Noun, id: &str, project: &ProjectId) {
        if stays(what) {
            self.lock().put(id.to_owned(), (what, project.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        // A panic while the lock is held leaves a sound value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn put(&mut self, id: String, owner: (Noun, ProjectId)) {
        self.young.insert(id, owner);
        if self.young.len() >= KEPT {
            self.old = mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kindling_spec::{DatasetId, TaskId};

    #[test]
    fn what_stays_is_remembered_by_its_kind() {
        let (owners, project) = (Owners::default(), ProjectId::new());
        let (task, dataset) = (TaskId::new(), DatasetId::new());
        owners.put(Noun::Task, task.as_str(), &project);
        owners.put(Noun::Dataset, dataset.as_str(), &project);
        assert_eq!(owners.get(Noun::Task, task.as_str()), Some(project));
        assert_eq!(owners.get(Noun::Trial, task.as_str()), None);
        assert_eq!(owners.get(Noun::Dataset, dataset.as_str()), None);
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_bounded() {
        let (owners, project) = (Owners::default(), ProjectId::new());
        let often = TaskId::new();
        owners.put(Noun::Task, often.as_str(), &project);
        let first = TaskId::new();
        owners.put(Noun::Task, first.as_str(), &project);
        for number in 0..5 * KEPT {
            owners.put(Noun::Task, &format!("task {number}"), &project);
            if number % 1000 == 0 {
                assert_eq!(owners.get(Noun::Task, often.as_str()).as_ref(), Some(&project), "{number}");
            }
        }
        assert_eq!(owners.get(Noun::Task, first.as_str()), None);
        let kept = owners.lock();
        assert!(kept.young.len() + kept.old.len() <= 2 * KEPT);
    }
}
