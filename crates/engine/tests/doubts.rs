//! Doubtful labels of the sample set, found and mended.

use kindling_data::{Limits, sample};
use kindling_engine::{ChangeRequest, DoubtOptions, Service, run_analysis};
use kindling_spec::{AnalysisState, DatasetId, ErrorCode, TaskKind};
use std::collections::BTreeSet;
use std::path::Path;
use tokio_util::sync::CancellationToken;

/// Writes the sample set and puts one picture in `every` of each class into another class' folder, chosen by a
/// fixed seed. Returns the paths of those.
fn flipped_sample(dir: &Path, per_class: usize, every: usize) -> BTreeSet<String> {
    sample::fire_smoke(dir, per_class, 48, 11).expect("the sample is drawn");
    let mut wrong = BTreeSet::new();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for class in sample::CLASSES {
        for block in 0..per_class / every {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let picture = block * every + (state >> 33) as usize % every;
            let others: Vec<_> = sample::CLASSES.iter().filter(|other| **other != class).collect();
            let to = others[(state >> 40) as usize % 2];
            let name = format!("{to}/from-{class}-{picture:05}.png");
            std::fs::rename(dir.join(format!("{class}/{picture:05}.png")), dir.join(&name)).expect("is moved");
            wrong.insert(name);
        }
    }
    wrong
}

async fn sealed(dir: &Path, pictures: &Path) -> (Service, DatasetId) {
    let service = Service::open(&dir.join("data"), Limits::default()).await.expect("opens");
    let dataset = service.create_dataset("sample", TaskKind::ImageClassification).await.expect("is made").id;
    service.seal_dataset(&dataset, pictures).await.expect("is sealed");
    (service, dataset)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_label_in_twenty_is_wrong_and_most_of_those_are_found_and_mended() {
    let dir = tempfile::tempdir().expect("a directory");
    let pictures = dir.path().join("pictures");
    let wrong = flipped_sample(&pictures, 200, 20);
    assert_eq!(wrong.len(), 30);
    let (service, dataset) = sealed(dir.path(), &pictures).await;
    let nobody = service.doubts(&dataset).await.expect_err("nobody asked");
    assert_eq!(nobody.code(), ErrorCode::AnalysisNotFound);

    let options = DoubtOptions { folds: Some(4), epochs: Some(40), seed: Some(1) };
    let asked = service.search_doubts(&dataset, &options).await.expect("is asked for");
    let twice = service.search_doubts(&dataset, &options).await.expect_err("is under way");
    assert_eq!(twice.code(), ErrorCode::AnalysisBusy);
    let data = dir.path().join("data");
    run_analysis(&data, &asked.id, "flex", CancellationToken::new()).await.expect("runs");
    let view = service.doubts(&dataset).await.expect("is there");
    assert_eq!(view.record.state, AnalysisState::Complete, "{:?}", view.record.reason);
    let report = view.report.expect("is kept");
    assert!(report.doubts.is_sorted_by(|a, b| a.score >= b.score));
    assert!(report.doubts.iter().all(|d| d.given != d.suggested && d.probabilities.len() == 3));

    let hits = |most: usize| report.doubts.iter().take(most).filter(|d| wrong.contains(&d.path)).count();
    let mended = report.doubts.iter().filter(|d| d.path.contains(&format!("/from-{}-", d.suggested))).count();
    eprintln!(
        "agreement {:.3}, {} doubtful, estimated {:.1}, right of the first 30: {}, of the first 60: {}, of all: {}, \
         rightly named: {mended}, {:.1} s",
        report.agreement,
        report.doubts.len(),
        report.estimated,
        hits(30),
        hits(60),
        hits(usize::MAX),
        report.seconds
    );
    assert!(hits(60) >= 18, "recall 0.6 among the first 60, of 600 examples");
    assert!(hits(30) >= 12, "precision 0.4 of the first 30, where chance gives 1.5");

    // What the networks say is taken for all that they doubt most; a person would look first.
    let changes: Vec<ChangeRequest> = report
        .doubts
        .iter()
        .take(30)
        .enumerate()
        .map(|(i, d)| match i % 10 {
            9 => ChangeRequest { example: d.example, label: None, remove: true },
            _ => ChangeRequest { example: d.example, label: Some(d.suggested.clone()), remove: false },
        })
        .collect();
    let made = service.relabel_dataset(&dataset, None, &changes).await.expect("is made");
    assert_eq!(made.name, "sample (relabelled)");
    let (old, new) = (
        service.open_dataset(&dataset).await.expect("is as it was"),
        service.open_dataset(&made.id).await.expect("is ready"),
    );
    let (old, new) = (old.manifest(), new.manifest());
    assert_eq!(new.examples.len(), old.examples.len() - 3);
    for example in &new.examples {
        let was = old.examples.iter().find(|e| e.path == example.path).expect("it comes from there");
        assert_eq!(example.split, was.split, "{}", example.path);
    }
    let parent = &made.summary.expect("is told")["parent"];
    assert_eq!(parent["dataset"], dataset.as_str());
    assert_eq!((parent["relabelled"].as_u64(), parent["removed"].as_u64()), (Some(27), Some(3)));
    assert_eq!(parent["hash"], old.hash.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_told_to_stop_begins_again_and_one_that_cannot_be_done_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let pictures = dir.path().join("pictures");
    sample::fire_smoke(&pictures, 20, 32, 3).expect("the sample is drawn");
    let (service, dataset) = sealed(dir.path(), &pictures).await;
    let data = dir.path().join("data");

    let options = DoubtOptions { epochs: Some(200), ..DoubtOptions::default() };
    let asked = service.search_doubts(&dataset, &options).await.expect("is asked for");
    let stop = CancellationToken::new();
    stop.cancel();
    run_analysis(&data, &asked.id, "flex", stop).await.expect("ends in good order");
    let left = service.doubts(&dataset).await.expect("is there");
    assert!(!left.record.state.is_over() && left.report.is_none(), "{:?}", left.record);
    let open = service.store().meta.open_analyses().await.expect("are there");
    assert_eq!(open.first().map(|a| &a.id), Some(&asked.id), "the analyst finds it again");

    let bad = DoubtOptions { folds: Some(1), ..DoubtOptions::default() };
    let refused = service.search_doubts(&dataset, &bad).await.expect_err("one fold holds nothing out");
    assert!(refused.detail().contains("`folds`"), "{refused}");
    let unknown = service.search_doubts(&DatasetId::new(), &options).await.expect_err("there is none");
    assert_eq!(unknown.code(), ErrorCode::DatasetNotFound);

    service.delete_dataset(&dataset).await.expect("no task uses it");
    assert!(service.store().meta.open_analyses().await.expect("are there").is_empty(), "it goes with its data set");
}
