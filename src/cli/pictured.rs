//! `dimask experiment` features, random-masks, dimensions and bound: questions with pictures.

use std::path::PathBuf;

use clap::Args;

use super::args::SettingArgs;
use super::experiment::{at_least_one, check_effects, conduct, folder, shared_layers};
use super::output;
use crate::error::{Error, Result};
use crate::eval::bound::BoundSettings;
use crate::experiments;
use crate::experiments::answer::Answer;
use crate::experiments::random_masks::Draws;
use crate::experiments::sweep::Campaign;
use crate::experiments::table::{self, Request, Variant};

/// Flags of every experiment that leaves pictures.
///
/// The same command goes on with an experiment that was stopped; finished runs are not repeated.
#[derive(Debug, Args)]
pub struct PicturedArgs {
    /// The experiment's folder [default: the first free runs/EXPERIMENT-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// The settings that all runs share.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// Flags of `experiment random-masks`.
#[derive(Debug, Args)]
pub struct RandomMasksArgs {
    /// Masks of each rate
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub masks: usize,

    /// The rest.
    #[command(flatten)]
    pub shared: PicturedArgs,
}

/// Flags of `experiment dimensions`.
#[derive(Debug, Args)]
pub struct DimensionsArgs {
    /// The widths of the projector; 8192 can be asked for, and takes long
    #[arg(long, value_name = "A,B", default_value = "32,64,128,256,512,1024,2048")]
    pub widths: String,

    /// Seeds 1 to N
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seeds: usize,

    /// The rest.
    #[command(flatten)]
    pub shared: PicturedArgs,
}

/// Flags of `experiment bound`.
#[derive(Debug, Args)]
pub struct BoundArgs {
    /// The temperature of the theory, whatever the training has
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    pub theory_temperature: f64,

    /// The rest.
    #[command(flatten)]
    pub shared: PicturedArgs,
}

/// Asks, prints the answer and says where its page is.
fn answer(
    args: &PicturedArgs,
    name: &str,
    method: &str,
    ask: impl FnOnce(&Request, &mut Campaign) -> Result<Answer>,
) -> Result<()> {
    let mut settings = args.settings.clone();
    let method = settings.method.take().unwrap_or_else(|| method.to_string());
    let request = Request {
        layers: shared_layers(&settings)?,
        methods: table::methods(&method)?,
        variants: Vec::new(),
        tuned: None,
    };
    check_effects(&request, &[Variant::Plain, Variant::Masked])?;
    let out = folder(args.out.as_deref(), name);
    let text = conduct(&out, |campaign| {
        ask(&request, campaign).map(|answer| answer.markdown(campaign.command))
    })?;
    output::print(&text)?;
    output::progress(&format!("drawn in {}", out.join(format!("{name}.html")).display()));
    Ok(())
}

pub(super) fn features(args: &PicturedArgs) -> Result<()> {
    answer(args, "features", "simclr", |request, campaign| {
        experiments::features::features(request, campaign)
    })
}

pub(super) fn random_masks(args: &RandomMasksArgs) -> Result<()> {
    at_least_one("--masks", args.masks)?;
    let draws = Draws { masks: args.masks, ..Draws::default() };
    answer(&args.shared, "random-masks", "barlow-twins", |request, campaign| {
        experiments::random_masks::random_masks(request, &draws, campaign)
    })
}

pub(super) fn dimensions(args: &DimensionsArgs) -> Result<()> {
    at_least_one("--seeds", args.seeds)?;
    let widths = experiments::dimensions::widths(&args.widths)?;
    if args.shared.settings.method.as_deref().is_some_and(|method| method != "barlow-twins") {
        return Err(Error::usage("--method", "the sweep is of barlow-twins"));
    }
    let seeds = args.seeds;
    answer(&args.shared, "dimensions", "barlow-twins", |request, campaign| {
        experiments::dimensions::dimensions(request, &widths, seeds, campaign)
    })
}

pub(super) fn bound(args: &BoundArgs) -> Result<()> {
    let temperature = args.theory_temperature;
    if !(0.01..=100.0).contains(&temperature) {
        let reason = format!("is {temperature}, must be between 0.01 and 100");
        return Err(Error::usage("--theory-temperature", reason));
    }
    let settings = BoundSettings { temperature, ..BoundSettings::default() };
    answer(&args.shared, "bound", "simclr", |request, campaign| {
        experiments::bound::bounds(request, &settings, campaign)
    })
}
