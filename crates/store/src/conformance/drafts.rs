//! Draft data sets.

use kindling_spec::{DatasetId, DraftId, ErrorCode, ModelId, ProjectId, Split};

use super::Checked;
use crate::{
    Annotation, DraftBox, DraftCounts, DraftExampleRecord, DraftFilter, DraftRecord, DraftState, LabelKind, Metadata,
    Suggestion,
};

fn draft() -> DraftRecord {
    DraftRecord {
        id: DraftId::new(),
        project: ProjectId::local(),
        name: "raw".into(),
        labels: LabelKind::Boxes,
        classes: vec!["smoke".into(), "fire".into()],
        parent: Some(DatasetId::new()),
        created_at: 1,
        updated_at: 1,
    }
}

fn example(number: u32) -> DraftExampleRecord {
    DraftExampleRecord {
        number,
        path: "a/b.png".into(),
        sha256: format!("{number:064}"),
        pack: "drafts/x/1/pictures.pack".into(),
        start: 1 << 40,
        bytes: 7,
        width: 640,
        height: 480,
        split: (number == 1).then_some(Split::Test),
        state: DraftState::Unlabelled,
        label: None,
        suggestion: None,
        doubt: None,
        suggested_by: None,
        updated_at: 2,
    }
}

fn fire(x: f32) -> Annotation {
    Annotation::Boxes(vec![DraftBox { class: "fire".into(), x, y: 0.1, width: 0.333_333_34, height: 1e-3 }])
}

pub(super) async fn labelled_step_by_step(meta: &dyn Metadata) -> Checked {
    let record = draft();
    let id = &record.id;
    let code = |error: crate::StoreError| error.code();
    assert_eq!(meta.add_draft_examples(id, &[example(0)], 2).await.map_err(code), Err(ErrorCode::DraftNotFound));
    meta.create_draft(&record).await?;
    assert!(meta.create_draft(&record).await.is_err());
    assert_eq!(meta.draft(id).await?, record);
    assert_eq!(meta.draft(&DraftId::new()).await.map_err(code), Err(ErrorCode::DraftNotFound));
    assert_eq!(meta.drafts(None, None, 1).await?, std::slice::from_ref(&record));
    assert!(meta.drafts(None, Some(id), 100).await?.iter().all(|older| older.id < *id));
    let classes = meta.add_draft_classes(id, &["fire".into(), "ash".into()], 2).await?;
    assert_eq!(classes, ["smoke", "fire", "ash"]);
    assert_eq!(meta.draft(id).await?.classes, classes);

    // The same content once, a path that is taken changed, numbers going on.
    assert_eq!(meta.add_draft_examples(id, &[example(0), example(1), example(2)], 2).await?, 3);
    assert_eq!(meta.add_draft_examples(id, &[example(1), example(3)], 2).await?, 1);
    let every = DraftFilter::default();
    let all = meta.draft_examples(id, &every, None, 100).await?;
    let paths: Vec<_> = all.iter().map(|e| (e.number, e.path.as_str())).collect();
    assert_eq!(paths, [(0, "a/b.png"), (1, "a/b-2.png"), (2, "a/b-3.png"), (3, "a/b-4.png")]);
    assert_eq!(all[1], DraftExampleRecord { path: "a/b-2.png".into(), ..example(1) });
    assert!(meta.draft_packs().await?.contains("drafts/x/1/pictures.pack"));

    // What is said is kept to the last bit, one picture's beside another's.
    let said = fire(0.1);
    let saved = meta.label_draft_example(id, 2, DraftState::Labelled, Some(&said), 9).await?;
    assert_eq!((saved.state, saved.label.as_ref(), saved.updated_at), (DraftState::Labelled, Some(&said), 9));
    assert_eq!(meta.draft_example(id, 2).await?, saved);
    assert_eq!(meta.draft(id).await?.updated_at, 9);
    meta.label_draft_example(id, 0, DraftState::Skipped, None, 9).await?;
    let unknown = meta.label_draft_example(id, 4, DraftState::Skipped, None, 9).await;
    assert_eq!(unknown.map_err(code), Err(ErrorCode::ExampleNotFound));
    assert_eq!(meta.draft_example(id, 4).await.map_err(code), Err(ErrorCode::ExampleNotFound));
    let unlabelled = DraftFilter { state: Some(DraftState::Unlabelled), ..every.clone() };
    let numbers = |page: Vec<DraftExampleRecord>| page.into_iter().map(|e| e.number).collect::<Vec<_>>();
    assert_eq!(numbers(meta.draft_examples(id, &unlabelled, None, 1).await?), [1]);
    assert_eq!(numbers(meta.draft_examples(id, &unlabelled, Some(1), 9).await?), [3]);

    // Suggestions, the most doubtful first, and those of a model that was not asked.
    let model = ModelId::new();
    let suggest = |number, annotation, doubt| Suggestion { number, annotation, doubt };
    let given = [suggest(3, Some(fire(0.2)), 0.25), suggest(2, Some(fire(0.3)), 0.75), suggest(0, None, 1.0)];
    meta.suggest_draft_labels(id, &model, &given).await?;
    let bad = [suggest(1, None, f64::NAN)];
    assert!(meta.suggest_draft_labels(id, &model, &bad).await.is_err());
    let doubtful = DraftFilter { doubtful_first: true, ..every.clone() };
    assert_eq!(numbers(meta.draft_examples(id, &doubtful, None, 9).await?), [0, 2, 3, 1]);
    assert_eq!(numbers(meta.draft_examples(id, &doubtful, Some(2), 9).await?), [3, 1]);
    let unseen = DraftFilter { unseen_by: Some(model.clone()), ..every };
    assert_eq!(numbers(meta.draft_examples(id, &unseen, None, 9).await?), [1]);
    let counts = DraftCounts { examples: 4, labelled: 1, skipped: 1, suggested: 1 };
    assert_eq!(meta.draft_counts(id).await?, counts);

    // Only what has no label takes a suggestion.
    assert_eq!(meta.accept_suggestions(id, None, Some(0.2), 10).await?, [0_u32; 0]);
    assert_eq!(meta.accept_suggestions(id, Some(&[0, 1, 2]), None, 10).await?, [0_u32; 0]);
    assert_eq!(meta.accept_suggestions(id, Some(&[3, 77]), Some(0.25), 10).await?, [3]);
    assert_eq!(meta.draft_example(id, 3).await?.label, Some(fire(0.2)));
    assert_eq!(meta.draft_example(id, 2).await?.label, Some(said));

    meta.delete_draft(id).await?;
    assert_eq!(meta.delete_draft(id).await.map_err(code), Err(ErrorCode::DraftNotFound));
    assert_eq!(meta.draft_counts(id).await?, DraftCounts::default());
    Ok(())
}
