//! What a run will cost, from a few real steps on noise.

use std::time::Instant;

use super::images::Images;
use super::metrics::peak_memory_bytes;
use super::model::{self, State};
use super::settings::settings;
use crate::config::RunConfig;
use crate::metamask::step;
use crate::rng::Stream;
use crate::tensor::Tensor;

/// What a run will cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The networks' parameters, and the mask's.
    pub parameters: usize,
    /// Steps in all.
    pub steps: usize,
    /// Training time in seconds, without augmentation and evaluation.
    pub seconds: f64,
    /// The most memory, in bytes, where the system says how much is used.
    pub peak_memory_bytes: Option<u64>,
}

/// Images of the larger of the two steps that are timed.
const LARGER: usize = 32;

/// Takes steps with two small batches and extends time and memory linearly to the run's batch.
///
/// Small batches use the machine less well than large ones, so the time is rather too long.
pub fn estimate(config: &RunConfig, images: &Images) -> Estimate {
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
    let timed = |mut state: State, batch: usize| {
        let x = noise(batch);
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            (state, _) = step(state, &x, &settings);
            best = best.min(start.elapsed().as_secs_f64());
        }
        (state, best, peak_memory_bytes())
    };
    let larger = config.batch_size.min(LARGER);
    let smaller = (larger / 2).max(2);
    let (state, time_smaller, memory_smaller) = timed(state, smaller);
    let (_, time_larger, memory_larger) = timed(state, larger);
    let extend = |at_smaller: f64, at_larger: f64| {
        let slope = (at_larger - at_smaller).max(0.0) / (larger - smaller).max(1) as f64;
        at_larger + slope * (config.batch_size - larger) as f64
    };
    let memory = memory_smaller.zip(memory_larger);
    Estimate {
        parameters,
        steps,
        seconds: steps as f64 * extend(time_smaller, time_larger),
        peak_memory_bytes: memory.map(|(a, b)| extend(a as f64, b as f64) as u64),
    }
}
