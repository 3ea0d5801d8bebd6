//! Matrix products, convolutions and window maxima.

use std::fmt;

use crate::kernels::alloc::Buffer;
use crate::kernels::profile::{self, Work};
use crate::kernels::{Real, conv, gemm, pool, transpose};
use crate::tensor::{Geometry, Indices, Precision, Shape, Tensor, Trans};

/// Products.
impl<T: Real> Tensor<T> {
    /// The matrix product over the last two axes, with either operand stored transposed.
    ///
    /// `Nn`: `[.., M, K] x [.., K, N]`; `Nt`: `b` is `[.., N, K]`; `Tn`: `a` is `[.., K, M]`.
    /// The leading axes must be equal. With [`Precision::Bf16`] f32 operands are rounded.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_trans(&self, other: &Tensor<T>, trans: Trans, precision: Precision) -> Tensor<T> {
        self.matmul_for(&"matmul_trans", other, trans, precision)
    }

    /// [`Tensor::matmul_trans`] for the operation `op`, which a complaint names.
    #[track_caller]
    #[inline(never)]
    pub(crate) fn matmul_for(
        &self,
        op: &dyn fmt::Display,
        other: &Tensor<T>,
        trans: Trans,
        precision: Precision,
    ) -> Tensor<T> {
        let (a, b) = (self.shape(), other.shape());
        let both = a.len() >= 2 && a.len() == b.len() && a[..a.len() - 2] == b[..b.len() - 2];
        assert!(both, "{op}: shapes {a:?} and {b:?}");
        let (lead, [a0, a1]) = (&a[..a.len() - 2], [a[a.len() - 2], a[a.len() - 1]]);
        let [b0, b1] = [b[b.len() - 2], b[b.len() - 1]];
        let ((m, k), (k_b, n)) = match trans {
            Trans::Nn => ((a0, a1), (b0, b1)),
            Trans::Nt => ((a0, a1), (b1, b0)),
            Trans::Tn => ((a1, a0), (b0, b1)),
        };
        assert!(k == k_b, "{op}: inner sizes {k} and {k_b}, shapes {a:?} and {b:?}");
        let batch: usize = lead.iter().product();
        let shape = Shape::of("matmul", &[lead, &[m, n]].concat());
        let (a, b) = (self.as_slice(), other.as_slice());
        let _span = profile::span("matmul", Work::Flop(2 * batch * m * n * k));
        // A Gram matrix: half of it says all.
        let full = precision == Precision::Full;
        if trans == Trans::Nt && batch == 1 && full && std::ptr::eq(a, b) {
            return Tensor::filled(shape, |y| gemm::gram(n, k, a, y));
        }
        Tensor::filled(shape, |y| gemm::gemm_batched(precision, trans, batch, m, n, k, a, b, y))
    }

    /// `x + xᵀ` of the last two axes.
    #[inline(never)]
    pub(crate) fn plus_transposed(&self) -> Tensor<T> {
        let (last, n) = (self.rank() - 1, self.shape()[self.rank() - 1]);
        if last > 1 {
            let axes: Vec<usize> = (0..last - 1).chain([last, last - 1]).collect();
            return self + &self.permute(&axes);
        }
        Tensor::passed("plus_transposed", 2 * self.len(), self.shape(), |y| {
            transpose::plus_transposed(self.as_slice(), n, y);
        })
    }

    /// `a b`: `[.., M, K] x [.., K, N]` → `[.., M, N]`, equal leading axes.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul(&self, other: &Tensor<T>) -> Tensor<T> {
        self.matmul_for(&"matmul", other, Trans::Nn, Precision::Full)
    }

    /// `a bᵀ`: `[.., M, K] x [.., N, K]` → `[.., M, N]`, equal leading axes.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_nt(&self, other: &Tensor<T>) -> Tensor<T> {
        self.matmul_for(&"matmul_nt", other, Trans::Nt, Precision::Full)
    }

    /// `aᵀ b`: `[.., K, M] x [.., K, N]` → `[.., M, N]`, equal leading axes.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_tn(&self, other: &Tensor<T>) -> Tensor<T> {
        self.matmul_for(&"matmul_tn", other, Trans::Tn, Precision::Full)
    }

    /// Cross-correlation: `x [N, H, W, C]`, `w [KH, KW, C, O]` → `[N, OH, OW, O]`.
    ///
    /// # Panics
    /// If the shapes are not those of the geometry.
    #[track_caller]
    #[inline(never)]
    pub fn conv2d(&self, w: &Tensor<T>, geometry: &Geometry) -> Tensor<T> {
        let [x_shape, w_shape, y_shape] = conv_shapes("conv2d", geometry);
        check_operands("conv2d", [("x", self, x_shape), ("w", w, w_shape)]);
        let (x, w) = (self.as_slice(), w.as_slice());
        let _span = profile::span("conv2d", work(geometry));
        Tensor::filled(y_shape, |y| conv::conv2d(geometry, x, w, y))
    }

    /// The adjoint of [`Tensor::conv2d`] in `x`, at `g [N, OH, OW, O]`, `self` being `w`.
    ///
    /// # Panics
    /// If the shapes are not those of the geometry.
    #[track_caller]
    #[inline(never)]
    pub fn conv2d_input_grad(&self, g: &Tensor<T>, geometry: &Geometry) -> Tensor<T> {
        let [x_shape, w_shape, y_shape] = conv_shapes("conv2d_input_grad", geometry);
        check_operands("conv2d_input_grad", [("w", self, w_shape), ("g", g, y_shape)]);
        let (w, g) = (self.as_slice(), g.as_slice());
        let _span = profile::span("conv2d_input_grad", work(geometry));
        Tensor::filled(x_shape, |dx| conv::conv2d_input_grad(geometry, w, g, dx))
    }

    /// The adjoint of [`Tensor::conv2d`] in `w`, at `g [N, OH, OW, O]`, `self` being `x`.
    ///
    /// # Panics
    /// If the shapes are not those of the geometry.
    #[track_caller]
    #[inline(never)]
    pub fn conv2d_weight_grad(&self, g: &Tensor<T>, geometry: &Geometry) -> Tensor<T> {
        let [x_shape, w_shape, y_shape] = conv_shapes("conv2d_weight_grad", geometry);
        check_operands("conv2d_weight_grad", [("x", self, x_shape), ("g", g, y_shape)]);
        let (x, g) = (self.as_slice(), g.as_slice());
        let _span = profile::span("conv2d_weight_grad", work(geometry));
        Tensor::filled(w_shape, |dw| conv::conv2d_weight_grad(geometry, x, g, dw))
    }

    /// Window maxima of `[N, H, W, C]`, and where they are; padding counts as minus infinity.
    ///
    /// # Panics
    /// If the window does not fit, or the padding is not below the window's side.
    #[track_caller]
    #[inline(never)]
    pub fn max_pool2d(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> (Tensor<T>, Indices) {
        let [n, h, w, c] = images(self.shape(), "max_pool2d");
        let [oh, ow] = window_counts([h, w], kernel, stride, padding, "max_pool2d");
        let mut flat = Buffer::stale(n * oh * ow * c);
        let y = Tensor::passed("max_pool2d", self.len(), &[n, oh, ow, c], |y| {
            let x = self.as_slice();
            pool::max_pool2d(x, n, h, w, c, kernel, stride, padding, y, &mut flat);
        });
        (y, Indices::from_buffer(flat, n))
    }
}

/// What a convolution and its gradients cost, with the taps that fall into the padding.
fn work(geometry: &Geometry) -> Work {
    let Geometry { kh, kw, c, .. } = *geometry;
    Work::Flop(2 * kh * kw * c * geometry.y_len())
}

/// The shapes of input, weights and output of a convolution that exists.
#[track_caller]
fn conv_shapes(op: &str, geometry: &Geometry) -> [Shape; 3] {
    let Geometry { n, h, w, c, kh, kw, o, stride, padding, .. } = *geometry;
    let fits = windows_fit([h, w], [kh, kw], stride, padding);
    assert!(fits, "{op}: window {:?} of {geometry:?}", [kh, kw]);
    let y = [n, geometry.out_h(), geometry.out_w(), o];
    // Not by `map`: a closure would report itself as the place of the panic.
    [Shape::of(op, &[n, h, w, c]), Shape::of(op, &[kh, kw, c, o]), Shape::of(op, &y)]
}

/// Whether windows have a side and a step, and one fits into the padded size along both axes.
pub(crate) fn windows_fit(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> bool {
    (0..2).all(|a| {
        let padded = padding[a].checked_mul(2).and_then(|zeros| zeros.checked_add(size[a]));
        stride[a] > 0 && kernel[a] > 0 && padded.is_some_and(|padded| padded >= kernel[a])
    })
}

/// Refuses operands of other shapes than those of the geometry.
#[track_caller]
fn check_operands<T: Real>(op: &str, operands: [(&str, &Tensor<T>, Shape); 2]) {
    for (name, tensor, shape) in operands {
        assert!(tensor.shape == shape, "{op}: {name} is {:?}, not {shape:?}", tensor.shape);
    }
}

/// The four axes of a batch of images.
#[track_caller]
pub(crate) fn images(shape: &[usize], op: impl fmt::Display) -> [usize; 4] {
    // A `match`, because a closure would report itself as the place of the panic.
    match shape.try_into() {
        Ok(axes) => axes,
        Err(_) => panic!("{op}: expected [N, H, W, C], got {shape:?}"),
    }
}

/// How many windows fit, rounding down, along height and width.
#[track_caller]
pub(crate) fn window_counts(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    op: &str,
) -> [usize; 2] {
    let fits =
        windows_fit(size, kernel, stride, padding) && (0..2).all(|a| 2 * padding[a] <= kernel[a]);
    assert!(fits, "{op}: window {kernel:?} stride {stride:?} padding {padding:?} on {size:?}");
    [0, 1].map(|a| (size[a] + 2 * padding[a] - kernel[a]) / stride[a] + 1)
}
