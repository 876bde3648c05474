//! From raw pictures to a sealed data set, by mouse and keyboard in headless Chromium, over a service that is killed.

use crate::browser::Browser;
use crate::harness::*;
use serde_json::{Value, json};
use std::path::Path;

const PICTURES: usize = 20;

/// Shares of a picture's width and height.
type Corner = (f64, f64);

/// WebDriver's characters for keys.
const ESCAPE: &str = "\u{E00C}";
const ENTER: &str = "\u{E007}";
const RIGHT: &str = "\u{E014}";
const DELETE: &str = "\u{E017}";

/// What a picture shows: its class and the corners of its box, in shares of its sides; every fifth of the first shows nothing.
fn shown(i: usize) -> Option<(&'static str, Corner, Corner)> {
    match i {
        4 | 9 => None,
        0..10 => {
            let (from, to) = corners(i);
            Some((if i.is_multiple_of(2) { "fire" } else { "smoke" }, from, to))
        }
        // In the middle, and two steps to the right.
        _ => Some(("smoke", (0.42, 0.4), (0.62, 0.6))),
    }
}

/// Writes the pictures, a plain surface on stripes; returns their paths, one a line, as a file input wants them.
fn raw(dir: &Path) -> String {
    let write = |i: usize| {
        let path = dir.join(format!("{i:02}.png"));
        let mut image = picture(320, 240, i as u32);
        if let Some((class, from, to)) = shown(i) {
            let colour = if class == "fire" { [250, 120, 20] } else { [128; 3] };
            let [left, right] = [from.0, to.0].map(|x| (x * 320.0) as u32);
            let [top, bottom] = [from.1, to.1].map(|y| (y * 240.0) as u32);
            for (x, y) in (left..right).flat_map(|x| (top..bottom).map(move |y| (x, y))) {
                image.put_pixel(x, y, image::Rgb(colour));
            }
        }
        std::fs::write(&path, png(&image)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    (0..PICTURES).map(write).collect::<Vec<_>>().join("\n")
}

/// The corners of the box that is drawn in a picture, in shares of its sides.
fn corners(i: usize) -> (Corner, Corner) {
    let at = i as f64 / 50.0;
    ((0.1 + at, 0.15), (0.3 + at, 0.4 + at))
}

fn ready(browser: &Browser) {
    browser.wait(&format!("return document.querySelectorAll('.thumb').length === {PICTURES} && document.querySelector('#picture').complete"));
}

fn saved(browser: &Browser) {
    browser.wait("return document.querySelector('#saved').textContent === 'Saved'");
}

/// Draws a picture's box with the mouse.
fn draw(browser: &Browser, i: usize) {
    let frame = browser.script(
        "const r = document.querySelector('#boxes').getBoundingClientRect(); return [r.left, r.top, r.width, r.height]",
    );
    let side = |at: usize| frame[at].as_f64().unwrap();
    let point = |(x, y): (f64, f64)| (side(0) + x * side(2), side(1) + y * side(3));
    let (from, to) = corners(i);
    browser.drag(point(from), point(to));
}

#[test]
fn a_person_labels_raw_pictures_and_gets_exactly_these_boxes() {
    let Some(browser) = Browser::open() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = Server::start(&data, 0);
    browser.size(1280, 900);
    browser.post("url", json!({"url": server.url("/")}));
    browser.script(
        "document.querySelector('#label-here').open = true; const { name, labels, classes } = document.querySelector('#new-draft').elements; \
         name.value = 'raw'; labels.value = 'boxes'; classes.value = 'fire, smoke'; document.querySelector('#new-draft button').click()",
    );
    browser.wait("return document.querySelector('#pictures') !== null");
    let address = browser.script("return location.pathname").as_str().unwrap().to_owned();
    let input = browser.element("#pictures");
    browser.post(&format!("element/{input}/value"), json!({"text": raw(dir.path())}));
    ready(&browser);
    browser.wait("return /20 added/.test(document.querySelector('#add-status').textContent)");

    // Half by mouse and number keys; every fifth shows nothing.
    browser.script("document.querySelector('#stage').focus()");
    for i in 0..10 {
        let Some((class, ..)) = shown(i) else {
            browser.keys(&["0"]);
            continue;
        };
        browser.keys(&[if class == "fire" { "1" } else { "2" }]);
        draw(&browser, i);
        browser.keys(&[ESCAPE, ENTER]);
    }
    saved(&browser);
    browser.screenshot("label-boxes");

    // The service is killed; what was said is there in another one's page.
    server.kill();
    let server = Server::start(&data, 0);
    browser.post("url", json!({"url": server.url(&address)}));
    ready(&browser);
    assert_eq!(browser.script("return document.querySelector('#label-count').textContent"), "10 of 20 labelled");
    // The page goes on at the first picture without a label; the rest by keyboard alone.
    browser.script("document.querySelector('#stage').focus()");
    for i in 10..PICTURES {
        let place = browser.script("return document.querySelector('#label-place').textContent");
        assert!(place.as_str().unwrap().starts_with(&format!("{} of", i + 1)), "{place}");
        browser.keys(&["2", "b", RIGHT, RIGHT]);
        if i == 12 {
            // A second box, removed; a third, taken back.
            browser.keys(&[ESCAPE, "1", "b", DELETE, "b", "z"]);
        }
        browser.keys(&[ESCAPE, ENTER]);
    }
    saved(&browser);
    let drafted = server.get(&format!("/v1{address}/examples"));
    let drafted = drafted.json["items"].as_array().unwrap().clone();

    browser.script("document.querySelector('#seal button').click()");
    browser.wait(
        "return document.querySelector('#sealed') !== null || document.querySelector('#seal-status .alert') !== null",
    );
    let said = browser.script("return document.querySelector('#seal-status').textContent");
    assert!(said.as_str().unwrap().contains("20 pictures"), "{said}");
    let link =
        browser.script("return document.querySelector('#sealed').getAttribute('href')").as_str().unwrap().to_owned();
    let sealed = server.get(&format!("/v1{link}/examples"));
    let sealed = sealed.json["items"].as_array().unwrap();
    assert_eq!(sealed.len(), PICTURES);
    let share = |b: &Value, name: &str| b[name].as_f64().unwrap();
    for example in sealed {
        let was = drafted.iter().find(|e| e["path"] == example["path"]).unwrap();
        assert_eq!(example["boxes"], was["label"]["boxes"], "{example}");
        let i: usize = example["path"].as_str().unwrap()[..2].parse().unwrap();
        let boxes = example["boxes"].as_array().unwrap();
        let Some((class, from, to)) = shown(i) else {
            assert!(boxes.is_empty(), "{example}");
            continue;
        };
        assert_eq!(boxes.len(), 1, "{example}");
        assert_eq!(boxes[0]["class"], class);
        let drawn =
            [share(&boxes[0], "x"), share(&boxes[0], "y"), share(&boxes[0], "width"), share(&boxes[0], "height")];
        let meant = [from.0, from.1, to.0 - from.0, to.1 - from.1];
        for (drawn, meant) in drawn.iter().zip(meant) {
            // A pixel of the screen, of some 790 by 590.
            assert!((drawn - meant).abs() < 0.005, "{i}: {drawn} is not {meant}");
        }
    }
    browser.post("url", json!({"url": server.url(&link)}));
    let page = browser.script("return document.body.textContent");
    assert!(page.as_str().unwrap().contains("18 boxes"), "{page}");
    browser.screenshot("data-set-boxes");
    browser.size(390, 844);
    browser.post("url", json!({"url": server.url(&address)}));
    ready(&browser);
    let wide = browser.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert!(wide.as_i64().unwrap() <= 0, "the page scrolls sideways by {wide}");
    browser.screenshot("label-phone");

    // A model is grown from it, and the page shows its boxes.
    server.kill();
    let server = Server::start(&data, 1);
    let spec = json!({
        "version": 1, "name": "drawn boxes", "kind": "object-detection", "dataset": link.trim_start_matches("/datasets/"),
        "constraints": {"max_weights_bytes": 50_000}, "budget": {"trials": 6, "seconds": 60},
    });
    let task = server.post("/v1/tasks", &spec).text("/id");
    assert_eq!(server.wait_over(&task)["state"], "complete");
    browser.size(1280, 900);
    browser.post("url", json!({"url": server.url(&format!("/tasks/{task}"))}));
    let input = browser.element("#file");
    let picture = dir.path().join("15.png");
    browser.post(&format!("element/{input}/value"), json!({"text": picture.to_str().unwrap()}));
    browser.wait("return document.querySelectorAll('#objects span').length > 0");
    let label = browser.script("return document.querySelector('#objects span').dataset.label");
    assert!(label.as_str().unwrap().starts_with("smoke "), "{label}");
    let verdict = browser.script("return document.querySelector('#answer .verdict').textContent");
    assert!(verdict.as_str().unwrap().contains("smoke"), "{verdict}");
    browser.screenshot("found-boxes");
}
