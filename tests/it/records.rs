//! Known records of every set, against an independent decoding of the same files: the sets that
//! `fixtures/data/make.py` draws, and, where `DIMASK_DATA` names a folder of them, the real ones.
//!
//! Byte for byte. The standard of JPEG leaves three roundings to the decoder:
//! `fixtures/data/jpeg.py` is a decoder of its own that makes them as the one used here does. It
//! reads no progressive images; of these the means of blocks of 8 x 8 pixels must agree to two
//! levels of 256.

use dimask::data::{Dataset, Loading, Source, SourceName, Splits, Unlabelled};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/data")
}

/// What is known of an image's bytes.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Known {
    Sha256(String),
    /// Of whole blocks of 8 x 8 pixels, `[H / 8, W / 8, C]`.
    Means(Vec<f64>),
}

/// `[set, split, index, label, known]` of every line of a `.json`.
fn lines(name: &str) -> Vec<(SourceName, String, usize, i64, Known)> {
    let text = std::fs::read_to_string(fixtures().join(name)).expect("the fixture is there");
    serde_json::from_str(&text).expect("the fixture is a list of lines")
}

fn load(set: SourceName, path: PathBuf) -> Splits {
    let unlabelled = match set {
        SourceName::Stl10 => Unlabelled::Read,
        _ => Unlabelled::Skip,
    };
    let source = Source { name: set, path: Some(path) };
    let loading = Loading { unlabelled, ..Loading::default() };
    source.load(&loading).unwrap_or_else(|error| panic!("{set}: {error}"))
}

/// The means of whole blocks of 8 x 8 pixels.
fn block_means(bytes: &[u8], [h, w, c]: [usize; 3]) -> impl Iterator<Item = f64> {
    let (rows, columns) = (h / 8, w / 8);
    (0..rows * columns * c).map(move |at| {
        let (top, left, channel) = (at / (columns * c) * 8, at / c % columns * 8, at % c);
        let pixel = |i: usize| bytes[((top + i / 8) * w + left + i % 8) * c + channel];
        (0..64).map(|i| f64::from(pixel(i))).sum::<f64>() / 64.0
    })
}

/// Compares all records of a `.json` with the sets that `path` says where to find.
#[track_caller]
fn compare(name: &str, path: impl Fn(SourceName) -> PathBuf) -> usize {
    let lines = lines(name);
    let mut open: Option<(SourceName, Splits)> = None;
    for (set, split, index, label, known) in &lines {
        if open.as_ref().is_none_or(|(current, _)| current != set) {
            open = Some((*set, load(*set, path(*set))));
        }
        let (_, splits) = open.as_ref().expect("opened above");
        let part: Option<&Dataset> = match split.as_str() {
            "train" => Some(&splits.train),
            "test" => splits.test.as_ref(),
            _ => splits.unlabelled.as_ref(),
        };
        let part = part.unwrap_or_else(|| panic!("{set} has no part {split}"));
        let own = part.labels.as_ref().map_or(-1, |labels| i64::from(labels[*index]));
        assert_eq!(own, *label, "the label of {set} {split} {index}");
        let bytes = part.read(&[*index]).expect("it can be read");
        match known {
            Known::Sha256(sum) => {
                let own: String =
                    Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
                assert_eq!(own, *sum, "the bytes of {set} {split} {index}");
            }
            Known::Means(means) => {
                for (at, (own, mean)) in block_means(&bytes, part.size()).zip(means).enumerate() {
                    let gap = (own - mean).abs();
                    assert!(gap < 2.0, "block {at} of {set} {split} {index}: {own}, not {mean}");
                }
            }
        }
    }
    lines.len()
}

#[test]
fn drawn_records_agree_with_an_independent_decoding() {
    let place = |set| match set {
        SourceName::Stl10 => fixtures().join("stl10_binary.tar.gz"),
        SourceName::TinyImagenet => fixtures().join("tiny-imagenet-200.zip"),
        SourceName::Folder => fixtures().join("folder"),
        _ => fixtures(), // The parent of the official folder.
    };
    assert_eq!(compare("made.json", place), 40);
}

#[test]
fn real_records_agree_with_an_independent_decoding() {
    let Some(folder) = std::env::var_os("DIMASK_DATA").filter(|value| !value.is_empty()) else {
        println!("NOT CHECKED: DIMASK_DATA does not name a folder with the real sets");
        return;
    };
    assert_eq!(compare("real.json", |_| PathBuf::from(&folder)), 27);
}

#[test]
fn names_and_numbers_of_tiny_imagenet_are_those_of_its_lists() {
    let splits = load(SourceName::TinyImagenet, fixtures().join("tiny-imagenet-200.zip"));
    // n03 has a line in the list and no images.
    assert_eq!(splits.train.class_names, ["dog", "cat"]);
    // In the order of names, n01 before n02, with the numbers of the list.
    assert_eq!(splits.train.labels, Some(vec![1, 1, 0, 0]));
}
