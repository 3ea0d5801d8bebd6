//! `.zip`, `.tar` and `.tar.gz`, by their first bytes, as one of four sets: extended headers, links
//! and entries that come again are part of the seeds.
#![no_main]

use dimask::data::{Source, SourceName};
use dimask_fuzz::{file, loading};
use libfuzzer_sys::fuzz_target;

const SETS: [SourceName; 4] =
    [SourceName::Cifar10, SourceName::TinyImagenet, SourceName::Stl10, SourceName::Folder];

fuzz_target!(|data: &[u8]| {
    // One set an input, by its length: what is unpacked is most of the work, and the same for all.
    let name = SETS[data.len() % SETS.len()];
    let _ = Source { name, path: Some(file("archive", data)) }.load(&loading());
});
