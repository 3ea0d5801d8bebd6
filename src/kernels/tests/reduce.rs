//! Sums, maxima and pooling against plain loops.

use super::*;
use crate::kernels::naive;
use crate::kernels::pool::max_pool2d;
use crate::kernels::reduce::{dot, max_axis, places_above, sum, sum_to};
use crate::kernels::softmax::{log_softmax, log_softmax_grad, log_softmax_tangent};

fn sum_is_its_definition<T: Real>() {
    for len in LENGTHS {
        let x = random::<T>(1, len);
        assert_close(&[sum(&x)], &[naive::sum(&x)]);
        assert_same_on_all_threads(|| vec![sum(&x)]);
        let y = random::<T>(2, len);
        let products: Vec<T> = x.iter().zip(&y).map(|(&x, &y)| x * y).collect();
        assert_eq!(dot(&x, &y).to_f64().to_bits(), sum(&products).to_f64().to_bits());
        assert_same_on_all_threads(|| vec![dot(&x, &y)]);
    }
}

#[test]
fn sum_is_its_definition_in_both_types() {
    sum_is_its_definition::<f32>();
    sum_is_its_definition::<f64>();
}

fn sum_to_is_its_definition<T: Real>() {
    let cases: [(&[usize], &[bool]); 18] = [
        (&[], &[]),
        (&[0, 3], &[false, true]),
        (&[5], &[true]),
        (&[5], &[false]),
        (&[300, 257], &[false, false]),
        (&[300, 257], &[false, true]),
        (&[300, 257], &[true, false]),
        (&[40_000, 3], &[true, false]),
        (&[40_000, 3], &[false, true]),
        (&[3, 40_000], &[true, false]),
        (&[3, 40_000], &[false, true]),
        (&[3, 2000, 17], &[true, false, true]),
        (&[30, 20, 90], &[false, true, false]),
        (&[300, 20, 9], &[true, false, true]),
        (&[3, 5, 17_000], &[true, false, true]),
        (&[70, 3000], &[false, true]),
        (&[4, 1, 5, 6, 7], &[false, true, true, false, true]),
        (&[4, 3, 5, 6, 7, 2], &[true, false, true, false, true, false]),
    ];
    for (shape, kept) in cases {
        let x = random::<T>(2, shape.iter().product());
        let kept_lens = shape.iter().zip(kept).filter(|(_, kept)| **kept);
        let y_len = kept_lens.map(|(len, _)| len).product();
        let [mut y, mut expected] = [vec![T::MAX; y_len], vec![T::ZERO; y_len]];
        sum_to(&x, shape, kept, &mut y);
        naive::sum_to(&x, shape, kept, &mut expected);
        assert_close(&y, &expected);
        assert_same_on_all_threads(|| {
            let mut y = vec![T::ZERO; y_len];
            sum_to(&x, shape, kept, &mut y);
            y
        });
    }
}

#[test]
fn sum_to_is_its_definition_in_both_types() {
    sum_to_is_its_definition::<f32>();
    sum_to_is_its_definition::<f64>();
}

/// Random values with ties, NaNs and infinities.
fn awkward<T: Real>(seed: u64, len: usize) -> Vec<T> {
    let special = [T::from_f64(f64::NAN), T::from_f64(f64::INFINITY), -T::from_f64(f64::INFINITY)];
    let mut x = random::<T>(seed, len);
    for (x, r) in x.iter_mut().zip(random_indices(seed + 1, len, 60)) {
        let coarse = T::from_f64((x.to_f64() * 4.0).round() / 4.0);
        *x = special.get(r as usize).copied().unwrap_or(coarse);
    }
    x
}

fn same_values<T: Real>(a: &[T], b: &[T]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

fn max_axis_is_its_definition<T: Real>() {
    let infinite = vec![-T::from_f64(f64::INFINITY); 40];
    let lowest = vec![-T::MAX; 40];
    for [outer, len, inner] in
        [[1, 1, 1], [3, 1, 5], [0, 2, 3], [2, 40, 1], [400, 101, 1], [7, 9, 16], [50, 33, 37]]
    {
        let x = awkward::<T>(3, outer * len * inner);
        for x in [&x, &infinite, &lowest] {
            if x.len() != outer * len * inner {
                continue;
            }
            let n = outer * inner;
            let [mut y, mut expected] = [vec![T::MAX; n], vec![T::ZERO; n]];
            let [mut at, mut expected_at] = [vec![u32::MAX; n], vec![0; n]];
            max_axis(x, outer, len, inner, &mut y, &mut at);
            naive::max_axis(x, outer, len, inner, &mut expected, &mut expected_at);
            assert!(same_values(&y, &expected), "[{outer}, {len}, {inner}]");
            assert_eq!(at, expected_at, "[{outer}, {len}, {inner}]");
        }
    }
}

#[test]
fn max_axis_is_its_definition_in_both_types() {
    max_axis_is_its_definition::<f32>();
    max_axis_is_its_definition::<f64>();
}

#[test]
fn max_axis_of_nothing_but_minus_infinity() {
    let mut found = ([0.0], [9]);
    max_axis(&[f32::NEG_INFINITY; 40], 1, 40, 1, &mut found.0, &mut found.1);
    assert_eq!(found, ([f32::NEG_INFINITY], [0]));
}

#[test]
fn max_pool2d_is_its_definition() {
    // Image [N, H, W, C], then kernel, stride, padding.
    let cases = [
        ([2, 4, 4, 3], [2, 2], [2, 2], [0, 0]),
        ([2, 5, 7, 16], [2, 2], [2, 2], [0, 0]),
        ([1, 5, 7, 17], [3, 2], [2, 1], [1, 1]),
        ([3, 17, 19, 40], [3, 3], [2, 2], [1, 1]),
        ([1, 3, 3, 1], [3, 3], [1, 1], [1, 1]),
        ([0, 3, 3, 1], [2, 2], [1, 1], [0, 0]),
    ];
    for ([n, h, w, c], kernel, stride, padding) in cases {
        let side = |i: usize, len: usize| (len + 2 * padding[i] - kernel[i]) / stride[i] + 1;
        let y_len = n * side(0, h) * side(1, w) * c;
        let x = awkward::<f32>(4, n * h * w * c);
        let [mut y, mut expected] = [vec![f32::MAX; y_len], vec![0.0; y_len]];
        let [mut at, mut expected_at] = [vec![u32::MAX; y_len], vec![0; y_len]];
        max_pool2d(&x, n, h, w, c, kernel, stride, padding, &mut y, &mut at);
        let (y_naive, at_naive) = (&mut expected, &mut expected_at);
        naive::max_pool2d(&x, n, h, w, c, kernel, stride, padding, y_naive, at_naive);
        assert!(same_values(&y, &expected), "{kernel:?} over [{n}, {h}, {w}, {c}]");
        assert_eq!(at, expected_at, "{kernel:?} over [{n}, {h}, {w}, {c}]");
    }
}

fn softmax_kernels_are_their_definitions<T: Real>() {
    for [rows, cols] in [[1, 1], [0, 4], [3, 10], [7, 31], [5, 33], [300, 130], [2, 40_000]] {
        let (x, g) = (random::<T>(5, rows * cols), random::<T>(6, rows * cols));
        let [mut y, mut out] = [vec![T::MAX; rows * cols], vec![T::MAX; rows * cols]];
        let mut expected = vec![T::ZERO; rows * cols];
        naive::log_softmax(&x, rows, cols, &mut expected);
        log_softmax(&x, rows, cols, &mut y);
        assert_close(&y, &expected);
        naive::log_softmax_grad(&y, &g, rows, cols, &mut expected);
        log_softmax_grad(&y, &g, rows, cols, &mut out);
        assert_close(&out, &expected);
        naive::log_softmax_tangent(&y, &g, rows, cols, &mut expected);
        log_softmax_tangent(&y, &g, rows, cols, &mut out);
        assert_close(&out, &expected);
    }
}

#[test]
fn softmax_kernels_are_their_definitions_in_both_types() {
    softmax_kernels_are_their_definitions::<f32>();
    softmax_kernels_are_their_definitions::<f64>();
}

#[test]
fn log_softmax_takes_the_largest_out() {
    let mut y = [0.0f32; 2];
    log_softmax(&[1e30, 1e30], 1, 2, &mut y);
    assert_close(&y, &[-2f32.ln(), -2f32.ln()]);
    log_softmax(&[f32::NEG_INFINITY, 3.0], 1, 2, &mut y);
    assert_eq!(y, [f32::NEG_INFINITY, 0.0]);
    log_softmax(&[f32::NAN, 3.0], 1, 2, &mut y);
    assert!(y[0].is_nan() && y[1].is_nan());
}

#[test]
fn places_above_a_threshold_are_all_found_in_order() {
    for len in [0, 1, 31, 32, 33, 100] {
        let x: Vec<f32> = (0..len).map(|i| ((i * 37) % 23) as f32).collect();
        for threshold in [-1.0, 0.0, 11.0, 21.0, 22.0] {
            let mut places = vec![7]; // What is there stays.
            places_above(&x, threshold, &mut places);
            let above = (0..len as u32).filter(|&i| x[i as usize] > threshold);
            assert_eq!(
                places,
                [7].into_iter().chain(above).collect::<Vec<_>>(),
                "{len} {threshold}"
            );
        }
    }
    let mut places = Vec::new();
    places_above(&[f64::NAN, 1.0, f64::INFINITY], 0.0, &mut places);
    assert_eq!(places, [1, 2]);
}
