//! Pictures with boxes around things: drawn, counted, and what is odd about them.

use kindling_data::{Audit, Broken, Example, LabelledBox, Listed, Manifest, OddBox};
use maud::{Markup, html};

use super::dataset::rest;
use super::plain;

/// Colours of classes; further ones begin again.
const COLOURS: usize = 8;

/// How many boxes there are.
pub(super) fn total(manifest: &Manifest) -> String {
    plain::count(manifest.examples.iter().map(|e| e.boxes.len() as u64).sum())
}

fn class_of<'a>(one: &LabelledBox, manifest: &'a Manifest) -> &'a str {
    manifest.classes.get(one.class).map_or("", String::as_str)
}

/// `fire, fire, smoke`.
pub(super) fn words(example: &Example, manifest: &Manifest) -> String {
    let names: Vec<&str> = example.boxes.iter().map(|b| class_of(b, manifest)).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// The boxes over a picture that is shown whole, in the middle of its frame.
pub(super) fn drawing(example: &Example, manifest: &Manifest) -> Markup {
    let (width, height) = (example.width as f32, example.height as f32);
    let pixels = |share: f32, side: f32| format!("{:.2}", share * side);
    html! {
        svg viewBox={ "0 0 " (example.width) " " (example.height) } aria-hidden="true" {
            @for one in &example.boxes {
                rect class={ "k" (one.class % COLOURS) } x=(pixels(one.x, width)) y=(pixels(one.y, height)) width=(pixels(one.width, width)) height=(pixels(one.height, height)) {
                    title { (class_of(one, manifest)) }
                }
            }
        }
    }
}

/// Sizes of boxes, and pictures without any.
pub(super) fn audit_words(audit: &Audit) -> Markup {
    let Some(boxes) = &audit.boxes else { return html! {} };
    let empty: usize = boxes.empty.iter().sum();
    let share = |[least, middle, most]: [f32; 3]| {
        let percent = |share: f32| plain::percent(f64::from(share));
        format!("{} to {}, typically {}", percent(least), percent(most), percent(middle))
    };
    html! {
        p.small {
            "A box is " (share(boxes.width)) " of its picture's width, and " (share(boxes.height)) " of its height. "
            "A picture has at most " (boxes.most) "; " (plain::counted(empty as u64, "picture"))
            @if empty == 1 { " shows none." } @else { " show none." }
        }
    }
}

/// What was found odd about the boxes, each kind with its first `shown`.
pub(super) fn findings(audit: &Audit, shown: usize) -> Markup {
    let Some(boxes) = &audit.boxes else { return html! {} };
    html! {
        (odd("reach out of their pictures and were cut off at the edge", &boxes.clipped, shown))
        (odd("have no area and were left out", &boxes.no_area, shown))
        (odd("are around crowds and were left out", &boxes.crowds, shown))
        @if boxes.without_picture.total > 0 {
            details {
                summary { (plain::counted(boxes.without_picture.total as u64, "annotation")) " of pictures that are not there" }
                ul.list { @for Broken { path, reason } in boxes.without_picture.items.iter().take(shown) { li { code { (path) } span.small { (reason) } } } }
                (rest(&boxes.without_picture))
            }
        }
        @if boxes.without_annotation.total > 0 {
            details {
                summary {
                    (plain::counted(boxes.without_annotation.total as u64, "picture")) " without an annotation, "
                    @if boxes.silence_is_empty { "taken to show nothing" } @else { "left out" }
                }
                ul.list { @for path in boxes.without_annotation.items.iter().take(shown) { li { code { (path) } } } }
                (rest(&boxes.without_annotation))
            }
        }
    }
}

fn odd(what: &str, list: &Listed<OddBox>, shown: usize) -> Markup {
    html! {
        @if list.total > 0 {
            details {
                summary { (list.total) " of the boxes " (what) }
                ul.list {
                    @for OddBox { path, place, class, given } in list.items.iter().take(shown) {
                        li { code { (path) } span.small { (class) ", " (place) ": left, top, width and height " (format!("{given:?}")) } }
                    }
                }
                (rest(list))
            }
        }
    }
}
