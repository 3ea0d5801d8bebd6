//! Cropping and resizing in one pass: antialiased bilinear interpolation.
//!
//! Pixels are areas: output `i` looks at input position `(i + 0.5) in / out` through a triangle of
//! half-width `max(1, in / out)`, so that shrinking averages and enlarging interpolates. The filter
//! is separable; its weights are computed once per crop and axis, never per pixel.

use crate::kernels::Real;

/// A rectangle of an image, in pixels, and how it is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Crop {
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Columns from the right to the left.
    pub(crate) hflip: bool,
    /// Rows from the bottom to the top.
    pub(crate) vflip: bool,
}

/// The weights of one axis: `out` windows of `width` neighbouring inputs each.
#[derive(Default)]
pub(crate) struct Taps<T> {
    starts: Vec<usize>,
    weights: Vec<T>,
    width: usize,
}

impl<T: Real> Taps<T> {
    /// Recomputes the weights for an axis of `inputs` samples resized to `outputs`, which are
    /// counted from the end if `reversed`.
    #[inline(always)]
    fn set(&mut self, inputs: usize, outputs: usize, reversed: bool) {
        let scale = inputs as f64 / outputs as f64;
        let support = scale.max(1.0);
        // One window's width for all outputs, so that the inner loops have a fixed length.
        self.width = (0..outputs)
            .map(|i| window(i, scale, support, inputs))
            .map(|(start, end)| end - start)
            .max()
            .unwrap_or(0);
        self.starts.clear();
        self.weights.clear();
        for i in 0..outputs {
            let i = if reversed { outputs - 1 - i } else { i };
            let centre = (i as f64 + 0.5) * scale;
            let (start, _) = window(i, scale, support, inputs);
            let start = start.min(inputs - self.width);
            let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - centre) / support).abs()).max(0.0);
            let total: f64 = (start..start + self.width).map(weight).sum();
            self.starts.push(start);
            self.weights
                .extend((start..start + self.width).map(|j| T::from_f64(weight(j) / total)));
        }
    }

    #[inline(always)]
    fn windows(&self) -> impl Iterator<Item = (usize, &[T])> {
        self.starts.iter().copied().zip(self.weights.chunks_exact(self.width))
    }
}

/// The inputs with a positive weight for output `i`, as a half-open range.
#[inline(always)]
fn window(i: usize, scale: f64, support: f64, inputs: usize) -> (usize, usize) {
    let centre = (i as f64 + 0.5) * scale;
    // The positions `j + 0.5` strictly inside `centre ± support`.
    let start = (centre - support - 0.5).floor() + 1.0;
    let end = (centre + support - 0.5).ceil();
    (start.max(0.0) as usize, (end.max(0.0) as usize).min(inputs))
}

/// Buffers of a resize that are worth keeping between images.
#[derive(Default)]
pub(crate) struct Resizer<T> {
    vertical: Taps<T>,
    horizontal: Taps<T>,
    rows: Vec<T>,
    columns: Vec<T>,
}

impl<T: Real> Resizer<T> {
    /// Writes `crop` of `image` (`[h, w, c]`, its values read by `load`), resized to
    /// `[out_h, out_w]`, into `planes` (`[c, out_w, out_h]`).
    ///
    /// Two passes: the vertical one adds up rows of the image, then its result is transposed, so
    /// that the horizontal one adds up columns, which are contiguous by then.
    #[inline(always)]
    pub(crate) fn resized_crop<S: Copy>(
        &mut self,
        image: &[S],
        [w, c]: [usize; 2],
        crop: Crop,
        [out_h, out_w]: [usize; 2],
        load: impl Fn(S) -> T,
        planes: &mut [T],
    ) {
        self.vertical.set(crop.height, out_h, crop.vflip);
        self.horizontal.set(crop.width, out_w, crop.hflip);
        let row_len = crop.width * c;
        self.rows.resize(out_h * row_len, T::ZERO);
        let rows = self.rows.chunks_exact_mut(row_len);
        for ((start, weights), row) in self.vertical.windows().zip(rows) {
            let source = |k: usize| {
                let at = ((crop.top + start + k) * w + crop.left) * c;
                &image[at..at + row_len]
            };
            weighted_sum(row, weights, source, &load);
        }
        self.columns.resize(out_h * row_len, T::ZERO);
        for (at, column) in self.columns.chunks_exact_mut(out_h).enumerate() {
            for (y, row) in column.iter_mut().zip(self.rows.chunks_exact(row_len)) {
                *y = row[at];
            }
        }
        for channel in 0..c {
            let plane = planes[channel * out_w * out_h..][..out_w * out_h].chunks_exact_mut(out_h);
            for ((start, weights), column) in self.horizontal.windows().zip(plane) {
                let source = |k: usize| {
                    let at = ((start + k) * c + channel) * out_h;
                    &self.columns[at..at + out_h]
                };
                weighted_sum(column, weights, source, &|x| x);
            }
        }
    }
}

/// `out = sum_k weights[k] load(source(k))`.
#[inline(always)]
fn weighted_sum<'a, T: Real, S: Copy + 'a>(
    out: &mut [T],
    weights: &[T],
    source: impl Fn(usize) -> &'a [S],
    load: &impl Fn(S) -> T,
) {
    if let &[first, second] = weights {
        // The usual case, enlarging: one pass.
        for ((y, &a), &b) in out.iter_mut().zip(source(0)).zip(source(1)) {
            *y = first * load(a) + second * load(b);
        }
        return;
    }
    for (y, &x) in out.iter_mut().zip(source(0)) {
        *y = weights[0] * load(x);
    }
    for (k, &weight) in weights.iter().enumerate().skip(1) {
        for (y, &x) in out.iter_mut().zip(source(k)) {
            *y += weight * load(x);
        }
    }
}
