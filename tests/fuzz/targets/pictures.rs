//! PNG and JPEG files, by their first bytes, as a folder of images.
#![no_main]

use dimask::data::{Source, SourceName};
use dimask_fuzz::{file, folder, loading};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    file("images/a/x.png", data);
    let source = Source { name: SourceName::Folder, path: Some(folder().join("images")) };
    let _ = source.load(&loading());
});
