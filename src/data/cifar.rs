//! CIFAR-10 and CIFAR-100 in their official binary layouts.
//!
//! A file is records: the label bytes, then 1,024 bytes each of red, green and blue, row by row.
//! CIFAR-10 has one label byte (0 to 9), CIFAR-100 two: the coarse class (0 to 19), then the fine
//! one (0 to 99). Training of CIFAR-10 is any number of `data_batch_<number>.bin`, in the order of
//! their numbers, its test split `test_batch.bin`; CIFAR-100 has `train.bin` and `test.bin`.
//! Text files name the classes, one a line.

use super::package::Package;
use super::read::Bytes;
use super::{Budget, Collector, Dataset, Labels, Loading, Splits};
use crate::error::{Error, Result};
use std::io::Read;
use std::path::Path;

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;

/// What precedes the pixels of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One byte: the class, below 10.
    Cifar10,
    /// Two bytes, coarse below 20 and fine below 100, of which one is the class.
    Cifar100(Labels),
}

impl Layout {
    /// How many classes each label byte knows.
    fn label_bytes(self) -> &'static [usize] {
        match self {
            Layout::Cifar10 => &[10],
            Layout::Cifar100(_) => &[20, 100],
        }
    }

    /// Which label byte is the class.
    fn class_byte(self) -> usize {
        usize::from(self == Layout::Cifar100(Labels::Fine))
    }

    fn classes(self) -> usize {
        self.label_bytes()[self.class_byte()]
    }
}

/// Appends the records of one file to `labels` and `images`; `path` is for the errors. Returns how
/// many there were.
///
/// # Errors
/// `Format` for no record at all, a last record that is not whole, a label out of range; as
/// [`Collector::push`].
pub fn read_batch(
    reader: impl Read,
    path: &Path,
    layout: Layout,
    labels: &mut Vec<u32>,
    images: &mut Collector<'_>,
) -> Result<usize> {
    let limits = layout.label_bytes();
    let mut bytes = Bytes::new(reader, path);
    let mut record = vec![0; limits.len() + 3 * PIXELS];
    let mut image = [0; 3 * PIXELS];
    for count in 0.. {
        let at = (count * record.len()) as u64;
        let read = bytes.up_to(&mut record)?;
        if read == 0 && count > 0 {
            return Ok(count);
        }
        if read < record.len() {
            let expected = format!("a record of {} bytes", record.len());
            return Err(bytes.error(at, expected, format!("the end of the file after {read}")));
        }
        for (place, (&label, &limit)) in record.iter().zip(limits).enumerate() {
            if usize::from(label) >= limit {
                let expected = format!("a label below {limit} (record {count})");
                return Err(bytes.error(at + place as u64, expected, label.to_string()));
            }
        }
        labels.push(u32::from(record[layout.class_byte()]));
        let planes = &record[limits.len()..];
        for (i, pixel) in image.chunks_exact_mut(3).enumerate() {
            pixel.copy_from_slice(&[planes[i], planes[PIXELS + i], planes[2 * PIXELS + i]]);
        }
        images.push(&image, [SIDE, SIDE, 3])?;
    }
    unreachable!("the loop over records ends at the end of the file")
}

/// What files of these names are, if they are the Python version of CIFAR, with what to do.
pub(super) fn python_version(names: &[&str]) -> Option<String> {
    let files = |wanted: &[&str]| {
        let first = |name: &&str| name.strip_suffix(wanted[0]).map(str::to_string);
        let folders = names.iter().filter_map(first);
        let mut folders = folders.filter(|folder| folder.is_empty() || folder.ends_with('/'));
        folders.any(|folder| {
            wanted.iter().all(|file| names.contains(&format!("{folder}{file}").as_str()))
        })
    };
    let (set, archive) = match () {
        _ if files(&["data_batch_1"]) || files(&["batches.meta", "test_batch"]) => {
            ("CIFAR-10", "cifar-10-binary.tar.gz")
        }
        _ if files(&["meta", "train", "test"]) => ("CIFAR-100", "cifar-100-binary.tar.gz"),
        _ => return None,
    };
    Some(format!(
        "the Python version of {set} (pickled batches), which is not read here: get the binary \
         version, {archive}, from https://www.cs.toronto.edu/~kriz/cifar.html"
    ))
}

/// The same of a folder, its official sub-folders and archives.
pub(super) fn python_version_at(path: &Path) -> Option<String> {
    let folders = ["", "cifar-10-batches-py", "cifar-100-python"];
    const FILES: [&str; 6] =
        ["data_batch_1", "batches.meta", "test_batch", "meta", "train", "test"];
    let found = folders.iter().find_map(|folder| {
        let there = |file: &&&str| path.join(folder).join(file).is_file();
        python_version(&FILES.iter().filter(there).copied().collect::<Vec<_>>())
    });
    let archive = |name: &str| path.join(name).is_file();
    found.or_else(|| match () {
        _ if archive("cifar-10-python.tar.gz") => python_version(&["data_batch_1"]),
        _ if archive("cifar-100-python.tar.gz") => python_version(&["meta", "train", "test"]),
        _ => None,
    })
}

/// Reads CIFAR-10.
pub(super) fn cifar10(package: &Package, loading: &Loading) -> Result<Splits> {
    let mut batches: Vec<(u32, &str)> = package
        .names()
        .filter_map(|name| {
            let number = name.strip_prefix("data_batch_")?.strip_suffix(".bin")?;
            Some((number.parse().ok()?, name))
        })
        .collect();
    batches.sort_unstable();
    if batches.is_empty() {
        return Err(package.missing("data_batch_1.bin"));
    }
    let train: Vec<&str> = batches.into_iter().map(|(_, name)| name).collect();
    read_splits(package, loading, Layout::Cifar10, &train, "test_batch.bin", "batches.meta.txt")
}

/// Reads CIFAR-100.
pub(super) fn cifar100(package: &Package, loading: &Loading) -> Result<Splits> {
    let names = match loading.labels {
        Labels::Fine => "fine_label_names.txt",
        Labels::Coarse => "coarse_label_names.txt",
    };
    let layout = Layout::Cifar100(loading.labels);
    read_splits(package, loading, layout, &["train.bin"], "test.bin", names)
}

fn read_splits(
    package: &Package,
    loading: &Loading,
    layout: Layout,
    train: &[&str],
    test: &str,
    names: &str,
) -> Result<Splits> {
    if !package.has(test) {
        return Err(package.missing(test));
    }
    let set = match layout {
        Layout::Cifar10 => "cifar10",
        Layout::Cifar100(_) => "cifar100",
    };
    let classes = layout.classes();
    let class_names = class_names(package, names, classes)?;
    let budget = Budget::new(loading.limit_bytes);
    let part = |split: &str, files: &[&str]| {
        let (mut labels, mut images) = (Vec::new(), Collector::new(loading, &budget));
        for file in files {
            let reader = package.open(file)?;
            read_batch(reader, &package.path(file), layout, &mut labels, &mut images)?;
        }
        Dataset::collected(format!("{set} {split}"), images, Some(labels), &class_names, classes)
    };
    Ok(Splits::of(part("train", train)?, Some(part("test", &[test])?)))
}

/// The names of the classes, one a line; a set without the file has none.
pub(super) fn class_names(package: &Package, name: &str, classes: usize) -> Result<Vec<String>> {
    if !package.has(name) {
        return Ok(Vec::new());
    }
    let text = package.text(name)?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if names.len() != classes {
        let (expected, found) =
            (format!("{classes} class names"), format!("{} lines", names.len()));
        return Err(Error::format(package.path(name), "the file", expected, found));
    }
    Ok(names)
}
