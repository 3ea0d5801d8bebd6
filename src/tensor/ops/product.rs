//! Matrix products, convolutions and window maxima.

use crate::kernels::alloc::Buffer;
use crate::kernels::profile::{self, Work};
use crate::kernels::{Real, conv, gemm, pool, transpose};
use crate::tensor::{Geometry, Indices, Precision, Tensor, Trans};

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
        let (a, b) = (self.shape(), other.shape());
        let both = a.len() >= 2 && a.len() == b.len() && a[..a.len() - 2] == b[..b.len() - 2];
        assert!(both, "matmul {trans:?}: shapes {a:?} and {b:?}");
        let (lead, [a0, a1]) = (&a[..a.len() - 2], [a[a.len() - 2], a[a.len() - 1]]);
        let [b0, b1] = [b[b.len() - 2], b[b.len() - 1]];
        let ((m, k), (k_b, n)) = match trans {
            Trans::Nn => ((a0, a1), (b0, b1)),
            Trans::Nt => ((a0, a1), (b1, b0)),
            Trans::Tn => ((a1, a0), (b0, b1)),
        };
        assert!(k == k_b, "matmul {trans:?}: inner sizes {k} and {k_b}, shapes {a:?} and {b:?}");
        let batch: usize = lead.iter().product();
        let shape = [lead, &[m, n]].concat();
        let (a, b) = (self.as_slice(), other.as_slice());
        let _span = profile::span("matmul", || Work::Flop(2 * batch * m * n * k));
        // A Gram matrix: half of it says all.
        let full = precision == Precision::Full;
        if trans == Trans::Nt && batch == 1 && full && std::ptr::eq(a, b) {
            return Tensor::filled(&shape, |y| gemm::gram(n, k, a, y));
        }
        Tensor::filled(&shape, |y| gemm::gemm_batched(precision, trans, batch, m, n, k, a, b, y))
    }

    /// `x + xᵀ` of the last two axes.
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
        self.matmul_trans(other, Trans::Nn, Precision::Full)
    }

    /// `a bᵀ`: `[.., M, K] x [.., N, K]` → `[.., M, N]`, equal leading axes.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_nt(&self, other: &Tensor<T>) -> Tensor<T> {
        self.matmul_trans(other, Trans::Nt, Precision::Full)
    }

    /// `aᵀ b`: `[.., K, M] x [.., K, N]` → `[.., M, N]`, equal leading axes.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_tn(&self, other: &Tensor<T>) -> Tensor<T> {
        self.matmul_trans(other, Trans::Tn, Precision::Full)
    }

    /// Cross-correlation: `x [N, H, W, C]`, `w [KH, KW, C, O]` → `[N, OH, OW, O]`.
    ///
    /// # Panics
    /// If the shapes are not those of the geometry.
    #[track_caller]
    pub fn conv2d(&self, w: &Tensor<T>, geometry: &Geometry) -> Tensor<T> {
        let (x, w) = (self.as_slice(), w.as_slice());
        let _span = profile::span("conv2d", || work(geometry));
        Tensor::filled(&y_shape(geometry), |y| conv::conv2d(geometry, x, w, y))
    }

    /// The adjoint of [`Tensor::conv2d`] in `x`, at `g [N, OH, OW, O]`, `self` being `w`.
    ///
    /// # Panics
    /// If the shapes are not those of the geometry.
    #[track_caller]
    pub fn conv2d_input_grad(&self, g: &Tensor<T>, geometry: &Geometry) -> Tensor<T> {
        let (w, g) = (self.as_slice(), g.as_slice());
        let Geometry { n, h, w: width, c, .. } = *geometry;
        let _span = profile::span("conv2d_input_grad", || work(geometry));
        Tensor::filled(&[n, h, width, c], |dx| conv::conv2d_input_grad(geometry, w, g, dx))
    }

    /// The adjoint of [`Tensor::conv2d`] in `w`, at `g [N, OH, OW, O]`, `self` being `x`.
    ///
    /// # Panics
    /// If the shapes are not those of the geometry.
    #[track_caller]
    pub fn conv2d_weight_grad(&self, g: &Tensor<T>, geometry: &Geometry) -> Tensor<T> {
        let (x, g) = (self.as_slice(), g.as_slice());
        let Geometry { kh, kw, c, o, .. } = *geometry;
        let _span = profile::span("conv2d_weight_grad", || work(geometry));
        Tensor::filled(&[kh, kw, c, o], |dw| conv::conv2d_weight_grad(geometry, x, g, dw))
    }

    /// Window maxima of `[N, H, W, C]`, and where they are; padding counts as minus infinity.
    ///
    /// # Panics
    /// If the window does not fit, or the padding is not below the window's side.
    #[track_caller]
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
    Work::Flop(2 * kh * kw * c * y_shape(geometry).iter().product::<usize>())
}

fn y_shape(geometry: &Geometry) -> [usize; 4] {
    [geometry.n, geometry.out_h(), geometry.out_w(), geometry.o]
}

/// The four axes of a batch of images.
#[track_caller]
pub(crate) fn images(shape: &[usize], op: &str) -> [usize; 4] {
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
    let mut counts = [0; 2];
    for a in 0..2 {
        let fits = stride[a] > 0
            && kernel[a] > 0
            && 2 * padding[a] <= kernel[a]
            && size[a] + 2 * padding[a] >= kernel[a];
        assert!(fits, "{op}: window {kernel:?} stride {stride:?} padding {padding:?} on {size:?}");
        counts[a] = (size[a] + 2 * padding[a] - kernel[a]) / stride[a] + 1;
    }
    counts
}
