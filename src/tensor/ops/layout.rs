//! The same numbers in other places, their adjoints, and reductions.

use crate::kernels::alloc::Buffer;
use crate::kernels::{Real, elementwise, index, layout, maxima, reduce};
use crate::tensor::Tensor;
use crate::tensor::index::{Indices, split};
use crate::tensor::shape::{Keep, broadcast_for, check_axes};

/// Layout: the same numbers in other places, and the adjoints.
impl<T: Real> Tensor<T> {
    /// Axis `i` of the result is axis `axes[i]` of `self`.
    ///
    /// # Panics
    /// If `axes` is not a permutation of the axes.
    #[track_caller]
    #[inline(never)]
    pub fn permute(&self, axes: &[usize]) -> Tensor<T> {
        let mut seen = axes.to_vec();
        seen.sort_unstable();
        let all = seen.iter().copied().eq(0..self.rank());
        assert!(all, "permute: {axes:?} does not permute the axes of {:?}", self.shape);
        let shape: Vec<_> = axes.iter().map(|&axis| self.shape[axis]).collect();
        Tensor::passed("permute", self.len(), &shape, |y| {
            layout::permute(self.as_slice(), self.shape(), axes, y);
        })
    }

    /// Repeats along new leading axes and along axes of length 1. The adjoint of `sum_to`.
    ///
    /// # Panics
    /// If `self` does not broadcast to `shape`.
    #[track_caller]
    #[inline(never)]
    pub fn broadcast_to(&self, shape: &[usize]) -> Tensor<T> {
        let fits = broadcast_for("broadcast_to", self.shape(), shape).is_some_and(|b| *b == *shape);
        assert!(fits, "broadcast_to: {:?} does not broadcast to {shape:?}", self.shape);
        let x_shape = padded(self.shape(), shape.len());
        Tensor::passed("broadcast_to", self.len(), shape, |y| {
            layout::broadcast_to(self.as_slice(), &x_shape, shape, y);
        })
    }

    /// Sums over the axes that [`Tensor::broadcast_to`] from `shape` would repeat.
    ///
    /// # Panics
    /// If `shape` does not broadcast to `self`.
    #[track_caller]
    #[inline(never)]
    pub fn sum_to(&self, shape: &[usize]) -> Tensor<T> {
        if *self.shape == *shape {
            return self.clone();
        }
        let fits = broadcast_for("sum_to", shape, self.shape()).is_some_and(|b| *b == *self.shape);
        assert!(fits, "sum_to: {shape:?} does not broadcast to {:?}", self.shape);
        let target = padded(shape, self.rank());
        let kept: Vec<_> = self.shape.iter().zip(&target).map(|(x, y)| x == y).collect();
        Tensor::passed("sum_to", self.len(), shape, |y| {
            reduce::sum_to(self.as_slice(), self.shape(), &kept, y);
        })
    }

    /// `x[start..end]` with a step, on every axis.
    ///
    /// # Panics
    /// If a range leaves its axis or a step is 0.
    #[track_caller]
    #[inline(never)]
    pub fn slice(&self, starts: &[usize], ends: &[usize], steps: &[usize]) -> Tensor<T> {
        let rank = self.rank();
        let fits = [starts.len(), ends.len(), steps.len()] == [rank; 3]
            && (0..rank).all(|a| starts[a] <= ends[a] && ends[a] <= self.shape[a] && steps[a] > 0);
        assert!(fits, "slice: {starts:?}..{ends:?} step {steps:?} of {:?}", self.shape);
        let shape: Vec<_> = (0..rank).map(|a| (ends[a] - starts[a]).div_ceil(steps[a])).collect();
        let len = shape.iter().product();
        Tensor::passed("slice", len, &shape, |y| {
            layout::slice(self.as_slice(), self.shape(), starts, steps, &shape, y);
        })
    }

    /// Zeros of `shape` with `self` at `starts + i * steps`: the adjoint of [`Tensor::slice`].
    ///
    /// # Panics
    /// If an element would fall outside, or a step is 0.
    #[track_caller]
    #[inline(never)]
    pub fn embed(&self, shape: &[usize], starts: &[usize], steps: &[usize]) -> Tensor<T> {
        let inside = |a: usize| {
            let way = self.shape[a].saturating_sub(1).checked_mul(steps[a]);
            let last = way.and_then(|way| way.checked_add(starts[a]));
            steps[a] > 0 && (self.shape[a] == 0 || last.is_some_and(|last| last < shape[a]))
        };
        let fits = [shape.len(), starts.len(), steps.len()] == [self.rank(); 3]
            && (0..self.rank()).all(inside);
        assert!(fits, "embed: {:?} at {starts:?} step {steps:?} of {shape:?}", self.shape);
        Tensor::passed("embed", self.len(), shape, |y| {
            layout::embed(self.as_slice(), self.shape(), starts, steps, shape, y);
        })
    }

    /// The operands one after the other along `axis`.
    ///
    /// # Panics
    /// With no operand, or if they differ off the axis.
    #[track_caller]
    #[inline(never)]
    pub fn concat(parts: &[&Tensor<T>], axis: usize) -> Tensor<T> {
        assert!(!parts.is_empty(), "concat: no operands");
        let (outer, _, inner) = split(parts[0].shape(), axis, "concat");
        let mut shape = parts[0].shape().to_vec();
        for part in parts {
            let same = part.rank() == shape.len()
                && (0..shape.len()).all(|a| a == axis || part.shape[a] == shape[a]);
            assert!(same, "concat: {:?} and {:?} along axis {axis}", parts[0].shape, part.shape);
        }
        shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
        let row = shape[axis] * inner;
        let n_read = parts.iter().map(|part| part.len()).sum();
        Tensor::passed("concat", n_read, &shape, |y| {
            let mut at = 0;
            for part in parts {
                let width = part.shape[axis] * inner;
                for o in 0..outer {
                    let to = o * row + at;
                    elementwise::map(
                        &part.as_slice()[o * width..][..width],
                        &mut y[to..to + width],
                        |x| x,
                    );
                }
                at += width;
            }
        })
    }

    /// Elements at flat positions: `y[i] = x[indices[i]]`, with the given shape.
    ///
    /// # Panics
    /// If the counts do not match or a position is past the end.
    #[track_caller]
    #[inline(never)]
    pub(crate) fn take(&self, indices: &Indices, shape: &[usize]) -> Tensor<T> {
        let (x, flat) = (self.as_slice(), indices.flat());
        indices.check("take", shape, self.shape());
        Tensor::passed("take", flat.len(), shape, |y| index::take(x, flat, indices.blocks(), y))
    }

    /// Adds the elements up at flat positions of a zero tensor: the adjoint of [`Tensor::take`].
    ///
    /// # Panics
    /// If the counts do not match or a position is past the end.
    #[track_caller]
    #[inline(never)]
    pub(crate) fn put_add(&self, indices: &Indices, shape: &[usize]) -> Tensor<T> {
        let (g, flat) = (self.as_slice(), indices.flat());
        indices.check("put_add", self.shape(), shape);
        Tensor::passed("put_add", flat.len(), shape, |y| {
            index::put_add(g, flat, indices.blocks(), y);
        })
    }
}

/// `shape` with ones in front, up to `rank` axes.
fn padded(shape: &[usize], rank: usize) -> Vec<usize> {
    let mut dims = vec![1; rank - shape.len()];
    dims.extend_from_slice(shape);
    dims
}

/// Reductions.
impl<T: Real> Tensor<T> {
    /// The sum of all elements, shape `[]`.
    #[inline(never)]
    pub fn sum(&self) -> Tensor<T> {
        Tensor::scalar(reduce::sum(self.as_slice()))
    }

    /// The sum over some axes.
    ///
    /// # Panics
    /// If an axis does not exist or is named twice.
    #[track_caller]
    #[inline(never)]
    pub fn sum_axes(&self, axes: &[usize], keep: Keep) -> Tensor<T> {
        check_axes("sum_axes", &self.shape, axes);
        let sums = self.sum_to(&self.shape.reduce(axes, Keep::Keep));
        sums.reshape(&self.shape.reduce(axes, keep))
    }

    /// The first maximum along an axis, and where it is.
    ///
    /// # Panics
    /// If the axis does not exist or is empty.
    #[track_caller]
    #[inline(never)]
    pub fn max_axis(&self, axis: usize, keep: Keep) -> (Tensor<T>, Indices) {
        let (outer, len, inner) = split(self.shape(), axis, "max_axis");
        assert!(len > 0, "max_axis: axis {axis} of {:?} is empty", self.shape);
        let mut flat = Buffer::stale(outer * inner);
        let shape = self.shape.reduce(&[axis], keep);
        let y = Tensor::passed("max_axis", self.len(), &shape, |y| {
            maxima::max_axis(self.as_slice(), outer, len, inner, y, &mut flat);
        });
        (y, Indices::from_buffer(flat, outer))
    }
}
