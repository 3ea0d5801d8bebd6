//! `.zip` archives, read in place.
//!
//! Two entries of one name are an error: nobody could say which is meant. Files that are packed by
//! another method than Deflate, or encrypted, are listed as lost.

use super::archive::{Archive, broken, few, small};
use super::names::shown;
use super::tree::{LONGEST_TARGET, Node, Put, Tree};
use crate::data::read::MOST_ZIPPED_BYTES;
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use zip::ZipArchive;
use zip::result::ZipError;

/// An archive whose files are unpacked when they are read.
pub(super) struct Zip(RefCell<ZipArchive<BufReader<File>>>);

/// Puts the wanted entries into `tree`; `again` is the same file a second time.
pub(super) fn read(
    reader: BufReader<File>,
    again: File,
    tree: &mut Tree,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Archive> {
    let path = tree.path;
    let mut archive = ZipArchive::new(reader).map_err(|error| zip_error(path, error))?;
    few(path, archive.len(), tree.limits)?;
    let (mut again, mut total) = (BufReader::new(again), 0u64);
    for at in 0..archive.len() {
        let file = archive.by_index_raw(at).map_err(|error| zip_error(path, error))?;
        let head = Head::read(&mut again, file.central_header_start())
            .map_err(|error| broken(path, error))?;
        let name = head.name(file.name_raw(), file.name(), file.extra_data());
        let parts = tree.name(&name)?;
        let last = parts.last().map_or(String::new(), |last| shown(last));
        let kind = file.unix_mode().unwrap_or_default() & 0o170_000;
        let is_folder = name.ends_with(b"/") || kind == 0o040_000;
        if Tree::is_leftover(&parts) || !is_folder && !wanted(&last) {
            continue;
        }
        let len = file.size();
        drop(file);
        let node = match (kind, head.strange_packing()) {
            _ if is_folder => Node::Folder(Default::default()),
            (0o020_000 | 0o060_000 | 0o010_000 | 0o140_000, _) => {
                Node::Lost("a file", "a device, a pipe or a socket".into())
            }
            (_, Some(packing)) => {
                Node::Lost("a file that is stored or packed with Deflate", packing)
            }
            (0o120_000, None) if len > LONGEST_TARGET as u64 => {
                Node::Lost("a file", format!("a link of {len} bytes"))
            }
            (0o120_000, None) => Node::Link(unpack(&mut archive, at, len, path)?),
            _ => {
                total = total.saturating_add(len);
                Node::File { at: at as u64, len }
            }
        };
        if tree.put(&parts, node)? == Put::Again {
            let found = format!("two: {}", shown(&name));
            return Err(Error::format(path, "the archive", "one entry of each name", found));
        }
    }
    small(path, total, tree.limits)?;
    Ok(Archive::Zip(Zip(RefCell::new(archive))))
}

/// What the directory of an archive says of an entry beyond what the crate `zip` tells.
struct Head {
    /// The system that it was packed on: 0 is DOS.
    system: u8,
    flags: u16,
    method: u16,
}

impl Head {
    fn read(archive: &mut (impl Read + Seek), start: u64) -> std::io::Result<Head> {
        archive.seek(SeekFrom::Start(start))?;
        let mut bytes = [0; 12];
        archive.read_exact(&mut bytes)?;
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        Ok(Head { system: bytes[5], flags: word(8), method: word(10) })
    }

    /// The name's bytes: those of the field for names in Unicode, if it is about this name; the
    /// entry's own, if they are said to be UTF-8, or were written on a system where names are
    /// bytes; else the text of DOS's code page.
    fn name(&self, raw: &[u8], text: &str, extra: &[u8]) -> Vec<u8> {
        if let Some(name) = unicode_name(raw, extra) {
            return name;
        }
        let (is_utf8, is_dos) = (self.flags & 1 << 11 != 0, self.system == 0);
        let mut name = if is_utf8 || !is_dos { raw.to_vec() } else { text.as_bytes().to_vec() };
        if is_dos && !name.contains(&b'/') {
            // As old programs under Windows part folders.
            name.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
        }
        name
    }

    /// How an entry is packed, with what to do, if it cannot be read here.
    fn strange_packing(&self) -> Option<String> {
        if self.flags & 1 != 0 {
            return Some("an encrypted one: unpack the archive and give the folder".into());
        }
        let name = match self.method {
            0 | 8 => return None,
            9 => "Deflate64",
            12 => "bzip2",
            14 => "LZMA",
            93 | 20 => "Zstandard",
            95 => "XZ",
            _ => "an unusual method",
        };
        Some(format!(
            "one packed with {name} (method {}): unpack the archive and give the folder, or pack \
             it again as `zip -r` does",
            self.method
        ))
    }
}

/// The name in the extra field 0x7075, if its sum is that of the entry's own name.
fn unicode_name(raw: &[u8], mut extra: &[u8]) -> Option<Vec<u8>> {
    while let [a, b, c, d, rest @ ..] = extra {
        let len = usize::from(u16::from_le_bytes([*c, *d]));
        let (field, rest) = rest.split_at_checked(len)?;
        if let (0x7075, [1, w, x, y, z, name @ ..]) = (u16::from_le_bytes([*a, *b]), field) {
            let mut sum = flate2::Crc::new();
            sum.update(raw);
            let same = sum.sum() == u32::from_le_bytes([*w, *x, *y, *z]);
            return (same && std::str::from_utf8(name).is_ok()).then(|| name.to_vec());
        }
        extra = rest;
    }
    None
}

fn unpack(
    archive: &mut ZipArchive<BufReader<File>>,
    at: usize,
    len: u64,
    path: &Path,
) -> Result<Vec<u8>> {
    let file = archive.by_index(at).map_err(|error| zip_error(path, error))?;
    let mut bytes = Vec::with_capacity(len.min(1 << 20) as usize);
    // No more than it says of itself either: by that the archive was let in.
    let most = MOST_ZIPPED_BYTES.min(len);
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| broken(path, error))?;
    if bytes.len() as u64 > most {
        return Err(Error::format(path, "the file", format!("at most {most} bytes"), "more"));
    }
    Ok(bytes)
}

fn zip_error(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(error) => broken(path, error),
        other => Error::format(path, "the archive", "a sound archive", other.to_string()),
    }
}

impl Zip {
    /// The bytes of an entry, whole, because the archive has one cursor; images and lists are
    /// small.
    pub(super) fn bytes(&self, at: u64, len: u64, path: &Path) -> Result<Vec<u8>> {
        unpack(&mut self.0.borrow_mut(), at as usize, len, path)
    }
}
