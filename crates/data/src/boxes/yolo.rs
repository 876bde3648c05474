//! YOLO's text files: beside each picture, or in `labels/` beside `images/`, a text of the same name with a line
//! `class x y width height` a box: the middle and the size, in shares of the picture's sides (docs.ultralytics.com,
//! "Object detection datasets overview"; Darknet before it). The classes' names are in `data.yaml`, or a line each in
//! `classes.txt` or `obj.names`.

use super::document::{Bounded, RawBox, Room, Trouble, class_name, parse_number, shorten};
use crate::layout::split_word;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;

/// Bytes of a text: a list of 200,000 pictures has some 12 million.
const MAX_TEXT: u64 = 16 << 20;
/// Bytes of a `data.yaml`.
const MAX_YAML: u64 = 1 << 20;

/// What a text is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Text {
    /// Boxes; none in an empty file.
    Boxes(Vec<RawBox>),
    /// A list: of names, or of pictures.
    List(Vec<String>),
    /// Neither, and why it holds no boxes.
    Other(String),
}

/// What of a `data.yaml` matters.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Config {
    /// The classes' names.
    pub(crate) names: Vec<String>,
    /// Folders or lists of pictures: train, validation, test.
    pub(crate) sides: [Vec<String>; 3],
}

/// Whether a file lists names of classes, by its name.
pub(crate) fn is_list_of_names(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name.ends_with(".names") || ["classes.txt", "predefined_classes.txt", "obj_names.txt"].contains(&name.as_str())
}

/// Reads a text.
pub(crate) fn parse(path: &str, content: &mut dyn Read, room: Room) -> Result<Text, Trouble> {
    let text = Bounded::new(content, MAX_TEXT).text()?;
    let lines = || text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
    let list = || Text::List(lines().map(|(_, line)| line.to_owned()).collect());
    if is_list_of_names(path) {
        return Ok(list());
    }
    if lines().next().is_some_and(|(_, line)| names_picture(line)) {
        return Ok(list());
    }
    let mut boxes = Vec::new();
    for (i, line) in lines() {
        match row(line) {
            Ok((class, edges)) => boxes.push(RawBox { class, at: i as u32 + 1, edges }),
            // VOC's `ImageSets/Main/train.txt` names pictures without their endings.
            Err(_) if split_word(super::find::stem_of(path)).is_some() => return Ok(list()),
            Err(why) => return Ok(Text::Other(format!("line {}: {why}", i + 1))),
        }
        room.check_boxes(boxes.len())?;
    }
    Ok(Text::Boxes(boxes))
}

/// Whether a line is a picture's path.
fn names_picture(line: &str) -> bool {
    let name = line.rsplit(['/', '\\']).next().unwrap_or(line);
    name.contains('.') && crate::sniff::named_as_image(name)
}

/// One box, or the box around an outline.
fn row(line: &str) -> Result<(u32, [f32; 4]), String> {
    let mut words = line.split_ascii_whitespace();
    let class = words.next().unwrap_or_default();
    // Some tools write `0.0`.
    let class = class.strip_suffix(".0").unwrap_or(class);
    let class: u32 = class.parse().map_err(|_| format!("`{}` is no number of a class", shorten(class)))?;
    // A few more than a box has are enough to tell; an outline is followed point by point.
    let numbers = words.map(parse_number).collect::<Result<Vec<f32>, String>>()?;
    match numbers.as_slice() {
        [x, y, width, height] => Ok((class, [x - width / 2.0, y - height / 2.0, *width, *height])),
        [_, _, _, _, _] => Err("there is a sixth number, as of a score: give labels, not predictions".to_owned()),
        outline if outline.len() >= 6 && outline.len() % 2 == 0 => {
            let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
            for (i, value) in outline.iter().enumerate() {
                low[i % 2] = low[i % 2].min(*value);
                high[i % 2] = high[i % 2].max(*value);
            }
            Ok((class, [low[0], low[1], high[0] - low[0], high[1] - low[1]]))
        }
        numbers => Err(format!("a box is `class x y width height`, not {} numbers", numbers.len() + 1)),
    }
}

/// A list of names, a map from numbers to names, or nothing.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    List(Vec<Scalar>),
    Map(BTreeMap<u32, Scalar>),
}

/// YAML reads some names as numbers or truth values.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Whole(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Whole(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(value) => value,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Places {
    One(String),
    Several(Vec<String>),
    None(()),
}

impl Places {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(place) => vec![place],
            Self::Several(places) => places,
            Self::None(()) => Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct Yaml {
    names: Option<Names>,
    train: Option<Places>,
    #[serde(alias = "valid", alias = "validation")]
    val: Option<Places>,
    test: Option<Places>,
    /// Only sets of key points have it; their lines cannot be told from outlines.
    kpt_shape: Option<serde::de::IgnoredAny>,
}

/// Reads a `data.yaml`, or tells that it is other YAML: one without names.
pub(crate) fn parse_yaml(content: &mut dyn Read, room: Room) -> Result<Option<Config>, Trouble> {
    let text = Bounded::new(content, MAX_YAML).text()?;
    let wrong = |what: String| Trouble::Wrong(what);
    let yaml: Yaml = serde_saphyr::from_str(&text).map_err(|error| {
        wrong(format!("it is no YAML with `names`, `train` and `val`: {}", first_line(&error.to_string())))
    })?;
    let Some(names) = yaml.names else { return Ok(None) };
    if yaml.kpt_shape.is_some() {
        return Err(wrong("these are key points (`kpt_shape`), which are not read; export boxes".to_owned()));
    }
    let names: Vec<String> = match names {
        Names::List(names) => names.into_iter().map(Scalar::into_text).collect(),
        Names::Map(names) => {
            let wanted = names.len() as u32;
            if let Some(missing) = (0..wanted).find(|i| !names.contains_key(i)) {
                return Err(wrong(format!("`names` has {wanted} names but none for {missing}; number them from 0")));
            }
            names.into_values().map(Scalar::into_text).collect()
        }
    };
    if names.len() > room.classes {
        return Err(wrong(format!("`names` has {}, more than the {} allowed", names.len(), room.classes)));
    }
    let names = names
        .iter()
        .map(|name| class_name(name))
        .collect::<Result<_, _>>()
        .map_err(|why| wrong(format!("`names`: {why}")))?;
    let places = |places: Option<Places>| places.map(Places::into_list).unwrap_or_default();
    Ok(Some(Config { names, sides: [places(yaml.train), places(yaml.val), places(yaml.test)] }))
}

fn first_line(text: &str) -> String {
    text.lines()
        .find(|line| !line.trim().is_empty())
        .map(|line| line.trim().chars().take(160).collect())
        .unwrap_or_default()
}

/// The texts that a picture's boxes may be in: with `labels` for the last folder `images` and `.txt` for the ending, else
/// beside it.
pub(crate) fn label_paths(picture: &str) -> Vec<String> {
    let (folder, name) = picture.rsplit_once('/').unwrap_or(("", picture));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    let path = |parts: &[&str]| [parts, &[&format!("{stem}.txt")]].concat().join("/");
    let mut paths = Vec::new();
    if let Some(images) = parts.iter().rposition(|part| part.eq_ignore_ascii_case("images")) {
        for labels in ["labels", "Labels"] {
            let elsewhere: Vec<&str> =
                parts.iter().enumerate().map(|(i, p)| if i == images { labels } else { *p }).collect();
            paths.push(path(&elsewhere));
        }
    }
    paths.push(path(&parts));
    paths
}
