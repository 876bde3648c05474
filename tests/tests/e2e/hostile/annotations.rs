//! Labels and boxes that are wrong, endless, or mean something else to another reader.

use super::Sent::{self, Boxes, Classes};
use super::{Case, case, good};
use crate::harness::zip_of;

/// The good pictures and one file.
fn files(name: &str, content: impl Into<Vec<u8>>) -> Vec<u8> {
    zip_of(&[good(), vec![(name.to_owned(), content.into())]].concat())
}

fn labels(content: impl Into<Vec<u8>>) -> Sent {
    Classes(files("labels.csv", content))
}

fn table(rows: &str) -> Sent {
    Boxes(files("boxes.csv", format!("path,label,x_min,y_min,x_max,y_max\n{rows}")))
}

/// COCO's JSON of the good pictures with these annotations; image 0 to 23, category 1.
fn coco_of(annotations: &str) -> Vec<u8> {
    let images: Vec<String> =
        (0..24).map(|i| format!(r#"{{"id": {i}, "file_name": "{}/{i}.png"}}"#, ["a", "b"][i % 2])).collect();
    format!(
        r#"{{"images": [{}], "annotations": [{annotations}], "categories": [{{"id": 1, "name": "fire"}}]}}"#,
        images.join(",")
    )
    .into_bytes()
}

fn coco(annotations: &str) -> Sent {
    Boxes(files("instances.json", coco_of(annotations)))
}

/// An XML for every picture.
fn voc(xml: &str) -> Sent {
    let mut all = good();
    all.extend(good().iter().map(|(name, _)| (name.replace(".png", ".xml"), xml.as_bytes().to_vec())));
    Boxes(zip_of(&all))
}

/// A text for every picture, and one more file.
fn yolo(text: &str, more: (&str, &str)) -> Sent {
    let mut all = good();
    all.extend(good().iter().map(|(name, _)| (name.replace(".png", ".txt"), text.as_bytes().to_vec())));
    all.push((more.0.to_owned(), more.1.as_bytes().to_vec()));
    Boxes(zip_of(&all))
}

const BOX: &str =
    "<object><name>&lol9;</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>";

/// Entities that are made of entities (Wikipedia, "Billion laughs attack").
fn laughs() -> String {
    let more: String =
        (1..10).map(|i| format!("<!ENTITY lol{i} \"{}\">", format!("&lol{};", i - 1).repeat(10))).collect();
    format!("<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY lol0 \"lol\">{more}]><annotation>{BOX}</annotation>")
}

fn csv_cases() -> Vec<Case> {
    vec![
        case("labels: a file outside", 422, "unsafe_path", || labels("path,label\n../../etc/passwd,a\n")),
        case("labels: an absolute file", 422, "unsafe_path", || labels("path,label\n/etc/passwd,a\n")),
        case("labels: a million columns", 422, "invalid_layout", || labels("x,".repeat(1_000_000))),
        case("labels: a quotation that never ends", 422, "invalid_layout", || {
            labels(format!("path,label\n\"a/0.png,a\n{}", "a/1.png,b\n".repeat(500_000)))
        }),
        case("labels: no UTF-8", 422, "invalid_layout", || labels(b"path,label\na/0.png,\xFF\xFE\n".to_vec())),
        case("labels: UTF-16", 422, "invalid_layout", || labels(b"\xFF\xFEp\0a\0t\0h\0,\0".to_vec())),
        case("labels: NUL", 422, "invalid_layout", || labels("path,label\na/0.png,a\0b\n")),
        case("labels: a class of 60,000 letters", 422, "invalid_layout", || {
            labels(format!("path,label\na/0.png,{}\n", "x".repeat(60_000)))
        }),
        case("labels: two classes for one", 422, "invalid_layout", || labels("path,label\na/0.png,a\na/0.png,b\n")),
        case("labels: an unknown split", 422, "invalid_layout", || labels("path,label,split\na/0.png,a,all\n")),
        case("labels: 80 MiB", 422, "invalid_layout", || {
            let rows: String = (0..4_000_000).map(|i| format!("a/{i:012},a\n")).collect();
            labels(format!("path,label\n{rows}{rows}"))
        }),
        case("labels: three million files that are not there", 422, "invalid_layout", || {
            let rows: String = (0..3_000_000).map(|i| format!("a/{i:08},a\n")).collect();
            labels(format!("path,label\n{rows}"))
        }),
        case("boxes.csv: not a number", 422, "invalid_layout", || table("a/0.png,fire,NaN,0,1,1\n")),
        case("boxes.csv: infinite", 422, "invalid_layout", || table("a/0.png,fire,0,0,inf,1\n")),
        case("boxes.csv: beyond all pictures", 422, "invalid_layout", || table("a/0.png,fire,0,0,1e308,1\n")),
        case("boxes.csv: a quotation that never ends", 422, "invalid_layout", || {
            table(&format!("\"a/0.png,fire,{}", "0,0,1,1\n".repeat(500_000)))
        }),
        case("boxes.csv: a million columns", 422, "invalid_layout", || table(&"x,".repeat(1_000_000))),
        case("boxes.csv: a file outside", 422, "unsafe_path", || table("../../etc/passwd,fire,0,0,1,1\n")),
        case("boxes.csv: boxes that reach out", 422, "invalid_layout", || {
            table(&(0..24).map(|i| format!("{}/{i}.png,fire,-90,-90,900,900\n", ["a", "b"][i % 2])).collect::<String>())
        }),
        case("boxes.csv: boxes without an area", 422, "too_few_examples", || {
            table(&(0..24).map(|i| format!("{}/{i}.png,fire,9,9,3,3\n", ["a", "b"][i % 2])).collect::<String>())
        }),
    ]
}

fn coco_cases() -> Vec<Case> {
    let one = |bbox: &'static str| move || coco(&format!(r#"{{"image_id": 0, "category_id": 1, "bbox": {bbox}}}"#));
    vec![
        case("COCO: NaN", 422, "invalid_layout", one("[NaN, 0, 1, 1]")),
        case("COCO: Infinity", 422, "invalid_layout", one("[0, 0, Infinity, 1]")),
        case("COCO: 1e999", 422, "invalid_layout", one("[0, 0, 1e999, 1]")),
        case("COCO: 1e300", 422, "invalid_layout", one("[0, 0, 1e300, 1]")),
        case("COCO: a million letters in place of images", 422, "invalid_layout", || {
            Boxes(files("instances.json", format!(r#"{{"images": "{}"}}"#, "a".repeat(1_000_000)).into_bytes()))
        }),
        case("COCO: a million numbers in a box", 422, "invalid_layout", || {
            coco(&format!(r#"{{"image_id": 0, "category_id": 1, "bbox": [{}1]}}"#, "1,".repeat(1_000_000)))
        }),
        case("COCO: negative sizes", 422, "too_few_examples", || {
            let one = |i| format!(r#"{{"image_id": {i}, "category_id": 1, "bbox": [9, 9, -3, -3]}}"#);
            coco(&(0..24).map(one).collect::<Vec<_>>().join(","))
        }),
        case("COCO: pictures that are not there", 422, "too_few_examples", || {
            let one = |i| format!(r#"{{"image_id": {i}, "category_id": 1, "bbox": [1, 1, 3, 3]}}"#);
            coco(&(1000..300_000).map(one).collect::<Vec<_>>().join(","))
        }),
        case("COCO: a category that is not there", 422, "invalid_layout", || {
            coco(r#"{"image_id": 0, "category_id": 99, "bbox": [1, 1, 3, 3]}"#)
        }),
        case("COCO: an id that overflows", 422, "invalid_layout", || {
            coco(r#"{"image_id": 18446744073709551616, "category_id": 1, "bbox": [1, 1, 3, 3]}"#)
        }),
        case("COCO: an id of 60,000 letters", 422, "invalid_layout", || {
            coco(&format!(r#"{{"image_id": "{}", "category_id": 1, "bbox": [1, 1, 3, 3]}}"#, "x".repeat(60_000)))
        }),
        case("COCO: a text of 40 MiB", 422, "invalid_layout", || {
            let json = [br#"{"info": ""#.to_vec(), vec![b'x'; 40 << 20], br#""}"#.to_vec()].concat();
            Boxes(files("instances.json", json))
        }),
        case("COCO: 100,000 brackets", 422, "invalid_layout", || {
            Boxes(files("instances.json", format!(r#"{{"info": {}"#, "[".repeat(100_000))))
        }),
        case("COCO: cut off", 422, "invalid_layout", || {
            let json = coco_of(r#"{"image_id": 0, "category_id": 1, "bbox": [1, 1, 3, 3]}"#);
            Boxes(files("instances.json", &json[..json.len() / 2]))
        }),
        case("COCO: two million boxes around crowds", 422, "too_few_examples", || {
            let one = r#"{"image_id":0,"category_id":1,"bbox":[1,1,3,3],"iscrowd":1}"#;
            coco(&vec![one; 2_000_000].join(","))
        }),
        case("COCO: more boxes than are allowed", 422, "invalid_layout", || {
            coco(&vec![r#"{"image_id":0}"#; 2_000_001].join(","))
        }),
        case("COCO: one picture 300,000 times", 422, "invalid_layout", || {
            let images: Vec<String> = (0..300_000).map(|i| format!(r#"{{"id":{i},"file_name":"0.png"}}"#)).collect();
            let json = format!(r#"{{"images": [{}], "annotations": [], "categories": []}}"#, images.join(","));
            Boxes(files("instances.json", json))
        }),
    ]
}

fn text_cases() -> Vec<Case> {
    vec![
        case("VOC: a billion laughs", 422, "invalid_layout", || voc(&laughs())),
        case("VOC: a file of the machine", 422, "invalid_layout", || {
            let entity = r#"<!DOCTYPE a [<!ENTITY lol9 SYSTEM "file:///etc/passwd">]>"#;
            voc(&format!("{entity}<annotation>{BOX}</annotation>"))
        }),
        case("VOC: a definition from elsewhere", 422, "invalid_layout", || {
            voc(&format!(r#"<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><annotation>{BOX}</annotation>"#))
        }),
        case("VOC: an entity that nothing defines", 422, "invalid_layout", || {
            voc(&format!("<annotation>{BOX}</annotation>"))
        }),
        case("VOC: 100,000 elements in one another", 422, "invalid_layout", || {
            voc(&format!("<annotation>{}", "<a>".repeat(100_000)))
        }),
        case("VOC: a million elements", 422, "invalid_layout", || {
            Boxes(files("a/0.xml", format!("<annotation>{}</annotation>", "<a/>".repeat(1_000_000))))
        }),
        case("VOC: 20 MiB of a name", 422, "invalid_layout", || {
            Boxes(files("a/0.xml", format!("<annotation><filename>{}</filename></annotation>", "x".repeat(20 << 20))))
        }),
        case("VOC: not a number", 422, "invalid_layout", || {
            voc(&format!("<annotation>{}</annotation>", BOX.replace("&lol9;", "fire").replace(">9<", ">NaN<")))
        }),
        case("YOLO: 1e308", 422, "invalid_layout", || yolo("0 1e308 0.5 0.5 0.5", ("classes.txt", "fire"))),
        case("YOLO: not a number", 422, "invalid_layout", || yolo("0 NaN nan 0.5 0.5", ("classes.txt", "fire"))),
        case("YOLO: class 4294967295", 422, "invalid_layout", || {
            yolo("4294967295 0.5 0.5 0.5 0.5", ("classes.txt", "fire"))
        }),
        case("YOLO: class -1", 422, "invalid_layout", || yolo("-1 0.5 0.5 0.5 0.5", ("classes.txt", "fire"))),
        case("YOLO: a million numbers in a line", 422, "invalid_layout", || {
            Boxes(files("a/0.txt", format!("0 {}", "0.5 ".repeat(999_999))))
        }),
        case("YOLO: names that are made of names", 422, "invalid_layout", || {
            let more: String =
                (1..10).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","))).collect();
            yolo("0 0.5 0.5 0.5 0.5", ("data.yaml", &format!("a0: &a0 [fire]\n{more}names: *a9\n")))
        }),
        case("YOLO: 100,000 brackets", 422, "invalid_layout", || {
            yolo("0 0.5 0.5 0.5 0.5", ("data.yaml", &format!("names: {}", "[".repeat(100_000))))
        }),
        case("YOLO: a line of 10 MiB in a hundred lists", 413, "archive_too_large", || {
            let mut all = good();
            all.extend((0..100).map(|i| (format!("{i}/obj.names"), vec![b'x'; 10 << 20])));
            // Noise, so that it is no bomb by its ratio.
            let mut state = 1u64;
            let noise = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            });
            all.push(("a/noise.bin".to_owned(), noise.take(12 << 20).collect()));
            Boxes(zip_of(&all))
        }),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [csv_cases(), coco_cases(), text_cases()].into_iter().flatten().collect()
}
