//! Each reader alone.

use crate::boxes::document::{Document, Room, Trouble, Unit};
use crate::boxes::{coco, csv, voc, yolo};
use kindling_spec::Split;
use proptest::prelude::*;

fn room() -> Room {
    Room { boxes: 1000, pictures: 1000, classes: 100 }
}

fn wrong<T: std::fmt::Debug>(read: Result<T, Trouble>) -> String {
    match read {
        Err(Trouble::Wrong(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn coco(text: &str) -> Result<Option<Document>, Trouble> {
    coco::parse(text.as_bytes(), room())
}

const IMAGES: &str = r#""images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30, "licence": {"x": [1]}},
    {"id": "b", "file_name": "dir/b.jpg"}]"#;
const CATEGORIES: &str = r#""categories": [{"id": 3, "name": "fire"}, {"id": 90, "name": " smoke "}]"#;

fn with(annotations: &str) -> String {
    format!(r#"{{"info": {{}}, {IMAGES}, "annotations": [{annotations}], {CATEGORIES}}}"#)
}

#[test]
fn coco_gives_its_boxes() {
    let text = with(
        r#"{"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2.5, 3, 4], "iscrowd": 0, "area": 12,
            "segmentation": [[1.0, 2.0]]},
           {"image_id": 7, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
           {"image_id": "b", "category_id": 3, "bbox": [5, 5, 5, 5], "iscrowd": false},
           {"image_id": "b", "category_id": 3, "bbox": []},
           {"image_id": 99, "category_id": 3, "bbox": [5, 5, 5, 5]}"#,
    );
    let document = coco(&format!("\u{feff} {text}")).unwrap().unwrap();
    assert_eq!(document.names, ["fire", "smoke"]);
    assert_eq!(document.boxes(), 4);
    let [a, b] = document.pages.as_slice() else { panic!("{document:?}") };
    assert_eq!((a.picture.as_str(), a.unit), ("a.jpg", Unit::Pixels(Some((40, 30)))));
    assert_eq!((a.boxes[0].class, a.boxes[0].at, a.boxes[0].edges), (1, 0, [1.0, 2.5, 3.0, 4.0]));
    assert_eq!((a.boxes.len(), a.crowds.len(), a.crowds[0].class), (1, 1, 0));
    assert_eq!((b.unit, b.boxes.len(), b.boxes[1].edges), (Unit::Pixels(None), 2, [0.0; 4]));
    assert_eq!(document.stray.len(), 1);
    assert!(document.stray[0].contains("annotations[4]") && document.stray[0].contains("99"));
}

#[test]
fn coco_that_is_wrong_says_where() {
    let one = |bbox: &str| with(&format!(r#"{{"image_id": 7, "category_id": 3, "bbox": {bbox}}}"#));
    for (text, what) in [
        (one("[1, 2, 3]"), "four numbers"),
        (one("[1, 2, 3, 4, 5]"), "four numbers"),
        (one("[1, 2, NaN, 4]"), "line"),
        (one("[1, 2, 1e39, 4]"), "no place in a picture"),
        (one("[1, 2, 1e999, 4]"), "out of range"),
        (one("\"all\""), "four numbers"),
        (with(r#"{"image_id": 7, "category_id": 4, "bbox": [1, 2, 3, 4]}"#), "annotations[0] is of category 4"),
        (with(r#"{"image_id": 7, "bbox": [1, 2, 3, 4]}"#), "category none"),
        (format!(r#"{{{IMAGES}, "annotations": [], "categories": [{{"id": 1, "name": ""}}]}}"#), "categories[0]"),
        (
            r#"{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": []}"#.into(),
            "images[1]",
        ),
        (with("")[..90].to_owned(), "EOF"),
        (format!("{}{{}}", with("")), "trailing"),
    ] {
        let why = wrong(coco(&text));
        println!("{why}");
        assert!(why.contains(what), "{why}: {what}");
    }
    let many = vec![r#"{"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]}"#; 1001].join(",");
    assert!(wrong(coco(&with(&many))).contains("`annotations` has more than the 1000"));
    // A name that never ends is given up before it is kept, and depth costs no stack.
    let long = format!(r#"{{"images": [{{"id": 1, "file_name": "{}"}}], "annotations": []}}"#, "a".repeat(9 << 20));
    assert!(wrong(coco(&long)).contains("longer than 4 MiB"));
    let deep = format!(r#"{{"x": {}"#, "[".repeat(1_000_000));
    assert!(wrong(coco(&deep)).contains("EOF"));
    let deep = format!(r#"{{"images": [{{"id": {}"#, "[".repeat(100_000));
    assert!(coco(&deep).is_err());
}

#[test]
fn json_that_is_not_of_boxes_is_left_alone() {
    let captions = with(r#"{"image_id": 7, "caption": "a fire"}"#);
    for text in ["", "[1, 2]", "3", "{}", r#"{"images": []}"#, r#"{"name": "my-package"}"#, &captions] {
        assert!(coco(text).unwrap().is_none(), "{text}");
    }
    assert!(coco(&with("")).unwrap().is_some(), "pictures without any box are a set too");
}

fn voc(text: &str) -> Result<Option<Document>, Trouble> {
    voc::parse(&mut text.as_bytes(), room())
}

fn object(name: &str, edges: [&str; 4]) -> String {
    let [a, b, c, d] = edges;
    format!(
        "<object><name>{name}</name><pose>Left</pose><part><name>head</name></part><bndbox><xmin>{a}</xmin>\
         <ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
    )
}

fn annotation(inside: &str) -> String {
    let size = "<size><width>40</width><height>30</height><depth>3</depth></size>";
    format!("<?xml version=\"1.0\"?><annotation><filename>a.jpg</filename>{size}{inside}</annotation>")
}

#[test]
fn voc_gives_its_boxes() {
    let two = object("fire", ["1", "11", "40", "30"]) + &object("a &amp; b", ["0", "2.5", "3", "4"]);
    let document = voc(&format!("\u{feff}{}", annotation(&two))).unwrap().unwrap();
    assert_eq!(document.names, ["fire", "a & b"]);
    let page = &document.pages[0];
    assert_eq!((page.picture.as_str(), page.unit), ("a.jpg", Unit::Pixels(Some((40, 30)))));
    // Pixels are numbered from 1: this is the whole width.
    assert_eq!(page.boxes[0].edges, [0.0, 10.0, 40.0, 20.0]);
    assert_eq!((page.boxes[1].edges, page.boxes[1].at), ([0.0, 1.5, 3.0, 2.5], 2));
    let empty = voc("<annotation><size><width>0</width></size></annotation>").unwrap().unwrap();
    assert_eq!((empty.boxes(), empty.pages[0].unit), (0, Unit::Pixels(None)));
    assert!(voc("<project><annotation/></project>").unwrap().is_none());
}

#[test]
fn voc_that_is_wrong_says_where() {
    let bomb =
        "<!DOCTYPE a [<!ENTITY x \"lol\"><!ENTITY y \"&x;&x;\">]><annotation><filename>&y;</filename></annotation>";
    let file =
        "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><annotation><filename>&x;</filename></annotation>";
    for (text, what) in [
        (annotation(&object("fire", ["1", "NaN", "3", "4"])), "object 1, line 1: `ymin`"),
        (annotation(&object("fire", ["1", "inf", "3", "4"])), "no place"),
        (annotation(&object("fire", ["1", "", "3", "4"])), "no `ymin`"),
        (annotation(&object("fire", ["1", "two", "3", "4"])), "`two` is no number"),
        (annotation(&object(" ", ["1", "2", "3", "4"])), "no name"),
        (annotation("<object><name>fire</name></object>"), "no `bndbox`"),
        (annotation("&unknown;"), "no XML"),
        (bomb.to_owned(), "no XML"),
        (file.to_owned(), "no XML"),
        (annotation("")[..50].to_owned(), "no XML"),
        (String::new(), "no XML"),
    ] {
        let why = wrong(voc(&text));
        println!("{why}");
        assert!(why.contains(what), "{why}: {what}");
    }
    assert!(wrong(voc::parse(&mut &b"<annotation>\xFF\xFE</annotation>"[..], room())).contains("UTF-8"));
    let many = object("fire", ["1", "2", "3", "4"]).repeat(1001);
    assert!(matches!(voc(&annotation(&many)), Err(Trouble::TooMany(_))));
    let deep = format!("<annotation>{}", "<a>".repeat(200_000));
    assert!(voc(&deep).is_err());
    let large = annotation(&" ".repeat(17 << 20));
    assert!(wrong(voc(&large)).contains("larger than the 4096 KiB"));
}

#[test]
fn yolo_texts_are_told_apart() {
    let read = |path: &str, text: &str| yolo::parse(path, &mut text.as_bytes(), room()).unwrap();
    let yolo::Text::Boxes(boxes) = read("labels/a.txt", "1 0.5 0.5 0.5 0.25\r\n\n0.0 0.25 0.5 0.5 1\n") else {
        panic!()
    };
    assert_eq!((boxes[0].class, boxes[0].edges), (1, [0.25, 0.375, 0.5, 0.25]));
    assert_eq!((boxes[1].class, boxes[1].edges, boxes[1].at), (0, [0.0, 0.0, 0.5, 1.0], 3));
    let yolo::Text::Boxes(outline) = read("a.txt", "2 0.1 0.2 0.5 0.25 0.3 0.75") else { panic!() };
    assert_eq!((outline[0].class, outline[0].edges[..2].to_vec()), (2, vec![0.1, 0.2]));
    assert!((outline[0].edges[2] - 0.4).abs() < 1e-6 && (outline[0].edges[3] - 0.55).abs() < 1e-6);
    assert_eq!(read("a.txt", " \n"), yolo::Text::Boxes(Vec::new()));
    let list = |names: &[&str]| yolo::Text::List(names.iter().map(|n| (*n).to_owned()).collect());
    assert_eq!(read("x/classes.txt", "fire\nopen fire\n"), list(&["fire", "open fire"]));
    assert_eq!(read("obj.names", "0\n1\n"), list(&["0", "1"]));
    assert_eq!(read("list.txt", "data/a 1.jpg\ndata/b.PNG"), list(&["data/a 1.jpg", "data/b.PNG"]));
    assert_eq!(read("ImageSets/Main/train.txt", "000012\n000013"), list(&["000012", "000013"]));
    for (text, what) in [
        ("0 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5", "line 2: a box is `class x y width height`, not 4 numbers"),
        ("0 0.5 0.5 0.5 0.5 0.9", "score"),
        ("-1 0.5 0.5 0.5 0.5", "`-1` is no number of a class"),
        ("1.5 0.5 0.5 0.5 0.5", "`1.5` is no number of a class"),
        ("99999999999 0.5 0.5 0.5 0.5", "no number of a class"),
        ("0 NaN 0.5 0.5 0.5", "NaN is no place"),
        ("0 0.5 inf 0.5 0.5", "inf is no place"),
        ("0 0.5 0,5 0.5 0.5", "`0,5` is no number"),
        ("some words", "line 1"),
        ("0 0.5 0.5 0.5 0.5 0.5 0.5 0.5", "not 8 numbers"),
    ] {
        let yolo::Text::Other(why) = read("labels/a.txt", text) else { panic!("{text}") };
        assert!(why.contains(what), "{why}: {what}");
    }
    let many = "0 0.5 0.5 0.5 0.5\n".repeat(1001);
    assert!(matches!(yolo::parse("a.txt", &mut many.as_bytes(), room()), Err(Trouble::TooMany(_))));
}

#[test]
fn data_yaml_gives_names_and_sides() {
    let read = |text: &str| yolo::parse_yaml(&mut text.as_bytes(), room());
    let config = read("path: ../x\ntrain: images/train\nval: [a/val, b/val]\ntest:\nnc: 2\nnames: ['fire', smoke]\n");
    let config = config.unwrap().unwrap();
    assert_eq!(config.names, ["fire", "smoke"]);
    assert_eq!(config.sides, [vec!["images/train".to_owned()], vec!["a/val".into(), "b/val".into()], vec![]]);
    let config = read("names:\n  0: fire\n  1: smoke  # as Ultralytics writes it\n").unwrap().unwrap();
    assert_eq!(config.names, ["fire", "smoke"]);
    assert_eq!(read("names: [0, 1.5, yes, 'no']\n").unwrap().unwrap().names.len(), 4);
    assert_eq!(read("services: {web: {image: x}}\n").unwrap(), None);
    let bomb: String = (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, i| {
        let before = i - 1;
        text + &format!("a{i}: &a{i} [*a{before}, *a{before}]\n")
    });
    for (text, what) in [
        ("names: {0: fire, 2: smoke}", "none for 1"),
        ("names: [fire, '']", "no name"),
        ("kpt_shape: [17, 3]\nnames: [person]", "key points"),
        ("names: [fire\nval: x", "no YAML"),
        ("names: 3", "no YAML"),
        (&format!("names: {:?}", vec!["x"; 101]), "more than the 100"),
        (&format!("{bomb}names: *a39"), "no YAML"),
        (&format!("names: {}", "[".repeat(10_000)), "no YAML"),
    ] {
        let why = wrong(read(text));
        println!("{why}");
        assert!(why.contains(what), "{why}: {what}");
    }
}

#[test]
fn a_picture_knows_its_text() {
    assert_eq!(yolo::label_paths("a.b.jpg"), ["a.b.txt"]);
    let paths = yolo::label_paths("x/images/train/images/a.jpg");
    assert_eq!(paths[0], "x/images/train/labels/a.txt");
    assert_eq!(paths.last().unwrap(), "x/images/train/images/a.txt");
}

fn table(text: &str) -> Result<Document, Trouble> {
    csv::parse(text.as_bytes(), room())
}

const HEAD: &str = "path,label,x_min,y_min,x_max,y_max,split\n";

#[test]
fn a_table_gives_its_boxes() {
    let rows = "a.jpg,fire,1,2,11,22,train\na.jpg,smoke,0,0,4,4,train\nb.jpg,,,,,,test\nc.jpg,fire,-1,0,5,5,\n";
    let document = table(&format!("{HEAD}{rows}")).unwrap();
    assert_eq!(document.names, ["fire", "smoke"]);
    let [a, b, c] = document.pages.as_slice() else { panic!("{document:?}") };
    assert_eq!((a.unit, a.given, a.boxes.len()), (Unit::Pixels(None), Some(Split::Train), 2));
    assert_eq!((a.boxes[0].edges, a.boxes[0].at), ([1.0, 2.0, 10.0, 20.0], 2));
    assert_eq!((b.given, b.boxes.len()), (Some(Split::Test), 0));
    assert_eq!((c.given, c.boxes[0].edges[0]), (None, -1.0));
    let shares = "\u{feff}label;path;x_min;y_min;x_max;y_max\nfire;a.jpg;0.5;0.25;1.0;1.01\n";
    let document = table(shares).unwrap();
    assert_eq!((document.pages[0].unit, document.pages[0].boxes[0].edges[0]), (Unit::Shares, 0.5));
}

#[test]
fn a_table_that_is_wrong_says_where() {
    for (text, what) in [
        ("path,label\na.jpg,fire\n".to_owned(), "line 1: there is no column `x_min`"),
        (format!("{HEAD}a.jpg,fire,1,2,3,4,train\na.jpg,fire,1,2,3,4,test\n"), "line 3: `a.jpg` was on another side"),
        (format!("{HEAD}a.jpg,fire,1,2,3,4,soon\n"), "line 2: the split `soon`"),
        (format!("{HEAD}a.jpg,fire,1,2,3,4,\na.jpg,,,,,,\n"), "line 3: `a.jpg` has no box here"),
        (format!("{HEAD}a.jpg,fire,,2,3,4,\n"), "line 2: x_min: `` is no number"),
        (format!("{HEAD}a.jpg,,1,2,3,4,\n"), "line 2: a class has no name"),
        (format!("{HEAD},fire,1,2,3,4,\n"), "line 2: path must not be empty"),
        (format!("{HEAD}a.jpg,fire,1,nan,3,4,\n"), "line 2: y_min: NaN"),
        (format!("{HEAD}a.jpg,fire,1,2,-1e300,4,\n"), "line 2: x_max"),
        (format!("{HEAD}a.jpg,fire,1,2\n"), "line 2: x_max"),
    ] {
        let why = wrong(table(&text));
        println!("{why}");
        assert!(why.contains(what), "{why}: {what}");
    }
    assert!(wrong(csv::parse(&b"path,label,x_min,y_min,x_max,y_max\n\xFF,a,1,2,3,4\n"[..], room())).contains("UTF-8"));
    let rows: String = (0..101).map(|i| format!("a.jpg,class {i},1,2,3,4,\n")).collect();
    assert!(wrong(table(&format!("{HEAD}{rows}"))).contains("line 102: it has more than the 100 classes"));
    assert!(matches!(table(&(HEAD.to_owned() + &"a.jpg,x,1,2,3,4,\n".repeat(1001))), Err(Trouble::TooMany(_))));
    let rows: String = (0..1001).map(|i| format!("{i}.jpg,,,,,,\n")).collect();
    assert!(matches!(table(&format!("{HEAD}{rows}")), Err(Trouble::TooMany(_))));
}

#[test]
fn ids_and_names_are_short() {
    let long = "x".repeat(2000);
    for (json, what) in [
        (with(&format!(r#"{{"image_id": "{long}"}}"#)), "an id: a whole number, or a text of at most 64 bytes"),
        (with(r#"{"image_id": 18446744073709551615}"#), "an id: a whole number"),
        (format!(r#"{{"images": [{{"id": 1, "file_name": "{long}"}}], "annotations": []}}"#), "at most 1024 bytes"),
    ] {
        let why = wrong(coco(&json));
        assert!(why.contains(what) && why.len() < 400, "{why}");
    }
}

#[test]
fn annotations_of_no_picture_are_counted_and_not_all_kept() {
    let one = r#"{"image_id": 99, "category_id": 3}"#;
    let room = Room { boxes: 5000, ..room() };
    let json =
        with(&format!(r#"{{"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]}}, {}"#, vec![one; 3000].join(",")));
    let document = coco::parse(json.as_bytes(), room).unwrap().unwrap();
    assert_eq!((document.stray.len(), document.more_stray), (1000, 2000));
}

proptest! {
    #[test]
    fn a_line_gives_the_box_it_was_written_from(
        class in 0u32..1000, x in 0.0f32..0.5, y in 0.0f32..0.5, w in 0.001f32..0.5, h in 0.001f32..0.5,
    ) {
        let line = format!("{class} {} {} {w} {h}", x + w / 2.0, y + h / 2.0);
        let Ok(yolo::Text::Boxes(boxes)) = yolo::parse("a.txt", &mut line.as_bytes(), room()) else { panic!("{line}") };
        let near = |a: f32, b: f32| (a - b).abs() < 1e-6;
        prop_assert!(boxes.len() == 1 && boxes[0].class == class);
        prop_assert!(boxes[0].edges.iter().zip([x, y, w, h]).all(|(a, b)| near(*a, b)), "{:?}", boxes);
    }
}
