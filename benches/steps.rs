//! Whole training steps: `cargo bench --bench steps -- [--json] [--only NAME]`.
//!
//! Models and heads as in the usual PyTorch comparison: ResNet-18 with the CIFAR stem (64 pairs)
//! and four convolution blocks (256 pairs), contrastive head D-2048-256, redundancy head
//! D-2048-2048-2048; batch of two stacked views, random pixels. One step is forward, backward and
//! the optimiser; a MetaMask step is the regular step, the mask gradient and the mask's step.
//! Kinds that end in `_bf16` round what layers multiply.

use std::time::Duration;

use dimask::Tensor;
use dimask::metamask::{
    HeadShapes, Mask, MaskForm, Meta, Mode, Network, Objective, Settings, State, TrialStep, step,
};
use dimask::nn::{Architecture, Encode, Encoder, Init, Stem};
use dimask::ssl::Loss;
use dimask::tensor::Precision;

#[path = "support/mod.rs"]
mod support;
use support::Bench;

fn main() {
    let bench = Bench::from_args();
    let resnet18 = Architecture::ResNet18 { width: 64, stem: Stem::Relu };
    let meta = |meta: Meta, trial: TrialStep| (Mode::MetaMask(meta), trial);
    let exact = meta(Meta::Exact, TrialStep::Contrastive);
    let kinds = [
        ("simclr", (Mode::Plain, TrialStep::Contrastive)),
        ("metamask", exact),
        ("exact_joint", meta(Meta::Exact, TrialStep::Joint)),
        ("exact_joint_shared", meta(Meta::Exact, TrialStep::JointShared)),
        ("finite_difference", meta(Meta::FiniteDifference { r: 0.01 }, TrialStep::Contrastive)),
        ("first_order", meta(Meta::FirstOrder, TrialStep::Contrastive)),
    ];
    let models = [("resnet18_b64", resnet18, 64), ("conv4_3x32_b256", Architecture::Conv4, 256)];
    for (model, architecture, pairs) in models {
        for (kind, (mode, trial)) in kinds {
            for (suffix, precision) in [("", Precision::Full), ("_bf16", Precision::Bf16)] {
                let name = format!("{kind}{suffix}_{model}");
                if bench.wants(&name) {
                    measure(&bench, &name, precision, architecture, pairs, mode, trial);
                }
            }
        }
    }
}

fn measure(
    bench: &Bench,
    name: &str,
    precision: Precision,
    architecture: Architecture,
    pairs: usize,
    mode: Mode,
    trial: TrialStep,
) {
    let init = Init::new(1).with(precision);
    let mut shapes = HeadShapes::default();
    if mode == Mode::Plain {
        shapes.redundancy.clear();
    }
    let encoder: Encoder = Encoder::new(architecture, 3, &init);
    let network = Network::new(encoder, &shapes, &init);
    let mask = Mask::new(network.encoder.features(), MaskForm::Sigmoid);
    let x = Tensor::from_fn(&[2 * pairs, 32, 32, 3], |i| (i as f32 * 12.9898).sin());
    // The comparison's plain step is at temperature 0.5, its MetaMask step at 0.07.
    let temperature = if mode == Mode::Plain { 0.5 } else { 0.07 };
    let objective = Objective { base: Loss::NtXent { temperature }, ..Objective::default() };
    let settings = Settings { mode, objective, trial, ..Settings::default() };
    let mut state = Some(State::new(network, mask, &settings));
    let idle = peak_memory_mb();
    // Of the first step, which fills the pool, and of all.
    let (mut calls, mut cpu) = (0.0, [0.0; 2]);
    let (best, median) = Bench::seconds(3, Duration::from_secs(12), || {
        let taken = state.take().expect("put back below");
        state = Some(step(taken, &x, &settings).0);
        calls += 1.0;
        cpu = if calls == 1.0 { [cpu_seconds(); 2] } else { [cpu[0], cpu_seconds()] };
    });
    let cpu = (cpu[1] - cpu[0]) / (calls - 1.0);
    let images = 2.0 * pairs as f64 / best;
    let peak = peak_memory_mb();
    if bench.json() {
        println!(
            "{{\"name\":\"{name}\",\"seconds_best\":{best:.5},\"seconds_median\":{median:.5},\
             \"cpu_seconds\":{cpu:.5},\"images_per_second\":{images:.1},\"peak_memory_mb\":{peak},\
             \"idle_memory_mb\":{idle}}}"
        );
    } else {
        println!(
            "{name:36} best {best:8.4} s   median {median:8.4} s   CPU {cpu:8.4} s   \
             {images:8.1} images/s   peak {peak} MB"
        );
    }
}

/// The largest resident size so far of this process, in MB; null where the system does not tell.
fn peak_memory_mb() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.map_or("null".to_string(), |kb| (kb / 1024).to_string())
}

/// Processor time of this process so far, of all threads, in hundredths of a second; NaN where the
/// system does not tell. It says more than the clock on a machine that others use too.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may have spaces; user and system time are fields 14 and 15.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).filter_map(|x| x.parse().ok()).collect();
    if ticks.len() == 2 { (ticks[0] + ticks[1]) / 100.0 } else { f64::NAN }
}
