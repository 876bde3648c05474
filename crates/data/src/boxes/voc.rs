//! Pascal VOC XML: one file a picture (Everingham et al. 2010, "The PASCAL visual object classes challenge").

use super::document::{
    Bounded, Document, Page, RawBox, Room, Trouble, Unit, class_name, from_edges, parse_edge, shorten,
};
use std::io::Read;

/// Bytes of one file; an object takes some 300.
const MAX_BYTES: u64 = 4 << 20;
/// Elements, attributes' values and texts of one file.
const MAX_NODES: u32 = 500_000;

/// Reads a file, or tells that it is other XML.
///
/// No document type is allowed in it, so that no entity is ever defined.
pub(crate) fn parse(content: &mut dyn Read, room: Room) -> Result<Option<Document>, Trouble> {
    let text = Bounded::new(content, MAX_BYTES).text()?;
    let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..Default::default() };
    let xml = roxmltree::Document::parse_with_options(&text, options)
        .map_err(|error| Trouble::Wrong(format!("it is no XML: {}", shorten(&error.to_string()))))?;
    let root = xml.root_element();
    if !root.has_tag_name("annotation") {
        return Ok(None);
    }
    let size = child(root, "size").and_then(|size| Some((side(size, "width")?, side(size, "height")?)));
    let mut page = Page {
        picture: text_of(root, "filename").filter(|name| name.len() < 1024).unwrap_or_default().trim().to_owned(),
        unit: Unit::Pixels(size),
        given: None,
        boxes: Vec::new(),
        crowds: Vec::new(),
    };
    let mut names: Vec<String> = Vec::new();
    for (i, object) in root.children().filter(|node| node.has_tag_name("object")).enumerate() {
        let wrong = |what: String| {
            let line = xml.text_pos_at(object.range().start).row;
            Trouble::Wrong(format!("object {}, line {line}: {what}", i + 1))
        };
        let name = class_name(text_of(object, "name").unwrap_or_default()).map_err(wrong)?;
        let class = names.iter().position(|n| *n == name).unwrap_or(names.len());
        if class == names.len() {
            if class == room.classes {
                return Err(wrong(format!("it has more than the {class} classes allowed")));
            }
            names.push(name);
        }
        let bounds = child(object, "bndbox").ok_or_else(|| wrong("it has no `bndbox`".to_owned()))?;
        let edge = |name: &str| {
            let text = text_of(bounds, name).ok_or_else(|| wrong(format!("its `bndbox` has no `{name}`")))?;
            parse_edge(text).map_err(|why| wrong(format!("`{name}`: {why}")))
        };
        let mut edges = [edge("xmin")?, edge("ymin")?, edge("xmax")?, edge("ymax")?];
        // Pixels are numbered from 1 and the last belongs to the box: 1 to W is the whole width. Tools that number from
        // 0 write a 0 now and then, which stays.
        edges[..2].iter_mut().for_each(|edge| *edge = if *edge >= 1.0 { *edge - 1.0 } else { *edge });
        page.boxes.push(RawBox { class: class as u32, at: i as u32 + 1, edges: from_edges(edges) });
        room.check_boxes(page.boxes.len())?;
    }
    Ok(Some(Document { names, pages: vec![page], ..Document::default() }))
}

fn child<'a, 'i>(node: roxmltree::Node<'a, 'i>, name: &str) -> Option<roxmltree::Node<'a, 'i>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn text_of<'a>(node: roxmltree::Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name)?.text()
}

/// A side in pixels; tools that did not know it wrote 0.
fn side(size: roxmltree::Node<'_, '_>, name: &str) -> Option<u32> {
    let value = parse_edge(text_of(size, name)?).ok()?;
    (1.0..1e7).contains(&value).then_some(value as u32)
}
