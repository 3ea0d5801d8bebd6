//! What an experiment leaves: its words, its numbers, its pictures.

use serde_json::Value;

use super::sweep::Campaign;
use crate::error::Result;
use crate::figures;
use crate::report::Table;
use crate::report::page::{Figure, Page, Section};

/// The answer to an experiment's question.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The experiment's name, and that of its files.
    pub name: &'static str,
    /// The question, as a heading.
    pub title: String,
    /// How it was asked.
    pub text: String,
    /// Training and judging, in seconds.
    pub seconds: f64,
    /// What was found, a row a case.
    pub table: Table,
    /// What holds and what does not, a sentence or more each.
    pub verdicts: Vec<String>,
    /// The pictures.
    pub figures: Vec<Figure>,
}

impl Answer {
    /// An answer of this title and text; its table has no row yet.
    pub fn new(name: &'static str, title: String, text: String, columns: &[&str]) -> Answer {
        Answer {
            name,
            title,
            text,
            seconds: 0.0,
            table: Table::new(columns),
            verdicts: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// The answer as Markdown, without the pictures; `command` repeats the experiment.
    pub fn markdown(&self, command: &str) -> String {
        let Answer { title, text, seconds, .. } = self;
        let mut words =
            format!("# {title}\n\n    {command}\n\n{:.1} minutes. {text}\n\n", seconds / 60.0);
        words.push_str(&rounded(&self.table).to_markdown());
        self.verdicts.iter().for_each(|verdict| words.push_str(&format!("\nVerdict: {verdict}\n")));
        words
    }

    /// Writes `NAME.md`, `NAME.csv`, and `NAME.html` with its figures beside it, into the folder.
    ///
    /// # Errors
    /// As [`figures::write`].
    pub fn write(&self, campaign: &Campaign) -> Result<()> {
        let file = |end: &str| format!("{}.{end}", self.name);
        campaign.write([
            (&file("md"), self.markdown(campaign.command)),
            (&file("csv"), self.table.to_csv()),
        ])?;
        let section = Section {
            title: "Pictures".into(),
            text: self.verdicts.join("\n"),
            figures: self.figures.clone(),
        };
        let page = Page {
            title: self.title.clone(),
            text: format!("{} ({})", self.text, campaign.command),
            tables: vec![("Figures".into(), self.table.clone())],
            sections: vec![section],
        };
        figures::write(&page, &campaign.out.join(file("html")))
    }
}

/// The table with numbers of four decimals, or two digits where nothing would be left of them.
fn rounded(table: &Table) -> Table {
    let round = |value: &Value| match value.as_f64().filter(|_| value.is_f64()) {
        Some(x) if x.abs() >= 1e-3 => ((x * 1e4).round() / 1e4).into(),
        Some(x) => format!("{x:.1e}").parse::<f64>().unwrap_or(x).into(),
        _ => value.clone(),
    };
    let rows = table.rows.iter().map(|row| row.iter().map(round).collect()).collect();
    Table { columns: table.columns.clone(), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people_are_short_and_none_is_lost() {
        let mut table = Table::new(&["name", "value"]);
        let values: [Value; 4] = [68.97999999999999.into(), 4.96e-16.into(), 7.into(), Value::Null];
        values.into_iter().for_each(|value| table.push(vec!["x".into(), value]));
        let text = rounded(&table).to_markdown();
        for part in ["| 68.98 |", "| 5e-16 |", "| 7 |"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}
