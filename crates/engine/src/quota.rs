//! What a project may use: refused before it is used, so that nothing has to be taken back.

use kindling_spec::{Budget, ProjectId};
use kindling_store::{Noun, Quota, Usage};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::blocking;
use crate::{EngineError, Service, clock::now_ms};

/// How long to wait before asking again whether a study has ended.
const STUDY_WAIT: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 86_400_000;

fn used_up(detail: String, retry_after: Option<Duration>) -> EngineError {
    EngineError::Quota { detail, retry_after }
}

/// Refuses studies that a quota does not allow beside what is used.
fn check(quota: &Quota, usage: &Usage, studies: usize, seconds: Option<f64>, now: i64) -> Result<(), EngineError> {
    if let Some(most) = quota.running_studies {
        let open = usage.running_studies as usize;
        if open + studies > most as usize {
            let helps = studies <= most as usize;
            let detail = format!(
                "the project may have {most} studies open at a time and has {open}; {studies} more are too many. Wait until \
                 one is over, or cancel one"
            );
            return Err(used_up(detail, helps.then_some(STUDY_WAIT)));
        }
    }
    let Some(most) = quota.seconds_a_day else { return Ok(()) };
    let Some(seconds) = seconds else {
        let detail = format!("the project may spend {most} seconds of studies a day, so `budget` must say `seconds`");
        return Err(used_up(detail, None));
    };
    let taken = usage.seconds_today + usage.seconds_granted;
    if taken + seconds <= most as f64 {
        return Ok(());
    }
    let helps = seconds <= most as f64;
    let detail = format!(
        "the project may spend {most} seconds of studies a day (UTC); {:.0} are spent or granted today, and {seconds:.0} more \
         are too many. Ask for fewer{}",
        taken,
        if helps { ", or wait until tomorrow" } else { "" }
    );
    let tomorrow = Duration::from_millis(DAY_MS.saturating_sub(now.rem_euclid(DAY_MS)).unsigned_abs());
    Err(used_up(detail, helps.then_some(tomorrow)))
}

/// Bytes of the files in a folder.
fn folder_bytes(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { folder_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

impl Service {
    /// How many more bytes a project may have; `None` where there is no limit.
    ///
    /// # Errors
    /// The store failed.
    pub async fn room(&self, project: &ProjectId) -> Result<Option<u64>, EngineError> {
        let meta = &self.store().meta;
        let Some(most) = meta.project(project).await?.quota.bytes else { return Ok(None) };
        Ok(Some(most.saturating_sub(meta.usage(project, now_ms()).await?.bytes)))
    }

    /// Refuses more bytes than a project has room for.
    ///
    /// # Errors
    /// There is no room ([`EngineError::Quota`]), or the store failed.
    pub async fn check_room(&self, project: &ProjectId, bytes: u64) -> Result<(), EngineError> {
        match self.room(project).await? {
            Some(room) if bytes > room => {
                let detail = format!(
                    "the project has room for {room} bytes more, and this is {bytes}. Delete data sets and drafts that are \
                     not needed, or ask who runs the service for more"
                );
                Err(used_up(detail, None))
            }
            _ => Ok(()),
        }
    }

    /// The same of a folder that is to be kept, in the place of `freed` bytes; it is removed if it may not be.
    pub(crate) async fn check_folder(&self, project: &ProjectId, folder: &Path, freed: u64) -> Result<(), EngineError> {
        // Where there is no limit, nothing needs to be counted.
        if self.room(project).await?.is_none() {
            return Ok(());
        }
        let counted: PathBuf = folder.to_owned();
        let bytes = blocking(move || folder_bytes(&counted).map_err(EngineError::io(counted))).await?;
        let fits = self.check_room(project, bytes.saturating_sub(freed)).await;
        if fits.is_err() {
            tokio::fs::remove_dir_all(folder).await.map_err(EngineError::io(folder))?;
        }
        fits
    }

    /// Notes how many bytes of files a data set or draft has.
    pub(crate) async fn count_files(&self, what: Noun, id: &str, key: &str) -> Result<(), EngineError> {
        let bytes = self.store().files.list(key).await?.iter().map(|file| file.bytes).sum();
        Ok(self.store().meta.set_bytes(what, id, bytes).await?)
    }

    /// Refuses studies with these budgets that a project may not have now.
    pub(crate) async fn check_studies(&self, project: &ProjectId, budgets: &[Budget]) -> Result<(), EngineError> {
        let meta = &self.store().meta;
        let quota = meta.project(project).await?.quota;
        if quota.running_studies.is_none() && quota.seconds_a_day.is_none() {
            return Ok(());
        }
        let now = now_ms();
        let usage = meta.usage(project, now).await?;
        check(&quota, &usage, budgets.len(), budgets.iter().map(|budget| budget.seconds).sum(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waiting_helps_says_how_long() {
        let quota = Quota { bytes: None, running_studies: Some(2), seconds_a_day: Some(1000) };
        let usage = |running_studies, seconds_today, seconds_granted| Usage {
            bytes: 0,
            running_studies,
            seconds_today,
            seconds_granted,
        };
        // Twenty-three hours and a half into a day.
        let now = 20_000 * DAY_MS + 84_600_000;
        let wait = |usage: &Usage, studies, seconds| match check(&quota, usage, studies, seconds, now) {
            Ok(()) => None,
            Err(EngineError::Quota { retry_after, .. }) => Some(retry_after.map(|wait| wait.as_secs())),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(wait(&usage(1, 100.0, 400.0), 1, Some(500.0)), None);
        assert_eq!(wait(&usage(1, 100.0, 400.0), 1, Some(501.0)), Some(Some(1800)));
        assert_eq!(wait(&usage(0, 0.0, 0.0), 1, Some(1001.0)), Some(None), "no day is long enough");
        assert_eq!(wait(&usage(0, 0.0, 0.0), 1, None), Some(None), "without an end there is no saying");
        assert_eq!(wait(&usage(2, 0.0, 0.0), 1, Some(1.0)), Some(Some(60)));
        assert_eq!(wait(&usage(0, 0.0, 0.0), 3, Some(1.0)), Some(None));
        assert!(check(&Quota::default(), &usage(99, 1e9, 1e9), 9, None, now).is_ok());
    }

    #[test]
    fn files_in_folders_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("inner")).unwrap();
        std::fs::write(dir.path().join("a"), [0; 10]).unwrap();
        std::fs::write(dir.path().join("inner/b"), [0; 32]).unwrap();
        assert_eq!(folder_bytes(dir.path()).unwrap(), 42);
    }
}
