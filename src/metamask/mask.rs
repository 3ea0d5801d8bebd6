//! The dimensional mask: one factor for each feature.

use rand::seq::SliceRandom;

use crate::autodiff::Var;
use crate::kernels::Real;
use crate::rng::Stream;
use crate::tensor::Tensor;

/// How logits become factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MaskForm {
    /// `s = 1 / (1 + e^-a)`, from `a = 0`: every factor starts at one half.
    #[default]
    Sigmoid,
    /// `s = a`, from `a = 1`.
    Identity,
}

impl MaskForm {
    /// The factors `s` of logits `a`, `[D]` → `[D]`.
    ///
    /// Formula: mask-1.
    pub fn factors<T: Real>(self, logits: &Var<T>) -> Var<T> {
        match self {
            MaskForm::Sigmoid => logits.sigmoid(),
            MaskForm::Identity => logits.clone(),
        }
    }
}

/// One factor for each feature, the same for every image and both views.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask<T: Real = f32> {
    /// What is learned, `[D]`.
    pub logits: Tensor<T>,
    /// How it becomes factors.
    pub form: MaskForm,
}

impl<T: Real> Mask<T> {
    /// The mask of `features` features before training.
    ///
    /// With [`MaskForm::Identity`] this is a mask of ones, which changes nothing.
    pub fn new(features: usize, form: MaskForm) -> Mask<T> {
        let start = match form {
            MaskForm::Sigmoid => T::ZERO,
            MaskForm::Identity => T::ONE,
        };
        Mask { logits: Tensor::full(&[features], start), form }
    }

    /// A mask that switches off the share `rate` of the features, drawn from `seed`, and leaves the
    /// others as they are; rounded so that one feature at least stays.
    ///
    /// # Panics
    /// If there are no features, or if `rate` is not at least 0 and below 1.
    #[track_caller]
    pub fn random(features: usize, rate: f64, seed: u64) -> Mask<T> {
        let fits = features > 0 && (0.0..1.0).contains(&rate);
        assert!(fits, "Mask::random: {rate} of {features} features");
        let off = ((rate * features as f64).round() as usize).min(features - 1);
        let mut order: Vec<usize> = (0..features).collect();
        order.shuffle(&mut Stream::new(seed, "mask").at(&[]));
        let mut mask = Mask::new(features, MaskForm::Identity);
        for &at in &order[..off] {
            mask.logits.make_mut()[at] = T::ZERO;
        }
        mask
    }

    /// The factors `s`, `[D]`: what features are multiplied with, in training and in evaluation.
    pub fn factors(&self) -> Tensor<T> {
        self.form.factors(&Var::constant(self.logits.clone())).value().clone()
    }
}
