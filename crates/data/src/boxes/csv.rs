//! `boxes.csv`: a table with the columns path,label,x_min,y_min,x_max,y_max and, if wanted, split.

use super::document::{Document, Page, RawBox, Room, Trouble, Unit, class_name, from_edges, parse_edge, shorten};
use crate::layout::{Rows, split_word};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// The table's name.
pub(crate) const TABLE: &str = "boxes.csv";

const COLUMNS: [&str; 6] = ["path", "label", "x_min", "y_min", "x_max", "y_max"];
/// No picture has all its boxes within its first two pixels: numbers that small are shares.
const LARGEST_SHARE: f64 = 2.0;

/// Reads the table; the numbers are pixels or shares in all of it.
pub(crate) fn parse(content: impl Read, room: Room) -> Result<Document, Trouble> {
    let mut content = BufReader::new(content);
    let head = content.fill_buf()?;
    let first_line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    // Spreadsheets of half of Europe write semicolons.
    let delimiter = if first_line.contains(&b';') && !first_line.contains(&b',') { b';' } else { b',' };
    if head.starts_with(b"\xEF\xBB\xBF") {
        content.consume(3);
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(Rows::new(content, delimiter));
    let headers = reader.headers().map_err(unread)?.clone();
    let column = |name: &str| headers.iter().position(|header| header.eq_ignore_ascii_case(name));
    let mut at = [0; COLUMNS.len()];
    for (place, name) in at.iter_mut().zip(COLUMNS) {
        let wanted = COLUMNS.join(",");
        *place = column(name)
            .ok_or_else(|| wrong(1, format!("there is no column `{name}`; the columns must be {wanted}")))?;
    }
    let split_at = column("split");

    let mut document = Document::default();
    let mut class_of: HashMap<String, u32> = HashMap::new();
    let mut page_of: HashMap<String, usize> = HashMap::new();
    // Pictures that a row says have no boxes, by their page, with its line.
    let mut empty: HashMap<usize, u64> = HashMap::new();
    let mut boxes = 0;
    let mut largest = 0.0f64;
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(unread)? {
        let line = record.position().map_or(0, csv::Position::line);
        let field = |column: usize| record.get(column).unwrap_or_default();
        let (path, label, numbers) = (field(at[0]), field(at[1]), [2, 3, 4, 5].map(|i| field(at[i])));
        if path.is_empty() {
            return Err(wrong(line, "path must not be empty".to_owned()));
        }
        let given = match split_at.map_or("", field) {
            "" => None,
            word => Some(split_word(word).ok_or_else(|| {
                wrong(line, format!("the split `{}` is none of train, validation and test", shorten(word)))
            })?),
        };
        let number = *page_of.entry(path.to_owned()).or_insert(document.pages.len());
        if number == document.pages.len() {
            if number == room.pictures {
                return Err(Trouble::TooMany("it names more pictures than are allowed".to_owned()));
            }
            let page = Page { picture: path.to_owned(), unit: Unit::Shares, given, boxes: vec![], crowds: vec![] };
            document.pages.push(page);
        }
        let Some(page) = document.pages.get_mut(number) else { continue };
        if page.given != given {
            return Err(wrong(line, format!("`{}` was on another side of the split before", shorten(path))));
        }
        if label.is_empty() && numbers.iter().all(|n| n.is_empty()) {
            empty.insert(number, line);
            continue;
        }
        let name = class_name(label).map_err(|why| wrong(line, why))?;
        let next = class_of.len();
        let class = *class_of.entry(name.clone()).or_insert(next as u32);
        if class as usize == document.names.len() {
            if next == room.classes {
                return Err(wrong(line, format!("it has more than the {next} classes allowed")));
            }
            document.names.push(name);
        }
        let mut edges = [0.0f64; 4];
        for ((edge, text), name) in edges.iter_mut().zip(numbers).zip(&COLUMNS[2..]) {
            *edge = parse_edge(text).map_err(|why| wrong(line, format!("{name}: {why}")))?;
            largest = largest.max(*edge);
        }
        page.boxes.push(RawBox { class, at: line.try_into().unwrap_or(u32::MAX), edges: from_edges(edges) });
        boxes += 1;
        room.check_boxes(boxes)?;
    }
    if let Some((page, line)) =
        empty.iter().find(|(page, _)| document.pages.get(**page).is_some_and(|p| !p.boxes.is_empty()))
    {
        let path = document.pages.get(*page).map_or("", |p| &p.picture);
        let what = format!("`{}` has no box here but has one on another line; delete one of them", shorten(path));
        return Err(wrong(*line, what));
    }
    if largest > LARGEST_SHARE {
        document.pages.iter_mut().for_each(|page| page.unit = Unit::Pixels(None));
    }
    Ok(document)
}

fn wrong(line: u64, what: String) -> Trouble {
    Trouble::Wrong(format!("line {line}: {what}"))
}

fn unread(error: csv::Error) -> Trouble {
    let line = error.position().map_or(0, csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Trouble::from(error),
        csv::ErrorKind::Utf8 { err, .. } => wrong(line, format!("it is no UTF-8 ({err}); save it as UTF-8")),
        kind => wrong(line, format!("it is no table: {kind:?}")),
    }
}
