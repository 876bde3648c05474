//! The server over its own service calls: no socket, no worker.

#![allow(clippy::unwrap_used)]

mod access;
mod advice;
mod api;
mod boxes;
mod datasets;
mod doubts;
mod drafts;
mod fixture;
mod fleets;
mod matrix;
mod models;
mod pages;
mod quotas;
mod service;
mod tasks;
mod uploads;
mod webhooks;
