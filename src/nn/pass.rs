//! One run of a network forward: training or evaluation, and what batch-norm saw.
//!
//! Nothing is updated behind the caller's back: a training pass hands back the batch's moments,
//! and who wants to keep running moments applies them.

use std::collections::BTreeMap;

use super::Module;
use crate::comm::Comm;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// What one batch-norm layer saw in one training pass.
#[derive(Clone, Debug)]
pub struct LayerMoments<T: Real = f32> {
    /// The layer's name.
    pub name: String,
    /// Mean of each view, `[groups, C]`.
    pub mean: Tensor<T>,
    /// Biased variance of each view, `[groups, C]`.
    pub var: Tensor<T>,
    /// How many values each mean was taken over.
    pub count: usize,
}

/// What the batch-norm layers saw in one training pass, in the order in which they ran.
pub type Moments<T> = Vec<LayerMoments<T>>;

/// One forward run: how batch-norm takes its moments, and a place for those it saw.
pub struct Pass<'a, T: Real = f32> {
    mode: Mode<'a, T>,
}

/// The two kinds of pass.
pub(super) enum Mode<'a, T: Real> {
    /// Moments of the batch, in `groups` equal pieces of it, noted in `moments`; of all of the
    /// batch, if a part of it lies on each rank of `comm`.
    Train { groups: usize, moments: Moments<T>, comm: Option<Comm<T>> },
    /// Running moments.
    Eval(&'a RunningStats<T>),
}

impl<T: Real> Pass<'static, T> {
    /// A training pass over a batch that stacks `groups` views along its first axis.
    ///
    /// Batch-norm normalises each view with its own moments, as if the views went through one by
    /// one.
    ///
    /// # Panics
    /// If there are no views.
    #[track_caller]
    pub fn train(groups: usize) -> Self {
        Pass::train_over(groups, None)
    }

    /// [`Pass::train`] with the moments of all of a batch of which a part lies on each rank.
    #[track_caller]
    pub(super) fn train_over(groups: usize, comm: Option<Comm<T>>) -> Self {
        assert!(groups > 0, "Pass::train: a batch of no views");
        Pass { mode: Mode::Train { groups, moments: Vec::new(), comm } }
    }
}

impl<'a, T: Real> Pass<'a, T> {
    /// An evaluation with the given running moments.
    pub fn eval(running: &'a RunningStats<T>) -> Self {
        Pass { mode: Mode::Eval(running) }
    }

    /// What a training pass saw; empty after an evaluation.
    pub fn into_moments(self) -> Moments<T> {
        match self.mode {
            Mode::Train { moments, .. } => moments,
            Mode::Eval(_) => Vec::new(),
        }
    }

    pub(super) fn mode(&mut self) -> &mut Mode<'a, T> {
        &mut self.mode
    }
}

/// Running mean and variance of each batch-norm layer, `[C]` each, by layer name.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningStats<T: Real = f32> {
    layers: BTreeMap<String, (Tensor<T>, Tensor<T>)>,
}

impl<T: Real> RunningStats<T> {
    /// The moments before any training: mean 0 and variance 1 for each batch-norm of `module`.
    pub fn new(module: &impl Module<T>) -> RunningStats<T> {
        let mut layers = BTreeMap::new();
        module.visit(&mut |name, var, layout| {
            // Only a batch-norm's weight is a vector.
            if let (super::Layout::Vector, Some(layer)) = (layout, name.strip_suffix(".weight")) {
                let one = Tensor::full(var.shape(), T::ONE);
                layers.insert(layer.to_string(), (Tensor::zeros(var.shape()), one));
            }
        });
        RunningStats { layers }
    }

    /// Mean and variance of the layer called `name`.
    pub fn get(&self, name: &str) -> Option<(&Tensor<T>, &Tensor<T>)> {
        self.layers.get(name).map(|(mean, var)| (mean, var))
    }

    /// Sets mean and variance of the layer called `name`, as a checkpoint holds them.
    pub fn set(&mut self, name: &str, mean: Tensor<T>, var: Tensor<T>) {
        self.layers.insert(name.to_string(), (mean, var));
    }

    /// Layer name, mean, variance; sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor<T>, &Tensor<T>)> {
        self.layers.iter().map(|(name, (mean, var))| (name.as_str(), mean, var))
    }

    /// Moves the running moments towards those of a training pass.
    ///
    /// For each view in order, with `n` values behind a moment:
    /// `mean ← (1 - momentum) mean + momentum · batch mean` and
    /// `var ← (1 - momentum) var + momentum · batch var · n / (n - 1)`; torch's momentum is 0.1.
    ///
    /// Formula: batchnorm-3.
    ///
    /// # Panics
    /// If a layer is not known here, or its moments are not `[groups, C]` for its `C` channels.
    #[track_caller]
    pub fn update(&mut self, moments: &[LayerMoments<T>], momentum: f64) {
        let (keep, take) = (T::from_f64(1.0 - momentum), T::from_f64(momentum));
        for LayerMoments { name, mean, var, count } in moments {
            let Some((running_mean, running_var)) = self.layers.get_mut(name) else {
                panic!("RunningStats::update: no layer {name}");
            };
            let c = running_mean.len();
            let fits = [mean, var].iter().all(|x| x.rank() == 2 && x.shape()[1] == c);
            let shapes = [mean.shape(), var.shape()];
            assert!(fits, "RunningStats::update: moments {shapes:?} of {name}, {c} channels");
            let unbiased = T::from_f64(*count as f64 / (*count as f64 - 1.0));
            let blend = |running: &mut Tensor<T>, batch: &Tensor<T>, factor: T| {
                let running = running.make_mut();
                for view in batch.as_slice().chunks_exact(c) {
                    for (running, &batch) in running.iter_mut().zip(view) {
                        *running = keep * *running + take * (factor * batch);
                    }
                }
            };
            blend(running_mean, mean, T::ONE);
            blend(running_var, var, unbiased);
        }
    }
}
