//! Winograd's algorithm where it could go wrong: edges of images and tiles, channels, rounding.

use super::super::{Path, conv2d_at, conv2d_input_grad_at, conv2d_weight_grad_at, naive};
use super::*;
use crate::kernels::dispatch::tests::levels;
use crate::kernels::gemm::tests::{check_close, noise};

fn geometry(n: usize, [h, w]: [usize; 2], [c, o]: [usize; 2], padding: [usize; 2]) -> Geometry {
    Geometry { n, h, w, c, kh: 3, kw: 3, o, padding, ..Geometry::ONE }
}

/// The three maps by the algorithm, and by the definition from the same numbers in f64.
fn both<T: Real>(level: Level, geometry: &Geometry) -> [(Vec<T>, Vec<f64>); 3] {
    let [x, w, g] = [(geometry.x_len(), 1), (geometry.w_len(), 2), (geometry.y_len(), 3)]
        .map(|(len, seed)| noise::<T>(len, seed));
    let wide = |v: &[T]| v.iter().map(|v| v.to_f64()).collect::<Vec<_>>();
    let (xx, ww, gg) = (wide(&x), wide(&w), wide(&g));
    let mut all = [&g, &x, &w].map(|like| (vec![T::MAX; like.len()], vec![0.0; like.len()]));
    let [(y, yy), (dx, dxx), (dw, dww)] = &mut all;
    conv2d_at(level, Path::Winograd, geometry, &x, &w, y);
    conv2d_input_grad_at(level, Path::Winograd, geometry, &w, &g, dx);
    conv2d_weight_grad_at(level, Path::Winograd, geometry, &x, &g, dw);
    naive::conv2d(geometry, &xx, &ww, yy);
    naive::conv2d_input_grad(geometry, &ww, &gg, dxx);
    naive::conv2d_weight_grad(geometry, &xx, &gg, dww);
    all
}

#[track_caller]
fn check<T: Real>(level: Level, geometry: &Geometry) {
    for (i, (got, want)) in both::<T>(level, geometry).into_iter().enumerate() {
        let want: Vec<T> = want.into_iter().map(T::from_f64).collect();
        check_close(&got, &want, &format!("{level:?} part {i} of {geometry:?}"));
    }
}

// Formulas: winograd-1, winograd-2.
#[test]
fn every_size_and_padding_equals_the_definition() {
    for level in levels() {
        for h in 1..=9 {
            for w in [1, 2, 3, 4, 5, 8, 11] {
                for padding in [[0, 0], [1, 1], [2, 0], [1, 3], [5, 2]] {
                    if h + 2 * padding[0] < 3 || w + 2 * padding[1] < 3 {
                        continue;
                    }
                    let geometry = geometry(1 + h % 3, [h, w], [2 + w % 3, 1 + h], padding);
                    check::<f32>(level, &geometry);
                    check::<f64>(level, &geometry);
                }
            }
        }
    }
}

#[test]
fn every_number_of_channels_equals_the_definition() {
    fn at<T: Real>(level: Level) {
        let lanes = MicroKernel::<T>::shape(level).lanes;
        let edges = [1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2, 31, 67];
        for c in edges {
            for o in edges {
                check::<T>(level, &geometry(2, [5, 6], [c, o], [1, 1]));
            }
        }
        // Several blocks of tiles, passes over the inner dimension, groups and pieces.
        check::<T>(level, &geometry(23, [9, 10], [19, 21], [1, 1]));
        check::<T>(level, &geometry(1, [3, 4], [BLOCK_K + 3, 5], [1, 1]));
        check::<T>(level, &geometry(40, [6, 6], [130, 140], [0, 1]));
    }
    for level in levels() {
        at::<f32>(level);
        at::<f64>(level);
    }
}

#[test]
fn empty_sizes_are_zeros() {
    for level in levels() {
        for channels in [[0, 3], [3, 0]] {
            check::<f32>(level, &geometry(2, [4, 4], channels, [1, 1]));
        }
        check::<f32>(level, &geometry(0, [4, 4], [3, 3], [1, 1]));
    }
}

#[test]
fn rounding_stays_within_the_stated_bound() {
    for level in levels() {
        for channels in [8, 64, 512] {
            let geometry = geometry(2, [8, 8], [channels, 16], [1, 1]);
            for (part, (got, want)) in both::<f32>(level, &geometry).into_iter().enumerate() {
                let terms = [channels, 16, 2 * 8 * 8][part];
                let largest = want.iter().fold(0.0, |max: f64, v| max.max(v.abs()));
                let errors = got.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs());
                let error = errors.fold(0.0, f64::max) / largest;
                println!("{level:?} part {part}, {terms} terms: {error:.1e}");
                assert!(error <= rounding(terms), "{level:?} {part} {terms}: {error:e}");
            }
        }
    }
}

#[test]
fn a_value_that_is_not_finite_reaches_all_it_should() {
    let geometry = geometry(3, [9, 6], [3, 5], [1, 1]);
    let lens = [geometry.x_len(), geometry.w_len(), geometry.y_len()];
    // Ones and zeros: a term of zero times infinity is not a number by the definition.
    for (level, fill) in levels().into_iter().flat_map(|level| [(level, 0.0), (level, 1.0)]) {
        for operand in 0..3 {
            for poison in [f32::NAN, f32::INFINITY] {
                for place in [0, 17, lens[operand] / 2, lens[operand] - 1] {
                    let mut all = lens.map(|len| vec![fill; len]);
                    all[operand][place] = poison;
                    let [x, w, g] = all;
                    let mut want = [vec![0.0; g.len()], vec![0.0; x.len()], vec![0.0; w.len()]];
                    let mut got = want.clone();
                    naive::conv2d(&geometry, &x, &w, &mut want[0]);
                    naive::conv2d_input_grad(&geometry, &w, &g, &mut want[1]);
                    naive::conv2d_weight_grad(&geometry, &x, &g, &mut want[2]);
                    conv2d_at(level, Path::Winograd, &geometry, &x, &w, &mut got[0]);
                    conv2d_input_grad_at(level, Path::Winograd, &geometry, &w, &g, &mut got[1]);
                    conv2d_weight_grad_at(level, Path::Winograd, &geometry, &x, &g, &mut got[2]);
                    for (want, got) in want.concat().into_iter().zip(got.concat()) {
                        assert!(want.is_finite() || !got.is_finite(), "{want} became {got}");
                    }
                }
            }
        }
    }
}

#[test]
fn images_know_nothing_of_each_other() {
    let geometry = geometry(3, [7, 7], [5, 4], [1, 1]);
    let (mut x, w) = (noise::<f32>(geometry.x_len(), 1), noise::<f32>(geometry.w_len(), 2));
    let image = geometry.x_len() / 3;
    x[image..2 * image].fill(f32::NAN);
    for level in levels() {
        let mut y = vec![0.0; geometry.y_len()];
        conv2d_at(level, Path::Winograd, &geometry, &x, &w, &mut y);
        for (i, y) in y.chunks(geometry.y_len() / 3).enumerate() {
            assert!(y.iter().all(|y| y.is_nan() == (i == 1)), "{level:?}: image {i}");
        }
    }
}
