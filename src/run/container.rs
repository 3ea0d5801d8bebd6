//! A file of named tensors that survives crashes and notices damage.
//!
//! The format is safetensors, so that other programs read it. One metadata entry, `dimask`, holds a
//! JSON object with what the tensors do not say and a SHA-256 of everything, so that a flipped bit
//! is found on reading. Equal contents make equal bytes. Files are replaced, never overwritten: a
//! reader sees the old one or the new one.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::hex;
use crate::error::{Error, Result};
use crate::files::{write_atomically, write_keeping};

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

    /// Writes the file as [`Container::write`] does; the file that was at `path` is then at `kept`.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub fn write_keeping(&self, path: &Path, kept: &Path) -> Result<()> {
        write_keeping(path, kept, &self.serialized())
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
        let dir = crate::run::tests::TempDir::new("container");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        sample().write(&one).unwrap();
        sample().write(&two).unwrap();
        assert_eq!(Container::read(&one).unwrap(), sample());
        assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let dir = crate::run::tests::TempDir::new("flipped");
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
