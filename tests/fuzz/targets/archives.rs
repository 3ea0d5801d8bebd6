//! `.zip`, `.tar` and `.tar.gz`, by their first bytes, as two sets.
#![no_main]

use dimask::data::{Source, SourceName};
use dimask_fuzz::{file, loading};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = Some(file("archive", data));
    for name in [SourceName::Cifar10, SourceName::TinyImagenet, SourceName::Stl10] {
        let _ = Source { name, path: path.clone() }.load(&loading());
    }
});
