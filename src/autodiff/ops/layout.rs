//! Linear operations that move numbers, in adjoint pairs; none saves a value.

use std::ops::Range;

use crate::autodiff::Var;
use crate::autodiff::op::Op;
use crate::kernels::Real;
use crate::tensor::{Indices, Keep, Tensor};

impl<T: Real> Var<T> {
    /// The same elements, row-major, under another shape.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: &[usize]) -> Var<T> {
        Var::record(self.value().reshape(shape), &[self], || Op::Reshape)
    }

    /// Axis `i` of the result is axis `axes[i]` of `self`.
    ///
    /// # Panics
    /// If `axes` is not a permutation of the axes.
    #[track_caller]
    pub fn permute(&self, axes: &[usize]) -> Var<T> {
        Var::record(self.value().permute(axes), &[self], || Op::Permute { axes: axes.to_vec() })
    }

    /// Swaps two axes.
    ///
    /// # Panics
    /// If an axis does not exist.
    #[track_caller]
    pub fn transpose(&self, a: usize, b: usize) -> Var<T> {
        let mut axes: Vec<_> = (0..self.rank()).collect();
        assert!(a.max(b) < axes.len(), "transpose: {a} and {b} of shape {:?}", self.shape());
        axes.swap(a, b);
        self.permute(&axes)
    }

    /// Repeats along new leading axes and along axes of length 1.
    ///
    /// # Panics
    /// If `self` does not broadcast to `shape`.
    #[track_caller]
    pub fn broadcast_to(&self, shape: &[usize]) -> Var<T> {
        if self.shape() == shape {
            return self.clone();
        }
        Var::record(self.value().broadcast_to(shape), &[self], || Op::BroadcastTo)
    }

    /// Sums over the axes that [`Var::broadcast_to`] from `shape` would repeat.
    ///
    /// Formula: pair-1.
    ///
    /// # Panics
    /// If `shape` does not broadcast to `self`.
    #[track_caller]
    pub fn sum_to(&self, shape: &[usize]) -> Var<T> {
        if self.shape() == shape {
            return self.clone();
        }
        Var::record(self.value().sum_to(shape), &[self], || Op::SumTo)
    }

    /// `x[start..end]` with a step, on every axis.
    ///
    /// # Panics
    /// If a range leaves its axis or a step is 0.
    #[track_caller]
    pub fn slice(&self, starts: &[usize], ends: &[usize], steps: &[usize]) -> Var<T> {
        Var::record(self.value().slice(starts, ends, steps), &[self], || Op::Slice {
            starts: starts.to_vec(),
            steps: steps.to_vec(),
        })
    }

    /// Zeros of `shape` with `self` at `starts + i * steps`: the adjoint of [`Var::slice`].
    ///
    /// # Panics
    /// If an element would fall outside.
    #[track_caller]
    pub fn embed(&self, shape: &[usize], starts: &[usize], steps: &[usize]) -> Var<T> {
        Var::record(self.value().embed(shape, starts, steps), &[self], || Op::Embed {
            starts: starts.to_vec(),
            steps: steps.to_vec(),
        })
    }

    /// A range along one axis.
    ///
    /// # Panics
    /// If the axis does not exist or the range leaves it.
    #[track_caller]
    pub fn narrow(&self, axis: usize, range: Range<usize>) -> Var<T> {
        self.narrow_for("narrow", axis, range)
    }

    /// A range along axis 0.
    ///
    /// # Panics
    /// On a scalar, or if the range leaves the axis.
    #[track_caller]
    pub fn rows(&self, range: Range<usize>) -> Var<T> {
        self.narrow_for("rows", 0, range)
    }

    #[track_caller]
    fn narrow_for(&self, op: &str, axis: usize, range: Range<usize>) -> Var<T> {
        assert!(axis < self.rank(), "{op}: shape {:?} has no axis {axis}", self.shape());
        let fits = range.start <= range.end && range.end <= self.shape()[axis];
        assert!(fits, "{op}: {range:?} of axis {axis} of {:?}", self.shape());
        let (mut starts, mut ends) = (vec![0; self.rank()], self.shape().to_vec());
        (starts[axis], ends[axis]) = (range.start, range.end);
        self.slice(&starts, &ends, &vec![1; self.rank()])
    }

    /// The operands one after the other along `axis`.
    ///
    /// # Panics
    /// With no operand, or if they differ off the axis.
    #[track_caller]
    pub fn concat(parts: &[&Var<T>], axis: usize) -> Var<T> {
        let values: Vec<_> = parts.iter().map(|part| part.value()).collect();
        Var::record(Tensor::concat(&values, axis), parts, || Op::Concat { axis })
    }

    /// Elements at flat positions.
    #[track_caller]
    pub(crate) fn take(&self, indices: &Indices, shape: &[usize]) -> Var<T> {
        let y = self.value().take(indices, shape);
        Var::record(y, &[self], || Op::Take(indices.clone()))
    }

    /// Adds elements up at flat positions of a zero tensor: the adjoint of [`Var::take`].
    #[track_caller]
    pub(crate) fn put_add(&self, indices: &Indices, shape: &[usize]) -> Var<T> {
        let y = self.value().put_add(indices, shape);
        Var::record(y, &[self], || Op::Put(indices.clone()))
    }

    /// Slices at `index` along `axis`, in that order; repeats are allowed.
    ///
    /// # Panics
    /// If the axis does not exist or an index is past its end.
    #[track_caller]
    pub fn index_select(&self, axis: usize, index: &[u32]) -> Var<T> {
        let indices = Indices::select(self.shape(), axis, index);
        let mut shape = self.shape().to_vec();
        shape[axis] = index.len();
        self.take(&indices, &shape)
    }

    /// `y[.., i, ..] = x[.., index[.., i, ..], ..]` along `axis`; `index` has the result's shape.
    ///
    /// # Panics
    /// If `index_shape` differs from the shape off the axis, or an index is past the axis' end.
    #[track_caller]
    pub fn gather(&self, axis: usize, index: &[u32], index_shape: &[usize]) -> Var<T> {
        let indices = Indices::gather(self.shape(), axis, index, index_shape);
        self.take(&indices, index_shape)
    }

    /// The first maximum along an axis; the gradient goes to it.
    ///
    /// # Panics
    /// If the axis does not exist or is empty.
    #[track_caller]
    pub fn max_axis(&self, axis: usize, keep: Keep) -> Var<T> {
        let (y, indices) = self.value().max_axis(axis, keep);
        Var::record(y, &[self], || Op::Take(indices))
    }
}
