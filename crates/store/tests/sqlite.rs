//! The store on SQLite and the local disk.

#![allow(clippy::unwrap_used)]

use kindling_store::{Store, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_contract() {
    let dir = tempfile::tempdir().unwrap();
    conformance::all(&Store::open(dir.path()).await.unwrap()).await.unwrap();
}
