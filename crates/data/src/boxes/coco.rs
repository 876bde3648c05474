//! COCO JSON: `images`, `annotations` with `bbox` in pixels, `categories` (cocodataset.org, "Data format").
//!
//! Read as it streams by: of a file of hundreds of megabytes, most of it outlines that are not looked at,
//! only the boxes are kept.

use super::document::{Document, Page, RawBox, Room, Trouble, Unit, class_name, number, shorten};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes of one string: file names are short, and a mask written as a string has at most some hundred thousand.
const LONGEST_STRING: usize = 4 << 20;
/// Bytes of a name.
const LONGEST_NAME: usize = 1024;
/// Bytes of an id: there are millions of them.
const LONGEST_ID: usize = 64;

/// Reads a file, or tells that it is other JSON.
pub(crate) fn parse(content: impl Read, room: Room) -> Result<Option<Document>, Trouble> {
    let mut content = BufReader::with_capacity(1 << 16, ShortStrings::new(content));
    if !opens_object(&mut content)? {
        return Ok(None);
    }
    let mut json = serde_json::Deserializer::from_reader(content);
    let read = Top(room).deserialize(&mut json).and_then(|top| json.end().map(|()| top));
    match read {
        Ok(top) => top.into_document(room),
        Err(error) if error.is_io() => Err(Trouble::from(io::Error::from(error))),
        // It repeats a text that is where something else should be.
        Err(error) => Err(Trouble::Wrong(format!("it is no JSON of COCO's form: {:.300}", error.to_string()))),
    }
}

/// Whether what follows is an object; a byte order mark and blanks are passed over.
fn opens_object(content: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = content.fill_buf()?;
        let Some(first) = buffer.first() else { return Ok(false) };
        if !first.is_ascii_whitespace() && !b"\xEF\xBB\xBF".contains(first) {
            return Ok(*first == b'{');
        }
        content.consume(1);
    }
}

/// Numbers in most files, texts in some.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Id {
    Number(i64),
    Text(Box<str>),
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Id;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an id: a whole number, or a text of at most {LONGEST_ID} bytes")
            }
            fn visit_i64<E>(self, value: i64) -> Result<Id, E> {
                Ok(Id::Number(value))
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Id, E> {
                i64::try_from(value).map(Id::Number).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Id, E> {
                if value.len() > LONGEST_ID {
                    return Err(E::invalid_value(Unexpected::Str(&shorten(value)), &self));
                }
                Ok(Id::Text(value.into()))
            }
        }
        from.deserialize_any(Read)
    }
}

/// A text that is not kept if it is too long to be a name.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a name of at most {LONGEST_NAME} bytes")
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Name, E> {
                if value.len() > LONGEST_NAME {
                    return Err(E::invalid_value(Unexpected::Str(&shorten(value)), &self));
                }
                Ok(Name(value.to_owned()))
            }
        }
        from.deserialize_str(Read)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => id.fmt(f),
            Self::Text(id) => shorten(id).fmt(f),
        }
    }
}

#[derive(Deserialize)]
struct Image {
    id: Id,
    file_name: Name,
    #[serde(default)]
    width: Option<f64>,
    #[serde(default)]
    height: Option<f64>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: Id,
    #[serde(default)]
    category_id: Option<Id>,
    #[serde(default)]
    bbox: Option<Four>,
    #[serde(default)]
    iscrowd: Crowd,
}

#[derive(Deserialize)]
struct Category {
    id: Id,
    name: Name,
}

/// 0 or 1, or a truth value.
#[derive(Default)]
struct Crowd(bool);

impl<'de> Deserialize<'de> for Crowd {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Crowd;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0 or 1 for `iscrowd`")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Crowd, E> {
                Ok(Crowd(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Crowd, E> {
                Ok(Crowd(value != 0))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Crowd, E> {
                Ok(Crowd(value != 0.0))
            }
            fn visit_unit<E>(self) -> Result<Crowd, E> {
                Ok(Crowd(false))
            }
        }
        from.deserialize_any(Read)
    }
}

/// Exactly four numbers; none where the list is empty. No more than four are kept of a list that has more.
struct Four(Option<[f32; 4]>);

impl<'de> Deserialize<'de> for Four {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Four;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a `bbox` of four numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Four, A::Error> {
                let mut four = [0.0; 4];
                for (at, place) in four.iter_mut().enumerate() {
                    match list.next_element::<f64>()? {
                        Some(value) => *place = number(value).map_err(A::Error::custom)?,
                        None if at == 0 => return Ok(Four(None)),
                        None => return Err(A::Error::invalid_length(at, &self)),
                    }
                }
                match list.next_element::<IgnoredAny>()? {
                    Some(IgnoredAny) => Err(A::Error::invalid_length(5, &self)),
                    None => Ok(Four(Some(four))),
                }
            }
        }
        from.deserialize_seq(Read)
    }
}

/// A list that is not read further than it may be long.
struct Capped<T>(usize, &'static str, std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Capped<T> {
    type Value = Vec<T>;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<T>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Capped<T> {
    type Value = Vec<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for `{}`", self.1)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            if items.len() == self.0 {
                return Err(A::Error::custom(format!("`{}` has more than the {} allowed", self.1, self.0)));
            }
            items.push(item);
        }
        Ok(items)
    }
}

/// The file's outermost object.
struct Top(Room);

#[derive(Default)]
struct Lists {
    images: Option<Vec<Image>>,
    annotations: Option<Vec<Annotation>>,
    categories: Option<Vec<Category>>,
}

impl<'de> DeserializeSeed<'de> for Top {
    type Value = Lists;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Lists, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top {
    type Value = Lists;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `images`, `annotations` and `categories`")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lists, A::Error> {
        let mut lists = Lists::default();
        let kind = std::marker::PhantomData;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "images" => lists.images = Some(map.next_value_seed(Capped(self.0.pictures, "images", kind))?),
                "annotations" => {
                    lists.annotations =
                        Some(map.next_value_seed(Capped(self.0.boxes, "annotations", std::marker::PhantomData))?);
                }
                "categories" => {
                    lists.categories =
                        Some(map.next_value_seed(Capped(self.0.classes, "categories", std::marker::PhantomData))?);
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(lists)
    }
}

impl Lists {
    fn into_document(self, room: Room) -> Result<Option<Document>, Trouble> {
        let (Some(images), Some(annotations)) = (self.images, self.annotations) else { return Ok(None) };
        // Captions and the like have no boxes at all; a set without any annotation is one of empty pictures.
        if !annotations.is_empty() && annotations.iter().all(|a| a.bbox.is_none()) {
            return Ok(None);
        }
        room.check_boxes(annotations.len())?;
        let wrong = |what: String| Trouble::Wrong(what);
        let mut document = Document::default();
        let mut class_of: HashMap<Id, u32> = HashMap::new();
        for (at, category) in self.categories.unwrap_or_default().into_iter().enumerate() {
            let name = class_name(&category.name.0).map_err(|why| wrong(format!("categories[{at}]: {why}")))?;
            if class_of.contains_key(&category.id) {
                return Err(wrong(format!("categories[{at}]: the id {} is another's already", category.id)));
            }
            class_of.insert(category.id, at as u32);
            document.names.push(name);
        }
        let mut page_of: HashMap<Id, usize> = HashMap::new();
        for (at, image) in images.into_iter().enumerate() {
            let side = |value: Option<f64>| value.filter(|v| (1.0..1e7).contains(v)).map(|v| v as u32);
            let size = side(image.width).zip(side(image.height));
            match page_of.entry(image.id) {
                Entry::Occupied(taken) => {
                    return Err(wrong(format!("images[{at}]: the id {} is another's already", taken.key())));
                }
                Entry::Vacant(free) => drop(free.insert(document.pages.len())),
            }
            document.pages.push(Page {
                picture: image.file_name.0,
                unit: Unit::Pixels(size),
                given: None,
                boxes: Vec::new(),
                crowds: Vec::new(),
            });
        }
        for (at, annotation) in annotations.into_iter().enumerate() {
            let Some(page) = page_of.get(&annotation.image_id).and_then(|i| document.pages.get_mut(*i)) else {
                let image = annotation.image_id;
                document.stray(|| format!("annotations[{at}] is of image {image}, which `images` lacks"));
                continue;
            };
            let Some(class) = annotation.category_id.as_ref().and_then(|id| class_of.get(id)) else {
                let id = annotation.category_id.map_or("none".to_owned(), |id| id.to_string());
                let mend = "add it to `categories` or correct the annotation";
                return Err(wrong(format!("annotations[{at}] is of category {id}, which `categories` lacks; {mend}")));
            };
            // Without a box it is listed as one without an area.
            let edges = annotation.bbox.and_then(|four| four.0).unwrap_or_default();
            let raw = RawBox { class: *class, at: at as u32, edges };
            if annotation.iscrowd.0 { page.crowds.push(raw) } else { page.boxes.push(raw) }
        }
        Ok(Some(document))
    }
}

/// Passes JSON on, and fails in a string that is longer than any should be: the parser would keep it whole.
struct ShortStrings<R> {
    inner: R,
    inside: bool,
    escaped: bool,
    length: usize,
}

impl<R> ShortStrings<R> {
    fn new(inner: R) -> Self {
        Self { inner, inside: false, escaped: false, length: 0 }
    }
}

impl<R: Read> Read for ShortStrings<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        for byte in &buffer[..n] {
            match (self.inside, self.escaped, byte) {
                (true, true, _) => self.escaped = false,
                (true, false, b'\\') => self.escaped = true,
                (_, _, b'"') => (self.inside, self.length) = (!self.inside, 0),
                _ => {}
            }
            self.length += usize::from(self.inside);
            if self.length > LONGEST_STRING {
                let text = format!("a text in it is longer than {} MiB", LONGEST_STRING >> 20);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
            }
        }
        Ok(n)
    }
}
