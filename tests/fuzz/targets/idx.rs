//! IDX files of images and of labels, plain and compressed.
#![no_main]

use dimask::data::idx::{read_images, read_labels};
use dimask::data::{Source, SourceName};
use dimask_fuzz::{file, folder, loading};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let _ = read_images(data, Path::new("x"));
    let _ = read_labels(data, Path::new("x"), 10);
    // The same compressed, where the name says so.
    for name in ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"] {
        file(&format!("mnist/{name}"), data);
    }
    for name in ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        file(&format!("mnist/{name}"), data);
    }
    let source = Source { name: SourceName::Mnist, path: Some(folder().join("mnist")) };
    let _ = source.load(&loading());
});
