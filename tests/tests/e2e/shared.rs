//! The tests of whatever is kept once more, with PostgreSQL and S3 in place of a directory, and those of several machines.
//! What differs is in `harness::storage`.

// In a test, an error is a failure with its place; what only the other binary uses is no matter here.
#![allow(clippy::unwrap_used, dead_code)]

mod analyses;
mod cancel;
mod chaos;
mod crash;
mod deletions;
mod fleet;
mod flow;
mod harness;
mod kept;
mod machines;
mod outages;
