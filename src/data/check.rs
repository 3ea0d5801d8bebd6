//! What lies at a path: which set, how much of it, whether its files are the official ones, what is
//! wrong. Only looks; never needs a network.

use super::package::Package;
use super::source::{ENTRIES, Entry, Source, SourceName};
use super::{Bad, Dataset, Loading, Splits, Unlabelled, read};
use crate::error::{Error, Result};
use md5::{Digest, Md5};
use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// MD5 sums of official files and archives, by set and name; a file may be packed in several ways.
const KNOWN: &[(SourceName, &str, &str)] = &[
    (SourceName::Cifar10, "data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
    (SourceName::Cifar10, "data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692"),
    (SourceName::Cifar10, "data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421"),
    (SourceName::Cifar10, "data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb"),
    (SourceName::Cifar10, "data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d"),
    (SourceName::Cifar10, "test_batch.bin", "803d5f7f4d78ea53de84dbe85f74fb6d"),
    (SourceName::Cifar10, "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
    (SourceName::Cifar100, "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
    (SourceName::Stl10, "train_X.bin", "918c2871b30a85fa023e0c44e0bee87f"),
    (SourceName::Stl10, "train_y.bin", "5a34089d4802c674881badbb80307741"),
    (SourceName::Stl10, "test_X.bin", "7f263ba9f9e0b06b93213547f721ac82"),
    (SourceName::Stl10, "test_y.bin", "36f9794fa4beb8a2c72628de14fa638e"),
    (SourceName::Stl10, "unlabeled_X.bin", "5242ba1fed5e4be9e1e742405eb56ca4"),
    (SourceName::Stl10, "stl10_binary.tar.gz", "91f7769df0f17e558f3565bffb0c7dfb"),
    (SourceName::TinyImagenet, "tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de"),
    // As packed by its authors, then as in Debian's package.
    (SourceName::FashionMnist, "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    (SourceName::FashionMnist, "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    (SourceName::FashionMnist, "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
    (SourceName::FashionMnist, "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    (SourceName::FashionMnist, "train-images-idx3-ubyte.gz", "cf8536b0aa1a6ac5fa3f23001093305c"),
    (SourceName::FashionMnist, "train-labels-idx1-ubyte.gz", "10bea18fdb374794d4bb42e356e600c9"),
    (SourceName::FashionMnist, "t10k-images-idx3-ubyte.gz", "f78720b4224f21cce2f2ccf2d7a94c9a"),
    (SourceName::FashionMnist, "t10k-labels-idx1-ubyte.gz", "0d30e22e447f3c33dab9ed536400ac01"),
    (SourceName::Mnist, "train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    (SourceName::Mnist, "train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
    (SourceName::Mnist, "t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
    (SourceName::Mnist, "t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
];

/// How many images the whole official sets have: to learn from, to judge, without labels.
const OFFICIAL: &[(SourceName, [usize; 3])] = &[
    (SourceName::FashionMnist, [60_000, 10_000, 0]),
    (SourceName::Mnist, [60_000, 10_000, 0]),
    (SourceName::Cifar10, [50_000, 10_000, 0]),
    (SourceName::Cifar100, [50_000, 10_000, 0]),
    (SourceName::Stl10, [5_000, 8_000, 100_000]),
    (SourceName::TinyImagenet, [100_000, 10_000, 0]),
];

/// What was found at a path.
#[derive(Debug)]
pub struct Report {
    /// Which set.
    pub set: SourceName,
    /// Its folder or archive.
    pub place: PathBuf,
    /// What is worth knowing, a line each.
    pub notes: Vec<String>,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
    /// Where the set can be had, if it is one thing.
    pub url: Option<&'static str>,
    /// The images, as far as they could be read.
    pub splits: Option<Splits>,
}

impl Report {
    /// The parts that could be read, each with the number of images of the whole official one, if
    /// there is an official one.
    pub fn parts(&self) -> Vec<(&Dataset, Option<usize>)> {
        let official = OFFICIAL.iter().find(|(set, _)| *set == self.set).map(|(_, counts)| counts);
        let Some(splits) = &self.splits else { return Vec::new() };
        let parts = [Some(&splits.train), splits.test.as_ref(), splits.unlabelled.as_ref()];
        let with_count = |(i, part): (usize, Option<_>)| Some((part?, official.map(|n| n[i])));
        parts.into_iter().enumerate().filter_map(with_count).collect()
    }
}

/// Where a set is, before its images are read.
#[derive(Debug)]
pub struct Found {
    /// Which set; absent: what is in an archive, tells.
    set: Option<SourceName>,
    /// Its folder or archive.
    place: PathBuf,
    /// What was said to look in: the place, or a folder above it.
    given: PathBuf,
}

impl Found {
    /// What lies at `NAME`, `NAME:PATH` or `PATH`.
    ///
    /// A `NAME` alone is looked for in the places of [`Source`], unless there is a file or folder
    /// of that name here: then it is a path.
    ///
    /// # Errors
    /// `Format` if no set can be recognised, `Io` if there is nothing at the path.
    pub fn at(text: &str) -> Result<Found> {
        let path = Path::new(text);
        let name = text.split_once(':').map_or(text, |(name, _)| name);
        if (name != text || !path.exists()) && ENTRIES.iter().any(|entry| entry.name == name) {
            let source: Source = text.parse()?;
            let (given, place) = source.locate_below(env::var_os("DIMASK_DATA"))?;
            return Ok(Found { set: Some(source.name), place, given });
        }
        // Whatever the system has against it.
        std::fs::metadata(path).map_err(|error| Error::io(path, error))?;
        let given = path.to_path_buf();
        if path.is_file() {
            return Ok(Found { set: None, place: given.clone(), given });
        }
        match ENTRIES.iter().find_map(|entry| Some((entry.source, entry.find(path)?))) {
            Some((SourceName::FashionMnist, place)) => {
                Ok(Found { set: Some(which_idx(&place)?), place, given })
            }
            Some((set, place)) => Ok(Found { set: Some(set), place, given }),
            None => Err(nothing(path)),
        }
    }

    /// Whether `file` would lie among the data: in the folder that was given or in the set's own,
    /// however deep, or in the archive's place.
    pub fn holds(&self, file: &Path) -> bool {
        let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (Ok(folder), Some(name)) = (folder.canonicalize(), file.file_name()) else {
            return false; // Whoever opens it finds out.
        };
        let file = folder.join(name);
        let data = [&self.given, &self.place].map(|path| path.canonicalize());
        data.into_iter().flatten().any(|data| file.starts_with(data))
    }

    /// Looks at it with all images read as `loading` says; what is damaged is in the report.
    ///
    /// # Errors
    /// `Format` for an archive of none of the sets; as its reader for none at all.
    pub fn check(&self, loading: &Loading) -> Result<Report> {
        // Unpacked once: to tell what it is, and to be read.
        let open = || Package::archive(&self.place, loading.archive, &|_| true);
        let (set, archive) = match self.set {
            Some(set) => (set, None),
            None => {
                let archive = open()?;
                let entry = ENTRIES.iter().find(|entry| entry.is_in(&archive));
                (entry.ok_or_else(|| nothing(&self.place))?.source, Some(archive))
            }
        };
        // Their archives have the same names in them.
        let set = match set {
            SourceName::FashionMnist if self.set.is_none() => which_idx(&self.place)?,
            set => set,
        };
        let mut report = Report {
            set,
            place: self.place.clone(),
            notes: Vec::new(),
            problems: Vec::new(),
            url: set.entry().url,
            splits: None,
        };
        if let Err(error) = look(set.entry(), archive, loading, &mut report) {
            let text = error.to_string();
            if !report.problems.contains(&text) {
                report.problems.push(text);
            }
        }
        Ok(report)
    }
}

/// The complaint about a path where no set is.
fn nothing(path: &Path) -> Error {
    let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
    let expected = format!("one of the sets {}", names.join(", "));
    Error::format(path, "the files", expected, "none of their names")
}

/// Puts what is found into the report; `archive` is the set's, if it is open already.
fn look(
    entry: &Entry,
    archive: Option<Package>,
    loading: &Loading,
    report: &mut Report,
) -> Result<()> {
    let place = report.place.clone();
    if place.is_file() {
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        verify(entry.source, &name, read::open_raw(&place)?, &place, &mut report.notes)?;
    }
    let mut loading = Loading { bad: Bad::Skip, unlabelled: Unlabelled::Read, ..loading.clone() };
    let package = match archive {
        Some(archive) => entry.rooted(archive)?,
        None => entry.package(&place, &loading)?,
    };
    if place.is_dir() {
        for name in package.names().filter(|name| is_known(entry.source, name)) {
            let path = package.path(name);
            verify(entry.source, name, read::open_raw(&path)?, &path, &mut report.notes)?;
        }
    }
    for file in entry.required.iter().filter(|file| !present(&package, file)) {
        report.problems.push(package.missing(file).to_string());
    }
    if !present(&package, "unlabeled_X.bin") {
        loading.unlabelled = Unlabelled::Skip;
        if entry.source == SourceName::Stl10 {
            report.notes.push("no unlabeled_X.bin: there are no images without labels".into());
        }
    }
    let mut splits = entry.read(&package, &loading)?;
    report.problems.append(&mut splits.bad);
    report.notes.append(&mut splits.notes);
    report.splits = Some(splits);
    Ok(())
}

/// Whether a package has a file, maybe compressed; `folder/` stands for anything below it.
fn present(package: &Package, file: &str) -> bool {
    match file.ends_with('/') {
        true => package.names().any(|name| name.starts_with(file)),
        false => package.plain_or_gz(file).is_some(),
    }
}

/// MNIST and Fashion-MNIST have files of the same names: told apart by their sums, then by the
/// folder's name.
fn which_idx(place: &Path) -> Result<SourceName> {
    let name = place.display().to_string().to_lowercase();
    let file = place.join("t10k-labels-idx1-ubyte.gz");
    if file.is_file() {
        let sum = md5(read::open_raw(&file)?, &file)?;
        if let Some((set, ..)) = KNOWN.iter().find(|(_, _, known)| *known == sum) {
            return Ok(*set);
        }
    }
    Ok(if name.contains("fashion") { SourceName::FashionMnist } else { SourceName::Mnist })
}

fn is_known(set: SourceName, name: &str) -> bool {
    KNOWN.iter().any(|(known, file, _)| *known == set && *file == name)
}

/// Compares a file's sum with the known ones.
fn verify(
    set: SourceName,
    name: &str,
    reader: File,
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<()> {
    let sum = md5(reader, path)?;
    let mut official = KNOWN.iter().filter(|(known, ..)| *known == set);
    notes.push(match official.any(|(_, file, known)| *file == name && *known == sum) {
        true => format!("{name}: the official file (md5 {sum})"),
        false => format!("{name}: not the official file, or one of unknown sum (md5 {sum})"),
    });
    Ok(())
}

/// The MD5 sum of all that is left to read, in hexadecimal.
fn md5(mut reader: impl Read, path: &Path) -> Result<String> {
    let (mut sum, mut buffer) = (Md5::new(), vec![0; 1 << 16]);
    loop {
        match reader.read(&mut buffer).map_err(|error| Error::io(path, error))? {
            0 => break,
            read => sum.update(&buffer[..read]),
        }
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
