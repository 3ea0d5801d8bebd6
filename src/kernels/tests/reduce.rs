//! Sums, maxima and pooling against plain loops.

use super::*;
use crate::kernels::cross_entropy::{
    Scores, cross_entropy, cross_entropy_grad, cross_entropy_tangent,
};
use crate::kernels::maxima::{max_axis, places_above};
use crate::kernels::naive;
use crate::kernels::pool::max_pool2d;
use crate::kernels::reduce::{dot, sum, sum_to};
use crate::kernels::unit::{l2_normalize, l2_normalize_grad};

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
pub(super) fn sum_is_its_definition_in_both_types() {
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
pub(super) fn sum_to_is_its_definition_in_both_types() {
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
pub(super) fn max_axis_is_its_definition_in_both_types() {
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
pub(super) fn max_pool2d_is_its_definition() {
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

fn cross_entropy_is_its_definition<T: Real>() {
    for [rows, cols] in [[1, 2], [0, 4], [3, 10], [7, 31], [5, 33], [300, 130], [2, 40_000]] {
        let (x, t, g) = (random::<T>(5, rows * cols), random::<T>(6, rows * cols), random(7, rows));
        let target: Vec<u32> = (0..rows).map(|r| (3 * r % cols) as u32).collect();
        // Not a target, which is 3 r.
        let out: Vec<u32> =
            (0..rows).map(|r| ((3 * r + r % (cols - 1) + 1) % cols) as u32).collect();
        for without in [None, Some(&out[..])] {
            let scores = Scores { x: &x, target: &target, without };
            let [mut loss, mut dloss, mut expected] = [(); 3].map(|()| vec![T::MAX; rows]);
            let mut peaks = vec![[T::MAX; 2]; rows];
            naive::cross_entropy(scores, &mut expected);
            cross_entropy(scores, &mut peaks, &mut loss);
            assert_close(&loss, &expected);
            naive::cross_entropy_tangent(scores, &t, &mut expected);
            cross_entropy_tangent(scores, &peaks, &t, &mut dloss);
            assert_close(&dloss, &expected);
            let [mut dx, mut expected] = [vec![T::MAX; x.len()], vec![T::ZERO; x.len()]];
            naive::cross_entropy_grad(scores, &g, &mut expected);
            cross_entropy_grad(scores, &peaks, &g, &mut dx);
            assert_close(&dx, &expected);
            assert_same_on_all_threads(|| {
                let (mut peaks, mut loss) = (vec![[T::ZERO; 2]; rows], vec![T::ZERO; rows]);
                cross_entropy(scores, &mut peaks, &mut loss);
                loss
            });
        }
    }
}

#[test]
pub(super) fn cross_entropy_is_its_definition_in_both_types() {
    cross_entropy_is_its_definition::<f32>();
    cross_entropy_is_its_definition::<f64>();
}

fn l2_normalize_is_its_definition<T: Real>() {
    for [rows, cols] in [[1, 1], [0, 4], [3, 0], [3, 10], [7, 33], [300, 130], [2, 40_000]] {
        let (mut x, g) = (random::<T>(8, rows * cols), random::<T>(9, rows * cols));
        x.iter_mut().take(cols).for_each(|x| *x = T::ZERO);
        for (length, eps) in [(1.0, 1e-6), (3.0, 2.0), (0.5, 1e3)] {
            let [length, eps] = [length, eps].map(T::from_f64);
            let mut factors = vec![[T::MAX; 2]; rows];
            let [mut y, mut expected] = [(); 2].map(|()| vec![T::MAX; x.len()]);
            naive::l2_normalize(&x, cols, length, eps, &mut expected);
            l2_normalize(&x, length, eps, &mut factors, &mut y);
            assert_close(&y, &expected);
            naive::l2_normalize_grad(&x, cols, length, eps, &g, &mut expected);
            l2_normalize_grad(&x, &factors, &g, &mut y);
            assert_close(&y, &expected);
        }
    }
}

#[test]
pub(super) fn l2_normalize_is_its_definition_in_both_types() {
    l2_normalize_is_its_definition::<f32>();
    l2_normalize_is_its_definition::<f64>();
}

#[test]
fn cross_entropy_takes_the_largest_out() {
    let loss = |x: &[f32], without| {
        let mut loss = [0.0];
        let scores = Scores { x, target: &[0], without };
        cross_entropy(scores, &mut [[0.0; 2]], &mut loss);
        loss[0]
    };
    assert_close(&[loss(&[1e30, 1e30], None)], &[2f32.ln()]);
    assert_eq!(loss(&[f32::NEG_INFINITY, 3.0], None), f32::INFINITY);
    assert!(loss(&[3.0, f32::NAN], None).is_nan());
    // What does not take part may be anything, and a row may be of one element.
    let out: Option<&[u32]> = Some(&[1]);
    for x in [1e30, f32::INFINITY, f32::NAN] {
        assert_close(&[loss(&[3.0, x, 3.0], out)], &[2f32.ln()]);
        assert_eq!(loss(&[3.0, x], out), 0.0);
    }
}

#[test]
#[should_panic(expected = "cross_entropy_without: column 2, left out of row 1, is its target")]
fn cross_entropy_of_a_target_that_does_not_take_part() {
    let scores = Scores { x: &[0.0f32; 6], target: &[0, 2], without: Some(&[1, 2]) };
    cross_entropy(scores, &mut [[0.0; 2]; 2], &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "cross_entropy: target 3 of row 1 is not below 3 columns")]
fn cross_entropy_of_a_column_that_is_not_there() {
    let scores = Scores { x: &[0.0f32; 6], target: &[0, 3], without: None };
    cross_entropy(scores, &mut [[0.0; 2]; 2], &mut [0.0; 2]);
}

#[test]
pub(super) fn places_above_a_threshold_are_all_found_in_order() {
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
