//! From settings to networks and back: building a state, saving it, reading it.
//!
//! In a file the encoder's tensors have torch's layouts and bare names, `resnet18`'s those of
//! torchvision and `conv4`'s those of an `nn.Sequential`, so that PyTorch's `load_state_dict` takes
//! them; everything else has a prefix: `head.`, `mask.`, `optim.`, `memory.`.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::container::{Container, Data, Stored};
use super::settings::settings;
use crate::autodiff::Var;
use crate::config::{
    EncoderName, HeadEnd, MetaMode, Method, Precision, RunConfig, Squash, difference, hex,
};
use crate::error::{Error, Result};
use crate::kernels::{NUMERICS, Real};
use crate::metamask::{self, HeadShapes, Mask, MaskForm, Memory, Network, Target};
use crate::nn::{
    Architecture, Encode, Encoder, Init, Layout, MlpEnd, Module, Stem, params, with_params,
};
use crate::optim::OptimizerState;
use crate::ssl::Queue;
use crate::tensor::{self, Tensor};

/// All that a step hands to the next, of the networks that a configuration can name.
pub type State = metamask::State<f32, Encoder>;

/// The state before the first step, drawn from the run's seed, for images of `channels` channels.
pub fn first_state<T: Real>(config: &RunConfig, channels: usize) -> metamask::State<T, Encoder<T>> {
    let model = &config.model;
    let stem = if model.stem_relu { Stem::Relu } else { Stem::Linear };
    let architecture = match model.encoder {
        EncoderName::Conv4 => Architecture::Conv4,
        EncoderName::Resnet18 => Architecture::ResNet18 { width: model.width, stem },
    };
    let init = init(config);
    let encoder = Encoder::new(architecture, channels, &init);
    let mask = first_mask(config, encoder.features());
    let network = Network::new(encoder, &head_shapes(config), &init);
    let mut state = metamask::State::new(network, mask, &settings(config, 0, 1));
    state.memory = match config.method {
        Method::Byol => Memory::Target(Box::new(Target::of(&state.network))),
        Method::Nnclr => {
            let width = model.contrastive_head.last().copied().unwrap_or(1);
            Memory::Queue(Queue::new(config.loss.queue, width, config.seed))
        }
        _ => Memory::Empty,
    };
    state
}

/// How the layers of a run are made.
pub(crate) fn init(config: &RunConfig) -> Init {
    Init::new(config.seed).with(match config.model.precision {
        Precision::F32 => tensor::Precision::Full,
        Precision::Bf16 => tensor::Precision::Bf16,
    })
}

fn head_shapes(config: &RunConfig) -> HeadShapes {
    let model = &config.model;
    HeadShapes {
        base: model.contrastive_head.clone(),
        end: match model.contrastive_end {
            HeadEnd::BatchNorm => MlpEnd::BatchNorm,
            HeadEnd::Linear => MlpEnd::Linear,
        },
        predictor: match config.method.predicts() {
            true => model.predictor_head.clone(),
            false => Vec::new(),
        },
        redundancy: match config.has_redundancy() {
            true => model.redundancy_head.clone(),
            false => Vec::new(),
        },
    }
}

/// The mask before the first step: the one that the whole run has, if it does not learn.
fn first_mask<T: Real>(config: &RunConfig, features: usize) -> Mask<T> {
    let mask = &config.mask;
    match (mask.enabled, mask.meta, mask.squash) {
        // A mask of ones changes nothing.
        (false, _, _) | (_, MetaMode::Off, _) => Mask::new(features, MaskForm::Identity),
        (_, MetaMode::Random, _) => Mask::random(features, mask.random_rate, config.seed),
        (_, _, Squash::None) => Mask::new(features, MaskForm::Identity),
        (_, _, Squash::Sigmoid) => Mask::new(features, MaskForm::Sigmoid),
    }
}

/// The number of the networks' parameters, and of the mask's.
pub fn parameter_count(config: &RunConfig, state: &State) -> usize {
    let mut count = if config.mask.enabled { state.mask.logits.len() } else { 0 };
    state.network.visit(&mut |_, var, _| count += var.value().len());
    count
}

/// Calls `f` with every parameter's name in a file, its value and its layout, in the order of the
/// optimiser's buffers.
fn visit_named(state: &State, f: &mut dyn FnMut(String, &Tensor, Layout)) {
    let encoder = &state.network.encoder;
    encoder.visit(&mut |name, var, layout| f(name.to_string(), var.value(), layout));
    let heads = &state.network.heads;
    heads.visit(&mut |name, var, layout| f(format!("head.{name}"), var.value(), layout));
}

/// The same for BYOL's target network.
fn visit_target(target: &Target<f32, Encoder>, f: &mut dyn FnMut(String, &Tensor, Layout)) {
    target.encoder.visit(&mut |name, var, layout| {
        f(format!("memory.target.{name}"), var.value(), layout);
    });
    target.projector.visit(&mut |name, var, layout| {
        f(format!("memory.target.head.{name}"), var.value(), layout);
    });
}

/// What the networks' optimiser calls the things that it remembers.
fn config_slots(config: &RunConfig) -> &'static [&'static str] {
    settings(config, 0, 1).optimizer.slots()
}

/// The name in a file of a batch-norm layer, which the encoder or a head calls `layer`.
fn layer_name(state: &State, layer: &str) -> String {
    let mut in_head = false;
    let weight = format!("{layer}.weight");
    state.network.heads.visit(&mut |name, _, _| in_head |= name == weight);
    if in_head { format!("head.{layer}") } else { layer.to_string() }
}

fn stored(tensor: &Tensor, layout: Layout) -> Stored {
    let tensor = layout.to_torch(tensor);
    Stored::f32(tensor.shape(), tensor.to_vec())
}

/// The weights as they go into a file: parameters, batch-norm's moments, the mask.
///
/// `steps` steps of two views have been taken, which torch's `num_batches_tracked` counts.
fn weights(config: &RunConfig, state: &State, steps: usize) -> BTreeMap<String, Stored> {
    let mut tensors = BTreeMap::new();
    visit_named(state, &mut |name, value, layout| {
        tensors.insert(name, stored(value, layout));
    });
    for (layer, mean, var) in state.running.iter() {
        let layer = layer_name(state, layer);
        let mut add = |suffix: &str, value| tensors.insert(format!("{layer}.{suffix}"), value);
        add("running_mean", stored(mean, Layout::Vector));
        add("running_var", stored(var, Layout::Vector));
        add("num_batches_tracked", Stored::i64(&[], vec![2 * steps as i64]));
    }
    if config.mask.enabled {
        tensors.insert("mask.logits".into(), stored(&state.mask.logits, Layout::Vector));
    }
    tensors
}

/// SHA-256 of the weights, in hexadecimal: names, shapes and bits, in the order of names.
pub fn weights_sha256(config: &RunConfig, state: &State, steps: usize) -> String {
    let mut hasher = Sha256::new();
    for (name, tensor) in weights(config, state, steps) {
        hasher.update(format!("{name} {:?}\n", tensor.shape));
        match tensor.data {
            Data::F32(data) => data.iter().for_each(|x| hasher.update(x.to_le_bytes())),
            Data::I64(data) => data.iter().for_each(|x| hasher.update(x.to_le_bytes())),
            Data::Foreign(_) => {}
        }
    }
    hex(&hasher.finalize())
}

/// The whole state after `step` steps, with the settings and the position.
///
/// Draws are addressed by seed, epoch and image, so the seed and the number of steps are all there
/// is to say about random numbers. Nothing in here depends on clocks, threads or folders.
pub fn checkpoint(config: &RunConfig, state: &State, step: usize, epoch: usize) -> Container {
    let mut tensors = weights(config, state, step);
    for (slot, buffers) in config_slots(config).iter().zip(&state.optimizer.slots) {
        let mut buffers = buffers.iter();
        visit_named(state, &mut |name, _, layout| {
            let buffer = buffers.next().expect("a buffer for every parameter");
            tensors.insert(format!("optim.{slot}.{name}"), stored(buffer, layout));
        });
    }
    if config.mask.enabled {
        let buffer = &state.mask_optimizer.slots[0][0];
        tensors.insert("optim.momentum.mask.logits".into(), stored(buffer, Layout::Vector));
    }
    match &state.memory {
        Memory::Empty => {}
        Memory::Target(target) => visit_target(target, &mut |name, value, layout| {
            tensors.insert(name, stored(value, layout));
        }),
        Memory::Queue(queue) => {
            tensors.insert("memory.queue".into(), stored(&queue.rows, Layout::Vector));
            tensors.insert("memory.next".into(), Stored::i64(&[], vec![queue.next as i64]));
        }
    }
    let mut meta = serde_json::Map::new();
    meta.insert("format".into(), FORMAT.into());
    meta.insert("config".into(), config.canonical().into());
    meta.insert("seed".into(), config.seed.into());
    meta.insert("step".into(), step.into());
    meta.insert("epoch".into(), epoch.into());
    meta.insert("numerics".into(), NUMERICS.into());
    Container { meta, tensors }
}

/// The version of the arithmetic that a checkpoint was written with, see [`NUMERICS`].
pub fn numerics(checkpoint: &Container) -> u64 {
    // The first version was not recorded.
    checkpoint.meta.get("numerics").map_or(1, |version| version.as_u64().unwrap_or(0))
}

/// The version of a checkpoint's layout.
const FORMAT: u64 = 3;

/// Reads what [`checkpoint`] wrote: the state and the number of steps taken.
///
/// # Errors
/// `Io` or `Format` naming the file and the tensor if it is not a whole checkpoint of this
/// configuration.
pub fn read_checkpoint(config: &RunConfig, channels: usize, path: &Path) -> Result<(State, usize)> {
    restore(config, channels, &Container::read(path)?, path)
}

/// Adds to a checkpoint what pixels were normalised by: weights mean nothing without it.
pub fn store_normalization(checkpoint: &mut Container, [mean, std]: [&[f64]; 2]) {
    checkpoint.meta.insert("mean".into(), mean.into());
    checkpoint.meta.insert("std".into(), std.into());
}

/// The mean and the deviation of each channel that a checkpoint's weights were learned with.
///
/// # Errors
/// `Format` naming `path` if they are not there.
pub fn stored_normalization(checkpoint: &Container, path: &Path) -> Result<[Vec<f64>; 2]> {
    let values = |key: &str| {
        let list = checkpoint.meta.get(key).and_then(|value| value.as_array());
        let values = list.and_then(|list| list.iter().map(|x| x.as_f64()).collect::<Option<_>>());
        let missing = || Error::format(path, format!("metadata: {key}"), "numbers", "none");
        values.ok_or_else(missing)
    };
    Ok([values("mean")?, values("std")?])
}

/// The same as [`read_checkpoint`] from what was read of the file at `path`.
///
/// # Errors
/// As [`read_checkpoint`].
pub fn restore(
    config: &RunConfig,
    channels: usize,
    container: &Container,
    path: &Path,
) -> Result<(State, usize)> {
    let meta = &container.meta;
    let wrong = |place: &str, expected: String, found: String| {
        Err(Error::format(path, place, expected, found))
    };
    match meta.get("format") {
        Some(format) if *format == FORMAT => {}
        Some(other) => return wrong("format", FORMAT.to_string(), other.to_string()),
        None => return wrong("metadata", "a checkpoint of dimask".into(), "none".into()),
    }
    let (own, written) = (config.canonical(), meta.get("config").and_then(|text| text.as_str()));
    if let Some([own, other]) = difference(&own, written.unwrap_or_default()) {
        return wrong("settings", format!("the run's ({own})"), format!("others ({other})"));
    }
    let Some(step) = meta.get("step").and_then(|step| step.as_u64()) else {
        return wrong("metadata: step", "a number".into(), "none".into());
    };
    let mut source = Source { path, tensors: container.tensors.clone() };
    let mut state = first_state(config, channels);
    source.weights(&mut state, Part::All)?;
    source.mask(&mut state, config.mask.enabled)?;
    let mut slots = Vec::new();
    for slot in config_slots(config) {
        let (mut buffers, mut failed) = (Vec::new(), None);
        visit_named(&state, &mut |name, value, layout| match source.take(
            &format!("optim.{slot}.{name}"),
            value,
            layout,
        ) {
            Ok(buffer) => buffers.push(buffer),
            Err(e) => failed = failed.take().or(Some(e)),
        });
        failed.map_or(Ok(()), Err)?;
        slots.push(buffers);
    }
    let steps = step as usize;
    state.optimizer = OptimizerState { slots, steps };
    if config.mask.enabled {
        let logits = state.mask.logits.clone();
        let buffer = source.take("optim.momentum.mask.logits", &logits, Layout::Vector)?;
        state.mask_optimizer = OptimizerState { slots: vec![vec![buffer]], steps };
    }
    source.memory(&mut state)?;
    Ok((state, steps))
}

/// Puts the weights of the file at `path` into a first state.
///
/// The encoder's must all be there, with or without batch-norm's moments; heads are taken where the
/// file has them, and the mask where it is learned here and was learned there in the same form.
/// Returns what was taken, in words, and the mask that was not.
///
/// # Errors
/// `Io` or `Format` naming the file and the tensor if they do not fit.
pub fn read_first_weights(config: &RunConfig, state: &mut State, path: &Path) -> Result<String> {
    let Container { meta, tensors } = Container::read(path)?;
    let mut source = Source { path, tensors };
    source.weights(state, Part::Encoder)?;
    let mut taken = vec!["the encoder"];
    if source.tensors.keys().any(|name| name.starts_with("head.")) {
        source.weights(state, Part::Heads)?;
        taken.push("the heads");
    }
    let mut left = "";
    if config.mask.enabled && source.tensors.contains_key("mask.logits") {
        let written = meta.get("config").and_then(|text| text.as_str());
        let theirs = written.and_then(|text| RunConfig::from_toml(text, path).ok());
        let form =
            |config: &RunConfig| (config.mask.meta != MetaMode::Off).then_some(config.mask.squash);
        // Logits mean nothing in another form: a sigmoid's 0 is one half, and no mask of ones.
        match (form(config), theirs.as_ref().and_then(form)) {
            (None, _) => left = "; not the mask, which stays at ones in this run",
            (Some(own), Some(other)) if own == other => {
                source.mask(state, true)?;
                taken.push("the mask");
            }
            _ => left = "; not the mask, which was not learned in this run's form",
        }
    }
    Ok(taken.join(", ") + left)
}

/// The parts of the networks that are read together.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Encoder,
    Heads,
    All,
}

/// Tensors of a file on their way into a state.
struct Source<'a> {
    path: &'a Path,
    tensors: BTreeMap<String, Stored>,
}

impl Source<'_> {
    /// Takes the tensor called `name`, which must be shaped like `like` in torch's layout.
    fn take(&mut self, name: &str, like: &Tensor, layout: Layout) -> Result<Tensor> {
        let expected = layout.to_torch(like).shape().to_vec();
        let wanted = format!("floats of shape {expected:?}");
        let wrong = |found: String| Error::format(self.path, name, wanted.clone(), found);
        match self.tensors.remove(name) {
            None => Err(wrong("no such tensor".into())),
            // A run that begins here could only diverge.
            Some(Stored { data: Data::F32(data), .. }) if !data.iter().all(|x| x.is_finite()) => {
                Err(wrong("a number that is not finite".into()))
            }
            Some(Stored { shape, data: Data::F32(data) }) if shape == expected => {
                Ok(layout.from_torch(&Tensor::from_vec(data, &shape)))
            }
            Some(Stored { shape, data: Data::F32(_) }) => Err(wrong(format!("shape {shape:?}"))),
            Some(Stored { data: Data::I64(_), .. }) => Err(wrong("integers".into())),
            Some(Stored { data: Data::Foreign(name), .. }) => Err(wrong(format!("type {name}"))),
        }
    }

    /// Parameters and batch-norm's moments of a part of the networks.
    fn weights(&mut self, state: &mut State, part: Part) -> Result<()> {
        let mut failed: Option<Error> = None;
        let mut keep = |result: Result<Tensor>, old: &Tensor| {
            result.unwrap_or_else(|error| {
                failed.get_or_insert(error);
                old.clone()
            })
        };
        if part != Part::Heads {
            let encoder = state.network.encoder.map_params(&mut |name, var, layout| {
                let value = self.take(name, var.value(), layout);
                Var::constant(keep(value, var.value()))
            });
            state.network.encoder = encoder;
        }
        if part != Part::Encoder {
            let heads = state.network.heads.map_params(&mut |name, var, layout| {
                let value = self.take(&format!("head.{name}"), var.value(), layout);
                Var::constant(keep(value, var.value()))
            });
            state.network.heads = heads;
        }
        let mut moments = Vec::new();
        for (layer, mean, var) in state.running.iter() {
            let name = layer_name(state, layer);
            let in_part = match part {
                Part::All => true,
                Part::Heads => name.starts_with("head."),
                // Weights from elsewhere may come without moments.
                Part::Encoder => {
                    let stated = self.tensors.contains_key(&format!("{name}.running_mean"));
                    stated && !name.starts_with("head.")
                }
            };
            if in_part {
                let new_mean = self.take(&format!("{name}.running_mean"), mean, Layout::Vector);
                let new_var = self.take(&format!("{name}.running_var"), var, Layout::Vector);
                moments.push((layer.to_string(), keep(new_mean, mean), keep(new_var, var)));
            }
        }
        for (layer, mean, var) in moments {
            state.running.set(&layer, mean, var);
        }
        failed.map_or(Ok(()), Err)
    }

    /// What the base method remembers.
    fn memory(&mut self, state: &mut State) -> Result<()> {
        match &mut state.memory {
            Memory::Empty => Ok(()),
            Memory::Target(target) => {
                let mut values = Vec::new();
                visit_target(target, &mut |name, value, layout| {
                    values.push(self.take(&name, value, layout).map(Var::constant));
                });
                let mut values = values.into_iter().collect::<Result<Vec<_>>>()?;
                let projector = values.split_off(params(&target.encoder).len());
                target.encoder = with_params(&target.encoder, values);
                target.projector = with_params(&target.projector, projector);
                Ok(())
            }
            Memory::Queue(queue) => {
                let rows = self.take("memory.queue", &queue.rows, Layout::Vector)?;
                let next = match self.tensors.remove("memory.next") {
                    Some(Stored { data: Data::I64(next), .. }) => next.first().copied(),
                    _ => None,
                };
                let legal = |next: &usize| *next < rows.shape()[0];
                let next = next.and_then(|next| usize::try_from(next).ok()).filter(legal);
                let Some(next) = next else {
                    let expected = format!("a row of the {} in the queue", rows.shape()[0]);
                    return Err(Error::format(self.path, "memory.next", expected, "none"));
                };
                *queue = Queue { rows, next };
                Ok(())
            }
        }
    }

    fn mask(&mut self, state: &mut State, enabled: bool) -> Result<()> {
        if enabled {
            let logits = state.mask.logits.clone();
            state.mask.logits = self.take("mask.logits", &logits, Layout::Vector)?;
        }
        Ok(())
    }
}
