//! Pooling of images `[N, H, W, C]`.

use crate::autodiff::op::Op;
use crate::autodiff::{Keep, Var};
use crate::kernels::Real;
use crate::tensor::{Tensor, images, window_counts};

/// What the mean of a window divides by where it reaches into the padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountPad {
    /// The window's area.
    Include,
    /// The number of image elements in the window.
    Exclude,
}

impl<T: Real> Var<T> {
    /// Window maxima; padding counts as minus infinity. Saves positions.
    ///
    /// Shapes: `[N, H, W, C]` → `[N, OH, OW, C]`, sizes rounded down.
    ///
    /// # Panics
    /// If a window does not fit or the padding is more than half of it.
    #[track_caller]
    pub fn max_pool2d(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Var<T> {
        let (y, indices) = self.value().max_pool2d(kernel, stride, padding);
        Var::record(y, &[self], || Op::Take(indices))
    }

    /// Window means of the zero-padded image: a sum of strided slices.
    ///
    /// Shapes: `[N, H, W, C]` → `[N, OH, OW, C]`, sizes rounded down.
    ///
    /// # Panics
    /// If a window does not fit or the padding is more than half of it.
    #[track_caller]
    pub fn avg_pool2d(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        count: CountPad,
    ) -> Var<T> {
        let [n, h, w, c] = images(self.shape(), "avg_pool2d");
        let [oh, ow] = window_counts([h, w], kernel, stride, padding, "avg_pool2d");
        let padded = [n, h + 2 * padding[0], w + 2 * padding[1], c];
        let x = self.embed(&padded, &[0, padding[0], padding[1], 0], &[1; 4]);
        let tap = |u: usize, v: usize| {
            let ends = [n, u + (oh - 1) * stride[0] + 1, v + (ow - 1) * stride[1] + 1, c];
            x.slice(&[0, u, v, 0], &ends, &[1, stride[0], stride[1], 1])
        };
        let taps = (0..kernel[0]).flat_map(|u| (0..kernel[1]).map(move |v| (u, v)));
        let sum = taps.map(|(u, v)| tap(u, v)).reduce(|a, b| a + b);
        let sum = sum.expect("window_counts refuses an empty window");
        match count {
            CountPad::Include => sum / T::from_usize(kernel[0] * kernel[1]),
            CountPad::Exclude => {
                let inside = |i: usize, axis: usize, size: usize| {
                    let start = i * stride[axis];
                    let end = (start + kernel[axis]).min(size + padding[axis]);
                    end - start.max(padding[axis])
                };
                let count = Tensor::from_fn(&[oh, ow, 1], |at| {
                    T::from_usize(inside(at / ow, 0, h) * inside(at % ow, 1, w))
                });
                sum / Var::constant(count)
            }
        }
    }

    /// The mean over height and width: `[N, H, W, C]` → `[N, C]`.
    ///
    /// Formula: pool-1.
    ///
    /// # Panics
    /// If the shape is not that of images.
    #[track_caller]
    pub fn global_avg_pool2d(&self) -> Var<T> {
        images(self.shape(), "global_avg_pool2d");
        self.mean_axes(&[1, 2], Keep::Drop)
    }
}
