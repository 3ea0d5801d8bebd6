//! Malformed files name file, place and expectation; choices are balanced and repeatable.

#[cfg(feature = "images")]
mod folders;
mod fuzz;
#[cfg(feature = "cli")]
mod packages;
#[cfg(feature = "cli")]
mod tars;
#[cfg(feature = "images")]
mod whole;
#[cfg(feature = "cli")]
mod zips;

use super::*;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of a test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("dimask-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Writes a file and returns its path.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.0.join(name), bytes).unwrap();
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A PNG of one colour.
#[cfg(feature = "images")]
fn picture(height: u32, width: u32, value: u8) -> Vec<u8> {
    let image = image::RgbImage::from_pixel(width, height, image::Rgb([value, 1, 2]));
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

/// Reads a folder or an archive of images.
fn load_images(path: &Path, bad: Bad) -> Result<Splits> {
    let entry = SourceName::Folder.entry();
    let loading = Loading { bad, ..Loading::default() };
    entry.read(&entry.package(path, &loading)?, &loading)
}

/// The classes of the training images, each with the first byte of its images; `-` without any.
#[cfg(feature = "images")]
fn contents(splits: &Splits) -> Vec<String> {
    let train = &splits.train;
    let first = |at: usize| train.read(&[at]).unwrap()[0].to_string();
    let Some(labels) = &train.labels else {
        return vec![format!("- {}", (0..train.len()).map(first).collect::<Vec<_>>().join(" "))];
    };
    let of = |class: usize| (0..train.len()).filter(move |&at| labels[at] as usize == class);
    let line = |(class, name): (usize, &String)| {
        format!("{name} {}", of(class).map(first).collect::<Vec<_>>().join(" "))
    };
    train.class_names.iter().enumerate().map(line).collect()
}

/// Checks that an error is one line with every one of `parts`.
#[track_caller]
fn check<T>(result: Result<T>, parts: &[&str]) {
    let text = result.err().expect("an error").to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "`{text}` does not say `{part}`");
    }
}

fn idx_images(count: u32, height: u32, width: u32, bytes: &[u8]) -> Vec<u8> {
    let header = [0x803, count, height, width].map(u32::to_be_bytes).concat();
    [header, bytes.to_vec()].concat()
}

fn idx_labels(count: u32, labels: &[u8]) -> Vec<u8> {
    [[0x801, count].map(u32::to_be_bytes).concat(), labels.to_vec()].concat()
}

/// Folders of images and Tiny-ImageNet need a decoder; the sets beside them do not.
#[cfg(not(feature = "images"))]
#[test]
fn without_decoders_the_error_names_the_feature() {
    let folder = Folder::new("no-decoders");
    for name in ["train/n01/images/n01_0.JPEG", "val/images/val_0.JPEG"] {
        fs::create_dir_all(folder.0.join(name).parent().unwrap()).unwrap();
        folder.write(name, b"\xff\xd8");
    }
    folder.write("val/val_annotations.txt", b"val_0.JPEG\tn01\t0\t0\t1\t1\n");
    let parts = ["no-decoders", "feature `images`", "Cargo.toml: features = [\"images\"]"];
    for bad in [Bad::Refuse, Bad::Skip] {
        check(load_images(&folder.0, bad), &parts);
    }
    check(load("tiny-imagenet", &folder.0), &parts);
    folder.write("data_batch_1.bin", &cifar_record(1, 2));
    folder.write("test_batch.bin", &cifar_record(1, 2));
    let source: Source = format!("cifar10:{}", folder.0.display()).parse().unwrap();
    let splits = source.load(&Loading { size: Some(8), ..Loading::default() }).unwrap();
    assert_eq!((splits.train.size(), &bytes(&splits.train)[..3]), ([8, 8, 3], &[2, 3, 4][..]));
}

/// Reads a set from a folder or an archive, with everything as it is.
fn load(name: &str, path: &Path) -> Result<Splits> {
    let entry = name.parse::<Source>()?.name.entry();
    let loading = Loading::default();
    entry.read(&entry.package(path, &loading)?, &loading)
}

/// All bytes of a set.
fn bytes(set: &Dataset) -> Vec<u8> {
    set.read(&Vec::from_iter(0..set.len())).unwrap()
}

fn labelled(labels: &[u32], classes: usize) -> Dataset {
    Dataset {
        name: "toy".into(),
        images: Pixels::from_vec((0..labels.len()).map(|index| index as u8).collect(), 1),
        height: 1,
        width: 1,
        channels: 1,
        labels: Some(labels.to_vec()),
        classes,
        class_names: Vec::new(),
    }
}

#[test]
fn idx_files_are_read_whole() {
    let path = Path::new("x");
    let images = idx::read_images(&idx_images(2, 1, 3, &[1, 2, 3, 4, 5, 6])[..], path).unwrap();
    assert_eq!((images.bytes, images.height, images.width), (vec![1, 2, 3, 4, 5, 6], 1, 3));
    assert_eq!(idx::read_labels(&idx_labels(3, &[9, 0, 4])[..], path, 10).unwrap(), [9, 0, 4]);
}

#[test]
fn malformed_idx_images_name_the_byte() {
    let read = |bytes: Vec<u8>| idx::read_images(&bytes[..], Path::new("some/images"));
    check(read(idx_labels(1, &[1])), &["some/images", "byte 0", "0x00000803", "0x00000801"]);
    check(read(vec![0, 0]), &["byte 0", "4 bytes of the magic number", "after 2"]);
    check(read(vec![0, 0, 8, 3, 0]), &["byte 4", "the number of images", "after 1"]);
    check(read(vec![0, 0, 8, 3, 0, 0, 0, 1, 0]), &["byte 8", "rows and columns"]);
    check(read(idx_images(0, 1, 1, &[])), &["byte 4", "at least one", "0"]);
    check(read(idx_images(1, 0, 5, &[])), &["byte 8", "0 and 5"]);
    check(read(idx_images(1, 1, 1 << 17, &[])), &["byte 8", "131072"]);
    check(read(idx_images(2, 1, 3, &[0; 5])), &["byte 16", "6 bytes", "after 5"]);
    check(read(idx_images(2, 1, 3, &[0; 7])), &["byte 22", "the end of the file", "more bytes"]);
}

#[test]
fn a_header_cannot_make_the_reader_take_memory() {
    let read = |bytes: Vec<u8>| idx::read_images(&bytes[..], Path::new("x"));
    check(read(idx_images(u32::MAX, 1 << 16, 1 << 16, &[])), &["byte 4", "at most 1073741824"]);
    check(read(idx_images(1 << 30, 1, 1, &[0; 9])), &["1073741824 bytes", "after 9"]);
    let labels = idx::read_labels(&idx_labels(u32::MAX, &[1])[..], Path::new("x"), 10);
    check(labels, &["byte 8", "4294967295 labels", "after 1"]);
}

#[test]
fn malformed_idx_labels_name_the_byte() {
    let read = |bytes: Vec<u8>| idx::read_labels(&bytes[..], Path::new("labels"), 10);
    check(read(idx_images(1, 1, 1, &[0])), &["labels", "byte 0", "0x00000801"]);
    check(read(idx_labels(3, &[1, 10, 2])), &["byte 9", "a label below 10", "found 10"]);
    check(read(idx_labels(3, &[1, 2])), &["byte 8", "3 labels", "after 2"]);
    check(read(idx_labels(3, &[1, 2, 3, 4])), &["byte 11", "more bytes"]);
    check(read(idx_labels(0, &[])), &["byte 4", "at least one"]);
}

#[test]
fn files_of_fashion_mnist_must_be_there_and_fit_each_other() {
    let folder = Folder::new("idx");
    folder.write("train-images-idx3-ubyte", &idx_images(2, 1, 1, &[3, 4]));
    let read = || load("fashion-mnist", &folder.0);
    check(read(), &["idx", "the file train-labels-idx1-ubyte.gz"]);
    folder.write("train-labels-idx1-ubyte", &idx_labels(1, &[7]));
    check(read(), &["train-labels-idx1-ubyte", "byte 4", "2 labels", "found 1"]);
    folder.write("train-labels-idx1-ubyte", &idx_labels(2, &[7, 1]));
    folder.write("t10k-images-idx3-ubyte", &idx_images(1, 2, 1, &[3, 4]));
    folder.write("t10k-labels-idx1-ubyte", &idx_labels(1, &[7]));
    check(read(), &["test images of 1x1", "2x1"]);
    folder.write("t10k-images-idx3-ubyte", &idx_images(1, 1, 1, &[5]));
    let Splits { train, test, .. } = read().unwrap();
    assert_eq!((bytes(&train), &train.labels), (vec![3, 4], &Some(vec![7, 1])));
    assert_eq!(test.map(|test| (test.len(), test.size())), Some((1, [1, 1, 1])));
}

#[cfg(feature = "cli")]
#[test]
fn the_carried_fashion_mnist_is_whole() {
    let source: Source = "fashion-mnist".parse().unwrap();
    let Splits { train, test, .. } = source.load(&Loading::default()).unwrap();
    let test = test.unwrap();
    assert_eq!((train.len(), test.len(), train.size()), (60_000, 10_000, [28, 28, 1]));
    for (set, each) in [(&train, 6_000), (&test, 1_000)] {
        let labels = set.labels.as_ref().unwrap();
        let counts = (0..10).map(|class| labels.iter().filter(|&&label| label == class).count());
        assert!(counts.into_iter().all(|count| count == each));
    }
    // The mean and deviation that the normalisation uses are those of these bytes.
    let all = bytes(&train);
    let sums = all.iter().map(|&byte| f64::from(byte) / 255.0);
    let (sum, squares) = sums.fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
    let mean = sum / all.len() as f64;
    let std = (squares / all.len() as f64 - mean * mean).sqrt();
    assert!((mean - 0.2860).abs() < 1e-4 && (std - 0.3530).abs() < 1e-4, "{mean} {std}");
}

#[cfg(feature = "cli")]
#[test]
fn damaged_gzip_files_are_reported() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&idx_images(40, 5, 5, &[7; 1000])).unwrap();
    let whole = encoder.finish().unwrap();
    let folder = Folder::new("gzip");
    let read = |bytes: &[u8]| {
        let path = folder.write("train-images-idx3-ubyte.gz", bytes);
        idx::read_images(read::open(&path)?, &path)
    };
    assert_eq!(read(&whole).unwrap().bytes, [7; 1000]);
    check(read(&whole[..whole.len() / 2]), &["ubyte.gz", "unpacked", "whole gzip stream"]);
    check(read(&whole[..whole.len() - 3]), &["ubyte.gz", "unpacked", "whole gzip stream"]);
    let mut damaged = whole.clone();
    let sum = damaged.len() - 6;
    damaged[sum] ^= 1;
    check(read(&damaged), &["ubyte.gz", "unpacked", "valid gzip stream"]);
    check(read(b"not compressed"), &["ubyte.gz", "byte 0", "valid gzip stream"]);
    let trailing = [&whole[..], b"trailing bytes"].concat();
    check(read(&trailing), &["ubyte.gz", "byte 1016", "valid gzip stream"]);
}

fn cifar_record(label: u8, value: u8) -> Vec<u8> {
    let planes = (0..3).flat_map(|channel| [value + channel; 1024]);
    std::iter::once(label).chain(planes).collect()
}

#[test]
fn cifar_records_become_pixels_of_three_channels() {
    let folder = Folder::new("cifar");
    folder.write("data_batch_10.bin", &cifar_record(9, 40));
    folder.write("data_batch_2.bin", &[cifar_record(0, 10), cifar_record(3, 20)].concat());
    folder.write("data_batch_x.bin", b"not a batch");
    let read = || load("cifar10", &folder.0);
    check(read(), &["cifar", "test_batch.bin"]);
    folder.write("test_batch.bin", &cifar_record(5, 30));
    let Splits { train, test, .. } = read().unwrap();
    let test = test.unwrap();
    assert_eq!(train.labels, Some(vec![0, 3, 9]));
    assert_eq!((train.size(), test.len(), train.class_names.len()), ([32, 32, 3], 1, 0));
    assert_eq!(train.read(&[1]).unwrap()[..6], [20, 21, 22, 20, 21, 22]);
    folder.write("batches.meta.txt", b"one\ntwo\n\n");
    check(read(), &["batches.meta.txt", "10 class names", "2 lines"]);
    folder.write("batches.meta.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
    assert_eq!(read().unwrap().train.class_names[9], "j");
}

#[test]
fn malformed_cifar_batches_name_the_byte() {
    let read = |bytes: &[u8]| {
        let (loading, budget) = (Loading::default(), Budget::new(1 << 20));
        let images = &mut Collector::new(&loading, &budget);
        let path = Path::new("data_batch_1.bin");
        cifar::read_batch(bytes, path, cifar::Layout::Cifar10, &mut Vec::new(), images)
    };
    check(read(b""), &["data_batch_1.bin", "byte 0", "3073 bytes", "after 0"]);
    let mut two = [cifar_record(1, 0), cifar_record(2, 0)].concat();
    assert_eq!(read(&two).unwrap(), 2);
    check(read(&two[..4000]), &["byte 3073", "3073 bytes", "after 927"]);
    two[3073] = 10;
    check(read(&two), &["byte 3073", "a label below 10", "record 1", "found 10"]);
}

#[test]
fn a_choice_is_balanced_repeatable_and_ascending() {
    let labels: Vec<u32> = (0..200).map(|index| index % 7 % 4).collect();
    let set = labelled(&labels, 4);
    let count =
        |chosen: &[usize], class| chosen.iter().filter(|&&index| labels[index] == class).count();
    let fewest = (0..4).map(|class| count(&Vec::from_iter(0..200), class)).min().unwrap();
    for n in 1..=4 * fewest {
        let chosen = set.choose(n, 3).unwrap();
        assert!(chosen.len() == n && chosen.is_sorted_by(|a, b| a < b));
        let counts: Vec<usize> = (0..4).map(|class| count(&chosen, class)).collect();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        assert_eq!(chosen, set.choose(n, 3).unwrap());
    }
    assert_ne!(set.choose(40, 3).unwrap(), set.choose(40, 4).unwrap());
    let subset = set.subset(&[5, 2]);
    assert_eq!(bytes(&subset), [5, 2]);
    assert_eq!(subset.labels, Some(vec![labels[5], labels[2]]));
}

#[test]
fn an_impossible_choice_says_what_is_possible() {
    let mut set = labelled(&[0, 0, 0, 0, 1, 2, 2], 3);
    check(set.choose(8, 0), &["images", "8 images asked for", "toy has 7"]);
    check(set.choose(0, 0), &["0 images asked for"]);
    check(set.choose(6, 0), &["class 1 of toy has 1", "at most 5"]);
    for seed in 0..9 {
        assert!(set.choose(4, seed).unwrap().contains(&4));
        assert_eq!(set.choose(5, seed).unwrap().len(), 5);
    }
    set.labels = None;
    assert_eq!(set.choose(7, 0).unwrap(), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(set.choose(3, 0).unwrap().len(), 3);
}

#[test]
fn a_held_out_part_is_disjoint_and_in_proportion() {
    let labels: Vec<u32> = (0..100).map(|index| u32::from(index % 4 == 0)).collect();
    let set = labelled(&labels, 2);
    let (kept, held) = set.hold_out(22, 5).unwrap();
    let all: BTreeSet<usize> = kept.iter().chain(&held).copied().collect();
    assert_eq!((kept.len(), held.len(), all.len()), (78, 22, 100));
    let ones = held.iter().filter(|&&index| labels[index] == 1).count();
    assert!((5..=6).contains(&ones), "{ones} of 22");
    assert_eq!((kept, held), set.hold_out(22, 5).unwrap());
    check(set.hold_out(100, 5), &["validation", "100 of the 100"]);
    check(set.hold_out(0, 5), &["validation", "0 of the 100"]);
}

#[test]
fn an_epoch_sees_every_image_once_in_its_own_order() {
    let order = epoch_order(50, 1, 2);
    let sorted: Vec<usize> = order.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(sorted, Vec::from_iter(0..50));
    assert_eq!(order, epoch_order(50, 1, 2));
    assert!(order != epoch_order(50, 1, 3) && order != epoch_order(50, 2, 2));
    let sizes: Vec<usize> = batches(&order, 16).map(<[usize]>::len).collect();
    assert_eq!(sizes, [16, 16, 16]);
}

#[test]
fn class_by_class_takes_one_image_of_each_class_in_turn() {
    let mut set = labelled(&[2, 0, 0, 1, 0, 2], 3);
    assert_eq!(class_by_class(&set, 5), [1, 3, 0, 2, 5]);
    assert_eq!(class_by_class(&set, 9), [1, 3, 0, 2, 5, 4], "all there are");
    set.labels = None;
    assert_eq!(class_by_class(&set, 3), [0, 2, 4], "evenly apart");
}

#[test]
fn a_stratified_fraction_has_every_class() {
    let labels: Vec<u32> = (0..1000).map(|index| if index < 3 { 1 } else { 0 }).collect();
    let drawn = stratified_fraction(&labels, 0.01, 0);
    assert_eq!(drawn.len(), 11);
    assert_eq!(drawn.iter().filter(|&&index| labels[index] == 1).count(), 1);
    assert_eq!(drawn, stratified_fraction(&labels, 0.01, 0));
    assert_ne!(drawn, stratified_fraction(&labels, 0.01, 1));
    assert!(stratified_fraction(&[2, 2], 0.01, 0).len() == 1);
    assert!(stratified_fraction(&[], 0.5, 0).is_empty());
}
