//! A page that holds what was drawn: one HTML file, which asks nobody for anything.

use serde_json::Value;

use super::Table;
use super::svg::{STYLE, Svg, escape, number};

/// A drawing with its words and its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The name of its files, without what follows the dot.
    pub name: String,
    /// What it shows, in a few words.
    pub title: String,
    /// How to read it.
    pub text: String,
    /// The drawing.
    pub svg: Svg,
    /// The numbers that are drawn.
    pub data: Table,
}

/// Figures that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What it asks, and how to read the answer, a paragraph a line.
    pub text: String,
    /// Its figures, which stand side by side where there is room.
    pub figures: Vec<Figure>,
}

/// A page: tables, then sections of figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// What it is about.
    pub text: String,
    /// Tables under their headings.
    pub tables: Vec<(String, Table)>,
    /// The sections; one without figures is left out.
    pub sections: Vec<Section>,
}

/// The style of the page around the drawings.
const PAGE_STYLE: &str = "
*{box-sizing:border-box}body{margin:0 auto;max-width:78rem;padding:1rem;background:var(--paper);\
color:var(--ink);font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}h2{font-size:1.2rem;margin:2.2rem 0 .2rem;\
padding-top:.6rem;border-top:1px solid var(--rule)}p{margin:.3rem 0 .8rem;max-width:46rem}
.soft,figcaption,footer{color:var(--soft);font-size:.85rem;line-height:1.4}
nav{display:flex;flex-wrap:wrap;gap:.1rem 1rem;font-size:.9rem}a{color:var(--c0)}
.row{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));gap:1.2rem}
figure{margin:0;min-width:0}figure h3{font-size:.95rem;margin:0 0 .3rem}
figure svg{display:block;width:100%;max-width:30rem;height:auto}
.table{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.25rem .8rem .25rem 0;text-align:left;border-bottom:1px solid var(--rule);\
white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
@media (max-width:34rem){table{font-size:.8rem}th,td{padding-right:.5rem}}
";

impl Page {
    /// All figures of the page.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.sections.iter().flat_map(|section| &section.figures)
    }

    /// The page; `folder` is where the figures' files lie, seen from the page.
    pub fn html(&self, folder: &str) -> String {
        let shown = || self.sections.iter().filter(|section| !section.figures.is_empty());
        let anchor = |title: &str| -> String {
            let word =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
            title.chars().map(word).collect()
        };
        let title = escape(&self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
             name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link \
             rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>{STYLE}{PAGE_STYLE}\
             </style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n<p>{}</p>\n<nav>",
            escape(&self.text)
        );
        for Section { title, .. } in shown() {
            html.push_str(&format!("<a href=\"#{}\">{}</a>", anchor(title), escape(title)));
        }
        html.push_str("</nav>\n</header>\n<main>\n");
        for (title, table) in &self.tables {
            html.push_str(&format!("<h2>{}</h2>\n{}", escape(title), self::table(table)));
        }
        for Section { title, text, figures } in shown() {
            let lines = text.lines().map(|line| format!("<p>{}</p>\n", escape(line)));
            html.push_str(&format!(
                "<section id=\"{}\">\n<h2>{}</h2>\n{}<div class=\"row\">\n",
                anchor(title),
                escape(title),
                lines.collect::<String>()
            ));
            for figure in figures {
                let name = address(&format!("{folder}/{}", figure.name));
                html.push_str(&format!(
                    "<figure>\n<h3>{}</h3>\n{}\n<figcaption>{} <a href=\"{name}.svg\">SVG</a> \
                     <a href=\"{name}.csv\">CSV</a></figcaption>\n</figure>\n",
                    escape(&figure.title),
                    figure.svg.inline(&figure.title),
                    escape(&figure.text)
                ));
            }
            html.push_str("</div>\n</section>\n");
        }
        html.push_str("</main>\n</body>\n</html>\n");
        html
    }
}

/// A path as an address has it: bytes of no meaning as they are, others by their numbers.
fn address(path: &str) -> String {
    let byte = |b: u8| match b {
        b'/' | b'-' | b'_' | b'.' => char::from(b).to_string(),
        _ if b.is_ascii_alphanumeric() => char::from(b).to_string(),
        _ => format!("%{b:02X}"),
    };
    path.bytes().map(byte).collect()
}

/// A table, figures aligned right.
fn table(table: &Table) -> String {
    let figures: Vec<bool> = (0..table.columns.len())
        .map(|column| {
            let mut values = table.rows.iter().map(|row| &row[column]);
            values.all(|value| value.is_number() || value.is_null())
        })
        .collect();
    let cell = |tag: &str, column: usize, text: &str| {
        let class = if figures[column] { " class=\"n\"" } else { "" };
        format!("<{tag}{class}>{}</{tag}>", escape(text))
    };
    let shown = |value: &Value| match value {
        Value::Number(x) if x.is_f64() => number(x.as_f64().unwrap_or(f64::NAN)),
        Value::Null => "-".to_string(),
        value => super::plain(value),
    };
    let row = |tag: &str, cells: Vec<String>| {
        let cells = cells.iter().enumerate().map(|(column, text)| cell(tag, column, text));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let mut html = String::from("<div class=\"table\"><table>\n");
    html.push_str(&row("th", table.columns.clone()));
    for values in &table.rows {
        html.push_str(&row("td", values.iter().map(shown).collect()));
    }
    html + "</table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_holds_everything_and_asks_for_nothing() {
        let mut data = Table::new(&["run", "kNN"]);
        data.push(vec!["a<b".into(), 81.5.into()]);
        let figure = Figure {
            name: "loss".into(),
            title: "Loss & more".into(),
            text: "Lower is better.".into(),
            svg: Svg::new(10.0, 5.0),
            data: data.clone(),
        };
        let section = |title: &str, figures| Section {
            title: title.into(),
            text: "How?\nSo.".into(),
            figures,
        };
        let page = Page {
            title: "A run".into(),
            text: "What it did.".into(),
            tables: vec![("Results".into(), data)],
            sections: vec![section("Two words", vec![figure]), section("Nothing", vec![])],
        };
        let html = page.html("files");
        for part in [
            "<a href=\"#two-words\">Two words</a>",
            "<section id=\"two-words\">",
            "<p>How?</p>\n<p>So.</p>",
            "Loss &amp; more",
            "href=\"files/loss.svg\"",
            "<th class=\"n\">kNN</th>",
            "<td>a&lt;b</td><td class=\"n\">81.5</td>",
            "prefers-color-scheme:dark",
            "name=\"viewport\"",
        ] {
            assert!(html.contains(part), "no {part} in\n{html}");
        }
        for part in ["http", "<script", "@import", "url(", "Nothing"] {
            assert!(!html.contains(part), "{part} in\n{html}");
        }
        assert_eq!(page.figures().count(), 1);
        assert!(page.html("a b#c").contains("href=\"a%20b%23c/loss.svg\""));
    }
}
