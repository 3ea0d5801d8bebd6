//! The words that settings can be.

use serde::{Deserialize, Serialize};

/// The base method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Barlow Twins.
    BarlowTwins,
    /// NT-Xent.
    Simclr,
    /// Prediction of a slow target network.
    Byol,
    /// Debiased contrast.
    Dcl,
    /// Debiased contrast with weights on hard negatives.
    Hcl,
    /// Contrast with the nearest neighbours in a queue.
    Nnclr,
}

impl Method {
    /// Every method, in the order of the paper's table.
    pub const ALL: [Method; 6] = [
        Method::BarlowTwins,
        Method::Simclr,
        Method::Byol,
        Method::Dcl,
        Method::Hcl,
        Method::Nnclr,
    ];

    /// The name on the command line and in files.
    pub fn key(self) -> &'static str {
        match self {
            Method::BarlowTwins => "barlow-twins",
            Method::Simclr => "simclr",
            Method::Byol => "byol",
            Method::Dcl => "dcl",
            Method::Hcl => "hcl",
            Method::Nnclr => "nnclr",
        }
    }

    /// Whether it predicts one view from the other with a head of its own.
    pub fn predicts(self) -> bool {
        matches!(self, Method::Byol | Method::Nnclr)
    }
}

/// What a run learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearnFrom {
    /// The training images.
    Train,
    /// The set's images without labels; the training images are only judged with.
    Unlabelled,
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

    /// The smallest side of images: conv4 halves them four times.
    pub fn least_side(self) -> usize {
        match self {
            EncoderName::Conv4 => 16,
            EncoderName::Resnet18 => 1,
        }
    }
}

/// Which part of a batch the encoder's batch-norm takes its statistics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNormOver {
    /// The whole batch, on whatever rank: any number of ranks trains as one does.
    #[default]
    AllRanks,
    /// The part on its own rank, without an exchange.
    EachRank,
}

/// What convolutions and linear layers multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// The same, rounded to bf16 in all but the smallest layers; sums, weights and everything else
    /// are 32-bit floats.
    Bf16,
}

/// What Barlow Twins is with `MetaMask`; its paper does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BtMode {
    /// The contrastive loss is Barlow Twins too, on a head of its own.
    TwoHeads,
    /// Barlow Twins once, on one head, without another redundancy loss.
    OneHead,
    /// The contrastive loss is NT-Xent.
    NtXent,
}

/// How the base method's projector ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadEnd {
    /// With batch-norm.
    BatchNorm,
    /// With its last linear layer.
    Linear,
}

/// The optimiser of the networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// The same, looking ahead along the momentum.
    Nesterov,
    /// Layer-wise rates.
    Lars,
    /// Adam, weight decay in the gradient.
    Adam,
    /// Adam, weight decay apart.
    Adamw,
}

/// Which of its published forms LARS has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LarsForm {
    /// Barlow Twins' code: the learning rate is applied after the momentum.
    Outside,
    /// Google's SimCLR: the learning rate is applied before it.
    Inside,
    /// solo-learn: the local rate is at most the global one.
    Clipped,
    /// solo-learn without that bound.
    Unclipped,
}

/// The parameters that weight decay and LARS's local rates apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecayScope {
    /// Every one.
    All,
    /// Not biases and batch-norm's.
    Matrices,
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
    /// Not at all: the joint loss under a mask of zeros and ones, drawn once.
    Random,
    /// As an ordinary weight: the mask descends on the joint loss in the regular step.
    Regular,
}

/// The trial step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialStep {
    /// The contrastive loss alone, as published.
    Contrastive,
    /// The joint loss.
    Joint,
    /// The joint loss, and the trial step is the regular step: a forward and a backward less.
    JointShared,
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

/// The mean and deviation that pixels are normalised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalize {
    /// ImageNet's, as published; for grey images their average over the channels.
    Imagenet,
    /// Those of the run's own training images, a channel at a time.
    Data,
}

/// The probes that judge a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probes {
    /// Those that cost little beside a short training.
    Quick,
    /// Logistic regression on all labels and the probe on 10 % of them too.
    Full,
}

/// A number of things, or all of them; in TOML a number, the word `"all"`, or `"at most 100"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Every one there is.
    All,
    /// This many; fewer are an error.
    Exactly(usize),
    /// This many, or all where there are fewer: what a preset asks of a set that it does not know.
    AtMost(usize),
}

impl Amount {
    /// The number, if one is given.
    pub fn number(self) -> Option<usize> {
        match self {
            Amount::All => None,
            Amount::Exactly(count) | Amount::AtMost(count) => Some(count),
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Amount::All => f.write_str("all"),
            Amount::Exactly(count) => count.fmt(f),
            Amount::AtMost(count) => write!(f, "at most {count}"),
        }
    }
}

/// How often a run saves its state, besides at every epoch's end; in TOML a number of steps, or a
/// time as in `"90s"`, `"10m"` or `"2h"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// After this many steps; 0: only at the end of every epoch.
    Steps(usize),
    /// After the step that ends this many seconds after the last save.
    Seconds(u64),
}

/// The units of a time, the longest first.
const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The seconds of a time like `20m`, `1h30m`, `0.5h` or `300s`; absent if it is none, not above 0,
/// or longer than a century.
pub fn seconds(text: &str) -> Option<f64> {
    let (mut seconds, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let (letter, unit) =
            UNITS.into_iter().find(|(letter, _)| rest[end..].starts_with(*letter))?;
        seconds += number * unit as f64;
        rest = &rest[end + letter.len_utf8()..];
    }
    (seconds > 0.0 && seconds < 3.2e9).then_some(seconds)
}

impl Every {
    /// The time that a text says, in whole units: what is not can be no whole second.
    fn time(text: &str) -> Option<Every> {
        let whole = !text.contains('.');
        seconds(text).filter(|_| whole).map(|seconds| Every::Seconds(seconds as u64))
    }
}

impl Serialize for Every {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Every::Steps(count) => serializer.serialize_u64(count as u64),
            Every::Seconds(seconds) => {
                let fits = |(_, unit): &(char, u64)| seconds % unit == 0;
                let (letter, unit) = UNITS.into_iter().find(fits).expect("a second always fits");
                serializer.collect_str(&format_args!("{}{letter}", seconds / unit))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Every;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of steps, or a time as in \"90s\", \"10m\" or \"2h\"")
            }
            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Every, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Signed(count), &self);
                usize::try_from(count).map(Every::Steps).map_err(|_| wrong())
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Every, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
                Every::time(text).ok_or_else(wrong)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Method::BarlowTwins => "Barlow Twins",
            Method::Simclr => "SimCLR",
            Method::Byol => "BYOL",
            Method::Dcl => "DCL",
            Method::Hcl => "HCL",
            Method::Nnclr => "NNCLR",
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

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Amount::Exactly(count) => serializer.serialize_u64(*count as u64),
            words => serializer.collect_str(words),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Amount;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, \"all\" or \"at most \" and a number")
            }
            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Amount, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Signed(count), &self);
                usize::try_from(count).map(Amount::Exactly).map_err(|_| wrong())
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Amount, E> {
                Ok(Amount::Exactly(count as usize))
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Amount, E> {
                let most = word.strip_prefix("at most ").map(|number| number.trim().parse());
                match (word, most) {
                    ("all", _) => Ok(Amount::All),
                    (_, Some(Ok(count))) => Ok(Amount::AtMost(count)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A setting of both views, or one of each; in TOML a value, or a list of two of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerView<T>(pub [T; 2]);

impl<T: Copy> PerView<T> {
    /// The same for both views.
    pub fn both(value: T) -> PerView<T> {
        PerView([value; 2])
    }
}

impl<T: Serialize + PartialEq> Serialize for PerView<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            [first, second] if first == second => first.serialize(serializer),
            both => both.serialize(serializer),
        }
    }
}

impl<'de, T: serde::de::DeserializeOwned + Copy> Deserialize<'de> for PerView<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let one = value.clone().try_into::<T>().map(PerView::both);
        one.or_else(|error| value.try_into::<[T; 2]>().map(PerView).map_err(|_| error)).map_err(
            |error| {
                let reason = error.message();
                serde::de::Error::custom(format!("{reason}; or a list of two, one for each view"))
            },
        )
    }
}
