//! `.tar` archives, block by block: ustar, GNU's and PAX headers.
//!
//! Extended headers (PAX's `path`, `linkpath`, `size` and its global ones, GNU's long names) are
//! read here and not by the crate `tar`, because that would take as much memory as they ask for:
//! one of more than [`MOST_EXTENDED_BYTES`] is an error. Sparse files are listed as lost.

use super::archive::{Archive, broken, few, small};
use super::names::shown;
use super::tree::{Node, Tree};
use crate::data::ArchiveLimits;
use crate::data::spool::Spool;
use crate::error::{Error, Result};
use std::io::{ErrorKind, Read};
use std::str;
use tar::Header;

/// The most bytes of an extended header, and so of a name: 64 KiB.
const MOST_EXTENDED_BYTES: u64 = 64 << 10;
/// Headers and the contents of files are multiples of it.
const BLOCK: usize = 512;

/// Copies the wanted files into a temporary one, and puts everything into `tree`.
pub(super) fn read(
    reader: impl Read,
    tree: &mut Tree,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Archive> {
    let mut spool = Spool::create()?;
    // One byte more than may be, so that reaching it is told from the end.
    let most = tree.limits.bytes.saturating_add(1);
    let mut blocks = Blocks { path: tree.path, reader: reader.take(most), most };
    let (mut everywhere, mut next, mut count) = (Extended::default(), Extended::default(), 0);
    while let Some(header) = blocks.header()? {
        let kind = header.entry_type().as_byte();
        let size = header.entry_size().map_err(|error| broken(tree.path, error))?;
        match kind {
            b'x' | b'X' | b'g' | b'L' | b'K' => {
                let bytes = blocks.extended(size, tree)?;
                let text = || bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
                match kind {
                    b'L' => next.path = Some(text()),
                    b'K' => next.link = Some(text()),
                    b'g' => everywhere.read(&bytes).map_err(|what| blocks.damaged(what))?,
                    _ => next.read(&bytes).map_err(|what| blocks.damaged(what))?,
                }
                continue;
            }
            _ => {}
        }
        count += 1;
        few(tree.path, count, tree.limits)?;
        let own = std::mem::take(&mut next);
        let or = |own: Option<Vec<u8>>, other: &Option<Vec<u8>>, header: Vec<u8>| {
            own.or_else(|| other.clone()).filter(|name| !name.is_empty()).unwrap_or(header)
        };
        let name = or(own.path, &everywhere.path, header.path_bytes().into_owned());
        let target = header.link_name_bytes().unwrap_or_default().into_owned();
        let target = or(own.link, &everywhere.link, target);
        let parts = tree.name(&name)?;
        // These have no contents, whatever their header says.
        let len = match kind {
            b'1'..=b'6' => 0,
            _ => own.size.or(everywhere.size).unwrap_or(size),
        };
        // On its word alone: nothing of it has been unpacked yet.
        small(tree.path, blocks.done().saturating_add(len), tree.limits)?;
        let node = match kind {
            b'5' | b'D' => Node::Folder(Default::default()),
            b'1' => Node::Hard(target),
            b'2' => Node::Link(target),
            b'3' | b'4' | b'6' => Node::Lost("a file", "a device or a pipe".into()),
            // The rest of a file of another volume; a volume's name.
            b'M' | b'V' | b'N' => {
                blocks.skip(len)?;
                continue;
            }
            b'S' => {
                blocks.skip_map(&header)?;
                Node::Lost(WHOLE, SPARSE.into())
            }
            _ if own.sparse => Node::Lost(WHOLE, SPARSE.into()),
            // As folders were written before there was a kind for them.
            _ if name.ends_with(b"/") => Node::Folder(Default::default()),
            _ => Node::File { at: spool.len(), len },
        };
        let last = parts.last().map_or(String::new(), |last| shown(last));
        match node {
            Node::File { .. } if Tree::is_leftover(&parts) || !wanted(&last) => blocks.skip(len)?,
            Node::File { .. } => {
                blocks.copy(len, |bytes| spool.append(bytes))?;
                tree.put(&parts, node)?;
            }
            node => {
                blocks.skip(len)?;
                if !Tree::is_leftover(&parts) {
                    tree.put(&parts, node)?;
                }
            }
        }
    }
    blocks.end(tree)?;
    Ok(Archive::Tar(spool))
}

const WHOLE: &str = "a file with all of its bytes";
const SPARSE: &str = "a sparse one: pack it without --sparse";

/// Whether a file begins with a header of a `.tar`.
pub(super) fn is_header(block: &[u8]) -> bool {
    let block: Option<&[u8; BLOCK]> = block.first_chunk();
    block.is_some_and(|block| block[257..262] == *b"ustar" || is_sum_right(block))
}

/// Whether the sum that a header has of its own bytes is right; its bytes may count as signed.
fn is_sum_right(block: &[u8; BLOCK]) -> bool {
    let own = Header::from_byte_slice(block).cksum();
    let others = || block[..148].iter().chain(&[b' '; 8]).chain(&block[156..]);
    let plain: u32 = others().map(|&byte| u32::from(byte)).sum();
    let signed: i32 = others().map(|&byte| i32::from(byte as i8)).sum();
    own.is_ok_and(|own| own == plain || i64::from(own) == i64::from(signed))
}

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl Extended {
    /// Takes the records of a PAX header, each `LENGTH KEY=VALUE` and a line feed; the error is
    /// what is wrong.
    fn read(&mut self, mut text: &[u8]) -> Result<(), &'static str> {
        while !text.is_empty() {
            let (key, value, rest) = record(text).ok_or("a PAX header that is damaged")?;
            text = rest;
            match key {
                b"path" | b"GNU.sparse.name" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or("a PAX header whose size is no number")?);
                }
                _ => self.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(())
    }
}

/// The key and the value of the first record, and what follows it.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = text.iter().take(20).position(|byte| *byte == b' ')?;
    let len: usize = str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    let (record, rest) = text.split_at_checked(len)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equal = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equal], &record[equal + 1..], rest))
}

/// An archive's blocks in their order.
struct Blocks<'a, R> {
    path: &'a std::path::Path,
    reader: std::io::Take<R>,
    /// What the reader could give at first.
    most: u64,
}

impl<R: Read> Blocks<'_, R> {
    /// Bytes that have been read.
    fn done(&self) -> u64 {
        self.most - self.reader.limit()
    }

    fn damaged(&self, found: &str) -> Error {
        let place = format!("byte {} of the unpacked archive", self.done());
        Error::format(self.path, place, "a sound archive", found)
    }

    /// The error of an archive that ends too early, by itself or by its limit.
    fn ends(&self) -> Error {
        let limits = ArchiveLimits { bytes: self.most - 1, files: 0 };
        let small = small(self.path, self.done(), limits);
        small.err().unwrap_or_else(|| broken(self.path, ErrorKind::UnexpectedEof.into()))
    }

    /// The next header; none at the archive's end.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            0 => return Ok(None),
            BLOCK => {}
            _ => return Err(self.ends()),
        }
        if block == [0; BLOCK] {
            return Ok(None);
        }
        if !is_sum_right(&block) {
            return Err(self.damaged("a header whose sum is wrong"));
        }
        Ok(Some(Header::from_byte_slice(&block).clone()))
    }

    /// As many bytes as there are, at most the buffer's.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(self.path, error)),
            }
        }
        Ok(filled)
    }

    /// Gives `len` bytes to `to`, a piece at a time, and passes over the rest of the last block.
    fn copy(&mut self, len: u64, mut to: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; len.min(1 << 16) as usize];
        let mut left = len;
        while left > 0 {
            let piece = left.min(buffer.len() as u64) as usize;
            if self.fill(&mut buffer[..piece])? < piece {
                return Err(self.ends());
            }
            to(&buffer[..piece])?;
            left -= piece as u64;
        }
        // The last file's may be missing.
        let padding = len.next_multiple_of(BLOCK as u64) - len;
        self.fill(&mut [0; BLOCK][..padding as usize]).map(drop)
    }

    fn skip(&mut self, len: u64) -> Result<()> {
        self.copy(len, |_| Ok(()))
    }

    /// The contents of an extended header.
    fn extended(&mut self, size: u64, tree: &Tree) -> Result<Vec<u8>> {
        if size > MOST_EXTENDED_BYTES {
            let expected =
                format!("a name or extended header of at most {MOST_EXTENDED_BYTES} bytes");
            return Err(Error::format(
                self.path,
                "the archive",
                expected,
                format!("one of {size}"),
            ));
        }
        small(self.path, self.done().saturating_add(size), tree.limits)?;
        let mut bytes = Vec::with_capacity(size as usize);
        self.copy(size, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Passes over the blocks that say where the pieces of a sparse file are.
    fn skip_map(&mut self, header: &Header) -> Result<()> {
        let mut more = header.as_bytes()[482] == 1;
        while more {
            let mut block = [0; BLOCK];
            if self.fill(&mut block)? < BLOCK {
                return Err(self.ends());
            }
            more = block[504] == 1;
        }
        Ok(())
    }

    /// Reads to the end, so that the stream's own sum is checked; what follows the archive is
    /// padding.
    fn end(mut self, tree: &Tree) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        while self.fill(&mut buffer)? > 0 {}
        small(self.path, self.done(), tree.limits)
    }
}
