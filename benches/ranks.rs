//! Several ranks: what a rank computes in a step, what it receives, and where the second is more.
//!
//! `cargo bench --bench ranks`: tables in Markdown, as in `docs/scaling.md`.
//! A rank of many is timed alone: its transport answers with what it was given, so that all the
//! work is done and nothing waited for. Times are the processor's, of one thread. Two sizes of a
//! rank's share give what an image costs and what every rank does for all images. Exchanges are
//! counted by the model that the tests hold against the counted bytes.

use std::time::Instant;

use dimask::comm::{Ranks, Slice, SliceMut, Traffic, Transport};
use dimask::config::{Layers, RunConfig};
use dimask::run::model::{State, first_state};
use dimask::run::settings::settings;
use dimask::tensor::Tensor;
use dimask::train::team::Team;
use dimask::train::traffic;

/// A rank whose others say what it says.
struct Echo(usize);

impl Transport for Echo {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        self.0
    }
    fn all_gather(&self, mine: Slice<'_>, all: SliceMut<'_>) {
        match (mine, all) {
            (Slice::F32(mine), SliceMut::F32(all)) => {
                all.chunks_exact_mut(mine.len()).for_each(|piece| piece.copy_from_slice(mine));
            }
            _ => unreachable!("a step exchanges single precision"),
        }
    }
    fn all_to_all(&self, mine: Slice<'_>, theirs: SliceMut<'_>) {
        match (mine, theirs) {
            (Slice::F32(mine), SliceMut::F32(theirs)) => theirs.copy_from_slice(mine),
            _ => unreachable!("a step exchanges single precision"),
        }
    }
    fn wait(&self) {}
}

/// Seconds of the processor that this thread has had, where the system says so.
fn processor_seconds(begun: Instant) -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
    nanoseconds.map_or_else(|| begun.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

/// The least seconds of three steps of a rank of `size`, with `images` images of its own.
fn seconds(config: &RunConfig, side: usize, images: usize, size: usize) -> f64 {
    let team = Team::new(&Ranks::new(Echo(size)), config);
    let mut state: State = first_state(config, 3);
    let numbers = |i: usize| ((i * 7919 % 1999) as f32 / 1000.0 - 1.0) * 0.9;
    let x = Tensor::from_fn(&[2 * images, side, side, 3], numbers);
    let mut best = f64::INFINITY;
    for step in 0..3 {
        let settings = settings(config, step, 100);
        let begun = Instant::now();
        let before = processor_seconds(begun);
        (state, _) = team.step(state, &x, &settings);
        best = best.min(processor_seconds(begun) - before);
    }
    best
}

fn config(preset: &str, set: &[&str]) -> RunConfig {
    let mut layers = Layers::preset(preset).expect("a preset");
    set.iter().for_each(|setting| layers.set_text(setting).expect("a setting"));
    layers.finish().expect("settings of a run")
}

/// What a step exchanges on `size` ranks.
fn exchanged(config: &RunConfig, state: &State, size: usize) -> Traffic {
    let team = Team::new(&Ranks::alone(), config);
    let images = config.batch_size / size;
    let said = traffic::of_step(state, &settings(config, 0, 100), team.batch_norm, images, size);
    said.expect("no unrolled steps here")
}

const SIZES: [usize; 8] = [2, 4, 8, 16, 32, 64, 128, 256];
/// Seconds that an exchange waits, for each doubling of the ranks.
const LATENCY: f64 = 20e-6;

fn exchanges_of_runs(batch: &str) {
    println!("\nMB that a rank receives in a step, and exchanges, official networks, {batch}:\n");
    println!("| run | {} |", SIZES.map(|size| size.to_string()).join(" | "));
    println!("|---|{}", "---:|".repeat(SIZES.len()));
    let plain = "mask.enabled=false";
    for (run, set) in [
        ("a base method; a mask that does not learn", &[plain][..]),
        ("BYOL", &["method=byol", plain]),
        ("MetaMask, exact", &["mask.meta=exact"]),
        ("the same over BYOL", &["method=byol", "mask.meta=exact"]),
        ("MetaMask, exact, shared trial step", &["mask.meta=exact", "mask.trial=joint-shared"]),
        ("MetaMask, finite difference", &["mask.meta=finite-difference"]),
        ("MetaMask, first order", &["mask.meta=first-order"]),
    ] {
        let config = config("official", &[set, &[batch]].concat());
        let state = first_state(&config, 3);
        let cell = |size| {
            let Traffic { bytes, exchanges } = exchanged(&config, &state, size);
            format!("{:.0}, {exchanges}", bytes as f64 / 1e6)
        };
        println!("| {run} | {} |", SIZES.map(cell).join(" | "));
    }
}

fn scaling(name: &str, config: &RunConfig, side: usize, shares: [usize; 2]) {
    let batch = config.batch_size;
    let [few, many] = shares.map(|images| seconds(config, side, images, batch / images));
    let image = (many - few) / (shares[1] - shares[0]) as f64;
    let common = (few - image * shares[0] as f64).max(0.0);
    let state = first_state(config, 3);
    println!(
        "\n{name}, {}, batch {batch}: {:.1} ms of one thread an image, {:.0} ms for what every \
         rank computes\n",
        config.title(),
        1e3 * image,
        1e3 * common
    );
    println!(
        "| ranks | compute, ms | MB | exchanges | 10 Gb/s, ms | 100 Gb/s, ms | efficiency | |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|");
    let alone = image * batch as f64 + common;
    println!("| 1 | {:.0} | 0 | 0 | 0 | 0 | 1 | 1 |", 1e3 * alone);
    for size in SIZES.into_iter().filter(|size| batch / size >= 2) {
        let Traffic { bytes, exchanges } = exchanged(config, &state, size);
        let compute = image * (batch / size) as f64 + common;
        let wait = exchanges as f64 * LATENCY * (size as f64).log2();
        let [slow, fast] = [10e9, 100e9].map(|rate| bytes as f64 * 8.0 / rate + wait);
        let efficiency = |exchange: f64| alone / (size as f64 * (compute + exchange));
        println!(
            "| {size} | {:.0} | {:.1} | {exchanges} | {:.0} | {:.0} | {:.2} | {:.2} |",
            1e3 * compute,
            bytes as f64 / 1e6,
            1e3 * slow,
            1e3 * fast,
            efficiency(slow),
            efficiency(fast)
        );
    }
}

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    pool.install(|| {
        exchanges_of_runs("batch_size=512");
        let small = config("small", &[]);
        scaling("conv4 at 32 x 32", &small, 32, [16, 64]);
        let official = config("official", &["mask.meta=exact", "batch_size=512"]);
        scaling("ResNet-18 at 32 x 32", &official, 32, [4, 16]);
    });
}
