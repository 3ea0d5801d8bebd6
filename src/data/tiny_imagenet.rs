//! Tiny-ImageNet-200 in its official layout, whole or with some of its classes.
//!
//! `train/<class>/images/*.JPEG` are the training images; `val/images/*.JPEG` lie flat, and only
//! `val/val_annotations.txt` says which class each is of (the name, a tab, the class, ...).
//! `wnids.txt` lists the classes, one a line, in the order of their numbers; `words.txt` names
//! them (the class, a tab, words). Some images are grey: they get three equal channels. `test/` has
//! no labels and is not read.

use super::files::{LeftOut, is_image, read_files};
use super::package::Package;
use super::{Budget, Collector, Dataset, Loading, Splits, folder};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

const ANNOTATIONS: &str = "val/val_annotations.txt";

/// The class of each validation image, from the text of `val_annotations.txt`.
///
/// # Errors
/// `Format` naming the line that has no name and class, or names an image twice.
pub fn annotations(text: &str, path: &std::path::Path) -> Result<BTreeMap<String, String>> {
    let mut classes = BTreeMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |expected: &str| {
            let found = format!("{:?}", line.chars().take(60).collect::<String>());
            Error::format(path, format!("line {}", number + 1), expected, found)
        };
        let mut fields = line.split('\t').map(str::trim);
        let (Some(name), Some(class)) = (fields.next(), fields.next()) else {
            return Err(wrong("an image's name, a tab and its class"));
        };
        if name.is_empty() || class.is_empty() {
            return Err(wrong("an image's name, a tab and its class"));
        }
        if classes.insert(name.to_string(), class.to_string()).is_some() {
            return Err(wrong("an image that has no line yet"));
        }
    }
    Ok(classes)
}

/// Reads Tiny-ImageNet.
pub(super) fn tiny_imagenet(package: &Package, loading: &Loading) -> Result<Splits> {
    let classes = classes(package)?;
    let number = |class: &str| classes.iter().position(|known| known == class);
    let mut out = LeftOut::default();
    out.leave_lost(package, loading)?;
    let train: Vec<(String, u32)> = package
        .names()
        .filter(|name| is_image(name) && !package.is_lost(name))
        .filter_map(|name| Some((name.to_string(), number(train_class(name)?)? as u32)))
        .collect();
    let test = validation_files(package, &number, &mut out.notes)?;
    let class_names = class_names(package, &classes)?;
    let budget = Budget::new(loading.limit_bytes);
    let mut part = |split: &str, files: &[(String, u32)]| {
        let mut images = Collector::new(loading, &budget);
        let labels = read_files(package, files, loading, &mut images, &mut out)?;
        let name = format!("tiny-imagenet {split}");
        Dataset::collected(name, images, Some(labels), &class_names, classes.len())
    };
    let (train, test) = (part("train", &train)?, part("validation", &test)?);
    folder::note_empty(package, "train/", &mut out.notes);
    out.note_others(package, package.names().filter(|name| name.contains("/images/")));
    Splits::of(train, Some(test)).without(out).with_equal_sizes(package)
}

/// The class in a training image's name.
fn train_class(name: &str) -> Option<&str> {
    Some(name.strip_prefix("train/")?.split_once('/')?.0)
}

/// The classes that have training images, in the order of `wnids.txt`, else of their names.
fn classes(package: &Package) -> Result<Vec<String>> {
    let images = package.names().filter(|name| is_image(name));
    let present: BTreeSet<&str> = images.filter_map(train_class).collect();
    if present.is_empty() {
        return Err(package.missing("train/<class>/images/*.JPEG"));
    }
    if !package.has("wnids.txt") {
        return Ok(present.into_iter().map(String::from).collect());
    }
    let text = package.text("wnids.txt")?;
    let listed: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(unlisted) = present.iter().find(|class| !listed.contains(class)) {
        let expected = format!("the class {unlisted}, which has a folder in train/");
        return Err(Error::format(package.path("wnids.txt"), "the file", expected, "no such line"));
    }
    let kept = listed.into_iter().filter(|class| present.contains(class));
    let mut seen = BTreeSet::new();
    Ok(kept.filter(|class| seen.insert(*class)).map(String::from).collect())
}

/// The validation images of the classes, with their numbers; others are left out and counted.
fn validation_files(
    package: &Package,
    number: &dyn Fn(&str) -> Option<usize>,
    notes: &mut Vec<String>,
) -> Result<Vec<(String, u32)>> {
    let path = package.path(ANNOTATIONS);
    let annotated = annotations(&package.text(ANNOTATIONS)?, &path)?;
    for name in package.names().filter_map(|name| name.strip_prefix("val/images/")) {
        if is_image(name) && !annotated.contains_key(name) {
            let expected = format!("a line for the image {name}");
            return Err(Error::format(path, "the file", expected, "no such line"));
        }
    }
    let (mut files, mut others) = (Vec::new(), 0);
    for (name, class) in annotated {
        let name = format!("val/images/{name}");
        match number(&class) {
            None => others += 1,
            Some(_) if package.is_lost(&name) => {} // Left out already, by its name.
            // One that is not there is found missing, by its name, when it is read.
            Some(number) => files.push((name, number as u32)),
        }
    }
    if others > 0 {
        notes.push(format!(
            "left out: {others} validation images of classes without training images"
        ));
    }
    Ok(files)
}

/// The first of the words of each class; a set without `words.txt` has the classes' own names.
fn class_names(package: &Package, classes: &[String]) -> Result<Vec<String>> {
    if !package.has("words.txt") {
        return Ok(classes.to_vec());
    }
    let text = package.text("words.txt")?;
    let words: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once('\t')).collect();
    let name = |class: &String| {
        let words = words.get(class.as_str()).copied().unwrap_or(class);
        words.split(',').next().unwrap_or(words).trim().to_string()
    };
    Ok(classes.iter().map(name).collect())
}
