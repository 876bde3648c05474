//! `kindling devices`.

use crate::{failure::Failure, output};
use kindling_train::DeviceKind;
use serde_json::json;

/// Lists the devices to train on.
#[derive(clap::Args)]
pub(crate) struct Devices {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Devices {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let devices = kindling_train::devices();
        if self.json {
            let list: Vec<_> = devices
                .iter()
                .map(|d| json!({"name": d.name, "about": d.about, "real_gpu": matches!(d.kind, DeviceKind::Gpu | DeviceKind::Cuda)}))
                .collect();
            return output::say_json(&list);
        }
        let rows: Vec<_> = devices.iter().map(|d| vec![format!("{:<12}  {}", d.name, d.about)]).collect();
        output::say(&output::table(&["name          what it is"], &rows));
        output::say(
            "\n`auto` is flex, which trains networks this small as fast as a graphics card. Give a name with --device.",
        );
        Ok(())
    }
}
