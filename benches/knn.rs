//! Weighted nearest neighbours at the size of CIFAR-10: 50,000 rows, 10,000 queries, d = 512.
//!
//! `cargo bench --bench knn -- [--json] [--only NAME] [--budget SECONDS]`; threads by
//! `RAYON_NUM_THREADS`. `peers/torch_knn.py` does the same in PyTorch.

use dimask::Tensor;
use dimask::eval::knn::{Vote, knn};
use dimask::eval::{KNN5, KNN200};

#[path = "support/mod.rs"]
mod support;
use support::{Bench, Count, noise};

fn main() {
    let bench = Bench::from_args();
    let (rows, queries, d, classes) = (50_000, 10_000, 512, 10);
    let name = format!("knn_{rows}x{queries}x{d}");
    if !bench.wants(&name) {
        return;
    }
    let bank = Tensor::from_vec(noise::<f32>(rows * d), &[rows, d]);
    let queries_of = Tensor::from_vec(noise::<f32>(queries * d), &[queries, d]);
    let labels: Vec<u32> = (0..rows).map(|row| (row % classes) as u32).collect();
    let votes = [KNN5, KNN200, Vote { k: 20, temperature: 0.07 }];
    bench.measure(&name, Count::Flop(2 * rows * queries * d), || {
        knn(&bank, &labels, &queries_of, classes, &votes);
    });
}
