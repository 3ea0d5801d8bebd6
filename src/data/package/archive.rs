//! Archives by their first bytes: `.zip`, `.tar`, `.tar.gz`.

use super::Listing;
use super::tree::Tree;
use super::{tar, zip};
use crate::data::spool::Spool;
use crate::data::{ArchiveLimits, read};
use crate::error::{Error, Result};
#[cfg(test)]
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

/// An open archive.
pub(super) enum Archive {
    Tar(Spool),
    Zip(zip::Zip),
}

#[cfg(test)]
thread_local! {
    /// Archives that this thread has opened, for tests: each costs an unpacking.
    pub(in crate::data) static OPENED: Cell<usize> = const { Cell::new(0) };
}

/// First bytes of files that people take for archives, with what they are.
const FOREIGN: [(&[u8], &str); 6] = [
    (b"BZh", "a file packed with bzip2"),
    (b"\xfd7zXZ\0", "a file packed with xz"),
    (b"\x28\xb5\x2f\xfd", "a file packed with zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x9d", "a file packed with compress"),
];

/// Opens an archive and lists what it unpacks to.
pub(super) fn open(
    path: &Path,
    limits: ArchiveLimits,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<(Archive, Listing)> {
    #[cfg(test)]
    OPENED.with(|opened| opened.set(opened.get() + 1));
    let file = || File::open(path).map_err(|error| Error::io(path, error));
    let mut head = Vec::new();
    let read = file()?.take(512).read_to_end(&mut head);
    read.map_err(|error| Error::io(path, error))?;
    let buffered = || Ok(BufReader::with_capacity(1 << 16, file()?));
    let mut tree = Tree::new(path, limits);
    let archive = match head[..] {
        [0x1f, 0x8b, ..] => tar::read(read::gunzip(buffered()?), &mut tree, wanted)?,
        [b'P', b'K', ..] => zip::read(buffered()?, file()?, &mut tree, wanted)?,
        _ if tar::is_header(&head) => tar::read(buffered()?, &mut tree, wanted)?,
        _ => {
            let known = FOREIGN.iter().find(|(start, _)| head.starts_with(start));
            let found = known.map_or("a file that begins like none of them".into(), |(_, what)| {
                format!("{what}: unpack it and give the folder")
            });
            return Err(Error::format(path, "byte 0", "an archive: .tar.gz, .tar or .zip", found));
        }
    };
    Ok((archive, tree.list()?))
}

/// Refuses an archive of more entries than may be.
pub(super) fn few(path: &Path, count: usize, limits: ArchiveLimits) -> Result<()> {
    if count <= limits.files {
        return Ok(());
    }
    let expected = format!("an archive of at most {} files", limits.files);
    Err(Error::format(path, "the archive", expected, "more"))
}

/// Refuses an archive that unpacks to more than may be.
pub(super) fn small(path: &Path, bytes: u64, limits: ArchiveLimits) -> Result<()> {
    if bytes <= limits.bytes {
        return Ok(());
    }
    let expected = format!("an archive of at most {} bytes, unpacked", limits.bytes);
    Err(Error::format(path, "the archive", expected, "more"))
}

/// The error of an archive that cannot be read.
pub(super) fn broken(path: &Path, error: io::Error) -> Error {
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

impl Archive {
    /// The bytes of an entry; `path` is for errors.
    pub(super) fn reader(&self, at: u64, len: u64, path: &Path) -> Result<Box<dyn Read + '_>> {
        match self {
            Archive::Tar(spool) => Ok(Box::new(Window { spool, at, end: at + len })),
            Archive::Zip(zip) => Ok(Box::new(io::Cursor::new(zip.bytes(at, len, path)?))),
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
