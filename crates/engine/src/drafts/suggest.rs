//! A model's own word on pictures without labels, the most doubtful to be looked at first.

use futures::{StreamExt, TryStreamExt, stream};
use kindling_graph::Answer;
use kindling_spec::{DraftId, ErrorCode, ModelId};
use kindling_store::{
    Annotation, DraftBox, DraftExampleRecord, DraftFilter, DraftRecord, DraftState, LabelKind, Suggestion,
};
use serde::{Deserialize, Serialize};

use crate::{EngineError, Object, Said, Service, clock::now_ms};

/// Pictures answered at the same time.
const AT_ONCE: usize = 2;
/// Pictures whose answers are kept together.
const BATCH: u32 = 32;

/// How far a model is with its suggestions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Suggested {
    /// Pictures that it was asked about this time.
    pub asked: u64,
    /// Pictures without a label that it was not asked about yet.
    pub remaining: u64,
}

/// Which suggestions become labels; all conditions hold together, and at least one is given.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// Those of these pictures.
    #[serde(default)]
    pub examples: Option<Vec<u32>>,
    /// Those with a doubt of at most so much, 0 to 1.
    #[serde(default)]
    pub at_most_doubt: Option<f64>,
}

/// Something a detector found, and how sure it is.
#[derive(Debug, Clone, PartialEq)]
struct SuggestedBox {
    /// What and where.
    found: DraftBox,
    /// The detector's score, 0 to 1.
    score: f32,
}

/// A picture is as doubtful as its most doubtful box: one whose score is a half. Where nothing is found, only a detector's
/// lowest scores could tell how sure that is, so it is taken as half sure.
fn doubt_of(found: &[SuggestedBox]) -> f64 {
    let one = |s: &SuggestedBox| 1.0 - (2.0 * f64::from(s.score) - 1.0).abs();
    found.iter().map(one).max_by(f64::total_cmp).unwrap_or(0.5)
}

impl Service {
    /// Asks a model about up to `most` pictures without a label that it was not asked about before. What it says is kept as
    /// it comes.
    ///
    /// # Errors
    /// There is no such draft or model, or none of the model's classes is the draft's.
    pub async fn suggest(&self, id: &DraftId, model: &ModelId, most: u32) -> Result<Suggested, EngineError> {
        let record = self.store().meta.draft(id).await?;
        self.check_model(&record, model).await?;
        let filter = DraftFilter {
            state: Some(DraftState::Unlabelled),
            unseen_by: Some(model.clone()),
            ..DraftFilter::default()
        };
        let meta = &self.store().meta;
        let mut asked = 0;
        while asked < u64::from(most) {
            let limit = BATCH.min(most - asked as u32);
            let pictures = meta.draft_examples(id, &filter, None, limit).await?;
            if pictures.is_empty() {
                break;
            }
            let record = &record;
            let answers: Vec<_> = pictures.iter().map(|picture| self.suggest_one(record, model, picture)).collect();
            let suggestions: Vec<Suggestion> = stream::iter(answers).buffered(AT_ONCE).try_collect().await?;
            meta.suggest_draft_labels(id, model, &suggestions).await?;
            asked += pictures.len() as u64;
        }
        let left = meta.draft_examples(id, &filter, None, u32::MAX).await?.len() as u64;
        Ok(Suggested { asked, remaining: left })
    }

    async fn check_model(&self, record: &DraftRecord, model: &ModelId) -> Result<(), EngineError> {
        self.model(model).await?;
        let opened = self.open_model(model).await?;
        let fits = (opened.answer() == Answer::Map) == (record.labels == LabelKind::Boxes);
        if !fits {
            let detail = match record.labels {
                LabelKind::Boxes => {
                    format!("model {model} says what a whole picture shows, not where; the draft's labels are boxes")
                }
                LabelKind::Classes => {
                    format!("model {model} finds objects; the draft's labels are classes of whole pictures")
                }
            };
            return Err(EngineError::refused(ErrorCode::InvalidRequest, detail));
        }
        let labels = opened.labels();
        if labels.iter().any(|label| record.classes.contains(label)) {
            return Ok(());
        }
        let (its, own) = (labels.join("`, `"), record.classes.join("`, `"));
        let detail = format!("model {model} knows `{its}`, none of which is a class of the draft: `{own}`");
        Err(EngineError::refused(ErrorCode::InvalidRequest, detail))
    }

    async fn suggest_one(
        &self,
        record: &DraftRecord,
        model: &ModelId,
        picture: &DraftExampleRecord,
    ) -> Result<Suggestion, EngineError> {
        let bytes = self.draft_picture(picture).await?;
        let number = picture.number;
        if record.labels == LabelKind::Boxes {
            let mut found = self.suggest_boxes(model, &bytes).await?;
            found.retain(|one| record.classes.contains(&one.found.class));
            let doubt = doubt_of(&found);
            let boxes = found.into_iter().map(|one| one.found).collect();
            return Ok(Suggestion { number, annotation: Some(Annotation::Boxes(boxes)), doubt });
        }
        let Said::Class { label, probabilities, .. } = self.predict(model, &bytes, None).await?.said else {
            return Ok(Suggestion { number, annotation: None, doubt: 1.0 });
        };
        let sure = probabilities.iter().map(|(_, p)| *p).max_by(f32::total_cmp).unwrap_or(0.0);
        // A class that the draft does not have is no label for it.
        let known = record.classes.contains(&label);
        let doubt = if known { 1.0 - f64::from(sure).clamp(0.0, 1.0) } else { 1.0 };
        Ok(Suggestion { number, annotation: known.then_some(Annotation::Class(label)), doubt })
    }

    /// What a detector finds in a picture, its places in shares of the upright picture.
    async fn suggest_boxes(&self, model: &ModelId, picture: &[u8]) -> Result<Vec<SuggestedBox>, EngineError> {
        let Said::Objects { objects, .. } = self.predict(model, picture, None).await?.said else {
            return Ok(Vec::new());
        };
        let suggested = |object: Object| {
            let [x, y, right, bottom] = object.sides;
            let found = DraftBox { class: object.label, x, y, width: right - x, height: bottom - y };
            SuggestedBox { found, score: object.score }
        };
        Ok(objects.into_iter().map(suggested).filter(|s| s.found.width > 0.0 && s.found.height > 0.0).collect())
    }

    /// Makes suggestions labels, of pictures that have none. Returns the numbers of those pictures.
    ///
    /// # Errors
    /// There is no such draft, or no condition is given.
    pub async fn accept_suggestions(&self, id: &DraftId, wanted: &Accept) -> Result<Vec<u32>, EngineError> {
        self.store().meta.draft(id).await?;
        if wanted.examples.is_none() && wanted.at_most_doubt.is_none() {
            let what = "name `examples`, or how much doubt a label may have (`at_most_doubt`, 0 to 1)";
            return Err(EngineError::refused(ErrorCode::InvalidRequest, what));
        }
        if wanted.at_most_doubt.is_some_and(|doubt| !(0.0..=1.0).contains(&doubt)) {
            let what = "`at_most_doubt` is a share from 0 to 1";
            return Err(EngineError::refused(ErrorCode::InvalidRequest, what));
        }
        let meta = &self.store().meta;
        Ok(meta.accept_suggestions(id, wanted.examples.as_deref(), wanted.at_most_doubt, now_ms()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_doubtful_box_makes_a_picture_doubtful() {
        let found = |score: f32| SuggestedBox {
            found: DraftBox { class: "fire".into(), x: 0.0, y: 0.0, width: 0.5, height: 0.5 },
            score,
        };
        assert!((doubt_of(&[found(0.99), found(0.5), found(0.01)]) - 1.0).abs() < 1e-6);
        assert!(doubt_of(&[found(0.99)]) < 0.03 && doubt_of(&[]) == 0.5);
    }
}
