//! Standard output: results, and nothing but results.

use std::io::{self, ErrorKind, Write};

use crate::error::{Error, Result};

/// Writes a text to standard output.
///
/// A reader that has gone away (`dimask ... | head`) is no error: it has seen enough.
///
/// # Errors
/// `Io` if the system refuses otherwise.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::io("standard output", e)),
        _ => Ok(()),
    }
}

/// Writes a line to standard error, where progress goes; if nobody reads it, it is gone.
pub fn progress(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// So many of a thing: `1 epoch`, `2 epochs`.
pub fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// Columns of text two spaces apart, those of figures aligned right, words and the first left.
///
/// The first row is the head.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        rows.iter().filter_map(move |row| row.get(column)).map(|text: &String| text.chars().count())
    };
    let widths: Vec<usize> = (0..columns).map(|c| width(c).max().unwrap_or(0)).collect();
    let figure = |text: &String| text == "-" || text.parse::<f64>().is_ok();
    let right = |c: usize| c > 0 && rows.iter().skip(1).filter_map(|row| row.get(c)).all(figure);
    let right: Vec<bool> = (0..columns).map(right).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let gap = if column == 0 { "" } else { "  " };
            match right[column] {
                true => line.push_str(&format!("{gap}{cell:>width$}")),
                false => line.push_str(&format!("{gap}{cell:<width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["", "kNN"], ["raw pixels", "75.8"], ["é", "100.0"]];
        let rows: Vec<Vec<String>> = rows.map(|r| r.map(String::from).to_vec()).to_vec();
        assert_eq!(table(&rows), "              kNN\nraw pixels   75.8\né           100.0\n");
    }
}
