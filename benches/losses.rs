//! The losses, forward and backward.
//!
//! `cargo bench --bench losses -- [--json] [--only NAME]`. Counted are the matrix products alone:
//! one forward, two backward.

mod support;

use dimask::autodiff::{Var, grad};
use dimask::ssl::{BarlowTwins, Loss};
use dimask::tensor::Tensor;
use support::{Bench, Count, noise};

fn main() {
    let bench = Bench::from_args();
    let barlow = Loss::BarlowTwins(BarlowTwins::default());
    let nt_xent = Loss::NtXent { temperature: 0.5 };
    // N rows a view, D wide; NT-Xent's similarities are between 2N rows.
    for (name, loss, [n, d], flop) in [
        ("barlow_256x2048_fwd_bwd", barlow, [256, 2048], 3 * 2 * 256 * 2048 * 2048),
        ("ntxent_512x256_fwd_bwd", nt_xent, [256, 256], 3 * 2 * 512 * 512 * 256),
    ] {
        if !bench.wants(name) {
            continue;
        }
        let z0 = Var::leaf(Tensor::from_vec(noise::<f32>(n * d), &[n, d]));
        let z1 = Var::leaf(z0.value().map(|x| x * x - 0.3));
        bench.measure(name, Count::Flop(flop), || {
            grad(loss.value(&z0, &z1, None), &[&z0, &z1]);
        });
    }
}
