//! Reductions and what is composed of them: moments, normalisation, cross-entropy.

use crate::autodiff::op::Op;
use crate::autodiff::ops::fused::l2_normalize_definition;
use crate::autodiff::{Keep, Var};
use crate::kernels::Real;
use crate::tensor::{Shape, Targets, Tensor};

/// What becomes of the terms of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// Nothing: they are the result.
    None,
}

impl<T: Real> Var<T> {
    /// The sum of all elements, shape `[]`.
    pub fn sum(&self) -> Var<T> {
        self.sum_to(&[])
    }

    /// The mean of all elements, shape `[]`.
    pub fn mean(&self) -> Var<T> {
        self.sum().scale(1.0 / self.value().len() as f64)
    }

    /// The sum over some axes.
    ///
    /// # Panics
    /// If an axis does not exist.
    #[track_caller]
    pub fn sum_axes(&self, axes: &[usize], keep: Keep) -> Var<T> {
        let bad = axes.iter().find(|&&axis| axis >= self.rank());
        assert!(bad.is_none(), "sum_axes: shape {:?} has no axis {bad:?}", self.shape());
        let shape = Shape::new(self.shape());
        let sums = self.sum_to(&shape.reduce(axes, Keep::Keep));
        match keep {
            Keep::Keep => sums,
            Keep::Drop => sums.reshape(&shape.reduce(axes, Keep::Drop)),
        }
    }

    /// The mean over some axes.
    ///
    /// # Panics
    /// If an axis does not exist.
    #[track_caller]
    pub fn mean_axes(&self, axes: &[usize], keep: Keep) -> Var<T> {
        self.sum_axes(axes, keep).scale(1.0 / count(self.shape(), axes) as f64)
    }

    /// The variance over some axes: squared deviations divided by the count less `correction`
    /// (0 biased, 1 unbiased).
    ///
    /// # Panics
    /// If an axis does not exist or the count is not above `correction`.
    #[track_caller]
    pub fn var_axes(&self, axes: &[usize], keep: Keep, correction: usize) -> Var<T> {
        let deviation = self - &self.mean_axes(axes, Keep::Keep);
        let n = count(self.shape(), axes);
        assert!(n > correction, "var_axes: {n} values with correction {correction}");
        deviation.square().sum_axes(axes, keep).scale(1.0 / (n - correction) as f64)
    }

    /// The square root of [`Var::var_axes`].
    ///
    /// # Panics
    /// As [`Var::var_axes`].
    #[track_caller]
    pub fn std_axes(&self, axes: &[usize], keep: Keep, correction: usize) -> Var<T> {
        self.var_axes(axes, keep, correction).sqrt()
    }

    /// `log Σ e^x` along an axis, shifted by the maximum, which is constant: its choice cancels.
    ///
    /// Formula: logsumexp-1.
    ///
    /// # Panics
    /// If the axis does not exist or is empty.
    #[track_caller]
    pub fn logsumexp(&self, axis: usize, keep: Keep) -> Var<T> {
        let (max, _) = self.value().max_axis(axis, Keep::Keep);
        // An infinite maximum would turn the difference into NaN where the sum is infinite.
        let max = Var::constant(max.map(|m| if m.is_finite() { m } else { T::ZERO }));
        let y = (self - &max).exp().sum_axes(&[axis], Keep::Keep).ln() + &max;
        let shape = Shape::new(self.shape()).reduce(&[axis], keep);
        y.reshape(&shape)
    }

    /// `e^x / Σ e^x` along an axis.
    ///
    /// # Panics
    /// If the axis does not exist or is empty.
    #[track_caller]
    pub fn softmax(&self, axis: usize) -> Var<T> {
        self.log_softmax(axis).exp()
    }

    /// `x - log Σ e^x` along an axis.
    ///
    /// Formula: softmax-1.
    ///
    /// # Panics
    /// If the axis does not exist or is empty.
    #[track_caller]
    pub fn log_softmax(&self, axis: usize) -> Var<T> {
        let fits = axis < self.rank() && self.shape()[axis] > 0;
        assert!(fits, "log_softmax: axis {axis} of shape {:?}", self.shape());
        self - &self.logsumexp(axis, Keep::Keep)
    }

    /// `-log_softmax(x)[i, target[i]]`, then the mean or the sum over `i`, `[N, K]` → `[]`, or
    /// neither, `[N]`.
    ///
    /// Formula: softmax-2.
    ///
    /// # Panics
    /// If the shape is not `[target.len(), K]` or a target is not below `K`.
    #[track_caller]
    pub fn cross_entropy(&self, target: &[u32], reduction: Reduction) -> Var<T> {
        self.cross_entropy_among(target, None, reduction)
    }

    /// [`Var::cross_entropy`] of all columns but `without[i]` in row `i`.
    ///
    /// # Panics
    /// As [`Var::cross_entropy`]; if `without` is no list of a column a row, other than its target.
    #[track_caller]
    pub fn cross_entropy_without(
        &self,
        target: &[u32],
        without: &[u32],
        reduction: Reduction,
    ) -> Var<T> {
        self.cross_entropy_among(target, Some(without.to_vec()), reduction)
    }

    #[track_caller]
    fn cross_entropy_among(
        &self,
        target: &[u32],
        without: Option<Vec<u32>>,
        reduction: Reduction,
    ) -> Var<T> {
        let fits = self.rank() == 2 && self.shape()[0] == target.len();
        assert!(fits, "cross_entropy: logits {:?}, {} targets", self.shape(), target.len());
        let terms = self.cross_entropy_of(Targets { right: target.to_vec(), without });
        match reduction {
            Reduction::Mean => terms.mean(),
            Reduction::Sum => terms.sum(),
            Reduction::None => terms,
        }
    }

    /// `x / max(‖x‖₂, eps)` along an axis; where the norm is below `eps`, the divisor is constant.
    ///
    /// The clamp acts on the squared norm, before the root, so that every derivative is finite
    /// at 0 too.
    ///
    /// Formula: norm-1.
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    pub fn l2_normalize(&self, axis: usize, eps: f64) -> Var<T> {
        self.l2_normalize_to(1.0, axis, eps)
    }

    /// [`Var::l2_normalize`] times `length`, without a pass over memory of its own.
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    pub fn l2_normalize_to(&self, length: f64, axis: usize, eps: f64) -> Var<T> {
        assert!(axis < self.rank(), "l2_normalize: shape {:?} has no axis {axis}", self.shape());
        match axis + 1 == self.rank() {
            true => self.l2_normalize_last(eps, length),
            false => l2_normalize_definition(self, axis, eps).scale(length),
        }
    }

    /// The product of two variables, summed to one number. Saves both operands.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn dot(&self, other: &Var<T>) -> Var<T> {
        assert!(self.shape() == other.shape(), "dot: {:?}, {:?}", self.shape(), other.shape());
        Var::record(Tensor::scalar(self.value().dot(other.value())), &[self, other], || Op::Dot {
            a: self.value().clone(),
            b: other.value().clone(),
        })
    }

    /// The product with a constant, summed to one number.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn dot_constant(&self, other: &Tensor<T>) -> Var<T> {
        self.dot(&Var::constant(other.clone()))
    }
}

/// The number of elements along some axes.
fn count(shape: &[usize], axes: &[usize]) -> usize {
    axes.iter().map(|&axis| shape[axis]).product()
}
