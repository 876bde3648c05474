//! Fleets: one small model a class beside one model for all of them, grown from the same decoded data.
//!
//! A fleet is its tasks: each has a study of its own, and the scheduler starts one when those before it are over.

mod bundle;
mod compare;
mod report;

use kindling_spec::{Budget, ErrorCode, FleetId, FleetSpec, ProjectId, TaskId, TaskState};
use kindling_store::{FleetMember, FleetRecord};
use serde::Serialize;
use serde_json::Value;

use crate::{EngineError, Progress, Service, clock::now_ms};

pub use bundle::{FleetContent, FleetFile};
pub use report::{FleetComparison, FleetCost, FleetDifference, FleetReport, FleetSide};

/// How a fleet stands.
#[derive(Debug, Clone, Serialize)]
pub struct FleetStatus {
    /// Where it stands as a whole: running from its first task's start to its last one's end, then failed if one of
    /// them failed.
    pub state: TaskState,
    /// Why it ended as it did.
    pub reason: Option<String>,
    /// How each task stands, in the order they run.
    pub members: Vec<MemberStatus>,
}

/// How a task of a fleet stands.
#[derive(Debug, Clone, Serialize)]
pub struct MemberStatus {
    /// The class that it finds; none for the single model.
    pub class: Option<String>,
    /// The task.
    pub task: TaskId,
    /// How its study stands.
    pub progress: Progress,
}

impl Service {
    /// Posts a fleet: all its tasks or, if one of them cannot be done, none.
    ///
    /// # Errors
    /// The specification breaks rules (all are listed), its data set is unknown or not ready, no network meets the
    /// limits of one of its tasks, or the project's quota is used up.
    pub async fn create_fleet(&self, spec: &Value) -> Result<FleetRecord, EngineError> {
        let spec = FleetSpec::from_json(spec)?;
        let dataset = crate::tasks::dataset_id(&spec.dataset)?;
        let open = self.open_dataset(&dataset).await?;
        let classes = &open.manifest().classes;
        spec.check_classes(classes)?;
        let (mut members, mut records, mut plans) = (Vec::new(), Vec::new(), Vec::new());
        for part in spec.tasks(classes) {
            let about = match &part.class {
                Some(class) => format!("the specialist of `{class}`"),
                None => "the single model".to_owned(),
            };
            let planned = self.plan_task(part.spec, dataset.clone(), open.clone()).await;
            let (record, plan) = planned.map_err(|error| match error {
                EngineError::Refused { code, detail } => EngineError::refused(code, format!("{about}: {detail}")),
                other => other,
            })?;
            members.push(FleetMember { task: record.id.clone(), class: part.class });
            plans.push((record.id.clone(), plan));
            records.push(record);
        }
        let budgets: Vec<Budget> = records.iter().map(|record| record.budget.clone()).collect();
        let project = self.dataset(&dataset).await?.project;
        let _one_at_a_time = self.admission().lock().await;
        self.check_studies(&project, &budgets).await?;
        let record = FleetRecord {
            id: FleetId::new(),
            project: ProjectId::local(),
            spec,
            dataset,
            members,
            created_at: now_ms(),
        };
        self.store().meta.create_fleet(&record, &records).await?;
        for (task, plan) in plans {
            self.plan_cache().put(&task, plan);
        }
        Ok(record)
    }

    /// One fleet.
    ///
    /// # Errors
    /// There is none of this id.
    pub async fn fleet(&self, id: &FleetId) -> Result<FleetRecord, EngineError> {
        Ok(self.store().meta.fleet(id).await?)
    }

    /// How a fleet stands.
    ///
    /// # Errors
    /// The store failed.
    pub async fn fleet_status(&self, fleet: &FleetRecord) -> Result<FleetStatus, EngineError> {
        let mut members = Vec::new();
        for member in &fleet.members {
            let progress = self.progress(&member.task).await?;
            members.push(MemberStatus { class: member.class.clone(), task: member.task.clone(), progress });
        }
        let (state, reason) = summary(&members);
        Ok(FleetStatus { state, reason, members })
    }

    /// Stops every task of the fleet that is not over; what was found is kept.
    ///
    /// # Errors
    /// There is no fleet of this id, or all its tasks are over.
    pub async fn cancel_fleet(&self, id: &FleetId) -> Result<FleetRecord, EngineError> {
        let fleet = self.fleet(id).await?;
        let (from, mut any) = ([TaskState::Queued, TaskState::Running], false);
        // The last first, so that none starts because the one before it was stopped.
        for member in fleet.members.iter().rev() {
            let (to, reason) = (TaskState::Cancelled, Some("its fleet was stopped by a person"));
            any |= self.store().meta.update_task_state(&member.task, &from, to, reason, now_ms()).await?;
        }
        if !any {
            let detail = format!("fleet {id} is over: only one with tasks queued or running can be cancelled");
            return Err(EngineError::refused(ErrorCode::FleetState, detail));
        }
        Ok(fleet)
    }
}

fn summary(members: &[MemberStatus]) -> (TaskState, Option<String>) {
    let any = |state| members.iter().find(|m| m.progress.state == state);
    if members.iter().all(|m| m.progress.state == TaskState::Queued) {
        return (TaskState::Queued, None);
    }
    if members.iter().any(|m| !m.progress.state.is_over()) {
        return (TaskState::Running, None);
    }
    match (any(TaskState::Failed), any(TaskState::Cancelled)) {
        (_, Some(stopped)) => (TaskState::Cancelled, stopped.progress.reason.clone()),
        (Some(failed), None) => {
            let whose = failed.class.as_deref().map_or("the single model".to_owned(), |c| format!("`{c}`"));
            let why = failed.progress.reason.as_deref().unwrap_or("no reason was given");
            (TaskState::Failed, Some(format!("the task of {whose} failed: {why}")))
        }
        (None, None) => (TaskState::Complete, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn member(class: Option<&str>, state: TaskState) -> MemberStatus {
        let progress = Progress {
            state,
            reason: state.is_over().then(|| "because".to_owned()),
            trials: BTreeMap::new(),
            trials_started: 0,
            seconds_spent: 0.0,
            seconds_total: None,
            seconds_left: None,
            trials_left: None,
            best: None,
        };
        MemberStatus { class: class.map(String::from), task: TaskId::new(), progress }
    }

    #[test]
    fn a_fleet_stands_where_its_tasks_do() {
        use TaskState::{Cancelled, Complete, Failed, Queued, Running};
        let state = |states: [TaskState; 2]| summary(&[member(None, states[0]), member(Some("fire"), states[1])]);
        for (states, expected) in [
            ([Queued, Queued], Queued),
            ([Running, Queued], Running),
            ([Complete, Queued], Running),
            ([Failed, Running], Running),
            ([Complete, Complete], Complete),
            ([Complete, Failed], Failed),
            ([Failed, Cancelled], Cancelled),
        ] {
            assert_eq!(state(states).0, expected, "{states:?}");
        }
        assert_eq!(state([Complete, Failed]).1.as_deref(), Some("the task of `fire` failed: because"));
    }
}
