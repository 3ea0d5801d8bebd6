//! Random views: `cargo bench --bench augment -- [--json] [--only NAME]`.
//!
//! By one thread, the pipelines of the usual PyTorch comparison (random resized crop, flip, colour
//! jitter, grayscale, normalisation, without or with blur) and each operation alone; by two
//! threads (`epoch`), how much longer steps take that wait for their views than steps whose views
//! were made before: plain SimCLR, conv4, 256 pairs of 32x32.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimask::Tensor;
use dimask::augment::{Augment, ops};
use dimask::config::RunConfig;
use dimask::data::{Dataset, Pixels};
use dimask::metamask::step;
use dimask::run::model::first_state;
use dimask::run::settings::settings;
use dimask::train::images::Images;
use dimask::train::prefetch::{Course, Prefetch};

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
    if bench.wants("epoch") {
        epoch(&bench);
    }
}

/// Steps of one measurement.
const STEPS: usize = 4;
/// Measurements of each kind, in turn, after one of each that is not counted.
const ROUNDS: usize = 12;

/// Takes turns between steps that get views made ahead and steps that get always the same ones, on
/// the pool of the process: what is made ahead is made by the threads that compute steps.
fn epoch(bench: &Bench) {
    let mut config = RunConfig::preset("small").expect("there is a preset");
    config.mask.enabled = false;
    config.batch_size = IMAGES;
    let len = 32 * 32 * 3;
    let train = Dataset {
        name: "waves".into(),
        images: Pixels::from_vec(pixels(STEPS * IMAGES * len), len),
        height: 32,
        width: 32,
        channels: 3,
        labels: None,
        classes: 0,
        class_names: Vec::new(),
    };
    let views = [Augment::official(), Augment::official()];
    let (bank, test, notes) = (train.clone(), train.subset(&[]), Vec::new());
    let images = Arc::new(Images { train, bank, test, val: None, views, notes });
    let settings = settings(&config, 0, STEPS);
    let mut state = Some(first_state(&config, 3));
    let mut take = |views: &Tensor| {
        let taken = state.take().expect("put back below");
        state = Some(step(taken, views, &settings).0);
    };
    let cached = images.pair(&Vec::from_iter(0..IMAGES), 0, 1).expect("they are in memory");
    // Best and total: of seconds by the clock, of seconds by the processors.
    let mut figures = [[f64::INFINITY, f64::INFINITY, 0.0]; 2];
    for round in 0..=ROUNDS {
        for (kind, figures) in figures.iter_mut().enumerate() {
            let course =
                Course { seed: 1, batch_size: IMAGES, part: [0, 1], from: 0, steps: STEPS };
            let (start, cpu) = (Instant::now(), cpu_seconds());
            match kind {
                0 => (0..STEPS).for_each(|_| take(&cached)),
                _ => {
                    let mut ahead =
                        Prefetch::new(Arc::clone(&images), course).expect("there are threads");
                    (0..STEPS).for_each(|_| take(&ahead.take().expect("they are in memory")));
                }
            }
            let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
            if round > 0 {
                let [best, best_cpu, total_cpu] = *figures;
                *figures = [best.min(seconds), best_cpu.min(cpu), total_cpu + cpu];
            }
        }
    }
    let [cached, ahead] = figures;
    let share = |at: usize| 100.0 * (ahead[at] - cached[at]) / ahead[at];
    let [clock, cpu, total] = [share(0), share(1), share(2)];
    if bench.json() {
        println!("{{\"name\":\"epoch\",\"clock\":{clock:.2},\"cpu\":{cpu:.2}}}");
    } else {
        println!(
            "epoch: {clock:.1} % of its wall time is views (best of {ROUNDS} alternating rounds of \
             {STEPS} steps: {:.4} s with views made ahead, {:.4} s with cached ones); {cpu:.1} % \
             of its processor time, {total:.1} % over all rounds",
            ahead[0], cached[0]
        );
    }
}

/// Processor time of this process so far, in seconds; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.0
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
