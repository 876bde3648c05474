//! Drives the real `kindling` binary as its users do: over HTTP, from a shell, in a browser.
//!
//! `cargo test --release --workspace` builds the binary beside this test. Of the environment:
//! `KINDLING_TEST_PYTHON` names a Python with onnxruntime, numpy, httpx, pydantic and pytest,
//! `KINDLING_TEST_SCHEMATHESIS` the command schemathesis,
//! `KINDLING_TEST_BROWSER=1` makes a missing Chromium a failure, `KINDLING_TEST_POSTGRES=1` a missing PostgreSQL, `KINDLING_SCREENSHOTS` names a folder to
//! put pictures of the pages in.

// In a test, an error is a failure with its place.
#![allow(clippy::unwrap_used)]

mod analyses;
mod bad_inputs;
mod browser;
mod cancel;
mod command_line;
mod crash;
mod deletions;
mod families;
mod faults;
mod fleet;
mod flow;
mod harness;
mod hostile;
mod kept;
mod keys;
mod labelling;
mod python_client;
mod schemathesis;
mod traces;
