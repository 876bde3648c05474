//! The server over its own service calls: no socket, no worker.

#![allow(clippy::unwrap_used)]

mod api;
mod datasets;
mod fixture;
mod fleets;
mod models;
mod pages;
mod tasks;
