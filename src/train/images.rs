//! The images of a run: found, chosen, and what turns them into network inputs.

use crate::augment::{self, Augment};
use crate::config::{Amount, AugmentConfig, LearnFrom, Normalize, RunConfig};
use crate::data::{Dataset, Splits, confounder, epoch_order};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// The images that a run learns from and is judged on.
#[derive(Clone, Debug)]
pub struct Images {
    /// The images that are learned from.
    pub train: Dataset,
    /// The images that evaluation learns from, and looks neighbours up in: the same, but where a
    /// run learns from images without labels.
    pub bank: Dataset,
    /// The images that features are judged on: the test images, or those held out; none where
    /// there are no labels to judge by.
    pub test: Dataset,
    /// The images that epochs are compared on, if any: held out of the training images.
    pub val: Option<Dataset>,
    /// What happens to the first view and to the second, and the normalisation, which is the same.
    pub views: [Augment; 2],
    /// What the reader left out, for people, a line each.
    pub notes: Vec<String>,
}

impl Images {
    /// Reads the data set and makes the run's choice of images.
    ///
    /// # Errors
    /// As the data's reader; `Usage` if the settings do not fit the images.
    pub fn load(config: &RunConfig) -> Result<Images> {
        let Splits { train, test, unlabelled, notes, bad, .. } =
            config.data.source().load(&config.data.loading())?;
        let mut notes = [bad, notes].concat();
        let (bank, test) = match (config.data.validation, test) {
            (0, Some(test)) => (train, test),
            (0, None) if train.labels.is_some() => {
                let reason = format!(
                    "{} has no test images: hold some of the {} training images out, as in \
                     --validation {}",
                    config.data.name,
                    train.len(),
                    train.len().div_ceil(10)
                );
                return Err(Error::usage("data.validation", reason));
            }
            (0, None) => {
                let nothing = train.subset(&[]);
                (train, nothing)
            }
            // One choice for all seeds: settings are compared on the same images.
            (count, _) => {
                let (kept, held) = train.hold_out(count, 0)?;
                (train.subset(&kept), train.subset(&held))
            }
        };
        let (bank, val) = match config.data.val_split {
            0 => (bank, None),
            count => {
                let (kept, held) = bank.hold_out(count, 0)?;
                (bank.subset(&kept), Some(bank.subset(&held)))
            }
        };
        let test = match config.data.test_images {
            // In proportion to the classes, which need not be even.
            Amount::Exactly(count) | Amount::AtMost(count) if count < test.len() => {
                test.subset(&test.hold_out(count, 0)?.1)
            }
            _ => test,
        };
        let mut chosen = |set: &Dataset| choose(set, config, &mut notes);
        let (train, bank) = match (config.data.learn_from, &unlabelled) {
            (LearnFrom::Unlabelled, Some(unlabelled)) => (chosen(unlabelled)?, bank),
            (LearnFrom::Unlabelled, None) => {
                let reason = format!("{} has no images without labels", config.data.name);
                return Err(Error::usage("data.learn_from", reason));
            }
            (LearnFrom::Train, _) => {
                let train = chosen(&bank)?;
                (train.clone(), train)
            }
        };
        let plant = |set: Dataset, part: &str| match config.data.confounder {
            0.0 => Ok(set),
            strength => confounder::plant(&set, strength, part),
        };
        let train = match config.data.learn_from {
            LearnFrom::Train => plant(train, "train")?,
            LearnFrom::Unlabelled => plant(train, "unlabelled")?,
        };
        let bank = match config.data.learn_from {
            LearnFrom::Train => train.clone(),
            LearnFrom::Unlabelled => plant(bank, "train")?,
        };
        let (test, val) = (plant(test, "test")?, val.map(|val| plant(val, "val")).transpose()?);
        if config.batch_size > train.len() {
            let (batch, images) = (config.batch_size, train.len());
            let reason =
                format!("is {batch}, more than the {images} images: --batch-size {images}");
            return Err(Error::usage("batch_size", reason));
        }
        let least = config.model.encoder.least_side();
        if let Some(side) = train.size()[..2].iter().min().filter(|&&side| side < least) {
            let encoder = config.model.encoder;
            let reason = format!(
                "images have a side of {side}, {encoder} takes {least} at least: set data.size"
            );
            return Err(Error::usage("data.size", reason));
        }
        let views = views(config, &train)?;
        for view in &views {
            view.check(train.size()).map_err(|reason| Error::usage("augment", reason))?;
        }
        Ok(Images { train, bank, test, val, views, notes })
    }

    /// Steps in an epoch: whole batches only.
    pub fn steps_per_epoch(&self, config: &RunConfig) -> usize {
        self.train.len() / config.batch_size
    }

    /// The images of the step after `step` steps, and its epoch.
    pub fn batch(&self, config: &RunConfig, step: usize) -> (Vec<usize>, u64) {
        let per_epoch = self.steps_per_epoch(config);
        let epoch = (step / per_epoch) as u64;
        let order = epoch_order(self.train.len(), config.seed, epoch);
        (order[step % per_epoch * config.batch_size..][..config.batch_size].to_vec(), epoch)
    }

    /// Two random views of each of the training images `batch`: see [`augment::pair`].
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn pair(&self, batch: &[usize], epoch: u64, seed: u64) -> Result<Tensor> {
        self.pair_of(&self.train, batch, epoch, seed)
    }

    /// The same of the images `batch` of another set, such as those that features are judged on.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn pair_of(&self, set: &Dataset, batch: &[usize], epoch: u64, seed: u64) -> Result<Tensor> {
        let (images, [first, second]) = (set.read(batch)?, &self.views);
        Ok(augment::pair([first, second], &images, set.size(), batch, epoch, seed))
    }

    /// The images `batch` of a set as evaluation sees them: only normalised, `[N, H, W, C]`.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn evaluation(&self, set: &Dataset, batch: &[usize]) -> Result<Tensor> {
        Ok(self.views[0].evaluation(&set.read(batch)?, set.size()))
    }

    /// The mean and the deviation of each channel that pixels are normalised by.
    pub fn normalization(&self) -> [&[f64]; 2] {
        [&self.views[0].mean, &self.views[0].std]
    }

    /// Normalises by these instead: by what the weights were learned with.
    pub fn set_normalization(&mut self, [mean, std]: [Vec<f64>; 2]) {
        for view in &mut self.views {
            (view.mean, view.std) = (mean.clone(), std.clone());
        }
    }
}

/// The images that the settings choose of a set.
fn choose(set: &Dataset, config: &RunConfig, notes: &mut Vec<String>) -> Result<Dataset> {
    let (len, seed) = (set.len(), config.seed);
    match config.data.images {
        Amount::All => Ok(set.clone()),
        Amount::Exactly(count) => Ok(set.subset(&set.choose(count, seed)?)),
        Amount::AtMost(count) if count > len => {
            notes.push(format!(
                "data.images is at most {count}: {} has {len}, and all of them are taken",
                set.name
            ));
            Ok(set.clone())
        }
        // Where the classes are too uneven for an even choice, and all of a class is not asked for.
        Amount::AtMost(count) => match set.choose(count, seed) {
            Ok(even) => Ok(set.subset(&even)),
            Err(_) if count == len => Ok(set.clone()),
            Err(_) => {
                notes.push(format!(
                    "data.images is at most {count}: the classes of {} are too uneven for an even \
                     choice, so it is in proportion to them",
                    set.name
                ));
                Ok(set.subset(&set.hold_out(count, seed)?.1))
            }
        },
    }
}

fn views(config: &RunConfig, train: &Dataset) -> Result<[Augment; 2]> {
    let (mean, std) = match config.augment.normalize {
        Normalize::Data => moments(train)?,
        Normalize::Imagenet => {
            let Augment { mean, std, .. } = Augment::official();
            let average = |values: &[f64]| vec![values.iter().sum::<f64>() / values.len() as f64];
            if train.channels == 1 { (average(&mean), average(&std)) } else { (mean, std) }
        }
    };
    Ok(augments(&config.augment, &mean, &std))
}

/// The two views' settings, with the normalisation that belongs to them.
pub fn augments(set: &AugmentConfig, mean: &[f64], std: &[f64]) -> [Augment; 2] {
    [0, 1].map(|view| Augment {
        crop_area: set.crop_area.0[view],
        crop_aspect: set.crop_aspect.0[view],
        rotation_probability: set.rotation_probability.0[view],
        rotation_degrees: set.rotation_degrees.0[view],
        flip_probability: set.flip_probability.0[view],
        vertical_flip_probability: set.vertical_flip_probability.0[view],
        jitter_probability: set.jitter_probability.0[view],
        brightness: set.brightness.0[view],
        contrast: set.contrast.0[view],
        saturation: set.saturation.0[view],
        hue: set.hue.0[view],
        grayscale_probability: set.grayscale_probability.0[view],
        blur_probability: set.blur_probability.0[view],
        blur_kernel: set.blur_kernel.0[view],
        blur_sigma: set.blur_sigma.0[view],
        solarize_probability: set.solarize_probability.0[view],
        mean: mean.to_vec(),
        std: std.to_vec(),
    })
}

/// Mean and standard deviation of each channel, of values in [0, 1].
///
/// Bytes are counted, not added, so that the result does not depend on an order.
fn moments(images: &Dataset) -> Result<(Vec<f64>, Vec<f64>)> {
    let channels = images.channels;
    let mut counts = vec![[0u64; 256]; channels];
    images.for_each_batch(|bytes| {
        for pixel in bytes.chunks_exact(channels) {
            for (count, &byte) in counts.iter_mut().zip(pixel) {
                count[byte as usize] += 1;
            }
        }
    })?;
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
    Ok(moments.unzip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pixels;

    #[test]
    fn moments_are_a_channel_at_a_time() {
        let images = Dataset {
            name: "two".into(),
            images: Pixels::from_vec(vec![0, 255, 7, 255, 255, 7], 6),
            height: 1,
            width: 2,
            channels: 3,
            labels: None,
            classes: 0,
            class_names: Vec::new(),
        };
        let (mean, std) = moments(&images).unwrap();
        assert_eq!((mean[0], std[0]), (0.5, 0.5));
        assert_eq!((mean[1], std[1]), (1.0, 1.0));
        assert!((mean[2] - 7.0 / 255.0).abs() < 1e-15 && std[2] == 1.0);
    }
}
