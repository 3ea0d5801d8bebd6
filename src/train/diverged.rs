//! A step that left the finite numbers, kept so that anybody can look at it again.
//!
//! A [`Dump`] holds the state before the step, its images and its views; the seed and the step's
//! number say all about random draws. Taking the step again comes to the same bits, and this time
//! every value is looked at: [`Dump::cause`] names the first that is not finite. Where the state
//! before the step is gone, because the networks had moved when it showed, the run's steps since
//! its last checkpoint are taken again (`find`).

use std::path::Path;

use serde_json::Value;

use super::images::Images;
use super::start::last_state;
use crate::autodiff::Var;
use crate::autodiff::watch::{Statistics, Watch};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::kernels::NUMERICS;
use crate::metamask::{Memory, step};
use crate::nn::{Layout, Module, named_params};
use crate::run::container::{Container, Data, Stored};
use crate::run::folder::RunFolder;
use crate::run::model::{self, State};
use crate::run::settings::{instructions, settings};
use crate::tensor::Tensor;

/// A step to be taken again.
pub struct Dump {
    /// The run's settings.
    pub config: RunConfig,
    /// The state before the step.
    pub state: State,
    /// Steps before it.
    pub step: usize,
    /// Steps an epoch: learning rates depend on it.
    pub steps_per_epoch: usize,
    /// The indices of its images among the run's.
    pub images: Vec<usize>,
    /// Their two views, stacked, `[2N, H, W, C]`.
    pub views: Tensor,
    /// What was found when the step was kept: the place, then its values, a line each.
    pub told: Vec<String>,
    /// The vector instructions that it was computed with: others round otherwise.
    pub instructions: String,
    /// The version of the arithmetic that it was computed with.
    pub numerics: u64,
}

impl Dump {
    /// The step after `step` steps of a run, whose `state` is that before it.
    ///
    /// # Errors
    /// `Io` if images cannot be read.
    pub fn new(config: &RunConfig, images: &Images, state: State, step: usize) -> Result<Dump> {
        let (batch, epoch) = images.batch(config, step);
        Ok(Dump {
            config: config.clone(),
            state,
            step,
            steps_per_epoch: images.steps_per_epoch(config),
            views: images.pair(&batch, epoch, config.seed)?,
            images: batch,
            told: Vec::new(),
            instructions: instructions(config),
            numerics: NUMERICS,
        })
    }

    /// Takes the step and looks at every value: the place of the first that is not finite, then its
    /// statistics and those of what it was made of, a line each; nothing if all are finite.
    pub fn cause(&self) -> Vec<String> {
        let settings = settings(&self.config, self.step, self.steps_per_epoch);
        let (watch, mut state) = (Watch::default(), self.state.clone());
        let watched = &mut |_: &str, var: &Var, _: Layout| var.clone().watched(&watch);
        state.network = state.network.map_params(watched);
        if let Memory::Target(target) = &mut state.memory {
            target.encoder = target.encoder.map_params(watched);
            target.projector = target.projector.map_params(watched);
        }
        let (after, report) = step(state, &self.views, &settings);
        if let Some(found) = watch.found() {
            let inputs = found.inputs.iter().enumerate();
            let inputs = inputs.map(|(i, input)| format!("  operand {}, {input}", i + 1));
            return [found.to_string(), format!("  result, {}", found.value)]
                .into_iter()
                .chain(inputs)
                .collect();
        }
        let Some(place) = after.first_non_finite() else { return Vec::new() };
        let rate = settings.optimizer.lr();
        let mut lines = vec![
            format!("the state after the update ({place})"),
            format!("  gradient's length {:.3e}, learning rate {rate:.3e}", report.gradient_norm),
        ];
        for (name, before) in named_params(&self.state.network) {
            if place.ends_with(name.rsplit_once('.').map_or(&*name, |(layer, _)| layer)) {
                lines.push(format!("  {name} before, {}", Statistics::of(before.value())));
            }
        }
        lines
    }

    /// Writes the file at `path`: a checkpoint with the batch.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let epoch = self.step / self.steps_per_epoch;
        let mut file = model::checkpoint(&self.config, &self.state, self.step, epoch);
        let images: Vec<i64> = self.images.iter().map(|&image| image as i64).collect();
        let views = Stored::f32(self.views.shape(), self.views.to_vec());
        file.tensors.insert(IMAGES.into(), Stored::i64(&[images.len()], images));
        file.tensors.insert(VIEWS.into(), views);
        file.meta.insert(PER_EPOCH.into(), self.steps_per_epoch.into());
        file.meta.insert(TOLD.into(), self.told.clone().into());
        file.meta.insert(LEVEL.into(), self.instructions.clone().into());
        file.write(path)
    }

    /// Reads what [`Dump::write`] wrote.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Format` naming what is missing if it is no kept step.
    pub fn read(path: &Path) -> Result<Dump> {
        let mut file = Container::read(path)?;
        let missing = |what: &str| {
            let expected = format!("{what} of a step kept by dimask train");
            Error::format(path, "contents", expected, "none")
        };
        let meta = |key: &str| file.meta.get(key).ok_or_else(|| missing(key));
        let per_epoch = meta(PER_EPOCH)?.as_u64().filter(|&steps| steps > 0);
        let steps_per_epoch = per_epoch.ok_or_else(|| missing(PER_EPOCH))? as usize;
        let text = |value: &Value| value.as_str().map(String::from);
        let told = meta(TOLD)?.as_array().map(|lines| lines.iter().filter_map(text).collect());
        let told = told.ok_or_else(|| missing(TOLD))?;
        let instructions = text(meta(LEVEL)?).ok_or_else(|| missing(LEVEL))?;
        let settings = text(meta("config")?).ok_or_else(|| missing("config"))?;
        let config = RunConfig::from_toml(&settings, path)?;
        let images = match file.tensors.remove(IMAGES) {
            Some(Stored { data: Data::I64(images), .. }) => images,
            _ => return Err(missing(IMAGES)),
        };
        let views = match file.tensors.remove(VIEWS) {
            Some(Stored { data: Data::F32(views), shape }) if shape.len() == 4 => {
                Tensor::from_vec(views, &shape)
            }
            _ => return Err(missing(VIEWS)),
        };
        let (state, step) = model::restore(&config, views.shape()[3], &file, path)?;
        let images = images.into_iter().map(|image| image as usize).collect();
        let numerics = model::numerics(&file);
        Ok(Dump {
            config,
            state,
            step,
            steps_per_epoch,
            images,
            views,
            told,
            instructions,
            numerics,
        })
    }
}

// Where a dump has what a checkpoint has not.
const IMAGES: &str = "batch.images";
const VIEWS: &str = "batch.views";
const PER_EPOCH: &str = "steps_per_epoch";
const TOLD: &str = "first_non_finite";
const LEVEL: &str = "vector_instructions";

/// The first step after a run's last checkpoint, and before step `until`, that does not stay
/// finite; absent if all do.
///
/// # Errors
/// As the readers of images and checkpoints.
pub(super) fn find(
    config: &RunConfig,
    images: &Images,
    folder: &RunFolder,
    until: usize,
) -> Result<Option<Dump>> {
    let mut images = images.clone();
    let Some(start) = last_state(config, &mut images, folder, &mut ())? else { return Ok(None) };
    let mut state = start.state;
    for at in start.step..until {
        let dump = Dump::new(config, &images, state.clone(), at)?;
        let report;
        (state, report) = step(state, &dump.views, &settings(config, at, dump.steps_per_epoch));
        if report.non_finite.is_some() || state.first_non_finite().is_some() {
            return Ok(Some(dump));
        }
    }
    Ok(None)
}
