//! Bilinear triples: the matrix product in three forms, and convolution with its two gradients.
//!
//! Let `F(x, w, g) = Σ conv2d(x, w) · g`, one number, linear in each argument. Its three partial
//! derivatives are the three operations: `∂F/∂g = conv2d(x, w)`, `∂F/∂x = conv2d_input_grad(w, g)`,
//! `∂F/∂w = conv2d_weight_grad(x, g)`; differentiating any one of them gives back the other two.
//! So six rules over three kernels are closed at every order. The matrix product is the same
//! statement with its nn, nt and tn forms.

use std::fmt;

use crate::autodiff::Var;
use crate::autodiff::op::{Op, Saved};
use crate::kernels::Real;
use crate::tensor::{Geometry, Precision, Trans, broadcast_for, images, windows_fit};

impl<T: Real> Var<T> {
    /// The matrix product over the last two axes; the leading axes are equal. Saves both operands.
    #[track_caller]
    pub(crate) fn matmul_trans(
        &self,
        other: &Var<T>,
        trans: Trans,
        precision: Precision,
    ) -> Var<T> {
        self.matmul_for(&"matmul", other, trans, precision)
    }

    /// [`Var::matmul_trans`] for the operation `op`, which a complaint names.
    #[track_caller]
    fn matmul_for(
        &self,
        op: &dyn fmt::Display,
        other: &Var<T>,
        trans: Trans,
        precision: Precision,
    ) -> Var<T> {
        let y = self.value().matmul_for(op, other.value(), trans, precision);
        Var::record(y, &[self, other], || Op::Matmul {
            a: self.value().clone(),
            b: other.value().clone(),
            trans,
            precision,
        })
    }

    /// Repeats the leading axes of two operands to their common shape, then multiplies; `op` is
    /// what a complaint names.
    #[track_caller]
    pub(crate) fn matmul_broadcast(
        &self,
        op: &dyn fmt::Display,
        other: &Var<T>,
        trans: Trans,
        precision: Precision,
    ) -> Var<T> {
        let (a, b) = (self.shape(), other.shape());
        assert!(a.len() >= 2 && b.len() >= 2, "{op}: shapes {a:?} and {b:?}");
        let (a_lead, a_last) = a.split_at(a.len() - 2);
        let (b_lead, b_last) = b.split_at(b.len() - 2);
        if a_lead == b_lead {
            return self.matmul_for(op, other, trans, precision);
        }
        let Some(lead) = broadcast_for("matmul", a_lead, b_lead) else {
            panic!("{op}: leading axes of {a:?} and {b:?} do not broadcast");
        };
        let a = self.broadcast_to(&[&lead, a_last].concat());
        a.matmul_for(op, &other.broadcast_to(&[&lead, b_last].concat()), trans, precision)
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
        self.matmul_broadcast(&"matmul", other, Trans::Nn, Precision::Full)
    }

    /// [`Var::matmul`] in a precision, which its derivatives of every order have too.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_with(&self, other: &Var<T>, precision: Precision) -> Var<T> {
        self.matmul_broadcast(&"matmul_with", other, Trans::Nn, precision)
    }

    /// `a bᵀ`: `[.., M, K] x [.., N, K]` → `[.., M, N]`; leading axes broadcast.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_nt(&self, other: &Var<T>) -> Var<T> {
        self.matmul_broadcast(&"matmul_nt", other, Trans::Nt, Precision::Full)
    }

    /// `aᵀ b`: `[.., K, M] x [.., K, N]` → `[.., M, N]`; leading axes broadcast.
    ///
    /// # Panics
    /// If the shapes do not fit.
    #[track_caller]
    pub fn matmul_tn(&self, other: &Var<T>) -> Var<T> {
        self.matmul_broadcast(&"matmul_tn", other, Trans::Tn, Precision::Full)
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
        self.conv2d_for(&"conv2d", w, stride, padding, Precision::Full)
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
        self.conv2d_for(&"conv2d_with", w, stride, padding, precision)
    }

    /// [`Var::conv2d_with`] for the operation `op`, which a complaint names.
    #[track_caller]
    pub(crate) fn conv2d_for(
        &self,
        op: &dyn fmt::Display,
        w: &Var<T>,
        stride: [usize; 2],
        padding: [usize; 2],
        precision: Precision,
    ) -> Var<T> {
        let geometry = geometry(op, [self.shape(), w.shape()], stride, padding);
        self.conv2d_at(w, &Geometry { precision, ..geometry })
    }

    #[track_caller]
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
fn geometry(
    op: &dyn fmt::Display,
    [x, w]: [&[usize]; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Geometry {
    let [n, height, width, c] = images(x, op);
    let &[kh, kw, c_w, o] = w else {
        panic!("{op}: expected w [KH, KW, C, O], got {w:?}");
    };
    assert!(c == c_w, "{op}: x has {c} channels, w expects {c_w}; x {x:?}, w {w:?}");
    let fits = windows_fit([height, width], [kh, kw], stride, padding);
    assert!(fits, "{op}: w {w:?} stride {stride:?} padding {padding:?} on x {x:?}");
    Geometry { n, h: height, w: width, c, kh, kw, o, stride, padding, ..Geometry::ONE }
}
