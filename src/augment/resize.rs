//! Cropping and resizing in one pass: antialiased bilinear interpolation.
//!
//! Pixels are areas: output `i` looks at input position `(i + 0.5) in / out` through a triangle of
//! half-width `max(1, in / out)`, so that shrinking averages and enlarging interpolates. The filter
//! is separable; its weights are computed once per crop and axis, never per pixel.

use super::Crop;
use crate::kernels::Real;

/// The weights of one axis: `out` windows of `width` neighbouring inputs each.
#[derive(Default)]
pub(super) struct Taps<T> {
    starts: Vec<usize>,
    weights: Vec<T>,
    width: usize,
}

impl<T: Real> Taps<T> {
    /// Recomputes the weights for an axis of `inputs` samples resized to `outputs`.
    fn set(&mut self, inputs: usize, outputs: usize) {
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

    fn windows(&self) -> impl Iterator<Item = (usize, &[T])> {
        self.starts.iter().copied().zip(self.weights.chunks_exact(self.width))
    }
}

/// The inputs with a positive weight for output `i`, as a half-open range.
fn window(i: usize, scale: f64, support: f64, inputs: usize) -> (usize, usize) {
    let centre = (i as f64 + 0.5) * scale;
    // The positions `j + 0.5` strictly inside `centre ± support`.
    let start = (centre - support - 0.5).floor() + 1.0;
    let end = (centre + support - 0.5).ceil();
    (start.max(0.0) as usize, (end.max(0.0) as usize).min(inputs))
}

/// Buffers of a resize that are worth keeping between images.
#[derive(Default)]
pub(super) struct Resizer<T> {
    vertical: Taps<T>,
    horizontal: Taps<T>,
    rows: Vec<T>,
}

impl<T: Real> Resizer<T> {
    /// Writes `crop` of `image` (`[h, w, c]`, its values read by `load`), resized to
    /// `[out_h, out_w]`, into `planes` (`[c, out_h, out_w]`).
    pub(super) fn resized_crop<S: Copy>(
        &mut self,
        image: &[S],
        [w, c]: [usize; 2],
        crop: Crop,
        [out_h, out_w]: [usize; 2],
        load: impl Fn(S) -> T,
        planes: &mut [T],
    ) {
        self.vertical.set(crop.height, out_h);
        self.horizontal.set(crop.width, out_w);
        let row_len = crop.width * c;
        self.rows.resize(out_h * row_len, T::ZERO);
        for ((start, weights), row) in
            self.vertical.windows().zip(self.rows.chunks_exact_mut(row_len))
        {
            let source = |k: usize| {
                let at = ((crop.top + start + k) * w + crop.left) * c;
                &image[at..at + row_len]
            };
            for (y, &x) in row.iter_mut().zip(source(0)) {
                *y = weights[0] * load(x);
            }
            for (k, &weight) in weights.iter().enumerate().skip(1) {
                for (y, &x) in row.iter_mut().zip(source(k)) {
                    *y += weight * load(x);
                }
            }
        }
        match (c, self.horizontal.width) {
            (1, 2) => self.across::<1, 2>(out_h, out_w, planes),
            (3, 2) => self.across::<3, 2>(out_h, out_w, planes),
            _ => self.across_any(c, out_h, out_w, planes),
        }
    }

    /// The horizontal pass for `C` channels and windows of `K` inputs.
    fn across<const C: usize, const K: usize>(&self, out_h: usize, out_w: usize, planes: &mut [T]) {
        let row_len = self.rows.len() / out_h;
        for (y, row) in self.rows.chunks_exact(row_len).enumerate() {
            for (x, (start, weights)) in self.horizontal.windows().enumerate() {
                let taps = &row[start * C..(start + K) * C];
                for channel in 0..C {
                    let mut sum = weights[0] * taps[channel];
                    for k in 1..K {
                        sum += weights[k] * taps[k * C + channel];
                    }
                    planes[(channel * out_h + y) * out_w + x] = sum;
                }
            }
        }
    }

    /// The horizontal pass for any number of channels and any width of window.
    fn across_any(&self, c: usize, out_h: usize, out_w: usize, planes: &mut [T]) {
        let row_len = self.rows.len() / out_h;
        for (y, row) in self.rows.chunks_exact(row_len).enumerate() {
            for (x, (start, weights)) in self.horizontal.windows().enumerate() {
                for channel in 0..c {
                    let taps = row[start * c + channel..].iter().step_by(c);
                    planes[(channel * out_h + y) * out_w + x] =
                        weights.iter().zip(taps).map(|(&weight, &x)| weight * x).sum();
                }
            }
        }
    }
}
