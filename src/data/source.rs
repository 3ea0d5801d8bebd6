//! `NAME[:PATH]`: which data set, and where it is.

use super::package::Package;
use super::{Loading, Splits, Unlabelled, cifar, folder, idx, stl, tiny_imagenet};
use crate::error::{Error, Result, tilde};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fmt, io, str};

/// A data set that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "cli", serde(rename_all = "kebab-case"))]
pub enum SourceName {
    /// 60,000 and 10,000 images of clothing, 28x28 gray, 10 classes; carried with the crate.
    FashionMnist,
    /// 60,000 and 10,000 images of digits, 28x28 gray, 10 classes.
    Mnist,
    /// 50,000 and 10,000 images, 32x32 colour, 10 classes.
    Cifar10,
    /// 50,000 and 10,000 images, 32x32 colour, 100 classes in 20 groups.
    Cifar100,
    /// 5,000 and 8,000 images, 96x96 colour, 10 classes; 100,000 more without labels.
    Stl10,
    /// 100,000 and 10,000 images, 64x64 colour, 200 classes.
    TinyImagenet,
    /// Any folder of PNG and JPEG images.
    Folder,
}

/// What is known of a data set before its files are open.
pub(super) struct Entry {
    pub(super) source: SourceName,
    pub(super) name: &'static str,
    /// Where its official folder is under a folder of data sets.
    folders: &'static [&'static str],
    /// Its archive's name.
    archive: &'static str,
    /// Files of which one is in its official folder.
    keys: &'static [&'static str],
    /// Files that it cannot do without; of a name with `/` at its end, anything below it.
    #[cfg_attr(not(feature = "cli"), expect(dead_code))]
    // Only `data check` asks for all of them.
    pub(super) required: &'static [&'static str],
    /// Its files, for the error.
    files: &'static str,
    /// Where it can be had, if it is one thing.
    pub(super) url: Option<&'static str>,
    read: fn(&Package, &Loading) -> Result<Splits>,
}

const IDX_KEYS: &[&str] = &[
    "train-images-idx3-ubyte",
    "train-images-idx3-ubyte.gz",
    "t10k-images-idx3-ubyte",
    "t10k-images-idx3-ubyte.gz",
];

const IDX_FILES: &[&str] = &[
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

pub(super) const ENTRIES: [Entry; 7] = [
    Entry {
        source: SourceName::FashionMnist,
        name: "fashion-mnist",
        folders: &["fashion-mnist", "FashionMNIST/raw"],
        archive: "fashion-mnist.zip",
        keys: IDX_KEYS,
        required: IDX_FILES,
        files: "train-images-idx3-ubyte.gz and its three companions",
        url: Some("https://github.com/zalandoresearch/fashion-mnist"),
        read: idx::fashion_mnist,
    },
    Entry {
        source: SourceName::Mnist,
        name: "mnist",
        folders: &["mnist", "MNIST/raw"],
        archive: "mnist.zip",
        keys: IDX_KEYS,
        required: IDX_FILES,
        files: "train-images-idx3-ubyte.gz and its three companions",
        url: Some("http://yann.lecun.com/exdb/mnist"),
        read: idx::mnist,
    },
    Entry {
        source: SourceName::Cifar10,
        name: "cifar10",
        folders: &["cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"],
        archive: "cifar-10-binary.tar.gz",
        keys: &["data_batch_1.bin", "test_batch.bin"],
        required: &["data_batch_1.bin", "test_batch.bin"],
        files: "data_batch_1.bin and test_batch.bin",
        url: Some("https://www.cs.toronto.edu/~kriz/cifar.html"),
        read: cifar::cifar10,
    },
    Entry {
        source: SourceName::Cifar100,
        name: "cifar100",
        folders: &["cifar-100-binary", "cifar100/cifar-100-binary"],
        archive: "cifar-100-binary.tar.gz",
        keys: &["fine_label_names.txt", "train.bin", "test.bin"],
        required: &["train.bin", "test.bin"],
        files: "train.bin and test.bin",
        url: Some("https://www.cs.toronto.edu/~kriz/cifar.html"),
        read: cifar::cifar100,
    },
    Entry {
        source: SourceName::Stl10,
        name: "stl10",
        folders: &["stl10_binary", "stl10/stl10_binary"],
        archive: "stl10_binary.tar.gz",
        keys: &["train_X.bin", "test_X.bin", "unlabeled_X.bin"],
        required: &["train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"],
        files: "train_X.bin, train_y.bin, test_X.bin and test_y.bin",
        url: Some("https://cs.stanford.edu/~acoates/stl10"),
        read: stl::stl10,
    },
    Entry {
        source: SourceName::TinyImagenet,
        name: "tiny-imagenet",
        folders: &["tiny-imagenet-200", "tiny-imagenet/tiny-imagenet-200"],
        archive: "tiny-imagenet-200.zip",
        keys: &["wnids.txt", "val/val_annotations.txt"],
        required: &["train/", "val/images/", "val/val_annotations.txt"],
        files: "train/, val/val_annotations.txt and wnids.txt",
        url: Some("http://cs231n.stanford.edu/tiny-imagenet-200.zip"),
        read: tiny_imagenet::tiny_imagenet,
    },
    Entry {
        source: SourceName::Folder,
        name: "folder",
        folders: &[],
        archive: "",
        keys: &[],
        required: &[],
        files: "PNG or JPEG images, in a sub-folder a class or without",
        url: None,
        read: folder::folder,
    },
];

impl SourceName {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        self.entry().name
    }

    pub(super) fn entry(self) -> &'static Entry {
        let found = ENTRIES.iter().find(|entry| entry.source == self);
        found.expect("every name has its entry in the table")
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Entry {
    /// The end of a complaint: where the set can be had, if it is one thing.
    pub(super) fn origin(&self) -> String {
        self.url.map_or(String::new(), |url| format!("; the set can be had from {url}"))
    }

    /// The set's official folder or archive, if `path` is it or, for a folder, its parent.
    pub(super) fn find(&self, path: &Path) -> Option<PathBuf> {
        if path.is_file() {
            return Some(path.to_path_buf());
        }
        let has_key = |folder: &Path| self.keys.iter().any(|key| folder.join(key).is_file());
        let below = self.folders.iter().map(|folder| path.join(folder));
        let mut folders = std::iter::once(path.to_path_buf()).chain(below);
        let any = self.keys.is_empty() && path.is_dir();
        let archive = || Some(path.join(self.archive)).filter(|archive| archive.is_file());
        folders.find(|folder| any || has_key(folder)).or_else(archive)
    }

    /// The files of the folder or archive `place` that this set consists of.
    pub(super) fn package(&self, place: &Path, loading: &Loading) -> Result<Package> {
        if place.is_dir() {
            return Package::folder(place);
        }
        // Much to unpack for nothing.
        let skip = loading.unlabelled == Unlabelled::Skip;
        let wanted = |name: &str| !(skip && name == "unlabeled_X.bin");
        self.rooted(Package::archive(place, loading.archive, &wanted)?)
    }

    /// The same out of an open archive.
    pub(super) fn rooted(&self, archive: Package) -> Result<Package> {
        let place = archive.place();
        let names: Vec<&str> = archive.names().collect();
        let python = cifar::python_version(&names);
        archive.rooted(self.keys).ok_or_else(|| {
            let expected = format!("{} ({})", self.files, self.name);
            Error::format(place, "the archive", expected, python.unwrap_or("none of them".into()))
        })
    }

    /// Whether an archive has a file that tells the set.
    #[cfg(feature = "cli")]
    pub(super) fn is_in(&self, package: &Package) -> bool {
        let is_key = |name: &str| {
            let tops = self.keys.iter().filter_map(|key| name.strip_suffix(key));
            tops.into_iter().any(|top| top.is_empty() || top.ends_with('/'))
        };
        self.keys.is_empty() || package.names().any(is_key)
    }

    /// Reads the set from its files.
    pub(super) fn read(&self, package: &Package, loading: &Loading) -> Result<Splits> {
        let mut splits = (self.read)(package, loading)?;
        splits.notes.splice(..0, package.notes().iter().cloned());
        Ok(splits)
    }
}

/// A data set and, optionally, where it is: `fashion-mnist`, `cifar10:/data/cifar`.
///
/// The path is the official folder, its parent, or the archive. Without one, the set is looked for
/// in the folder that the environment variable `DIMASK_DATA` names, then in `./data`, then in the
/// crate's own `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Which data set.
    pub name: SourceName,
    /// Where, if said.
    pub path: Option<PathBuf>,
}

impl Source {
    /// Reads the data set.
    ///
    /// # Errors
    /// `Io` if its files are nowhere (the error lists where they were looked for) or cannot be
    /// read; `Format` if they are not what they should be, or are PNG and JPEG images and the
    /// build is without the feature `images`.
    pub fn load(&self, loading: &Loading) -> Result<Splits> {
        let entry = self.name.entry();
        let place = self.locate(env::var_os("DIMASK_DATA"))?;
        entry.read(&entry.package(&place, loading)?, loading)
    }

    /// The official folder or archive; `variable` is the value of `DIMASK_DATA`.
    fn locate(&self, variable: Option<OsString>) -> Result<PathBuf> {
        self.locate_below(variable).map(|(_, place)| place)
    }

    /// The folder that was looked in, and the official folder or archive there.
    pub(super) fn locate_below(&self, variable: Option<OsString>) -> Result<(PathBuf, PathBuf)> {
        let entry = self.name.entry();
        let places = match &self.path {
            Some(path) => vec![path.clone()],
            None if self.name == SourceName::Folder => {
                return Err(Error::usage("--data", "no path after `folder`: expected folder:PATH"));
            }
            None => variable
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
                .into_iter()
                .chain([PathBuf::from("data"), Path::new(env!("CARGO_MANIFEST_DIR")).join("data")])
                .collect(),
        };
        let found = places.iter().find_map(|given| Some((given.clone(), entry.find(given)?)));
        if let Some(found) = found {
            return Ok(found);
        }
        let list: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        let hint = match &self.path {
            Some(path) => tilde(path).to_string(),
            None => format!("; set DIMASK_DATA or give the folder as {}:PATH", entry.name),
        };
        if let Some(found) = places.iter().find_map(|place| cifar::python_version_at(place)) {
            let expected = format!("{} ({})", entry.files, entry.name);
            return Err(Error::format(&places[0], "the folder", expected, found));
        }
        let folder = entry.folders.first().map_or(String::new(), |folder| {
            format!(" in the folder {folder}, or the archive {},", entry.archive)
        });
        let reason = format!(
            "not found: expected {}{folder} in one of: {}{hint}{}",
            entry.files,
            list.join(", "),
            entry.origin()
        );
        Err(Error::io(entry.name, io::Error::new(io::ErrorKind::NotFound, reason)))
    }
}

impl str::FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Source> {
        let (name, path) = match text.split_once(':') {
            Some((name, path)) => (name, Some(path)),
            None => (text, None),
        };
        let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
            let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
            let reason = format!("{name:?} is none of {}", names.join(", "));
            return Err(Error::usage("--data", reason));
        };
        if path == Some("") {
            return Err(Error::usage("--data", format!("no path after `{name}:`")));
        }
        Ok(Source { name: entry.source, path: path.map(PathBuf::from) })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        match &self.path {
            Some(path) => write!(f, ":{}", path.display()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source> {
        text.parse()
    }

    #[test]
    fn a_source_is_a_name_and_perhaps_a_path() {
        for text in ["fashion-mnist", "cifar10", "cifar10:/data/x:y", "fashion-mnist:data"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        let error = parse("imagenet").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            error.to_string(),
            "--data: \"imagenet\" is none of fashion-mnist, mnist, cifar10, cifar100, stl10, \
             tiny-imagenet, folder"
        );
        assert!(parse("folder").unwrap().load(&Loading::default()).is_err());
        assert!(parse("cifar10:").unwrap_err().to_string().contains("no path"));
    }

    #[test]
    fn a_set_that_is_nowhere_is_reported_with_every_place() {
        let error = parse("cifar10").unwrap().locate(Some("/nowhere/sets".into())).unwrap_err();
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/data");
        for place in ["/nowhere/sets, data, ", own, "cifar10:PATH", "data_batch_1.bin"] {
            assert!(error.to_string().contains(place), "{error}");
        }
        assert_eq!(error.exit_code(), 1);
        let error = parse("cifar10:/nowhere/x").unwrap().load(&Loading::default()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/x") && !error.to_string().contains(own));
    }

    #[test]
    fn the_carried_set_is_found_by_folder_and_by_parent() {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist");
        let parent = own.parent().unwrap().to_path_buf();
        for path in [own.clone(), parent.clone()] {
            let source = Source { name: SourceName::FashionMnist, path: Some(path) };
            assert_eq!(source.locate(None).unwrap(), own);
        }
        let source = parse("fashion-mnist").unwrap();
        assert_eq!(source.locate(Some(parent.into())).unwrap(), own);
    }
}
