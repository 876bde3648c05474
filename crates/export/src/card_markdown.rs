//! The card for people.

use crate::{AnomalyMetrics, BoxMetrics, Card, CardDecision, CardInt8, CardMetrics, Refused, SplitMetrics};
use kindling_spec::TaskKind;
use std::fmt::Write;

impl Card {
    /// The card as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_markdown(&mut text);
        text
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "# {}\n", plain(&self.task.name))?;
        let verb = match self.task.kind {
            TaskKind::ObjectDetection | TaskKind::ObjectLocalization => "Finds",
            TaskKind::ImageClassification | TaskKind::AnomalyDetection => "Tells apart",
        };
        writeln!(out, "{verb}: {}. Model `{}`, made {}.\n", list(&self.labels), self.model, self.created)?;
        writeln!(out, "{}\n", self.ownership)?;
        writeln!(out, "## How good it is\n")?;
        metrics(out, "Test", "the search never saw these images", &self.test, &self.labels)?;
        metrics(out, "Validation", "the search chose by these, so they flatter", &self.validation, &self.labels)?;
        if let Some(at_least) = self.at_least {
            writeln!(out, "### When to say that an object is there\n")?;
            writeln!(
                out,
                "Where its score is at least {at_least:.3}, chosen on the validation images. Precision, recall and F1 above are at \
                 this score; average precision is over all scores. Every file holds it, and lets its user name another.\n"
            )?;
        }
        if let Some(int8) = &self.int8 {
            writeln!(out, "### In 8 bits\n")?;
            writeln!(
                out,
                "`model.int8.onnx`, run on the same {} test images: {} network. Weights {} bytes, peak of activations {} bytes. It \
                 answers as the files in C, Rust and JavaScript on {:.1}% of {} of them. Ranges of activations: {}.\n",
                int8.examples,
                beside(&self.test, int8),
                thousands(int8.weights_bytes),
                thousands(int8.peak_ram_bytes),
                int8.agreement * 100.0,
                int8.compared,
                int8.calibration
            )?;
        }
        if let Some(CardDecision { label, at_least, precision, recall }) = &self.decision {
            let share = |share: &Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1}%", share * 100.0));
            writeln!(out, "### When to say {}\n", plain(label))?;
            writeln!(
                out,
                "Where its probability is at least {at_least:.3}. That had the precision asked for on the validation images; on the \
                 test images it has a precision of {} and a recall of {}.\n",
                share(precision),
                share(recall)
            )?;
        }
        if let Some(unknown) = &self.unknown {
            writeln!(out, "### Images of none of the labels\n")?;
            writeln!(
                out,
                "The model always answers with one of its labels. An answer with a probability below {:.3} is likely for an image \
                 of none of them; that turns away:\n\n| images of | images | turned away |\n| --- | --: | --: |",
                unknown.below
            )?;
            for Refused { of, images, share } in &unknown.refused {
                writeln!(out, "| {} | {} | {:.1}% |", plain(of), thousands(*images), share * 100.0)?;
            }
            writeln!(out)?;
        }
        self.write_data(out)?;
        self.write_costs(out)?;
        self.write_checks(out)?;
        writeln!(out, "## How it was made\n")?;
        writeln!(
            out,
            "Kindling {}, burn {}, device {}, seed {}.",
            self.versions.kindling, self.versions.burn, self.device, self.seed
        )?;
        writeln!(out, "Graph SHA-256 `{}`.\n\n```json\n{}\n```\n", self.graph_sha256, json(&self.genome))?;
        writeln!(out, "The task:\n\n```json\n{}\n```", json(&self.task))
    }

    fn write_data(&self, out: &mut String) -> std::fmt::Result {
        let data = &self.data;
        writeln!(out, "## Data\n\nData set {}, content SHA-256 `{}`.\n", data.dataset, data.sha256)?;
        writeln!(out, "| split | images | {} | SHA-256 of the sorted files' SHA-256 |", cells(&self.labels))?;
        writeln!(out, "| --- | --: |{} --- |", " --: |".repeat(self.labels.len()))?;
        for split in &data.splits {
            let counts: Vec<String> = split.class_counts.iter().map(u64::to_string).collect();
            writeln!(out, "| {} | {} | {} | `{}` |", split.split, split.examples, counts.join(" | "), split.sha256)?;
        }
        let audit = &data.audit;
        writeln!(
            out,
            "\nAudit: {} broken files, {} groups of identical files, {} groups of near duplicates, {} groups with labels that disagree.",
            audit.broken, audit.exact_duplicate_groups, audit.near_duplicate_groups, audit.label_conflicts
        )?;
        for warning in &audit.warnings {
            writeln!(out, "- {}", plain(warning))?;
        }
        writeln!(out)
    }

    fn write_costs(&self, out: &mut String) -> std::fmt::Result {
        let cost = &self.cost;
        let [height, width] = cost.resolution;
        writeln!(out, "## What it costs\n\n| to use | |\n| --- | --: |")?;
        writeln!(out, "| parameters | {} |", thousands(cost.parameters))?;
        writeln!(out, "| weights as deployed | {} bytes |", thousands(cost.weights_bytes))?;
        writeln!(out, "| multiply-accumulates an image | {} |", thousands(cost.macs))?;
        writeln!(out, "| peak of activations, planned | {} bytes |", thousands(cost.peak_ram_bytes))?;
        writeln!(out, "| the network's own resolution | {height} x {width} |")?;
        if let Some(latency) = &cost.latency {
            writeln!(
                out,
                "| an image, median | {:.3} ms |\n| an image, 95th percentile | {:.3} ms |",
                latency.median_ms, latency.p95_ms
            )?;
            writeln!(out, "\nTime on {}: {}; {} runs.\n", plain(&latency.cpu), latency.method, latency.runs)?;
        } else {
            writeln!(out, "\nTime was not measured.\n")?;
        }
        let making = &self.making;
        writeln!(
            out,
            "| to make | |\n| --- | --: |\n| trials | {} |\n| epochs | {} |",
            thousands(making.trials),
            thousands(making.epochs)
        )?;
        writeln!(out, "| images shown | {} |\n| seconds | {:.1} |", thousands(making.images), making.seconds)?;
        match making.energy.joules {
            Some(joules) => writeln!(out, "| joules | {joules:.0} |\n\nEnergy: {}.\n", plain(&making.energy.note)),
            None => writeln!(out, "| joules | not known |\n\nEnergy is not known: {}.\n", plain(&making.energy.note)),
        }
    }

    fn write_checks(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "## Files\n\n| file | bytes | SHA-256 | what it is |\n| --- | --: | --- | --- |")?;
        for file in &self.files {
            writeln!(
                out,
                "| {} | {} | `{}` | {} |",
                file.name,
                thousands(file.bytes),
                file.sha256,
                plain(&file.about)
            )?;
        }
        writeln!(out, "\nEach was run again before it was offered:\n")?;
        writeln!(
            out,
            "| file | how | test images | greatest difference{} | allowed |\n| --- | --- | --: | --: | --: |",
            if self.test.boxes().is_some() { " of a score or side" } else { " of a probability" }
        )?;
        for check in &self.checks {
            let (how, images) = (plain(&check.how), check.images);
            writeln!(
                out,
                "| {} | {how} | {images} | {:.1e} | {:.0e} |",
                check.file, check.max_difference, check.tolerance
            )?;
        }
        writeln!(out, "\n## How to check each figure again\n")?;
        for how in &self.how_to_check {
            writeln!(out, "{}:\n\n```sh\n{}\n```\n", capital(&how.figure), how.command)?;
        }
        Ok(())
    }
}

/// The 8-bit figures, and how much the 32-bit ones are above them.
fn beside(test: &SplitMetrics, int8: &CardInt8) -> String {
    match test {
        SplitMetrics::Classes(test) => {
            let accuracy = int8.accuracy.unwrap_or(f64::NAN);
            let drop = (test.accuracy - accuracy) * 100.0;
            format!("accuracy {:.1}%, {drop:.1} points below the 32-bit", accuracy * 100.0)
        }
        SplitMetrics::Boxes(test) => {
            let below = |whole: Option<f64>, own: Option<f64>| match (whole, own) {
                (Some(whole), Some(own)) => format!("{:.4} below", whole - own),
                _ => "not compared with".into(),
            };
            format!(
                "mAP@.5 {}, {}, and mAP@.5:.95 {}, {} the 32-bit",
                share(int8.map50),
                below(test.map50, int8.map50),
                share(int8.map),
                below(test.map, int8.map)
            )
        }
    }
}

fn metrics(out: &mut String, name: &str, about: &str, of: &SplitMetrics, labels: &[String]) -> std::fmt::Result {
    match of {
        SplitMetrics::Classes(of) => class_metrics(out, name, about, of, labels),
        SplitMetrics::Boxes(of) => box_metrics(out, name, about, of),
    }
}

fn box_metrics(out: &mut String, name: &str, about: &str, of: &BoxMetrics) -> std::fmt::Result {
    writeln!(out, "### {name}: {} images with {} boxes ({about})\n", of.examples, of.boxes)?;
    writeln!(out, "| mAP@.5 | mAP@.5:.95 | precision | recall | F1 of centres | {} |", of.objective.metric)?;
    writeln!(out, "| --: | --: | --: | --: | --: | --: |")?;
    let [map50, map, precision, recall, f1] = [of.map50, of.map, of.precision, of.recall, of.centroid_f1].map(share);
    writeln!(out, "| {map50} | {map} | {precision} | {recall} | {f1} | {:.4} |\n", of.objective.value)?;
    writeln!(
        out,
        "mAP as pycocotools computes it. Precision and recall: an object said is right where it overlaps a true box of its class \
         by half, intersection over union; in F1 of centres, where its middle lies in one.\n"
    )?;
    writeln!(out, "| class | AP@.5 | AP@.5:.95 | precision | recall | boxes |\n| --- | --: | --: | --: | --: | --: |")?;
    for class in &of.per_class {
        let [ap50, ap, precision, recall] = [class.ap50, class.ap, class.precision, class.recall].map(share);
        writeln!(out, "| {} | {ap50} | {ap} | {precision} | {recall} | {} |", plain(&class.label), class.boxes)?;
    }
    writeln!(out)
}

fn class_metrics(out: &mut String, name: &str, about: &str, of: &CardMetrics, labels: &[String]) -> std::fmt::Result {
    let [low, high] = of.accuracy_ci;
    writeln!(out, "### {name}: {} images ({about})\n", of.examples)?;
    writeln!(out, "| accuracy | 95% interval | balanced accuracy | F1 (macro) | log loss | {} |", of.objective.metric)?;
    writeln!(out, "| --: | --: | --: | --: | --: | --: |")?;
    writeln!(
        out,
        "| {:.4} | {low:.4} to {high:.4} | {:.4} | {:.4} | {:.4} | {:.4} |\n",
        of.accuracy, of.balanced_accuracy, of.f1_macro, of.log_loss, of.objective.value
    )?;
    if let Some(anomalies) = &of.anomalies {
        anomaly_metrics(out, anomalies)?;
    }
    if let Some(error) = of.calibration_error {
        writeln!(
            out,
            "Calibration error {:.1} points. Of the answers given with a probability of about:\n",
            error * 100.0
        )?;
        writeln!(out, "| probability | answers | of them right |\n| --: | --: | --: |")?;
        for bin in &of.reliability {
            let [said, right] = [bin.confidence, bin.accuracy].map(|share| format!("{:.1}%", share * 100.0));
            writeln!(out, "| {said} | {} | {right} |", bin.count)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "| class | precision | recall | F1 | images |\n| --- | --: | --: | --: | --: |")?;
    for class in &of.per_class {
        let [precision, recall, f1] = [class.precision, class.recall, class.f1].map(share);
        writeln!(out, "| {} | {precision} | {recall} | {f1} | {} |", plain(&class.label), class.support)?;
    }
    writeln!(out, "\n| true class, answered as: | {} |\n| --- |{}", cells(labels), " --: |".repeat(labels.len()))?;
    for (label, row) in labels.iter().zip(&of.confusion) {
        let counts: Vec<String> = row.iter().map(u64::to_string).collect();
        writeln!(out, "| {} | {} |", plain(label), counts.join(" | "))?;
    }
    writeln!(out)
}

fn anomaly_metrics(out: &mut String, of: &AnomalyMetrics) -> std::fmt::Result {
    let interval = |[low, high]: [f64; 2]| format!("{low:.4} to {high:.4}");
    writeln!(
        out,
        "Good images called faulty: {} (95% interval {}); at most {:.4} on average was promised by the good validation images. Faulty \
         images found: {} (95% interval {}). Area under the ROC curve: {} with real faulty images, {} with defects drawn on good \
         ones.\n",
        share(of.false_alarms),
        interval(of.false_alarms_ci),
        of.false_alarms_promised,
        share(of.recall),
        interval(of.recall_ci),
        share(of.image_auroc),
        share(of.drawn_auroc)
    )?;
    if of.per_class.is_empty() {
        return Ok(());
    }
    writeln!(out, "| fault | found | area under the ROC curve | images |\n| --- | --: | --: | --: |")?;
    for fault in &of.per_class {
        let auroc = share(fault.image_auroc);
        writeln!(out, "| {} | {:.4} | {auroc} | {} |", plain(&fault.label), fault.recall, fault.support)?;
    }
    writeln!(out)
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

fn cells(labels: &[String]) -> String {
    labels.iter().map(|label| plain(label)).collect::<Vec<_>>().join(" | ")
}

fn list(labels: &[String]) -> String {
    labels.iter().map(|label| plain(label)).collect::<Vec<_>>().join(", ")
}

/// Text that came from people, so that none of it is read as Markdown or breaks a table.
fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '`' | '[' | ']' | '<' | '>' | '#' | '\\' | '!' => safe.extend(['\\', c]),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_s_words_cannot_break_a_table() {
        assert_eq!(plain("a|b\nc `x` <b>"), "a\\|b c \\`x\\` \\<b\\>");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(thousands(12), "12");
    }
}
