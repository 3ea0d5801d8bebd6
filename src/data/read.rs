//! Reading bytes with errors that name the file, the place and what was expected there.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// The most bytes of images that an IDX file may hold once unpacked: 1 GiB, far more than any.
///
/// It bounds what a damaged header or a hostile archive can make the process allocate.
pub(super) const MOST_BYTES: u64 = 1 << 30;

/// The most bytes of a file in a `.zip` archive, which is unpacked in memory: 64 MiB.
#[cfg(feature = "cli")]
pub(super) const MOST_ZIPPED_BYTES: u64 = 64 << 20;

/// Memory taken on a header's word alone, before its bytes have been seen.
const TRUSTED_BYTES: u64 = 1 << 26;

/// A reader that knows its file's name and how far it has come.
pub(super) struct Bytes<'a, R> {
    reader: R,
    path: &'a Path,
    offset: u64,
}

impl<'a, R: Read> Bytes<'a, R> {
    pub(super) fn new(reader: R, path: &'a Path) -> Bytes<'a, R> {
        Bytes { reader, path, offset: 0 }
    }

    /// An error at `offset`.
    pub(super) fn error(
        &self,
        offset: u64,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Error {
        // Offsets count what a compressed file unpacks to: that is what the format speaks of.
        let unpacked = match self.path.extension().is_some_and(|extension| extension == "gz") {
            true => " of the unpacked data",
            false => "",
        };
        Error::format(self.path, format!("byte {offset}{unpacked}"), expected, found)
    }

    /// Exactly `buffer.len()` bytes, called `what` in the error.
    pub(super) fn exact(&mut self, buffer: &mut [u8], what: &str) -> Result<()> {
        let read = self.up_to(buffer)?;
        if read < buffer.len() {
            let expected = format!("{} bytes of {what}", buffer.len());
            return Err(self.error(
                self.offset - read as u64,
                expected,
                format!("the end of the file after {read}"),
            ));
        }
        Ok(())
    }

    /// As many bytes as there are, at most `buffer.len()`: their number.
    pub(super) fn up_to(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(self.offset + filled as u64, error)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    /// The `len` bytes of `what` that end the file. Memory grows with the bytes that are there.
    pub(super) fn rest(&mut self, len: u64, what: &str) -> Result<Vec<u8>> {
        let start = self.offset;
        let mut bytes = Vec::with_capacity(len.min(TRUSTED_BYTES) as usize);
        if let Err(error) = self.reader.by_ref().take(len).read_to_end(&mut bytes) {
            return Err(self.failed(start + bytes.len() as u64, error));
        }
        self.offset += bytes.len() as u64;
        if (bytes.len() as u64) < len {
            let found = format!("the end of the file after {}", bytes.len());
            return Err(self.error(start, format!("{len} bytes of {what}"), found));
        }
        // One byte further: this also lets a gzip stream check its own sum.
        if self.up_to(&mut [0])? > 0 {
            let end = self.offset - 1;
            return Err(self.error(end, format!("the end of the file after {what}"), "more bytes"));
        }
        Ok(bytes)
    }

    /// All that is left, if it is at most `most` bytes.
    pub(super) fn all(&mut self, most: u64) -> Result<Vec<u8>> {
        let start = self.offset;
        let mut bytes = Vec::new();
        if let Err(error) = self.reader.by_ref().take(most + 1).read_to_end(&mut bytes) {
            return Err(self.failed(start + bytes.len() as u64, error));
        }
        if bytes.len() as u64 > most {
            return Err(self.error(start, format!("at most {most} bytes"), "more"));
        }
        self.offset += bytes.len() as u64;
        Ok(bytes)
    }

    /// A failed read: damaged data is a matter of format, everything else of the system.
    fn failed(&self, offset: u64, error: std::io::Error) -> Error {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error.kind() {
            UnexpectedEof => {
                self.error(offset, "a whole gzip stream", "the end of the file within the stream")
            }
            InvalidData | InvalidInput => {
                self.error(offset, "a valid gzip stream", error.to_string())
            }
            _ => Error::io(self.path, error),
        }
    }
}

/// Opens a file as it is.
pub(super) fn open_raw(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Error::io(path, error))
}

/// Opens a file, unpacking it when its name ends in `.gz`.
///
/// # Errors
/// `Io` if it cannot be opened; `Format` if it is compressed and this build cannot unpack.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>> {
    let file = open_raw(path)?;
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, file)));
    }
    let file = BufReader::with_capacity(1 << 16, file);
    unpack(path, file)
}

/// What a gzip stream, or several in a row, unpack to.
#[cfg(feature = "cli")]
pub(super) fn gunzip<'a>(packed: impl Read + 'a) -> Box<dyn Read + 'a> {
    Box::new(flate2::read::MultiGzDecoder::new(packed))
}

#[cfg(feature = "cli")]
fn unpack(_path: &Path, file: BufReader<File>) -> Result<Box<dyn Read>> {
    Ok(gunzip(file))
}

#[cfg(not(feature = "cli"))]
fn unpack(path: &Path, _file: BufReader<File>) -> Result<Box<dyn Read>> {
    let expected = "an uncompressed file, since this build is without the feature `cli`";
    Err(Error::format(path, "the name", expected, "a gzip file: unpack it beside itself"))
}
