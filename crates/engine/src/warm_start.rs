//! What a study begins from where an earlier one has told apart much the same.

use kindling_data::{Dataset, View};
use kindling_graph::{Graph, Weights};
use kindling_models::{backbones::pretrained_weights, build_graph};
use kindling_spec::{ModelId, SpecError, Split, TaskKind, TaskSpec, TaskState, WarmStart};
use kindling_store::{StoreError, TaskRecord};
use kindling_train::Checkpoint;
use std::collections::HashSet;
use std::sync::Arc;

use crate::error::blocking;
use crate::kinds::{self, Kind};
use crate::{EngineError, Service, space::Earlier};

/// Earlier tasks that are asked, the newest first.
const TASKS: usize = 8;
/// Training pictures that each is asked about.
const PICTURES: usize = 200;
/// The side of those pictures.
const SIDE: usize = 96;
/// The least share of what there is to know about the classes that an earlier model's answers must tell.
const LEAST_TOLD: f64 = 0.25;
/// Genomes that are taken over from the earlier study, the best first.
const GENOMES: usize = 3;

/// The layers whose outputs are classes, in every family.
const OUTPUTS: [&str; 2] = ["head.logits", "head.map"];

impl Service {
    /// What a task that is posted begins from: of `auto`, what was found.
    ///
    /// # Errors
    /// The model that is named is not there or of another kind.
    pub(crate) async fn resolve_warm_start(
        &self,
        spec: &TaskSpec,
        dataset: &Arc<Dataset>,
    ) -> Result<WarmStart, EngineError> {
        match &spec.warm_start {
            WarmStart::Off => Ok(WarmStart::Off),
            WarmStart::Model(id) => {
                let model = self.store().meta.model(id).await.map_err(|_| {
                    let what = format!("there is no model {id}; GET /v1/tasks/{{id}}/leaderboard lists a task's");
                    SpecError::one("/warm_start", what)
                })?;
                if self.task(&model.task).await?.spec.kind != spec.kind {
                    return Err(SpecError::one("/warm_start", format!("model {id} is of another kind of task")).into());
                }
                Ok(spec.warm_start.clone())
            }
            // Only answers that are classes can be asked what they tell.
            WarmStart::Auto if spec.kind != TaskKind::ImageClassification => Ok(WarmStart::Off),
            WarmStart::Auto => {
                let mut found: Option<(f64, ModelId)> = None;
                for task in self.earlier_tasks(spec).await? {
                    let Some(model) = task.best_model else { continue };
                    // One that was not exported as ONNX, or whose files are gone, has nothing to say.
                    let Ok(told) = self.told_by(&model, spec, dataset).await else { continue };
                    if told >= LEAST_TOLD && found.as_ref().is_none_or(|(most, _)| told > *most) {
                        found = Some((told, model));
                    }
                }
                Ok(found.map_or(WarmStart::Off, |(_, model)| WarmStart::Model(model)))
            }
        }
    }

    /// Complete tasks of the same kind, the newest first.
    async fn earlier_tasks(&self, spec: &TaskSpec) -> Result<Vec<TaskRecord>, EngineError> {
        let mut found: Vec<TaskRecord> = Vec::new();
        let mut after = None;
        loop {
            let page = self.store().meta.tasks(None, after.as_ref(), 200).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            found.extend(page.into_iter().filter(|t| t.state == TaskState::Complete && t.spec.kind == spec.kind));
        }
        found.sort_by_key(|task| std::cmp::Reverse(task.created_at));
        found.truncate(TASKS);
        Ok(found)
    }

    /// How much a model's answers tell about the classes of a task: see [`told`].
    async fn told_by(&self, model: &ModelId, spec: &TaskSpec, dataset: &Arc<Dataset>) -> Result<f64, EngineError> {
        let model = self.open_model(model).await?;
        let (groups, dataset) = (spec.groups(&dataset.manifest().classes), dataset.clone());
        blocking(move || {
            let view = View::new(&dataset, &groups)?;
            let step = view.train.len().div_ceil(PICTURES).max(1);
            let cache = dataset.cache(SIDE)?;
            let (mut answers, mut labels) = (Vec::new(), Vec::new());
            for (example, label) in view.train.iter().step_by(step) {
                let pixels = &cache[example * SIDE * SIDE * 3..][..SIDE * SIDE * 3];
                answers.push(model.predict(pixels, SIDE as u32, SIDE as u32)?);
                labels.push(*label);
            }
            Ok(told(&answers, &labels, view.classes.len()))
        })
        .await
    }

    /// What the plan of a task takes over from the model that its specification names.
    pub(crate) async fn earlier(
        &self,
        spec: &TaskSpec,
        kind: &dyn Kind,
        dataset: &Dataset,
    ) -> Result<Earlier, EngineError> {
        let WarmStart::Model(id) = &spec.warm_start else { return Ok(Earlier::default()) };
        let meta = &self.store().meta;
        let model = match meta.model(id).await {
            Ok(model) => model,
            Err(error) => {
                tracing::warn!(%id, %error, "the model to begin from is gone; the study begins from nothing");
                return Ok(Earlier::default());
            }
        };
        let board = self.leaderboard(&model.task).await?;
        let mut genomes = vec![meta.trial(&model.trial).await?.genome];
        for entry in board {
            let genome = meta.trial(&entry.trial).await?.genome;
            if genomes.len() < GENOMES && !genomes.contains(&genome) {
                genomes.push(genome);
            }
        }
        let task = meta.task(&model.task).await?;
        let old = self.open_dataset(&task.dataset).await?;
        let learned = kinds::open(&task.spec, &old)?.picks(Split::Train);
        let seen: HashSet<&str> = learned.iter().map(|(at, _)| old.manifest().examples[*at].sha256.as_str()).collect();
        let known = |at: usize| seen.contains(dataset.manifest().examples[at].sha256.as_str());
        let told = kind.picks(Split::Test).into_iter().any(|(at, _)| known(at));
        if told {
            tracing::warn!(%id, "it has learned from pictures of the test split; only its network is taken over");
        }
        Ok(Earlier { genomes, weights: (!told).then(|| id.clone()) })
    }

    /// The weights a trial of this graph begins from where they are those of an earlier model; `None` if they
    /// are gone or do not fit. The last layer's are taken over where the answers are the same.
    pub(crate) async fn earlier_weights(
        &self,
        model: &ModelId,
        graph: &Graph,
        kind: &dyn Kind,
        seed: u64,
    ) -> Result<Option<Weights>, EngineError> {
        let meta = &self.store().meta;
        // A person may have deleted it since the study was planned.
        let model = match meta.model(model).await {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            model => model?,
        };
        let trial = meta.trial(&model.trial).await?;
        let Some(key) = trial.checkpoint else { return Ok(None) };
        let told = model.card.get("labels").and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice);
        let (classes, same) =
            (told.len(), told.iter().map(|l| l.as_str()).eq(kind.classes().iter().map(|l| Some(l.as_str()))));
        let bytes = self.store().files.get(&key).await?;
        let graph = graph.clone();
        let old = kind.trained(build_graph(&trial.genome, classes)?)?;
        blocking(move || {
            let mut weights = Checkpoint::from_bytes(&bytes)?.average(&old)?;
            weights.retain(|name, _| same || !OUTPUTS.iter().any(|layer| name.starts_with(layer)));
            Ok(pretrained_weights(&graph, &weights, seed).ok())
        })
        .await
    }
}

/// The share of what there is to know about the labels that other classes' probabilities tell: by how much the
/// log expected empirical prediction (LEEP, Nguyen et al. 2020) is above that of one who knows only how frequent
/// each label is. 0 is nothing, 1 everything.
///
/// # Shapes
/// `answers` `[examples][other classes]`, each row a distribution; `labels` `[examples]`, each below `classes`.
fn told(answers: &[Vec<f32>], labels: &[usize], classes: usize) -> f64 {
    let others = answers.first().map_or(0, Vec::len);
    let count = labels.len().max(1) as f64;
    // Jointly how often each label comes with each other class.
    let mut joint = vec![vec![0.0; others]; classes];
    for (row, label) in answers.iter().zip(labels) {
        row.iter().zip(&mut joint[*label]).for_each(|(p, cell)| *cell += f64::from(*p) / count);
    }
    let of_other: Vec<f64> = (0..others).map(|z| joint.iter().map(|row| row[z]).sum::<f64>().max(1e-12)).collect();
    let expected = |row: &[f32], label: usize| -> f64 {
        row.iter().zip(&joint[label]).zip(&of_other).map(|((p, cell), all)| f64::from(*p) * cell / all).sum()
    };
    let leep =
        answers.iter().zip(labels).map(|(row, label)| expected(row, *label).max(1e-12).ln()).sum::<f64>() / count;
    let share = |class: usize| labels.iter().filter(|label| **label == class).count() as f64 / count;
    let uncertainty: f64 = (0..classes).map(share).filter(|s| *s > 0.0).map(|s| -s * s.ln()).sum();
    if uncertainty > 0.0 { 1.0 + leep / uncertainty } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_tell_all_nothing_or_a_part_whatever_the_classes_are_called() {
        let labels = [0, 0, 1, 1, 0, 1, 0, 1];
        let sure = |z: usize| if z == 0 { vec![1.0, 0.0, 0.0] } else { vec![0.0, 0.0, 1.0] };
        let swapped: Vec<Vec<f32>> = labels.iter().map(|label| sure(1 - label)).collect();
        assert!(told(&swapped, &labels, 2) > 0.999);
        let same = vec![vec![0.2, 0.3, 0.5]; 8];
        assert!(told(&same, &labels, 2).abs() < 1e-6);
        let unsure: Vec<Vec<f32>> =
            labels.iter().map(|label| if *label == 0 { vec![0.8, 0.2] } else { vec![0.2, 0.8] }).collect();
        let part = told(&unsure, &labels, 2);
        assert!(part > 0.05 && part < 0.5, "{part}");
        assert_eq!(told(&[], &[], 2), 0.0);
    }
}
