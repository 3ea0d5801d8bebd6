//! The random draws of one view. Pixels are not touched here.

use super::Augment;
use crate::kernels::pixels::Step;
use crate::kernels::pixels::resize::Crop;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

fn uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// True with the given probability.
fn happens(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

/// The same of what is mostly switched off: without a draw where it cannot happen, so that the
/// draws after it are those of a pipeline that does not know it.
fn may_happen(rng: &mut ChaCha8Rng, probability: f64) -> bool {
    probability > 0.0 && happens(rng, probability)
}

impl Augment {
    /// A whole view of an image `[h, w, c]`: its crop and flips, and the steps after them.
    pub(super) fn draw(
        &self,
        [h, w, c]: [usize; 3],
        rng: &mut ChaCha8Rng,
        steps: &mut Vec<Step>,
    ) -> Crop {
        steps.clear();
        let mut crop = self.draw_crop(h, w, rng);
        let turn = may_happen(rng, self.rotation_probability)
            .then(|| uniform(rng, self.rotation_degrees[0], self.rotation_degrees[1]));
        crop.hflip = happens(rng, self.flip_probability);
        crop.vflip = may_happen(rng, self.vertical_flip_probability);
        if let Some(degrees) = turn {
            // The turn comes before the flips; behind a flip it is the turn the other way round.
            let mirrored = crop.hflip != crop.vflip;
            steps.push(Step::Rotate(if mirrored { -degrees } else { degrees }));
        }
        steps.extend(self.draw_jitter(c, rng));
        if happens(rng, self.grayscale_probability) {
            steps.push(Step::Grayscale);
        }
        if let Some(sigma) = self.draw_blur(rng) {
            steps.push(Step::Blur { kernel: self.blur_kernel, sigma });
        }
        if may_happen(rng, self.solarize_probability) {
            steps.push(Step::Solarize);
        }
        crop
    }

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
                return Crop { top, left, height, width, ..Crop::default() };
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
        let (top, left) = ((h - height) / 2, (w - width) / 2);
        Crop { top, left, height, width, ..Crop::default() }
    }

    /// The four colour changes in random order, those of strength 0 and those without an effect on
    /// `c` channels left out; `None` when the jitter does not happen.
    fn draw_jitter(&self, c: usize, rng: &mut ChaCha8Rng) -> impl Iterator<Item = Step> {
        let jittered = happens(rng, self.jitter_probability);
        let mut factor = |strength: f64| uniform(rng, (1.0 - strength).max(0.0), 1.0 + strength);
        let (brightness, contrast) = (factor(self.brightness), factor(self.contrast));
        let saturation = factor(self.saturation);
        let turn = uniform(rng, -self.hue, self.hue);
        let colour = jittered && c == 3;
        let mut jitters = [
            (jittered && self.brightness > 0.0).then_some(Step::Brightness(brightness)),
            (jittered && self.contrast > 0.0).then_some(Step::Contrast(contrast)),
            (colour && self.saturation > 0.0).then_some(Step::Saturation(saturation)),
            (colour && self.hue > 0.0).then_some(Step::Hue(turn)),
        ];
        for i in (1..jitters.len()).rev() {
            jitters.swap(i, rng.random_range(0..=i));
        }
        jitters.into_iter().flatten()
    }

    /// The blur's sigma, or `None` when the blur does not happen.
    fn draw_blur(&self, rng: &mut ChaCha8Rng) -> Option<f64> {
        let [low, high] = self.blur_sigma;
        happens(rng, self.blur_probability).then(|| uniform(rng, low, high))
    }
}
