//! Pooling windows over images.

use super::Real;
use super::dispatch::wide;
use super::maxima::{Window, max_columns};
use super::parallel::{for_each_chunk2, row_grain};

/// The largest value of each window, `[N, H, W, C]` → `[N, OH, OW, C]`, and where it was found.
///
/// `OH = (H + 2 padding − kernel) / stride + 1` and likewise `OW`; padding counts as −∞ and is
/// never picked. `indices` are flat positions in `x`: the first of equal maxima, or the first NaN.
///
/// # Panics
/// If a length differs from its shape's, a window is larger than the padded image or may lie
/// wholly in the padding (`2 padding > kernel`), or `x` has more than `u32::MAX` elements.
#[track_caller]
pub fn max_pool2d<T: Real>(
    x: &[T],
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    y: &mut [T],
    indices: &mut [u32],
) {
    let [oh, ow] = check(n, [h, w], c, kernel, stride, padding, [x.len(), y.len(), indices.len()]);
    if y.is_empty() {
        return;
    }
    let row = ow * c;
    let rows = row_grain(n * oh, row * kernel[0] * kernel[1]);
    for_each_chunk2(y, rows * row, indices, rows * row, |piece, y, indices| {
        let windows = Windows { sides: [h, w], out: [oh, ow], c, kernel, stride, padding };
        windows_rows(x, &windows, piece * rows, y, indices);
    });
}

/// The sizes of a pooling.
struct Windows {
    sides: [usize; 2],
    out: [usize; 2],
    c: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

wide! {
    /// The rows of the output from `first` on, counted over all images.
    fn windows_rows[T: Real](
        x: &[T], windows: &Windows, first: usize, y: &mut [T], indices: &mut [u32],
    ) {
        let Windows { sides: [h, w], out: [oh, ow], c, kernel, stride, padding } = *windows;
        let rows = y.chunks_mut(ow * c).zip(indices.chunks_mut(ow * c));
        for (row, (y, indices)) in (first..).zip(rows) {
            let ys = window(row % oh, kernel[0], stride[0], padding[0], h);
            for (j, (y, indices)) in y.chunks_mut(c).zip(indices.chunks_mut(c)).enumerate() {
                let xs = window(j, kernel[1], stride[1], padding[1], w);
                let corner = (row / oh * h + ys.start) * w + xs.start;
                let window = Window {
                    first: corner * c,
                    rows: ys.len(),
                    row_step: w * c,
                    columns: xs.len(),
                    step: c,
                };
                max_columns(x, 0, window, y, indices);
            }
        }
    }
}

/// The rows (or columns) of the image that output row `i` sees.
#[inline(always)]
fn window(
    i: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    side: usize,
) -> std::ops::Range<usize> {
    let start = i * stride;
    start.saturating_sub(padding)..(start + kernel - padding).min(side)
}

#[track_caller]
fn check(
    n: usize,
    sides: [usize; 2],
    c: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    lens: [usize; 3],
) -> [usize; 2] {
    let fits = |i: usize| {
        stride[i] > 0
            && kernel[i] > 0
            && 2 * padding[i] <= kernel[i]
            && kernel[i] <= sides[i] + 2 * padding[i]
    };
    assert!(
        fits(0) && fits(1),
        "max_pool2d: kernel {kernel:?}, stride {stride:?}, padding {padding:?} over {sides:?}"
    );
    let out = [0, 1].map(|i| (sides[i] + 2 * padding[i] - kernel[i]) / stride[i] + 1);
    let (x_len, y_len) = (n * sides[0] * sides[1] * c, n * out[0] * out[1] * c);
    assert!(
        lens == [x_len, y_len, y_len],
        "max_pool2d: x [{n}, {sides:?}, {c}], y [{n}, {out:?}, {c}], with {lens:?} elements"
    );
    assert!(
        u32::try_from(x_len).is_ok(),
        "max_pool2d: {x_len} elements do not fit in u32 positions"
    );
    out
}
