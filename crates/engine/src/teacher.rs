//! What a backbone says of a task's training examples, for small networks to learn from.

use kindling_data::{Dataset, deal_folds};
use kindling_models::backbones::{Cut, End, backbone, pretrained_weights};
use kindling_spec::BackboneName;
use kindling_train::{OpenDevice, Pretrained, features, held_out_answers};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::sync::Arc;

use crate::error::blocking;
use crate::{EngineError, Plan, Service, worker::Signals};

/// The side of the pictures that the teacher sees: more than the students do.
const RESOLUTION: usize = 160;
/// Parts that are held out in turn.
const FOLDS: usize = 5;

impl Service {
    /// The teacher's answers on the training split, `[examples, classes]`: a linear classifier on the features of
    /// the whole backbone, for each example one that did not see it. Made once for the same examples and classes.
    pub(crate) async fn teacher(
        &self,
        plan: &Arc<Plan>,
        name: BackboneName,
        dataset: &Arc<Dataset>,
        device: &Arc<OpenDevice>,
        cancel: Arc<Signals>,
    ) -> Result<Vec<f32>, EngineError> {
        let id = id(plan, name, dataset)?;
        let key = format!("teachers/{id}.f32");
        // Whoever comes second waits for the first. The lock ends with its file, and with its process.
        let lock = self.scratch().join(format!("teacher-{id}.lock"));
        let _lock = blocking(move || {
            let file = File::create(&lock).map_err(EngineError::io(&lock))?;
            file.lock().map_err(EngineError::io(&lock))?;
            Ok(file)
        })
        .await?;
        let wanted = plan.view().train.len() * plan.view().classes.len();
        if let Ok(bytes) = self.store().files.get(&key).await
            && let (numbers, []) = bytes.as_chunks()
            && numbers.len() == wanted
        {
            return Ok(numbers.iter().map(|b| f32::from_le_bytes(*b)).collect());
        }
        let path = self.backbone_path(name);
        let (plan, dataset, device) = (plan.clone(), dataset.clone(), device.clone());
        let answers = blocking(move || {
            let bytes = std::fs::read(&path).map_err(EngineError::io(&path))?;
            let graph = backbone(name.as_str())?.build(Cut::Whole, RESOLUTION, End::Features)?;
            let weights = pretrained_weights(&graph, &Pretrained::from_bytes(&bytes)?.weights, 0)?;
            let picks = &plan.view().train;
            let features = features(&device, &graph, &weights, &dataset, picks, &cancel.cancel)?;
            let labels: Vec<usize> = picks.iter().map(|(_, label)| *label).collect();
            let groups: Vec<u32> = picks.iter().map(|(at, _)| dataset.manifest().examples[*at].group).collect();
            let folds = deal_folds(&labels, &groups, FOLDS, plan.spec().seed);
            Ok(held_out_answers(&device, &features, &labels, &folds, plan.view().classes.len())?)
        })
        .await?;
        let bytes: Vec<u8> = answers.iter().flat_map(|p| p.to_le_bytes()).collect();
        self.store().files.put_bytes(&key, bytes).await?;
        Ok(answers)
    }
}

/// Tells which examples as which classes are answered about, by which backbone.
fn id(plan: &Plan, name: BackboneName, dataset: &Dataset) -> Result<String, EngineError> {
    let (manifest, spec) = (dataset.manifest(), plan.spec());
    let asked = serde_json::to_vec(&(&manifest.hash, spec.groups(&manifest.classes), name, RESOLUTION, spec.seed))?;
    Ok(Sha256::digest(asked).iter().map(|byte| format!("{byte:02x}")).collect())
}
