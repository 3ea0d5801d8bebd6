//! Fused operations: one pass where the definition in `autodiff` takes several.

use crate::kernels::{Real, norm, softmax};
use crate::tensor::Tensor;
use crate::tensor::index::split;

/// What batch normalisation found in its batch, each `[groups, C]`.
#[derive(Clone, Debug)]
pub struct BatchNormStats<T: Real> {
    /// Mean over the group.
    pub mean: Tensor<T>,
    /// Biased variance over the group.
    pub var: Tensor<T>,
    /// `1 / sqrt(var + eps)`.
    pub inv_std: Tensor<T>,
}

/// Fused operations; their definitions stand in `autodiff`.
impl<T: Real> Tensor<T> {
    /// `x - log Σ e^x` over the last axis.
    ///
    /// # Panics
    /// On a scalar.
    #[track_caller]
    pub(crate) fn log_softmax_last(&self) -> Tensor<T> {
        let (rows, cols, _) = split(self.shape(), self.rank() - 1, "log_softmax");
        Tensor::filled(self.shape(), |y| softmax::log_softmax(self.as_slice(), rows, cols, y))
    }

    /// The gradient of [`Tensor::log_softmax_last`] from its output, `self`.
    pub(crate) fn log_softmax_grad(&self, g: &Tensor<T>) -> Tensor<T> {
        let (rows, cols, _) = split(self.shape(), self.rank() - 1, "log_softmax_grad");
        let (y, g) = (self.as_slice(), g.as_slice());
        Tensor::filled(self.shape(), |dx| softmax::log_softmax_grad(y, g, rows, cols, dx))
    }

    /// Normalises `[.., C]` over all axes but the last, in `groups` equal pieces of axis 0.
    ///
    /// # Panics
    /// If `groups` does not divide axis 0, or weight and bias are not `[C]`.
    #[track_caller]
    pub(crate) fn batch_norm(
        &self,
        weight: &Tensor<T>,
        bias: &Tensor<T>,
        eps: T,
        groups: usize,
    ) -> (Tensor<T>, BatchNormStats<T>) {
        let (rows, c) = norm_shape(self.shape(), groups);
        let affine = weight.shape() == [c] && bias.shape() == [c];
        let (w_shape, b_shape) = (weight.shape, bias.shape);
        assert!(affine, "batch_norm: weight {w_shape:?}, bias {b_shape:?}, x {:?}", self.shape);
        let empty = || Tensor::full(&[groups, c], T::ZERO);
        let mut stats = BatchNormStats { mean: empty(), var: empty(), inv_std: empty() };
        let (mean, var) = (stats.mean.make_mut(), stats.var.make_mut());
        let inv_std = stats.inv_std.make_mut();
        let (x, weight, bias) = (self.as_slice(), weight.as_slice(), bias.as_slice());
        let y = Tensor::filled(self.shape(), |y| {
            norm::batch_norm(x, groups, rows, c, weight, bias, eps, y, mean, inv_std, var);
        });
        (y, stats)
    }

    /// The gradients of [`Tensor::batch_norm`] in x (if wanted), weight and bias.
    pub(crate) fn batch_norm_grad(
        &self,
        stats: &BatchNormStats<T>,
        weight: &Tensor<T>,
        g: &Tensor<T>,
        wants_dx: bool,
    ) -> (Option<Tensor<T>>, Tensor<T>, Tensor<T>) {
        let groups = stats.mean.shape()[0];
        let (rows, c) = norm_shape(self.shape(), groups);
        let (x, w, g) = (self.as_slice(), weight.as_slice(), g.as_slice());
        let (mean, inv_std) = (stats.mean.as_slice(), stats.inv_std.as_slice());
        let (mut dw, mut db) = (Tensor::zeros(&[c]), Tensor::zeros(&[c]));
        let (dw_out, db_out) = (dw.make_mut(), db.make_mut());
        let mut fill = |dx: Option<&mut [T]>| {
            norm::batch_norm_grad(x, mean, inv_std, w, g, groups, rows, c, dx, dw_out, db_out);
        };
        let dx = if wants_dx {
            Some(Tensor::filled(self.shape(), |dx| fill(Some(dx))))
        } else {
            fill(None);
            None
        };
        (dx, dw, db)
    }

    /// The tangent of [`Tensor::batch_norm`] along tangents of x, weight and bias.
    pub(crate) fn batch_norm_tangent(
        &self,
        stats: &BatchNormStats<T>,
        weight: &Tensor<T>,
        tangents: [Option<&Tensor<T>>; 3],
    ) -> Tensor<T> {
        let groups = stats.mean.shape()[0];
        let (rows, c) = norm_shape(self.shape(), groups);
        let (x, w) = (self.as_slice(), weight.as_slice());
        let (mean, inv_std) = (stats.mean.as_slice(), stats.inv_std.as_slice());
        let [dx, dw, db] = tangents.map(|tangent| tangent.map(Tensor::as_slice));
        Tensor::filled(self.shape(), |dy| {
            norm::batch_norm_tangent(x, mean, inv_std, w, dx, dw, db, groups, rows, c, dy);
        })
    }
}

/// Rows per group and channels of a batch to normalise.
#[track_caller]
pub(crate) fn norm_shape(shape: &[usize], groups: usize) -> (usize, usize) {
    let fits = shape.len() >= 2 && groups > 0 && shape[0].is_multiple_of(groups) && shape[0] > 0;
    assert!(fits, "batch_norm: {groups} groups of shape {shape:?}");
    let c = shape[shape.len() - 1];
    (shape.iter().product::<usize>() / (groups * c.max(1)), c)
}
