//! The IDX files of MNIST and Fashion-MNIST.
//!
//! An IDX file is a big-endian header and then bytes. Images: the magic number 0x00000803 (type
//! byte 8, three dimensions), their number, rows, columns, then every image row by row. Labels:
//! 0x00000801, their number, then one byte each. Read plain, or gzip-compressed with the feature
//! `cli`.

use super::package::Package;
use super::read::{Bytes, MOST_BYTES};
use super::{Budget, Collector, Dataset, Loading, Splits};
use crate::error::Result;
use byteorder::{BigEndian, ByteOrder};
use std::io::Read;
use std::path::Path;

const IMAGES_MAGIC: u32 = 0x0803;
const LABELS_MAGIC: u32 = 0x0801;
/// What Fashion-MNIST's labels mean, from its paper.
const CLOTHES: [&str; 10] = [
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
];
/// What MNIST's labels mean.
const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
/// The longest side of an image: sixteen bits, so that no product of sizes overflows.
const LONGEST_SIDE: u32 = 1 << 16;

/// The gray images of an IDX file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// All images, `[N, H, W]`.
    pub bytes: Vec<u8>,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
}

/// Reads an IDX file of images from `reader`; `path` is for the errors.
///
/// # Errors
/// `Format` for another magic number, no images or no pixels, more than 4 GiB of them, fewer or
/// more bytes than the header says, a damaged gzip stream.
pub fn read_images(reader: impl Read, path: &Path) -> Result<Images> {
    let mut bytes = Bytes::new(reader, path);
    let count = read_header(&mut bytes, IMAGES_MAGIC, "images")?;
    let mut sides = [0; 8];
    bytes.exact(&mut sides, "rows and columns")?;
    let [height, width] = [BigEndian::read_u32(&sides), BigEndian::read_u32(&sides[4..])];
    if [height, width].iter().any(|side| !(1..=LONGEST_SIDE).contains(side)) {
        let expected = format!("rows and columns from 1 to {LONGEST_SIDE}");
        return Err(bytes.error(8, expected, format!("{height} and {width}")));
    }
    let pixels = u64::from(height) * u64::from(width);
    if u64::from(count) > MOST_BYTES / pixels {
        let expected = format!("at most {MOST_BYTES} bytes of images");
        return Err(bytes.error(4, expected, format!("{count} images of {height}x{width}")));
    }
    let what = format!("{count} images of {height}x{width}");
    let images = bytes.rest(u64::from(count) * pixels, &what)?;
    Ok(Images { bytes: images, height: height as usize, width: width as usize })
}

/// Reads an IDX file of labels, each below `classes`, from `reader`; `path` is for the errors.
///
/// # Errors
/// `Format` for another magic number, no labels, a label out of range, fewer or more bytes than the
/// header says, a damaged gzip stream.
pub fn read_labels(reader: impl Read, path: &Path, classes: u32) -> Result<Vec<u32>> {
    let mut bytes = Bytes::new(reader, path);
    let count = read_header(&mut bytes, LABELS_MAGIC, "labels")?;
    let labels = bytes.rest(u64::from(count), &format!("{count} labels"))?;
    if let Some(at) = labels.iter().position(|&label| u32::from(label) >= classes) {
        let expected = format!("a label below {classes}");
        return Err(bytes.error(8 + at as u64, expected, labels[at].to_string()));
    }
    Ok(labels.into_iter().map(u32::from).collect())
}

/// Checks the magic number and returns the count behind it.
fn read_header<R: Read>(bytes: &mut Bytes<'_, R>, magic: u32, what: &str) -> Result<u32> {
    let mut header = [0; 8];
    bytes.exact(&mut header[..4], "the magic number")?;
    let found = BigEndian::read_u32(&header);
    if found != magic {
        let expected = format!("the magic number {magic:#010x} of IDX {what}");
        return Err(bytes.error(0, expected, format!("{found:#010x}")));
    }
    bytes.exact(&mut header[4..], &format!("the number of {what}"))?;
    match BigEndian::read_u32(&header[4..]) {
        0 => Err(bytes.error(4, format!("at least one of its {what}"), "0")),
        count => Ok(count),
    }
}

/// Reads Fashion-MNIST.
pub(super) fn fashion_mnist(package: &Package, loading: &Loading) -> Result<Splits> {
    read_splits(package, loading, "fashion-mnist", CLOTHES)
}

/// Reads MNIST.
pub(super) fn mnist(package: &Package, loading: &Loading) -> Result<Splits> {
    read_splits(package, loading, "mnist", DIGITS)
}

/// Reads the four files, each plain or compressed.
fn read_splits(
    package: &Package,
    loading: &Loading,
    set: &str,
    names: [&str; 10],
) -> Result<Splits> {
    let budget = Budget::new(loading.limit_bytes);
    let part = |split: &str, prefix: &str| {
        let find = |suffix: &str| {
            let name = format!("{prefix}-{suffix}-ubyte");
            let found = package.plain_or_gz(&name);
            found.ok_or_else(|| package.missing(&format!("{name}.gz (or {name})")))
        };
        let (images_name, labels_name) = (find("images-idx3")?, find("labels-idx1")?);
        let path = package.path(&labels_name);
        let images = read_images(package.open(&images_name)?, &package.path(&images_name))?;
        let labels = read_labels(package.open(&labels_name)?, &path, names.len() as u32)?;
        let image_len = images.height * images.width;
        let count = images.bytes.len() / image_len;
        if labels.len() != count {
            let expected = format!("{count} labels, one for each of the images beside it");
            let bytes = Bytes::new(std::io::empty(), &path);
            return Err(bytes.error(4, expected, labels.len().to_string()));
        }
        let mut collected = Collector::new(loading, &budget);
        for image in images.bytes.chunks_exact(image_len) {
            collected.push(image, [images.height, images.width, 1])?;
        }
        let names = names.map(String::from);
        Dataset::collected(format!("{set} {split}"), collected, Some(labels), &names, names.len())
    };
    let splits = Splits::of(part("train", "train")?, Some(part("test", "t10k")?));
    splits.with_equal_sizes(package)
}
