//! STL-10 in its official binary layout.
//!
//! `train_X.bin`, `test_X.bin` and `unlabeled_X.bin` are images of 27,648 bytes: three planes (red,
//! green, blue) of 96x96 bytes, each column by column. `train_y.bin` and `test_y.bin` are one byte
//! an image: the class, from 1 to 10; here it is from 0 to 9. `class_names.txt` names the classes.

use super::package::Package;
use super::read::Bytes;
use super::{Budget, Collector, Dataset, Loading, Splits, Unlabelled, cifar};
use crate::error::Result;
use std::io::Read;
use std::path::Path;

const SIDE: usize = 96;
const PIXELS: usize = SIDE * SIDE;
const CLASSES: usize = 10;

/// Appends the images of a file `*_X.bin` to `images`; `path` is for the errors. Returns how many
/// there were.
///
/// # Errors
/// `Format` for no image at all or a last one that is not whole; as [`Collector::push`].
pub fn read_images(reader: impl Read, path: &Path, images: &mut Collector<'_>) -> Result<usize> {
    let mut bytes = Bytes::new(reader, path);
    let mut planes = vec![0; 3 * PIXELS];
    let mut image = vec![0; 3 * PIXELS];
    for count in 0.. {
        let read = bytes.up_to(&mut planes)?;
        if read == 0 && count > 0 {
            return Ok(count);
        }
        if read < planes.len() {
            let expected = format!("an image of {} bytes", planes.len());
            let found = format!("the end of the file after {read}");
            return Err(bytes.error((count * planes.len()) as u64, expected, found));
        }
        for (channel, plane) in planes.chunks_exact(PIXELS).enumerate() {
            for (x, column) in plane.chunks_exact(SIDE).enumerate() {
                for (y, &value) in column.iter().enumerate() {
                    image[(y * SIDE + x) * 3 + channel] = value;
                }
            }
        }
        images.push(&image, [SIDE, SIDE, 3])?;
    }
    unreachable!("the loop over images ends at the end of the file")
}

/// Reads the `count` labels of a file `*_y.bin`, from 0; `path` is for the errors.
///
/// # Errors
/// `Format` for a label that is not from 1 to 10, and for fewer or more than `count`.
pub fn read_labels(reader: impl Read, path: &Path, count: usize) -> Result<Vec<u32>> {
    let mut bytes = Bytes::new(reader, path);
    let what = format!("{count} labels, one for each image");
    let labels = bytes.rest(count as u64, &what)?;
    if let Some(at) = labels.iter().position(|label| !(1..=CLASSES as u8).contains(label)) {
        let expected = format!("a label from 1 to {CLASSES}");
        return Err(bytes.error(at as u64, expected, labels[at].to_string()));
    }
    Ok(labels.into_iter().map(|label| u32::from(label) - 1).collect())
}

/// Reads STL-10.
pub(super) fn stl10(package: &Package, loading: &Loading) -> Result<Splits> {
    let class_names = cifar::class_names(package, "class_names.txt", CLASSES)?;
    let budget = Budget::new(loading.limit_bytes);
    let part = |split: &str, file: &str| -> Result<Dataset> {
        let images_name = format!("{file}_X.bin");
        let labels_name = format!("{file}_y.bin");
        let mut images = Collector::new(loading, &budget);
        let count =
            read_images(package.open(&images_name)?, &package.path(&images_name), &mut images)?;
        let labels = match split {
            "unlabelled" => None,
            _ => {
                let reader = package.open(&labels_name)?;
                Some(read_labels(reader, &package.path(&labels_name), count)?)
            }
        };
        let name = format!("stl10 {split}");
        Dataset::collected(name, images, labels, &class_names, CLASSES)
    };
    let mut splits = Splits::of(part("train", "train")?, Some(part("test", "test")?));
    if loading.unlabelled == Unlabelled::Read {
        splits.unlabelled = Some(part("unlabelled", "unlabeled")?);
    }
    Ok(splits)
}
