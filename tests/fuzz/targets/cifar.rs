//! Records of CIFAR-10 and CIFAR-100.
#![no_main]

use dimask::data::cifar::{Layout, read_batch};
use dimask::data::{Budget, Collector, Labels, Loading};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    // In their own size: to resize them is no part of reading.
    let (loading, budget) = (Loading::default(), Budget::new(8 << 20));
    for layout in [Layout::Cifar10, Layout::Cifar100(Labels::Coarse)] {
        let mut images = Collector::new(&loading, &budget);
        if read_batch(data, Path::new("x"), layout, &mut Vec::new(), &mut images).is_ok() {
            let _ = images.finish();
        }
    }
});
