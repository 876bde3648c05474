//! The page in headless Chromium, driven through chromedriver (W3C WebDriver).

use crate::harness::*;
use kindling_export::OnnxModel;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What the page and `model.int8.onnx` may differ by: rounding of one code of 256, where a sum lies between two.
const NEAR: f32 = 0.02;

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window; it closes when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// `None`, having said why, where there is no Chromium and none is demanded.
    pub(crate) fn open() -> Option<Self> {
        let started = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut driver) = started else {
            assert!(std::env::var_os("KINDLING_TEST_BROWSER").is_none(), "KINDLING_TEST_BROWSER, but no chromedriver");
            println!("skipped: there is no chromedriver; KINDLING_TEST_BROWSER=1 demands one");
            return None;
        };
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let told = lines.into_iter().find(|line| line.contains("started successfully on port"));
        let port: String = told.expect("chromedriver says its port").chars().filter(char::is_ascii_digit).collect();
        let profile = tempfile::tempdir().unwrap();
        let flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": flags}}}});
        let driver_url = format!("http://127.0.0.1:{port}/session");
        let made = call("POST", &driver_url, &wanted);
        let id = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}"));
        Some(Self { driver, session: format!("{driver_url}/{id}"), _profile: profile })
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Value {
        call("POST", &format!("{}/{path}", self.session), &body)
    }

    pub(crate) fn size(&self, width: u32, height: u32) {
        self.post("window/rect", json!({"width": width, "height": height}));
    }

    pub(crate) fn element(&self, css: &str) -> String {
        let found = self.post("element", json!({"using": "css selector", "value": css}));
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("{css}: {found}")).to_owned()
    }

    pub(crate) fn script(&self, script: &str) -> Value {
        self.post("execute/sync", json!({"script": script, "args": []}))
    }

    /// Presses the mouse at one point of the window, moves it to the other and lets it go.
    pub(crate) fn drag(&self, from: (f64, f64), to: (f64, f64)) {
        let point = |(x, y): (f64, f64), ms: u32| json!({"type": "pointerMove", "x": x.round(), "y": y.round(), "duration": ms, "origin": "viewport"});
        let actions = json!([
            point(from, 0), {"type": "pointerDown", "button": 0},
            point(((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0), 20), point(to, 20), {"type": "pointerUp", "button": 0},
        ]);
        let mouse =
            json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions});
        self.post("actions", json!({ "actions": [mouse] }));
    }

    /// Presses keys one after another; WebDriver has characters of its own for those without one.
    pub(crate) fn keys(&self, keys: &[&str]) {
        let each = keys
            .iter()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]);
        let actions: Vec<Value> = each.collect();
        self.post("actions", json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}));
    }

    /// Waits until the script's value is true.
    pub(crate) fn wait(&self, script: &str) {
        let started = Instant::now();
        while self.script(script) != json!(true) {
            assert!(started.elapsed() < Duration::from_secs(30), "never true: {script}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Keeps a picture of the whole page if `KINDLING_SCREENSHOTS` names a folder.
    pub(crate) fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("KINDLING_SCREENSHOTS").map(PathBuf::from) else { return };
        std::fs::create_dir_all(&folder).unwrap();
        let shot = self.post(
            "goog/cdp/execute",
            json!({
                "cmd": "Page.captureScreenshot", "params": {"format": "png", "captureBeyondViewport": true}
            }),
        );
        std::fs::write(folder.join(format!("{name}.png.base64")), shot["data"].as_str().unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = agent().delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// One WebDriver command; its value.
fn call(method: &str, url: &str, body: &Value) -> Value {
    assert_eq!(method, "POST");
    let mut answer = Answer::of(agent().post(url).send_json(body).unwrap());
    assert_eq!(answer.status, 200, "{url}: {}", answer.json);
    answer.json["value"].take()
}

#[test]
fn a_person_gives_the_page_a_picture_and_reads_the_answer() {
    let Some(browser) = Browser::open() else { return };
    let Finished { server, task, model, .. } = finished();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("picture.png");
    let bytes = png(&picture(50, 31, 1));
    std::fs::write(&path, &bytes).unwrap();
    let expected = server.post_bytes(&format!("/v1/models/{model}/predict"), &bytes).text("/label");

    for (name, width, height) in [("desktop", 1280, 900), ("phone", 390, 844)] {
        browser.size(width, height);
        browser.post("url", json!({"url": server.url(&format!("/tasks/{task}"))}));
        browser.wait(
            "return document.querySelector('#leaderboard') !== null && !document.querySelector('#file').disabled",
        );
        let file = browser.element("#file");
        browser.post(&format!("element/{file}/value"), json!({"text": path.to_str().unwrap()}));
        browser.wait("return /%/.test(document.querySelector('#answer').textContent)");
        let answer = browser.script("return document.querySelector('#answer').textContent");
        assert!(answer.as_str().unwrap().contains(&expected), "{answer} does not say {expected}");
        let before = browser.script("const p = document.querySelector('#preview').src; document.querySelector('#answer button').click(); return p");
        browser.wait("return !document.querySelector('#answer button')");
        let problem = browser.script("return document.querySelector('#answer .alert')?.textContent ?? ''");
        assert_eq!(problem, "", "where it sees its answer");
        assert_ne!(browser.script("return document.querySelector('#preview').src"), before);
        browser.wait("return document.querySelector('#preview').naturalWidth === 50");
        let wide = browser.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert!(wide.as_i64().unwrap() <= 0, "{name}: the page scrolls sideways by {wide}");
        let downloads = browser.script("return document.querySelectorAll('#downloads a').length");
        assert!(downloads.as_i64().unwrap() >= 8, "{downloads} files to download");
        browser.screenshot(name);
    }
    browser.post("url", json!({"url": server.url("/")}));
    let home = browser.script("return document.body.textContent");
    assert!(home.as_str().unwrap().contains("120 pictures"), "the data set is listed: {home}");
    browser.screenshot("home");
}

#[test]
fn the_downloaded_page_answers_from_disk_as_the_file_of_8_bits_does() {
    let Some(browser) = Browser::open() else { return };
    let Finished { server, model, .. } = finished();
    let file = |name: &str| server.get(&format!("/v1/models/{model}/files/{name}")).body;
    // The page is of 8 bits: what the service answers, of floats, is near it only where rounding costs little.
    let onnx = OnnxModel::load(&file("model.int8.onnx")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("model.html");
    std::fs::write(&page, file("model.html")).unwrap();
    browser.post("url", json!({"url": format!("file://{}", page.display())}));
    browser.wait("return window.kindling !== undefined");
    assert_eq!(browser.script("return window.kindling.labels"), json!(onnx.labels()));

    for (width, height) in [(50, 31), (32, 32), (7, 90)] {
        let picture = picture(width, height, 1);
        let expected = onnx.predict(picture.as_raw(), width, height).unwrap();
        let rgb = picture.as_raw();
        let script =
            format!("return Array.from(window.kindling.predictRgb(new Uint8Array({rgb:?}), {width}, {height}))");
        let found: Vec<f32> = serde_json::from_value(browser.script(&script)).unwrap();
        let near = expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < NEAR);
        assert!(
            near && found.len() == expected.len(),
            "{width}x{height}: {expected:?} of the file, {found:?} in the page"
        );
    }

    let path = dir.path().join("picture.png");
    let picture = picture(50, 31, 1);
    std::fs::write(&path, png(&picture)).unwrap();
    let file = browser.element("#file");
    browser.post(&format!("element/{file}/value"), json!({"text": path.to_str().unwrap()}));
    browser.wait("return /%/.test(document.querySelector('#verdict').textContent)");
    let verdict = browser.script("return document.querySelector('#verdict').textContent");
    let probabilities = onnx.predict(picture.as_raw(), 50, 31).unwrap();
    let best = (0..probabilities.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap();
    let label = &onnx.labels()[best];
    assert!(verdict.as_str().unwrap().starts_with(label.as_str()), "{verdict} is not {label} of {probabilities:?}");
    browser.screenshot("model");
}
