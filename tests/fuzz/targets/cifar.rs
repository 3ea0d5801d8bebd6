//! Records of CIFAR-10 and CIFAR-100.
#![no_main]

use dimask::data::cifar::{Layout, read_batch};
use dimask::data::{Budget, Collector, Labels};
use dimask_fuzz::loading;
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    for layout in [Layout::Cifar10, Layout::Cifar100(Labels::Coarse)] {
        let (loading, budget) = (loading(), Budget::new(1 << 20));
        let mut images = Collector::new(&loading, &budget);
        if read_batch(data, Path::new("x"), layout, &mut Vec::new(), &mut images).is_ok() {
            let _ = images.finish();
        }
    }
});
