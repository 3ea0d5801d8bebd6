//! Every level against the definition, and the laws of the trilinear form.

use super::*;
use crate::kernels::dispatch::tests::{has_amx, levels};
use crate::kernels::gemm::tests::{check_close, noise};

/// The operands `x, w, g` of a geometry.
fn operands<T: Real>(geometry: &Geometry) -> [Vec<T>; 3] {
    [noise(geometry.x_len(), 1), noise(geometry.w_len(), 2), noise(geometry.y_len(), 3)]
}

/// The paths that can compute all parts of a geometry, or all but the input gradient.
fn paths(geometry: &Geometry) -> impl Iterator<Item = Path> {
    let exact = Path::ALL.into_iter().filter(|&path| path != Path::Amx);
    exact.filter(|path| path.is_possible(Part::Forward, geometry))
}

/// The path by AMX at the level of this process, if that has it.
fn amx() -> Option<(Level, Path)> {
    has_amx().then(|| (dispatch::level(), Path::Amx))
}

/// The three maps of `[x, w, g]`.
fn parts<T: Real>(
    level: Level,
    path: Path,
    geometry: &Geometry,
    [x, w, g]: [&[T]; 3],
) -> [Vec<T>; 3] {
    let [mut y, mut dx, mut dw] = [g, x, w].map(|like| vec![T::MAX; like.len()]);
    conv2d_at(level, path, geometry, x, w, &mut y);
    let adjoint = if path == Path::Rows { Path::Taps } else { path };
    conv2d_input_grad_at(level, adjoint, geometry, w, g, &mut dx);
    conv2d_weight_grad_at(level, path, geometry, x, g, &mut dw);
    [y, dx, dw]
}

/// Every path against the definition.
fn check<T: Real>(level: Level, geometry: &Geometry) {
    let [x, w, g] = operands::<T>(geometry);
    let [mut y, mut dx, mut dw] = [&g, &x, &w].map(|like| vec![T::ZERO; like.len()]);
    naive::conv2d(geometry, &x, &w, &mut y);
    naive::conv2d_input_grad(geometry, &w, &g, &mut dx);
    naive::conv2d_weight_grad(geometry, &x, &g, &mut dw);
    for path in paths(geometry) {
        let got = parts(level, path, geometry, [&x, &w, &g]);
        for (part, (got, want)) in Part::ALL.into_iter().zip(got.iter().zip([&y, &dx, &dw])) {
            check_close(got, want, &format!("{level:?} {path:?} {part:?} {geometry:?}"));
        }
    }
}

/// Kernels, strides and paddings over small images that are not square.
fn geometries() -> Vec<Geometry> {
    let mut all = Vec::new();
    let channels = [1, 3, 5, 16, 33];
    for k in [1, 2, 3, 5] {
        for s in [1, 2, 3] {
            for p in [0, 1, 2] {
                // All pairs of channels meet over the cases; not each pair in each case.
                let i = all.len();
                let (c, o) = (channels[i % 5], channels[(i / 5 + i) % 5]);
                let (h, w, n) = (5 + i % 3, 9 - i % 4, 1 + (i * 7) % 11);
                let sizes = Geometry { n, h, w, c, kh: k, kw: k, o, ..Geometry::ONE };
                all.push(Geometry { stride: [s, s], padding: [p, p], ..sizes });
            }
        }
    }
    let sizes = Geometry { n: 2, h: 6, w: 7, c: 3, kh: 3, kw: 2, o: 5, ..Geometry::ONE };
    let base = Geometry { stride: [2, 1], padding: [0, 2], ..sizes };
    all.push(base);
    all.push(Geometry { kh: 1, kw: 4, stride: [1, 3], ..base });
    // Steps larger than the kernel leave pixels that no tap sees.
    all.push(Geometry { kh: 2, kw: 1, stride: [4, 3], padding: [1, 0], ..base });
    // Wide enough for several bands, chunks and panels.
    all.push(Geometry { n: 17, h: 20, w: 33, c: 6, kh: 3, kw: 3, o: 70, stride: [1, 2], ..base });
    all.push(Geometry { n: 9, h: 4, w: 4, c: 170, kh: 3, kw: 3, o: 33, padding: [1, 1], ..base });
    all
}

// Formula: winograd-3.
#[test]
fn all_levels_equal_the_definition() {
    for level in levels() {
        for geometry in geometries() {
            check::<f32>(level, &geometry);
            check::<f64>(level, &geometry);
        }
    }
}

#[test]
fn long_inner_dimensions_are_cut() {
    let geometry =
        Geometry { n: 9, h: 2, w: 3, c: 900, kh: 3, kw: 3, o: 5, padding: [1, 1], ..Geometry::ONE };
    for level in levels() {
        check::<f64>(level, &geometry);
    }
}

#[test]
fn empty_batches_are_fine() {
    let geometry =
        Geometry { n: 0, h: 4, w: 4, c: 3, kh: 3, kw: 3, o: 5, padding: [1, 1], ..Geometry::ONE };
    for level in levels() {
        check::<f32>(level, &geometry);
    }
}

// Formulas: conv-1, conv-2, conv-3.
#[test]
fn the_three_maps_are_partials_of_one_form() {
    for geometry in geometries() {
        let [x, w, g] = operands::<f64>(&geometry);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for path in paths(&geometry) {
            let [y, dx, dw] = parts(dispatch::level(), path, &geometry, [&x, &w, &g]);
            let products = [dot(&x, &dx), dot(&w, &dw)];
            check_close(&products, &[dot(&y, &g); 2], &format!("{path:?} {geometry:?}"));
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let sizes = Geometry { n: 19, h: 9, w: 8, c: 33, kh: 3, kw: 3, o: 70, ..Geometry::ONE };
    let base = Geometry { padding: [1, 1], ..sizes };
    for geometry in [base, Geometry { stride: [2, 2], ..base }, Geometry { c: 3, ..base }] {
        let [x, w, g] = operands::<f32>(&geometry);
        let exact =
            levels().into_iter().flat_map(|level| paths(&geometry).map(move |p| (level, p)));
        for (level, path) in exact.chain(amx()) {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let all = pool.install(|| parts(level, path, &geometry, [&x, &w, &g]));
                all.concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let one = run(1);
            for threads in [2, 3, 7] {
                assert!(run(threads) == one, "{level:?} {path:?} {geometry:?}: {threads} threads");
            }
        }
    }
}

#[test]
fn a_value_that_is_not_finite_reaches_all_it_should() {
    let sizes = Geometry { n: 9, h: 5, w: 6, c: 3, kh: 3, kw: 3, o: 17, ..Geometry::ONE };
    let geometry = Geometry { stride: [2, 1], padding: [1, 1], ..sizes };
    let direct = |path| levels().into_iter().map(move |level| (level, path));
    let direct = direct(Path::Taps).chain(direct(Path::Patches));
    for (level, path) in direct.chain(amx()) {
        let ones = |len: usize| vec![1.0f32; len];
        let (mut x, w) = (ones(geometry.x_len()), vec![0.0; geometry.w_len()]);
        x[100] = f32::INFINITY;
        let (mut want, mut got) = (ones(geometry.y_len()), ones(geometry.y_len()));
        naive::conv2d(&geometry, &x, &w, &mut want);
        conv2d_at(level, path, &geometry, &x, &w, &mut got);
        let finite = |v: &[f32]| v.iter().map(|v| v.is_finite()).collect::<Vec<_>>();
        assert!(want.iter().any(|v| v.is_nan()));
        assert_eq!(finite(&got), finite(&want), "{level:?} {path:?}");

        let (g, mut want, mut got) = (vec![0.0; geometry.y_len()], w.clone(), w.clone());
        naive::conv2d_weight_grad(&geometry, &x, &g, &mut want);
        conv2d_weight_grad_at(level, path, &geometry, &x, &g, &mut got);
        assert_eq!(finite(&got), finite(&want), "{level:?} {path:?}");
    }
}

#[test]
#[should_panic(expected = "a kernel of 5 does not fit an input of 2")]
fn too_small_an_image_panics() {
    let geometry = Geometry { h: 2, w: 9, kh: 5, kw: 5, padding: [1, 1], ..Geometry::ONE };
    geometry.y_len();
}

/// The definition's three maps of operands that are rounded beforehand.
fn of_rounded(geometry: &Geometry) -> [Vec<f32>; 3] {
    let [x, w, g] = operands::<f32>(geometry).map(|x| rounded(&x));
    let [mut y, mut dx, mut dw] = [&g, &x, &w].map(|like| vec![0.0; like.len()]);
    naive::conv2d(geometry, &x, &w, &mut y);
    naive::conv2d_input_grad(geometry, &w, &g, &mut dx);
    naive::conv2d_weight_grad(geometry, &x, &g, &mut dw);
    [y, dx, dw]
}

#[test]
fn amx_equals_the_definition_of_rounded_operands() {
    let mut all = geometries();
    let square = |n, side, c, o, s| {
        let (h, w, stride) = (side, side, [s, s]);
        Geometry { n, h, w, c, kh: 3, kw: 3, o, stride, padding: [1, 1], ..Geometry::ONE }
    };
    all.extend([square(33, 8, 70, 40, 1), square(64, 4, 64, 128, 1), square(40, 9, 32, 64, 2)]);
    all.extend([square(0, 4, 3, 5, 1), square(2, 4, 0, 5, 1), square(2, 4, 3, 0, 1)]);
    let Some((level, path)) = amx() else { return };
    for geometry in &all {
        let [x, w, g] = &operands::<f32>(geometry);
        let got = parts(level, path, geometry, [x, w, g]);
        for (part, (got, want)) in Part::ALL.into_iter().zip(got.iter().zip(of_rounded(geometry))) {
            check_close(got, &want, &format!("{part:?} {geometry:?}"));
        }
    }
}

/// With AMX or without it.
#[test]
fn bf16_rounds_the_operands() {
    let sizes = Geometry { n: 17, h: 6, w: 5, c: 16, kh: 3, kw: 3, o: 18, ..Geometry::ONE };
    let large = Geometry { padding: [1, 1], ..sizes };
    let all = |geometry: &Geometry, precision| {
        let geometry = &Geometry { precision, ..*geometry };
        let [x, w, g] = operands::<f32>(geometry);
        let [mut y, mut dx, mut dw] = [&g, &x, &w].map(|like| vec![0.0; like.len()]);
        conv2d(geometry, &x, &w, &mut y);
        conv2d_input_grad(geometry, &w, &g, &mut dx);
        conv2d_weight_grad(geometry, &x, &g, &mut dw);
        [y, dx, dw]
    };
    for geometry in geometries().iter().chain(&[large, Geometry { stride: [2, 2], ..large }]) {
        let (got, full) = (all(geometry, Precision::Bf16), all(geometry, Precision::Full));
        let want = of_rounded(geometry);
        for (i, part) in Part::ALL.into_iter().enumerate() {
            check_close(&got[i], &want[i], &format!("{part:?} {geometry:?}"));
            assert!(got[i] != full[i], "not rounded: {part:?} {geometry:?}");
        }
    }
}

#[test]
fn amx_takes_tiny_numbers_for_zero() {
    let geometry = Geometry { n: 2, ..Geometry::ONE };
    if let Some((level, path)) = amx() {
        let mut y = [1.0; 2];
        conv2d_at(level, path, &geometry, &[1e-39f32, 1e-37], &[1e38], &mut y);
        assert!(y[0] == 0.0 && (y[1] - 10.0).abs() < 0.1, "{y:?}");
    }
}
