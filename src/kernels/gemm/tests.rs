//! Every level against the definition.

use super::*;
use crate::kernels::dispatch::tests::{has_amx, levels};
use crate::kernels::tests::xorshift;

const TRANS: [Trans; 3] = [Trans::Nn, Trans::Nt, Trans::Tn];

/// Numbers in (-1, 1) without a pattern that a kernel could share.
pub(in crate::kernels) fn noise<T: Real>(len: usize, seed: u64) -> Vec<T> {
    xorshift(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, len)
}

/// Fails unless the largest difference is small beside the largest value of `want`, or one.
#[track_caller]
pub(in crate::kernels) fn check_close<T: Real>(got: &[T], want: &[T], what: &str) {
    assert_eq!(got.len(), want.len());
    let tolerance = if size_of::<T>() == 4 { 1e-5 } else { 1e-12 };
    let scale = want.iter().fold(1.0f64, |scale, want| scale.max(want.to_f64().abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let (got, want) = (got.to_f64(), want.to_f64());
        let error = (got - want).abs() / scale;
        assert!(error <= tolerance, "{what}: element {i} is {got} and not {want}");
    }
}

fn check<T: Real>(level: Level, batch: usize, m: usize, n: usize, k: usize) {
    for trans in TRANS {
        let (a, b) = (noise::<T>(batch * m * k, 1), noise::<T>(batch * k * n, 2));
        let (mut want, mut got) = (vec![T::ZERO; batch * m * n], vec![T::MAX; batch * m * n]);
        for i in 0..batch {
            let (a, b) = (&a[i * m * k..][..m * k], &b[i * k * n..][..k * n]);
            naive(trans, m, n, k, a, b, &mut want[i * m * n..][..m * n]);
        }
        gemm_at(level, trans, batch, m, n, k, &a, &b, &mut got);
        check_close(&got, &want, &format!("{level:?} {trans:?} {batch}·[{m}, {n}, {k}]"));
    }
}

// Formulas: gemm-1, gemm-2.
#[test]
fn all_levels_equal_the_definition() {
    fn at<T: Real>(level: Level) {
        let lanes = RegisterBlock::of::<T>(level).lanes;
        let edges = [0, 1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2, 31];
        for m in edges {
            for n in edges {
                for k in edges {
                    check::<T>(level, 1, m, n, k);
                }
            }
        }
        let larger = [(1, 131, 67, 1031), (1, 7, 4099, 3), (3, 37, 41, 43), (2, 3, 2, 1)];
        // Wider than what reads A where it lies.
        for (batch, m, n, k) in larger.into_iter().chain([(1, 37, STAYS_BESIDE + 5, 1031)]) {
            check::<T>(level, batch, m, n, k);
        }
        check::<T>(level, 2, 64, 96, 128);
        check::<T>(level, 50, 5, 19, 11);
    }
    for level in levels() {
        at::<f32>(level);
        at::<f64>(level);
    }
}

#[test]
fn a_gram_matrix_has_the_bits_of_the_whole_product() {
    fn at<T: Real>(level: Level) {
        for (n, k) in [(0, 3), (3, 0), (1, 1), (5, 7), (31, 33), (67, 1031), (512, 64), (301, 20)] {
            let x = noise::<T>(n * k, 5);
            let (mut whole, mut half) = (vec![T::ZERO; n * n], vec![T::MAX; n * n]);
            gemm_at(level, Trans::Nt, 1, n, n, k, &x, &x, &mut whole);
            gram_at(level, n, k, &x, &mut half);
            assert!(half == whole, "{level:?} [{n}, {k}]");
        }
    }
    for level in levels() {
        at::<f32>(level);
        at::<f64>(level);
    }
}

#[test]
fn a_sum_that_is_not_finite_stays_so() {
    for level in levels() {
        for poison in [f32::NAN, f32::INFINITY] {
            let (m, n, k) = (9, 33, 17);
            let (mut a, b) = (vec![1.0f32; m * k], vec![0.0; k * n]);
            a[3 * k + 5] = poison;
            let mut c = vec![0.0; m * n];
            gemm_at(level, Trans::Nn, 1, m, n, k, &a, &b, &mut c);
            for (i, c) in c.iter().enumerate() {
                assert_eq!(c.is_nan(), i / n == 3, "{level:?}: row {} is {c}", i / n);
            }
        }
    }
}

/// With AMX or without it.
#[test]
fn bf16_rounds_the_operands() {
    let sizes = [(1, 2, 3), (31, 64, 64), (64, 64, 31), (65, 127, 70), (97, 300, 1000)];
    for (trans, (m, n, k)) in TRANS.into_iter().flat_map(|t| sizes.map(|size| (t, size))) {
        let (a, b) = (noise::<f32>(2 * m * k, 1), noise::<f32>(2 * k * n, 2));
        let [mut want, mut got, mut full] = [0.0; 3].map(|zero| vec![zero; 2 * m * n]);
        let (of_a, of_b) = (rounded(&a), rounded(&b));
        gemm_at(Level::Scalar, trans, 2, m, n, k, &of_a, &of_b, &mut want);
        gemm_batched(Precision::Bf16, trans, 2, m, n, k, &a, &b, &mut got);
        check_close(&got, &want, &format!("{trans:?} [{m}, {n}, {k}]"));
        gemm_batched(Precision::Full, trans, 2, m, n, k, &a, &b, &mut full);
        assert!(got != full, "not rounded: {trans:?} [{m}, {n}, {k}]");
    }
}

#[test]
fn amx_multiplies_matrices_of_any_size() {
    if !has_amx() {
        return;
    }
    let sizes = [0, 1, 31, 33, 70].map(|m| [1, 32, 45].map(|n| [0, 1, 31, 65].map(|k| (m, n, k))));
    let sizes = sizes.as_flattened().as_flattened().iter().copied();
    for (trans, (m, n, k)) in sizes.flat_map(|size| TRANS.map(|trans| (trans, size))) {
        let (a, b) = (noise::<f32>(m * k, 1), noise::<f32>(k * n, 2));
        let [mut want, mut got] = [0.0, 1.0].map(|x| vec![x; m * n]);
        naive(trans, m, n, k, &rounded(&a), &rounded(&b), &mut want);
        amx::gemm(trans, m, n, k, &a, &b, &mut got);
        check_close(&got, &want, &format!("{trans:?} [{m}, {n}, {k}]"));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (m, n, k) = (203, 317, 1100);
    let (a, b) = (noise::<f32>(m * k, 3), noise::<f32>(k * n, 4));
    let check = |what: &str, product: &(dyn Fn(&mut [f32]) + Sync)| {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut c = vec![0.0; m * n];
            pool.install(|| product(&mut c));
            c.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert!(run(threads) == one, "{what} on {threads} threads");
        }
    };
    for trans in TRANS {
        for level in levels() {
            let product = |c: &mut [f32]| gemm_at(level, trans, 1, m, n, k, &a, &b, c);
            check(&format!("{trans:?} {level:?}"), &product);
        }
        let product = |c: &mut [f32]| gemm_batched(Precision::Bf16, trans, 1, m, n, k, &a, &b, c);
        check(&format!("{trans:?} in bf16"), &product);
    }
}

#[test]
fn agrees_with_another_crate_at_sizes_too_large_for_the_definition() {
    let (m, n, k) = (67, 4099, 517);
    let (a, b) = (noise::<f64>(m * k, 5), noise::<f64>(k * n, 6));
    let (mut ours, mut theirs) = (vec![0.0; m * n], vec![0.0; m * n]);
    gemm(Trans::Nn, m, n, k, &a, &b, &mut ours);
    let [row_a, row_b] = [k as isize, n as isize];
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), theirs.as_mut_ptr());
    // SAFETY: the three slices have the lengths of their shapes, in rows.
    unsafe { matrixmultiply::dgemm(m, k, n, 1.0, a, row_a, 1, b, row_b, 1, 0.0, c, row_b, 1) };
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() < 1e-10, "element {i}: {ours}, {theirs}");
    }
}

/// `RAYON_NUM_THREADS=1 cargo test --release --lib beside_another_crate -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn beside_another_crate() {
    let best = |flop: usize, f: &mut dyn FnMut()| {
        let seconds = (0..20).map(|_| {
            let start = std::time::Instant::now();
            f();
            start.elapsed().as_secs_f64()
        });
        flop as f64 / seconds.fold(f64::MAX, f64::min) / 1e9
    };
    for (m, k, n) in [(64, 64, 64), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024)] {
        let (a, b) = (noise::<f32>(m * k, 5), noise::<f32>(k * n, 6));
        let mut c = vec![0.0; m * n];
        let ours = best(2 * m * n * k, &mut || gemm(Trans::Nn, m, n, k, &a, &b, &mut c));
        let theirs = best(2 * m * n * k, &mut || {
            let ([x, y], z) = ([&a, &b].map(|x| x.as_ptr()), c.as_mut_ptr());
            let [row_a, row_b] = [k as isize, n as isize];
            // SAFETY: the three slices have the lengths of their shapes, in rows.
            unsafe {
                matrixmultiply::sgemm(m, k, n, 1.0, x, row_a, 1, y, row_b, 1, 0.0, z, row_b, 1)
            }
        });
        println!("{m}x{k}x{n}: {ours:.1} GFLOP/s, matrixmultiply {theirs:.1}");
    }
}

#[test]
#[should_panic(expected = "gemm: B has not")]
fn wrong_length_panics() {
    gemm(Trans::Nn, 2, 2, 2, &[0.0; 4], &[0.0; 5], &mut [0.0; 4]);
}
