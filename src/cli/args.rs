//! The command line's words: commands, flags, and the settings that flags become.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand};
use toml::Value;

use super::experiment::{ExperimentCommand, TuneArgs};
use super::output;
use super::pictures::{MaskArgs, ReportArgs};
use crate::config::{Layers, RunConfig};
use crate::data::Source;
use crate::error::{Error, Result};
use crate::kernels::dispatch::Level;
use crate::run::settings::caution;

/// The version, with the levels of vector instructions that were built in, and the best of them
/// that this processor has.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let built = Level::ALL.into_iter().filter(|level| level.is_built()).map(Level::name);
        let built = built.collect::<Vec<_>>().join(", ");
        let best = Level::best().name();
        format!("{} (levels: {built}; this processor: {best})", env!("CARGO_PKG_VERSION"))
    });
    &VERSION
}

/// MetaMask: self-supervised image representations with a meta-learned dimensional mask.
///
/// Without a command: `train --preset demo`, the main job on the data that come along.
#[derive(Debug, Parser)]
#[command(name = "dimask", version = version())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Threads to compute with [default: $DIMASK_THREADS, or one a core]
    #[arg(long, global = true, value_name = "T")]
    pub threads: Option<usize>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train an encoder and judge its features
    Train(Box<TrainArgs>),
    /// Judge the features of a run's checkpoint again
    Eval(EvalArgs),
    /// Write the features of a run's checkpoint to a safetensors file: train.features and
    /// test.features, labels, and of a run with a mask train.unmasked and test.unmasked
    Features(FeaturesArgs),
    /// Draw runs side by side as one page: curves, mask, maps, neighbours
    Report(ReportArgs),
    /// Look at the mask of a run: its course, its histogram, what each dimension is worth
    Mask(MaskArgs),
    /// Print all settings as TOML, as preset, file and flags make them
    Config(Box<SettingArgs>),
    /// Take a step again that left the finite numbers, and name the first value that did
    Replay(ReplayArgs),
    /// List the methods, the presets, and what each loss is at the start
    Methods,
    /// Look at a data set: what it is, whether it is whole
    Data(DataArgs),
    /// Ask a question that takes many runs
    #[command(subcommand)]
    Experiment(ExperimentCommand),
    /// Search learning rates and weights on held-out training images, at the same cost for a base
    /// method and for MetaMask over it
    Tune(Box<TuneArgs>),
    /// Check derivatives against finite differences: of all operations, losses and mask gradients,
    /// or of those that are named
    Gradcheck(GradcheckArgs),
    /// Print a formula of the book by its id, where it is in the code, and an example computed on
    /// the spot; without an id, all ids
    Explain(ExplainArgs),
}

/// Flags of `train`.
#[derive(Debug, Default, Args)]
pub struct TrainArgs {
    /// The settings.
    #[command(flatten)]
    pub settings: SettingArgs,

    /// The run's folder [default: the first free runs/PRESET-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Continue the run in this folder, with its own settings
    #[arg(long, value_name = "DIR", conflicts_with_all = ["settings", "out"])]
    pub resume: Option<PathBuf>,

    /// Print where the time went, operation by operation, and write it to profile.json
    #[arg(long, conflicts_with = "dry_run")]
    pub profile: bool,

    /// Only say what would be trained, and about how much time and memory it takes
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags that are settings: a preset, a file over it, single settings over both.
#[derive(Clone, Debug, Default, Args)]
#[group(id = "settings", multiple = true)]
pub struct SettingArgs {
    /// The settings to start from: demo, small, official [default: demo]
    #[arg(long, value_name = "P")]
    pub preset: Option<String>,

    /// A TOML file of settings over the preset's
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// The images: fashion-mnist, mnist, cifar10, cifar100, stl10, tiny-imagenet or folder, and
    /// perhaps where: the official folder, its parent or the archive
    #[arg(long, value_name = "NAME[:PATH]")]
    pub data: Option<String>,

    /// Leave out images that cannot be read, of sets with a file for each
    #[arg(long)]
    pub skip_bad: bool,

    /// How views are made: official, symmetric or asymmetric (solo-learn's)
    #[arg(long, value_name = "A")]
    pub augment: Option<String>,

    /// The base method: barlow-twins, simclr, byol, dcl, hcl, nnclr
    #[arg(long, value_name = "M")]
    pub method: Option<String>,

    /// The base method alone, without the mask
    #[arg(long)]
    pub no_mask: bool,

    /// The mask's gradient: exact, finite-difference, first-order, off; or the mask is drawn once
    /// (random), or learned as a weight (regular)
    #[arg(long, value_name = "MODE")]
    pub meta: Option<String>,

    /// The step that the mask's gradient goes through: contrastive, joint, joint-shared
    #[arg(long, value_name = "STEP")]
    pub trial_step: Option<String>,

    /// What Barlow Twins is with the mask: two-heads, one-head, nt-xent
    #[arg(long, value_name = "MODE")]
    pub bt_mode: Option<String>,

    /// The encoder: conv4, resnet18
    #[arg(long, value_name = "E")]
    pub encoder: Option<String>,

    /// Channels of resnet18's first block
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    pub width: Option<String>,

    /// What layers multiply: f32, or bf16, which is faster on processors with AMX
    #[arg(long, value_name = "P")]
    pub precision: Option<String>,

    /// Passes over the images
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub epochs: Option<String>,

    /// A seeded choice of this many training images, or "all"
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub images: Option<String>,

    /// Images a step, two views each
    #[arg(long, value_name = "B", allow_negative_numbers = true)]
    pub batch_size: Option<String>,

    /// The networks' learning rate
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub lr: Option<String>,

    /// The temperature of the contrastive loss
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub temperature: Option<String>,

    /// The seed of every draw
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    pub seed: Option<String>,

    /// Training images to hold out and judge on instead of the test images
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub validation: Option<String>,

    /// Training images to hold out and choose the best epoch on, beside the last one
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub val_split: Option<String>,

    /// A safetensors file to take the first weights from
    #[arg(long, value_name = "FILE")]
    pub init: Option<String>,

    /// Steps between checkpoints, or time as in 10m, besides the one at every epoch's end
    #[arg(long, value_name = "N|TIME", allow_negative_numbers = true)]
    pub checkpoint_every: Option<String>,

    /// Any setting by its key in the TOML file, as in loss.w_drr=0.5; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Flags of `eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The run's folder
    pub dir: PathBuf,

    /// Other images than the run's own
    #[arg(long, value_name = "NAME[:PATH]")]
    pub data: Option<String>,

    /// Also logistic regression on all labels, and the probe on 10 % of them
    #[arg(long)]
    pub full: bool,

    /// Other votes of neighbours: how many, and the temperature, as in 20:0.07,1:1
    #[arg(long, value_name = "K:T,...")]
    pub knn: Option<String>,

    /// Also print how often the images of each class are taken for each, by kNN with k = 200
    #[arg(long)]
    pub confusion: bool,

    /// Also train the whole encoder on labels, for this many epochs, and the first weights too
    #[arg(long, value_name = "EPOCHS")]
    pub fine_tune: Option<usize>,

    /// The share of the labels that fine-tuning is shown
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, requires = "fine_tune")]
    pub labels: f64,

    /// The learning rate of fine-tuning
    #[arg(long, value_name = "X", default_value_t = 0.03, requires = "fine_tune")]
    pub lr: f64,
}

/// Flags of `gradcheck`.
#[derive(Debug, Args)]
pub struct GradcheckArgs {
    /// An operation, as in conv2d
    #[arg(long, value_name = "NAME")]
    pub op: Option<String>,

    /// A method's loss, as in hcl
    #[arg(long, value_name = "NAME")]
    pub loss: Option<String>,

    /// A method's mask gradient, as in nnclr
    #[arg(long, value_name = "NAME")]
    pub method: Option<String>,

    /// The highest order of the derivatives of operations and losses, at most 4
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub order: usize,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The formula, as in meta-3
    pub id: Option<String>,

    /// Draw the book's figures into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "id")]
    pub figures: Option<PathBuf>,
}

/// Commands about data.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// Commands about data.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Recognise a set, count it, verify known checksums, name what is wrong, draw some of it
    Check(CheckArgs),
}

/// Flags of `data check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The official folder, its parent, the archive, or any folder of images; NAME: before it
    /// says which set it is; NAME alone is looked for as for --data
    #[arg(value_name = "[NAME:]PATH")]
    pub data: String,

    /// The PNG file to draw images and two views of each in, not among the data [default:
    /// contact-sheet.png; in the folder for temporary files if this one is among the data]
    #[arg(long, value_name = "FILE")]
    pub sheet: Option<PathBuf>,

    /// The side to resize images to
    #[arg(long, value_name = "S")]
    pub size: Option<usize>,

    /// How the views are made: official, symmetric or asymmetric
    #[arg(long, value_name = "A", default_value = "official")]
    pub augment: String,
}

/// Flags of `features`.
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// The run's folder
    pub dir: PathBuf,

    /// Other images than the run's own
    #[arg(long, value_name = "NAME[:PATH]")]
    pub data: Option<String>,

    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Flags of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The kept step: diverged.safetensors in a run's folder
    pub dump: PathBuf,
}

impl SettingArgs {
    /// The preset's name.
    pub fn preset_name(&self) -> &str {
        self.preset.as_deref().unwrap_or("demo")
    }

    /// The settings: preset, then file, then flags.
    ///
    /// # Errors
    /// `Usage` naming the flag or the file's key at fault; `Io` if the file cannot be read.
    pub fn resolve(&self) -> Result<RunConfig> {
        let layers = self.layers()?;
        let config = layers.clone().finish()?;
        check_effect(&layers, std::slice::from_ref(&config))?;
        Ok(config)
    }

    /// The same, with room for more on top.
    ///
    /// # Errors
    /// As [`SettingArgs::resolve`], but for settings that make no sense together.
    pub fn layers(&self) -> Result<Layers> {
        let mut layers = Layers::preset(self.preset_name())?;
        if let Some(path) = &self.config {
            layers.file(path)?;
        }
        if let Some(data) = &self.data {
            set_data(&mut layers, data)?;
        }
        if let Some(name) = &self.augment {
            layers.augment(name)?;
        }
        // In this order: an encoder brings its own width.
        let texts = [
            ("--method", "method", &self.method),
            ("--meta", "mask.meta", &self.meta),
            ("--trial-step", "mask.trial", &self.trial_step),
            ("--bt-mode", "loss.bt_mode", &self.bt_mode),
            ("--encoder", "model.encoder", &self.encoder),
            ("--precision", "model.precision", &self.precision),
            ("--init", "init", &self.init),
        ];
        for (flag, key, text) in texts {
            if let Some(text) = text {
                layers.set(key, Value::String(text.clone()), flag)?;
            }
        }
        let numbers = [
            ("--width", "model.width", &self.width),
            ("--epochs", "epochs", &self.epochs),
            ("--images", "data.images", &self.images),
            ("--batch-size", "batch_size", &self.batch_size),
            ("--lr", "optimizer.lr", &self.lr),
            ("--temperature", "loss.temperature", &self.temperature),
            ("--seed", "seed", &self.seed),
            ("--validation", "data.validation", &self.validation),
            ("--val-split", "data.val_split", &self.val_split),
            ("--checkpoint-every", "checkpoint_every", &self.checkpoint_every),
        ];
        for (flag, key, text) in numbers {
            if let Some(text) = text {
                layers.set(key, number(text), flag)?;
            }
        }
        if self.no_mask {
            layers.set("mask.enabled", Value::Boolean(false), "--no-mask")?;
        }
        if self.skip_bad {
            layers.set("data.skip_bad", Value::Boolean(true), "--skip-bad")?;
        }
        for assignment in &self.set {
            layers.set_text(assignment)?;
        }
        Ok(layers)
    }
}

/// Refuses flags that change nothing in any of the runs `configs`, and notes what a file sets in
/// vain, or what is asked of the wrong machine.
///
/// # Errors
/// `Usage` naming the flag.
pub fn check_effect(layers: &Layers, configs: &[RunConfig]) -> Result<()> {
    let idle = layers.idle(configs);
    if let Some((flag, reason)) = idle.iter().find(|(source, _)| source.starts_with("--")) {
        return Err(Error::usage(*flag, format!("has no effect: {reason}")));
    }
    if !idle.is_empty() {
        let keys: Vec<&str> = idle.iter().map(|(source, _)| *source).collect();
        output::progress(&format!("note: without effect in this run: {}", keys.join(", ")));
    }
    if let Some(caution) = configs.iter().find_map(caution) {
        output::progress(caution);
    }
    Ok(())
}

/// A number as TOML has it; any other text stays one, and is refused where a number must be.
fn number(text: &str) -> Value {
    let whole = text.parse().map(Value::Integer);
    let real = || text.parse().map(Value::Float);
    whole.or_else(|_| real()).unwrap_or_else(|_| Value::String(text.to_string()))
}

fn set_data(layers: &mut Layers, data: &str) -> Result<()> {
    let Source { name, path } = data.parse()?;
    let path = path.map_or(String::new(), |path| path.display().to_string());
    layers.set("data.name", name.as_str().into(), "--data")?;
    layers.set("data.path", path.into(), "--data")
}

/// A run's settings with the images of `--data NAME[:PATH]`, where that is given.
///
/// # Errors
/// `Usage` if there are no such images.
pub fn with_data(config: RunConfig, data: Option<&str>) -> Result<RunConfig> {
    let Some(data) = data else { return Ok(config) };
    let mut layers = Layers::from(&config);
    if data.parse::<Source>()?.name != config.data.name {
        // Another set has neither the labels nor the images that only the run's own has.
        layers.set("data.labels", "fine".into(), "--data")?;
        layers.set("data.learn_from", "train".into(), "--data")?;
    }
    set_data(&mut layers, data)?;
    layers.finish()
}

#[cfg(test)]
mod tests;
