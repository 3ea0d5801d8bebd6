//! Any folder of PNG and JPEG images.
//!
//! With a sub-folder a class (images may lie deeper in it), or without: then there are no labels.
//! Where the folder has a sub-folder `train`, that is learned from, and `test`, `val`, `valid` or
//! `validation` beside it, the first of these that has images, is judged on; letter case does not
//! matter. Classes are numbered in the order of their names. Images get three channels; they must
//! be of one size, or are resized to `data.size`. Nothing is left out in silence: notes name each
//! class folder and each part without images, and count every other kind of file.

use super::files::{LeftOut, is_image, kinds, list, read_files};
use super::package::Package;
use super::{Budget, Collector, Dataset, Loading, Splits, cifar};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The folder that is learned from, if there is one.
pub(super) const TRAIN: [&str; 1] = ["train"];
/// The folders that are judged on; the first one with images is taken.
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];

/// Whether a folder's name is one of these, in any letter case.
pub(super) fn is_part(folder: &str, names: &[&str]) -> bool {
    names.iter().any(|name| folder.eq_ignore_ascii_case(name))
}

/// Reads a folder of images.
pub(super) fn folder(package: &Package, loading: &Loading) -> Result<Splits> {
    let images: Vec<&str> = images(package).collect();
    let mut out = LeftOut::default();
    out.leave_lost(package, loading)?;
    if images.is_empty() {
        let beside = package.beside().iter().map(String::as_str);
        let names: Vec<&str> = package.names().chain(beside).collect();
        let found = match (cifar::python_version(&names), out.bad.first()) {
            (Some(python), _) => python,
            (None, Some(first)) => {
                let first = first.trim_start_matches("left out: ");
                format!("{} that cannot be read, the first: {first}", out.unreadable)
            }
            (None, None) => held(package, &names, ""),
        };
        let expected = "at least one file .png, .jpg or .jpeg";
        return Err(Error::format(package.place(), "the folder", expected, found));
    }
    let parts = Parts::find(package, &images, &mut out.notes)?;
    let classes = classes(package, &parts.train, &below(&images, &parts.train))?;
    let budget = Budget::new(loading.limit_bytes);
    let part = |split: &str, prefix: &str, classes: &[String], out: &mut LeftOut| {
        let files = labelled(package, prefix, &below(&images, prefix), classes)?;
        let mut images = Collector::new(loading, &budget);
        let labels = read_files(package, &files, loading, &mut images, out)?;
        let labels = (!classes.is_empty()).then_some(labels);
        Dataset::collected(format!("folder {split}"), images, labels, classes, classes.len())
    };
    let mut train = part("train", &parts.train, &classes, &mut out)?;
    drop_empty(&mut train, &mut out.notes);
    let classes = train.class_names.clone();
    let test =
        parts.test.as_ref().map(|prefix| part("test", prefix, &classes, &mut out)).transpose()?;
    for prefix in std::iter::once(&parts.train).chain(&parts.test) {
        note_empty(package, prefix, &mut out.notes);
    }
    let beside = package.beside().iter().map(String::as_str);
    out.note_others(package, package.names().chain(beside.clone()));
    let beside: Vec<&str> = beside.filter(|name| is_image(name)).collect();
    if !beside.is_empty() {
        let (count, named) = (beside.len(), list(&beside));
        out.notes.push(format!("left out: {count} images beside the set's folder: {named}"));
    }
    Splits::of(train, test).without(out).with_equal_sizes(package)
}

/// The names of all images that are files.
fn images(package: &Package) -> impl Iterator<Item = &str> {
    package.names().filter(|name| is_image(name) && !package.is_lost(name))
}

/// Where the parts of a set are: prefixes of names, empty or with `/` at their end.
struct Parts {
    train: String,
    test: Option<String>,
}

impl Parts {
    fn find(package: &Package, images: &[&str], notes: &mut Vec<String>) -> Result<Parts> {
        let top = |name: &&str| name.split_once('/').map(|(top, _)| top.to_string());
        let mut counts: BTreeMap<String, usize> =
            package.folders().filter(|name| !name.contains('/')).map(|f| (f.into(), 0)).collect();
        for top in images.iter().filter_map(top) {
            *counts.entry(top).or_default() += 1;
        }
        // In the order of `names`, and as these are written before other letter case.
        let of = |names: &[&str]| -> Vec<&String> {
            let rank = |folder: &str| {
                let place = names.iter().position(|name| is_part(folder, &[name]));
                (place, !names.contains(&folder))
            };
            let mut found: Vec<&String> =
                counts.keys().filter(|folder| is_part(folder, names)).collect();
            found.sort_by_key(|folder| rank(folder));
            found
        };
        let with_images = |folder: &&&String| counts[**folder] > 0;
        let (trains, tests) = (of(&TRAIN), of(&TEST));
        let train = trains.iter().find(with_images);
        let test = tests.iter().find(with_images);
        let Some(train) = train else {
            if let (Some(train), Some(_)) = (trains.first(), test) {
                let path = package.place().join(train);
                let expected = "at least one file .png, .jpg or .jpeg";
                return Err(Error::format(path, "the folder", expected, held_in(package, train)));
            }
            return Ok(Parts { train: String::new(), test: None });
        };
        if let Some(test) = test.filter(|test| **test != "test") {
            notes.push(format!("the test images are those in {test}/"));
        }
        for (folder, &count) in &counts {
            if [Some(train), test].contains(&Some(&folder)) {
                continue;
            }
            match count {
                0 => notes
                    .push(format!("no images in {folder}/: it has {}", held_in(package, folder))),
                _ => notes.push(format!("left out: {count} images in {folder}/")),
            }
        }
        let loose: Vec<&str> = images.iter().copied().filter(|name| !name.contains('/')).collect();
        if !loose.is_empty() {
            let (count, named) = (loose.len(), list(&loose));
            notes.push(format!("left out: {count} images beside {train}/: {named}"));
        }
        let prefix = |folder: &&String| format!("{folder}/");
        Ok(Parts { train: prefix(train), test: test.map(prefix) })
    }
}

/// The images whose names begin with `prefix`.
fn below<'a>(images: &[&'a str], prefix: &str) -> Vec<&'a str> {
    images.iter().copied().filter(|name| name.starts_with(prefix)).collect()
}

/// What the folder `folder` has in the place of images.
fn held_in(package: &Package, folder: &str) -> String {
    let prefix = format!("{folder}/");
    let names: Vec<&str> = package.names().filter(|name| name.starts_with(&prefix)).collect();
    held(package, &names, &prefix)
}

/// What there is under these names, which begin with `prefix`, in the place of images.
fn held(package: &Package, names: &[&str], prefix: &str) -> String {
    let (lost, files): (Vec<&str>, Vec<&str>) = names.iter().partition(|n| package.is_lost(n));
    let hidden = package.hidden().iter().filter(|name| name.starts_with(prefix)).count();
    let parts = [
        (lost.len(), format!("{} that cannot be read", lost.len())),
        (files.len(), kinds(&files)),
        (hidden, format!("{hidden} hidden")),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text);
    match parts.collect::<Vec<_>>().join(", ") {
        nothing if nothing.is_empty() => "nothing".into(),
        parts => format!("only {parts}"),
    }
}

/// Notes each class folder below `prefix` that has no image.
pub(super) fn note_empty(package: &Package, prefix: &str, notes: &mut Vec<String>) {
    let full: BTreeSet<&str> = images(package).filter_map(|name| class(prefix, name)).collect();
    for folder in package.folders() {
        let Some(own) = folder.strip_prefix(prefix).filter(|own| !own.contains('/')) else {
            continue;
        };
        if !full.contains(own) && !package.is_lost(folder) {
            let held = held_in(package, folder);
            notes.push(format!("no images in the folder {folder}: it has {held}"));
        }
    }
}

/// Takes classes away of which no image could be read, as if their folders were empty.
fn drop_empty(train: &mut Dataset, notes: &mut Vec<String>) {
    let counts = train.class_counts();
    let kept: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] > 0).collect();
    for class in (0..counts.len()).filter(|&class| counts[class] == 0) {
        let name = &train.class_names[class];
        notes.push(format!("no image of the class {name} can be read: it is left out"));
    }
    for label in train.labels.iter_mut().flatten() {
        let number = kept.binary_search(&(*label as usize));
        *label = number.expect("a class with an image is kept") as u32;
    }
    train.class_names = kept.iter().map(|&class| train.class_names[class].clone()).collect();
    train.classes = kept.len();
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
