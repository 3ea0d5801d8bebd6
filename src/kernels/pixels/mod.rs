//! From the bytes of an image to a view: all that happens to its pixels, in one kernel.
//!
//! Pixels are worked on as planes of `f32` in [0, 1], one colour after the other. The planes are
//! `[C, W, H]`, columns contiguous, because that is what the second pass of the resizer can write
//! with whole registers; no operation in between cares. Every loop is plain code over contiguous
//! values, without branches on pixels, that the compiler turns into vectors of the level it is
//! entered at; no operation is fused, so all levels compute the same bits.
//!
//! The operations' definitions are in [`planes`], for any float; a random draw never happens here.

pub(crate) mod planes;
pub(crate) mod resize;

use super::dispatch::{self, Kernel, Level};
use super::vector::Vector;
use resize::{Crop, Resizer};

/// One change of all pixels, in a view's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// By so many degrees, counterclockwise.
    Rotate(f64),
    Brightness(f64),
    Contrast(f64),
    Saturation(f64),
    Hue(f64),
    Grayscale,
    Blur {
        kernel: usize,
        sigma: f64,
    },
    Solarize,
}

/// Buffers that are worth keeping between views.
#[derive(Default)]
pub(crate) struct Scratch {
    resizer: Resizer<f32>,
    planes: Vec<f32>,
    other: Vec<f32>,
}

/// A view of one image: what is read, what happens, where it goes.
pub(crate) struct View<'a> {
    /// `[h, w, c]` bytes.
    pub(crate) image: &'a [u8],
    /// `[h, w, c]`, of the image and of the view.
    pub(crate) size: [usize; 3],
    /// The part of the image that is resized to all of it.
    pub(crate) crop: Crop,
    /// What happens then.
    pub(crate) steps: &'a [Step],
    /// Of each channel: subtracted, and divided by.
    pub(crate) mean: &'a [f64],
    pub(crate) std: &'a [f64],
    /// `[h, w, c]`.
    pub(crate) out: &'a mut [f32],
    pub(crate) scratch: &'a mut Scratch,
}

impl View<'_> {
    /// Makes the view with the instructions of `level`.
    pub(crate) fn make(self, level: Level) {
        dispatch::run(level, self);
    }
}

impl Kernel<f32> for View<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = f32>>(self) {
        // No instruction of `V` is called by name: the shell's target features are what counts.
        let View { image, size: [h, w, c], crop, steps, mean, std, out, scratch } = self;
        let Scratch { resizer, planes, other } = scratch;
        planes.resize(h * w * c, 0.0);
        let load = |byte: u8| f32::from(byte) * (1.0 / 255.0);
        resizer.resized_crop(image, [w, c], crop, [h, w], load, planes);
        for &step in steps {
            match step {
                // Rows are what columns are called here: the other way round.
                Step::Rotate(degrees) => planes::rotate(planes, [w, h], -degrees, other),
                Step::Brightness(factor) => planes::brightness(planes, factor as f32),
                Step::Contrast(factor) => planes::contrast(planes, c, factor as f32),
                Step::Saturation(factor) => planes::saturation(planes, c, factor as f32),
                Step::Hue(turn) => planes::hue(planes, c, turn),
                Step::Grayscale => planes::grayscale(planes, c),
                Step::Blur { kernel, sigma } => {
                    planes::gaussian_blur(planes, [w, h], kernel, sigma, other);
                }
                Step::Solarize => planes::solarize(planes),
            }
        }
        planes::normalize_into(planes, h, mean, std, out);
    }
}
