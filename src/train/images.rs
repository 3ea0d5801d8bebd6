//! The images of a run: found, chosen, and what turns them into network inputs.

use crate::augment::Augment;
use crate::config::{Amount, Normalize, RunConfig};
use crate::data::{Dataset, Source, Splits};
use crate::error::{Error, Result};

/// The images that a run learns from and is judged on.
#[derive(Clone, Debug)]
pub struct Images {
    /// The training images, and the bank that evaluation looks neighbours up in.
    pub train: Dataset,
    /// The images that features are judged on: the test images, or those held out.
    pub test: Dataset,
    /// The random views and the normalisation.
    pub augment: Augment,
}

impl Images {
    /// Reads the data set and makes the run's choice of images.
    ///
    /// # Errors
    /// As the data's reader; `Usage` if the settings do not fit the images.
    pub fn load(config: &RunConfig) -> Result<Images> {
        let name = config.data.name.to_string();
        let path = &config.data.path;
        let source = if path.is_empty() { name } else { format!("{name}:{path}") };
        let Splits { train, test } = source.parse::<Source>()?.load()?;
        let (train, test) = match config.data.validation {
            0 => (train, test),
            // One choice for all seeds: settings are compared on the same images.
            count => {
                let (kept, held) = train.hold_out(count, 0)?;
                (train.subset(&kept), train.subset(&held))
            }
        };
        let train = match config.data.images {
            Amount::All => train,
            Amount::Exactly(count) => train.subset(&train.choose(count, config.seed)?),
        };
        if config.batch_size > train.len() {
            let reason = format!("is {}, more than the {} images", config.batch_size, train.len());
            return Err(Error::usage("batch_size", reason));
        }
        let augment = augment(config, &train);
        augment.check(train.size()).map_err(|reason| Error::usage("augment", reason))?;
        Ok(Images { train, test, augment })
    }

    /// Steps in an epoch: whole batches only.
    pub fn steps_per_epoch(&self, config: &RunConfig) -> usize {
        self.train.len() / config.batch_size
    }
}

fn augment(config: &RunConfig, train: &Dataset) -> Augment {
    let set = &config.augment;
    let (mean, std) = match config.augment.normalize {
        Normalize::Data => moments(train),
        Normalize::Imagenet => {
            let Augment { mean, std, .. } = Augment::official();
            let average = |values: &[f64]| vec![values.iter().sum::<f64>() / values.len() as f64];
            if train.channels == 1 { (average(&mean), average(&std)) } else { (mean, std) }
        }
    };
    Augment {
        crop_area: set.crop_area,
        crop_aspect: set.crop_aspect,
        flip_probability: set.flip_probability,
        jitter_probability: set.jitter_probability,
        brightness: set.brightness,
        contrast: set.contrast,
        saturation: set.saturation,
        hue: set.hue,
        grayscale_probability: set.grayscale_probability,
        blur_probability: set.blur_probability,
        blur_kernel: set.blur_kernel,
        blur_sigma: set.blur_sigma,
        mean,
        std,
    }
}

/// Mean and standard deviation of each channel, of values in [0, 1].
///
/// Bytes are counted, not added, so that the result does not depend on an order.
fn moments(images: &Dataset) -> (Vec<f64>, Vec<f64>) {
    let channels = images.channels;
    let mut counts = vec![[0u64; 256]; channels];
    for pixel in images.images.chunks_exact(channels) {
        for (count, &byte) in counts.iter_mut().zip(pixel) {
            count[byte as usize] += 1;
        }
    }
    let moments = counts.iter().map(|count| {
        let total = count.iter().sum::<u64>() as f64;
        let mean_of = |f: &dyn Fn(f64) -> f64| {
            let terms = count.iter().enumerate().map(|(b, &n)| n as f64 * f(b as f64 / 255.0));
            terms.sum::<f64>() / total
        };
        let mean = mean_of(&|x| x);
        let std = mean_of(&|x| (x - mean).powi(2)).sqrt();
        // A channel of one colour stays what it is.
        (mean, if std > 0.0 { std } else { 1.0 })
    });
    moments.unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_a_channel_at_a_time() {
        let images = Dataset {
            name: "two".into(),
            images: vec![0, 255, 7, 255, 255, 7],
            height: 1,
            width: 2,
            channels: 3,
            labels: None,
            classes: 0,
            class_names: Vec::new(),
        };
        let (mean, std) = moments(&images);
        assert_eq!((mean[0], std[0]), (0.5, 0.5));
        assert_eq!((mean[1], std[1]), (1.0, 1.0));
        assert!((mean[2] - 7.0 / 255.0).abs() < 1e-15 && std[2] == 1.0);
    }
}
