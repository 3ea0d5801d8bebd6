//! What a run will cost, from a few real steps on noise and a judgement of a few images.

use std::time::Instant;

use super::evaluate::{EPOCH_BANK, Judge, extent};
use super::images::Images;
use crate::config::RunConfig;
use crate::data::Dataset;
use crate::error::Result;
use crate::eval::working_bytes;
use crate::kernels::alloc::{self, Stats};
use crate::metamask::step;
use crate::nn::Encode;
use crate::rng::Stream;
use crate::run::metrics::{memory_bytes, peak_memory_bytes};
use crate::run::model::{self, State};
use crate::run::settings::settings;
use crate::tensor::Tensor;

/// What a run will cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The networks' parameters, and the mask's.
    pub parameters: usize,
    /// Steps in all.
    pub steps: usize,
    /// Steps that are done already.
    pub steps_done: usize,
    /// Time of the steps that are left, in seconds, random views included.
    pub seconds: f64,
    /// Time of the judgements that are left, in seconds.
    pub judging_seconds: f64,
    /// The most memory, in bytes, where the system says how much is used: the images', the steps'
    /// with what their pool keeps, and judging's.
    pub peak_memory_bytes: Option<u64>,
}

/// Images of the larger of the two steps that are timed.
const LARGER: usize = 32;

/// What the parts of a judgement cost, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judging {
    /// An image's way through the encoder.
    pub feature: f64,
    /// The probes on features, a training image.
    pub probe: f64,
    /// The probes on raw pixels, a training image.
    pub raw_probe: f64,
    /// Watching for collapse after an epoch.
    pub watch: f64,
}

impl Judging {
    /// Judges a few of the images under these settings.
    ///
    /// # Errors
    /// As the judge, if a feature is not finite.
    pub fn measure(config: &RunConfig, images: &Images) -> Result<Judging> {
        const SAMPLE: usize = 256;
        let head = |set: &Dataset| set.subset(&(0..set.len().min(SAMPLE)).collect::<Vec<_>>());
        let (bank, test) = (head(&images.bank), head(&images.test));
        let few = Images { train: head(&images.train), bank, test, ..images.clone() };
        let (rows, judged) = (few.bank.len().max(1) as f64, few.test.len() as f64);
        let judge = Judge::new(&few, config);
        let state = model::first_state(config, images.train.channels);
        let timed = |f: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
            let clock = Instant::now();
            f()?;
            Ok(clock.elapsed().as_secs_f64())
        };
        let mut features = judge.masked_features(&state)?; // Once before, for the memory's sake.
        let feature = timed(&mut || {
            features = judge.masked_features(&state)?;
            Ok(())
        })? / (rows + judged);
        let probe = timed(&mut || judge.scores(features.each_ref()).map(|_| ()))? / rows;
        let raw_probe = timed(&mut || judge.raw_scores().map(|_| ()))? / rows;
        let watched = config.eval.watch_images.min(images.train.len()) as f64;
        let watch =
            timed(&mut || judge.spread(&state).map(|_| ()))? + (watched - rows).max(0.0) * feature;
        Ok(Judging { feature, probe, raw_probe, watch })
    }

    /// Judging `rows` of a run after its last epoch, with a bank of `train` images.
    pub fn rows(&self, rows: usize, train: usize, test: usize) -> f64 {
        rows as f64 * (self.feature * (train + test) as f64 + self.probe * train as f64)
    }

    /// Judging raw pixels and the untrained encoder.
    pub fn baselines(&self, train: usize, test: usize) -> f64 {
        self.rows(1, train, test) + self.raw_probe * train as f64
    }

    /// What is judged after every epoch: the watched images, and `val` that choose the best epoch.
    pub fn epoch(&self, train: usize, val: usize) -> f64 {
        let looked_at = if val > 0 { val + train.min(EPOCH_BANK) } else { 0 };
        self.watch + self.feature * looked_at as f64
    }
}

/// Batches whose views are in memory at a time.
const BATCHES_AHEAD: usize = 3;

/// Takes steps with two small batches and extends time and memory linearly to the run's batch;
/// `steps_done` steps are behind the run.
///
/// Small batches use the machine less well than large ones, so the time is rather too long. What
/// buffers hold is counted, and so is what the pool will keep of them; the rest of judging is
/// computed from the shapes.
///
/// # Errors
/// As [`Judging::measure`].
pub fn estimate(config: &RunConfig, images: &Images, steps_done: usize) -> Result<Estimate> {
    let state = model::first_state(config, images.train.channels);
    let parameters = model::parameter_count(config, &state);
    let [height, width, channels] = images.train.size();
    let steps = config.epochs * images.steps_per_epoch(config);
    let settings = settings(config, 0, images.steps_per_epoch(config));

    let noise = |batch: usize| {
        use rand::Rng;
        let mut rng = Stream::new(config.seed, "estimate").at(&[batch as u64]);
        let shape = [2 * batch, height, width, channels];
        Tensor::from_fn(&shape, |_| rng.random::<f32>() - 0.5)
    };
    let buffers = || {
        let Stats { live_bytes, pooled_bytes, .. } = alloc::stats();
        live_bytes + pooled_bytes
    };
    let loaded = peak_memory_bytes();
    let outside = memory_bytes().map(|bytes| bytes.saturating_sub(buffers() as u64));
    let timed = |mut state: State, batch: usize| {
        alloc::trim(); // What the pool keeps below is this batch's.
        let x = noise(batch);
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            (state, _) = step(state, &x, &settings);
            best = best.min(start.elapsed().as_secs_f64());
        }
        (state, best, [alloc::stats().peak_bytes, buffers()].map(|bytes| bytes as f64))
    };
    let larger = config.batch_size.min(LARGER);
    let smaller = (larger / 2).max(2);
    let (state, time_smaller, memory_smaller) = timed(state, smaller);
    let (_, time_larger, memory_larger) = timed(state, larger);
    let extend = |at_smaller: f64, at_larger: f64| {
        let slope = (at_larger - at_smaller).max(0.0) / (larger - smaller).max(1) as f64;
        at_larger + slope * (config.batch_size - larger) as f64
    };
    let batch: Vec<usize> = (0..config.batch_size).collect();
    let clock = Instant::now();
    drop(images.pair(&batch, 0, config.seed)?);
    let a_step = extend(time_smaller, time_larger) + clock.elapsed().as_secs_f64();

    let [live, held] = [0, 1].map(|at| extend(memory_smaller[at], memory_larger[at]) as usize);
    alloc::trim();
    let judging = Judging::measure(config, images)?;
    let live = live.max(alloc::stats().peak_bytes);
    // Judging needs buffers of other sizes: the pool keeps both as long as it may.
    let held = (held + buffers()).clamp(live, Stats::most_bytes(live));
    let (train, test) = (images.bank.len(), images.test.len());
    let val = images.val.as_ref().map_or(0, Dataset::len);
    let left = steps.saturating_sub(steps_done);
    let epochs_left = left.div_ceil(images.steps_per_epoch(config));
    let rows = 1 + usize::from(val > 0);
    let baselines = if config.eval.baselines { judging.baselines(train, test) } else { 0.0 };
    let unmasked = if config.mask.enabled { judging.probe * train as f64 } else { 0.0 };
    let judging_seconds = epochs_left as f64 * judging.epoch(train, val)
        + judging.rows(rows, train, test)
        + unmasked
        + baselines;

    let image = height * width * channels;
    let ahead = BATCHES_AHEAD * 2 * config.batch_size * image * size_of::<f32>();
    let judged = judged_bytes(config, images);
    let peak = outside.map(|outside| outside + (held + ahead + judged) as u64);
    let peak = peak.zip(loaded).map(|(peak, loaded)| peak.max(loaded));
    Ok(Estimate {
        parameters,
        steps,
        steps_done,
        seconds: left as f64 * a_step,
        judging_seconds,
        peak_memory_bytes: peak,
    })
}

/// What judging a run after its last epoch holds at its peak, but for the encoder's own buffers.
fn judged_bytes(config: &RunConfig, images: &Images) -> usize {
    let (bank, test) = (&images.bank, &images.test);
    if bank.labels.is_none() || test.is_empty() {
        return 0;
    }
    let rows = [bank.len(), test.len()];
    let probes = extent(config.eval.probes);
    let working = |d: usize| working_bytes(rows, d, bank.classes, probes);
    let state: model::State = model::first_state(config, images.train.channels);
    let features = state.network.encoder.features();
    // With and without the mask.
    let held = 2 * features * (rows[0] + rows[1]) * size_of::<f32>();
    let raw = match config.eval.baselines {
        true => working(images.train.size().iter().product()),
        false => 0,
    };
    raw.max(held + working(features))
}
