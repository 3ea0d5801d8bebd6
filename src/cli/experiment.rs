//! `dimask experiment`: questions that take many runs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::args::{SettingArgs, check_effect};
use super::pictured::{self, BoundArgs, DimensionsArgs, PicturedArgs, RandomMasksArgs};
use super::progress::Progress;
use super::train::watch_signals;
use super::{output, report};
use crate::config::Layers;
use crate::error::{Error, Result};
use crate::experiments::confounder::confounder;
use crate::experiments::sweep::Campaign;
use crate::experiments::table::budget::{self, Budget, Fixed, Plan};
use crate::experiments::table::{self, Request, Rounds, Variant};
use crate::experiments::tune::{self, Search};
use crate::run::folder::{free_folder, shell_word};
use crate::train::Stop;
use crate::train::images::Images;

/// Which question.
#[derive(Debug, Subcommand)]
pub enum ExperimentCommand {
    /// Each base method alone and with MetaMask, like for like, with intervals
    Table(Box<TableArgs>),
    /// Images with a planted nuisance: does the mask turn the dimensions down that carry it
    Confounder(Box<ConfounderArgs>),
    /// Features as a picture, what dimensions say about classes, how they repeat each other
    Features(Box<PicturedArgs>),
    /// Random masks over one representation, with a control of the best one's luck
    RandomMasks(Box<RandomMasksArgs>),
    /// Accuracy of Barlow Twins against the width of its projector, plain and with MetaMask
    Dimensions(Box<DimensionsArgs>),
    /// Every term of the paper's bound on trained runs, plain and with MetaMask
    Bound(Box<BoundArgs>),
}

/// Flags of `experiment table`.
///
/// The same command goes on with a table that was stopped; finished runs are not repeated.
#[derive(Debug, Args)]
pub struct TableArgs {
    /// The base methods, as in simclr,byol
    #[arg(long, value_name = "A,B", default_value = "all")]
    pub methods: String,

    /// Seeds 1 to N [default: 3, or what a budget allows]
    #[arg(long, value_name = "N")]
    pub seeds: Option<usize>,

    /// Also compare: joint, no-redundancy, random, regular, first-order, finite-difference,
    /// constant-rate; or all
    #[arg(long, value_name = "A,B")]
    pub ablations: Option<String>,

    /// The time it may take, as in 20m or 8h: seeds, epochs and images that are not given follow
    /// from the speed of the first steps
    #[arg(long, value_name = "TIME")]
    pub budget: Option<String>,

    /// The folder in which `tune` has left settings
    #[arg(long, value_name = "DIR")]
    pub tuned: Option<PathBuf>,

    /// The table's folder [default: the first free runs/table-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// The settings that all runs share.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// Flags of `experiment confounder`.
///
/// The same command goes on with an experiment that was stopped; finished runs are not repeated.
#[derive(Debug, Args)]
pub struct ConfounderArgs {
    /// Strengths of the planted texture, from 0 (none) to 1 (nothing else)
    #[arg(long, value_name = "X,Y", default_value = "0,0.3,0.6")]
    pub strengths: String,

    /// Seeds 1 to N
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seeds: usize,

    /// The experiment's folder [default: the first free runs/confounder-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// The settings that all runs share.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// Flags of `tune`.
///
/// The same command goes on with a search that was stopped; finished runs are not repeated.
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// The base methods, as in simclr,byol
    #[arg(long, value_name = "A,B", default_value = "simclr")]
    pub methods: String,

    /// Trials of each side, the preset's own settings among them
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub trials: usize,

    /// Seeds of each trial
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seeds: usize,

    /// What trials are compared by: knn5, knn200, linear, probe_1pct
    #[arg(long, value_name = "NAME", default_value = "knn200")]
    pub score: String,

    /// The folder for runs and results [default: the first free runs/tune-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// The settings that all runs share.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// Does what was asked.
pub(super) fn experiment(command: &ExperimentCommand) -> Result<()> {
    match command {
        ExperimentCommand::Table(args) => run_table(args),
        ExperimentCommand::Confounder(args) => run_confounder(args),
        ExperimentCommand::Features(args) => pictured::features(args),
        ExperimentCommand::RandomMasks(args) => pictured::random_masks(args),
        ExperimentCommand::Dimensions(args) => pictured::dimensions(args),
        ExperimentCommand::Bound(args) => pictured::bound(args),
    }
}

/// Runs an experiment in the folder `out`, with progress on the terminal, until a signal stops it;
/// then says how to resume it.
pub(super) fn conduct<R>(
    out: &Path,
    experiment: impl FnOnce(&mut Campaign) -> Result<R>,
) -> Result<R> {
    let (mut progress, stop) = (Progress::new(), Stop::default());
    watch_signals(&stop)?;
    output::progress(&format!("in {}", out.display()));
    let words = std::env::args_os().skip(1).map(|word| shell_word(&word));
    let words: Vec<String> = std::iter::once("dimask".to_string()).chain(words).collect();
    let command = &words.join(" ");
    let result = experiment(&mut Campaign { command, out, observer: &mut progress, stop: &stop });
    progress.clear();
    if let Err(Error::Interrupted { .. }) = result {
        output::progress(&format!("resume with: {command}"));
    }
    result
}

fn run_confounder(args: &ConfounderArgs) -> Result<()> {
    let mut strengths = Vec::new();
    for word in args.strengths.split(',') {
        let wrong = || Error::usage("--strengths", format!("{word:?} is no number from 0 to 1"));
        let strength: f64 = word.trim().parse().map_err(|_| wrong())?;
        if !(0.0..=1.0).contains(&strength) {
            return Err(wrong());
        }
        strengths.push(strength);
    }
    at_least_one("--seeds", args.seeds)?;
    let mut settings = args.settings.clone();
    let method = settings.method.take().unwrap_or_else(|| "simclr".to_string());
    let request = Request {
        layers: shared_layers(&settings)?,
        methods: table::methods(&method)?,
        variants: Vec::new(),
        tuned: None,
    };
    check_effects(&request, &[Variant::Plain, Variant::Masked])?;
    let out = folder(args.out.as_deref(), "confounder");
    let text = conduct(&out, |campaign| confounder(&request, &strengths, args.seeds, campaign))?;
    output::print(&text)?;
    output::progress(&format!("written to {}", out.join("confounder.md").display()));
    Ok(())
}

/// `dimask tune`: searches, and prints the trials.
pub(super) fn tune(args: &TuneArgs) -> Result<()> {
    at_least_one("--trials", args.trials)?;
    at_least_one("--seeds", args.seeds)?;
    let layers = shared_layers(&args.settings)?;
    let images = Images::load(&layers.clone().finish()?)?.train.len();
    let request = Request {
        layers,
        methods: table::methods(&args.methods)?,
        variants: Vec::new(),
        tuned: None,
    };
    check_effects(&request, &[Variant::Plain, Variant::Masked])?;
    let search = Search {
        trials: args.trials,
        seeds: args.seeds,
        validation: (images / 10).clamp(1, 5000),
        score: args.score.clone(),
    };
    let out = folder(args.out.as_deref(), "tune");
    let found = conduct(&out, |campaign| tune::tune(&request, &search, campaign))?;
    output::print(&tune::table(&found).to_markdown())?;
    for tuned in &found {
        let name = format!("{}-{}.toml", tuned.method.key(), tuned.variant.key());
        output::progress(&format!("written to {}", out.join(name).display()));
    }
    Ok(())
}

pub(super) fn at_least_one(flag: &str, count: usize) -> Result<()> {
    if count > 0 { Ok(()) } else { Err(Error::usage(flag, "is 0, must be at least 1")) }
}

/// Refuses flags that change nothing in any run of an experiment.
pub(super) fn check_effects(request: &Request, variants: &[Variant]) -> Result<()> {
    let mut configs = Vec::new();
    for &method in &request.methods {
        for &variant in variants {
            // What makes no sense at all is told where the runs are made.
            configs.extend(request.config(method, variant, 1));
        }
    }
    check_effect(&request.layers, &configs)
}

/// The settings that all runs of an experiment share.
///
/// Without a preset, images that are not those which come along take the preset `small`.
///
/// # Errors
/// As [`SettingArgs::layers`]; `Usage` for a flag that every run decides for itself.
pub(super) fn shared_layers(args: &SettingArgs) -> Result<Layers> {
    let own = [
        ("--method", args.method.is_some(), "the experiment's own flags choose the methods"),
        ("--no-mask", args.no_mask, "the experiment runs both ways"),
        ("--seed", args.seed.is_some(), "seeds are counted from 1"),
    ];
    if let Some((flag, _, reason)) = own.into_iter().find(|(_, given, _)| *given) {
        return Err(Error::usage(flag, reason));
    }
    let mut args = args.clone();
    let grey = |data: &str| data.starts_with("fashion-mnist") || data.starts_with("mnist");
    let foreign = args.data.as_deref().is_some_and(|data| !grey(data));
    if args.preset.is_none() && foreign {
        args.preset = Some("small".to_string());
    }
    args.layers()
}

fn run_table(args: &TableArgs) -> Result<()> {
    let mut variants = vec![Variant::Plain, Variant::Masked];
    if let Some(list) = &args.ablations {
        variants.extend(Variant::ablations(list)?);
    }
    let mut request = Request {
        layers: shared_layers(&args.settings)?,
        methods: table::methods(&args.methods)?,
        variants,
        tuned: args.tuned.clone(),
    };
    at_least_one("--seeds", args.seeds.unwrap_or(3))?;
    check_effects(&request, &request.variants)?;
    let out = folder(args.out.as_deref(), "table");
    let results = conduct(&out, |campaign| {
        let mut rounds: Box<dyn Rounds> = match &args.budget {
            None => {
                hold_out_some(args, &mut request.layers)?;
                Box::new(args.seeds.unwrap_or(3))
            }
            Some(time) => {
                let fixed = fixed(args, &request.layers)?;
                let budget = Budget::open(&request, fixed, budget::parse(time)?, campaign)?;
                budget.apply(&mut request)?;
                output::progress(&describe(&budget.plan(), &request));
                Box::new(budget)
            }
        };
        table::table(&request, &mut *rounds, campaign)
    })?;
    output::print(&table::markdown(&results))?;
    output::progress(&format!("written to {}", out.join("table.md").display()));
    Ok(())
}

/// Holds out a tenth of the images, at most 2,000, to choose epochs on, unless the settings say
/// how many.
fn hold_out_some(args: &TableArgs, layers: &mut Layers) -> Result<()> {
    let config = layers.clone().finish()?;
    if args.settings.val_split.is_some() || config.data.val_split > 0 {
        return Ok(());
    }
    let images = Images::load(&config)?.train.len();
    layers.set("data.val_split", ((images / 10).min(2000) as i64).into(), "--val-split")
}

/// What of a budget's plan was given.
fn fixed(args: &TableArgs, layers: &Layers) -> Result<Fixed> {
    let config = layers.clone().finish()?;
    let images = config.data.images.number();
    Ok(Fixed {
        seeds: args.seeds,
        epochs: args.settings.epochs.as_ref().map(|_| config.epochs),
        images: args.settings.images.as_ref().and(images),
    })
}

fn describe(plan: &Plan, request: &Request) -> String {
    let Plan { seeds, epochs, images, val_split, test_images, seconds } = *plan;
    format!(
        "the plan: {} of {} runs, each {} of {images} images, {val_split} to choose the epoch on, \
         judged on {test_images}: about {}",
        output::count(seeds, "seed"),
        request.methods.len() * request.variants.len(),
        output::count(epochs, "epoch"),
        report::duration(seconds)
    )
}

/// The folder of an experiment: the one that was named, or the first free one.
pub(super) fn folder(out: Option<&Path>, name: &str) -> PathBuf {
    out.map_or_else(|| free_folder(name), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use crate::cli::args::Cli;
    use crate::experiments::REGISTRY;

    #[test]
    fn every_experiment_has_a_command_of_its_name() {
        let cli = Cli::command();
        let commands = cli.find_subcommand("experiment").expect("there are experiments");
        assert_eq!(commands.get_subcommands().count(), REGISTRY.len());
        for experiment in REGISTRY {
            assert!(commands.find_subcommand(experiment.name).is_some(), "{}", experiment.name);
        }
    }
}
