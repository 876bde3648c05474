//! `kindling bench throughput`.

use crate::failure::{Exit, Failure};
use crate::output;
use kindling_models::{FAMILIES, build_graph, default_genomes};
use kindling_spec::Genome;
use serde_json::json;

/// Trains each family's reference networks for a few steps and prints images a second.
#[derive(clap::Args)]
pub(crate) struct Throughput {
    /// The device; `kindling devices` lists them.
    #[arg(long, default_value = "auto", value_name = "NAME")]
    device: String,
    /// Images a step.
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// Steps that count.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    steps: u16,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Throughput {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::new(Exit::Failed, e.to_string());
        let device = kindling_train::open_device(&self.device)
            .map_err(|e| Failure::new(Exit::Usage, e.to_string()).mend("`kindling devices` lists them"))?;
        let (mut rows, mut figures) = (Vec::new(), Vec::new());
        for family in FAMILIES {
            for params in default_genomes(family.name()) {
                let genome = Genome { family: family.name().to_owned(), params };
                let graph = build_graph(&genome, 3).map_err(|e| failed(&e))?;
                let cost = graph.cost().map_err(|e| failed(&e))?;
                let speed = kindling_train::measure(&device, &graph, self.batch.into(), self.steps.into())
                    .map_err(|e| failed(&e))?;
                let pixels = graph.input.height;
                rows.push(vec![
                    family.name().to_owned(),
                    pixels.to_string(),
                    output::count(cost.parameters),
                    output::count(cost.macs),
                    format!("{speed:.0}"),
                ]);
                figures.push(json!({
                    "family": family.name(),
                    "resolution": pixels,
                    "parameters": cost.parameters,
                    "macs": cost.macs,
                    "batch": self.batch,
                    "images_per_second": speed,
                }));
            }
        }
        if self.json {
            return output::say_json(&json!({"device": device.name, "figures": figures}));
        }
        output::say(&format!("device {}, {} images a step", device.name, self.batch));
        output::say(&output::table(&["family", "px", "parameters", "MACs", "images/s"], &rows));
        Ok(())
    }
}
