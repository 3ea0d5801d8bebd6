//! Files to images in memory.
//!
//! A [`Source`] (`NAME[:PATH]`) finds a data set in its official layout and reads it whole; a
//! [`Dataset`] holds images as bytes, with their labels. Which images take part, in which order,
//! is decided by the seeded choices at the end of this page, never by a thread or a clock.
//!
//! Sizes that a header claims are checked against what the file really holds before memory is taken
//! for them. Whatever is wrong with a file, the error names the file, the place and what was
//! expected there.

use crate::error::{Error, Result};

pub mod cifar;
pub mod idx;
mod read;
mod select;
mod source;

pub use select::{batches, epoch_order, stratified_fraction};
pub use source::{Source, SourceName};

/// Images of one size as bytes, with their labels where they have any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// What this is, for people: `fashion-mnist train`.
    pub name: String,
    /// All images, `[N, H, W, C]`.
    pub images: Vec<u8>,
    /// Height of an image, in pixels.
    pub height: usize,
    /// Width of an image, in pixels.
    pub width: usize,
    /// Channels of an image: 1 (gray) or 3 (red, green, blue).
    pub channels: usize,
    /// The class of each image, below `classes`.
    pub labels: Option<Vec<u32>>,
    /// Number of classes; 0 without labels.
    pub classes: usize,
    /// The classes' names, in the order of their numbers; may be empty.
    pub class_names: Vec<String>,
}

/// The two parts of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits {
    /// What may be learned from.
    pub train: Dataset,
    /// What is only for judging.
    pub test: Dataset,
}

impl Dataset {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len() / self.image_len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// `[H, W, C]` of an image.
    pub fn size(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// The bytes of one image, `[H, W, C]`.
    ///
    /// # Panics
    /// If there is no such image.
    #[track_caller]
    pub fn image(&self, index: usize) -> &[u8] {
        &self.images[index * self.image_len()..][..self.image_len()]
    }

    /// A copy of the images `indices`, in that order, with their labels.
    ///
    /// # Panics
    /// If an index is not below the number of images.
    #[track_caller]
    pub fn subset(&self, indices: &[usize]) -> Dataset {
        let mut images = Vec::with_capacity(indices.len() * self.image_len());
        for &index in indices {
            images.extend_from_slice(self.image(index));
        }
        let labels = self.labels.as_ref();
        let labels = labels.map(|labels| indices.iter().map(|&index| labels[index]).collect());
        Dataset {
            name: self.name.clone(),
            images,
            labels,
            class_names: self.class_names.clone(),
            ..*self
        }
    }

    /// The indices, in ascending order, of `n` images chosen by `seed`: with labels, class counts
    /// differ by at most one; without labels, uniformly.
    ///
    /// # Errors
    /// `Usage` (of the flag `images`) if `n` is 0 or more than there are, or if the classes are so
    /// uneven that no such choice exists.
    pub fn choose(&self, n: usize, seed: u64) -> Result<Vec<usize>> {
        select::choose(self, n, seed).map_err(|reason| Error::usage("images", reason))
    }

    /// Parts the images into (kept, held out), each in ascending order of index: `count` images are
    /// held out by `seed`, with labels in proportion to the classes.
    ///
    /// # Errors
    /// `Usage` (of the flag `validation`) if not both parts have images.
    pub fn hold_out(&self, count: usize, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
        select::hold_out(self, count, seed).map_err(|reason| Error::usage("validation", reason))
    }

    fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }
}

#[cfg(test)]
mod tests;
