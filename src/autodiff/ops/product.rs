//! Bilinear triples: the matrix product in three forms, and convolution with its two gradients.
//!
//! Let `F(x, w, g) = Σ conv2d(x, w) · g`, one number, linear in each argument. Its three partial
//! derivatives are the three operations: `∂F/∂g = conv2d(x, w)`, `∂F/∂x = conv2d_input_grad(w, g)`,
//! `∂F/∂w = conv2d_weight_grad(x, g)`; differentiating any one of them gives back the other two.
//! So six rules over three kernels are closed at every order. The matrix product is the same
//! statement with its nn, nt and tn forms.

use crate::autodiff::Var;
use crate::autodiff::op::{Op, Saved};
use crate::kernels::Real;
use crate::tensor::{Geometry, Precision, Trans, broadcast, images};

impl<T: Real> Var<T> {
    /// The matrix product over the last two axes; the leading axes are equal. Saves both operands.
    #[track_caller]
    pub(crate) fn matmul_trans(
        &self,
        other: &Var<T>,
        trans: Trans,
        precision: Precision,
    ) -> Var<T> {
        let y = self.value().matmul_trans(other.value(), trans, precision);
        Var::record(y, &[self, other], || Op::Matmul {
            a: self.value().clone(),
            b: other.value().clone(),
            trans,
            precision,
        })
    }

    /// Repeats the leading axes of two operands to their common shape, then multiplies.
    #[track_caller]
    fn matmul_broadcast(&self, other: &Var<T>, trans: Trans, precision: Precision) -> Var<T> {
        let (a, b) = (self.shape(), other.shape());
        assert!(a.len() >= 2 && b.len() >= 2, "matmul {trans:?}: shapes {a:?} and {b:?}");
        let (a_lead, a_last) = a.split_at(a.len() - 2);
        let (b_lead, b_last) = b.split_at(b.len() - 2);
        if a_lead == b_lead {
            return self.matmul_trans(other, trans, precision);
        }
        let Some(lead) = broadcast(a_lead, b_lead) else {
            panic!("matmul {trans:?}: leading axes of {a:?} and {b:?} do not broadcast");
        };
        let a = self.broadcast_to(&[&lead, a_last].concat());
        a.matmul_trans(&other.broadcast_to(&[&lead, b_last].concat()), trans, precision)
    }

    /// `a b`: `[.., M, K] x [.., K, N]` → `[.., M, N]`; leading axes broadcast. Saves both
    /// operands.
    ///
    /// Formula: product-1.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul(&self, other: &Var<T>) -> Var<T> {
        self.matmul_with(other, Precision::Full)
    }

    /// [`Var::matmul`] in a precision, which its derivatives of every order have too.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_with(&self, other: &Var<T>, precision: Precision) -> Var<T> {
        self.matmul_broadcast(other, Trans::Nn, precision)
    }

    /// `a bᵀ`: `[.., M, K] x [.., N, K]` → `[.., M, N]`; leading axes broadcast.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_nt(&self, other: &Var<T>) -> Var<T> {
        self.matmul_broadcast(other, Trans::Nt, Precision::Full)
    }

    /// `aᵀ b`: `[.., K, M] x [.., K, N]` → `[.., M, N]`; leading axes broadcast.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_tn(&self, other: &Var<T>) -> Var<T> {
        self.matmul_broadcast(other, Trans::Tn, Precision::Full)
    }

    /// Cross-correlation with zero padding. Saves both operands.
    ///
    /// `y[n,i,j,o] = Σ x[n, i·stride + u - padding, j·stride + v - padding, c] · w[u,v,c,o]`.
    /// Shapes: `x [N, H, W, C]`, `w [KH, KW, C, O]` → `[N, OH, OW, O]`.
    ///
    /// # Panics
    /// If the channels differ or the kernel does not fit into the padded image.
    #[track_caller]
    pub fn conv2d(&self, w: &Var<T>, stride: [usize; 2], padding: [usize; 2]) -> Var<T> {
        self.conv2d_with(w, stride, padding, Precision::Full)
    }

    /// [`Var::conv2d`] in a precision, which its derivatives of every order have too.
    ///
    /// # Panics
    /// As [`Var::conv2d`].
    #[track_caller]
    pub fn conv2d_with(
        &self,
        w: &Var<T>,
        stride: [usize; 2],
        padding: [usize; 2],
        precision: Precision,
    ) -> Var<T> {
        let geometry = geometry(self.shape(), w.shape(), stride, padding);
        self.conv2d_at(w, &Geometry { precision, ..geometry })
    }

    pub(crate) fn conv2d_at(&self, w: &Var<T>, geometry: &Geometry) -> Var<T> {
        Var::record(self.value().conv2d(w.value(), geometry), &[self, w], || Op::Conv2d {
            x: Saved::of(self),
            w: w.value().clone(),
            geometry: *geometry,
        })
    }

    /// The adjoint of a convolution in its input; `self` is `w`.
    pub(crate) fn conv2d_input_grad(&self, g: &Var<T>, geometry: &Geometry) -> Var<T> {
        let dx = self.value().conv2d_input_grad(g.value(), geometry);
        Var::record(dx, &[self, g], || Op::Conv2dInputGrad {
            w: self.value().clone(),
            g: g.value().clone(),
            geometry: *geometry,
        })
    }

    /// The adjoint of a convolution in its weight; `self` is `x`.
    pub(crate) fn conv2d_weight_grad(&self, g: &Var<T>, geometry: &Geometry) -> Var<T> {
        let dw = self.value().conv2d_weight_grad(g.value(), geometry);
        Var::record(dw, &[self, g], || Op::Conv2dWeightGrad {
            x: self.value().clone(),
            g: g.value().clone(),
            geometry: *geometry,
        })
    }
}

/// Checks the shapes of a convolution.
#[track_caller]
fn geometry(x: &[usize], w: &[usize], stride: [usize; 2], padding: [usize; 2]) -> Geometry {
    let [n, height, width, c] = images(x, "conv2d");
    let &[kh, kw, c_w, o] = w else {
        panic!("conv2d: expected w [KH, KW, C, O], got {w:?}");
    };
    assert!(c == c_w, "conv2d: x has {c} channels, w expects {c_w}; x {x:?}, w {w:?}");
    let fits = stride.iter().all(|&s| s > 0)
        && height + 2 * padding[0] >= kh
        && width + 2 * padding[1] >= kw
        && kh * kw > 0;
    assert!(fits, "conv2d: w {w:?} stride {stride:?} padding {padding:?} on x {x:?}");
    Geometry { n, h: height, w: width, c, kh, kw, o, stride, padding, ..Geometry::ONE }
}
