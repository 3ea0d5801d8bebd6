//! Random views, by one thread: `cargo bench --bench augment -- [--json] [--only NAME]`.
//!
//! The pipelines are those of the usual PyTorch comparison: random resized crop, flip, colour
//! jitter, grayscale, normalisation, without or with the 3-tap blur; and each operation alone.

use std::time::Duration;

use dimask::augment::{Augment, ops};

#[path = "support/mod.rs"]
mod support;
use support::Bench;

/// Images a batch; each gives two views.
const IMAGES: usize = 256;

fn main() {
    let bench = Bench::from_args();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        let official = Augment::official();
        let blurred = Augment { blur_probability: 0.5, ..Augment::official() };
        let symmetric = Augment {
            brightness: 0.8,
            contrast: 0.8,
            saturation: 0.8,
            hue: 0.2,
            blur_probability: 0.5,
            blur_kernel: 9,
            solarize_probability: 0.1,
            ..Augment::official()
        };
        for (name, augment) in
            [("official", &official), ("with_blur", &blurred), ("symmetric", &symmetric)]
        {
            for side in [32, 64, 96] {
                views(&bench, &format!("views_{name}_{side}"), augment, side);
            }
        }
        operations(&bench);
    });
}

fn pixels(len: usize) -> Vec<u8> {
    (0..len).map(|i| (128.0 + 100.0 * (i as f64 * 0.37).sin()) as u8).collect()
}

fn views(bench: &Bench, name: &str, augment: &Augment, side: usize) {
    if !bench.wants(name) {
        return;
    }
    let size = [side, side, 3];
    let (images, indices) = (pixels(IMAGES * side * side * 3), Vec::from_iter(0..IMAGES));
    let mut epoch = 0;
    let (best, median) = Bench::seconds(5, Duration::from_secs(2), || {
        epoch += 1;
        augment.views(&images, size, &indices, epoch, 1);
    });
    report(bench, name, best, median, 2 * IMAGES);
}

fn operations(bench: &Bench) {
    let image: Vec<f32> = pixels(3072).into_iter().map(|x| f32::from(x) / 255.0).collect();
    type Operation = fn(&[f32]) -> Vec<f32>;
    let operations: [(&str, Operation); 9] = [
        ("resized_crop", |x| ops::resized_crop(x, 32, 32, 3, 5, 3, 20, 24, 32, 32)),
        ("rotate", |x| ops::rotate(x, 32, 32, 3, 30.0)),
        ("hflip", |x| ops::hflip(x, 32, 32, 3)),
        ("contrast", |x| ops::contrast(x, 32, 32, 3, 1.2)),
        ("saturation", |x| ops::saturation(x, 32, 32, 3, 1.2)),
        ("hue", |x| ops::hue(x, 32, 32, 3, 0.07)),
        ("grayscale", |x| ops::grayscale(x, 32, 32, 3)),
        ("blur", |x| ops::gaussian_blur(x, 32, 32, 3, 3, 1.0)),
        ("solarize", |x| ops::solarize(x, 32, 32, 3)),
    ];
    for (name, operation) in operations {
        let name = format!("op_{name}_32");
        if bench.wants(&name) {
            let (best, median) = Bench::seconds(100, Duration::from_millis(200), || {
                for _ in 0..10 {
                    std::hint::black_box(operation(std::hint::black_box(&image)));
                }
            });
            report(bench, &name, best, median, 10);
        }
    }
}

fn report(bench: &Bench, name: &str, best: f64, median: f64, images: usize) {
    let [best, median] = [best, median].map(|seconds| images as f64 / seconds);
    if bench.json() {
        println!("{{\"name\":\"{name}\",\"images_per_second\":{best:.0},\"median\":{median:.0}}}");
    } else {
        println!("{name:28} best {best:9.0} images/s   median {median:9.0} images/s");
    }
}
