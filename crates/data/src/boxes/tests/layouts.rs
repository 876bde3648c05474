//! Whole uploads.

use super::{File, png, read, read_dir, refused, text};
use crate::{
    BoxView, Change, DataError, Dataset, Example, LabelledBox, Labels, Limits, Manifest, View, ingest, ingest_as,
    relabel, sample,
};
use kindling_spec::{ErrorCode, Split};
use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::sync::atomic::AtomicBool;

/// What the pictures show, in pixels of 32x16: class, left, top, width, height. Every fifth shows nothing, and there are as
/// many boxes as there are fives.
fn shown(i: u32) -> Vec<(usize, [u32; 4])> {
    let one = (i as usize % 2, [i % 7, i % 5, 8 + i % 9, 4 + i % 6]);
    match i % 5 {
        0 => Vec::new(),
        4 => vec![one, (1, [16, 8, 8, 8])],
        _ => vec![one],
    }
}

const CLASSES: [&str; 2] = ["fire", "smoke"];
const PICTURES: u32 = 40;

fn pictures(folder: &str) -> Vec<File> {
    (0..PICTURES).map(|i| (format!("{folder}{i}.png"), png(i))).collect()
}

fn coco(range: std::ops::Range<u32>, file: impl Fn(u32) -> String) -> String {
    let images: Vec<_> = (range.clone())
        .map(|i| serde_json::json!({"id": i, "file_name": file(i), "width": 32, "height": 16}))
        .collect();
    let boxes = range.flat_map(|i| shown(i).into_iter().map(move |b| (i, b)));
    let annotations: Vec<_> = boxes
        .map(|(i, (class, bbox))| serde_json::json!({"image_id": i, "category_id": class + 1, "bbox": bbox, "iscrowd": 0}))
        .collect();
    let categories =
        serde_json::json!([{"id": 1, "name": "fire"}, {"id": 2, "name": "smoke"}, {"id": 3, "name": "sheep"}]);
    serde_json::json!({"images": images, "annotations": annotations, "categories": categories}).to_string()
}

fn voc(i: u32) -> String {
    let object = |(class, [x, y, w, h]): (usize, [u32; 4])| {
        format!(
            "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>",
            CLASSES[class],
            x + 1,
            y + 1,
            x + w,
            y + h
        )
    };
    let objects: String = shown(i).into_iter().map(object).collect();
    format!(
        "<annotation><filename>stale.png</filename><size><width>32</width><height>16</height></size>{objects}</annotation>"
    )
}

fn yolo(i: u32) -> String {
    let line = |(class, [x, y, w, h]): (usize, [u32; 4])| {
        let [x, y, w, h] = [x, y, w, h].map(|v| v as f32);
        format!("{class} {} {} {} {}\n", (x + w / 2.0) / 32.0, (y + h / 2.0) / 16.0, w / 32.0, h / 16.0)
    };
    shown(i).into_iter().map(line).collect()
}

fn table() -> String {
    let row = |i: u32| match shown(i) {
        boxes if boxes.is_empty() => format!("pictures/{i}.png,,,,,\n"),
        boxes => {
            let row = |(class, [x, y, w, h]): (usize, [u32; 4])| {
                format!("pictures/{i}.png,{},{x},{y},{},{}\n", CLASSES[class], x + w, y + h)
            };
            boxes.into_iter().map(row).collect()
        }
    };
    "path,label,x_min,y_min,x_max,y_max\n".to_owned() + &(0..PICTURES).map(row).collect::<String>()
}

fn in_coco() -> Vec<File> {
    [pictures("data/"), vec![text("annotations/boxes.json", coco(0..PICTURES, |i| format!("{i}.png")))]].concat()
}

fn in_voc() -> Vec<File> {
    let texts = (0..PICTURES).map(|i| text(&format!("Annotations/{i}.xml"), voc(i))).collect();
    [pictures("JPEGImages/"), texts].concat()
}

fn in_yolo() -> Vec<File> {
    let texts = (0..PICTURES).map(|i| text(&format!("labels/{i}.txt"), yolo(i))).collect();
    [pictures("images/"), texts, vec![text("data.yaml", "names: [fire, smoke]\n")]].concat()
}

fn in_a_table() -> Vec<File> {
    [pictures("pictures/"), vec![text("boxes.csv", table())]].concat()
}

fn sides(manifest: &Manifest) -> BTreeMap<String, Split> {
    manifest.examples.iter().map(|e| (e.sha256.clone(), e.split)).collect()
}

#[test]
fn all_formats_give_the_same_data_set() {
    let first = read(&in_coco()).unwrap();
    assert_eq!((first.labels, first.classes.as_slice()), (Labels::Boxes, &["fire".to_owned(), "smoke".to_owned()][..]));
    assert_eq!(first.examples.len(), PICTURES as usize);
    for example in &first.examples {
        let i: u32 = example.path.strip_prefix("data/").unwrap().strip_suffix(".png").unwrap().parse().unwrap();
        let mut wanted: Vec<LabelledBox> = (shown(i).into_iter())
            .map(|(class, [x, y, width, height])| {
                let [x, y, width, height] = [x, y, width, height].map(|v| v as f32);
                LabelledBox { class, x: x / 32.0, y: y / 16.0, width: width / 32.0, height: height / 16.0 }
            })
            .collect();
        wanted.sort_by_key(LabelledBox::key);
        assert_eq!(example.boxes, wanted, "{}", example.path);
        let largest = wanted.iter().max_by(|a, b| a.area().total_cmp(&b.area()).then(b.class.cmp(&a.class)));
        assert_eq!(example.class, largest.map_or(0, |b| b.class));
        assert_eq!(first.class_of(example), largest.map(|b| CLASSES[b.class]));
    }
    // Each side has its share of the pictures that show nothing.
    let audit = first.audit.boxes.as_ref().unwrap();
    assert_eq!(audit.empty, [6, 1, 1]);
    let boxes: usize = audit.counts.iter().map(|c| c.train + c.validation + c.test).sum();
    assert_eq!(boxes, (0..PICTURES).map(|i| shown(i).len()).sum::<usize>());
    assert_eq!((audit.most, audit.width[0], audit.width[2]), (2, 8.0 / 32.0, 16.0 / 32.0));
    for other in [in_voc(), in_yolo(), in_a_table()] {
        let other = read(&other).unwrap();
        assert_eq!((&other.hash, sides(&other)), (&first.hash, sides(&first)));
        assert_eq!(other.audit.warnings, Vec::<String>::new());
    }
    let wrapped: Vec<File> = in_yolo().into_iter().map(|(name, bytes)| (format!("my data/v2/{name}"), bytes)).collect();
    assert_eq!(read(&wrapped).unwrap().hash, first.hash);
    let mut moved = in_coco();
    let last = moved.last_mut().unwrap();
    last.1 = String::from_utf8(last.1.clone()).unwrap().replacen("\"bbox\":[1,1,", "\"bbox\":[2,1,", 1).into_bytes();
    assert_ne!(read(&moved).unwrap().hash, first.hash, "the boxes are part of the name");
}

#[test]
fn archives_give_what_folders_give() {
    let files = in_yolo();
    let dir = tempfile::tempdir().unwrap();
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in &files {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    std::fs::write(dir.path().join("a.zip"), zip.finish().unwrap().into_inner()).unwrap();
    std::fs::write(dir.path().join("a.tar"), tar.into_inner().unwrap()).unwrap();
    let folder = read(&files).unwrap();
    for packed in ["a.zip", "a.tar"] {
        let read = read_dir(&dir.path().join(packed), &dir.path().join(packed.replace('.', "-"))).unwrap();
        assert_eq!((read.hash, read.examples.len()), (folder.hash.clone(), folder.examples.len()));
    }
    // A broken zip entry is that file's trouble only; too many bytes are everybody's.
    let limits = Limits { max_unpacked_bytes: 1000, ..Limits::default() };
    let (from, out) = (dir.path().join("a.zip"), dir.path().join("none"));
    let error = ingest_as(Labels::Boxes, &from, &out, &limits, &|_| {}, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ArchiveTooLarge);
    let limits = Limits { max_boxes: 20, ..Limits::default() };
    let error = ingest_as(Labels::Boxes, &from, &out, &limits, &|_| {}, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ArchiveTooLarge, "{error}");
}

/// Which side each picture was given, by its number.
fn given(files: &[File]) -> BTreeMap<u32, Split> {
    let manifest = read(files).unwrap();
    println!("{:?}", manifest.audit.warnings);
    let number = |e: &Example| e.path.rsplit('/').next().unwrap().split('.').next().unwrap().parse().unwrap();
    manifest.examples.iter().map(|e| (number(e), e.split)).collect()
}

/// 0 to 19 are for training, 20 to 29 for validation, 30 to 39 for testing.
fn as_wanted(files: &[File]) {
    for (i, split) in given(files) {
        let wanted = if i < 20 { Split::Train } else { [Split::Validation, Split::Test][(i / 10 - 2) as usize] };
        assert_eq!(split, wanted, "{i}");
    }
}

fn side(i: u32) -> &'static str {
    if i < 20 { "train" } else { ["valid", "test"][(i / 10 - 2) as usize] }
}

#[test]
fn sides_are_those_of_the_layout() {
    let moved = |path: &dyn Fn(u32) -> String| -> Vec<File> { (0..PICTURES).map(|i| (path(i), png(i))).collect() };
    let texts =
        |path: &dyn Fn(u32) -> String| -> Vec<File> { (0..PICTURES).map(|i| text(&path(i), yolo(i))).collect() };
    let ranges = [("train", 0..20), ("valid", 20..30), ("test", 30..40)];
    // Ultralytics' own, and Roboflow's.
    let ultralytics =
        [moved(&|i| format!("images/{}/{i}.png", side(i))), texts(&|i| format!("labels/{}/{i}.txt", side(i)))].concat();
    as_wanted(&ultralytics);
    as_wanted(
        &[moved(&|i| format!("{}/images/{i}.png", side(i))), texts(&|i| format!("{}/labels/{i}.txt", side(i)))]
            .concat(),
    );
    // Folders by other names, and lists, that `data.yaml` names.
    let lettered = |i: u32| if i < 20 { "a" } else { ["b", "c"][(i / 10 - 2) as usize] };
    let named = [
        moved(&|i| format!("images/{}/{i}.png", lettered(i))),
        texts(&|i| format!("labels/{}/{i}.txt", lettered(i))),
        vec![text(
            "my.yaml",
            "path: /home/me/set\ntrain: images/a\nval: ../images/b/\ntest: [/x/images/c]\nnames: {0: fire, 1: smoke}",
        )],
    ];
    as_wanted(&named.concat());
    let lines = |range: std::ops::Range<u32>| range.map(|i| format!("./images/{i}.png\n")).collect::<String>();
    let lists = |names: [&str; 3]| -> Vec<File> {
        ranges.iter().zip(names).map(|((_, range), name)| text(name, lines(range.clone()))).collect()
    };
    let yaml = "train: first.txt\nval: second.txt\ntest: third.txt\nnames: [fire, smoke]";
    let mut listed = [in_yolo(), lists(["first.txt", "second.txt", "third.txt"])].concat();
    listed.push(text("data.yaml", yaml));
    as_wanted(&listed);
    // Darknet's lists go by their names.
    as_wanted(&[in_yolo(), lists(["train.txt", "valid.txt", "test.txt"])].concat());
    // COCO's and VOC's own.
    let json = ranges.iter().map(|(side, range)| {
        let name = format!("annotations/instances_{side}2017.json");
        text(&name, coco(range.clone(), |i| format!("{i}.png")))
    });
    let captions = text("annotations/captions_train2017.json", r#"{"images": [], "annotations": [{"caption": "x"}]}"#);
    as_wanted(&[pictures("all/"), json.collect(), vec![captions]].concat());
    let ids = |range: &std::ops::Range<u32>| range.clone().map(|i| format!("{i}\n")).collect::<String>();
    let sets = ranges.iter().map(|(side, range)| text(&format!("ImageSets/Main/{side}.txt"), ids(range)));
    as_wanted(&[in_voc(), sets.collect()].concat());
    let rows: String =
        table().lines().skip(1).zip(shown_numbers()).map(|(row, i)| format!("{row},{}\n", side(i))).collect();
    let split = text("boxes.csv", format!("path,label,x_min,y_min,x_max,y_max,split\n{rows}"));
    as_wanted(&[pictures("pictures/"), vec![split]].concat());
    // All of it in `test`: that is a name, and no split.
    let all: Vec<File> = in_yolo().into_iter().map(|(name, bytes)| (format!("test/{name}"), bytes)).collect();
    let sides = given(&all);
    assert!(Split::ALL.iter().all(|split| sides.values().any(|s| s == split)));
}

/// The picture of each row of the table.
fn shown_numbers() -> impl Iterator<Item = u32> {
    (0..PICTURES).flat_map(|i| vec![i; shown(i).len().max(1)])
}

#[test]
fn what_is_odd_is_listed() {
    let mut files = in_yolo();
    let mut put = |path: &str, bytes: Vec<u8>| match files.iter_mut().find(|(name, _)| name == path) {
        Some(file) => file.1 = bytes,
        None => files.push((path.to_owned(), bytes)),
    };
    put("labels/1.txt", b"0 0.95 0.5 0.5 0.5\n1 0.5 0.5 0 0.5\n".to_vec());
    put("labels/2.txt", b"0 0.5 0.5 0.5\n".to_vec());
    put("labels/3.txt", b"0 0.5 0.5 0.5 0.5\n2 0.5 0.5 0.5 0.5\n".to_vec());
    put("labels/gone.txt", b"0 0.5 0.5 0.5 0.5\n".to_vec());
    put("images/silent.png", png(100));
    put("images/broken.png", b"<html>".to_vec());
    put("labels/broken.txt", b"0 0.5 0.5 0.5 0.5\n".to_vec());
    put("docs/logo.png", png(101));
    put("README.md", b"hello".to_vec());
    put("images/copy.png", png(6));
    put("labels/copy.txt", yolo(6).into_bytes());
    put("images/twin.png", png(7));
    put("labels/twin.txt", b"1 0.5 0.5 0.1 0.1\n".to_vec());
    put("images/more.png", png(8));
    put("labels/more.txt", format!("{}1 0.9 0.9 0.1 0.1\n", yolo(8)).into_bytes());
    let manifest = read(&files).unwrap();
    let audit = &manifest.audit;
    println!("{:#?}", audit.warnings);
    let boxes = audit.boxes.as_ref().unwrap();
    assert_eq!(boxes.clipped.total, 1);
    let odd = &boxes.clipped.items[0];
    assert_eq!(
        (odd.path.as_str(), odd.place.as_str(), odd.class.as_str()),
        ("images/1.png", "labels/1.txt, line 1", "fire")
    );
    assert_eq!((boxes.no_area.total, boxes.no_area.items[0].place.as_str()), (1, "labels/1.txt, line 2"));
    let reasons: Vec<&str> = audit.broken.items.iter().map(|b| b.path.as_str()).collect();
    assert_eq!(reasons, ["images/broken.png", "labels/2.txt", "labels/3.txt"]);
    assert!(audit.broken.items[1].reason.contains("line 1") && audit.broken.items[1].reason.contains("images/2.png"));
    assert!(audit.broken.items[2].reason.contains("line 2: class 2, but `data.yaml` names 2"), "{:?}", audit.broken);
    assert_eq!((boxes.without_picture.total, boxes.without_picture.items[0].path.as_str()), (1, "labels/gone.txt"));
    assert_eq!(
        (boxes.silence_is_empty, boxes.without_annotation.items.as_slice()),
        (true, &["images/silent.png".to_owned()][..])
    );
    assert_eq!(audit.other_files, 1);
    assert_eq!(audit.exact_duplicates.items, [["images/6.png", "images/copy.png"]]);
    let exact = audit.label_conflicts.items.iter().filter(|c| c.exact).flat_map(|c| &c.files);
    let mut twins: Vec<(&str, &str)> = exact.map(|f| (f.path.as_str(), f.class.as_str())).collect();
    twins.sort_unstable();
    let smoke = "1 smoke";
    let wanted = [("images/7.png", smoke), ("images/8.png", "1 fire"), ("images/more.png", "1 fire, 1 smoke")];
    assert_eq!(twins, [&wanted[..], &[("images/twin.png", smoke)]].concat());
    let has = |path: &str| manifest.examples.iter().find(|e| e.path == path);
    assert!(has("images/2.png").is_none() && has("images/3.png").is_none() && has("docs/logo.png").is_none());
    assert!(has("images/silent.png").is_some_and(|e| e.boxes.is_empty()));
    let edge = has("images/1.png").unwrap().boxes[0];
    assert!((edge.x - 0.7).abs() < 1e-6 && (edge.x + edge.width - 1.0).abs() < 1e-6);
    for word in ["reach out", "no area", "are not there", "have no annotation", "could not be used", "exact copies"] {
        assert!(audit.warnings.iter().any(|w| w.contains(word)), "{word}");
    }
    // The other formats leave out what no annotation speaks of.
    let more = [in_coco(), vec![("data/silent.png".to_owned(), png(100))]].concat();
    let boxes = read(&more).unwrap().audit.boxes.unwrap();
    assert_eq!((boxes.silence_is_empty, boxes.without_annotation.total), (false, 1));
    let crowd = coco(0..PICTURES, |i| format!("{i}.png")).replacen("\"iscrowd\":0", "\"iscrowd\":1", 2);
    let boxes = read(&[pictures("data/"), vec![text("a.json", crowd)]].concat()).unwrap().audit.boxes.unwrap();
    assert_eq!((boxes.crowds.total, boxes.crowds.items[0].place.as_str()), (2, "a.json, annotations[0]"));
}

#[test]
fn what_cannot_be_right_is_refused_as_a_whole() {
    // Pixels where shares belong.
    let pixels =
        |i: u32| shown(i).into_iter().map(|(c, [x, y, w, h])| format!("{c} {x} {y} {w} {h}\n")).collect::<String>();
    let texts = (0..PICTURES).map(|i| text(&format!("labels/{i}.txt"), pixels(i))).collect();
    let why = refused(&[pictures("images/"), texts].concat());
    assert!(
        why.contains("more than 5%") && why.contains("labels/1.txt, line 1") && why.contains("all in shares"),
        "{why}"
    );
    assert!(refused(&pictures("images/")).contains("no boxes were found"));
    assert!(refused(&[pictures("p/"), vec![text("boxes.csv", "path\n")]].concat()).contains("`boxes.csv`: line 1"));
    let outside = "path,label,x_min,y_min,x_max,y_max\n../../x.png,a,1,1,2,2\n";
    assert!(refused(&[pictures("p/"), vec![text("boxes.csv", outside)]].concat()).contains("is refused"));
    assert!(
        refused(&[pictures("p/"), vec![text("a.json", "{\"images\": [}")]].concat())
            .contains("`a.json`: it is no JSON")
    );
    let elsewhere = coco(0..PICTURES, |i| format!("other-{i}.png"));
    let why = refused(&[pictures("p/"), vec![text("a.json", elsewhere)]].concat());
    assert!(why.contains("none could be used") && why.contains("`other-0.png`"), "{why}");
    let few: Vec<File> = in_coco().into_iter().filter(|(name, _)| !name.starts_with("data/1")).collect();
    let few: Vec<File> =
        few.into_iter().filter(|(n, _)| !n.starts_with("data/2") && !n.starts_with("data/3")).collect();
    assert!(refused(&few).contains("only 5 usable pictures have boxes, and at least 10 are needed"), "{few:?}");
    let twice = [in_coco(), vec![text("b.json", coco(0..1, |_| "1.png".into()))]].concat();
    assert!(refused(&twice).contains("leave one of them out"));
    let names = [in_yolo(), vec![text("data.yaml", "names: [fire, ''")]].concat();
    assert!(refused(&names).contains("`data.yaml`: it is no YAML"));
}

#[test]
fn the_wish_decides_where_both_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("in");
    sample::fire_smoke(&from, 30, 48, 3).unwrap();
    let classes =
        ingest(&from, &dir.path().join("classes"), &Limits::default(), &|_| {}, &AtomicBool::new(false)).unwrap();
    assert_eq!((classes.labels, classes.classes.len()), (Labels::Classes, 3));
    assert!(classes.examples.iter().all(|e| e.boxes.is_empty()) && classes.audit.boxes.is_none());
    let boxes = read_dir(&from, &dir.path().join("boxes")).unwrap();
    assert_eq!((boxes.labels, boxes.classes.as_slice()), (Labels::Boxes, &["fire".to_owned(), "smoke".to_owned()][..]));
    assert_eq!(boxes.examples.len(), 90);
    // Pictures without boxes are dealt by themselves: 15% of them to each side, and not 15% of them and the fires together.
    assert_eq!(boxes.audit.boxes.as_ref().map(|b| b.empty), Some([20, 5, 5]));
    for example in &boxes.examples {
        let (class, file) = example.path.split_once('/').unwrap();
        let class = sample::CLASSES.iter().position(|c| *c == class).unwrap();
        let found = sample::draw(class, file.trim_end_matches(".png").parse().unwrap(), 48, 3).1;
        assert_eq!(example.boxes.len(), found.len());
        for f in found {
            let wanted = f.bbox.map(|v| v as f32 / 48.0);
            let is_it = |b: &LabelledBox| {
                boxes.classes[b.class] == f.what
                    && [b.x, b.y, b.width, b.height].iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6)
            };
            assert!(example.boxes.iter().any(is_it), "{}: {f:?}", example.path);
        }
        assert_eq!(boxes.class_of(example).is_none(), class == 1);
    }

    // What is for whole pictures refuses boxes and the other way round; nothing panics.
    let (of_classes, of_boxes) = (dir.path().join("classes"), dir.path().join("boxes"));
    let (of_classes, of_boxes) = (Dataset::open(&of_classes).unwrap(), Dataset::open(&of_boxes).unwrap());
    assert_eq!(of_boxes.manifest(), &boxes, "the manifest is read as it was written");
    let group =
        |name: &str, members: &[&str]| (name.to_owned(), members.iter().map(|m| (*m).to_owned()).collect::<Vec<_>>());
    let both = [group("fire", &["fire"]), group("smoke", &["smoke"])];
    assert!(View::new(&of_boxes, &both).unwrap_err().to_string().contains("labels are boxes"));
    assert!(BoxView::new(&of_classes, &both).unwrap_err().to_string().contains("not boxes"));
    let count = |view: &BoxView| {
        let all = view.train.iter().chain(&view.validation).chain(&view.test);
        (all.clone().count(), all.map(|b| b.boxes.len()).sum::<usize>())
    };
    let (all, total) = count(&BoxView::new(&of_boxes, &both).unwrap());
    let merged = BoxView::new(&of_boxes, &[group("something", &["smoke", "fire"])]).unwrap();
    assert_eq!((all, count(&merged)), (90, (90, total)));
    assert!(merged.train.iter().flat_map(|b| &b.boxes).all(|b| b.class == 0));
    let smoke = BoxView::new(&of_boxes, &[group("smoke", &["smoke"])]).unwrap();
    let smoke_boxes = boxes.examples.iter().flat_map(|e| &e.boxes).filter(|b| b.class == 1).count();
    assert_eq!(count(&smoke), (90, smoke_boxes), "pictures of what was left out stay, as showing nothing");
    assert!(matches!(BoxView::new(&of_boxes, &[group("x", &["neither"])]), Err(DataError::UnknownClass { .. })));
    assert!(BoxView::new(&of_boxes, &[]).is_err());

    let out = dir.path().join("next");
    let why = relabel(&of_boxes, &BTreeMap::from([(0, Change::Label(1))]), &out, &Limits::default()).unwrap_err();
    assert!(why.to_string().contains("has boxes"));
    let next = relabel(&of_boxes, &BTreeMap::from([(0, Change::Remove)]), &out, &Limits::default()).unwrap();
    assert_eq!((next.labels, next.examples.len()), (Labels::Boxes, 89));
    assert!(next.hash != boxes.hash && next.audit.boxes.is_some());
    let gone = &boxes.examples[0].sha256;
    assert!(
        boxes.examples[1..]
            .iter()
            .all(|old| &old.sha256 == gone
                || next.examples.iter().any(|e| e.boxes == old.boxes && e.sha256 == old.sha256))
    );
    let every: BTreeMap<usize, Change> = boxes
        .examples
        .iter()
        .enumerate()
        .filter(|(_, e)| !e.boxes.is_empty())
        .map(|(i, _)| (i, Change::Remove))
        .collect();
    assert!(matches!(
        relabel(&of_boxes, &every, &dir.path().join("none"), &Limits::default()),
        Err(DataError::TooFewBoxes { .. })
    ));
}

/// A JPEG that is stored lying on its side: the EXIF block goes behind the first marker.
fn sideways(number: u32) -> Vec<u8> {
    let picture = image::load_from_memory(&png(number)).unwrap();
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
    let tiff = [&b"MM\0\x2A\0\0\0\x08"[..], &[0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]].concat();
    let length = (2 + 6 + tiff.len()) as u16;
    let bytes = out.into_inner();
    [&bytes[..2], &[0xFF, 0xE1], &length.to_be_bytes(), b"Exif\0\0", &tiff, &bytes[2..]].concat()
}

#[test]
fn boxes_stand_upright_with_their_picture() {
    let files: Vec<File> = (0..PICTURES).map(|i| (format!("data/{i}.jpg"), sideways(i))).collect();
    let json = coco(0..PICTURES, |i| format!("{i}.jpg"));
    let manifest = read(&[files.clone(), vec![text("a.json", json.clone())]].concat()).unwrap();
    let one = manifest.examples.iter().find(|e| e.path == "data/1.jpg").unwrap();
    assert_eq!((one.width, one.height), (16, 32));
    // Stored: left 1, top 1, 9 wide, 5 high, of 32x16; turned right, its left side is up.
    let b = one.boxes[0];
    assert_eq!([b.x, b.y, b.width, b.height], [10.0 / 16.0, 1.0 / 32.0, 5.0 / 16.0, 9.0 / 32.0]);
    // Another picture's annotation: left out, and told of; here of all.
    let other = json.replace("\"width\":32", "\"width\":100");
    assert!(refused(&[files, vec![text("a.json", other)]].concat()).contains("a picture of 100x16 pixels"));
}

#[test]
fn old_manifests_read_as_before_and_new_ones_of_classes_say_nothing_of_boxes() {
    let dir = tempfile::tempdir().unwrap();
    sample::fire_smoke(&dir.path().join("in"), 12, 24, 5).unwrap();
    let out = dir.path().join("out");
    let manifest = ingest(&dir.path().join("in"), &out, &Limits::default(), &|_| {}, &AtomicBool::new(false)).unwrap();
    let text = std::fs::read_to_string(out.join("manifest.json")).unwrap();
    assert!(!text.contains("labels\"") && !text.contains("boxes"), "{text}");
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    // The name that the version before boxes gave this content.
    assert_eq!(manifest.hash, OLD_HASH);
}

const OLD_HASH: &str = "5a06d9b3ad209dd7b6437bfd0ca281c73c6110ee874cb4024fe8364a683a152d";
