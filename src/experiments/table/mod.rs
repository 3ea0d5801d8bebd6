//! The results table: each base method alone and with MetaMask, like for like.
//!
//! Both sides of a comparison have the same seeds, images, epochs and judges; they differ in what
//! their presets say for them, or in what was tuned for each at the same cost. Runs go seed by
//! seed, so that a table which is not complete yet compares whole seeds. The figures are the last
//! epoch's, and beside them those of the epoch that was best on held-out *training* images; the
//! best epoch on test images is never looked for.

pub mod budget;
pub mod published;
pub mod results;

mod text;

use std::path::PathBuf;

use super::sweep::{Campaign, Cell, Ended, run_cell};
use crate::config::{Layers, Method, RunConfig};
use crate::error::{Error, Result};
use crate::train::Observer;
use results::{Results, Row};

/// What is done to a base method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Nothing: the base method alone.
    Plain,
    /// MetaMask, with the exact gradient of the mask unless the settings say otherwise.
    Masked,
    /// The redundancy loss under a mask of ones.
    Joint,
    /// The mask without the redundancy loss.
    NoRedundancy,
    /// A mask that is drawn once.
    Random,
    /// A mask that is trained as an ordinary weight.
    Regular,
    /// MetaMask without the second-order part of the mask's gradient.
    FirstOrder,
    /// MetaMask with the published finite difference.
    FiniteDifference,
    /// MetaMask under constant learning rates.
    ConstantRate,
}

impl Variant {
    /// What can be asked for beside base and MetaMask.
    pub const ABLATIONS: [Variant; 7] = [
        Variant::Joint,
        Variant::NoRedundancy,
        Variant::Random,
        Variant::Regular,
        Variant::FirstOrder,
        Variant::FiniteDifference,
        Variant::ConstantRate,
    ];

    /// The name on the command line, in folders and in files.
    pub fn key(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::Masked => "metamask",
            Variant::Joint => "joint",
            Variant::NoRedundancy => "no-redundancy",
            Variant::Random => "random",
            Variant::Regular => "regular",
            Variant::FirstOrder => "first-order",
            Variant::FiniteDifference => "finite-difference",
            Variant::ConstantRate => "constant-rate",
        }
    }

    /// What is added to the base method, in words; nothing to the base method itself.
    pub fn words(self) -> &'static str {
        match self {
            Variant::Plain => "",
            Variant::Masked => " + MetaMask",
            Variant::Joint => " + redundancy loss",
            Variant::NoRedundancy => " + mask, no redundancy loss",
            Variant::Random => " + random mask",
            Variant::Regular => " + mask as a weight",
            Variant::FirstOrder => " + MetaMask, first order",
            Variant::FiniteDifference => " + MetaMask, finite difference",
            Variant::ConstantRate => " + MetaMask, constant rate",
        }
    }

    /// The ablations in a list like `joint,random`, or all of them.
    ///
    /// # Errors
    /// `Usage` naming the word that is none.
    pub fn ablations(list: &str) -> Result<Vec<Variant>> {
        if list == "all" {
            return Ok(Variant::ABLATIONS.to_vec());
        }
        let find = |word: &str| Variant::ABLATIONS.into_iter().find(|v| v.key() == word);
        let known = || Variant::ABLATIONS.map(Variant::key).join(", ");
        let one = |word: &str| {
            let none = || format!("{word:?} is none of {}, all", known());
            find(word).ok_or_else(|| Error::usage("--ablations", none()))
        };
        list.split(',').map(str::trim).map(one).collect()
    }

    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Variant::Plain | Variant::Masked => &[],
            Variant::Joint => &[("mask.meta", "off")],
            Variant::NoRedundancy => &[("loss.w_drr", "0")],
            Variant::Random => &[("mask.meta", "random")],
            Variant::Regular => &[("mask.meta", "regular")],
            Variant::FirstOrder => &[("mask.meta", "first-order")],
            Variant::FiniteDifference => &[("mask.meta", "finite-difference")],
            Variant::ConstantRate => &[("schedule.curve", "constant")],
        }
    }
}

/// The methods in a list like `simclr,byol`, or all of them, each once.
///
/// # Errors
/// `Usage` naming the word that is none.
pub fn methods(list: &str) -> Result<Vec<Method>> {
    if list == "all" {
        return Ok(Method::ALL.to_vec());
    }
    let mut found = Vec::new();
    for word in list.split(',').map(str::trim) {
        let method = Method::ALL.into_iter().find(|method| method.key() == word);
        let method = method.ok_or_else(|| {
            let known = Method::ALL.map(Method::key).join(", ");
            Error::usage("--methods", format!("{word:?} is none of {known}, all"))
        })?;
        if !found.contains(&method) {
            found.push(method);
        }
    }
    Ok(found)
}

/// What a table compares.
#[derive(Clone, Debug)]
pub struct Request {
    /// The settings of every run: a preset and what was set over it.
    pub layers: Layers,
    /// The base methods.
    pub methods: Vec<Method>,
    /// What is done to each, the base method alone first.
    pub variants: Vec<Variant>,
    /// The folder with the settings that `tune` found, if any.
    pub tuned: Option<PathBuf>,
}

impl Request {
    /// The settings of one run, tuned where there is something tuned for it.
    ///
    /// # Errors
    /// As the layers of settings.
    pub fn config(&self, method: Method, variant: Variant, seed: u64) -> Result<RunConfig> {
        let mut layers = self.layers.clone();
        let source = "the table";
        layers.set("method", method.key().into(), source)?;
        layers.set("mask.enabled", (variant != Variant::Plain).into(), source)?;
        if let Some(folder) = &self.tuned {
            // An ablation of MetaMask shares its settings: what differs is what is ablated.
            let side = if variant == Variant::Plain { variant } else { Variant::Masked };
            let file = folder.join(format!("{}-{}.toml", method.key(), side.key()));
            if file.exists() {
                layers.file(&file)?;
            }
        }
        for (key, value) in variant.settings() {
            layers.set_text(&format!("{key}={value}"))?;
        }
        layers.set("seed", (seed as i64).into(), source)?;
        let mut config = layers.finish()?;
        if let Some(images) = config.data.images.number() {
            config.loss.queue = config.loss.queue.min(images);
        }
        Ok(config)
    }

    /// The runs of one seed; the first of them judges raw pixels and the untrained encoder, which
    /// all others share.
    ///
    /// # Errors
    /// As [`Request::config`].
    pub fn round(&self, seed: u64) -> Result<Vec<(Row, Cell)>> {
        let mut round = Vec::new();
        for &method in &self.methods {
            for &variant in &self.variants {
                let mut config = self.config(method, variant, seed)?;
                config.eval.baselines = round.is_empty();
                let name = format!("{}-{}-seed{seed}", method.key(), variant.key());
                round.push((Row { method, variant, seed }, Cell { name, config }));
            }
        }
        Ok(round)
    }
}

/// How many seeds a table has.
pub trait Rounds {
    /// Whether there is another round after `done` of them.
    ///
    /// # Errors
    /// `Io` if what is known of the rounds cannot be kept.
    fn more(&mut self, done: usize, observer: &mut dyn Observer) -> Result<bool>;

    /// A run is done.
    ///
    /// # Errors
    /// As [`Rounds::more`].
    fn tick(&mut self) -> Result<()> {
        Ok(())
    }
}

/// This many.
impl Rounds for usize {
    fn more(&mut self, done: usize, _: &mut dyn Observer) -> Result<bool> {
        Ok(done < *self)
    }
}

/// Trains what is missing in the folder `out` and writes the table there after every seed.
///
/// # Errors
/// As [`run_cell`]; `Usage` if there is nothing to compare.
pub fn table(
    request: &Request,
    rounds: &mut dyn Rounds,
    campaign: &mut Campaign,
) -> Result<Results> {
    if request.methods.is_empty() {
        return Err(Error::usage("--methods", "is empty"));
    }
    let mut results =
        Results::new(request.config(request.methods[0], Variant::Plain, 1)?, campaign.command);
    let mut done = 0;
    while rounds.more(done, campaign.observer)? {
        let round = request.round(done as u64 + 1)?;
        let cells = round.len();
        for (number, (row, cell)) in round.into_iter().enumerate() {
            campaign.note(&format!(
                "seed {}, run {} of {cells}: {}{}",
                row.seed,
                number + 1,
                row.method,
                row.variant.words()
            ));
            let ended = run_cell(&cell, campaign)?;
            if let Ended::Diverged(words) = &ended {
                campaign.note(&format!("left out of the table: {words}"));
            }
            results.add(row, ended);
            rounds.tick()?;
        }
        done += 1;
        write(&results, campaign)?;
    }
    Ok(results)
}

/// Writes `table.md`, `table.csv`, `runs.csv` and `table.json`.
fn write(results: &Results, campaign: &Campaign) -> Result<()> {
    let json = serde_json::to_string_pretty(&results.to_json()).expect("figures are JSON");
    campaign.write([
        ("table.md", text::markdown(results)),
        ("table.csv", results.table().to_csv()),
        ("runs.csv", results.runs().to_csv()),
        ("table.json", json + "\n"),
    ])
}

/// The table as Markdown.
pub fn markdown(results: &Results) -> String {
    text::markdown(results)
}

#[cfg(test)]
mod tests;
