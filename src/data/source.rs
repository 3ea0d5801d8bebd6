//! `NAME[:PATH]`: which data set, and where it is.

use super::{Splits, cifar, idx};
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fmt, io, str};

/// A data set that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceName {
    /// 60,000 and 10,000 images of clothing, 28x28 gray, 10 classes; carried with the crate.
    FashionMnist,
    /// 50,000 and 10,000 images, 32x32 colour, 10 classes.
    Cifar10,
}

/// What is known of a data set before its files are open.
struct Entry {
    source: SourceName,
    name: &'static str,
    /// Where its official folder is under a folder of data sets.
    folders: &'static [&'static str],
    /// Its files, for the error.
    files: &'static str,
    recognise: fn(&Path) -> bool,
    read: fn(&Path) -> Result<Splits>,
}

const ENTRIES: [Entry; 2] = [
    Entry {
        source: SourceName::FashionMnist,
        name: "fashion-mnist",
        folders: &["fashion-mnist"],
        files: "train-images-idx3-ubyte.gz and its three companions",
        recognise: idx::is_fashion_mnist,
        read: idx::fashion_mnist,
    },
    Entry {
        source: SourceName::Cifar10,
        name: "cifar10",
        folders: &["cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"],
        files: "data_batch_1.bin and test_batch.bin",
        recognise: cifar::is_cifar10,
        read: cifar::cifar10,
    },
];

impl SourceName {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        self.entry().name
    }

    fn entry(self) -> &'static Entry {
        let found = ENTRIES.iter().find(|entry| entry.source == self);
        found.expect("every name has its entry in the table")
    }
}

/// A data set and, optionally, the folder it is in: `fashion-mnist`, `cifar10:/data/cifar`.
///
/// The folder is the official one or its parent. Without one, the set is looked for in the folder
/// that the environment variable `DIMASK_DATA` names, then in `./data`, then in the crate's own
/// `data`.
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
    /// read; `Format` if they are not what they should be.
    pub fn load(&self) -> Result<Splits> {
        (self.name.entry().read)(&self.locate(env::var_os("DIMASK_DATA"))?)
    }

    /// The official folder; `variable` is the value of `DIMASK_DATA`.
    fn locate(&self, variable: Option<OsString>) -> Result<PathBuf> {
        let entry = self.name.entry();
        let places = match &self.path {
            Some(path) => vec![path.clone()],
            None => variable
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
                .into_iter()
                .chain([PathBuf::from("data"), Path::new(env!("CARGO_MANIFEST_DIR")).join("data")])
                .collect(),
        };
        for place in &places {
            let below = entry.folders.iter().map(|folder| place.join(folder));
            let mut folders = std::iter::once(place.clone()).chain(below);
            if let Some(folder) = folders.find(|folder| (entry.recognise)(folder)) {
                return Ok(folder);
            }
        }
        let list: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        let hint = match self.path {
            Some(_) => String::new(),
            None => format!("; set DIMASK_DATA or give the folder as {}:PATH", entry.name),
        };
        let reason = format!(
            "not found: expected {} in the folder {} in one of: {}{hint}",
            entry.files,
            entry.folders[0],
            list.join(", "),
        );
        Err(Error::io(entry.name, io::Error::new(io::ErrorKind::NotFound, reason)))
    }
}

impl str::FromStr for Source {
    type Err = Error;

    /// Parses `NAME[:PATH]`.
    ///
    /// # Errors
    /// `Usage` (of the flag `data`) for an unknown name or an empty path.
    fn from_str(text: &str) -> Result<Source> {
        let (name, path) = match text.split_once(':') {
            Some((name, path)) => (name, Some(path)),
            None => (text, None),
        };
        let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
            let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
            let reason = format!("no data set `{name}`: expected {}", names.join(" or "));
            return Err(Error::usage("data", reason));
        };
        if path == Some("") {
            return Err(Error::usage("data", format!("no path after `{name}:`")));
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
            "data: no data set `imagenet`: expected fashion-mnist or cifar10"
        );
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
        let error = parse("cifar10:/nowhere/x").unwrap().load().unwrap_err();
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
