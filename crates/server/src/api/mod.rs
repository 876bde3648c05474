//! The endpoints under `/v1` and the probes.

pub(crate) mod advice;
pub(crate) mod bundle;
pub(crate) mod datasets;
pub(crate) mod doubts;
pub(crate) mod drafts;
pub(crate) mod events;
pub(crate) mod fleets;
pub(crate) mod health;
pub(crate) mod models;
pub(crate) mod predict;
pub(crate) mod service;
pub(crate) mod tasks;
pub(crate) mod upload;
pub(crate) mod uploads;
pub(crate) mod webhooks;

/// What most handlers answer with.
pub(crate) type Answered = Result<axum::response::Response, crate::Problem>;
