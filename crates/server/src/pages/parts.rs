//! Pieces that several pages share.

use kindling_engine::Mistake;
use kindling_export::{AnomalyMetrics, BoxMetrics, Card, CardMetrics, SplitMetrics};
use kindling_spec::{DatasetId, ErrorCode, Metric, ModelId};
use kindling_store::{FileRecord, ModelRecord};
use maud::{Markup, html};
use std::collections::BTreeMap;

use super::plain;

/// Thumbnails shown for each kind of mistake.
const SHOWN: usize = 8;

/// A state as a coloured word.
pub(crate) fn state(word: &str) -> Markup {
    html! { span class={ "state " (word) } { (word) } }
}

/// What a metric is called in a sentence.
pub(crate) fn metric_name(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "accuracy",
        Metric::BalancedAccuracy => "balanced accuracy",
        Metric::F1Macro => "F1 (macro)",
        Metric::RecallAtPrecision => "recall at the wanted precision",
        Metric::Map50 => "mAP at an overlap of half",
        Metric::Map => "mAP",
        Metric::LocalizationAccuracy => "share found",
        Metric::ImageAuroc => "area under the ROC curve",
    }
}

/// The box that takes an archive; for a data set that is there, or a new one.
pub(crate) fn upload_form(dataset: Option<&DatasetId>) -> Markup {
    html! {
        form #upload data-dataset=[dataset] {
            @if dataset.is_none() {
                label for="dataset-name" { "What do the pictures show?" }
                input #dataset-name name="name" maxlength="200" required placeholder="Camera on the hill" autocomplete="off";
                label for="labels" { "What is known of each?" }
                select #labels name="labels" {
                    option value="classes" { "Its kind: one folder for each, or a labels.csv" }
                    option value="boxes" { "Boxes around things: COCO, Pascal VOC, YOLO or a boxes.csv" }
                }
            }
            label.drop #upload-drop for="archive" {
                (icon("M12 16V4m0 0L7 9m5-5 5 5M4 16v3a1 1 0 0 0 1 1h14a1 1 0 0 0 1-1v-3"))
                strong { "Drop a zip file here" }
                span { "or choose one (zip, tar or tar.gz)" }
                input #archive type="file" accept=".zip,.tar,.gz,.tgz,application/zip,application/gzip" data-over="#upload-drop";
            }
            div #upload-status.status role="status" aria-live="polite" {}
            div #upload-bar.bar hidden { span {} }
        }
    }
}

/// A drawn sign: fonts of signs are not on every machine.
fn icon(path: &str) -> Markup {
    html! { svg.drop-icon viewBox="0 0 24 24" aria-hidden="true" { path d=(path) {} } }
}

/// The box to try a model with. `model` is followed as it changes.
pub(crate) fn try_box(model: Option<&ModelId>) -> Markup {
    html! {
        section.card #try aria-labelledby="try-title" {
            h2 #try-title { "Try it" }
            label.drop #drop for="file" {
                span #look { img #preview alt="" hidden; span #objects aria-hidden="true" {} }
                (icon("M4 8h3l2-3h6l2 3h3v11H4zM12 16.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7z"))
                strong { "Drop a picture here" }
                span { "or tap to choose one or take a photo" }
                input #file type="file" accept="image/png,image/jpeg,image/webp,image/bmp,image/tiff,image/*" data-over="#drop" disabled[model.is_none()];
            }
            div #answer role="status" aria-live="polite" {
                @if model.is_none() { p.empty { "As soon as there is a first model, you can try it here." } }
            }
        }
    }
}

/// The card of a model, if it can be read.
pub(crate) fn card(model: &ModelRecord) -> Option<Card> {
    let read = serde_json::from_value(model.card.clone());
    read.map_err(|error| tracing::error!(model = %model.id, %error, "a model card cannot be read")).ok()
}

/// `Right on 93 of 100`: rounded as people speak, but never 100 when something was wrong.
fn in_hundred(share: f64) -> u32 {
    let rounded = (share * 100.0).round() as u32;
    if share < 1.0 { rounded.min(99) } else { rounded }
}

/// How good it is, in a sentence and figures.
pub(crate) fn figures(card: &Card) -> Markup {
    html! {
        @match &card.test {
            SplitMetrics::Classes(test) => (class_figures(card, test)),
            SplitMetrics::Boxes(test) => (box_figures(card, test)),
        }
        dl.facts {
            div { dt { "Size" } dd { (plain::bytes(card.cost.weights_bytes)) } }
            @if let Some(latency) = &card.cost.latency {
                div { dt { "One picture" } dd title=(latency.cpu) { (plain::milliseconds(latency.median_ms)) } }
            }
            div { dt { "Work" } dd { (plain::large(card.cost.macs)) " MACs" } }
            div { dt { "Memory" } dd { (plain::bytes(card.cost.peak_ram_bytes)) } }
            div { dt { "Looks at" } dd { (card.cost.resolution[1]) "×" (card.cost.resolution[0]) " px" } }
            @match &card.test {
                SplitMetrics::Classes(test) => div { dt { "Balanced" } dd { (plain::percent(test.balanced_accuracy)) } },
                SplitMetrics::Boxes(test) => div { dt { "mAP .5:.95" } dd { (share(test.map)) } },
            }
        }
    }
}

/// A share that there may be none of.
fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), plain::percent)
}

/// How well objects are found.
fn box_figures(card: &Card, test: &BoxMetrics) -> Markup {
    html! {
        @if let Some(right) = test.localization_accuracy {
            p.verdict { "Right on " strong { (in_hundred(right)) " of 100" } " unseen pictures: the object found, or rightly none." }
        }
        p.verdict {
            "Finds " strong { (test.recall.map_or_else(|| "–".to_owned(), |r| in_hundred(r).to_string())) " of 100" } " objects; of 100 that it says are there, "
            strong { (test.precision.map_or_else(|| "–".to_owned(), |p| in_hundred(p).to_string())) } " are."
        }
        p.small {
            "Measured on " (plain::counted(test.boxes, "box")) " in " (plain::counted(test.examples, "picture")) " that took no part in the search; a box is right where it overlaps a true one by half. mAP: "
            (share(test.map50)) "."
            @if let Some(at_least) = card.at_least { " It says so from a score of " (format!("{at_least:.2}")) " on." }
        }
        @if let Some(int8) = &card.int8 {
            p.small {
                "In the files of 8 bits: mAP " (share(int8.map50)) ", " (plain::bytes(int8.weights_bytes)) ", " (plain::bytes(int8.peak_ram_bytes)) " of memory."
            }
        }
    }
}

/// How well classes are told apart.
fn class_figures(card: &Card, test: &CardMetrics) -> Markup {
    let [low, high] = test.accuracy_ci;
    let objective = &test.objective;
    html! {
        @if let Some(anomalies) = &test.anomalies { (anomaly_figures(anomalies)) }
        p.verdict {
            "Right on " strong { (in_hundred(test.accuracy)) " of 100" } " unseen pictures "
            span.nowrap { "(95% interval " (format!("{:.0}–{:.0}", low * 100.0, high * 100.0)) ")." }
        }
        p.small {
            "Measured on " (plain::counted(test.examples, "picture")) " that took no part in the search."
            @if objective.metric != Metric::Accuracy { " " (capital(metric_name(objective.metric))) ": " (plain::percent(objective.value)) "." }
        }
        @if let Some(error) = test.calibration_error {
            p.small { "When it says how sure it is, it is off by " (format!("{:.1}", error * 100.0)) " points on average." }
        }
        @if let Some(unknown) = &card.unknown {
            p.small {
                "Less than " (plain::percent(unknown.below)) " sure may mean none of these; that turns away "
                @for (at, kind) in unknown.refused.iter().enumerate() {
                    @if at > 0 { ", " }
                    (plain::percent(kind.share)) " of " (kind.of)
                }
                "."
            }
        }
        @if let Some(int8) = &card.int8 {
            p.small {
                "In the files of 8 bits: right on " (int8.accuracy.map_or_else(|| "–".to_owned(), |share| in_hundred(share).to_string())) " of 100, " (plain::bytes(int8.weights_bytes)) ", "
                (plain::bytes(int8.peak_ram_bytes)) " of memory."
            }
        }
    }
}

/// How well what is unlike good pictures is found.
fn anomaly_figures(of: &AnomalyMetrics) -> Markup {
    let of_hundred = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| in_hundred(share).to_string());
    html! {
        p.verdict {
            "Notices " strong { (of_hundred(of.recall)) " of 100" } " faulty pictures, and calls "
            strong { (of_hundred(of.false_alarms)) " of 100" } " good ones faulty."
        }
        p.small {
            "At most " (plain::percent(of.false_alarms_promised)) " false alarms are promised on average, as long as pictures are taken as before. "
            @if of.recall.is_none() { "No faulty pictures were given to test with; of defects drawn on good ones and these as they are, the area under the ROC curve is " (share(of.drawn_auroc)) "." }
        }
        @if !of.per_class.is_empty() {
            div.scroll {
                table {
                    thead { tr { th scope="col" { "Fault" } th.number scope="col" { "Noticed" } th.number scope="col" { "Area under the ROC curve" } th.number scope="col" { "Pictures" } } }
                    tbody {
                        @for fault in &of.per_class {
                            tr { th scope="row" { (fault.label) } td.number { (plain::percent(fault.recall)) } td.number { (share(fault.image_auroc)) } td.number { (plain::count(fault.support)) } }
                        }
                    }
                }
            }
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Each class in a sentence.
fn class_words(metrics: &CardMetrics) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th scope="col" { "Kind" } th.number scope="col" { "Found" } th.number scope="col" { "Right when said" } th.number scope="col" { "Pictures" } } }
                tbody {
                    @for class in &metrics.per_class {
                        tr { th scope="row" { (class.label) } td.number { (share(class.recall)) } td.number { (share(class.precision)) } td.number { (plain::count(class.support)) } }
                    }
                }
            }
        }
    }
}

/// Each class of objects in a sentence.
fn box_words(metrics: &BoxMetrics) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { th scope="col" { "Kind" } th.number scope="col" { "Found" } th.number scope="col" { "Right when said" } th.number scope="col" { "AP .5" } th.number scope="col" { "Boxes" } } }
                tbody {
                    @for class in &metrics.per_class {
                        tr { th scope="row" { (class.label) } td.number { (share(class.recall)) } td.number { (share(class.precision)) } td.number { (share(class.ap50)) } td.number { (plain::count(class.boxes)) } }
                    }
                }
            }
        }
    }
}

/// What it got wrong, with the pictures.
pub(crate) fn confusion(card: &Card, mistakes: &[Mistake], dataset: &DatasetId) -> Markup {
    match &card.test {
        SplitMetrics::Classes(metrics) => class_confusion(card, metrics, mistakes, dataset),
        SplitMetrics::Boxes(metrics) => {
            html! { (box_words(metrics)) (mistake_list(mistakes, dataset, "said to show")) }
        }
    }
}

/// What was taken for what, with the pictures.
fn class_confusion(card: &Card, metrics: &CardMetrics, mistakes: &[Mistake], dataset: &DatasetId) -> Markup {
    let largest = |row: &[u64]| row.iter().sum::<u64>().max(1) as f64;
    html! {
        (class_words(metrics))
        h3 { "What was taken for what" }
        div.scroll {
            table.confusion {
                thead {
                    tr { th { span.small { "really ↓ answered →" } } @for label in &card.labels { th.number scope="col" { (label) } } }
                }
                tbody {
                    @for (row, (label, counts)) in card.labels.iter().zip(&metrics.confusion).enumerate() {
                        tr {
                            th scope="row" { (label) }
                            @for (column, count) in counts.iter().enumerate() {
                                td class=(cell(row == column, *count, largest(counts))) { (count) }
                            }
                        }
                    }
                }
            }
        }
        (mistake_list(mistakes, dataset, "taken for"))
    }
}

/// Mistakes by what they are, with the pictures.
fn mistake_list(mistakes: &[Mistake], dataset: &DatasetId, verb: &str) -> Markup {
    let mut kinds: BTreeMap<(&str, &str), Vec<&Mistake>> = BTreeMap::new();
    for mistake in mistakes {
        kinds.entry((&mistake.truth, &mistake.predicted)).or_default().push(mistake);
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, list)| std::cmp::Reverse(list.len()));
    html! {
        @if kinds.is_empty() {
            p.small { "No mistakes on the test pictures." }
        } @else {
            h3 { "Its mistakes" }
            @for ((truth, predicted), list) in kinds {
                p.kind { (list.len()) "× " strong { (truth) } " " (verb) " " strong { (predicted) } }
                div.thumbs {
                    @for mistake in list.iter().take(SHOWN) {
                        a href={ "/v1/datasets/" (dataset) "/examples/" (mistake.example) "/image" } {
                            img loading="lazy" width="96" height="96"
                                src={ "/v1/datasets/" (dataset) "/examples/" (mistake.example) "/image?size=192" }
                                alt={ (truth) " " (verb) " " (predicted) ", " (plain::percent(f64::from(mistake.probability))) " sure" }
                                title={ "said " (predicted) " with " (plain::percent(f64::from(mistake.probability))) };
                        }
                    }
                    @if list.len() > SHOWN { span.more { "+" (list.len() - SHOWN) } }
                }
            }
        }
    }
}

/// The style of a cell of the matrix: right or wrong, in ten strengths by its share of the row.
fn cell(right: bool, count: u64, row: f64) -> String {
    let kind = match (right, count) {
        (true, _) => "right",
        (false, 0) => "none",
        (false, _) => "wrong",
    };
    format!("number {kind} s{}", (count as f64 / row * 10.0).ceil() as u32)
}

/// The files, the bundle first.
pub(crate) fn downloads(model: &ModelRecord) -> Markup {
    let total: u64 = model.files.iter().map(|f| f.bytes).sum();
    html! {
        a.button.download href={ "/v1/models/" (model.id) "/bundle.zip" } { "Download everything " span.weak { "zip, " (plain::bytes(total)) } }
        @if model.revision == 0 && !model.files.iter().any(|file| file.name == "model.html") {
            p.small { "A page for the browser, C, Rust and files of 8 bits are made when the search is over, for the models that it picks." }
            p.actions { button.button.plain type="button" data-post={ "/v1/models/" (model.id) "/files" } data-status="#make-status" { "Make them now" } }
            div #make-status role="status" aria-live="polite" {}
        }
        ul.files {
            @for file in &model.files { (file_row(&model.id, file)) }
        }
    }
}

fn file_row(model: &ModelId, file: &FileRecord) -> Markup {
    html! {
        li {
            a.row href={ "/v1/models/" (model) "/files/" (file.name) } download=(file.name) {
                span.grow { strong { (file.name) } span.small { (file.about) } }
                span.figure { (plain::bytes(file.bytes)) }
            }
        }
    }
}

/// Why content was refused.
pub(crate) fn refusal(code: ErrorCode, detail: &str) -> Markup {
    html! {
        div.alert role="alert" {
            strong { (crate::about(code).title) }
            p { (detail) }
            p.small { (crate::about(code).explanation) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_of_a_hundred_is_only_said_when_all_were_right() {
        assert_eq!([in_hundred(0.934), in_hundred(0.999), in_hundred(1.0)], [93, 99, 100]);
    }
}
