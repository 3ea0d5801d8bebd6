//! The table as people read it.

use std::fmt::Write;

use serde_json::Value;

use super::Variant;
use super::published::{DATA, Published};
use super::results::{Column, Results};
use crate::config::{Amount, Method};
use crate::data::SourceName;
use crate::eval::interval::{Interval, Sign};
use crate::report::Table;
use crate::run::metrics::Summary;

/// What the scores are called.
const TITLES: [(&str, &str); 8] = [
    ("knn5", "kNN, k = 5, t = 1"),
    ("knn200", "kNN, k = 200, t = 0.1"),
    ("linear", "Linear probe"),
    ("probe_1pct", "Probe on 1 % of the labels"),
    ("probe_10pct", "Probe on 10 % of the labels"),
    ("logistic", "Logistic regression on all labels"),
    ("knn200_top5", "Top 5 of kNN, k = 200"),
    ("linear_top5", "Top 5 of the linear probe"),
];

/// The whole table with what has to be known to read it.
pub(super) fn markdown(results: &Results) -> String {
    let mut text = String::from("# Each base method alone and with MetaMask\n\n");
    let _ = write!(text, "{}", head(results)); // A string takes every text.
    for (name, title) in TITLES {
        if results.scores().contains(&name) && !name.ends_with("top5") {
            let _ = write!(text, "\n## {title}\n\n{}", section(results, name));
        }
    }
    let _ = write!(text, "\n## Seconds of training\n\n{}", seconds(results));
    let _ = write!(text, "\n## Published\n\n{}", published(results));
    text
}

fn head(results: &Results) -> String {
    let config = &results.config;
    let images = config.data.images;
    let judged = match (config.data.validation, config.data.test_images) {
        (0, Amount::All) => "the test images".to_string(),
        (0, amount) => format!("{amount} test images"),
        (count, _) => format!("{count} held-out training images"),
    };
    let best = match config.data.val_split {
        0 => "No images were held out to choose an epoch on.".to_string(),
        count => format!(
            "\"Best epoch\" is the first with the greatest kNN-200 accuracy on {count} training \
             images that were held out; test images choose nothing."
        ),
    };
    let diverged: Vec<String> = results
        .runs
        .iter()
        .filter(|(_, ended)| ended.summary().is_none())
        .map(|(row, _)| format!("{}{} (seed {})", row.method, row.variant.words(), row.seed))
        .collect();
    let diverged = match diverged.is_empty() {
        true => String::new(),
        false => format!("Diverged and left out: {}.\n", diverged.join(", ")),
    };
    format!(
        "    {}\n\n{}, {}, {images} training images, {} epochs, seeds {:?}, judged on {judged}: \
         {} runs, {:.1} minutes of training and judging.\n\
         Accuracy in percent, mean over seeds with its 95 % interval (Student); differences are \
         paired by seed.\n{best}\n{diverged}",
        results.command,
        config.data.name,
        config.model.encoder,
        config.epochs,
        results.seeds(),
        results.runs.len(),
        results.seconds() / 60.0
    )
}

/// A table of one score.
fn section(results: &Results, name: &str) -> String {
    let has_best = results.config.data.val_split > 0;
    let mut columns = vec!["", "last epoch", "minus base", "decided"];
    if has_best {
        columns.extend(["best epoch", "best minus base"]);
    }
    columns.push("without the mask");
    let mut table = Table::new(&columns);
    for side in results.sides() {
        let last = Results::score(Column::Last, name);
        let mut row = vec![title(side), figure(results.mean(side, &last))];
        let difference = |of: &dyn Fn(&Summary) -> Option<f64>| match side.1 {
            Variant::Plain => None,
            _ => results.difference(side, of),
        };
        let found = difference(&last);
        row.extend([signed(found), verdict(found)]);
        if has_best {
            let best = Results::score(Column::Best, name);
            row.extend([figure(results.mean(side, &best)), signed(difference(&best))]);
        }
        row.push(figure(results.mean(side, &Results::score(Column::Unmasked, name))));
        table.push(row);
    }
    let raw = results.baseline(name, &|summary| summary.judgement.raw);
    let untrained = results.baseline(name, &|summary| summary.judgement.untrained);
    let mut text = table.to_markdown();
    if raw.is_some() {
        let [raw, untrained] = [raw, untrained].map(plain);
        let _ = writeln!(text, "\nRaw pixels {raw}; the untrained encoder {untrained}.");
    }
    text
}

fn title((method, variant): (Method, Variant)) -> Value {
    format!("{method}{}", variant.words()).into()
}

fn figure(found: Option<Interval>) -> Value {
    found.map_or(Value::Null, |found| plain(Some(found)).into())
}

/// `84.90 ± 0.31`; of one value only the value.
fn plain(found: Option<Interval>) -> String {
    match found {
        None => "-".into(),
        Some(Interval { mean, half, .. }) if half.is_nan() => format!("{mean:.2}"),
        Some(Interval { mean, half, .. }) => format!("{mean:.2} ± {half:.2}"),
    }
}

/// The same with its sign.
fn signed(found: Option<Interval>) -> Value {
    match found {
        None => Value::Null,
        Some(Interval { mean, half, .. }) if half.is_nan() => format!("{mean:+.2}").into(),
        Some(Interval { mean, half, .. }) => format!("{mean:+.2} ± {half:.2}").into(),
    }
}

/// What an interval of a difference decides.
fn verdict(found: Option<Interval>) -> Value {
    match found.map(|found| found.sign()) {
        None => Value::Null,
        Some(Some(Sign::Above)) => "better".into(),
        Some(Some(Sign::Below)) => "worse".into(),
        Some(None) => "not decided".into(),
    }
}

fn seconds(results: &Results) -> String {
    let mut table = Table::new(&["", "seconds a run", "times its base"]);
    let of = |summary: &Summary| Some(summary.seconds);
    for side in results.sides() {
        let mean = |side| results.mean(side, &of).map(|found| found.mean);
        let ratio = mean(side).zip(mean((side.0, Variant::Plain))).map(|(own, base)| own / base);
        let seconds = mean(side).map(|mean| (mean * 10.0).round() / 10.0);
        let ratio = ratio.map(|ratio| (ratio * 100.0).round() / 100.0);
        table.push(vec![title(side), seconds.into(), ratio.into()]);
    }
    table.to_markdown()
}

/// The published figures of the compared methods beside ours; known errors are marked.
fn published(results: &Results) -> String {
    let own = match results.config.data.name {
        SourceName::Cifar10 => Some(0),
        SourceName::Cifar100 => Some(1),
        SourceName::Stl10 => Some(2),
        SourceName::TinyImagenet => Some(3),
        SourceName::FashionMnist | SourceName::Mnist | SourceName::Folder => None,
    };
    let mut columns = vec![""];
    let heads: Vec<String> = DATA.iter().map(|data| format!("{data} (gain)")).collect();
    columns.extend(heads.iter().map(String::as_str));
    columns.push("our gain, kNN k = 5");
    let mut table = Table::new(&columns);
    let mut methods: Vec<Method> = results.sides().into_iter().map(|side| side.0).collect();
    methods.dedup();
    let mut notes = String::new();
    for method in methods {
        let row = Published::of(method);
        let mark = if row.error.is_empty() { "" } else { " [!]" };
        let mut cells: Vec<Value> = vec![format!("{method}{mark}").into()];
        for data in 0..DATA.len() {
            let (base, masked, gain) = (row.base[data], row.masked[data], row.gain(data));
            cells.push(format!("{base:.2} → {masked:.2} ({gain:+.2})").into());
        }
        let knn5 = Results::score(Column::Last, "knn5");
        cells.push(signed(results.difference((method, Variant::Masked), &knn5)));
        table.push(cells);
        if !row.error.is_empty() {
            let _ = writeln!(notes, "- [!] {method}: {}.", row.error);
        }
    }
    let comparable = match own {
        Some(data) => format!("Ours is to be read beside the column {}.", DATA[data]),
        None => "None of the columns is our data set.".to_string(),
    };
    format!(
        "Base → with MetaMask, top-1 in percent, without seeds or intervals; the gains are those \
         that the printed figures give. Larger networks, hundreds of epochs. {comparable}\n\n\
         {}{}{notes}",
        table.to_markdown(),
        if notes.is_empty() { "" } else { "\n" }
    )
}
