//! Text for people: sizes, tables, and JSON for machines.

use crate::failure::{Exit, Failure};
use kindling_export::{BoxClassMetrics, Card, SplitMetrics};
use serde::Serialize;
use std::io::Write;

/// Prints to standard output. A reader that has gone away (`kindling … | head`) is no error.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Prints a value as indented JSON.
pub(crate) fn say_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::new(Exit::Failed, format!("the answer cannot be written as JSON: {e}")))?;
    say(&text);
    Ok(())
}

/// `1234567` as `1.23 MB`.
pub(crate) fn bytes(count: u64) -> String {
    scaled(count as f64, &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB")], "B")
}

/// `12500000` as `12.5 M`.
pub(crate) fn count(count: u64) -> String {
    scaled(count as f64, &[(1e9, "G"), (1e6, "M"), (1e3, "k")], "")
}

fn scaled(value: f64, units: &[(f64, &str)], least: &str) -> String {
    for (size, unit) in units {
        if value >= *size * 0.9995 {
            let v = value / size;
            let decimals = if v >= 99.95 {
                0
            } else if v >= 9.995 {
                1
            } else {
                2
            };
            return format!("{v:.decimals$} {unit}");
        }
    }
    format!("{value:.0} {least}").trim_end().to_owned()
}

/// A share as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// A table: the first column to the left, the others to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let columns = head.len();
    let widths: Vec<usize> = (0..columns)
        .map(|c| {
            let cells = rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count());
            cells.chain([head[c].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (c, width) in widths.iter().enumerate() {
            let cell = cells.get(c).map_or("", String::as_str);
            let pad = " ".repeat(width - cell.chars().count());
            let gap = if c == 0 { "" } else { "  " };
            text += &if c == 0 { format!("{cell}{pad}") } else { format!("{gap}{pad}{cell}") };
        }
        text.trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
    let lines = [line(&head), line(&rule)].into_iter().chain(rows.iter().map(|r| line(r)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A table of words: all columns to the left.
pub(crate) fn left_table(head: &[&str], rows: &[Vec<String>]) -> String {
    let length = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..head.len())
        .map(|c| rows.iter().filter_map(|row| row.get(c)).map(|cell| length(cell)).fold(length(head[c]), usize::max))
        .collect();
    let line = |cells: Vec<&str>| {
        let cells =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - length(cell))));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let top = [line(head.to_vec()), line(rules.iter().map(String::as_str).collect())];
    let rest = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    top.into_iter().chain(rest).collect::<Vec<_>>().join("\n")
}

/// What a model's card says of the test split: a confusion matrix, or each class's boxes.
pub(crate) fn figures(card: &Card) -> String {
    match &card.test {
        SplitMetrics::Classes(test) => confusion(&card.labels, &test.confusion),
        SplitMetrics::Boxes(test) => {
            let share = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), percent);
            let row = |class: &BoxClassMetrics| {
                let shares = [class.ap50, class.ap, class.precision, class.recall].map(share);
                [class.label.clone()].into_iter().chain(shares).chain([class.boxes.to_string()]).collect()
            };
            let mut rows: Vec<Vec<String>> = test.per_class.iter().map(row).collect();
            let all = [test.map50, test.map, test.precision, test.recall].map(share);
            rows.push(["all".to_owned()].into_iter().chain(all).chain([test.boxes.to_string()]).collect());
            table(&["class", "AP@.5", "AP@.5:.95", "precision", "recall", "boxes"], &rows)
        }
    }
}

/// A confusion matrix with its labels.
fn confusion(labels: &[String], counts: &[Vec<u64>]) -> String {
    let mut head = vec!["truth \\ answer"];
    head.extend(labels.iter().map(String::as_str));
    let rows: Vec<Vec<String>> = labels
        .iter()
        .zip(counts)
        .map(|(label, row)| [label.clone()].into_iter().chain(row.iter().map(u64::to_string)).collect())
        .collect();
    table(&head, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let shown: Vec<_> = [0, 999, 1000, 81_920, 99_990, 999_999, 12_500_000].map(bytes).into();
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "81.9 kB", "100 kB", "1.00 MB", "12.5 MB"]);
        assert_eq!(count(78_700), "78.7 k");
        assert_eq!(count(12), "12");
    }

    #[test]
    fn a_table_lines_up() {
        let rows = [vec!["résidual".to_owned(), "1".to_owned()], vec!["b".to_owned(), "1000".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows), "name         n\n--------  ----\nrésidual     1\nb         1000");
    }
}
