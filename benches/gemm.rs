//! Matrix products: GFLOP/s against the fused-multiply-add limit of the machine.
//!
//! `cargo bench --bench gemm -- [--json] [--only NAME] [--budget SECONDS] [--variants]`; threads by
//! `RAYON_NUM_THREADS`, level by `DIMASK_SIMD`. Workload names are those of
//! `peers/torch_kernels.py`. The definition is timed on a few rows, on one thread; `--variants`
//! adds the same with operands rounded to bf16.

use dimask::kernels::Real;
use dimask::kernels::bf16::Precision;
use dimask::kernels::gemm::{Trans, gemm, gemm_batched, naive};

#[path = "support/mod.rs"]
mod support;
use support::{Bench, Count, noise};

/// `(m, k, n)`.
const SIZES: [(usize, usize, usize); 8] = [
    (64, 64, 64),
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (512, 4608, 1024),
    (256, 2304, 16384),
    (2048, 512, 2048),
];

fn product<T: Real>(bench: &Bench, name: &str, trans: Trans, (m, k, n): (usize, usize, usize)) {
    if !bench.wants(name) {
        return;
    }
    let (a, b) = (noise::<T>(m * k), noise::<T>(k * n));
    let mut c = vec![T::ZERO; m * n];
    let definition = || {
        let rows = m.min(8);
        let mut c = vec![T::ZERO; rows * n];
        naive(trans, rows, n, k, &a[..rows * k], &b, &mut c);
        rows as f64 / m as f64
    };
    let count = Count::Flop(2 * m * n * k);
    bench.measure_beside(name, count, || gemm(trans, m, n, k, &a, &b, &mut c), definition);
    if bench.variants() && size_of::<T>() == size_of::<f32>() {
        let bf16 = || gemm_batched(Precision::Bf16, trans, 1, m, n, k, &a, &b, &mut c);
        bench.measure(&format!("{name}_bf16"), count, bf16);
    }
}

fn main() {
    let bench = Bench::from_args();
    for (m, k, n) in SIZES {
        product::<f32>(&bench, &format!("gemm_{m}x{k}x{n}"), Trans::Nn, (m, k, n));
    }
    product::<f64>(&bench, "gemm_1024x1024x1024_f64", Trans::Nn, (1024, 1024, 1024));
    // Forward and backward of a linear layer; weights are `[in, out]`.
    product::<f32>(&bench, "linear_512x512x2048_fwd_x_w", Trans::Nn, (512, 512, 2048));
    product::<f32>(&bench, "linear_512x512x2048_dx_g_wT", Trans::Nt, (512, 2048, 512));
    product::<f32>(&bench, "linear_512x512x2048_dw_xT_g", Trans::Tn, (512, 512, 2048));
}
