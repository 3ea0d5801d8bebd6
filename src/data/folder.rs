//! Any folder of PNG and JPEG images.
//!
//! With a sub-folder a class (images may lie deeper in it), or without: then there are no labels.
//! Where the folder has a sub-folder `train`, that is learned from and `test`, `val` or
//! `validation` beside it is judged on. Classes are numbered in the order of their names. Images
//! get three channels; they must be of one size, or are resized to `data.size`.

use super::files::{LeftOut, is_image, read_files};
use super::package::Package;
use super::{Budget, Collector, Dataset, Loading, Splits};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

const TEST_FOLDERS: [&str; 3] = ["test", "val", "validation"];

/// Reads a folder of images.
pub(super) fn folder(package: &Package, loading: &Loading) -> Result<Splits> {
    let images: Vec<&str> = package.names().filter(|name| is_image(name)).collect();
    if images.is_empty() {
        let expected = "at least one file .png, .jpg or .jpeg";
        return Err(Error::format(package.place(), "the folder", expected, "none"));
    }
    let below = |folder: &str| -> Vec<&str> {
        let prefix = format!("{folder}/");
        images.iter().copied().filter(|name| name.starts_with(&prefix)).collect()
    };
    let train = below("train");
    let test_folder = TEST_FOLDERS.into_iter().find(|folder| !below(folder).is_empty());
    let (prefix, train, test) = match (train.is_empty(), test_folder) {
        (true, _) => ("", images.clone(), None),
        (false, None) => ("train/", train, None),
        (false, Some(folder)) => ("train/", train, Some((format!("{folder}/"), below(folder)))),
    };
    let classes = classes(package, prefix, &train)?;
    let mut out = LeftOut::default();
    let others = package.names().count() - images.len();
    if others > 0 {
        out.notes.push(format!("left out: {others} files that are not .png, .jpg or .jpeg"));
    }
    let budget = Budget::new(loading.limit_bytes);
    let mut part = |split: &str, prefix: &str, names: &[&str]| {
        let files = labelled(package, prefix, names, &classes)?;
        let mut images = Collector::new(loading, &budget);
        let labels = read_files(package, &files, loading, &mut images, &mut out)?;
        let labels = (!classes.is_empty()).then_some(labels);
        Dataset::collected(format!("folder {split}"), images, labels, &classes, classes.len())
    };
    let train = part("train", prefix, &train)?;
    let test = test.map(|(prefix, names)| part("test", &prefix, &names)).transpose()?;
    Splits::of(train, test).without(out).with_equal_sizes(package)
}

/// The sub-folder below `prefix` that an image is in; none for one that lies there itself.
fn class<'a>(prefix: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(prefix)?.split_once('/').map(|(class, _)| class)
}

/// The classes of the training images; none if all lie beside each other.
fn classes(package: &Package, prefix: &str, names: &[&str]) -> Result<Vec<String>> {
    let classes: BTreeSet<&str> = names.iter().filter_map(|name| class(prefix, name)).collect();
    let loose = names.iter().find(|name| class(prefix, name).is_none());
    if let (Some(loose), false) = (loose, classes.is_empty()) {
        let expected = "every image in a sub-folder, its class, or none";
        return Err(Error::format(package.path(loose), "the file", expected, "both kinds"));
    }
    Ok(classes.into_iter().map(String::from).collect())
}

/// Files with their classes' numbers; 0 where there are no classes.
fn labelled(
    package: &Package,
    prefix: &str,
    names: &[&str],
    classes: &[String],
) -> Result<Vec<(String, u32)>> {
    let with_label = |name: &&str| {
        let number = match class(prefix, name) {
            _ if classes.is_empty() => Some(0),
            Some(class) => classes.iter().position(|known| known == class),
            None => None,
        };
        let number = number.ok_or_else(|| {
            let expected = "a class that has training images";
            let found = class(prefix, name).unwrap_or("none");
            Error::format(package.path(name), "the file", expected, found)
        })?;
        Ok((name.to_string(), number as u32))
    };
    names.iter().map(with_label).collect()
}
