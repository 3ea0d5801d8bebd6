//! Safetensors headers and bodies, and checkpoints under a header that is as it should be.
#![no_main]

use dimask::train::container::Container;
use dimask::train::{diverged::Dump, model};
use dimask_fuzz::{config, file};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = file("checkpoint.safetensors", data);
    let _ = Dump::read(&path);
    let mut state = model::first_state(config(), 1);
    let _ = model::read_first_weights(config(), &mut state, &path);
    if let Ok(mut file) = Container::read(&path) {
        let meta = model::checkpoint(config(), &state, 1, 0).meta;
        file.meta.extend(meta);
        let _ = model::restore(config(), 1, &file, &path);
    }
});
