//! Reductions and what is composed of them: moments, normalisation, cross-entropy.

use crate::autodiff::op::Op;
use crate::autodiff::ops::fused::l2_normalize_definition;
use crate::autodiff::{Keep, Var};
use crate::kernels::Real;
use crate::tensor::{Shape, Targets, Tensor, check_axes};

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

    /// The mean of all elements, shape `[]`; NaN of none.
    pub fn mean(&self) -> Var<T> {
        self.sum() / T::from_usize(self.value().len())
    }

    /// The sum over some axes.
    ///
    /// # Panics
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn sum_axes(&self, axes: &[usize], keep: Keep) -> Var<T> {
        check_axes("sum_axes", self.shape(), axes);
        self.sum_over(axes, keep)
    }

    /// The mean over some axes; NaN of none.
    ///
    /// # Panics
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn mean_axes(&self, axes: &[usize], keep: Keep) -> Var<T> {
        check_axes("mean_axes", self.shape(), axes);
        self.sum_over(axes, keep) / T::from_usize(count(self.shape(), axes))
    }

    /// The variance over some axes: squared deviations from the mean, divided by the count less
    /// `correction` (0 biased, 1 unbiased).
    ///
    /// # Panics
    /// If an axis does not exist or is named twice, or the count is not above `correction`.
    #[track_caller]
    pub fn var_axes(&self, axes: &[usize], keep: Keep, correction: usize) -> Var<T> {
        self.var_over("var_axes", axes, keep, correction)
    }

    /// The standard deviation over some axes: the square root of [`Var::var_axes`].
    ///
    /// Where the variance is 0, as of equal values, all derivatives are 0; the root alone has an
    /// infinite one there.
    ///
    /// # Panics
    /// As [`Var::var_axes`].
    #[track_caller]
    pub fn std_axes(&self, axes: &[usize], keep: Keep, correction: usize) -> Var<T> {
        let var = self.var_over("std_axes", axes, keep, correction);
        // 1 in the place of 0, and 0 again behind the root; NaN stays.
        let is_zero = |x: T| if x == T::ZERO { T::ONE } else { T::ZERO };
        let (zeros, others) = (var.value().map(is_zero), var.value().map(|x| T::ONE - is_zero(x)));
        (var + Var::constant(zeros)).sqrt().gate(&others)
    }

    /// [`Var::sum_axes`] over axes that are checked.
    fn sum_over(&self, axes: &[usize], keep: Keep) -> Var<T> {
        let shape = Shape::new(self.shape());
        let sums = self.sum_to(&shape.reduce(axes, Keep::Keep));
        match keep {
            Keep::Keep => sums,
            Keep::Drop => sums.reshape(&shape.reduce(axes, Keep::Drop)),
        }
    }

    /// [`Var::var_axes`] under the name of the operation that is asked for.
    #[track_caller]
    fn var_over(&self, op: &str, axes: &[usize], keep: Keep, correction: usize) -> Var<T> {
        check_axes(op, self.shape(), axes);
        let n = count(self.shape(), axes);
        assert!(n > correction, "{op}: {n} values with correction {correction}");
        // Less the first value, which is constant: its choice cancels. Equal values then deviate by
        // exactly 0, and a large mean costs no digits.
        let mut ends = self.shape().to_vec();
        axes.iter().for_each(|&axis| ends[axis] = 1);
        let first = self.value().slice(&vec![0; ends.len()], &ends, &vec![1; ends.len()]);
        let x = self - &Var::constant(first);
        let deviation = &x - &x.mean_axes(axes, Keep::Keep);
        deviation.square().sum_over(axes, keep) / T::from_usize(n - correction)
    }

    /// `log Σ e^x` along an axis: the maximum plus `ln(1 + rest)`, with the `rest` of the sum over
    /// the differences from the maximum, so that nothing overflows and no small `rest` is lost.
    ///
    /// Formula: logsumexp-1.
    ///
    /// # Panics
    /// If the axis does not exist or is empty.
    #[track_caller]
    pub fn logsumexp(&self, axis: usize, keep: Keep) -> Var<T> {
        let BelowTop { top, rest, .. } = self.below_top("logsumexp", axis);
        let y = top + rest.ln_1p();
        let shape = Shape::new(self.shape()).reduce(&[axis], keep);
        y.reshape(&shape)
    }

    /// `e^x / Σ e^x` along an axis.
    ///
    /// It is the same to the last bit for `x + c`, wherever that sum is exact; so are its
    /// derivatives.
    ///
    /// # Panics
    /// If the axis does not exist or is empty.
    #[track_caller]
    pub fn softmax(&self, axis: usize) -> Var<T> {
        let BelowTop { exp, others, rest, .. } = self.below_top("softmax", axis);
        let tops = Var::constant(others.map(|other| T::ONE - other));
        (exp + tops) / rest.shift(1.0)
    }

    /// `x - log Σ e^x` along an axis.
    ///
    /// It is the same to the last bit for `x + c`, wherever that sum is exact; so are its
    /// derivatives.
    ///
    /// Formula: softmax-1.
    ///
    /// # Panics
    /// If the axis does not exist or is empty.
    #[track_caller]
    pub fn log_softmax(&self, axis: usize) -> Var<T> {
        let BelowTop { x, rest, .. } = self.below_top("log_softmax", axis);
        x - rest.ln_1p()
    }

    /// The parts of `Σ e^x` along an axis.
    #[track_caller]
    fn below_top(&self, op: &str, axis: usize) -> BelowTop<T> {
        let fits = axis < self.rank() && self.shape()[axis] > 0;
        assert!(fits, "{op}: axis {axis} of shape {:?}", self.shape());
        let (top, places) = self.value().max_axis(axis, Keep::Keep);
        // An infinite maximum cannot be taken out: it counts as 0, and its row has no top.
        let has_top = top.map(|top| if top.is_finite() { T::ONE } else { T::ZERO });
        let mut others = Tensor::full(self.shape(), T::ONE);
        let writable = others.make_mut();
        for (&place, &has_top) in places.flat().iter().zip(has_top.as_slice()) {
            writable[place as usize] = T::ONE - has_top;
        }
        let top = self.take(&places, top.shape()).gate(&has_top);
        let x = (self - &top).gate(&others);
        let exp = x.exp().gate(&others);
        let rest = exp.sum_over(&[axis], Keep::Keep);
        let rest = rest - Var::constant(has_top.map(|has_top| T::ONE - has_top));
        BelowTop { x, top, exp, others, rest }
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
        let op = if without.is_some() { "cross_entropy_without" } else { "cross_entropy" };
        let fits = self.rank() == 2 && self.shape()[0] == target.len();
        assert!(fits, "{op}: logits {:?}, {} targets", self.shape(), target.len());
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
        self.l2_normalize_for("l2_normalize", 1.0, axis, eps)
    }

    /// [`Var::l2_normalize`] times `length`, without a pass over memory of its own.
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    pub fn l2_normalize_to(&self, length: f64, axis: usize, eps: f64) -> Var<T> {
        self.l2_normalize_for("l2_normalize_to", length, axis, eps)
    }

    #[track_caller]
    fn l2_normalize_for(&self, op: &str, length: f64, axis: usize, eps: f64) -> Var<T> {
        check_axes(op, self.shape(), &[axis]);
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
        self.dot_for("dot", other)
    }

    #[track_caller]
    fn dot_for(&self, op: &str, other: &Var<T>) -> Var<T> {
        let (a, b) = (self.shape(), other.shape());
        assert!(a == b, "{op}: shapes {a:?} and {b:?} differ");
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
        self.dot_for("dot_constant", &Var::constant(other.clone()))
    }
}

/// `Σ e^x` along an axis, by the differences from its largest term.
///
/// The top's own difference and exponential are constants, so that no derivative is a small
/// difference of large parts.
struct BelowTop<T: Real> {
    /// `x - top`.
    x: Var<T>,
    /// The first maximum along the axis, which stays with length 1.
    top: Var<T>,
    /// `e^(x - top)`, and 0 at the top.
    exp: Var<T>,
    /// 0 at the top, 1 elsewhere.
    others: Tensor<T>,
    /// `Σ e^(x - top) - 1`: the sum over the others.
    rest: Var<T>,
}

/// The number of elements along some axes.
fn count(shape: &[usize], axes: &[usize]) -> usize {
    axes.iter().map(|&axis| shape[axis]).product()
}
