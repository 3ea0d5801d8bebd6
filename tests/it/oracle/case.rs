//! One case at work: its inputs, its settings, and what was computed for it.

use super::Check;
use super::store::{Info, Numbers, Raw, read_tensors};
use dimask::Real;
use dimask::tensor::Tensor;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A case with its tensors read. Remembers which attributes were asked for: one that nobody asked
/// for is one that the harness does not know.
pub struct Case<'a> {
    pub info: &'a Info,
    directory: &'a Path,
    tensors: BTreeMap<String, Raw>,
    known: RefCell<BTreeSet<String>>,
}

impl<'a> Case<'a> {
    /// Reads the case's file and checks it against the index.
    pub fn read(directory: &'a Path, info: &'a Info) -> Check<Case<'a>> {
        let tensors = read_tensors(&directory.join(&info.file))?;
        for (name, spec) in &info.tensors {
            let raw = tensors.get(name).ok_or(format!("`{name}` is not in {}", info.file))?;
            let dtype = match raw.numbers {
                Numbers::Floats(_) => "F64",
                Numbers::Integers(_) => "I64",
                Numbers::Bytes(_) => "U8",
            };
            if raw.shape != spec.shape || dtype != spec.dtype {
                return Err(format!(
                    "`{name}` is {dtype} {:?} in {}, {} {:?} in the index",
                    raw.shape, info.file, spec.dtype, spec.shape
                ));
            }
        }
        Ok(Case { info, directory, tensors, known: RefCell::default() })
    }

    /// The stored tensor `name`.
    pub fn raw(&self, name: &str) -> Check<&Raw> {
        self.tensors.get(name).ok_or_else(|| format!("there is no tensor `{name}`"))
    }

    /// Whether the case has a tensor `name`.
    pub fn has(&self, name: &str) -> bool {
        self.info.tensors.contains_key(name)
    }

    /// The names of the tensors that start with `prefix`, without it.
    pub fn names_under(&self, prefix: &str) -> Vec<String> {
        self.tensors.keys().filter_map(|name| name.strip_prefix(prefix)).map(String::from).collect()
    }

    /// The float tensor `name` in the layout of the file.
    pub fn tensor<T: Real>(&self, name: &str) -> Check<Tensor<T>> {
        self.raw(name)?.to_tensor().ok_or_else(|| format!("`{name}` is not a float tensor"))
    }

    /// The integer tensor `name` as indices.
    pub fn indices(&self, name: &str) -> Check<Vec<u32>> {
        let Numbers::Integers(values) = &self.raw(name)?.numbers else {
            return Err(format!("`{name}` is not an integer tensor"));
        };
        let index = |&value: &i64| u32::try_from(value).map_err(|_| format!("`{name}`: {value}"));
        values.iter().map(index).collect()
    }

    /// The 8-bit tensor `name`.
    pub fn bytes(&self, name: &str) -> Check<&[u8]> {
        match &self.raw(name)?.numbers {
            Numbers::Bytes(values) => Ok(values),
            _ => Err(format!("`{name}` is not an 8-bit tensor")),
        }
    }

    /// The attribute `name`.
    pub fn attr<D: DeserializeOwned>(&self, name: &str) -> Check<D> {
        self.known.borrow_mut().insert(name.to_string());
        let value = self.info.attrs.get(name).ok_or(format!("there is no attribute `{name}`"))?;
        serde_json::from_value(value.clone())
            .map_err(|_| format!("unknown value {value} of attribute `{name}`"))
    }

    /// Fails unless the attribute `name` has the only value that is supported.
    pub fn only(&self, name: &str, supported: impl Into<Value>) -> Check {
        let (value, supported): (Value, Value) = (self.attr(name)?, supported.into());
        let equal = match (value.as_f64(), supported.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => value == supported,
        };
        if equal {
            return Ok(());
        }
        Err(format!("unknown value {value} of attribute `{name}`, only {supported} is supported"))
    }

    /// Names an attribute that says nothing about what is computed.
    pub fn remark(&self, name: &str) {
        self.known.borrow_mut().insert(name.to_string());
    }

    /// Fails if the case has an attribute that nobody asked for.
    pub fn check_attributes(&self) -> Check {
        let known = self.known.borrow();
        match self.info.attrs.keys().find(|name| !known.contains(*name)) {
            Some(name) => Err(format!("unknown attribute `{name}` of op `{}`", self.info.op)),
            None => Ok(()),
        }
    }

    /// Reads another file of the directory, named by the attribute `name`.
    pub fn attached(&self, name: &str) -> Check<BTreeMap<String, Raw>> {
        read_tensors(&self.directory.join(self.attr::<String>(name)?))
    }
}

impl Raw {
    /// As an engine tensor in the same layout; `None` for integers and bytes.
    pub fn to_tensor<T: Real>(&self) -> Option<Tensor<T>> {
        let Numbers::Floats(values) = &self.numbers else { return None };
        Some(Tensor::from_vec(values.iter().map(|&x| T::from_f64(x)).collect(), &self.shape))
    }
}

/// What was computed for a case. A tensor may be computed in several ways: all must agree.
#[derive(Default)]
pub struct Results {
    pub values: BTreeMap<String, Vec<Raw>>,
}

impl Results {
    /// Hands in `name`, in the layout of the file.
    pub fn put<T: Real>(&mut self, name: impl Into<String>, value: &Tensor<T>) {
        let numbers = value.as_slice().iter().map(|x| x.to_f64()).collect();
        self.put_raw(name, value.shape(), Numbers::Floats(numbers));
    }

    /// Hands in a scalar.
    pub fn put_scalar(&mut self, name: impl Into<String>, value: f64) {
        self.put_raw(name, &[], Numbers::Floats(vec![value]));
    }

    /// Hands in a 1-d tensor of floats.
    pub fn put_list(&mut self, name: impl Into<String>, values: Vec<f64>) {
        let shape = [values.len()];
        self.put_raw(name, &shape, Numbers::Floats(values));
    }

    /// Hands in integers.
    pub fn put_indices(&mut self, name: impl Into<String>, shape: &[usize], values: &[u32]) {
        let numbers = values.iter().map(|&x| i64::from(x)).collect();
        self.put_raw(name, shape, Numbers::Integers(numbers));
    }

    /// Hands in bytes.
    pub fn put_bytes(&mut self, name: impl Into<String>, shape: &[usize], values: Vec<u8>) {
        self.put_raw(name, shape, Numbers::Bytes(values));
    }

    fn put_raw(&mut self, name: impl Into<String>, shape: &[usize], numbers: Numbers) {
        let raw = Raw { shape: shape.to_vec(), numbers };
        self.values.entry(name.into()).or_default().push(raw);
    }
}
