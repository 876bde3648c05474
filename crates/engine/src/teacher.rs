//! What a backbone says of a task's training examples, for small networks to learn from.

use kindling_data::{Dataset, deal_folds};
use kindling_models::backbones::{Cut, End, backbone, pretrained_weights};
use kindling_spec::BackboneName;
use kindling_train::{OpenDevice, Pretrained, features, held_out_answers};
use sha2::{Digest, Sha256};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use crate::error::blocking;
use crate::{EngineError, Plan, Service, access::hex, worker::Signals};

/// The side of the pictures that the teacher sees: more than the students do.
const RESOLUTION: usize = 160;
/// Parts that are held out in turn.
const FOLDS: usize = 5;
/// Examples whose features are made at once by one worker.
const BLOCK: usize = 128;

impl Service {
    /// The teacher's answers on the training split, `[examples, classes]`: a linear classifier on the features of
    /// the whole backbone, for each example one that did not see it. Made once for the same examples and classes, by
    /// all workers that ask for it.
    pub(crate) async fn teacher(
        &self,
        plan: &Arc<Plan>,
        name: BackboneName,
        dataset: &Arc<Dataset>,
        device: &Arc<OpenDevice>,
        cancel: Arc<Signals>,
    ) -> Result<Vec<f32>, EngineError> {
        let id = id(plan, name, dataset)?;
        let answers_key = format!("teachers/{id}/answers.f32");
        if let Some(answers) = self.numbers(&answers_key).await? {
            return Ok(answers);
        }
        let features = self.features(&id, plan, name, dataset, device, cancel).await?;
        // Whoever comes second waits for the first. The lock ends with its file, and with its process.
        let path = self.scratch().join(format!("teacher-{id}.lock"));
        let _lock = blocking(move || lock(&path, true)).await?;
        if let Some(answers) = self.numbers(&answers_key).await? {
            return Ok(answers);
        }
        let (plan, dataset, device) = (plan.clone(), dataset.clone(), device.clone());
        let answers = blocking(move || {
            let view = plan.view()?;
            let picks = &view.train;
            let labels: Vec<usize> = picks.iter().map(|(_, label)| *label).collect();
            let groups: Vec<u32> = picks.iter().map(|(at, _)| dataset.manifest().examples[*at].group).collect();
            let folds = deal_folds(&labels, &groups, FOLDS, plan.spec().seed);
            Ok(held_out_answers(&device, &features, &labels, &folds, view.classes.len())?)
        })
        .await?;
        self.keep(&answers_key, &answers).await?;
        Ok(answers)
    }

    /// The backbone's features of the training split, `[examples, features]`, in the order of the split.
    async fn features(
        &self,
        id: &str,
        plan: &Arc<Plan>,
        name: BackboneName,
        dataset: &Arc<Dataset>,
        device: &Arc<OpenDevice>,
        cancel: Arc<Signals>,
    ) -> Result<Vec<f32>, EngineError> {
        let path = self.backbone_weights(name).await?;
        let (graph, weights) = blocking(move || {
            let bytes = std::fs::read(&path).map_err(EngineError::io(&path))?;
            let graph = backbone(name.as_str())?.build(Cut::Whole, RESOLUTION, End::Features)?;
            let weights = pretrained_weights(&graph, &Pretrained::from_bytes(&bytes)?.weights, 0)?;
            Ok((graph, weights))
        })
        .await?;
        let net = Arc::new((graph, weights));
        let blocks = plan.view()?.train.len().div_ceil(BLOCK);
        let mut found: Vec<Option<Vec<f32>>> = vec![None; blocks];
        // Blocks that another worker is making are passed over at first and waited for in the end.
        for wait in [false, true] {
            for (block, found) in found.iter_mut().enumerate().filter(|(_, found)| found.is_none()) {
                let key = format!("teachers/{id}/features-{block}.f32");
                if let Some(features) = self.numbers(&key).await? {
                    *found = Some(features);
                    continue;
                }
                let path = self.scratch().join(format!("teacher-{id}-{block}.lock"));
                let Some(_lock) = blocking(move || lock(&path, wait)).await? else { continue };
                let features = match self.numbers(&key).await? {
                    Some(features) => features,
                    None => {
                        let (plan, dataset, device) = (plan.clone(), dataset.clone(), device.clone());
                        let (net, cancel) = (net.clone(), cancel.clone());
                        let features = blocking(move || {
                            let picks = plan.view()?.train.chunks(BLOCK).nth(block).unwrap_or_default();
                            Ok(features(&device, &net.0, &net.1, &dataset, picks, &cancel.cancel)?)
                        })
                        .await?;
                        self.keep(&key, &features).await?;
                        features
                    }
                };
                *found = Some(features);
            }
        }
        Ok(found.into_iter().flatten().flatten().collect())
    }

    /// The numbers of a file, if it is there and whole.
    async fn numbers(&self, key: &str) -> Result<Option<Vec<f32>>, EngineError> {
        let files = &self.store().files;
        if !files.exists(key).await? {
            return Ok(None);
        }
        let bytes = files.get(key).await?;
        let (numbers, rest) = bytes.as_chunks();
        Ok(rest.is_empty().then(|| numbers.iter().map(|b| f32::from_le_bytes(*b)).collect()))
    }

    async fn keep(&self, key: &str, numbers: &[f32]) -> Result<(), EngineError> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|p| p.to_le_bytes()).collect();
        Ok(self.store().files.put_bytes(key, bytes).await?)
    }
}

/// Takes a lock, if need be after waiting for it; none if another has it.
fn lock(path: &Path, wait: bool) -> Result<Option<File>, EngineError> {
    let file = File::create(path).map_err(EngineError::io(path))?;
    match wait {
        true => file.lock().map_err(EngineError::io(path))?,
        false => match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(EngineError::io(path)(error)),
        },
    }
    Ok(Some(file))
}

/// Tells which examples as which classes are answered about, by which backbone.
fn id(plan: &Plan, name: BackboneName, dataset: &Dataset) -> Result<String, EngineError> {
    let (manifest, spec) = (dataset.manifest(), plan.spec());
    let asked = serde_json::to_vec(&(&manifest.hash, spec.groups(&manifest.classes), name, RESOLUTION, spec.seed))?;
    Ok(hex(&Sha256::digest(asked)))
}
