//! What is kept of projects, keys, uploads in parts and webhooks. Times are Unix milliseconds.

use kindling_spec::{DatasetId, KeyId, ProjectId, Scope, UploadId, WebhookId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A project: whose keys see its data sets, tasks and models and no other's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectRecord {
    /// Its id.
    pub id: ProjectId,
    /// A name for people; no two projects have the same.
    pub name: String,
    /// What it may use.
    pub quota: Quota,
    /// When it was made.
    pub created_at: i64,
}

/// What a project may use; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Bytes of data sets, drafts, uploads and models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Studies queued or running at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_studies: Option<u32>,
    /// Seconds of studies in a day (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_a_day: Option<u64>,
}

/// What a project uses now.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Bytes of data sets, drafts, uploads and models.
    pub bytes: u64,
    /// Studies queued or running.
    pub running_studies: u32,
    /// Seconds that studies have spent today.
    pub seconds_today: f64,
    /// Seconds that the studies queued and running may still spend.
    pub seconds_granted: f64,
}

/// An access key. What its holder has is not kept, only a hash of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// A name for people.
    pub name: String,
    /// The project it is of.
    pub project: ProjectId,
    /// What it may do.
    pub scope: Scope,
    /// SHA-256 of its secret, hexadecimal.
    pub hash: String,
    /// When it was made.
    pub created_at: i64,
    /// From when on it is not valid.
    pub expires_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// An archive that arrives in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRecord {
    /// Its id.
    pub id: UploadId,
    /// The data set whose content it will be.
    pub dataset: DatasetId,
    /// Bytes in all.
    pub bytes: u64,
    /// Bytes of each part but the last.
    pub part_bytes: u64,
    /// The parts that are here, by number.
    pub parts: Vec<PartRecord>,
    /// When it was begun.
    pub created_at: i64,
}

/// A part of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Its number, from 0.
    pub number: u32,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
}

/// An address that is told of a project's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRecord {
    /// Its id.
    pub id: WebhookId,
    /// The project whose events it is told of.
    pub project: ProjectId,
    /// Where they are posted.
    pub url: String,
    /// What they are signed with.
    pub secret: String,
    /// When it was made.
    pub created_at: i64,
}

/// An event on its way to a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryRecord {
    /// Its id: the same at each try, so that the receiver can tell a repeated one.
    pub id: i64,
    /// Where it goes.
    pub webhook: WebhookRecord,
    /// The event.
    pub event: crate::Event,
    /// Tries that failed.
    pub failures: u32,
}

/// What came of trying to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It arrived.
    Yes,
    /// Not yet: it is tried again at this time.
    Later {
        /// When.
        at: i64,
        /// What went wrong.
        reason: String,
    },
    /// It is given up.
    Never {
        /// What went wrong.
        reason: String,
    },
}

/// A webhook's last deliveries, for people to see why nothing arrives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeliveryState {
    /// Its id.
    pub id: i64,
    /// The event's kind.
    pub kind: String,
    /// What happened.
    pub data: Value,
    /// Tries that failed.
    pub failures: u32,
    /// `waiting`, `delivered` or `given_up`.
    pub state: String,
    /// What last went wrong.
    pub reason: Option<String>,
    /// When the event was.
    pub at: i64,
}
