//! What a trial begins from.

use kindling_models::{FAMILIES, backbones::pretrained_weights};
use kindling_spec::{BackboneName, SpecError};
use kindling_store::TrialRecord;
use kindling_train::{Pretrained, TrialConfig};
use std::path::PathBuf;

use crate::error::blocking;
use crate::{EngineError, Plan, Service};

impl Service {
    /// Where the weights of a backbone lie; `kindling fetch backbone` puts them there.
    pub fn backbone_path(&self, name: BackboneName) -> PathBuf {
        self.data_dir().join("backbones").join(format!("{name}.safetensors"))
    }

    /// That the backbone a task asks for is there.
    ///
    /// # Errors
    /// Saying how to get it.
    pub(crate) fn check_backbone(&self, name: Option<BackboneName>) -> Result<(), EngineError> {
        match name {
            Some(name) if !self.backbone_path(name).is_file() => {
                let dir = self.data_dir().display();
                let how = format!("run `kindling fetch backbone {name} --data-dir {dir}` first, or leave it out");
                Err(SpecError::one("/backbone", format!("the weights of `{name}` are not here: {how}")).into())
            }
            _ => Ok(()),
        }
    }

    /// A trial's network, and the weights it begins from where others trained them.
    pub(crate) async fn trial_config(&self, plan: &Plan, trial: &TrialRecord) -> Result<TrialConfig, EngineError> {
        let graph = plan.kind().trained(plan.graph(&trial.genome)?)?;
        let seed = plan.trial_seed(trial.number);
        let config = |initial| TrialConfig { graph: graph.clone(), genome: trial.genome.clone(), seed, initial };
        // Gone on with from a checkpoint, it needs none.
        if trial.checkpoint.is_some() {
            return Ok(config(None));
        }
        if let Some(model) = plan.earlier(&trial.genome)
            && let Some(weights) = self.earlier_weights(model, &graph, plan.kind(), seed).await?
        {
            return Ok(config(Some(weights)));
        }
        let family = FAMILIES.iter().find(|family| family.name() == trial.genome.family);
        let initial = match family.and_then(|family| family.backbone()).zip(plan.spec().backbone) {
            Some((_, name)) => {
                let (path, graph) = (self.backbone_path(name), graph.clone());
                let weights = blocking(move || {
                    let bytes = std::fs::read(&path).map_err(EngineError::io(&path))?;
                    Ok(pretrained_weights(&graph, &Pretrained::from_bytes(&bytes)?.weights, seed)?)
                });
                Some(weights.await?)
            }
            _ => None,
        };
        Ok(config(initial))
    }
}
