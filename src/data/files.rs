//! Sets of one file an image: which files are images, and what is said of those left out.

#[cfg(feature = "images")]
pub(super) use super::decode::read_files;
use super::package::Package;
use super::{Bad, Loading};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Files that are named when some are left out; all are counted.
const NAMED: usize = 5;
/// Kinds of files that are named; all files are counted.
const KINDS: usize = 8;

/// Whether a name ends like that of an image.
pub(super) fn is_image(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    extension.is_some_and(|extension| ["png", "jpg", "jpeg"].contains(&extension.as_str()))
}

/// What was left out of the files so far.
#[derive(Default)]
pub(super) struct LeftOut {
    pub(super) notes: Vec<String>,
    /// Images that cannot be read, the first ones by name.
    pub(super) bad: Vec<String>,
    pub(super) unreadable: usize,
}

impl LeftOut {
    /// Leaves out what cannot be read, or refuses it.
    ///
    /// # Errors
    /// The given one, with what to do, if images that cannot be read are refused.
    pub(super) fn leave(&mut self, error: Error, loading: &Loading) -> Result<()> {
        if loading.bad == Bad::Refuse {
            return Err(with_advice(error));
        }
        self.unreadable += 1;
        if self.unreadable <= NAMED {
            self.bad.push(format!("left out: {error}"));
        }
        Ok(())
    }

    /// Leaves out every folder that cannot be looked into and every image that is no file, or
    /// refuses the first.
    ///
    /// # Errors
    /// As [`LeftOut::leave`].
    pub(super) fn leave_lost(&mut self, package: &Package, loading: &Loading) -> Result<()> {
        let lost = package.names().filter(|name| {
            package.is_lost(name) && (is_image(name) || package.lost(name).is_none())
        });
        lost.filter_map(|name| package.open(name).err()).try_for_each(|e| self.leave(e, loading))
    }

    /// Notes what is no image, of these `names`: each kind with its number, and links and devices
    /// by name.
    pub(super) fn note_others<'a>(
        &mut self,
        package: &'a Package,
        names: impl Iterator<Item = &'a str>,
    ) {
        // Folders that cannot be looked into are bad images.
        let is_closed = |name: &str| package.is_lost(name) && package.lost(name).is_none();
        let names = names.filter(|name| !is_image(name) && !is_closed(name));
        let (lost, others): (Vec<&str>, Vec<&str>) =
            names.partition(|name| package.lost(name).is_some());
        if !others.is_empty() {
            let (count, files) = (others.len(), if others.len() == 1 { "file" } else { "files" });
            let kinds = kinds(&others);
            self.notes.push(format!("left out: {count} {files} of other kinds: {kinds}"));
        }
        let named = |name: &&str| {
            let found = package.lost(name).unwrap_or_default();
            format!("left out: {name}, which is no file but {found}")
        };
        self.notes.extend(lost.iter().take(NAMED).map(named));
        if lost.len() > NAMED {
            let more = lost.len() - NAMED;
            self.notes.push(format!("left out: {more} more that are no files"));
        }
        let hidden = package.hidden();
        if !hidden.is_empty() {
            let (count, named) = (hidden.len(), list(hidden));
            self.notes.push(format!("left out: {count} hidden: {named}"));
        }
    }

    /// The parts of a set's report, in their order.
    pub(super) fn finish(mut self) -> LeftOut {
        if self.unreadable > NAMED {
            let (all, more) = (self.unreadable, self.unreadable - NAMED);
            self.bad.push(format!("left out: {more} more unreadable images, {all} in all"));
        }
        self
    }
}

/// Some names, the first ones in words.
pub(super) fn list<T: AsRef<str>>(names: &[T]) -> String {
    let mut text: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(NAMED);
    let rest = format!("{more} more");
    if more > 0 {
        text.push(&rest);
    }
    text.join(", ")
}

/// How many files there are of each kind, most first: `3 .webp, 1 .txt`.
pub(super) fn kinds(names: &[&str]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        let own = name.rsplit('/').next().unwrap_or(name);
        // What is long or has blanks is no kind, but the end of a sentence.
        let extension = own.rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
        let is_kind = |text: &String| !text.is_empty() && text.len() <= 12 && !text.contains(' ');
        let kind = extension.filter(is_kind);
        let kind = kind.map_or("without an extension".into(), |extension| format!(".{extension}"));
        *counts.entry(kind).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rest: usize = counts.iter().skip(KINDS).map(|(_, count)| count).sum();
    let mut text: Vec<String> =
        counts.iter().take(KINDS).map(|(kind, count)| format!("{count} {kind}")).collect();
    if rest > 0 {
        text.push(format!("{rest} of more kinds"));
    }
    text.join(", ")
}

/// The same error with what to do: images may be left out.
fn with_advice(error: Error) -> Error {
    const ADVICE: &str = "(--skip-bad or data.skip_bad leaves such images out)";
    match error {
        Error::Format { path, place, expected, found } => {
            Error::Format { path, place, expected, found: format!("{found} {ADVICE}") }
        }
        Error::Io { path, source } => {
            Error::io(path, std::io::Error::new(source.kind(), format!("{source} {ADVICE}")))
        }
        other => other,
    }
}

/// Reads the images of some files; this build has no decoders.
///
/// # Errors
/// `Format`, which names the feature that has them.
#[cfg(not(feature = "images"))]
pub(super) fn read_files(
    package: &Package,
    _files: &[(String, u32)],
    _loading: &Loading,
    _images: &mut super::Collector<'_>,
    _out: &mut LeftOut,
) -> Result<Vec<u32>> {
    let expected = "a build of dimask with the feature `images`, which decodes PNG and JPEG (in \
                    Cargo.toml: features = [\"images\"])";
    Err(Error::format(package.place(), "the images", expected, "a build without it"))
}
