//! Fleets.

use kindling_spec::{DatasetState, ErrorCode, FleetId, FleetSpec, ProjectId, TaskState};
use serde_json::json;

use super::{Checked, dataset, task};
use crate::{DatasetRecord, FleetMember, FleetRecord, Metadata, StoreError, TaskRecord};

pub(super) fn fleet(tasks: &[TaskRecord]) -> Result<FleetRecord, StoreError> {
    let spec: FleetSpec = serde_json::from_value(json!({
        "version": 1, "name": "watch", "kind": "image-classification", "dataset": tasks[0].dataset,
        "budget": { "seconds": 60.0 },
    }))?;
    let classes = [None, Some("fire".to_owned()), Some("smoke".to_owned())];
    let members = tasks.iter().zip(classes).map(|(task, class)| FleetMember { task: task.id.clone(), class });
    Ok(FleetRecord {
        id: FleetId::new(),
        project: ProjectId::local(),
        spec,
        dataset: tasks[0].dataset.clone(),
        members: members.collect(),
        created_at: 7,
    })
}

pub(super) async fn in_turn(meta: &dyn Metadata) -> Checked {
    let data = DatasetRecord { state: DatasetState::Ready, ..dataset(1) };
    let tasks = [task(&data.id, 2)?, task(&data.id, 2)?, task(&data.id, 2)?];
    let record = fleet(&tasks)?;
    let unknown = meta.create_fleet(&record, &tasks).await.map_err(|error| error.code());
    assert_eq!(unknown, Err(ErrorCode::DatasetNotFound));
    meta.create_dataset(&data).await?;
    // A member whose task is not given: nothing of the fleet is kept.
    assert!(meta.create_fleet(&record, &tasks[..2]).await.is_err());
    assert_eq!(meta.task(&tasks[0].id).await.map_err(|error| error.code()), Err(ErrorCode::TaskNotFound));
    meta.create_fleet(&record, &tasks).await?;
    assert!(matches!(meta.create_fleet(&record, &[]).await, Err(StoreError::Exists { .. })));
    assert_eq!(meta.fleet(&record.id).await?, record);
    assert_eq!(meta.fleet(&FleetId::new()).await.map_err(|error| error.code()), Err(ErrorCode::FleetNotFound));
    assert_eq!(meta.task(&tasks[2].id).await?, tasks[2]);
    assert_eq!(meta.fleets(None, None, 1).await?, std::slice::from_ref(&record));
    assert!(meta.fleets(None, Some(&record.id), 100).await?.iter().all(|older| older.id < record.id));

    let held = || async {
        let held = meta.held_tasks().await?;
        Ok::<_, StoreError>(tasks.each_ref().map(|task| held.contains(&task.id)))
    };
    assert_eq!(held().await?, [false, true, true]);
    let (queued, running) = ([TaskState::Queued], [TaskState::Running]);
    assert!(meta.update_task_state(&tasks[0].id, &queued, TaskState::Running, None, 8).await?);
    assert_eq!(held().await?, [false, true, true]);
    assert!(meta.update_task_state(&tasks[0].id, &running, TaskState::Failed, Some("x"), 9).await?);
    assert_eq!(held().await?, [false, false, true]);
    // What runs already is not held when an earlier one is resumed.
    assert!(meta.update_task_state(&tasks[1].id, &queued, TaskState::Running, None, 10).await?);
    assert!(meta.update_task_state(&tasks[0].id, &[TaskState::Failed], TaskState::Running, None, 11).await?);
    assert_eq!(held().await?, [false, false, true]);
    for id in [&tasks[0].id, &tasks[1].id] {
        assert!(meta.update_task_state(id, &running, TaskState::Cancelled, None, 12).await?);
    }
    assert_eq!(held().await?, [false, false, false]);
    Ok(())
}
