//! What would help a task most, as a part of its page.

use kindling_engine::{Advice, AdviceReport, AnalysisView, ClassAdvice, Interval, Lever};
use kindling_spec::AnalysisState;
use kindling_store::{AnalysisRecord, TaskRecord};
use maud::{Markup, html};

use super::plain;

/// The part; `has_model`: there is something to measure with.
pub(crate) fn card(task: &TaskRecord, view: Option<&AnalysisView<AdviceReport>>, has_model: bool) -> Markup {
    html! {
        section.card #advice aria-labelledby="advice-title" {
            h2 #advice-title { "What would help most" }
            @match view {
                Some(AnalysisView { report: Some(report), .. }) => {
                    (found(report))
                    details { summary { "Measure again" } (ask(task, "Measure again")) }
                }
                Some(AnalysisView { record, report: None }) => { (unfinished(task, record)) }
                None if has_model => {
                    p { "More pictures, a larger limit, or more time? It takes a few minutes of training to tell: the best network learns from parts of the pictures, and the search so far is looked at." }
                    (ask(task, "Find out"))
                }
                None => { p.empty { "As soon as there is a model, it can be measured what would make it better." } }
            }
        }
    }
}

fn ask(task: &TaskRecord, text: &str) -> Markup {
    html! {
        p.actions { button.button.plain type="button" data-post={ "/v1/tasks/" (task.id) "/advice" } data-status="#advice-status" { (text) } }
        div #advice-status role="status" aria-live="polite" {}
    }
}

fn unfinished(task: &TaskRecord, record: &AnalysisRecord) -> Markup {
    let over = task.state.is_over();
    html! {
        @if record.state == AnalysisState::Failed {
            div.alert role="alert" {
                strong { "It could not be measured" }
                @if let Some(reason) = &record.reason { p { (reason) } }
            }
            (ask(task, "Try again"))
        } @else {
            // While the search is followed, the page is not loaded anew under someone's fingers.
            div data-reload=[over.then_some("4000")] role="status" {
                p { @if record.state == AnalysisState::Waiting { "Waiting to begin." } @else { "Measuring, " (plain::percent(record.progress)) " done." } @if !over { " Load the page again to see how far it is." } }
            }
        }
    }
}

/// `2.1 points (0.4 to 3.9)`.
fn points(gain: &Interval) -> String {
    // No minus before a zero.
    let point = |share: f64| format!("{:.1}", share * 100.0 + 0.0).replace("-0.0", "0.0");
    format!("{} points ({} to {})", point(gain.mean), point(gain.low), point(gain.high))
}

fn name(advice: &Advice) -> Markup {
    let now = advice.now.max(0.0);
    html! {
        @match advice.lever {
            Lever::Examples => { "Twice the pictures " span.small { "to learn from, now " (plain::count(now as u64)) } }
            Lever::Size => { "Twice the size " span.small { "of the weights, now at most " (plain::bytes(now as u64)) } }
            Lever::Time => { "Twice the time " span.small { "to search, so far " (plain::seconds(now)) } }
        }
    }
}

fn found(report: &AdviceReport) -> Markup {
    let named = |class: &&ClassAdvice| class.gain.is_some_and(|gain| gain.mean > 0.0);
    html! {
        div.scroll {
            table {
                thead { tr { th scope="col" { "If there were" } th.number scope="col" { "Fewer mistakes, of 100 pictures" } } }
                tbody {
                    @for advice in &report.advice {
                        tr {
                            th scope="row" { (name(advice)) }
                            td.number { @match (&advice.gain, &advice.note) { (Some(gain), _) => { (points(gain)) } (None, Some(note)) => { span.small { "not known: " (note) } } (None, None) => { "–" } } }
                        }
                    }
                }
            }
        }
        @if let Some(class) = report.classes.first().filter(named) {
            p { "Of more pictures those of " strong { (class.class) } " promise most: with all there are now, " (plain::percent(class.error)) " of them are taken for something else." }
        }
        @if let Some(doubled) = &report.doubled {
            p.small { "With twice the pictures about " (plain::percent(doubled.mean)) " would be answered wrong (95% interval " (plain::percent(doubled.low)) " to " (plain::percent(doubled.high)) ")." }
        }
        details {
            summary { "How it was measured" }
            p.small {
                "The best network (" (report.family) ", trial " (report.trial) ") was trained on parts of the pictures, " (report.epochs)
                " epochs on all of them, and asked about " (plain::counted(report.validation as u64, "picture")) " to choose by. Gains are followed along a falling power law from there, and likewise from the search's own trials by size and by time; the intervals know how few pictures that is."
            }
            div.scroll {
                table {
                    thead { tr { th.number scope="col" { "Pictures" } th.number scope="col" { "Wrong, each training" } } }
                    tbody { @for point in &report.curve { tr { td.number { (plain::count(point.examples as u64)) } td.number { (point.errors.iter().map(|e| plain::percent(*e)).collect::<Vec<_>>().join(", ")) } } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_told_in_points_with_their_interval() {
        let gain = Interval { mean: 0.0213, low: -0.00001, high: 0.039 };
        assert_eq!(points(&gain), "2.1 points (0.0 to 3.9)");
    }
}
