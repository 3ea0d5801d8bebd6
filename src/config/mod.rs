//! One run's settings: what can be set, the presets, how the layers combine, the hash.
//!
//! A [`RunConfig`] is complete: every key is present in every preset and in every file the program
//! writes, so that a run folder tells all about its run and nothing hides in a default. Settings
//! come in layers, each over the one before: a preset, a TOML file, flags ([`Layers`]). This module
//! refuses to know how a setting is used; it only says whether the whole makes sense
//! ([`RunConfig::check`]).

mod check;
mod layers;

use serde::{Deserialize, Serialize};

pub(crate) use layers::hex;
pub use layers::{Layers, PRESETS};

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
    /// Steps between checkpoints; 0: one at the end of every epoch only.
    pub checkpoint_every: usize,
    /// A safetensors file to take the first weights from; empty: drawn from the seed.
    ///
    /// The encoder's tensors must all be there, under torchvision's names and in torch's layouts;
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
    pub optimizer: SgdConfig,
    /// The dimensional mask and its meta step.
    pub mask: MaskConfig,
    /// How learning rates move.
    pub schedule: ScheduleConfig,
    /// How two views are drawn from an image.
    pub augment: AugmentConfig,
    /// How features are judged.
    pub eval: EvalConfig,
}

/// The base method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// NT-Xent on the contrastive head.
    Simclr,
    /// Barlow Twins on the redundancy head; the base method alone, without a mask.
    BarlowTwins,
}

/// Which images a run sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The data set.
    pub name: DataName,
    /// Its official folder, or that folder's parent; empty: looked for in the usual places.
    ///
    /// Not part of the configuration's hash.
    pub path: String,
    /// How many training images: `"all"`, or a seeded choice of this many with class counts that
    /// differ by at most one.
    pub images: Amount,
    /// Training images held out of the run, the same choice for every seed; where it is not 0,
    /// features are judged on these instead of the test images.
    pub validation: usize,
}

/// A data set that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataName {
    /// Fashion-MNIST: four IDX files, gzipped or not.
    FashionMnist,
    /// CIFAR-10: the official binary layout.
    Cifar10,
}

/// A number of things, or all of them; in TOML a number or the word `"all"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Every one there is.
    All,
    /// This many.
    Exactly(usize),
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
    /// Output widths of the contrastive head's layers.
    pub contrastive_head: Vec<usize>,
    /// Output widths of the redundancy head's layers.
    pub redundancy_head: Vec<usize>,
}

/// An encoder architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EncoderName {
    /// Four blocks of 3x3 convolution, batch norm, ReLU and 2x2 max-pooling.
    Conv4,
    /// ResNet-18 with the CIFAR stem.
    Resnet18,
}

impl EncoderName {
    /// The first block's channels where nothing else is asked for.
    pub fn own_width(self) -> usize {
        match self {
            EncoderName::Conv4 => 32,
            EncoderName::Resnet18 => 64,
        }
    }
}

/// The losses and their weights.
///
/// With the mask the joint loss is `w_con L_con + w_drr L_drr`; a plain method is its own loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossConfig {
    /// The temperature of NT-Xent.
    pub temperature: f64,
    /// The weight of the off-diagonal terms in Barlow Twins.
    pub lambda: f64,
    /// The weight of the contrastive loss.
    pub w_con: f64,
    /// The weight of the redundancy loss.
    pub w_drr: f64,
    /// The unit of the redundancy loss.
    pub drr_unit: DrrUnit,
}

/// The unit in which the redundancy loss enters the joint loss and the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrrUnit {
    /// As published: a sum over dimensions, at the start about their number.
    Raw,
    /// Divided by the number of the head's output dimensions, at the start about 1.
    PerDimension,
}

/// Stochastic gradient descent with momentum, as torch has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdConfig {
    /// The learning rate at the start.
    pub lr: f64,
    /// The momentum.
    pub momentum: f64,
    /// The weight decay, on every parameter.
    pub weight_decay: f64,
}

/// The dimensional mask and its meta step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskConfig {
    /// Whether there is a mask; without one the base method runs alone.
    pub enabled: bool,
    /// How the mask's gradient is computed.
    pub meta: MetaMode,
    /// The loss whose gradient makes the trial step.
    pub trial: TrialStep,
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

/// How the mask's gradient is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetaMode {
    /// Exactly, second derivatives included.
    Exact,
    /// With the published finite difference in place of the second derivatives.
    FiniteDifference,
    /// Without the second-order term.
    FirstOrder,
    /// Not at all: the joint loss under a mask of ones.
    Off,
}

/// The loss whose gradient makes the trial step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialStep {
    /// The contrastive loss alone, as published.
    Contrastive,
    /// The joint loss.
    Joint,
}

/// What turns logits into the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Squash {
    /// The logistic function of logits that start at 0.
    Sigmoid,
    /// Nothing: the logits are the mask and start at 1.
    None,
}

/// How learning rates move, the networks' and the mask's alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// The curve.
    pub curve: Curve,
    /// When the rate moves along it.
    pub per: Per,
}

/// The curve of a learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// Half a cosine from the first rate to 0.
    Cosine,
    /// The first rate throughout.
    Constant,
}

/// When a learning rate moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// After every epoch, as published.
    Epoch,
    /// After every step.
    Step,
}

/// How two views are drawn from an image: [`Augment`](crate::augment::Augment)'s settings, but the
/// mean and the deviation by name, so that they fit any number of channels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentConfig {
    /// The least and the greatest area of a random resized crop, as shares of the image.
    pub crop_area: [f64; 2],
    /// The least and the greatest ratio of the crop's width to its height.
    pub crop_aspect: [f64; 2],
    /// The probability of a horizontal flip.
    pub flip_probability: f64,
    /// The probability of the four colour changes, which then all happen, in random order.
    pub jitter_probability: f64,
    /// Brightness is scaled by a factor within this of 1.
    pub brightness: f64,
    /// Contrast is scaled by a factor within this of 1.
    pub contrast: f64,
    /// Saturation is scaled by a factor within this of 1; grey images have none.
    pub saturation: f64,
    /// The hue is turned by up to this share of the circle; grey images have none.
    pub hue: f64,
    /// The probability of losing all colour.
    pub grayscale_probability: f64,
    /// The probability of a Gaussian blur.
    pub blur_probability: f64,
    /// Taps of the blur along each axis, odd.
    pub blur_kernel: usize,
    /// The least and the greatest standard deviation of the blur, in pixels.
    pub blur_sigma: [f64; 2],
    /// The mean and deviation that pixels are normalised by, of views and of test images.
    pub normalize: Normalize,
}

/// The mean and deviation that pixels are normalised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalize {
    /// ImageNet's, as published; for grey images their average over the channels.
    Imagenet,
    /// Those of the run's own training images, a channel at a time.
    Data,
}

/// How features are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Epochs between kNN evaluations during training; 0: only at the end.
    pub every: usize,
    /// Epochs of the linear probe.
    pub linear_epochs: usize,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Method::Simclr => "SimCLR",
            Method::BarlowTwins => "Barlow Twins",
        })
    }
}

impl std::fmt::Display for EncoderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            EncoderName::Conv4 => "conv4",
            EncoderName::Resnet18 => "resnet18",
        })
    }
}

impl std::fmt::Display for DataName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DataName::FashionMnist => "fashion-mnist",
            DataName::Cifar10 => "cifar10",
        })
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Amount::All => serializer.serialize_str("all"),
            Amount::Exactly(count) => serializer.serialize_u64(*count as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Amount;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number or \"all\"")
            }
            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Amount, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Signed(count), &self);
                usize::try_from(count).map(Amount::Exactly).map_err(|_| wrong())
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Amount, E> {
                Ok(Amount::Exactly(count as usize))
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Amount, E> {
                match word {
                    "all" => Ok(Amount::All),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
