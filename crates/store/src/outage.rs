//! Faults of what everything is kept in, told from faults of what was asked.

use kindling_spec::ErrorCode;
use object_store::Error as FilesError;
use std::error::Error;
use std::io::ErrorKind;

/// Why the same call may succeed later with nothing else changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// A disk has no room left, this machine's or the database's.
    Full,
    /// The database or the object store cannot be reached, or has too much to do.
    Away,
}

impl Outage {
    /// The stable code to tell a client.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Full => ErrorCode::StorageFull,
            Self::Away => ErrorCode::Unavailable,
        }
    }

    /// What a client is told; the error itself is for the log.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Full => {
                "the service has no room left to keep this; whoever runs it can make room, then send it again"
            }
            Self::Away => "what the service keeps is out of reach; try again in a moment",
        }
    }

    /// What the error comes from, however deep, if that is an outage.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let found =
            std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source()).filter_map(one);
        // What is deeper says it better: an object store's failure may be its disk's.
        found.reduce(|outer, inner| if inner == Self::Full { inner } else { outer })
    }
}

fn one(error: &(dyn Error + 'static)) -> Option<Outage> {
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        return full.then_some(Outage::Full);
    }
    if let Some(error) = error.downcast_ref::<sqlx::Error>() {
        return of_database(error);
    }
    let away = matches!(
        error.downcast_ref::<FilesError>()?,
        FilesError::Generic { .. } | FilesError::Unauthenticated { .. } | FilesError::PermissionDenied { .. }
    );
    away.then_some(Outage::Away)
}

fn of_database(error: &sqlx::Error) -> Option<Outage> {
    use sqlx::Error as E;
    match error {
        // PostgreSQL is away, or this process' connection to it was.
        E::PoolTimedOut | E::Io(_) | E::PoolClosed | E::WorkerCrashed => Some(Outage::Away),
        E::Database(error) => {
            let code = error.code().unwrap_or_default();
            if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                return match code.as_ref() {
                    "53100" => Some(Outage::Full),
                    "55P03" | "25P03" => Some(Outage::Away),
                    // Connection exceptions, deadlocks and the like, too many connections, ended by an operator,
                    // lock not available, statement timeout.
                    code => matches!(code.get(..2), Some("08" | "40" | "53" | "57")).then_some(Outage::Away),
                };
            }
            match code.parse::<i32>().ok()? & 0xff {
                // SQLITE_BUSY and SQLITE_LOCKED with any of their extensions.
                5 | 6 => Some(Outage::Away),
                // SQLITE_FULL; SQLITE_IOERR is what a full disk gives to files that are mapped.
                10 | 13 => Some(Outage::Full),
                _ => None,
            }
        }
        _ => None,
    }
}
