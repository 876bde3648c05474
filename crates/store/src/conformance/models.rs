//! Models.

use kindling_spec::{ErrorCode, ModelId, TrialId};
use serde_json::json;

use super::{Checked, running_task, trial};
use crate::{FileRecord, Metadata, ModelRecord, TrialRecord, event_kind};

pub(super) fn model(trial: &TrialRecord, rung: u32, now: i64) -> ModelRecord {
    ModelRecord {
        id: ModelId::new(),
        task: trial.task.clone(),
        trial: trial.id.clone(),
        rung,
        value: 0.9,
        test_value: 0.875,
        parameters: 12_345,
        weights_bytes: 50_000,
        macs: 1_000_000,
        ram_bytes: 65_536,
        latency_ms: 0.25,
        card: json!({ "name": "fire or smoke" }),
        files: vec![FileRecord {
            name: "model.onnx".into(),
            bytes: 52_000,
            sha256: "00".repeat(32),
            media_type: "application/octet-stream".into(),
            about: "the network, preprocessing inside".into(),
        }],
        revision: 0,
        created_at: now,
    }
}

pub(super) async fn once_for_each_rung(meta: &dyn Metadata) -> Checked {
    let task = running_task(meta, 1).await?;
    let record = trial(&task.id, 0, 2);
    meta.create_trial(&record).await?;
    let first = model(&record, 0, 3);
    assert!(meta.add_model(&first).await?);
    assert!(!meta.add_model(&first).await?, "the worker died after this and its rung was run again");
    assert!(!meta.add_model(&model(&record, 0, 4)).await?);
    assert_eq!(meta.model(&first.id).await?, first);
    let second = model(&record, 1, 5);
    assert!(meta.add_model(&second).await?);
    assert_eq!(meta.models(&task.id).await?, [first.clone(), second.clone()]);
    assert_eq!(meta.model_ids(&task.id).await?, [first.id.clone(), second.id.clone()]);
    assert_eq!(meta.model(&ModelId::new()).await.map_err(|error| error.code()), Err(ErrorCode::ModelNotFound));
    // Of two that add files to the same model, one does.
    let card = json!({ "name": "fire or smoke", "int8": {} });
    assert!(meta.revise_model(&first.id, 0, &card, &[], 6).await?);
    assert!(!meta.revise_model(&first.id, 0, &json!({}), &first.files, 6).await?);
    let revised = ModelRecord { card, files: Vec::new(), revision: 1, ..first.clone() };
    assert_eq!(meta.model(&first.id).await?, revised);
    assert!(!meta.revise_model(&ModelId::new(), 0, &json!({}), &[], 6).await?);
    let orphan = ModelRecord { trial: TrialId::new(), ..model(&record, 2, 6) };
    assert!(meta.add_model(&orphan).await.is_err());

    // Of two that both found a better one, the second looks again.
    assert!(meta.set_best_model(&task.id, None, &first.id, 6).await?);
    assert!(!meta.set_best_model(&task.id, None, &second.id, 7).await?);
    assert!(meta.set_best_model(&task.id, Some(&first.id), &second.id, 7).await?);
    assert_eq!(meta.task(&task.id).await?.best_model, Some(second.id));
    let events = meta.events_after(&task.id, 0, 100).await?;
    let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((count(event_kind::MODEL), count(event_kind::FILES)), (2, 1));
    Ok(())
}
