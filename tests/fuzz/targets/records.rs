//! What a run has recorded: `metrics.jsonl`, as it is read and as a run opens it to go on, and
//! `summary.json`; and the annotations of Tiny-ImageNet.
#![no_main]

use dimask::data::tiny_imagenet::annotations;
use dimask::run::folder::RunFolder;
use dimask::run::metrics::{Metrics, Summary, read};
use dimask_fuzz::{file, folder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = file("metrics.jsonl", data);
    let read_all = read(&path);
    if let Ok((_, kept)) = Metrics::open(&path, usize::MAX) {
        if let Ok(all) = read_all {
            assert_eq!(kept.len(), all.len(), "a whole file is kept whole");
        }
    }
    file("summary.json", data);
    let _ = Summary::read(&RunFolder::new(folder()));
    let _ = annotations(&String::from_utf8_lossy(data), &path);
});
