//! Whole training steps: `cargo bench --bench steps -- [--json] [--only NAME]`.
//!
//! Models and heads as in the usual PyTorch comparison: ResNet-18 with the CIFAR stem (64 pairs)
//! and four convolution blocks (256 pairs), contrastive head D-2048-256, redundancy head
//! D-2048-2048-2048; batch of two stacked views, random pixels. One step is forward, backward and
//! the optimiser; a MetaMask step is the regular step, the exact mask gradient and the mask's step.

use std::time::Instant;

use dimask::Tensor;
use dimask::metamask::{Mask, MaskForm, Meta, Mode, Network, Objective, Settings, State, step};
use dimask::nn::{Architecture, Encoder, Init, Stem};
use dimask::ssl::Loss;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let json = args.iter().any(|arg| arg == "--json");
    let only = args.iter().position(|arg| arg == "--only").and_then(|at| args.get(at + 1));
    let resnet18 = Architecture::ResNet18 { width: 64, stem: Stem::Relu };
    let steps = [
        ("simclr_resnet18_b64", resnet18, 64, Mode::Plain),
        ("metamask_resnet18_b64", resnet18, 64, Mode::MetaMask(Meta::Exact)),
        ("simclr_conv4_3x32_b256", Architecture::Conv4, 256, Mode::Plain),
        ("metamask_conv4_3x32_b256", Architecture::Conv4, 256, Mode::MetaMask(Meta::Exact)),
        (
            "finite_difference_resnet18_b64",
            resnet18,
            64,
            Mode::MetaMask(Meta::FiniteDifference { r: 0.01 }),
        ),
        (
            "finite_difference_conv4_3x32_b256",
            Architecture::Conv4,
            256,
            Mode::MetaMask(Meta::FiniteDifference { r: 0.01 }),
        ),
    ];
    for (name, architecture, pairs, mode) in steps {
        if only.is_none_or(|only| name.contains(only.as_str())) {
            measure(name, architecture, pairs, mode, json);
        }
    }
}

fn measure(name: &str, architecture: Architecture, pairs: usize, mode: Mode, json: bool) {
    let init = Init::new(1);
    let redundancy: &[usize] = &[2048, 2048, 2048];
    let redundancy = (mode != Mode::Plain).then_some(redundancy);
    let encoder: Encoder = Encoder::new(architecture, 3, &init);
    let network = Network::new(encoder, &[2048, 256], redundancy, &init);
    let features = dimask::nn::Encode::features(&network.encoder);
    let mut state = State::new(network, Mask::new(features, MaskForm::Sigmoid));
    let x = Tensor::from_fn(&[2 * pairs, 32, 32, 3], |i| (i as f32 * 12.9898).sin());
    // The comparison's plain step is at temperature 0.5, its MetaMask step at 0.07.
    let temperature = if mode == Mode::Plain { 0.5 } else { 0.07 };
    let objective = Objective { base: Loss::NtXent { temperature }, ..Objective::default() };
    let settings = Settings { mode, objective, ..Settings::default() };
    let mut seconds = Vec::new();
    let begun = Instant::now();
    // The first step warms the memory pool and is not counted.
    for round in 0.. {
        let start = Instant::now();
        state = step(state, &x, &settings).0;
        if round > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
        if seconds.len() >= 3 && begun.elapsed().as_secs_f64() > 12.0 || seconds.len() >= 30 {
            break;
        }
    }
    seconds.sort_by(f64::total_cmp);
    let (best, median) = (seconds[0], seconds[seconds.len() / 2]);
    let images = 2.0 * pairs as f64 / best;
    let peak = peak_memory_mb();
    if json {
        println!(
            "{{\"name\":\"{name}\",\"seconds_best\":{best:.5},\"seconds_median\":{median:.5},\
             \"images_per_second\":{images:.1},\"peak_memory_mb\":{peak}}}"
        );
    } else {
        println!(
            "{name:36} best {best:8.4} s   median {median:8.4} s   {images:8.1} images/s   \
             peak {peak} MB"
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
