//! The method's core claim where the truth is known: a planted confounder.
//!
//! Every image carries a texture that says nothing about its class and that both of its views share
//! ([`crate::data::confounder`]). The claim is that the mask turns dimensions down which carry such
//! a nuisance, and that accuracy gains by it. For each strength and seed the base method, the joint
//! loss under a mask of ones and MetaMask are trained on the same images; then every dimension is
//! measured: how much of its variance lies between the kinds of texture, how much between the
//! classes, and what factor the mask gave it.

use std::path::Path;

use serde_json::Value;

use super::sweep::{Campaign, Cell, folder, run_cell};
use super::table::{Request, Variant};
use crate::config::Method;
use crate::data::confounder::{KINDS, kinds};
use crate::error::{Error, Result};
use crate::eval::KNN200;
use crate::eval::dimensions::{correlation_ratio, spearman};
use crate::eval::interval::{Interval, Sign};
use crate::eval::knn::knn;
use crate::report::Table;
use crate::tensor::Tensor;
use crate::train::evaluate::{Judge, masked};
use crate::train::load;

/// What is compared: the base method, its joint loss without a mask, MetaMask.
const VARIANTS: [Variant; 3] = [Variant::Plain, Variant::Joint, Variant::Masked];

/// What one run's features are.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The strength of the confounder.
    pub strength: f64,
    /// What was trained.
    pub variant: Variant,
    /// The seed.
    pub seed: u64,
    /// The figures, in the order of [`FIGURES`].
    pub figures: [Option<f64>; 9],
    /// Of every dimension: the mask's factor, and the shares of its variance that lie between the
    /// kinds of texture and between the classes, before the mask.
    pub dimensions: Vec<[f64; 3]>,
}

/// What is measured of a run, by its name in files and in words.
pub const FIGURES: [(&str, &str); 9] = [
    ("class_knn200", "class, kNN-200"),
    ("class_linear", "class, linear"),
    ("class_knn200_unmasked", "class, kNN-200, without the mask"),
    ("texture_knn200", "texture, kNN-200"),
    ("texture_knn200_unmasked", "texture, kNN-200, without the mask"),
    ("mask_texture", "rank correlation of mask and texture share"),
    ("mask_class", "rank correlation of mask and class share"),
    ("mask_confounded", "rank correlation of mask and texture share less class share"),
    ("mask_ratio", "mask on the quarter most confounded over the mask on the rest"),
];

/// The place in [`FIGURES`] of the accuracy and of the mask's answer, on which the verdict stands.
const ACCURACY: usize = 0;
const ANSWER: usize = 7;

/// Trains what is missing in the folder `out`, measures, and writes `confounder.md`,
/// `confounder.csv`, `dimensions.csv` and `confounder.json` there. Returns the Markdown.
///
/// # Errors
/// As [`run_cell`]; `Usage` if there is nothing to do or the images have no classes.
pub fn confounder(
    request: &Request,
    strengths: &[f64],
    seeds: usize,
    campaign: &mut Campaign,
) -> Result<String> {
    let [method] = request.methods[..] else {
        return Err(Error::usage("--method", "takes one base method"));
    };
    let mut measured = Vec::new();
    let mut seconds = 0.0;
    for seed in 1..=seeds as u64 {
        for &strength in strengths {
            for variant in VARIANTS {
                let cell = cell(request, method, strength, variant, seed)?;
                campaign.note(&format!("strength {strength}, seed {seed}, {}", cell.name));
                let ended = run_cell(&cell, campaign)?;
                if let Some(summary) = ended.summary() {
                    seconds += summary.seconds + summary.judging_seconds;
                    let scores = summary.judgement.trained;
                    let scores = [scores.knn200, scores.linear];
                    let unmasked = summary.judgement.unmasked.knn200;
                    let run = folder(campaign.out, &cell);
                    measured.push(measure(&run, (strength, variant, seed), scores, unmasked)?);
                }
            }
        }
        let text = markdown(&measured, method, campaign.command, seconds);
        let json = serde_json::json!({
            "command": campaign.command,
            "seconds": seconds,
            "figures": figures(&measured).to_json(),
        });
        campaign.write([
            ("confounder.md", text),
            ("confounder.csv", figures(&measured).to_csv()),
            ("dimensions.csv", dimensions(&measured).to_csv()),
            ("confounder.json", format!("{json:#}\n")),
        ])?;
    }
    Ok(markdown(&measured, method, campaign.command, seconds))
}

fn cell(
    request: &Request,
    method: Method,
    strength: f64,
    variant: Variant,
    seed: u64,
) -> Result<Cell> {
    let mut request = request.clone();
    request.layers.set("data.confounder", strength.into(), "--strengths")?;
    let mut config = request.config(method, variant, seed)?;
    config.eval.baselines = false;
    let name = format!("{}-{}-strength{strength}-seed{seed}", method.key(), variant.key());
    Ok(Cell { name, config })
}

/// Looks at the features of a finished run.
fn measure(
    run: &Path,
    (strength, variant, seed): (f64, Variant, u64),
    [class_knn200, class_linear]: [Option<f64>; 2],
    class_unmasked: Option<f64>,
) -> Result<Measured> {
    let (config, images, state) = load(run, Ok, &mut ())?;
    let [train, test] = Judge::new(&images, &config).unmasked_features(&state)?;
    let Some(labels) = &images.test.labels else {
        return Err(Error::usage("--data", "the images have no classes"));
    };
    let [of_train, of_test] =
        [("train", &train), ("test", &test)].map(|(part, x)| kinds(x.shape()[0], part));
    // The texture is as well known as a class: its neighbours vote like those of a class.
    let texture = |bank: &Tensor, queries: &Tensor| {
        let found = knn(bank, &of_train, queries, KINDS, &[KNN200]);
        Some(100.0 * found[0].accuracy(&of_test, 1))
    };
    let between_kinds = correlation_ratio(&test, &of_test, KINDS);
    let between_classes = correlation_ratio(&test, labels, images.test.classes);
    let factors: Vec<f64> = state.mask.factors().as_slice().iter().map(|&s| s.into()).collect();
    let confounded: Vec<f64> =
        between_kinds.iter().zip(&between_classes).map(|(kind, class)| kind - class).collect();
    let learned = variant == Variant::Masked;
    let against = |shares: &[f64]| learned.then(|| spearman(&factors, shares));
    let figures = [
        class_knn200,
        class_linear,
        class_unmasked,
        texture(&masked(&train, &state), &masked(&test, &state)),
        if learned { texture(&train, &test) } else { None },
        against(&between_kinds),
        against(&between_classes),
        against(&confounded),
        learned.then(|| quarter_ratio(&factors, &confounded)),
    ];
    let rows = factors.iter().zip(&between_kinds).zip(&between_classes);
    let dimensions = rows.map(|((&mask, &kind), &class)| [mask, kind, class]).collect();
    Ok(Measured { strength, variant, seed, figures, dimensions })
}

/// The mean of `factors` over the quarter with the greatest `shares`, over the mean of the others.
fn quarter_ratio(factors: &[f64], shares: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|&i, &j| shares[j].total_cmp(&shares[i]));
    let (most, others) = order.split_at(shares.len() / 4);
    let mean = |set: &[usize]| set.iter().map(|&i| factors[i]).sum::<f64>() / set.len() as f64;
    mean(most) / mean(others)
}

/// Every run, a row each.
fn figures(measured: &[Measured]) -> Table {
    let columns = ["strength", "variant", "seed"].into_iter().chain(FIGURES.map(|(key, _)| key));
    let mut table = Table::new(&columns.collect::<Vec<_>>());
    for run in measured {
        let mut row: Vec<Value> =
            vec![run.strength.into(), run.variant.key().into(), run.seed.into()];
        row.extend(run.figures.iter().map(|figure| Value::from(*figure)));
        table.push(row);
    }
    table
}

/// Every dimension of every run, a row each.
fn dimensions(measured: &[Measured]) -> Table {
    let columns =
        ["strength", "variant", "seed", "dimension", "mask", "texture_share", "class_share"];
    let mut table = Table::new(&columns);
    for run in measured {
        for (number, &[mask, kind, class]) in run.dimensions.iter().enumerate() {
            table.push(vec![
                run.strength.into(),
                run.variant.key().into(),
                run.seed.into(),
                number.into(),
                mask.into(),
                kind.into(),
                class.into(),
            ]);
        }
    }
    table
}

/// The mean over seeds of a figure.
fn mean(measured: &[Measured], strength: f64, variant: Variant, at: usize) -> Option<Interval> {
    let own = measured.iter().filter(|run| run.strength == strength && run.variant == variant);
    Interval::of(&own.filter_map(|run| run.figures[at]).collect::<Vec<_>>())
}

/// The mean over seeds of MetaMask's figure less another's at the same seed.
fn gain(measured: &[Measured], strength: f64, over: Variant, at: usize) -> Option<Interval> {
    let find = |variant: Variant, seed: u64| {
        let mut runs = measured.iter();
        let same =
            |run: &&Measured| (run.strength, run.variant, run.seed) == (strength, variant, seed);
        runs.find(same).and_then(|run| run.figures[at])
    };
    let mut seeds: Vec<u64> = measured.iter().map(|run| run.seed).collect();
    seeds.dedup();
    let pairs =
        seeds.iter().filter_map(|&seed| Some(find(Variant::Masked, seed)? - find(over, seed)?));
    Interval::of(&pairs.collect::<Vec<_>>())
}

fn markdown(measured: &[Measured], method: Method, command: &str, seconds: f64) -> String {
    let mut strengths: Vec<f64> = Vec::new();
    for run in measured {
        if !strengths.contains(&run.strength) {
            strengths.push(run.strength);
        }
    }
    let shown = |found: Option<Interval>| match found {
        None => String::new(),
        Some(Interval { mean, half, .. }) if half.is_nan() => format!("{mean:.3}"),
        Some(Interval { mean, half, .. }) => format!("{mean:.3} ± {half:.3}"),
    };
    let mut text = format!(
        "# A planted confounder: {method}, and MetaMask over it\n\n    {command}\n\n{:.1} minutes. \
         Accuracies in percent, mean over seeds with its 95 % interval (Student); \"share\" is how \
         much of a dimension's variance lies between the kinds of texture, or between the \
         classes.\n",
        seconds / 60.0
    );
    for &strength in &strengths {
        let mut columns = vec!["".to_string()];
        columns.extend(VARIANTS.map(|variant| format!("{method}{}", variant.words())));
        columns.push("MetaMask less base".into());
        columns.push("MetaMask less joint".into());
        let mut table = Table { columns, rows: Vec::new() };
        for (at, (_, words)) in FIGURES.iter().enumerate() {
            let mut row: Vec<Value> = vec![(*words).into()];
            let means = VARIANTS.map(|variant| shown(mean(measured, strength, variant, at)).into());
            row.extend(means);
            let others = [Variant::Plain, Variant::Joint];
            row.extend(others.map(|over| shown(gain(measured, strength, over, at)).into()));
            table.push(row);
        }
        text.push_str(&format!("\n## Strength {strength}\n\n{}\n", table.to_markdown()));
        text.push_str(&verdict(measured, strength));
    }
    text
}

/// What held and what did not, in words.
fn verdict(measured: &[Measured], strength: f64) -> String {
    let answer = match mean(measured, strength, Variant::Masked, ANSWER).map(|m| (m, m.sign())) {
        None => "there is no mask to judge",
        Some((m, None)) if m.half.is_nan() => "one seed decides nothing about the mask",
        Some((_, None)) => "whether the mask turns confounded dimensions down is not decided",
        Some((_, Some(Sign::Below))) => "the mask turns confounded dimensions down",
        Some((_, Some(Sign::Above))) => "the mask turns confounded dimensions UP",
    };
    let accuracy = |over: Variant| match gain(measured, strength, over, ACCURACY) {
        None => "unknown",
        Some(found) => match found.sign() {
            Some(Sign::Above) => "higher",
            Some(Sign::Below) => "lower",
            None => "not decided",
        },
    };
    format!(
        "Verdict: {answer}. Accuracy of MetaMask beside the base method: {}; beside the joint loss \
         without a mask: {}.\n",
        accuracy(Variant::Plain),
        accuracy(Variant::Joint)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;
    use crate::run::tests::{TempDir, write_cifar};
    use crate::train::Stop;

    fn run(variant: Variant, seed: u64, accuracy: f64, answer: Option<f64>) -> Measured {
        let mut figures = [None; 9];
        (figures[ACCURACY], figures[ANSWER]) = (Some(accuracy), answer);
        Measured { strength: 0.5, variant, seed, figures, dimensions: Vec::new() }
    }

    #[test]
    fn verdicts_say_either_way() {
        assert_eq!((FIGURES[ACCURACY].0, FIGURES[ANSWER].0), ("class_knn200", "mask_confounded"));
        let with = |gain: f64, answers: [f64; 3]| {
            let mut runs = Vec::new();
            for (seed, answer) in (1..).zip(answers) {
                let base = 50.0 + 10.0 * seed as f64;
                let noise = 0.01 * seed as f64;
                runs.push(run(Variant::Plain, seed, base, None));
                runs.push(run(Variant::Masked, seed, base + gain + noise, Some(answer)));
            }
            verdict(&runs, 0.5)
        };
        let good = with(1.0, [-0.3, -0.31, -0.32]);
        assert!(good.contains("turns confounded dimensions down"), "{good}");
        assert!(
            good.contains("base method: higher; beside the joint loss without a mask: unknown")
        );
        let bad = with(-1.0, [0.3, 0.31, 0.32]);
        assert!(bad.contains("dimensions UP") && bad.contains("base method: lower"), "{bad}");
        let none = with(0.0, [-0.3, 0.31, 0.0]);
        assert!(none.contains("is not decided"), "{none}");
    }

    #[test]
    fn the_most_confounded_quarter_is_compared_with_the_rest() {
        let factors = [0.2, 0.6, 0.4, 0.5, 0.5, 0.5, 0.6, 0.4];
        let shares = [0.9, 0.1, 0.8, 0.0, 0.0, 0.0, 0.1, 0.2];
        assert!((quarter_ratio(&factors, &shares) - 0.3 / (3.1 / 6.0)).abs() < 1e-12);
    }

    #[test]
    fn runs_are_measured_once_and_written() {
        let dir = TempDir::new("confounder");
        write_cifar(dir.path());
        let mut layers = Layers::preset("small").unwrap();
        layers.set("data.path", dir.path().display().to_string().into(), "test").unwrap();
        layers.set_text("model.redundancy_head=[16, 12]").unwrap();
        let small = ["epochs=1", "batch_size=8", "eval.linear_epochs=1"];
        small.iter().for_each(|setting| layers.set_text(setting).unwrap());
        let methods = vec![Method::Simclr];
        let request = Request { layers, methods, variants: vec![], tuned: None };
        let out = dir.path().join("out");
        let ask = || {
            let (observer, stop) = (&mut (), &Stop::default());
            let mut campaign = Campaign { command: "again", out: &out, observer, stop };
            confounder(&request, &[0.0, 0.6], 1, &mut campaign).unwrap()
        };
        let text = ask();
        for part in ["    again", "## Strength 0.6", "Verdict: one seed decides nothing"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert_eq!(std::fs::read_dir(out.join("runs")).unwrap().count(), 6);
        let table = std::fs::read_to_string(out.join("dimensions.csv")).unwrap();
        assert_eq!(table.lines().count(), 1 + 6 * 256);
        assert_eq!(ask(), text, "a second time finds the same runs");
    }
}
