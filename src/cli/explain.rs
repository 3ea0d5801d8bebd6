//! `dimask explain`: a formula, where it is, and an example of it.

use std::path::Path;

use super::args::ExplainArgs;
use super::output;
use crate::error::{Error, Result};
use crate::explain::{Example, Formula, Line, find, formulas, near};
use crate::figures::book::{Drawing, drawings};
use crate::files::write_atomically;

/// Prints the formula that is named, or the ids of all.
///
/// # Errors
/// `Usage` if there is no such formula; `Wrong` if its example does not come out; `Io` if a figure
/// cannot be written.
pub(super) fn explain(args: &ExplainArgs) -> Result<()> {
    if let Some(folder) = &args.figures {
        return figures(folder);
    }
    let Some(id) = &args.id else { return output::print(&list()) };
    let Some(formula) = find(id) else {
        let known = near(id).join(", ");
        let known = if known.is_empty() { known } else { format!("; near it: {known}") };
        let reason = format!("there is no formula {id:?}{known} (all: dimask explain)");
        return Err(Error::usage("explain", reason));
    };
    let example = (formula.example)();
    output::print(&page(formula, &example))?;
    match example.lines.iter().find(|line| !line.agrees(example.tolerance)) {
        None => Ok(()),
        Some(line) => {
            let what = format!("{id}: {} by code is not what it is by the formula", line.what);
            Err(Error::Wrong { what })
        }
    }
}

/// Draws the book's figures into a folder.
fn figures(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    for Drawing { name, title, svg } in drawings() {
        write_atomically(&folder.join(format!("{name}.svg")), svg.file(title).as_bytes())?;
    }
    Ok(())
}

/// All ids with their titles, page by page.
fn list() -> String {
    let mut text = String::new();
    let mut page = "";
    for formula in formulas() {
        if formula.page != page {
            page = formula.page;
            text.push_str(&format!("\n{page}\n"));
        }
        text.push_str(&format!("  {:<15} {}\n", formula.id, formula.title));
    }
    format!("{}\n\nOne of them: dimask explain ID\n", text.trim())
}

/// One formula.
fn page(formula: &Formula, example: &Example) -> String {
    let Formula { id, title, plain, page, file, function, .. } = formula;
    let mut rows = vec![["", "by the formula", "by the code"].map(String::from).to_vec()];
    for Line { what, by_formula, by_code } in &example.lines {
        rows.push(vec![what.clone(), number(*by_formula), number(*by_code)]);
    }
    let mut given = format!("Given: {}.", example.given.trim_end_matches('.'));
    if given.contains("m(") {
        given.push_str(WAVE);
    }
    let given = wrapped(&given);
    format!(
        "{id}: {title}\n\n    {}\n\ncode  {function} in {file}\nbook  {page}#{id}\n\n{given}\n\n{}",
        plain.replace(",  ", "\n    "),
        output::table(&rows)
    )
}

/// What the letter m means in examples.
const WAVE: &str = " m(n, d, p) has n rows of d numbers, in row i and column j, counted from 0, \
     sin(1.3 i + 0.7 j + p) + cos(0.9 i j + p) / 2.";

/// The text in lines of at most 90 letters.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() >= 90 {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join("\n")
}

fn number(x: f64) -> String {
    format!("{x:.12}")
}
