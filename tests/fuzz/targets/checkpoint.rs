//! Safetensors headers and bodies as they are, and what lies behind the hash of a checkpoint: the
//! input with a hash that fits, and under a header that is as it should be.
#![no_main]

use dimask::run::container::{Container, Stored};
use dimask::train::{diverged::Dump, model};
use dimask_fuzz::{config, file};
use libfuzzer_sys::fuzz_target;
use safetensors::{Dtype, SafeTensors};
use std::sync::LazyLock;

/// The state before the first step: drawn once, because that takes longer than any input.
static STATE: LazyLock<model::State> = LazyLock::new(|| model::first_state(config(), 1));

fuzz_target!(|data: &[u8]| {
    let path = file("checkpoint.safetensors", data);
    let _ = Container::read(&path);
    let Some(sealed) = sealed(data) else { return };
    sealed.write(&path).expect("the file can be written");
    let read = Container::read(&path).expect("what is written can be read");
    assert!(read == sealed, "and is what was written");
    let _ = Dump::read(&path);
    let _ = model::read_first_weights(config(), &mut STATE.clone(), &path);
    let mut file = sealed;
    if model::restore(config(), 1, &file, &path).is_err() {
        file.meta.extend(model::checkpoint(config(), &STATE, 1, 0).meta);
        let _ = model::restore(config(), 1, &file, &path);
    }
});

/// What the input holds, if it is safetensors of the two kinds that are written.
fn sealed(data: &[u8]) -> Option<Container> {
    let views = SafeTensors::deserialize(data).ok()?;
    let (_, header) = SafeTensors::read_metadata(data).ok()?;
    let text = header.metadata().as_ref().and_then(|map| map.get("dimask"));
    let mut container = Container::default();
    container.meta = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    container.meta.remove("sha256");
    // A NaN is not equal to itself; the readers refuse it, which the hash does not hinder.
    for (name, view) in views.tensors() {
        let bytes = view.data();
        let stored = match view.dtype() {
            Dtype::F32 => {
                let numbers = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                Stored::f32(view.shape(), numbers.map(|x| if x.is_nan() { 0.0 } else { x }).collect())
            }
            Dtype::I64 => {
                let numbers = bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()));
                Stored::i64(view.shape(), numbers.collect())
            }
            _ => return None,
        };
        container.tensors.insert(name, stored);
    }
    Some(container)
}
