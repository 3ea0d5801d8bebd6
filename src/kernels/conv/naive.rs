//! The definition of convolution: one loop over the terms of the trilinear form.

use super::Geometry;
use crate::kernels::Real;

/// Calls `f(x_idx, w_idx, y_idx)` for each term of the trilinear form that lies in the image.
fn for_each_term(geometry: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    let Geometry { n, h, w, c, kh, kw, o, stride, padding, .. } = *geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    for image in 0..n {
        for oh in 0..out_h {
            for ow in 0..out_w {
                for i in 0..kh {
                    for j in 0..kw {
                        // Shifted by the padding, so that the test needs no signed numbers.
                        let (row, col) = (oh * stride[0] + i, ow * stride[1] + j);
                        let inside_rows = (padding[0]..padding[0] + h).contains(&row);
                        let inside_cols = (padding[1]..padding[1] + w).contains(&col);
                        if !(inside_rows && inside_cols) {
                            continue;
                        }
                        let x = ((image * h + row - padding[0]) * w + col - padding[1]) * c;
                        let weight = (i * kw + j) * c * o;
                        let y = ((image * out_h + oh) * out_w + ow) * o;
                        for ci in 0..c {
                            for co in 0..o {
                                f(x + ci, weight + ci * o + co, y + co);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The definition of [`super::conv2d`].
///
/// Formula: winograd-3.
pub fn conv2d<T: Real>(geometry: &Geometry, x: &[T], w: &[T], y: &mut [T]) {
    y.fill(T::ZERO);
    for_each_term(geometry, |xi, wi, yi| y[yi] += x[xi] * w[wi]);
}

/// The definition of [`super::conv2d_input_grad`].
pub fn conv2d_input_grad<T: Real>(geometry: &Geometry, w: &[T], g: &[T], dx: &mut [T]) {
    dx.fill(T::ZERO);
    for_each_term(geometry, |xi, wi, yi| dx[xi] += w[wi] * g[yi]);
}

/// The definition of [`super::conv2d_weight_grad`].
pub fn conv2d_weight_grad<T: Real>(geometry: &Geometry, x: &[T], g: &[T], dw: &mut [T]) {
    dw.fill(T::ZERO);
    for_each_term(geometry, |xi, wi, yi| dw[wi] += x[xi] * g[yi]);
}
