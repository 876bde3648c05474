//! Analyses.

use kindling_spec::{AnalysisId, AnalysisKind, AnalysisState, ErrorCode};
use serde_json::json;

use super::{Checked, dataset};
use crate::{AnalysisRecord, AnalysisUpdate, Metadata};

/// An analysis as it is asked for.
pub(super) fn analysis(subject: &str, kind: AnalysisKind) -> AnalysisRecord {
    AnalysisRecord {
        id: AnalysisId::new(),
        kind,
        subject: subject.to_owned(),
        options: json!({ "folds": 4 }),
        state: AnalysisState::Waiting,
        reason: None,
        progress: 0.0,
        deaths: 0,
        summary: None,
        created_at: 1,
        updated_at: 1,
    }
}

pub(super) async fn one_at_a_time(meta: &dyn Metadata) -> Checked {
    let subject = dataset(1).id.to_string();
    let first = analysis(&subject, AnalysisKind::Doubts);
    assert!(meta.create_analysis(&first).await?);
    assert_eq!(meta.analysis(&first.id).await?, first);
    let missing = meta.analysis(&AnalysisId::new()).await.map_err(|error| error.code());
    assert_eq!(missing, Err(ErrorCode::AnalysisNotFound));
    // A second of the same kind waits for the first to end; another kind or subject does not.
    assert!(!meta.create_analysis(&analysis(&subject, AnalysisKind::Doubts)).await?);
    let other = analysis(&subject, AnalysisKind::Advice);
    assert!(meta.create_analysis(&other).await?);
    let open: Vec<_> = meta.open_analyses().await?.into_iter().map(|a| a.id).collect();
    assert!(open.iter().position(|id| *id == first.id) < open.iter().position(|id| *id == other.id));

    let running =
        AnalysisUpdate { state: AnalysisState::Running, reason: None, progress: 0.5, deaths: 1, summary: None };
    assert!(meta.update_analysis(&first.id, &[AnalysisState::Waiting], &running, 2).await?);
    assert!(!meta.update_analysis(&first.id, &[AnalysisState::Waiting], &running, 3).await?);
    assert!(!meta.create_analysis(&analysis(&subject, AnalysisKind::Doubts)).await?, "running is busy too");
    let not_a_number = AnalysisUpdate { progress: f64::NAN, ..running.clone() };
    assert!(meta.update_analysis(&first.id, &[AnalysisState::Running], &not_a_number, 3).await.is_err());
    let done = AnalysisUpdate {
        state: AnalysisState::Complete,
        progress: 1.0,
        summary: Some(json!({ "found": 3 })),
        ..running
    };
    assert!(meta.update_analysis(&first.id, &[AnalysisState::Running], &done, 4).await?);
    let found = meta.analysis(&first.id).await?;
    assert_eq!((found.progress, found.deaths, found.updated_at), (1.0, 1, 4));
    assert_eq!(found.summary, done.summary);
    assert!(meta.open_analyses().await?.iter().all(|a| a.id != first.id));

    let second = analysis(&subject, AnalysisKind::Doubts);
    assert!(meta.create_analysis(&second).await?);
    let latest = meta.latest_analysis(AnalysisKind::Doubts, &subject).await?;
    assert_eq!(latest.map(|a| a.id), Some(second.id));
    assert_eq!(meta.latest_analysis(AnalysisKind::Doubts, "nothing").await?, None);
    Ok(())
}
