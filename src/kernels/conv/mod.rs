//! Two-dimensional convolution and its two adjoints over `[N, H, W, C]` images.
//!
//! The three functions are the partial maps of one trilinear form,
//! `f(x, w, g) = Σ x[n, oh·s − p + i, ow·s − p + j, c] · w[i, j, c, o] · g[n, oh, ow, o]`:
//! each takes two of the operands and returns the derivative by the third.

mod amx;
mod axis;
pub mod naive;
mod patches;
mod path;
mod rows;
mod taps;
#[cfg(test)]
mod tests;
mod weight_grad;
mod winograd;

use super::Real;
use super::bf16::{Precision, rounded};
use super::dispatch::{self, Level};
use super::gemm::{Trans, gemm_at};
use axis::Axis;
pub use path::{Choice, Part, Path, choose};
use taps::{Direction, TapSum};

/// The sizes of a convolution and its precision: everything but the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Images in the batch.
    pub n: usize,
    /// Input height.
    pub h: usize,
    /// Input width.
    pub w: usize,
    /// Input channels.
    pub c: usize,
    /// Kernel height.
    pub kh: usize,
    /// Kernel width.
    pub kw: usize,
    /// Output channels.
    pub o: usize,
    /// Steps between outputs, down and across.
    pub stride: [usize; 2],
    /// Zeros added on each side, down and across.
    pub padding: [usize; 2],
    /// What is multiplied.
    pub precision: Precision,
}

impl Geometry {
    /// The product of two numbers: each size 1, no padding, full precision.
    pub const ONE: Geometry = Geometry {
        n: 1,
        h: 1,
        w: 1,
        c: 1,
        kh: 1,
        kw: 1,
        o: 1,
        stride: [1, 1],
        padding: [0, 0],
        precision: Precision::Full,
    };

    /// Output height: `(h + 2·padding − kh) / stride + 1`, rounded down.
    ///
    /// # Panics
    /// If the kernel is larger than the padded input, or the stride is zero.
    #[track_caller]
    pub fn out_h(&self) -> usize {
        out_len(self.h, self.kh, self.stride[0], self.padding[0])
    }

    /// Output width: `(w + 2·padding − kw) / stride + 1`, rounded down.
    ///
    /// # Panics
    /// If the kernel is larger than the padded input, or the stride is zero.
    #[track_caller]
    pub fn out_w(&self) -> usize {
        out_len(self.w, self.kw, self.stride[1], self.padding[1])
    }

    /// Elements of the input `[N, H, W, C]`.
    pub fn x_len(&self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Elements of the weights `[KH, KW, C, O]`.
    pub fn w_len(&self) -> usize {
        self.kh * self.kw * self.c * self.o
    }

    /// Elements of the output `[N, OH, OW, O]`.
    #[track_caller]
    pub fn y_len(&self) -> usize {
        self.n * self.out_h() * self.out_w() * self.o
    }

    #[track_caller]
    fn check(&self, op: &str, x: usize, w: usize, y: usize) {
        assert_eq!(x, self.x_len(), "{op}: wrong length of an input [N, H, W, C] for {self:?}");
        assert_eq!(w, self.w_len(), "{op}: wrong length of weights [KH, KW, C, O] for {self:?}");
        assert_eq!(y, self.y_len(), "{op}: wrong length of an output [N, OH, OW, O] for {self:?}");
    }
}

/// Hands the operands over as the geometry wants them, with the path that they then take.
fn with_operands<T: Real>(
    part: Part,
    geometry: &Geometry,
    [a, b]: [&[T]; 2],
    f: impl FnOnce(Level, Path, &[T], &[T]),
) {
    let level = dispatch::level();
    let path = choose::<T>(level, Choice::of_process(), part, geometry);
    // AMX rounds for itself.
    if geometry.precision.rounds::<T>() && path != Path::Amx {
        f(level, path, &rounded(a), &rounded(b));
    } else {
        f(level, path, a, b);
    }
}

#[track_caller]
fn out_len(len: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    assert!(stride > 0, "conv2d: the stride is zero");
    assert!(kernel > 0, "conv2d: the kernel is empty");
    assert!(
        len + 2 * padding >= kernel,
        "conv2d: a kernel of {kernel} does not fit an input of {len} with padding {padding}"
    );
    (len + 2 * padding - kernel) / stride + 1
}

/// The convolution
/// `y[n, oh, ow, o] = Σ_{i,j,c} x[n, oh·s − p + i, ow·s − p + j, c] · w[i, j, c, o]`,
/// with zeros outside the image (the cross-correlation of deep learning).
///
/// Shapes: `x: [N, H, W, C]`, `w: [KH, KW, C, O]` → `y: [N, OH, OW, O]`, overwritten.
///
/// Formula: conv-1.
///
/// # Panics
/// If a slice has another length than its shape.
#[track_caller]
pub fn conv2d<T: Real>(geometry: &Geometry, x: &[T], w: &[T], y: &mut [T]) {
    with_operands(Part::Forward, geometry, [x, w], |level, path, x, w| {
        conv2d_at(level, path, geometry, x, w, y);
    });
}

/// The adjoint of [`conv2d`] in its input: `dx` with `<conv2d(x, w), g> = <x, dx>` for every `x`.
///
/// Shapes: `w: [KH, KW, C, O]`, `g: [N, OH, OW, O]` → `dx: [N, H, W, C]`, overwritten.
///
/// Formula: conv-2.
///
/// # Panics
/// If a slice has another length than its shape.
#[track_caller]
pub fn conv2d_input_grad<T: Real>(geometry: &Geometry, w: &[T], g: &[T], dx: &mut [T]) {
    with_operands(Part::InputGrad, geometry, [w, g], |level, path, w, g| {
        conv2d_input_grad_at(level, path, geometry, w, g, dx);
    });
}

/// The adjoint of [`conv2d`] in its weights: `dw` with `<conv2d(x, w), g> = <w, dw>` for every `w`.
///
/// Shapes: `x: [N, H, W, C]`, `g: [N, OH, OW, O]` → `dw: [KH, KW, C, O]`, overwritten.
///
/// Formula: conv-3.
///
/// # Panics
/// If a slice has another length than its shape.
#[track_caller]
pub fn conv2d_weight_grad<T: Real>(geometry: &Geometry, x: &[T], g: &[T], dw: &mut [T]) {
    with_operands(Part::WeightGrad, geometry, [x, g], |level, path, x, g| {
        conv2d_weight_grad_at(level, path, geometry, x, g, dw);
    });
}

/// [`conv2d`] at a level, along a path: for benches and tests.
///
/// # Panics
/// As [`conv2d`], and if the path is not possible.
#[track_caller]
pub fn conv2d_at<T: Real>(
    level: Level,
    path: Path,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    y: &mut [T],
) {
    geometry.check("conv2d", x.len(), w.len(), y.len());
    path.check(Part::Forward, geometry);
    let Geometry { n, h, w: width, c, kh, kw, o, stride, padding, .. } = *geometry;
    match path {
        Path::Product => gemm_at(level, Trans::Nn, 1, n * h * width, o, c, x, w, y),
        Path::Rows => rows::forward(level, geometry, x, w, y),
        Path::Patches => patches::forward(geometry, x, w, y),
        Path::Winograd => winograd::Sum::forward(level, geometry, x, w).compute(y),
        Path::Taps | Path::Amx => TapSum {
            level,
            direction: Direction::Forward,
            images: n,
            from: [h, width, c],
            channels: o,
            rows: Axis::forward(h, geometry.out_h(), kh, stride[0], padding[0]),
            cols: Axis::forward(width, geometry.out_w(), kw, stride[1], padding[1]),
            source: x,
            weights: w,
        }
        .along(path, y),
    }
}

/// [`conv2d_input_grad`] at a level, along a path: for benches and tests.
///
/// # Panics
/// As [`conv2d_input_grad`], and if the path is not possible.
#[track_caller]
pub fn conv2d_input_grad_at<T: Real>(
    level: Level,
    path: Path,
    geometry: &Geometry,
    w: &[T],
    g: &[T],
    dx: &mut [T],
) {
    geometry.check("conv2d_input_grad", dx.len(), w.len(), g.len());
    path.check(Part::InputGrad, geometry);
    let Geometry { n, h, w: width, c, kh, kw, o, stride, padding, .. } = *geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    match path {
        Path::Product => gemm_at(level, Trans::Nt, 1, n * h * width, c, o, g, w, dx),
        Path::Winograd => winograd::Sum::adjoint(level, geometry, w, g).compute(dx),
        Path::Rows => unreachable!("checked above"),
        Path::Patches => patches::input_grad(geometry, w, g, dx),
        Path::Taps | Path::Amx => TapSum {
            level,
            direction: Direction::Adjoint,
            images: n,
            from: [out_h, out_w, o],
            channels: c,
            rows: Axis::adjoint(h, out_h, kh, stride[0], padding[0]),
            cols: Axis::adjoint(width, out_w, kw, stride[1], padding[1]),
            source: g,
            weights: w,
        }
        .along(path, dx),
    }
}

/// [`conv2d_weight_grad`] at a level, along a path: for benches and tests.
///
/// # Panics
/// As [`conv2d_weight_grad`], and if the path is not possible.
#[track_caller]
pub fn conv2d_weight_grad_at<T: Real>(
    level: Level,
    path: Path,
    geometry: &Geometry,
    x: &[T],
    g: &[T],
    dw: &mut [T],
) {
    geometry.check("conv2d_weight_grad", x.len(), dw.len(), g.len());
    path.check(Part::WeightGrad, geometry);
    let Geometry { n, h, w, c, o, .. } = *geometry;
    match path {
        Path::Product => gemm_at(level, Trans::Tn, 1, c, o, n * h * w, x, g, dw),
        Path::Winograd => winograd::weight_grad::weight_grad(level, geometry, x, g, dw),
        Path::Rows => rows::weight_grad(level, geometry, x, g, dw),
        Path::Patches => patches::weight_grad(geometry, x, g, dw),
        Path::Taps => weight_grad::weight_grad(level, geometry, x, g, dw),
        Path::Amx => {
            let numbers = T::singles(x).zip(T::singles(g)).zip(T::singles_mut(dw));
            let ((x, g), dw) = numbers.expect("AMX is for f32");
            amx::weight_grad(geometry, x, g, dw)
        }
    }
}
