//! Everything to run a fleet elsewhere: the specialists' files, the router, the report.

use kindling_export::{FLEET_VERSION, FleetEntry, FleetManifest, ROUTER, folder_name};
use kindling_spec::{ErrorCode, FleetId};
use kindling_store::{FleetRecord, ModelRecord};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::PathBuf;

use super::FleetReport;
use crate::models::ONNX;
use crate::{EngineError, Service};

/// Where a specialist of two outputs finds its class likelier than not.
const EVEN: f64 = 0.5;

/// A file of a fleet's bundle.
#[derive(Debug, Clone)]
pub struct FleetFile {
    /// Its path within the bundle, with `/` between folders.
    pub path: String,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
    /// What is in it.
    pub content: FleetContent,
}

/// The content of a [`FleetFile`].
#[derive(Debug, Clone)]
pub enum FleetContent {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Those of a file on the local disk, which does not change.
    File(PathBuf),
}

impl FleetFile {
    fn of(path: &str, bytes: Vec<u8>) -> Self {
        let sha256 = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self { path: path.to_owned(), sha256, content: FleetContent::Bytes(bytes) }
    }
}

impl Service {
    /// The files of a fleet's bundle, by path: every file of the best model of each specialist there is, `fleet.json`,
    /// `router.py`, `report.json`, `README.md` and `SHA256SUMS`. The same as long as the models are.
    ///
    /// # Errors
    /// There is no fleet of this id, or none of its specialists has a model yet.
    pub async fn fleet_bundle(&self, id: &FleetId) -> Result<Vec<FleetFile>, EngineError> {
        let fleet = self.fleet(id).await?;
        let (mut files, mut entries) = (Vec::new(), Vec::new());
        for (number, member) in fleet.members.iter().filter(|m| m.class.is_some()).enumerate() {
            let Some(model) = self.task(&member.task).await?.best_model else { continue };
            let model = self.model(&model).await?;
            let class = member.class.clone().unwrap_or_default();
            let folder = format!("specialists/{}", folder_name(number, &class));
            for file in &model.files {
                let (file, path) = self.model_file(&model.id, &file.name).await?;
                let content = FleetContent::File(path);
                files.push(FleetFile { path: format!("{folder}/{}", file.name), sha256: file.sha256, content });
            }
            entries.push(self.entry(class, &model, &folder).await?);
        }
        if entries.is_empty() {
            let detail = format!("no specialist of fleet {id} has a model yet; ask again when the first one has");
            return Err(EngineError::refused(ErrorCode::FleetState, detail));
        }
        let report = self.fleet_report(id).await?;
        let readme = readme(&fleet, &report);
        let manifest = FleetManifest {
            version: FLEET_VERSION,
            fleet: id.to_string(),
            name: fleet.spec.name,
            specialists: entries,
        };
        files.push(FleetFile::of("fleet.json", serde_json::to_vec_pretty(&manifest)?));
        files.push(FleetFile::of("report.json", serde_json::to_vec_pretty(&report)?));
        files.push(FleetFile::of("router.py", ROUTER.as_bytes().to_vec()));
        files.push(FleetFile::of("README.md", readme.into_bytes()));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let sums: String = files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect();
        files.push(FleetFile::of("SHA256SUMS", sums.into_bytes()));
        Ok(files)
    }

    async fn entry(&self, class: String, model: &ModelRecord, folder: &str) -> Result<FleetEntry, EngineError> {
        let (onnx, _) = self.model_file(&model.id, ONNX).await?;
        // With recall at a precision as objective, the threshold that reached it on the validation split. Not the trial's, whose
        // probabilities were not tempered yet.
        let threshold = model.card.pointer("/decision/at_least").and_then(serde_json::Value::as_f64).unwrap_or(EVEN);
        Ok(FleetEntry {
            class,
            model: model.id.to_string(),
            path: format!("{folder}/{ONNX}"),
            sha256: onnx.sha256,
            labels: serde_json::from_value(model.card.get("labels").cloned().unwrap_or_default())?,
            threshold,
        })
    }
}

/// How to use the bundle, and the report as a table.
fn readme(fleet: &FleetRecord, report: &FleetReport) -> String {
    let mut text = format!(
        "# {}\n\nOne small network a class. `router.py` asks them all about a picture:\n\n```sh\n\
         pip install onnxruntime numpy pillow\npython3 router.py picture.jpg\n```\n\n\
         Each folder under `specialists/` is a model's whole bundle with its card; `fleet.json` lists them, \
         `report.json` compares them with one network for all classes, and `sha256sum -c SHA256SUMS` checks all.\n\n\
         | class | pictures | recall at precision {:.2} | one for all | average precision | one for all | weights \
         (bytes) | one for all |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
        fleet.spec.name, report.precision
    );
    for row in &report.classes {
        let cells = |side: &Option<super::FleetSide>| match side {
            Some(s) => {
                let [low, high] = s.recall_ci;
                let recall = format!("{:.3} ({low:.3}–{high:.3})", s.recall);
                (recall, format!("{:.3}", s.average_precision), s.weights_bytes.to_string())
            }
            None => ("–".to_owned(), "–".to_owned(), "–".to_owned()),
        };
        let (one, all) = (cells(&row.specialist), cells(&row.single));
        let class = row.class.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| {class} | {} | {} | {} | {} | {} | {} | {} |",
            row.positives, one.0, all.0, one.1, all.1, one.2, all.2
        );
    }
    let _ = writeln!(text, "\n{}\n\n{}", report.method, kindling_export::OWNERSHIP);
    text
}
