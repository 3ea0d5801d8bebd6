//! CIFAR-10 in its official binary layout.
//!
//! A file is records of 3,073 bytes: a label from 0 to 9, then 1,024 bytes each of red, green and
//! blue, row by row. Training is any number of `data_batch_<number>.bin`, in the order of their
//! numbers; the test split is `test_batch.bin`; `batches.meta.txt` names the classes, one a line.

use super::read::{Bytes, MOST_BYTES, missing, open};
use super::{Dataset, Splits};
use crate::error::{Error, Result};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;
const RECORD: usize = 1 + 3 * PIXELS;
const CLASSES: usize = 10;
const META: &str = "batches.meta.txt";

/// Appends the records of one file to `labels` and `images` (`[N, H, W, C]`); `path` is for the
/// errors. Returns how many there were.
///
/// # Errors
/// `Format` for no record at all, a last record that is not whole, a label above 9, more than 4 GiB
/// of images.
pub fn read_batch(
    reader: impl Read,
    path: &Path,
    labels: &mut Vec<u32>,
    images: &mut Vec<u8>,
) -> Result<usize> {
    let mut bytes = Bytes::new(reader, path);
    let mut record = [0; RECORD];
    for count in 0.. {
        let at = (count * RECORD) as u64;
        let read = bytes.up_to(&mut record)?;
        if read == 0 && count > 0 {
            return Ok(count);
        }
        if read < RECORD {
            let expected = format!("a record of {RECORD} bytes");
            return Err(bytes.error(at, expected, format!("the end of the file after {read}")));
        }
        if usize::from(record[0]) >= CLASSES {
            let expected = format!("a label below {CLASSES} (record {count})");
            return Err(bytes.error(at, expected, record[0].to_string()));
        }
        if images.len() as u64 + 3 * PIXELS as u64 > MOST_BYTES {
            let expected = format!("at most {MOST_BYTES} bytes of images");
            return Err(bytes.error(at, expected, "more"));
        }
        labels.push(u32::from(record[0]));
        let [red, green, blue] =
            [1, 1 + PIXELS, 1 + 2 * PIXELS].map(|start| &record[start..start + PIXELS]);
        images.extend((0..PIXELS).flat_map(|pixel| [red[pixel], green[pixel], blue[pixel]]));
    }
    unreachable!("the loop over records ends at the end of the file")
}

/// Reads CIFAR-10 from the folder `cifar-10-batches-bin`.
///
/// # Errors
/// `Format` for a missing file, for what [`read_batch`] refuses, and for class names that are not
/// ten lines; `Io` for what the system refuses.
pub fn cifar10(folder: &Path) -> Result<Splits> {
    let batches = training_batches(folder)?;
    if batches.is_empty() {
        return Err(missing(folder, "data_batch_1.bin"));
    }
    let test = folder.join("test_batch.bin");
    if !test.is_file() {
        return Err(missing(folder, "test_batch.bin"));
    }
    let class_names = class_names(&folder.join(META))?;
    let part = |split: &str, files: &[PathBuf]| {
        let (mut labels, mut images) = (Vec::new(), Vec::new());
        for file in files {
            read_batch(open(file)?, file, &mut labels, &mut images)?;
        }
        Ok(Dataset {
            name: format!("cifar10 {split}"),
            images,
            height: SIDE,
            width: SIDE,
            channels: 3,
            labels: Some(labels),
            classes: CLASSES,
            class_names: class_names.clone(),
        })
    };
    Ok(Splits { train: part("train", &batches)?, test: part("test", &[test])? })
}

/// Whether a folder has a file of CIFAR-10's binary layout.
pub(super) fn is_cifar10(folder: &Path) -> bool {
    ["data_batch_1.bin", "test_batch.bin"].iter().any(|name| folder.join(name).is_file())
}

/// The files `data_batch_<number>.bin`, in the order of their numbers.
fn training_batches(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut batches = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let path = entry.map_err(|error| Error::io(folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let number = name.strip_prefix("data_batch_").and_then(|name| name.strip_suffix(".bin"));
        if let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) {
            batches.push((number, path));
        }
    }
    batches.sort();
    Ok(batches.into_iter().map(|(_, path)| path).collect())
}

/// The ten names, one a line; a folder without the file has none.
fn class_names(path: &Path) -> Result<Vec<String>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let mut text = String::new();
    let read = open(path)?.take(1 << 16).read_to_string(&mut text);
    read.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => {
            Error::format(path, "the file", "text", "bytes that are not UTF-8")
        }
        _ => Error::io(path, error),
    })?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if names.len() != CLASSES {
        let found = format!("{} lines", names.len());
        return Err(Error::format(path, "the file", format!("{CLASSES} class names"), found));
    }
    Ok(names)
}
