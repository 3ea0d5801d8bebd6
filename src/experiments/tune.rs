//! A small search for a method's settings, on training images that are held out.
//!
//! Base method and MetaMask get the same number of trials, of the same size. The first trial is the
//! preset as it stands; the others lie around it on a logarithmic scale, spread by a sequence that
//! leaves no gaps. Test images are not looked at. What is best is written as a file that `--config`
//! reads, and `experiment table --tuned` reads all of them.

use super::sweep::{Campaign, Cell, Ended, run_cell};
use super::table::{Request, Variant};
use crate::config::{Method, RunConfig};
use crate::error::{Error, Result};
use crate::report::Table;

/// A setting that is searched, and how far up and down from the preset, as a factor.
type Axis = (&'static str, f64);

/// The learning rate.
const PLAIN: &[Axis] = &[("optimizer.lr", 8.0)];
/// The learning rate, the weight of the redundancy loss, the mask's learning rate, at which the
/// mask hardly moves in a short run unless it is far above the network's.
const MASKED: &[Axis] = &[("optimizer.lr", 8.0), ("loss.w_drr", 10.0), ("mask.lr", 100.0)];

/// What a search may cost, and what it goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// Trials of each side, the preset among them.
    pub trials: usize,
    /// Seeds of each trial, whose accuracies are averaged.
    pub seeds: usize,
    /// Training images held out to judge on, if the settings do not say it.
    pub validation: usize,
    /// The score, by its name in files.
    pub score: String,
}

/// A trial and what it reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// The settings that were tried.
    pub point: Vec<(&'static str, f64)>,
    /// The score, mean over seeds; absent if a run diverged.
    pub score: Option<f64>,
    /// Seconds of training, all seeds.
    pub seconds: f64,
}

/// The trials of one side, and the best of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// The base method.
    pub method: Method,
    /// With or without MetaMask.
    pub variant: Variant,
    /// All trials, the preset first.
    pub trials: Vec<Trial>,
    /// The place of the best.
    pub best: usize,
}

/// Searches both sides of every method of the request in the folder `out`.
///
/// Writes `METHOD-VARIANT.toml` for each side, and `trials.csv`.
///
/// # Errors
/// As [`run_cell`]; `Usage` if all trials of a side diverge, or for a score that there is not.
pub fn tune(request: &Request, search: &Search, campaign: &mut Campaign) -> Result<Vec<Tuned>> {
    let mut found = Vec::new();
    for &method in &request.methods {
        for variant in [Variant::Plain, Variant::Masked] {
            let tuned = side(request, search, (method, variant), campaign)?;
            let base = trial_config(request, search, (method, variant), &[], 1)?;
            let name = format!("{}-{}.toml", method.key(), variant.key());
            campaign.write([(&name, settings(&tuned, search, &base))])?;
            found.push(tuned);
            campaign.write([("trials.csv", table(&found).to_csv())])?;
        }
    }
    Ok(found)
}

fn side(
    request: &Request,
    search: &Search,
    (method, variant): (Method, Variant),
    campaign: &mut Campaign,
) -> Result<Tuned> {
    let base = trial_config(request, search, (method, variant), &[], 1)?;
    let mut trials = Vec::new();
    for number in 0..search.trials {
        let point = point(&base, variant, number);
        let words: Vec<String> = point.iter().map(|(key, x)| format!("{key} = {x}")).collect();
        let mut scores = Vec::new();
        let mut seconds = 0.0;
        for seed in 1..=search.seeds as u64 {
            campaign.note(&format!(
                "{method}{}, trial {} of {}, seed {seed}: {}",
                variant.words(),
                number + 1,
                search.trials,
                words.join(", ")
            ));
            let config = trial_config(request, search, (method, variant), &point, seed)?;
            let name = format!("{}-{}-trial{}-seed{seed}", method.key(), variant.key(), number + 1);
            match run_cell(&Cell { name, config }, campaign)? {
                Ended::Finished(summary) => {
                    let named = summary.judgement.trained.named();
                    let score = named.iter().find(|(name, _)| *name == search.score);
                    scores.extend(score.and_then(|(_, score)| *score));
                    seconds += summary.seconds;
                }
                Ended::Diverged(words) => campaign.note(&words),
            }
        }
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let score = (scores.len() == search.seeds).then_some(mean);
        trials.push(Trial { point, score, seconds });
    }
    let best = best(&trials).ok_or_else(|| {
        let reason = format!("no trial of {method}{} has the score", variant.words());
        Error::usage(format!("--score {}", search.score), reason)
    })?;
    Ok(Tuned { method, variant, trials, best })
}

/// The settings of a trial: judged on held-out training images, and on nothing else.
fn trial_config(
    request: &Request,
    search: &Search,
    (method, variant): (Method, Variant),
    point: &[(&'static str, f64)],
    seed: u64,
) -> Result<RunConfig> {
    let mut request = request.clone();
    if request.layers.clone().finish()?.data.validation == 0 {
        request.layers.set("data.validation", (search.validation as i64).into(), "--validation")?;
    }
    request.layers.set("data.val_split", 0.into(), "tune")?;
    for &(key, value) in point {
        request.layers.set(key, value.into(), "tune")?;
    }
    let mut config = request.config(method, variant, seed)?;
    config.eval.baselines = false;
    Ok(config)
}

/// The first of the trials with the greatest score.
fn best(trials: &[Trial]) -> Option<usize> {
    let scored = trials.iter().enumerate().filter_map(|(i, t)| t.score.map(|score| (i, score)));
    scored
        .fold(None, |best, (i, score)| match best {
            Some((_, other)) if other >= score => best,
            _ => Some((i, score)),
        })
        .map(|(i, _)| i)
}

/// The settings of trial `number`: the preset's, each times `reach` to the power of a coordinate of
/// a Halton sequence in -1 to 1; trial 0 is the preset.
fn point(base: &RunConfig, variant: Variant, number: usize) -> Vec<(&'static str, f64)> {
    let axes = if variant == Variant::Plain { PLAIN } else { MASKED };
    let at = |(axis, &(key, reach)): (usize, &Axis)| {
        let value = match key {
            "optimizer.lr" => base.optimizer.lr,
            "loss.w_drr" => base.loss.w_drr,
            _ => base.mask.lr,
        };
        let prime = [2, 3, 5][axis];
        let factor = match number {
            0 => 1.0,
            // The first element of the sequence in base 2 is the preset again.
            _ => reach.powf(2.0 * halton(number + 1, prime) - 1.0),
        };
        (key, rounded(value * factor))
    };
    axes.iter().enumerate().map(at).collect()
}

/// The digits of `number` in a base, mirrored at the point: in 0 to 1.
///
/// Source: Halton 1960, Numerische Mathematik 2.
fn halton(mut number: usize, base: usize) -> f64 {
    let (mut value, mut digit) = (0.0, 1.0 / base as f64);
    while number > 0 {
        value += digit * (number % base) as f64;
        number /= base;
        digit /= base as f64;
    }
    value
}

/// Three significant digits: enough for a setting, and readable.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().expect("a number is one")
}

/// The best trial as a file of settings.
fn settings(tuned: &Tuned, search: &Search, base: &RunConfig) -> String {
    let Tuned { method, variant, trials, best } = tuned;
    let score = |trial: &Trial| trial.score.map_or("-".into(), |score| format!("{score:.2}"));
    let mut text = format!(
        "# {method}{}, tuned on {} held-out images of {}: the best of {} trials of {} seeds by \
         {}:\n# {} against {} with the preset's own settings ({} images, {} epochs, {}).\n\
         method = \"{}\"\n",
        variant.words(),
        base.data.validation,
        base.data.name,
        trials.len(),
        search.seeds,
        search.score,
        score(&trials[*best]),
        score(&trials[0]),
        base.data.images,
        base.epochs,
        base.model.encoder,
        method.key(),
    );
    let mut section = "";
    for (key, value) in &trials[*best].point {
        let (own, name) = key.split_once('.').expect("every axis is in a section");
        if own != section {
            text.push_str(&format!("\n[{own}]\n"));
            section = own;
        }
        text.push_str(&format!("{name} = {value:?}\n"));
    }
    if section != "mask" {
        text.push_str("\n[mask]\n");
    }
    text + &format!("enabled = {}\n", *variant != Variant::Plain)
}

/// All trials, a row each.
pub fn table(found: &[Tuned]) -> Table {
    let mut table = Table::new(&[
        "method", "variant", "trial", "lr", "w_drr", "mask_lr", "score", "seconds", "best",
    ]);
    for tuned in found {
        for (number, trial) in tuned.trials.iter().enumerate() {
            let of = |key: &str| trial.point.iter().find(|(k, _)| *k == key).map(|(_, x)| *x);
            table.push(vec![
                tuned.method.key().into(),
                tuned.variant.key().into(),
                (number + 1).into(),
                of("optimizer.lr").into(),
                of("loss.w_drr").into(),
                of("mask.lr").into(),
                trial.score.map(|score| (score * 100.0).round() / 100.0).into(),
                trial.seconds.round().into(),
                if number == tuned.best { "*" } else { "" }.into(),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;
    use crate::run::tests::{TempDir, write_cifar};
    use crate::train::Stop;

    #[test]
    fn trials_start_at_the_preset_and_stay_in_reach() {
        let base = RunConfig::preset("small").unwrap();
        for (variant, axes) in [(Variant::Plain, PLAIN), (Variant::Masked, MASKED)] {
            let first = point(&base, variant, 0);
            assert_eq!(first[0], ("optimizer.lr", base.optimizer.lr));
            let mut seen = vec![first.clone()];
            for number in 1..20 {
                let point = point(&base, variant, number);
                for (((_, x), (_, start)), (_, reach)) in point.iter().zip(&first).zip(axes) {
                    let factor = x / start;
                    assert!(factor > 0.99 / reach && factor < 1.01 * reach, "{point:?}");
                }
                assert!(!seen.contains(&point), "trial {number} repeats another");
                seen.push(point);
            }
        }
        assert_eq!((halton(1, 2), halton(3, 2), halton(5, 3)), (0.5, 0.75, 2.0 / 3.0 + 1.0 / 9.0));
    }

    #[test]
    fn the_best_of_a_search_can_be_read_by_a_run_and_by_a_table() {
        let dir = TempDir::new("tune");
        write_cifar(dir.path());
        let mut layers = Layers::preset("small").unwrap();
        layers.set("data.path", dir.path().display().to_string().into(), "test").unwrap();
        let small = ["epochs=1", "batch_size=8", "eval.linear_epochs=1"];
        small.iter().for_each(|setting| layers.set_text(setting).unwrap());
        layers.set_text("model.redundancy_head=[16, 12]").unwrap();
        let mut request =
            Request { layers, methods: vec![Method::Simclr], variants: vec![], tuned: None };
        let search = Search { trials: 3, seeds: 1, validation: 10, score: "knn5".into() };
        let out = dir.path().join("out");
        let (observer, stop) = (&mut (), &Stop::default());
        let mut campaign = Campaign { command: "again", out: &out, observer, stop };
        let found = tune(&request, &search, &mut campaign).unwrap();
        assert_eq!(found.len(), 2);
        for tuned in &found {
            let best = &tuned.trials[tuned.best];
            assert!(tuned.trials.iter().all(|trial| trial.score <= best.score));
            let file = out.join(format!("simclr-{}.toml", tuned.variant.key()));
            let mut layers = Layers::preset("small").unwrap();
            layers.file(&file).unwrap();
            let config = layers.finish().unwrap();
            assert_eq!(config.optimizer.lr, best.point[0].1);
            assert_eq!(config.mask.enabled, tuned.variant == Variant::Masked);
            request.tuned = Some(out.clone());
            let config = request.config(Method::Simclr, tuned.variant, 1).unwrap();
            assert_eq!(config.optimizer.lr, best.point[0].1);
        }
        let runs = std::fs::read_dir(out.join("runs")).unwrap().count();
        assert_eq!(runs, 6, "both sides have the same number of trials");
        let wrong = Search { score: "knn7".into(), ..search };
        request.tuned = None;
        let error = tune(&request, &wrong, &mut campaign).unwrap_err();
        assert!(error.to_string().contains("--score knn7"), "{error}");
    }
}
