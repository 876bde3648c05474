//! The server over its own service calls: no socket, no worker.

#![allow(clippy::unwrap_used)]

mod advice;
mod api;
mod boxes;
mod datasets;
mod doubts;
mod drafts;
mod fixture;
mod fleets;
mod models;
mod pages;
mod tasks;
mod uploads;
mod webhooks;
