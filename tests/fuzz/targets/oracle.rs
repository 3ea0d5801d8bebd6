//! The index of the reference values and their tensors, as the tests read them.
#![no_main]
#![allow(dead_code)] // The tests use more of it.

#[path = "../../it/oracle/store.rs"]
mod store;

/// The reader's own result.
pub type Check<T = ()> = Result<T, String>;

use dimask_fuzz::{file, folder};
use libfuzzer_sys::fuzz_target;
use store::{read_index, read_tensors};

fuzz_target!(|data: &[u8]| {
    let path = file("index.json", data);
    let _ = read_index(folder());
    let _ = read_tensors(&path);
});
