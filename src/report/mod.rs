//! Records to files that people and programs read: CSV, JSON, Markdown, drawings, a page.
//!
//! A [`Table`] is columns and rows of values, an [`svg::Svg`] a drawing; [`chart`] and [`picture`]
//! draw, and a [`page::Page`] holds what was drawn. Nothing here knows an experiment or touches a
//! file.

pub mod bars;
pub mod chart;
pub mod map;
pub mod page;
pub mod picture;
pub mod svg;

use std::fmt::Write;

use serde_json::{Map, Value};

/// Rows of values under named columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows; a missing value is `null`, and so is a number that is not finite.
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[&str]) -> Table {
        Table { columns: columns.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not one value a column.
    #[track_caller]
    pub fn push(&mut self, row: Vec<Value>) {
        let (got, expected) = (row.len(), self.columns.len());
        assert!(got == expected, "table: {got} values for {expected} columns");
        self.rows.push(row);
    }

    /// The table as CSV (RFC 4180): a line of names, then a line a row.
    pub fn to_csv(&self) -> String {
        let names = self.columns.iter().map(|name| quoted(name)).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(|value| quoted(&plain(value))));
        let lines = std::iter::once(names).chain(rows.map(Iterator::collect));
        lines.map(|cells: Vec<String>| cells.join(",") + "\n").collect()
    }

    /// The table as a list of objects, one a row.
    pub fn to_json(&self) -> Value {
        let object = |row: &Vec<Value>| {
            let entries = self.columns.iter().cloned().zip(row.iter().cloned());
            Value::Object(entries.collect::<Map<_, _>>())
        };
        Value::Array(self.rows.iter().map(object).collect())
    }

    /// The table as Markdown, figures aligned right.
    pub fn to_markdown(&self) -> String {
        let figures = |column: usize| {
            let values = || self.rows.iter().map(move |row| &row[column]);
            values().any(Value::is_number) && values().all(|v| v.is_number() || v.is_null())
        };
        let mut text = String::new();
        let mut line = |cells: Vec<String>| {
            let _ = writeln!(text, "| {} |", cells.join(" | ")); // A string takes every text.
        };
        line(self.columns.iter().map(|name| escaped(name)).collect());
        let rule = |column| if figures(column) { "---:" } else { "---" };
        line((0..self.columns.len()).map(rule).map(String::from).collect());
        for row in &self.rows {
            line(row.iter().map(|value| escaped(&plain(value))).collect());
        }
        text
    }
}

/// A value without the quotes of JSON; nothing for `null`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["name", "x, y"]);
        table.push(vec!["a \"b\"".into(), 1.5.into()]);
        table.push(vec!["c|d".into(), f64::NAN.into()]);
        table
    }

    #[test]
    fn csv_quotes_what_it_must() {
        assert_eq!(sample().to_csv(), "name,\"x, y\"\n\"a \"\"b\"\"\",1.5\nc|d,\n");
    }

    #[test]
    fn json_is_an_object_a_row() {
        let expected = r#"[{"name":"a \"b\"","x, y":1.5},{"name":"c|d","x, y":null}]"#;
        assert_eq!(sample().to_json().to_string(), expected);
    }

    #[test]
    fn markdown_aligns_figures_and_escapes_bars() {
        let expected = "| name | x, y |\n| --- | ---: |\n| a \"b\" | 1.5 |\n| c\\|d |  |\n";
        assert_eq!(sample().to_markdown(), expected);
    }

    #[test]
    #[should_panic(expected = "table: 1 values for 2 columns")]
    fn a_short_row_is_refused() {
        sample().push(vec![1.into()]);
    }
}
