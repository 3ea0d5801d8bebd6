//! Named files, from a folder or out of an archive, under the same names.
//!
//! An archive gives what the same files unpacked would give, links among them too; see [`tree`].
//! Nothing is ever written under a name that an archive gives: what a `.tar.gz` holds goes into one
//! temporary file, what a `.zip` holds is read in place. Names that lead out of the archive (`..`,
//! absolute ones) are refused, and what unpacks to more than [`ArchiveLimits`] is given up. What
//! cannot be read stays in the list with the reason, and is an error once it is opened.

#[cfg(feature = "cli")]
pub(super) mod archive;
mod names;
#[cfg(feature = "cli")]
mod tar;
#[cfg(feature = "cli")]
mod tree;
mod walk;
#[cfg(feature = "cli")]
mod zip;

use super::ArchiveLimits;
use super::files::is_image;
use super::folder::{TRAIN, is_part};
use super::read::{self, Bytes};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Folders within folders that are looked into; deeper ones are listed as closed.
const DEEPEST: usize = 8;

/// Extensions of pictures that no reader here takes: a folder of them is a class that has none.
const OTHER_PICTURES: [&str; 12] =
    ["avif", "bmp", "gif", "heic", "jfif", "jp2", "jxl", "ppm", "svg", "tif", "tiff", "webp"];

/// A set of named files.
pub(super) struct Package {
    /// The folder or the archive.
    path: PathBuf,
    /// The folder within the archive that the names are below, as `cifar-10-batches-bin/`.
    root: String,
    listing: Listing,
    /// The names of what an archive has beside that folder.
    beside: Vec<String>,
    #[cfg(feature = "cli")]
    archive: Option<archive::Archive>,
}

/// What is in a folder or an archive; the parts of names are separated by `/`.
#[derive(Default)]
pub(super) struct Listing {
    entries: BTreeMap<String, Entry>,
    /// The folders on the way, empty ones too.
    folders: BTreeSet<String>,
    /// Hidden files and folders, which are passed over, but for those that systems leave behind.
    hidden: Vec<String>,
    /// What is remarkable, for people, a line each.
    notes: Vec<String>,
}

/// Where the bytes of a name are.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    File(PathBuf),
    /// The place in an archive's own terms, and the length.
    #[cfg(feature = "cli")]
    Packed {
        at: u64,
        len: u64,
    },
    /// No file: a link that leads to none, a device. Only a bad image if it has an image's name.
    Lost(Fault),
    /// What may have been a folder of images.
    Closed(Fault),
}

/// Why an entry cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    expected: String,
    found: String,
}

impl Fault {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Fault {
        Fault { expected: expected.into(), found: found.into() }
    }

    fn too_deep() -> Fault {
        Fault::new(format!("at most {DEEPEST} folders within each other"), "one more")
    }
}

impl Listing {
    fn lost(&mut self, name: String, expected: &str, found: impl Into<String>) {
        self.entries.entry(name).or_insert(Entry::Lost(Fault::new(expected, found)));
    }
}

impl Package {
    /// All files below a folder, those behind links too.
    ///
    /// # Errors
    /// `Io` if the system refuses the folder.
    pub(super) fn folder(path: &Path) -> Result<Package> {
        Ok(Package::new(path, walk::walk(path)?))
    }

    fn new(path: &Path, mut listing: Listing) -> Package {
        // Folders are read in no order.
        listing.hidden.sort_unstable();
        Package {
            path: path.to_path_buf(),
            root: String::new(),
            listing,
            beside: Vec::new(),
            #[cfg(feature = "cli")]
            archive: None,
        }
    }

    /// The files of an archive for which `wanted` (given a name's last part) holds.
    ///
    /// # Errors
    /// `Format` for what is no archive, a damaged one, a name that leads out of it, more than the
    /// limits; `Io` for what the system refuses.
    #[cfg(feature = "cli")]
    pub(super) fn archive(
        path: &Path,
        limits: ArchiveLimits,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Package> {
        let (archive, listing) = archive::open(path, limits, wanted)?;
        Ok(Package { archive: Some(archive), ..Package::new(path, listing) })
    }

    /// As above; this build has no archives.
    #[cfg(not(feature = "cli"))]
    pub(super) fn archive(
        path: &Path,
        _limits: ArchiveLimits,
        _wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Package> {
        let expected = "a folder, since this build is without the feature `cli`";
        Err(Error::format(path, "the path", expected, "a file: unpack it"))
    }

    /// The same files under their names below the folder that holds one of `keys`, or, without
    /// keys, below the one top folder that holds all images; absent if no folder holds a key.
    pub(super) fn rooted(mut self, keys: &[&str]) -> Option<Package> {
        let root_of = |name: &String| -> Option<String> {
            let roots = keys.iter().filter_map(|key| name.strip_suffix(key));
            roots.filter(|root| root.is_empty() || root.ends_with('/')).map(String::from).next()
        };
        let root = match keys {
            [] => self.top().map_or(String::new(), |top| format!("{top}/")),
            // The one nearest to the top.
            _ => self.listing.entries.keys().filter_map(root_of).min_by_key(|root| root.len())?,
        };
        let Listing { entries, folders, hidden, notes } = std::mem::take(&mut self.listing);
        let below = |name: String| match name.strip_prefix(&root) {
            Some(below) => Ok(below.to_string()),
            None => Err(name),
        };
        let (mut own, mut beside) = (BTreeMap::new(), Vec::new());
        for (name, entry) in entries {
            match below(name) {
                Ok(name) => drop(own.insert(name, entry)),
                Err(name) => beside.push(name),
            }
        }
        let folders = folders.into_iter().filter_map(|name| below(name).ok()).collect();
        let hidden = hidden.into_iter().map(|name| below(name).unwrap_or_else(|name| name));
        self.listing = Listing { entries: own, folders, hidden: hidden.collect(), notes };
        (self.root, self.beside) = (root, beside);
        Some(self)
    }

    /// The one top folder that has images, if it is not itself a class or a part among others.
    ///
    /// What lies beside such a folder is no part of the set. A folder whose images lie in folders
    /// of their own is one, unless another top folder has pictures; so is one that is alone.
    fn top(&self) -> Option<&str> {
        let images = || self.names().filter(|name| is_image(name));
        let tops: BTreeSet<&str> =
            images().filter_map(|name| Some(name.split_once('/')?.0)).collect();
        let top = *tops.first().filter(|top| tops.len() == 1 && !is_part(top, &TRAIN))?;
        let below = |name: &str| name.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'));
        let is_other = |name: &str| !name.contains('/') && name != top;
        let alone = !self.folders().any(is_other) && images().all(below);
        let is_flat = images().any(|name| below(name) && name.matches('/').count() == 1);
        let elsewhere = |name: &str| {
            let extension = name.rsplit_once('.').unwrap_or_default().1.to_ascii_lowercase();
            OTHER_PICTURES.contains(&extension.as_str()) && name.contains('/') && !below(name)
        };
        (alone || !is_flat && !self.names().any(elsewhere)).then_some(top)
    }

    /// The names of all files, parts separated by `/`, in their order; those that cannot be read
    /// are among them.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.listing.entries.keys().map(String::as_str)
    }

    /// The names of all folders.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        self.listing.folders.iter().map(String::as_str)
    }

    /// The names of hidden files and folders.
    pub(super) fn hidden(&self) -> &[String] {
        &self.listing.hidden
    }

    /// The names of what an archive has beside the folder that the set is in.
    pub(super) fn beside(&self) -> &[String] {
        &self.beside
    }

    /// What is remarkable, for people, a line each.
    pub(super) fn notes(&self) -> &[String] {
        &self.listing.notes
    }

    /// Whether what has this name cannot be opened.
    pub(super) fn is_lost(&self, name: &str) -> bool {
        matches!(self.listing.entries.get(name), Some(Entry::Lost(_) | Entry::Closed(_)))
    }

    /// What there is in the place of a file of this name, if it is no folder either.
    pub(super) fn lost(&self, name: &str) -> Option<&str> {
        match self.listing.entries.get(name)? {
            Entry::Lost(fault) => Some(&fault.found),
            _ => None,
        }
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.listing.entries.contains_key(name)
    }

    /// `name`, or the same compressed, `name.gz`; the plain one if both are there.
    pub(super) fn plain_or_gz(&self, name: &str) -> Option<String> {
        [name.to_string(), format!("{name}.gz")].into_iter().find(|name| self.has(name))
    }

    /// The folder or archive.
    pub(super) fn place(&self) -> PathBuf {
        match self.root.trim_end_matches('/') {
            "" => self.path.clone(),
            root => self.path.join(root),
        }
    }

    /// A file's path for errors; below the archive's if it is in one.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self.listing.entries.get(name) {
            Some(Entry::File(path)) => path.clone(),
            _ => self.path.join(format!("{}{name}", self.root)),
        }
    }

    /// Opens a file, unpacking it when its name ends in `.gz`.
    ///
    /// # Errors
    /// `Format` if there is no such file or it cannot be read, `Io` if it cannot be opened.
    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Read + '_>> {
        match self.listing.entries.get(name) {
            None => Err(self.missing(name)),
            Some(Entry::File(path)) => read::open(path),
            Some(Entry::Lost(Fault { expected, found })) => {
                Err(Error::format(self.path(name), "the file", expected, found))
            }
            Some(Entry::Closed(Fault { expected, found })) => {
                Err(Error::format(self.path(name), "the folder", expected, found))
            }
            #[cfg(feature = "cli")]
            Some(&Entry::Packed { at, len }) => {
                let archive = self.archive.as_ref().expect("packed entries are of an archive");
                let reader = archive.reader(at, len, &self.path(name))?;
                Ok(if name.ends_with(".gz") { read::gunzip(reader) } else { reader })
            }
        }
    }

    /// A whole file of at most `most` bytes.
    ///
    /// # Errors
    /// As [`Package::open`], and `Format` for a longer one.
    pub(super) fn read(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        let path = self.path(name);
        Bytes::new(self.open(name)?, &path).all(most)
    }

    /// A text of at most 16 MiB.
    ///
    /// # Errors
    /// As [`Package::read`], and `Format` for what is not UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<String> {
        let bytes = self.read(name, 16 << 20)?;
        String::from_utf8(bytes).map_err(|_| {
            Error::format(self.path(name), "the file", "text", "bytes that are not UTF-8")
        })
    }

    /// The error of a package without one of its files.
    pub(super) fn missing(&self, file: &str) -> Error {
        let what = if self.path.is_dir() { "the folder" } else { "the archive" };
        Error::format(self.place(), what, format!("the file {file}"), "no such file")
    }
}
