//! Images and labels of STL-10.
#![no_main]

use dimask::data::stl::{read_images, read_labels};
use dimask::data::{Budget, Collector, Loading};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    // In their own size: to resize them is no part of reading.
    let (loading, budget) = (Loading::default(), Budget::new(8 << 20));
    let mut images = Collector::new(&loading, &budget);
    if read_images(data, Path::new("x"), &mut images).is_ok() {
        let _ = images.finish();
    }
    let _ = read_labels(data, Path::new("x"), data.len());
});
