//! What a person says of a picture.

use kindling_spec::{DraftId, ErrorCode};
use kindling_store::{Annotation, DraftBox, DraftExampleRecord, DraftRecord, DraftState, LabelKind};
use serde::Deserialize;

use crate::{EngineError, Service, clock::now_ms};

/// Boxes in one picture, at most.
const MOST_BOXES: usize = 5000;
/// Boxes narrower or lower than this share are slips of the hand.
const SMALLEST: f32 = 1e-5;
/// How far a box may reach out, as numbers are rounded; it is cut off at the edge.
const OUTSIDE: f32 = 1e-3;

/// One of these: a class, boxes (none: it shows nothing of the classes), that it is left out, or that nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelRequest {
    /// The class of the whole picture.
    #[serde(default)]
    pub class: Option<String>,
    /// What is where in it.
    #[serde(default)]
    pub boxes: Option<Vec<DraftBox>>,
    /// It is to be left out.
    #[serde(default)]
    pub skip: bool,
    /// What was said is taken back.
    #[serde(default)]
    pub clear: bool,
}

fn refuse<T>(what: String) -> Result<T, EngineError> {
    Err(EngineError::refused(ErrorCode::InvalidRequest, what))
}

fn check_class(record: &DraftRecord, class: &str, place: &str) -> Result<(), EngineError> {
    if record.classes.iter().any(|known| known == class) {
        return Ok(());
    }
    let (shown, known) = (class.chars().take(80).collect::<String>(), record.classes.join("`, `"));
    refuse(format!("`{place}`: the draft has no class `{shown}`; it has `{known}`, and PATCH of the draft adds others"))
}

/// A box within the picture, cut off at its edge, or why it is none.
fn check_box(given: &DraftBox, place: &str) -> Result<DraftBox, EngineError> {
    let DraftBox { x, y, width, height, .. } = given;
    let side = |start: f32, length: f32| {
        let end = start + length;
        if !(start >= -OUTSIDE && end <= 1.0 + OUTSIDE && length >= SMALLEST) {
            return None;
        }
        let start = start.max(0.0);
        let mut length = if start + length > 1.0 { 1.0 - start } else { length };
        // In doubles the sum may still be above 1 by a rounding.
        while f64::from(start) + f64::from(length) > 1.0 {
            length = length.next_down();
        }
        Some((start, length))
    };
    let Some(((x, width), (y, height))) = side(*x, *width).zip(side(*y, *height)) else {
        return refuse(format!(
            "`{place}`: x, y, width and height are shares of the picture's sides: from 0 to 1, and the box has an area and \
             lies within; given are {x}, {y}, {width} and {height}"
        ));
    };
    Ok(DraftBox { class: given.class.clone(), x, y, width, height })
}

impl LabelRequest {
    fn parse(&self, record: &DraftRecord) -> Result<(DraftState, Option<Annotation>), EngineError> {
        let said = [self.class.is_some(), self.boxes.is_some(), self.skip, self.clear];
        if said.iter().filter(|said| **said).count() != 1 {
            return refuse("send one of `class`, `boxes`, `\"skip\": true` and `\"clear\": true`".to_owned());
        }
        match (&self.class, &self.boxes, record.labels) {
            (Some(class), _, LabelKind::Classes) => {
                check_class(record, class, "class")?;
                Ok((DraftState::Labelled, Some(Annotation::Class(class.clone()))))
            }
            (_, Some(boxes), LabelKind::Boxes) => {
                if boxes.len() > MOST_BOXES {
                    return refuse(format!("{} boxes are more than the {MOST_BOXES} a picture may have", boxes.len()));
                }
                let mut kept = Vec::with_capacity(boxes.len());
                for (i, given) in boxes.iter().enumerate() {
                    check_class(record, &given.class, &format!("boxes/{i}/class"))?;
                    kept.push(check_box(given, &format!("boxes/{i}"))?);
                }
                Ok((DraftState::Labelled, Some(Annotation::Boxes(kept))))
            }
            (Some(_), _, LabelKind::Boxes) => refuse("the draft's labels are boxes; send `boxes`".to_owned()),
            (_, Some(_), LabelKind::Classes) => refuse("the draft's labels are classes; send `class`".to_owned()),
            (None, None, _) if self.skip => Ok((DraftState::Skipped, None)),
            (None, None, _) => Ok((DraftState::Unlabelled, None)),
        }
    }
}

impl Service {
    /// Keeps what a person says of a picture; it is on disk when this returns.
    ///
    /// # Errors
    /// There is no such draft or picture; not exactly one thing is said, or it does not fit the draft.
    pub async fn label_example(
        &self,
        id: &DraftId,
        number: u32,
        wanted: &LabelRequest,
    ) -> Result<DraftExampleRecord, EngineError> {
        let record = self.store().meta.draft(id).await?;
        let (state, label) = wanted.parse(&record)?;
        Ok(self.store().meta.label_draft_example(id, number, state, label.as_ref(), now_ms()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(labels: LabelKind) -> DraftRecord {
        DraftRecord {
            id: DraftId::new(),
            project: kindling_spec::ProjectId::local(),
            name: "raw".into(),
            labels,
            classes: vec!["fire".into(), "smoke".into()],
            parent: None,
            created_at: 0,
            updated_at: 0,
        }
    }

    fn one(x: f32, y: f32, width: f32, height: f32) -> DraftBox {
        DraftBox { class: "fire".into(), x, y, width, height }
    }

    #[test]
    fn a_box_is_cut_off_at_the_edge_and_no_further() {
        let kept = check_box(&one(0.7, 0.25, 0.300_000_1, 0.5), "boxes/0").unwrap();
        assert!(f64::from(kept.x) + f64::from(kept.width) <= 1.0);
        assert_eq!((kept.x, kept.y, kept.height), (0.7, 0.25, 0.5));
        let whole = check_box(&one(-0.000_5, 0.0, 1.001, 1.0), "boxes/0").unwrap();
        assert_eq!((whole.x, whole.width, whole.height), (0.0, 1.0, 1.0));
        for bad in
            [one(0.5, 0.5, 0.6, 0.1), one(0.5, 0.5, 0.0, 0.1), one(f32::NAN, 0.0, 0.1, 0.1), one(-0.1, 0.0, 0.5, 0.5)]
        {
            let error = check_box(&bad, "boxes/3").unwrap_err().to_string();
            assert!(error.contains("`boxes/3`"), "{error}");
        }
    }

    #[test]
    fn exactly_one_thing_is_said_and_of_the_drafts_kind() {
        let class = |name: &str| LabelRequest { class: Some(name.into()), ..LabelRequest::default() };
        let boxes = LabelRequest { boxes: Some(vec![]), ..LabelRequest::default() };
        let classes = record(LabelKind::Classes);
        let said = class("smoke").parse(&classes).unwrap();
        assert_eq!(said, (DraftState::Labelled, Some(Annotation::Class("smoke".into()))));
        let skipped = LabelRequest { skip: true, ..LabelRequest::default() };
        assert_eq!(skipped.parse(&classes).unwrap(), (DraftState::Skipped, None));
        let empty = boxes.parse(&record(LabelKind::Boxes)).unwrap();
        assert_eq!(empty, (DraftState::Labelled, Some(Annotation::Boxes(vec![]))));
        assert!(class("water").parse(&classes).is_err() && boxes.parse(&classes).is_err());
        assert!(class("fire").parse(&record(LabelKind::Boxes)).is_err());
        assert!(LabelRequest::default().parse(&classes).is_err());
        assert!(LabelRequest { clear: true, ..class("fire") }.parse(&classes).is_err());
    }
}
