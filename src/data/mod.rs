//! Files to images, in memory or beside it.
//!
//! A [`Source`] (`NAME[:PATH]`) finds a data set in its official layout, in a folder or in the
//! archive that it comes in; a [`Dataset`] holds images as bytes, with their labels. What exceeds
//! [`Loading::limit_bytes`] lies in a temporary file and is read a batch at a time. Which images
//! take part, in which order, is decided by the seeded choices at the end of this page, never by a
//! thread or a clock.
//!
//! Sizes that a header claims are checked against what the file really holds before memory is taken
//! for them. Whatever is wrong with a file, the error names the file, the place and what was
//! expected there. Readers take any `impl Read`; nothing here needs a network or writes beside the
//! data.

use crate::error::{Error, Result};
use package::Package;

#[cfg(feature = "cli")]
pub mod check;
pub mod cifar;
pub mod confounder;
#[cfg(feature = "images")]
mod decode;
mod files;
pub mod folder;
pub mod idx;
mod package;
mod pixels;
mod read;
mod select;
mod source;
mod spool;
pub mod stl;
pub mod tiny_imagenet;
#[cfg(feature = "images")]
mod whole;

pub use pixels::{Budget, Collector, Pixels};
pub use select::{batches, class_by_class, epoch_order, stratified_fraction};
pub use source::{Source, SourceName};

/// Images of one size as bytes, with their labels where they have any.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What this is, for people: `fashion-mnist train`.
    pub name: String,
    /// All images, each `[H, W, C]`.
    pub images: Pixels,
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

/// The parts of a data set.
#[derive(Clone, Debug)]
pub struct Splits {
    /// What may be learned from.
    pub train: Dataset,
    /// What is only for judging; absent where the set has no such part.
    pub test: Option<Dataset>,
    /// Further images without labels to learn from, where they were asked for.
    pub unlabelled: Option<Dataset>,
    /// What the reader left out or chose, for people, a line each.
    pub notes: Vec<String>,
    /// Images that were left out because they cannot be read, a line each: the first ones by name,
    /// then their number.
    pub bad: Vec<String>,
    /// How many images were left out because they cannot be read.
    pub unreadable: usize,
}

/// How a data set is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loading {
    /// The side of all images: of each, the largest central square is resized; absent: as they are.
    pub size: Option<usize>,
    /// Which of its two labels an image of CIFAR-100 has.
    pub labels: Labels,
    /// Whether images without labels are read, too.
    pub unlabelled: Unlabelled,
    /// The most bytes of images in memory; the parts of a set that exceed it go to a temporary
    /// file.
    pub limit_bytes: u64,
    /// What happens at an image that cannot be read, in sets of one file an image.
    pub bad: Bad,
    /// What an archive may hold.
    pub archive: ArchiveLimits,
}

/// What an archive may hold: more is refused, so that none fills the disk or the memory.
///
/// A `.tar.gz` is given up at the first entry that leads beyond; a `.zip` by what it says of its
/// entries, none of which may then be longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// The most bytes that it unpacks to; a file behind links counts once for each of its names.
    pub bytes: u64,
    /// The most entries: files, folders and links, and names that links to folders make.
    pub files: usize,
}

impl Default for ArchiveLimits {
    /// 16 GiB and 1,048,576 entries: several times the largest set here.
    fn default() -> ArchiveLimits {
        ArchiveLimits { bytes: 16 << 30, files: 1 << 20 }
    }
}

/// Which labels a set with two kinds has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "cli", serde(rename_all = "kebab-case"))]
pub enum Labels {
    /// The 100 classes of CIFAR-100.
    Fine,
    /// Its 20 groups of five classes.
    Coarse,
}

/// Whether images without labels are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlabelled {
    /// They are left out.
    Skip,
    /// They become [`Splits::unlabelled`].
    Read,
}

/// What happens at an image that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It is an error that names it.
    Refuse,
    /// It is left out, counted and named in [`Splits::bad`].
    Skip,
}

impl Default for Loading {
    /// Everything as it is, in at most 2 GiB of memory.
    fn default() -> Loading {
        Loading {
            size: None,
            labels: Labels::Fine,
            unlabelled: Unlabelled::Skip,
            limit_bytes: 2 << 30,
            bad: Bad::Refuse,
            archive: ArchiveLimits::default(),
        }
    }
}

impl Splits {
    fn of(train: Dataset, test: Option<Dataset>) -> Splits {
        Splits { train, test, unlabelled: None, notes: Vec::new(), bad: Vec::new(), unreadable: 0 }
    }

    fn without(self, out: files::LeftOut) -> Splits {
        let files::LeftOut { notes, bad, unreadable } = out.finish();
        Splits { notes, bad, unreadable, ..self }
    }

    /// The same, if training and test images have one size.
    fn with_equal_sizes(self, package: &Package) -> Result<Splits> {
        let [train, test] =
            [Some(&self.train), self.test.as_ref()].map(|set| set.map(Dataset::size));
        match (train, test) {
            (Some([h, w, _]), Some([height, width, _])) if [h, w] != [height, width] => {
                let expected = format!("test images of {h}x{w} as in training");
                let found = format!("{height}x{width}");
                Err(Error::format(package.place(), "the set", expected, found))
            }
            _ => Ok(self),
        }
    }
}

impl Dataset {
    /// What a reader has collected; without labels there are no classes.
    fn collected(
        name: String,
        images: Collector<'_>,
        labels: Option<Vec<u32>>,
        class_names: &[String],
        classes: usize,
    ) -> Result<Dataset> {
        let (images, [height, width, channels]) = images.finish()?;
        let (classes, class_names) = match labels {
            Some(_) => (classes, class_names.to_vec()),
            None => (0, Vec::new()),
        };
        Ok(Dataset { name, images, height, width, channels, labels, classes, class_names })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// `[H, W, C]` of an image.
    pub fn size(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// The images `indices`, one after the other.
    ///
    /// # Errors
    /// `Io` if they are in a temporary file that cannot be read.
    ///
    /// # Panics
    /// If an index is not below the number of images.
    #[track_caller]
    pub fn read(&self, indices: &[usize]) -> Result<Vec<u8>> {
        self.images.check("Dataset::read", indices);
        self.images.read(indices)
    }

    /// Calls `f` with all images in their order, some at a time.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn for_each_batch(&self, mut f: impl FnMut(&[u8])) -> Result<()> {
        let all: Vec<usize> = (0..self.len()).collect();
        all.chunks(256).try_for_each(|some| self.read(some).map(|images| f(&images)))
    }

    /// The images `indices`, in that order, with their labels; no pixels are copied.
    ///
    /// # Panics
    /// If an index is not below the number of images.
    #[track_caller]
    pub fn subset(&self, indices: &[usize]) -> Dataset {
        self.images.check("Dataset::subset", indices);
        let labels = self.labels.as_ref();
        let labels = labels.map(|labels| indices.iter().map(|&index| labels[index]).collect());
        Dataset {
            name: self.name.clone(),
            images: self.images.subset(indices),
            labels,
            class_names: self.class_names.clone(),
            ..*self
        }
    }

    /// How many images each class has; nothing without labels.
    ///
    /// # Panics
    /// If a label is not below `classes`.
    #[track_caller]
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for &label in self.labels.iter().flatten() {
            let (fits, classes) = ((label as usize) < self.classes, self.classes);
            assert!(fits, "class_counts: label {label} is not below {classes} classes");
            counts[label as usize] += 1;
        }
        counts
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
}

#[cfg(test)]
mod tests;
