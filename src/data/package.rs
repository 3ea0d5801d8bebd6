//! Named files, from a folder or out of an archive, under the same names.
//!
//! Nothing is ever written under a name that an archive gives: what a `.tar.gz` holds goes into one
//! temporary file, what a `.zip` holds is read in place. Links in archives are left out, names that
//! lead out of the archive (`..`, absolute ones) are refused, and what unpacks to more than
//! [`ArchiveLimits`] is given up.

use super::ArchiveLimits;
use super::read::{self, Bytes};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Folders within folders that are looked into; deeper ones are refused.
const DEEPEST: usize = 8;

/// A set of named files.
pub(super) struct Package {
    /// The folder or the archive.
    path: PathBuf,
    /// The folder within the archive that the names are below, as `cifar-10-batches-bin/`.
    root: String,
    entries: BTreeMap<String, Entry>,
    #[cfg(feature = "cli")]
    archive: Option<archive::Archive>,
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
}

impl Package {
    /// All files below a folder, those behind links too.
    ///
    /// # Errors
    /// `Io` for what the system refuses, each file or folder by its name; `Format` for links that
    /// lead back to a folder above, and for folders too deep in each other.
    pub(super) fn folder(path: &Path) -> Result<Package> {
        let mut package = Package::new(path, BTreeMap::new());
        walk(path, "", &mut Vec::new(), &mut package.entries)?;
        Ok(package)
    }

    fn new(path: &Path, entries: BTreeMap<String, Entry>) -> Package {
        Package {
            path: path.to_path_buf(),
            root: String::new(),
            entries,
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
        let (archive, entries) = archive::open(path, limits, wanted)?;
        Ok(Package { archive: Some(archive), ..Package::new(path, entries) })
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
    /// keys, below the folder that holds everything; absent if no folder of the package does.
    pub(super) fn rooted(mut self, keys: &[&str]) -> Option<Package> {
        let root_of = |name: &String| -> Option<String> {
            let roots = keys.iter().filter_map(|key| name.strip_suffix(key));
            roots.filter(|root| root.is_empty() || root.ends_with('/')).map(String::from).next()
        };
        let root = match keys {
            [] => {
                let tops = self.names().map(|name| name.split_once('/').map_or("", |(top, _)| top));
                let tops: BTreeSet<&str> = tops.collect();
                let only = tops.first().filter(|top| tops.len() == 1 && !top.is_empty());
                only.map_or(String::new(), |top| format!("{top}/"))
            }
            // The one nearest to the top.
            _ => self.entries.keys().filter_map(root_of).min_by_key(|root| root.len())?,
        };
        self.entries = self
            .entries
            .into_iter()
            .filter_map(|(name, entry)| Some((name.strip_prefix(&root)?.to_string(), entry)))
            .collect();
        self.root = root;
        Some(self)
    }

    /// The names of all files, parts separated by `/`, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// `name`, or the same compressed, `name.gz`; the plain one if both are there.
    pub(super) fn plain_or_gz(&self, name: &str) -> Option<String> {
        [name.to_string(), format!("{name}.gz")].into_iter().find(|name| self.has(name))
    }

    /// The folder or archive.
    pub(super) fn place(&self) -> PathBuf {
        self.path.join(self.root.trim_end_matches('/'))
    }

    /// A file's path for errors; below the archive's if it is in one.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self.entries.get(name) {
            Some(Entry::File(path)) => path.clone(),
            _ => self.path.join(format!("{}{name}", self.root)),
        }
    }

    /// Opens a file, unpacking it when its name ends in `.gz`.
    ///
    /// # Errors
    /// `Format` if there is no such file, `Io` if it cannot be opened.
    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Read + '_>> {
        match self.entries.get(name) {
            None => Err(self.missing(name)),
            Some(Entry::File(path)) => read::open(path),
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

/// Adds the files below `folder` under names that begin with `prefix`; `above` are the folders on
/// the way here, without links.
fn walk(
    folder: &Path,
    prefix: &str,
    above: &mut Vec<PathBuf>,
    entries: &mut BTreeMap<String, Entry>,
) -> Result<()> {
    let own = folder.canonicalize().map_err(|error| Error::io(folder, error))?;
    if above.contains(&own) {
        let found = format!("a link to {}", own.display());
        return Err(Error::format(folder, "the folder", "no folder that holds itself", found));
    }
    if above.len() > DEEPEST {
        let expected = format!("at most {DEEPEST} folders within each other");
        return Err(Error::format(folder, "the folder", expected, "one more"));
    }
    above.push(own);
    for entry in fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let entry = entry.map_err(|error| Error::io(folder, error))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if name.starts_with('.') {
            continue; // What systems and editors leave behind.
        }
        // Of what a link leads to.
        let kind = fs::metadata(&path).map_err(|error| Error::io(&path, error))?;
        let name = format!("{prefix}{name}");
        if kind.is_dir() {
            walk(&path, &format!("{name}/"), above, entries)?;
        } else if kind.is_file() {
            entries.insert(name, Entry::File(path));
        }
    }
    above.pop();
    Ok(())
}

/// Archives by their first bytes: `.zip`, `.tar`, `.tar.gz`.
#[cfg(feature = "cli")]
pub(super) mod archive {
    use super::{ArchiveLimits, Entry};
    use crate::data::read;
    use crate::data::spool::Spool;
    use crate::error::{Error, Result};
    #[cfg(test)]
    use std::cell::Cell;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::fs::File;
    use std::io::{self, BufReader, ErrorKind, Read};
    use std::path::Path;
    use zip::ZipArchive;
    use zip::result::ZipError;

    pub(super) enum Archive {
        Tar(Spool),
        Zip(RefCell<ZipArchive<BufReader<File>>>),
    }

    type Entries = BTreeMap<String, Entry>;

    #[cfg(test)]
    thread_local! {
        /// Archives that this thread has opened, for tests: each costs an unpacking.
        pub(in crate::data) static OPENED: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn open(
        path: &Path,
        limits: ArchiveLimits,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(Archive, Entries)> {
        #[cfg(test)]
        OPENED.with(|opened| opened.set(opened.get() + 1));
        let file = || File::open(path).map_err(|error| Error::io(path, error));
        let mut head = Vec::new();
        let read = file()?.take(512).read_to_end(&mut head);
        read.map_err(|error| Error::io(path, error))?;
        let buffered = || Ok(BufReader::with_capacity(1 << 16, file()?));
        match head[..] {
            [0x1f, 0x8b, ..] => untar(read::gunzip(buffered()?), path, limits, wanted),
            [b'P', b'K', ..] => unzip(buffered()?, path, limits, wanted),
            _ if head.get(257..262) == Some(b"ustar") => untar(buffered()?, path, limits, wanted),
            _ => {
                let found = "a file that begins like none of them";
                Err(Error::format(path, "byte 0", "an archive: .tar.gz, .tar or .zip", found))
            }
        }
    }

    /// Copies the wanted files into a temporary one.
    fn untar(
        reader: impl Read,
        path: &Path,
        limits: ArchiveLimits,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(Archive, Entries)> {
        let broken = |error| broken(path, error);
        let (mut spool, mut entries) = (Spool::create()?, Entries::new());
        // One byte more than may be, so that reaching it is told from the end.
        let mut archive = tar::Archive::new(reader.take(limits.bytes.saturating_add(1)));
        // Raw: long names and sparse files, which only archives have that none here is, would be
        // put together in memory.
        for (count, entry) in archive.entries().map_err(broken)?.raw(true).enumerate() {
            few(path, count + 1, limits)?;
            let mut entry = entry.map_err(broken)?;
            // On its word alone: nothing of it has been unpacked yet.
            small(path, entry.raw_file_position().saturating_add(entry.size()), limits)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let Some(name) = checked(path, &name)? else { continue };
            let is_file = entry.header().entry_type().is_file();
            if !is_file || !wanted(name.rsplit('/').next().unwrap_or(&name)) {
                continue;
            }
            let (at, len) = (spool.len(), entry.size());
            let mut buffer = vec![0; 1 << 16];
            loop {
                match entry.read(&mut buffer).map_err(broken)? {
                    0 => break,
                    read => spool.append(&buffer[..read])?,
                }
            }
            if spool.len() - at < len {
                return Err(broken(ErrorKind::UnexpectedEof.into()));
            }
            entries.insert(name, Entry::Packed { at, len });
        }
        // To the end, so that the stream's own sum is checked; what follows the archive is padding.
        let mut rest = archive.into_inner();
        io::copy(&mut rest, &mut io::sink()).map_err(broken)?;
        let unpacked = limits.bytes.saturating_add(1) - rest.limit();
        small(path, unpacked, limits)?;
        Ok((Archive::Tar(spool), entries))
    }

    fn unzip(
        reader: BufReader<File>,
        path: &Path,
        limits: ArchiveLimits,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(Archive, Entries)> {
        let mut archive = ZipArchive::new(reader).map_err(|error| zip_error(path, error))?;
        few(path, archive.len(), limits)?;
        let (mut entries, mut total) = (Entries::new(), 0u64);
        for at in 0..archive.len() {
            let file = archive.by_index_raw(at).map_err(|error| zip_error(path, error))?;
            let Some(name) = checked(path, file.name())? else { continue };
            let is_link = file.unix_mode().is_some_and(|mode| mode & 0o170_000 == 0o120_000);
            if file.is_file() && !is_link && wanted(name.rsplit('/').next().unwrap_or(&name)) {
                total = total.saturating_add(file.size());
                entries.insert(name, Entry::Packed { at: at as u64, len: file.size() });
            }
        }
        small(path, total, limits)?;
        Ok((Archive::Zip(RefCell::new(archive)), entries))
    }

    /// Refuses an archive of more entries than may be.
    fn few(path: &Path, count: usize, limits: ArchiveLimits) -> Result<()> {
        if count <= limits.files {
            return Ok(());
        }
        let expected = format!("an archive of at most {} files", limits.files);
        Err(Error::format(path, "the archive", expected, "more"))
    }

    /// Refuses an archive that unpacks to more than may be.
    fn small(path: &Path, bytes: u64, limits: ArchiveLimits) -> Result<()> {
        if bytes <= limits.bytes {
            return Ok(());
        }
        let expected = format!("an archive of at most {} bytes, unpacked", limits.bytes);
        Err(Error::format(path, "the archive", expected, "more"))
    }

    /// A name in its plain form; none for a folder's.
    fn checked(path: &Path, name: &str) -> Result<Option<String>> {
        let parts: Vec<&str> = name.split(['/', '\\']).collect();
        let drive = name.as_bytes().get(1) == Some(&b':');
        if parts.contains(&"..") || parts[0].is_empty() || drive {
            let expected = "names within the archive";
            return Err(Error::format(path, "the archive", expected, format!("{name:?}")));
        }
        let parts: Vec<&str> =
            parts.into_iter().filter(|part| !part.is_empty() && *part != ".").collect();
        let is_folder = name.ends_with('/') || parts.is_empty();
        // What one system adds to archives beside every file.
        let is_foreign = parts.first() == Some(&"__MACOSX");
        Ok((!is_folder && !is_foreign).then(|| parts.join("/")))
    }

    fn broken(path: &Path, error: io::Error) -> Error {
        let place = "the archive";
        match error.kind() {
            ErrorKind::UnexpectedEof => {
                Error::format(path, place, "a whole archive", "the end of the file within it")
            }
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => {
                Error::format(path, place, "a sound archive", error.to_string())
            }
            _ => Error::io(path, error),
        }
    }

    fn zip_error(path: &Path, error: ZipError) -> Error {
        match error {
            ZipError::Io(error) => broken(path, error),
            other => Error::format(path, "the archive", "a sound archive", other.to_string()),
        }
    }

    impl Archive {
        /// The bytes of an entry; `path` is for errors.
        pub(super) fn reader(&self, at: u64, len: u64, path: &Path) -> Result<Box<dyn Read + '_>> {
            match self {
                Archive::Tar(spool) => Ok(Box::new(Window { spool, at, end: at + len })),
                Archive::Zip(archive) => {
                    // Whole, because the archive has one cursor; images and lists are small.
                    let mut archive = archive.borrow_mut();
                    let file = archive.by_index(at as usize);
                    let file = file.map_err(|error| zip_error(path, error))?;
                    let mut bytes = Vec::with_capacity(len.min(1 << 20) as usize);
                    // No more than it says of itself either: by that the archive was let in.
                    let most = read::MOST_ZIPPED_BYTES.min(len);
                    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| broken(path, e))?;
                    if bytes.len() as u64 > most {
                        let expected = format!("at most {most} bytes");
                        return Err(Error::format(path, "the file", expected, "more"));
                    }
                    Ok(Box::new(io::Cursor::new(bytes)))
                }
            }
        }
    }

    /// A part of a temporary file.
    struct Window<'a> {
        spool: &'a Spool,
        at: u64,
        end: u64,
    }

    impl Read for Window<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min((self.end - self.at) as usize);
            self.spool.read_at(self.at, &mut buffer[..len])?;
            self.at += len as u64;
            Ok(len)
        }
    }
}
