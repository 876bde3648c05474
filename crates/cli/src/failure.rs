//! What a person is told when something does not work, and the exit code a program is told.

use kindling_data::DataError;
use kindling_engine::EngineError;
use kindling_spec::{ErrorCode, SpecError};
use std::fmt;
use std::path::Path;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something of ours or of the machine failed.
    Failed = 1,
    /// The command line is wrong; clap uses the same number.
    Usage = 2,
    /// A data set, specification, image or model file was refused.
    Refused = 3,
    /// The search ended without a model.
    NoModel = 4,
    /// A download failed, or is not what the recipe says.
    Download = 5,
    /// The address or the data directory is in use, or the service cannot be reached.
    Unavailable = 6,
    /// Stopped by a signal before the work was done.
    Interrupted = 130,
}

/// The table shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    something of Kindling's or of the machine failed
  2    the command line is wrong
  3    the data set, task specification, image or model file was refused
  4    the search ended without a model within the budget and limits
  5    a download failed, or is not what its recipe says
  6    the address or data directory is in use, or the service cannot be reached
  130  interrupted";

/// An error as a person reads it: what, where, and how to mend it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    what: String,
    place: Option<String>,
    mend: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), place: None, mend: None }
    }

    /// A failed read or write: `map_err(Failure::io(path, "cannot be read"))`.
    pub(crate) fn io(path: &Path, what: &str) -> impl FnOnce(std::io::Error) -> Self {
        let (place, what) = (path.display().to_string(), what.to_owned());
        move |error| Self::new(Exit::Failed, format!("{what}: {error}")).at(place)
    }

    /// Where it happened.
    pub(crate) fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// What the person can do.
    pub(crate) fn mend(mut self, how: impl Into<String>) -> Self {
        self.mend = Some(how.into());
        self
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what.replace('\n', "\n       "))?;
        if let Some(place) = &self.place {
            write!(f, "\nwhere: {place}")?;
        }
        if let Some(mend) = &self.mend {
            write!(f, "\nmend:  {mend}")?;
        }
        Ok(())
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Cancelled => Self::interrupted(),
            error => Self::new(exit_of(error.code()), error.to_string()),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Data(error) => error.into(),
            EngineError::Spec(error) => error.into(),
            error => Self::new(exit_of(error.code()), error.to_string()),
        }
    }
}

impl From<SpecError> for Failure {
    fn from(error: SpecError) -> Self {
        Self::new(Exit::Refused, format!("the task specification breaks rules:\n{error}"))
            .mend("`kindling schema` prints the schema")
    }
}

/// Which exit code an error code belongs to.
pub(crate) fn exit_of(code: ErrorCode) -> Exit {
    match code {
        ErrorCode::Internal | ErrorCode::StorageFull | ErrorCode::Unavailable => Exit::Failed,
        _ => Exit::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_where_and_how_to_mend_it() {
        let failure = Failure::new(Exit::Refused, "no").at("a/b").mend("do this");
        assert_eq!(failure.to_string(), "error: no\nwhere: a/b\nmend:  do this");
    }

    #[test]
    fn every_exit_code_is_in_the_table() {
        use Exit::{Download, Failed, Interrupted, NoModel, Refused, Unavailable, Usage};
        for exit in [Failed, Usage, Refused, NoModel, Download, Unavailable, Interrupted] {
            assert!(EXIT_CODES.contains(&format!("\n  {} ", exit as u8)), "{exit:?}");
        }
    }
}
