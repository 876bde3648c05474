//! What who runs the service is told of it, and what is to be cleared away.

use kindling_spec::ProjectId;
use serde::Serialize;

use crate::Noun;

/// Upper bounds of the seconds that rungs are counted by; those that took longer are in one bucket more.
pub const RUNG_BOUNDS: [f64; 12] = [0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];

/// The bucket of a rung that took so long.
pub(crate) fn bucket(seconds: f64) -> usize {
    RUNG_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(RUNG_BOUNDS.len())
}

/// The rungs of one number that were ever done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RungFigures {
    /// How many there were, by the bucket of how long each took.
    pub counts: [u64; RUNG_BOUNDS.len() + 1],
    /// The seconds of all.
    pub seconds: f64,
    /// The images a second of each, added up.
    pub speeds: f64,
}

/// What a project has stored, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredBytes {
    /// The project.
    pub project: ProjectId,
    /// Its name.
    pub name: String,
    /// Of its sealed data sets.
    pub datasets: u64,
    /// Of its draft data sets.
    pub drafts: u64,
    /// Of uploads that are not complete.
    pub uploads: u64,
    /// Of its models.
    pub models: u64,
}

/// A duty and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DutyRecord {
    /// The duty.
    pub duty: String,
    /// Who has it, or last had it.
    pub holder: String,
    /// Until when, if it is not renewed.
    pub until: i64,
}

/// Something whose record is gone and whose files may still be there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Removal {
    /// What it was: a data set, draft, upload, task, trial (of which only the checkpoints go), model or analysis.
    pub what: Noun,
    /// Its id; of a trial `TASK/TRIAL`.
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_bucket() {
        assert_eq!([0.0, 0.5, 0.51, 2500.0, 2501.0].map(bucket), [0, 0, 1, 11, 12]);
    }
}
