//! Backups taken while a store is written to.

#![allow(clippy::unwrap_used)]

use kindling_store::{Store, back_up, conformance, restore};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const NOW: i64 = 1_800_000_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_of_one_moment_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("data")).await.unwrap();
    let task = conformance::running_task(&*store.meta, NOW).await.unwrap();
    let enough = Arc::new(AtomicBool::new(false));
    // Files first, then the record that names them, as the engine writes.
    let writing = tokio::spawn({
        let (store, task, enough) = (store.clone(), task.id.clone(), enough.clone());
        async move {
            let mut number = 0;
            while !enough.load(Ordering::Relaxed) {
                let trial = conformance::trial(&task, number, NOW);
                store.files.put_bytes(&format!("checkpoints/{}", trial.id), vec![7; 10_000]).await.unwrap();
                store.meta.create_trial(&trial).await.unwrap();
                number += 1;
            }
        }
    });
    let archive = dir.path().join("backup.tar");
    while store.meta.all_trials(&task.id).await.unwrap().len() < 20 {
        tokio::task::yield_now().await;
    }
    assert!(back_up(&dir.path().join("data"), &archive).await.unwrap() > 200_000);
    enough.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    let left: Vec<_> = std::fs::read_dir(dir.path().join("data")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("backup")), "{left:?}");

    let again = dir.path().join("again");
    restore(&archive, &again).await.unwrap();
    let restored = Store::open(&again).await.unwrap();
    let trials = restored.meta.all_trials(&task.id).await.unwrap();
    assert!(trials.len() >= 20);
    for trial in &trials {
        assert_eq!(restored.files.size(&format!("checkpoints/{}", trial.id)).await.unwrap(), 10_000);
    }
    assert_eq!(restored.meta.task(&task.id).await.unwrap(), task);

    let occupied = restore(&archive, &again).await.unwrap_err().to_string();
    assert!(occupied.contains("new directory"), "{occupied}");
    let cut = dir.path().join("cut.tar");
    let whole = std::fs::read(&archive).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 3]).unwrap();
    assert!(restore(&cut, &dir.path().join("none")).await.is_err());
    assert!(!dir.path().join("none").exists(), "nothing half restored is left");
    assert!(back_up(&dir.path().join("nothing"), &archive).await.is_err());
}
