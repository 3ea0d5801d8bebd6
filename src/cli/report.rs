//! Results as people read them: the table of a run, the plan of a dry one.

use std::path::Path;

use super::output::{count, table};
use crate::config::RunConfig;
use crate::eval::Scores;
use crate::run::folder::RunFolder;
use crate::run::metrics::{Judgement, Summary};
use crate::train::estimate::Estimate;
use crate::train::images::Images;

/// What a run trains, in words: the method, and in brackets what is not as usual.
pub(super) fn method(config: &RunConfig) -> String {
    config.title()
}

/// The table of a judgement; columns and rows that nobody asked for are left out.
pub(super) fn judgement(config: &RunConfig, judgement: &Judgement) -> String {
    let masked = method(config);
    let names = [
        (judgement.raw, "raw pixels".to_string()),
        (judgement.untrained, "untrained encoder".to_string()),
        (judgement.trained, masked.clone()),
        (judgement.unmasked, format!("{masked}, without the mask")),
        (judgement.best, format!("{masked}, best epoch")),
    ];
    // Without labels there are no scores; the trained row says so.
    let asked =
        |(scores, name): &&(Scores, String)| *scores != Scores::default() || *name == masked;
    let rows: Vec<_> = names.iter().filter(asked).collect();
    let shown =
        |column: usize| column < 4 || rows.iter().any(|(s, _)| s.named()[column].1.is_some());
    let columns: Vec<usize> = (0..HEADS.len()).filter(|&column| shown(column)).collect();
    let head = ["% right"].into_iter().chain(columns.iter().map(|&column| HEADS[column]));
    let mut text = vec![head.map(String::from).collect::<Vec<_>>()];
    for (scores, name) in rows {
        let figure = |score: Option<f64>| score.map_or("-".into(), |score| format!("{score:.2}"));
        let figures = columns.iter().map(|&column| figure(scores.named()[column].1));
        text.push(std::iter::once(name.clone()).chain(figures).collect());
    }
    table(&text)
}

/// What the scores are called, in the order of [`Scores::named`].
const HEADS: [&str; 8] = [
    "kNN k=5 t=1",
    "kNN k=200 t=0.1",
    "linear",
    "1 % labels",
    "10 % labels",
    "logistic",
    "kNN-200 top 5",
    "linear top 5",
];

/// The end of a run: the table, the cost, where the files are.
pub(super) fn summary(config: &RunConfig, summary: &Summary, out: &Path) -> String {
    let judged = judgement(config, &summary.judgement);
    let memory = summary
        .peak_memory_bytes
        .map_or(String::new(), |bytes| format!(", {} at most in memory", size(bytes)));
    let folder = RunFolder::new(out);
    let files = [
        ("weights", folder.checkpoint()),
        ("records", folder.metrics()),
        ("summary", folder.summary()),
        ("settings", folder.config()),
    ];
    let there = files.iter().filter(|(_, path)| path.exists());
    let seconds = duration(summary.seconds);
    let rate = summary.images_per_second;
    let places: String =
        there.map(|(what, path)| format!("{what:<9} {}\n", path.display())).collect();
    format!("{judged}\ntrained in {seconds} ({rate:.0} images/s{memory})\n{places}")
}

/// What would be trained and what it would cost.
pub(super) fn plan(config: &RunConfig, images: &Images, estimate: &Estimate) -> String {
    let [height, width, channels] = images.train.size();
    let memory = estimate.peak_memory_bytes.map_or("unknown".into(), size);
    let rows = [
        ("method", method(config)),
        ("encoder", config.model.in_words()),
        ("parameters", grouped(estimate.parameters)),
        (
            "images",
            format!(
                "{} of {} ({height}x{width}x{channels}), judged on {}",
                grouped(images.train.len()),
                config.data.name,
                grouped(images.test.len())
            ),
        ),
        (
            "steps",
            format!(
                "{} of {} images, in {}{}",
                grouped(estimate.steps),
                config.batch_size,
                count(config.epochs, "epoch"),
                match estimate.steps_done {
                    0 => String::new(),
                    done => format!(", {} of them done", grouped(done)),
                }
            ),
        ),
        (
            "time",
            format!(
                "about {} of training and {} of judging on {} threads",
                duration(estimate.seconds),
                duration(estimate.judging_seconds),
                rayon::current_num_threads()
            ),
        ),
        ("memory", format!("about {memory} at the peak")),
        ("settings", format!("sha256 {}", config.sha256())),
    ];
    rows.iter().map(|(what, text)| format!("{what:<10} {text}\n")).collect()
}

/// A time in the unit that suits it.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..172_800 => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// A number of bytes in the unit that suits it.
fn size(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 1000.0 {
        format!("{megabytes:.0} MB")
    } else {
        format!("{:.1} GB", megabytes / 1e3)
    }
}

/// A number with commas between the thousands.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_called_by_what_is_not_as_usual() {
        let title = |settings: &[&str]| {
            let mut layers = crate::config::Layers::preset("small").unwrap();
            settings.iter().for_each(|setting| layers.set_text(setting).unwrap());
            method(&layers.finish().unwrap())
        };
        assert_eq!(title(&[]), "SimCLR + MetaMask");
        assert_eq!(title(&["mask.enabled=false", "mask.trial=joint"]), "SimCLR");
        assert_eq!(
            title(&["method=barlow-twins", "loss.bt_mode=nt-xent", "mask.trial=joint-shared"]),
            "Barlow Twins + MetaMask (NT-Xent, shared trial step)"
        );
        assert_eq!(
            title(&["mask.unroll=3", "mask.trial=joint", "loss.w_drr=0"]),
            "SimCLR + MetaMask (joint trial step, 3 trial steps, no redundancy loss)"
        );
        assert_eq!(title(&["mask.meta=first-order"]), "SimCLR + MetaMask (first order)");
        assert_eq!(title(&["mask.meta=off"]), "SimCLR + redundancy loss, mask of ones");
        assert_eq!(
            title(&["method=barlow-twins", "mask.meta=off", "loss.bt_mode=one-head"]),
            "Barlow Twins, mask of ones (one head)"
        );
    }

    #[test]
    fn units_suit_the_number() {
        assert_eq!(duration(5.25), "5.2 s");
        assert_eq!(duration(59.99), "1 min 00 s");
        assert_eq!(duration(3725.0), "1 h 02 min");
        assert_eq!(duration(1e6), "11.6 days");
        assert_eq!(
            (size(999_000_000).as_str(), size(1_500_000_000).as_str()),
            ("999 MB", "1.5 GB")
        );
        assert_eq!((grouped(999).as_str(), grouped(1_234_567).as_str()), ("999", "1,234,567"));
    }
}
