//! An image to two random views of it.
//!
//! [`Augment`] says what may happen to an image, as plain data; [`Augment::views`] makes the views
//! of a batch. The draw of a view depends only on (seed, epoch, image index, view): not on the rest
//! of the batch, not on threads. Pixels are worked on as planes of `f32` in [0, 1], without the
//! rounding to 8 bits between operations that PIL images go through.
//!
//! [`ops`] has the operations one at a time.

use crate::kernels::dispatch::{Level, level};
use crate::kernels::pixels::{Scratch, Step, View};
use crate::rng::Stream;
use crate::tensor::{Shape, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

mod draw;
pub mod ops;
#[cfg(test)]
mod tests;

/// What may happen to an image on its way to a view, in this order: random resized crop, rotation,
/// horizontal and vertical flip, colour jitter, grayscale, blur, solarisation, normalisation.
///
/// Images have one channel or three. On one channel the colour operations (saturation, hue,
/// grayscale) do nothing.
///
/// Source: the pipeline of lightly 1.0.8's `SimCLRCollateFunction`, with torchvision's operations.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "cli",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields)
)]
pub struct Augment {
    /// Least and greatest area of the crop, as parts of the image's area. Equal to 1 with an aspect
    /// range of `[1, 1]`: no crop of a square image.
    pub crop_area: [f64; 2],
    /// Least and greatest aspect ratio (width / height) of the crop, drawn uniformly in its
    /// logarithm.
    pub crop_aspect: [f64; 2],
    /// Probability of a rotation.
    pub rotation_probability: f64,
    /// Least and greatest angle of the rotation, counterclockwise; `[90, 90]` is lightly's.
    pub rotation_degrees: [f64; 2],
    /// Probability of reversing the columns.
    pub flip_probability: f64,
    /// Probability of reversing the rows.
    pub vertical_flip_probability: f64,
    /// Probability of the four colour changes, which then all happen, in random order.
    pub jitter_probability: f64,
    /// Strength `s` of the brightness change: a factor from `[max(0, 1 - s), 1 + s]`. 0 is none.
    pub brightness: f64,
    /// Strength of the contrast change, as for brightness.
    pub contrast: f64,
    /// Strength of the saturation change, as for brightness.
    pub saturation: f64,
    /// Greatest turn of the hue in either direction, in turns of the colour circle: at most 0.5.
    pub hue: f64,
    /// Probability of taking the colour away.
    pub grayscale_probability: f64,
    /// Probability of a Gaussian blur.
    pub blur_probability: f64,
    /// Taps of the blur along each axis, odd.
    pub blur_kernel: usize,
    /// Least and greatest standard deviation of the blur, in pixels.
    pub blur_sigma: [f64; 2],
    /// Probability of inverting what is bright.
    pub solarize_probability: f64,
    /// Mean of each channel, subtracted from values in [0, 1].
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, divided by.
    pub std: Vec<f64>,
}

/// What a thread keeps from one view to the next.
#[derive(Default)]
struct Desk {
    steps: Vec<Step>,
    scratch: Scratch,
}

impl Augment {
    /// The published CIFAR-10 run's: area 0.08 to 1, jitter (0.4, 0.4, 0.4, 0.1) with probability
    /// 0.8, grayscale 0.2, no blur, ImageNet's mean and deviation.
    pub fn official() -> Augment {
        Augment {
            crop_area: [0.08, 1.0],
            crop_aspect: [3.0 / 4.0, 4.0 / 3.0],
            rotation_probability: 0.0,
            rotation_degrees: [90.0, 90.0],
            flip_probability: 0.5,
            vertical_flip_probability: 0.0,
            jitter_probability: 0.8,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.1,
            grayscale_probability: 0.2,
            blur_probability: 0.0,
            blur_kernel: 3,
            blur_sigma: [0.1, 2.0],
            solarize_probability: 0.0,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
        }
    }

    /// [`official`](Augment::official) for images of one channel: no colour operations,
    /// Fashion-MNIST's mean and deviation.
    pub fn gray() -> Augment {
        Augment {
            saturation: 0.0,
            hue: 0.0,
            grayscale_probability: 0.0,
            mean: vec![0.2860],
            std: vec![0.3530],
            ..Augment::official()
        }
    }

    /// Says what is impossible in these settings for images of `[h, w, c]`, naming the setting.
    ///
    /// # Errors
    /// A range that is empty or out of bounds, a probability outside [0, 1], a number of channels
    /// other than that of `mean` and `std`, a blur that does not fit the image.
    pub fn check(&self, [h, w, c]: [usize; 3]) -> Result<(), String> {
        let require = |holds: bool, text: &dyn Fn() -> String| match holds {
            true => Ok(()),
            false => Err(text()),
        };
        for (name, [low, high], limit) in [
            ("crop_area", self.crop_area, 1.0),
            ("crop_aspect", self.crop_aspect, f64::MAX),
            ("blur_sigma", self.blur_sigma, f64::MAX),
        ] {
            require(low > 0.0 && low <= high && high <= limit, &|| {
                let most = if limit == 1.0 { " and at most 1" } else { "" };
                format!("{name}: [{low}, {high}] is not a range of numbers above 0{most}")
            })?;
        }
        let [least, greatest] = self.rotation_degrees;
        require(least <= greatest && least.is_finite() && greatest.is_finite(), &|| {
            format!("rotation_degrees: [{least}, {greatest}] is not a range of numbers")
        })?;
        for (name, probability) in [
            ("rotation_probability", self.rotation_probability),
            ("flip_probability", self.flip_probability),
            ("vertical_flip_probability", self.vertical_flip_probability),
            ("solarize_probability", self.solarize_probability),
            ("jitter_probability", self.jitter_probability),
            ("grayscale_probability", self.grayscale_probability),
            ("blur_probability", self.blur_probability),
        ] {
            require((0.0..=1.0).contains(&probability), &|| {
                format!("{name}: {probability} is not a probability")
            })?;
        }
        for (name, strength, limit) in [
            ("brightness", self.brightness, f64::MAX),
            ("contrast", self.contrast, f64::MAX),
            ("saturation", self.saturation, f64::MAX),
            ("hue", self.hue, 0.5),
        ] {
            require((0.0..=limit).contains(&strength), &|| {
                let most = if limit == 0.5 { " up to 0.5" } else { "" };
                format!("{name}: {strength} is not a strength, a number from 0{most}")
            })?;
        }
        require(h > 0 && w > 0 && [1, 3].contains(&c), &|| {
            format!("images of {h}x{w} with {c} channels have no views, only of 1 or 3 channels")
        })?;
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            require(values.len() == c, &|| {
                format!("{name}: {} values for images of {c} channels", values.len())
            })?;
            require(values.iter().all(|x| x.is_finite()), &|| format!("{name}: not finite"))?;
        }
        require(self.std.iter().all(|&x| x > 0.0), &|| "std: not above 0".to_string())?;
        let kernel = self.blur_kernel;
        require(kernel % 2 == 1 && (self.blur_probability == 0.0 || kernel / 2 < h.min(w)), &|| {
            format!("blur_kernel: {kernel} is not odd and less than twice the sides of {h}x{w}")
        })
    }

    /// One random view of `image` (`[h, w, c]` bytes), written to `out` (`[h, w, c]`, normalised).
    ///
    /// # Panics
    /// If [`check`](Augment::check) fails, or a slice is not `h * w * c` long.
    #[track_caller]
    pub fn view(
        &self,
        image: &[u8],
        h: usize,
        w: usize,
        c: usize,
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
    ) {
        self.require("view", [h, w, c]);
        assert!(
            image.len() == h * w * c && out.len() == h * w * c,
            "view: {} bytes and {} values are not images of [{h}, {w}, {c}]",
            image.len(),
            out.len(),
        );
        self.draw_view(level(), image, [h, w, c], rng, out, &mut Desk::default());
    }

    /// Two random views of each image of a batch, by the same settings: see [`pair`].
    ///
    /// # Panics
    /// As [`pair`].
    ///
    /// # Example
    /// Batches may be cut in any way, the views of an image stay the same:
    /// ```
    /// let images: Vec<u8> = (0..3 * 8 * 8).collect();
    /// let views = |images: &[u8], indices: &[usize]| {
    ///     let views = dimask::augment::Augment::gray().views(images, [8, 8, 1], indices, 0, 1);
    ///     views.to_vec()
    /// };
    /// let (batch, alone) = (views(&images, &[0, 1, 2]), views(&images[128..], &[2]));
    /// assert_eq!(batch[2 * 64..3 * 64], alone[..64]); // view 0 of image 2
    /// assert_eq!(batch[5 * 64..6 * 64], alone[64..]); // view 1 of image 2
    /// ```
    #[track_caller]
    pub fn views(
        &self,
        batch: &[u8],
        size: [usize; 3],
        indices: &[usize],
        epoch: u64,
        seed: u64,
    ) -> Tensor<f32> {
        pair_for("views", [self, self], batch, size, indices, epoch, seed)
    }

    /// Images as they are, only normalised: what evaluation looks at.
    ///
    /// Shapes: images `[N, H, W, C]` of bytes -> `[N, H, W, C]`.
    ///
    /// # Panics
    /// If [`check`](Augment::check) fails, or `images` are not whole images.
    #[track_caller]
    pub fn evaluation(&self, images: &[u8], size: [usize; 3]) -> Tensor<f32> {
        self.require("evaluation", size);
        let [h, w, c] = size;
        let len = h * w * c;
        let whole = images.len() % len == 0;
        assert!(whole, "evaluation: {} bytes are not images of {size:?}", images.len());
        // A byte has 256 values: look its normalised value up.
        let table: Vec<[f32; 256]> = (0..c)
            .map(|channel| {
                let (mean, std) = (self.mean[channel], self.std[channel]);
                std::array::from_fn(|byte| ((byte as f64 / 255.0 - mean) / std) as f32)
            })
            .collect();
        let one = |(out, image): (&mut [f32], &[u8])| {
            for (pixel, bytes) in out.chunks_exact_mut(c).zip(image.chunks_exact(c)) {
                for channel in 0..c {
                    pixel[channel] = table[channel][bytes[channel] as usize];
                }
            }
        };
        let shape = Shape::of("evaluation", &[images.len() / len, h, w, c]);
        Tensor::filled(shape, |out| {
            out.par_chunks_mut(len).zip(images.par_chunks(len)).with_min_len(64).for_each(one);
        })
    }

    #[track_caller]
    fn require(&self, op: &str, size: [usize; 3]) {
        if let Err(reason) = self.check(size) {
            panic!("{op}: {reason}");
        }
    }

    fn draw_view(
        &self,
        level: Level,
        image: &[u8],
        size: [usize; 3],
        rng: &mut ChaCha8Rng,
        out: &mut [f32],
        desk: &mut Desk,
    ) {
        let Desk { steps, scratch } = desk;
        let crop = self.draw(size, rng, steps);
        let (mean, std) = (&self.mean, &self.std);
        View { image, size, crop, steps, mean, std, out, scratch }.make(level);
    }
}

/// Two random views of each image of a batch `[N, H, W, C]` of bytes, the first by the first
/// settings, the second by the second ones.
///
/// Shapes: -> `[2 N, H, W, C]`, view 0 of all images, then view 1 of all images, normalised. The
/// images are the `indices` of some set: a view's draw depends only on `seed`, `epoch`, the image's
/// index there and the view.
///
/// # Panics
/// If [`Augment::check`] fails, or there are not as many images as indices.
#[track_caller]
pub fn pair(
    views: [&Augment; 2],
    batch: &[u8],
    size: [usize; 3],
    indices: &[usize],
    epoch: u64,
    seed: u64,
) -> Tensor<f32> {
    pair_for("pair", views, batch, size, indices, epoch, seed)
}

/// [`pair`] for the function `op`, which a complaint names.
#[track_caller]
fn pair_for(
    op: &str,
    views: [&Augment; 2],
    batch: &[u8],
    size: [usize; 3],
    indices: &[usize],
    epoch: u64,
    seed: u64,
) -> Tensor<f32> {
    views[0].require(op, size);
    views[1].require(op, size);
    let [h, w, c] = size;
    let (stream, len, level) = (Stream::new(seed, "augment"), h * w * c, level());
    assert!(
        batch.len() == indices.len() * len,
        "{op}: {} bytes are not {} images of {size:?}",
        batch.len(),
        indices.len()
    );
    let one = |desk: &mut Desk, (i, out): (usize, &mut [f32])| {
        let (view, at) = (i / indices.len(), i % indices.len());
        let rng = &mut stream.at(&[epoch, indices[at] as u64, view as u64]);
        views[view].draw_view(level, &batch[at * len..][..len], size, rng, out, desk);
    };
    Tensor::filled(Shape::of(op, &[2 * indices.len(), h, w, c]), |out| {
        let views = out.par_chunks_mut(len).enumerate().with_min_len(8);
        views.for_each_init(Desk::default, one);
    })
}
