#![allow(clippy::unwrap_used)]
mod common;
use common::*;
use kindling_export::formats::{FORMATS, Source};
#[test]
fn dump() {
    let to = std::path::PathBuf::from(std::env::var_os("DUMP").unwrap());
    for (name, graph) in graphs() {
        let w = weights(&graph);
        let q = quantized(&graph, &w).unwrap();
        let l = labels();
        for (kind, q) in [("int8", Some(&q)), ("float", None)] {
            let mut source = Source::new(&graph, &w, q, &l, "a <task>").unwrap();
            source.unknown_below = Some(0.42);
            source.decision = Some(("smoke", 0.3));
            let dir = to.join(format!("{name}-{kind}"));
            std::fs::create_dir_all(&dir).unwrap();
            for format in FORMATS {
                let Ok(files) = format.write(&source) else { continue };
                for file in files {
                    std::fs::write(dir.join(file.name), file.bytes).unwrap();
                }
            }
        }
        let card = card(&graph);
        std::fs::write(to.join(format!("{name}.json")), serde_json::to_vec_pretty(&card).unwrap()).unwrap();
        std::fs::write(to.join(format!("{name}.md")), card.to_markdown()).unwrap();
    }
}
