//! The random draws of one view. Pixels are not touched here.

use super::{Augment, Crop};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// One colour change of the jitter.
#[derive(Clone, Copy)]
pub(super) enum Jitter {
    Brightness(f64),
    Contrast(f64),
    Saturation(f64),
    Hue(f64),
}

fn uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// True with the given probability.
pub(super) fn happens(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

impl Augment {
    /// A crop by torchvision's rule: ten tries of a uniform area and a log-uniform aspect ratio,
    /// then the largest central crop whose aspect ratio is within the range.
    pub(super) fn draw_crop(&self, h: usize, w: usize, rng: &mut ChaCha8Rng) -> Crop {
        let [narrowest, widest] = self.crop_aspect;
        for _ in 0..10 {
            let area = (h * w) as f64 * uniform(rng, self.crop_area[0], self.crop_area[1]);
            let aspect = uniform(rng, narrowest.ln(), widest.ln()).exp();
            let width = (area * aspect).sqrt().round_ties_even() as usize;
            let height = (area / aspect).sqrt().round_ties_even() as usize;
            if (1..=w).contains(&width) && (1..=h).contains(&height) {
                let top = rng.random_range(0..=h - height);
                let left = rng.random_range(0..=w - width);
                return Crop { top, left, height, width };
            }
        }
        let aspect = w as f64 / h as f64;
        let side = |length: f64, limit: usize| (length.round_ties_even() as usize).clamp(1, limit);
        let (height, width) = if aspect < narrowest {
            (side(w as f64 / narrowest, h), w)
        } else if aspect > widest {
            (h, side(h as f64 * widest, w))
        } else {
            (h, w)
        };
        Crop { top: (h - height) / 2, left: (w - width) / 2, height, width }
    }

    /// The four colour changes in random order, those of strength 0 and those without an effect on
    /// `c` channels left out; `None` when the jitter does not happen.
    pub(super) fn draw_jitter(
        &self,
        c: usize,
        rng: &mut ChaCha8Rng,
    ) -> impl Iterator<Item = Jitter> {
        let jittered = happens(rng, self.jitter_probability);
        let mut factor = |strength: f64| uniform(rng, (1.0 - strength).max(0.0), 1.0 + strength);
        let (brightness, contrast) = (factor(self.brightness), factor(self.contrast));
        let saturation = factor(self.saturation);
        let turn = uniform(rng, -self.hue, self.hue);
        let colour = jittered && c == 3;
        let mut jitters = [
            (jittered && self.brightness > 0.0).then_some(Jitter::Brightness(brightness)),
            (jittered && self.contrast > 0.0).then_some(Jitter::Contrast(contrast)),
            (colour && self.saturation > 0.0).then_some(Jitter::Saturation(saturation)),
            (colour && self.hue > 0.0).then_some(Jitter::Hue(turn)),
        ];
        for i in (1..jitters.len()).rev() {
            jitters.swap(i, rng.random_range(0..=i));
        }
        jitters.into_iter().flatten()
    }

    /// The blur's sigma, or `None` when the blur does not happen.
    pub(super) fn draw_blur(&self, rng: &mut ChaCha8Rng) -> Option<f64> {
        let [low, high] = self.blur_sigma;
        happens(rng, self.blur_probability).then(|| uniform(rng, low, high))
    }
}
