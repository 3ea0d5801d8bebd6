//! Reading a directory of reference values: `index.json` and one safetensors file a case.

use super::Check;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The part of `index.json` that the harness reads.
#[derive(Deserialize)]
pub struct Index {
    pub cases: Vec<Info>,
}

/// One case as the index describes it.
#[derive(Deserialize)]
pub struct Info {
    pub name: String,
    pub file: String,
    pub op: String,
    pub attrs: BTreeMap<String, Value>,
    pub tol: Tolerances,
    pub tensors: BTreeMap<String, Spec>,
}

/// One tensor of a case as the index describes it.
#[derive(Deserialize)]
pub struct Spec {
    pub shape: Vec<usize>,
    pub dtype: String,
    pub role: String,
    #[serde(default)]
    pub tol: Tolerances,
    #[serde(default)]
    pub exact: bool,
}

/// Tolerances by float type, or by 8-bit level.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Tolerances {
    pub f64: Option<Tolerance>,
    pub f32: Option<Tolerance>,
    pub levels: Option<Levels>,
}

/// `max |got - ref| <= atol + rtol * max |ref|`.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    pub rtol: f64,
    pub atol: f64,
}

/// The largest allowed difference of 8-bit values.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    pub max: u8,
}

/// The numbers of one tensor, as stored or as computed.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    Floats(Vec<f64>),
    Integers(Vec<i64>),
    Bytes(Vec<u8>),
}

/// A tensor outside the engine, in the files' layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Raw {
    pub shape: Vec<usize>,
    pub numbers: Numbers,
}

/// Reads `index.json` of `directory`.
pub fn read_index(directory: &Path) -> Check<Index> {
    let path = directory.join("index.json");
    let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads all tensors of one safetensors file; f32 widens to f64 without loss.
pub fn read_tensors(path: &Path) -> Check<BTreeMap<String, Raw>> {
    let complain = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(|error| complain(&error))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| complain(&error))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let data = view.data();
        let numbers = match view.dtype() {
            Dtype::F64 => Numbers::Floats(eights(data).map(f64::from_le_bytes).collect()),
            Dtype::F32 => Numbers::Floats(
                data.chunks_exact(4)
                    .map(|x| f64::from(f32::from_le_bytes([x[0], x[1], x[2], x[3]])))
                    .collect(),
            ),
            Dtype::I64 => Numbers::Integers(eights(data).map(i64::from_le_bytes).collect()),
            Dtype::U8 => Numbers::Bytes(data.to_vec()),
            other => return Err(complain(&format!("tensor `{name}` has type {other:?}"))),
        };
        tensors.insert(name, Raw { shape: view.shape().to_vec(), numbers });
    }
    Ok(tensors)
}

fn eights(data: &[u8]) -> impl Iterator<Item = [u8; 8]> + '_ {
    data.chunks_exact(8).map(|x| x.try_into().expect("the chunks have eight bytes"))
}
