//! What a trial begins from.

use kindling_models::{FAMILIES, backbones::pretrained_weights};
use kindling_spec::{BackboneName, SpecError};
use kindling_store::TrialRecord;
use kindling_train::{Pretrained, TrialConfig};
use std::path::PathBuf;

use crate::error::blocking;
use crate::{EngineError, Plan, Service};

fn file_name(name: BackboneName) -> String {
    format!("{name}.safetensors")
}

/// The folder of a backbone's weights among the files.
fn shared_key(name: BackboneName) -> String {
    format!("backbones/{name}")
}

impl Service {
    /// Where the weights of a backbone lie on this machine; `kindling fetch backbone` puts them there.
    pub fn backbone_path(&self, name: BackboneName) -> PathBuf {
        self.data_dir().join("backbones").join(file_name(name))
    }

    /// That the backbone a task asks for is there, for workers of other machines too.
    ///
    /// # Errors
    /// Saying how to get it.
    pub(crate) async fn check_backbone(&self, name: Option<BackboneName>) -> Result<(), EngineError> {
        let Some(name) = name else { return Ok(()) };
        let (path, files) = (self.backbone_path(name), &self.store().files);
        let shared = format!("{}/{}", shared_key(name), file_name(name));
        if path.is_file() {
            if self.is_shared() && !files.exists(&shared).await? {
                files.put_file(&shared, &path).await?;
            }
            return Ok(());
        }
        if self.is_shared() && files.exists(&shared).await? {
            return Ok(());
        }
        let dir = self.data_dir().display();
        let how = format!("run `kindling fetch backbone {name} --data-dir {dir}` first, or leave it out");
        Err(SpecError::one("/backbone", format!("the weights of `{name}` are not here: {how}")).into())
    }

    /// The weights of a backbone on this machine, fetched if another machine has them.
    pub(crate) async fn backbone_weights(&self, name: BackboneName) -> Result<PathBuf, EngineError> {
        let path = self.backbone_path(name);
        if path.is_file() || !self.is_shared() {
            return Ok(path);
        }
        Ok(self.store().files.fetch_dir(&shared_key(name)).await?.join(file_name(name)))
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
                let (path, graph) = (self.backbone_weights(name).await?, graph.clone());
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
