//! One run's settings: what can be set, the presets, how the layers combine, the hash.
//!
//! A [`RunConfig`] is complete: every key is present in every preset and in every file the program
//! writes, so that a run folder tells all about its run and nothing hides in a default. Settings
//! come in layers, each over the one before: a preset, a TOML file, flags ([`Layers`]). This module
//! refuses to know how a setting is used; it only says whether the whole makes sense
//! ([`RunConfig::check`]).

mod check;
mod effect;
mod layers;
mod presets;
mod words;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::{Bad, Loading, Source, Unlabelled};

pub use crate::data::{Labels, SourceName};
pub use layers::Layers;
pub(crate) use layers::{difference, hex};
pub use presets::{AUGMENTATIONS, PRESETS, Preset};
pub use words::*;

/// All settings of one training run and its evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The loss that is learned from, and the one that `MetaMask` builds on.
    pub method: Method,
    /// The seed of every draw: weights, the choice of images, their order, augmentations, probes.
    pub seed: u64,
    /// Passes over the training images.
    pub epochs: usize,
    /// Images a step; each gives two views. The last, partial batch of an epoch is left out.
    pub batch_size: usize,
    /// Steps or time between checkpoints; 0: one at the end of every epoch only.
    pub checkpoint_every: Every,
    /// A safetensors file to take the first weights from; empty: drawn from the seed.
    ///
    /// The encoder's tensors must all be there, under the names and in the layouts of checkpoints;
    /// heads are taken too where the file has them, and the mask where it was learned in this run's
    /// form.
    pub init: String,
    /// Which images.
    pub data: DataConfig,
    /// The encoder and its heads.
    pub model: ModelConfig,
    /// The losses and their weights.
    pub loss: LossConfig,
    /// The optimiser of the networks.
    pub optimizer: OptimizerConfig,
    /// The dimensional mask and its meta step.
    pub mask: MaskConfig,
    /// How learning rates move.
    pub schedule: ScheduleConfig,
    /// How two views are drawn from an image.
    pub augment: AugmentConfig,
    /// How features are judged.
    pub eval: EvalConfig,
}

/// Which images a run sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The data set.
    pub name: SourceName,
    /// Its official folder, that folder's parent, or its archive; empty: looked for in the usual
    /// places.
    ///
    /// Not part of the configuration's hash.
    pub path: String,
    /// Which of its two labels an image of CIFAR-100 has.
    pub labels: Labels,
    /// The side that images are resized to when they are loaded; 0: they stay as they are.
    pub size: usize,
    /// What is learned from.
    pub learn_from: LearnFrom,
    /// How many training images: `"all"`, or a seeded choice of this many with class counts that
    /// differ by at most one; with `"at most "` before the number, fewer where the set has fewer,
    /// and in proportion to the classes where these are too uneven.
    pub images: Amount,
    /// Training images held out of the run, the same choice for every seed; where it is not 0,
    /// features are judged on these instead of the test images.
    pub validation: usize,
    /// Training images held out on which every epoch is judged, so that the best one can be told
    /// without a look at the test images; the same choice for every seed; 0: none.
    pub val_split: usize,
    /// How many of the images that features are judged on: `"all"`, or a choice of this many that
    /// is the same for every seed.
    pub test_images: Amount,
    /// The strength of the nuisance texture that is planted into every image, from 0 (none) to 1
    /// (nothing else): [`confounder`](crate::data::confounder).
    pub confounder: f64,
    /// The most megabytes (MiB) of images in memory; the others are read from a temporary file.
    ///
    /// Not part of the configuration's hash.
    pub memory_mb: usize,
    /// Whether images that cannot be read are left out, instead of being an error.
    pub skip_bad: bool,
}

impl DataConfig {
    /// Which data set, and where.
    pub fn source(&self) -> Source {
        let path = Some(&self.path).filter(|path| !path.is_empty());
        Source { name: self.name, path: path.map(PathBuf::from) }
    }

    /// How it is loaded.
    pub fn loading(&self) -> Loading {
        Loading {
            size: Some(self.size).filter(|&size| size > 0),
            labels: self.labels,
            unlabelled: match self.learn_from {
                LearnFrom::Train => Unlabelled::Skip,
                LearnFrom::Unlabelled => Unlabelled::Read,
            },
            limit_bytes: (self.memory_mb as u64) << 20,
            bad: if self.skip_bad { Bad::Skip } else { Bad::Refuse },
            ..Loading::default()
        }
    }
}

/// The encoder and its heads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The architecture. Setting it sets `width` to the architecture's own; set that afterwards.
    pub encoder: EncoderName,
    /// Channels of the first block; later blocks double it. `conv4` is always 32 wide, `resnet18`
    /// as published 64.
    pub width: usize,
    /// Whether a ReLU follows the stem's batch norm; the published MetaMask code has lost it.
    ///
    /// Only `resnet18` has a stem.
    pub stem_relu: bool,
    /// Where the encoder's batch-norm has its statistics from, if several ranks train.
    ///
    /// The other batch-norms see the features of all ranks in any case. Files from before there was
    /// a choice have no such key.
    #[serde(default)]
    pub batch_norm: BatchNormOver,
    /// What the layers multiply, in training and in judging.
    ///
    /// Files from before there was a choice have no such key.
    #[serde(default)]
    pub precision: Precision,
    /// Output widths of the contrastive head's layers: the base method's projector.
    pub contrastive_head: Vec<usize>,
    /// How the contrastive head ends.
    pub contrastive_end: HeadEnd,
    /// Output widths of the predictor's layers; empty for the methods without one.
    pub predictor_head: Vec<usize>,
    /// Output widths of the redundancy head's layers.
    pub redundancy_head: Vec<usize>,
}

/// The losses and their weights.
///
/// With the mask the joint loss is `w_con L_con + w_drr L_drr`; a plain method is its own loss.
/// A method does not look at the settings of another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// What similarities are divided by: of SimCLR, DCL, HCL and NNCLR.
    pub temperature: f64,
    /// DCL's and HCL's share of false negatives.
    pub tau_plus: f64,
    /// HCL's concentration on hard negatives.
    pub beta: f64,
    /// NNCLR's number of projections to find neighbours in; a run cuts it to its number of images.
    pub queue: usize,
    /// How much of itself BYOL's target keeps in a step, at the start; it grows to 1 by a cosine.
    pub target_momentum: f64,
    /// What Barlow Twins is with the mask.
    pub bt_mode: BtMode,
    /// The weight of the off-diagonal terms in Barlow Twins, and in the redundancy loss.
    pub lambda: f64,
    /// The weight of the contrastive loss.
    pub w_con: f64,
    /// The weight of the redundancy loss; 0: there is none, nor a head for it.
    pub w_drr: f64,
    /// The unit of the redundancy loss.
    pub drr_unit: DrrUnit,
}

/// The optimiser of the networks; each kind looks at its own settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The rule.
    pub kind: OptimizerKind,
    /// The learning rate at the start.
    pub lr: f64,
    /// The momentum, of SGD and LARS.
    pub momentum: f64,
    /// The weight decay.
    pub weight_decay: f64,
    /// The parameters that it applies to.
    pub decay_scope: DecayScope,
    /// LARS's form.
    pub lars_form: LarsForm,
    /// LARS's trust coefficient.
    pub lars_eta: f64,
    /// Adam's decay rates of its two means.
    pub adam_betas: [f64; 2],
    /// Adam's addition to the denominator.
    pub adam_eps: f64,
}

/// The dimensional mask and its meta step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskConfig {
    /// Whether there is a mask; without one the base method runs alone.
    pub enabled: bool,
    /// How the mask's gradient is computed.
    pub meta: MetaMode,
    /// The trial step.
    pub trial: TrialStep,
    /// Trial steps in a row; more than one are differentiated in reverse over reverse, which needs
    /// `meta = "exact"`.
    pub unroll: usize,
    /// The share of features that a random mask switches off.
    pub random_rate: f64,
    /// The numerator `r` of the finite difference's step `r / |v|`.
    pub radius: f64,
    /// What turns logits into the mask.
    pub squash: Squash,
    /// The mask's learning rate at the start.
    pub lr: f64,
    /// The mask's momentum.
    pub momentum: f64,
    /// The weight decay on the logits, which pulls the mask to its first value.
    pub weight_decay: f64,
    /// Steps between comparisons of the exact with the finite-difference gradient; 0: never.
    pub compare_every: usize,
}

/// How learning rates move, the networks' and the mask's alike.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// The curve.
    pub curve: Curve,
    /// Epochs in which the rate first rises from 0; needs `per = "step"`.
    pub warmup_epochs: usize,
    /// The share of the first rate that a cosine ends at.
    pub final_fraction: f64,
    /// When the rate moves along it.
    pub per: Per,
}

/// How two views are drawn from an image: [`Augment`](crate::augment::Augment)'s settings, each for
/// both views or one for each; but the mean and the deviation by name, so that they fit any number
/// of channels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentConfig {
    /// The least and the greatest share of the image that a crop covers.
    pub crop_area: PerView<[f64; 2]>,
    /// The least and the greatest ratio of the crop's width to its height.
    pub crop_aspect: PerView<[f64; 2]>,
    /// The probability of a rotation.
    pub rotation_probability: PerView<f64>,
    /// The least and the greatest angle of the rotation, in degrees counterclockwise.
    pub rotation_degrees: PerView<[f64; 2]>,
    /// The probability of a horizontal flip.
    pub flip_probability: PerView<f64>,
    /// The probability of a vertical flip.
    pub vertical_flip_probability: PerView<f64>,
    /// The probability of the four colour changes, which then all happen, in random order.
    pub jitter_probability: PerView<f64>,
    /// Brightness is scaled by a factor within this of 1.
    pub brightness: PerView<f64>,
    /// Contrast is scaled by a factor within this of 1.
    pub contrast: PerView<f64>,
    /// Saturation is scaled by a factor within this of 1; grey images have none.
    pub saturation: PerView<f64>,
    /// The hue is turned by up to this share of the circle; grey images have none.
    pub hue: PerView<f64>,
    /// The probability of losing all colour.
    pub grayscale_probability: PerView<f64>,
    /// The probability of a Gaussian blur.
    pub blur_probability: PerView<f64>,
    /// Taps of the blur along each axis, odd.
    pub blur_kernel: PerView<usize>,
    /// The least and the greatest standard deviation of the blur, in pixels.
    pub blur_sigma: PerView<[f64; 2]>,
    /// The probability of inverting what is brighter than one half.
    pub solarize_probability: PerView<f64>,
    /// The mean and deviation that pixels are normalised by, of views and of test images.
    pub normalize: Normalize,
}

/// How features are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Epochs between kNN evaluations during training; 0: only at the end.
    pub every: usize,
    /// Training images whose features are watched for collapse after every epoch; 0: none.
    pub watch_images: usize,
    /// Epochs of the linear probe.
    pub linear_epochs: usize,
    /// Which probes judge the end.
    pub probes: Probes,
    /// Whether raw pixels and the untrained encoder are judged beside the trained one; runs that
    /// share images, encoder and seed need that once only.
    pub baselines: bool,
}

impl ModelConfig {
    /// The encoder in words.
    pub fn in_words(&self) -> String {
        let precision = if self.precision == Precision::Bf16 { ", in bf16" } else { "" };
        format!("{}, width {}{precision}", self.encoder, self.width)
    }
}

impl RunConfig {
    /// What a run with these settings trains, in words: the method, and in brackets what is not as
    /// usual.
    pub fn title(&self) -> String {
        let base = self.method;
        if !self.mask.enabled {
            return base.to_string();
        }
        let redundancy = if self.has_redundancy() { " + redundancy loss" } else { "" };
        let (what, gradient) = match self.mask.meta {
            MetaMode::Off => (format!("{redundancy}, mask of ones"), ""),
            MetaMode::Random => (format!("{redundancy}, random mask"), ""),
            MetaMode::Regular => (format!("{redundancy}, mask as a weight"), ""),
            MetaMode::Exact => (" + MetaMask".to_string(), ""),
            MetaMode::FiniteDifference => (" + MetaMask".to_string(), "finite difference"),
            MetaMode::FirstOrder => (" + MetaMask".to_string(), "first order"),
        };
        let form = match (base, self.loss.bt_mode) {
            (Method::BarlowTwins, BtMode::OneHead) => "one head",
            (Method::BarlowTwins, BtMode::NtXent) => "NT-Xent",
            _ => "",
        };
        let trial = match self.mask.trial {
            _ if self.idle("mask.trial").is_some() => "",
            TrialStep::Contrastive => "",
            TrialStep::Joint => "joint trial step",
            TrialStep::JointShared => "shared trial step",
        };
        let steps = match self.mask.unroll {
            1 => String::new(),
            steps => format!("{steps} trial steps"),
        };
        let weight = if self.loss.w_drr == 0.0 { "no redundancy loss" } else { "" };
        let unusual = [form, gradient, trial, &steps, weight];
        let unusual: Vec<&str> = unusual.into_iter().filter(|words| !words.is_empty()).collect();
        match unusual[..] {
            [] => format!("{base}{what}"),
            _ => format!("{base}{what} ({})", unusual.join(", ")),
        }
    }
}
