//! The dimensional mask: one factor for each feature.

use crate::autodiff::Var;
use crate::kernels::Real;
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

    /// The factors `s`, `[D]`: what features are multiplied with, in training and in evaluation.
    pub fn factors(&self) -> Tensor<T> {
        self.form.factors(&Var::constant(self.logits.clone())).value().clone()
    }
}
