//! A file of named tensors that survives crashes and notices damage.
//!
//! The format is safetensors, so that other programs read it. One metadata entry, `dimask`, holds a
//! JSON object with what the tensors do not say and a SHA-256 of everything, so that a flipped bit
//! is found on reading. Equal contents make equal bytes. Files are replaced, never overwritten: a
//! reader sees the old one or the new one.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::hex;
use crate::error::{Error, Result};

/// The numbers of a stored tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// A type that this program does not write, by name.
    Foreign(String),
}

/// A tensor as it lies in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The shape; empty for a single number.
    pub shape: Vec<usize>,
    /// The numbers, row-major.
    pub data: Data,
}

impl Stored {
    /// A tensor of floats.
    pub fn f32(shape: &[usize], data: Vec<f32>) -> Stored {
        Stored { shape: shape.to_vec(), data: Data::F32(data) }
    }

    /// A tensor of integers.
    pub fn i64(shape: &[usize], data: Vec<i64>) -> Stored {
        Stored { shape: shape.to_vec(), data: Data::I64(data) }
    }

    fn dtype(&self) -> Dtype {
        match &self.data {
            Data::F32(_) => Dtype::F32,
            Data::I64(_) => Dtype::I64,
            Data::Foreign(_) => unreachable!("foreign tensors are read, never written"),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match &self.data {
            Data::F32(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::I64(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Data::Foreign(_) => Vec::new(),
        }
    }
}

/// Named tensors and a JSON object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// What the tensors do not say; empty for a file that another program wrote.
    pub meta: Map<String, Value>,
    /// The tensors by name.
    pub tensors: BTreeMap<String, Stored>,
}

const META_KEY: &str = "dimask";
const HASH_KEY: &str = "sha256";

impl Container {
    /// Writes the file at `path`: to a temporary file beside it, synced, renamed, folder synced.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_atomically(path, &self.serialized())
    }

    /// As [`Container::write`], and the file that was at `path` is at `kept` afterwards.
    ///
    /// At every moment a whole file is at `path` or, on file systems without hard links, at `kept`.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub fn write_keeping(&self, path: &Path, kept: &Path) -> Result<()> {
        let bytes = self.serialized();
        replace(path, &bytes, || keep(path, kept)).map_err(|e| Error::io(path, e))
    }

    fn serialized(&self) -> Vec<u8> {
        let bytes: Vec<(&String, Dtype, &Vec<usize>, Vec<u8>)> =
            self.tensors.iter().map(|(n, t)| (n, t.dtype(), &t.shape, t.bytes())).collect();
        let mut meta = self.meta.clone();
        let rows = bytes.iter().map(|(n, d, s, b)| (n.as_str(), *d, s.as_slice(), b.as_slice()));
        meta.insert(HASH_KEY.into(), Value::String(digest(&self.meta, rows)));
        let header = HashMap::from([(META_KEY.to_string(), Value::Object(meta).to_string())]);
        let views = bytes.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.to_vec(), bytes);
            (name.as_str(), view.expect("a tensor has as many numbers as its shape says"))
        });
        let file = safetensors::serialize(views, Some(header));
        file.expect("names and shapes have been checked")
    }

    /// Reads the file at `path` and, if this program wrote it, checks its hash.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Format` if it is not safetensors or damaged.
    pub fn read(path: &Path) -> Result<Container> {
        let file = fs::read(path).map_err(|e| Error::io(path, e))?;
        let foreign = |e: safetensors::SafeTensorError| {
            Error::format(path, "header", "a safetensors file", e.to_string())
        };
        let (_, header) = SafeTensors::read_metadata(&file).map_err(foreign)?;
        let views = SafeTensors::deserialize(&file).map_err(foreign)?;
        let mut rows = views.tensors();
        rows.sort_by(|a, b| a.0.cmp(&b.0));

        let mut meta = Map::new();
        if let Some(text) = header.metadata().as_ref().and_then(|map| map.get(META_KEY)) {
            let damaged =
                || Error::format(path, "metadata", "the object it was written with", text);
            meta = serde_json::from_str(text).map_err(|_| damaged())?;
            let written = meta.remove(HASH_KEY).ok_or_else(damaged)?;
            let rows = rows.iter().map(|(n, v)| (n.as_str(), v.dtype(), v.shape(), v.data()));
            let found = digest(&meta, rows);
            if written != Value::String(found.clone()) {
                let expected = format!("contents with sha256 {written}");
                return Err(Error::format(path, "contents", expected, format!("damage: {found}")));
            }
        }
        let tensors = rows.iter().map(|(name, view)| (name.clone(), stored(view))).collect();
        Ok(Container { meta, tensors })
    }
}

/// The numbers of a view, whose bytes need not be aligned.
fn stored(view: &TensorView<'_>) -> Stored {
    let bytes = view.data();
    let data = match view.dtype() {
        Dtype::F32 => Data::F32(
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        ),
        Dtype::I64 => Data::I64(
            bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect(),
        ),
        other => Data::Foreign(format!("{other:?}")),
    };
    Stored { shape: view.shape().to_vec(), data }
}

/// SHA-256 over the metadata and every tensor's name, type, shape and bytes, in the order of names.
fn digest<'a>(
    meta: &Map<String, Value>,
    rows: impl Iterator<Item = (&'a str, Dtype, &'a [usize], &'a [u8])>,
) -> String {
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_string(meta).expect("a JSON object is text"));
    for (name, dtype, shape, bytes) in rows {
        hasher.update(format!("\n{name} {dtype:?} {shape:?} "));
        hasher.update(bytes);
    }
    hex(&hasher.finalize())
}

/// Asks the system whether [`write_atomically`] will do, before the work for what is to be written.
///
/// # Errors
/// `Io` if the file cannot be written.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    let (_, temporary) = beside(path);
    let write = || {
        if path.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        fresh(&temporary)?;
        fs::remove_file(&temporary)
    };
    write().map_err(|e| Error::io(path, e))
}

/// A file's folder, and the file in it that is written first.
fn beside(path: &Path) -> (&Path, PathBuf) {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    (folder, folder.join(format!(".{name}.tmp")))
}

/// A new file at `path`, in the place of one that a killed process left half written.
///
/// A folder that may not be written to refuses both: what is in it stays as it is, down to the rest
/// of a file, which its own permissions would let us cut.
fn fresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => File::create_new(path),
    }
}

/// Replaces the file at `path` by `bytes` so that a crash leaves the old or the new one.
///
/// # Errors
/// `Io` if the system refuses.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes, || Ok(())).map_err(|e| Error::io(path, e))
}

/// The same; `before` is done when the new file is whole and not yet in its place.
fn replace(path: &Path, bytes: &[u8], before: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let (folder, temporary) = beside(path);
    let write = || {
        let mut file = fresh(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    // On a full disk half a file would only be in the way.
    write().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    before()?;
    fs::rename(&temporary, path)?;
    // The new name is safe only once its folder is; not every system opens folders.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Gives the file at `path`, if there is one, the name `kept` too, in the place of what had it.
fn keep(path: &Path, kept: &Path) -> io::Result<()> {
    let (_, link) = beside(kept);
    if !path.exists() {
        return Ok(());
    }
    if link.exists() {
        fs::remove_file(&link)?;
    }
    match fs::hard_link(path, &link) {
        Ok(()) => fs::rename(link, kept),
        Err(_) => fs::rename(path, kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Container {
        let mut container = Container::default();
        container.meta.insert("step".into(), 7.into());
        container
            .tensors
            .insert("a.weight".into(), Stored::f32(&[2, 2], vec![1.0, -2.0, 3.5, 0.1]));
        container.tensors.insert("a.count".into(), Stored::i64(&[], vec![9]));
        container
    }

    #[test]
    fn what_is_written_is_read_and_equal_contents_are_equal_bytes() {
        let dir = crate::train::tests_support::TempDir::new("container");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        sample().write(&one).unwrap();
        sample().write(&two).unwrap();
        assert_eq!(Container::read(&one).unwrap(), sample());
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let dir = crate::train::tests_support::TempDir::new("flipped");
        let path = dir.path().join("file");
        sample().write(&path).unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x01;
            fs::write(&path, &bad).unwrap();
            // A flip in the header may rename the metadata entry; then the reader that needs it
            // misses it, which is what the empty metadata tells.
            match Container::read(&path) {
                Err(Error::Format { .. }) => {}
                Ok(read) => assert!(read.meta.is_empty(), "byte {at}: {:?}", bad[at] as char),
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
        fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(matches!(Container::read(&path), Err(Error::Format { .. })));
        assert!(matches!(Container::read(&dir.path().join("none")), Err(Error::Io { .. })));
    }
}
