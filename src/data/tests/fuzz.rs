//! Damaged files of every kind, a hundred thousand of them: a data set or an error, never a panic,
//! never much memory or time.

use super::*;
use crate::rng::Stream;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};

/// The files of the tests, drawn by the script beside them.
#[cfg(feature = "images")]
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/data");

/// Changes a few things of a file: bytes, its end, a piece doubled or taken out.
fn mutate(file: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=file.len());
        let len = rng.random_range(0..=16.min(file.len() - at));
        // What length fields fear most.
        let extreme = [0, 1, 0x7f, 0x80, 0xfe, 0xff][rng.random_range(0..6)];
        match rng.random_range(0..6) {
            0 => file[at..at + len].fill(extreme),
            1 => {
                file[at..at + len].iter_mut().for_each(|byte| *byte ^= 1 << rng.random_range(0..8))
            }
            2 => file.truncate(at),
            3 => file.extend(std::iter::repeat_n(extreme, len)),
            4 => drop(file.drain(at..at + len)),
            _ => {
                let piece = file[at..at + len].to_vec();
                file.splice(at..at, piece);
            }
        }
    }
}

/// Feeds `count` mutations of `file` to `read`, which says whether it took one; checks that some
/// are taken and some refused, and that none takes long.
#[track_caller]
fn feed(name: &str, count: usize, file: &[u8], read: impl Fn(&[u8]) -> bool) {
    assert!(read(file), "{name}: the file itself is refused");
    let (begun, mut taken) = (Instant::now(), 0);
    for index in 0..count {
        let mut mutated = file.to_vec();
        mutate(&mut mutated, &mut Stream::new(1, name).at(&[index as u64]));
        let start = Instant::now();
        taken += usize::from(read(&mutated));
        assert!(start.elapsed() < Duration::from_secs(5), "{name}: mutation {index} takes long");
    }
    assert!((1..count).contains(&taken), "{name}: {taken} of {count} are taken");
    // For whoever looks: `cargo test --release --lib fuzz -- --nocapture`.
    println!("{name}: {taken} of {count} taken, {:.1} s", begun.elapsed().as_secs_f64());
}

fn collect(read: impl FnOnce(&mut Collector<'_>) -> Result<()>) -> bool {
    let (loading, budget) = (Loading::default(), Budget::new(1 << 28));
    let mut images = Collector::new(&loading, &budget);
    read(&mut images).is_ok() && images.finish().is_ok()
}

#[test]
fn records_and_lists_survive_any_damage() {
    let path = Path::new("x");
    let images = idx_images(4, 5, 6, &[9; 120]);
    feed("idx images", 15_000, &images, |file| idx::read_images(file, path).is_ok());
    let labels = idx_labels(40, &[3; 40]);
    feed("idx labels", 15_000, &labels, |file| idx::read_labels(file, path, 10).is_ok());
    let record = [cifar_record(1, 2), cifar_record(9, 40)].concat();
    feed("cifar10", 6_000, &record, |file| {
        collect(|images| {
            let layout = cifar::Layout::Cifar10;
            cifar::read_batch(file, path, layout, &mut Vec::new(), images).map(drop)
        })
    });
    let record: Vec<u8> = [&[19u8][..], &cifar_record(99, 2)].concat();
    feed("cifar100", 6_000, &record, |file| {
        collect(|images| {
            let layout = cifar::Layout::Cifar100(Labels::Coarse);
            cifar::read_batch(file, path, layout, &mut Vec::new(), images).map(drop)
        })
    });
    feed("stl10 images", 3_000, &[7; 27_648], |file| {
        collect(|images| stl::read_images(file, path, images).map(drop))
    });
    let labels = [1, 10, 5, 5, 5, 5, 5, 5];
    feed("stl10 labels", 10_000, &labels, |file| stl::read_labels(file, path, 8).is_ok());
    let text = b"val_0.JPEG\tn01\t0\t0\t1\t1\nval_1.JPEG\tn02\t0\t0\t1\t1\n";
    feed("annotations", 15_000, text, |file| {
        let text = String::from_utf8_lossy(file);
        tiny_imagenet::annotations(&text, path).is_ok()
    });
}

#[cfg(feature = "images")]
#[test]
fn images_survive_any_damage() {
    for (name, count) in [
        ("folder/cats/a.png", 7_500),
        ("folder/cats/c.png", 4_000),
        ("folder/cats/d.jpg", 7_500),
        ("folder/dogs/e.JPEG", 5_000),
    ] {
        let file = fs::read(Path::new(FIXTURES).join(name)).unwrap();
        feed(name, count, &file, |file| decode::decode(file).is_ok());
    }
}

#[cfg(feature = "cli")]
#[test]
fn archives_survive_any_damage() {
    let folder = Folder::new("fuzz");
    let write = |file: &[u8]| folder.write("archive", file);
    let gz = fs::read(Path::new(FIXTURES).join("mnist/train-labels-idx1-ubyte.gz")).unwrap();
    feed("gzip", 2_000, &gz, |file| {
        idx::read_labels(read::gunzip(file), Path::new("x"), 10).is_ok()
    });
    let zip = fs::read(Path::new(FIXTURES).join("tiny-imagenet-200.zip")).unwrap();
    feed("zip", 3_000, &zip, |file| load("tiny-imagenet", &write(file)).is_ok());
    // Small and not compressed: the damage reaches the headers.
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["data_batch_1.bin", "test_batch.bin"] {
        let record = cifar_record(1, 2);
        let mut header = tar::Header::new_ustar();
        header.set_size(record.len() as u64);
        tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &record[..]).unwrap();
    }
    let tar = tar.into_inner().unwrap();
    feed("tar", 3_000, &tar, |file| load("cifar10", &write(file)).is_ok());
    let (pax, zip) = (tars::of_every_kind(), zips::of_every_kind());
    feed("extended tar", 5_000, &pax, |file| load_images(&write(file), Bad::Refuse).is_ok());
    feed("linked zip", 3_000, &zip, |file| load_images(&write(file), Bad::Refuse).is_ok());
}
