//! Batch norm with something behind it against the separate steps.

use super::*;
use crate::kernels::naive;
use crate::kernels::norm::{
    DEAD, Found, Norm, Tail, batch_norm, batch_norm_grad, batch_norm_tangent,
};

const EPS: f64 = 1e-5;

/// `x` and directions for everything, in channels that are scaled up and down.
struct Case<T> {
    x: Vec<T>,
    g: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
    dweight: Vec<T>,
    dbias: Vec<T>,
}

impl<T: Real> Case<T> {
    fn new(len: usize, c: usize) -> Self {
        Case {
            x: random(21, len),
            g: random(22, len),
            weight: random(23, c),
            bias: random(24, c),
            dweight: random(25, c),
            dbias: random(26, c),
        }
    }

    fn norm(&self, shape: [usize; 4], groups: usize) -> Norm<'_, T> {
        let Case { x, weight, bias, .. } = self;
        Norm { x, shape, groups, weight, bias, eps: T::from_f64(EPS), rest: None }
    }
}

fn gated<T: Real>(by: &[T], t: &[T]) -> Vec<T> {
    let gate = |(&by, &t)| if by > T::ZERO { t } else { T::ZERO };
    by.iter().zip(t).map(gate).collect()
}

fn relu_kernels_are_their_definitions<T: Real>() {
    for [groups, rows, c] in
        [[1, 2, 1], [2, 7, 3], [1, 33, 31], [3, 100, 8], [2, 1037, 33], [2, 700, 64], [1, 40, 2000]]
    {
        let len = groups * rows * c;
        let case = Case::<T>::new(len, c);
        let norm = case.norm([groups, 1, rows, c], groups);
        let Case { x, g, weight: w, bias: b, dweight, dbias } = &case;
        let mut naive_y = vec![T::ZERO; len];
        let [mut mean, mut inv_std, mut var] = [(); 3].map(|()| vec![T::ZERO; groups * c]);
        let (m, s, v) = (&mut mean, &mut inv_std, &mut var);
        naive::batch_norm(x, groups, rows, c, w, b, norm.eps, &mut naive_y, m, s, v);

        let shortcut = random::<T>(27, len);
        let sum: Vec<T> = naive_y.iter().zip(&shortcut).map(|(&y, &s)| y + s).collect();
        for (tail, expected) in [(Tail::Relu, &naive_y), (Tail::AddRelu(&shortcut[..]), &sum)] {
            let mut y = vec![T::MAX; len];
            batch_norm(norm, tail, &mut y, &mut [], [m, v]);
            assert_close(&y, &gated(expected, expected));
        }
        let mut y = vec![T::MAX; len];
        batch_norm(norm, Tail::Relu, &mut y, &mut [], [m, v]);

        // What the ReLU let through is found again by the very bits of the output.
        let [mut dx, mut expected] = [vec![T::MAX; len], vec![T::ZERO; len]];
        let [mut dw, mut db, mut dw_naive, mut db_naive] = [(); 4].map(|()| vec![T::ZERO; c]);
        let (mean, inv_std) = (&mean, &inv_std);
        let found = Found { mean, var: &var, tail: Tail::Relu, picks: &[] };
        batch_norm_grad(norm, found, g, Some(&mut dx), [&mut dw, &mut db]);
        let (g_alive, out) = (gated(&y, g), (Some(&mut expected[..]), &mut dw_naive));
        let db_out = &mut db_naive;
        naive::batch_norm_grad(
            x, mean, inv_std, w, &g_alive, groups, rows, c, out.0, out.1, db_out,
        );
        // Two rows are one spread: inv_std is large, and so are the roundings.
        let loose = tolerance::<T>() * if rows == 2 { 1e3 } else { 1.0 };
        assert_close_to(&dx, &expected, loose);
        assert_close_to(&dw, &dw_naive, loose);
        assert_close_to(&db, &db_naive, loose);

        for choice in 0..8 {
            let pick = |bit: usize, t| (choice >> bit & 1 == 1).then_some(t);
            let (t, dw, db) = (pick(0, &g[..]), pick(1, &dweight[..]), pick(2, &dbias[..]));
            let mut dy = vec![T::MAX; len];
            batch_norm_tangent(norm, found, [t, dw, db], &mut dy);
            naive::batch_norm_tangent(
                x,
                mean,
                inv_std,
                w,
                t,
                dw,
                db,
                groups,
                rows,
                c,
                &mut expected,
            );
            assert_close_to(&dy, &gated(&y, &expected), loose);
        }
    }
}

#[test]
pub(super) fn relu_kernels_are_their_definitions_in_both_types() {
    relu_kernels_are_their_definitions::<f32>();
    relu_kernels_are_their_definitions::<f64>();
}

/// Images, groups.
const POOLED: [([usize; 4], usize); 8] = [
    ([2, 2, 2, 1], 1),
    ([2, 4, 6, 3], 2),
    ([6, 7, 7, 16], 2),
    ([3, 5, 4, 33], 1),
    ([4, 3, 9, 32], 2),
    ([4, 32, 32, 32], 2),
    ([2, 1, 5, 4], 1),
    ([0, 4, 4, 3], 1),
];

fn pooled_kernels_are_their_definitions<T: Real>() {
    for (shape @ [n, h, w, c], groups) in POOLED {
        let (len, pooled) = (n * h * w * c, n * (h / 2) * (w / 2) * c);
        let case = Case::<T>::new(len, c);
        let norm = case.norm(shape, groups);
        let Case { x, g, weight, bias, dweight, dbias } = &case;
        let g = &g[..pooled];
        let [mut y, mut naive_y] = [vec![T::MAX; pooled], vec![T::ZERO; pooled]];
        let (mut picks, mut at) = (vec![9u8; pooled], vec![0u32; pooled]);
        let [mut mean, mut inv_std, mut var] = [(); 3].map(|()| vec![T::ZERO; groups * c]);
        let (m, s, v) = (&mut mean, &mut inv_std, &mut var);
        batch_norm(norm, Tail::MaxPoolRelu, &mut y, &mut picks, [m, v]);
        if len == 0 {
            continue;
        }
        let out = (&mut naive_y, &mut at);
        naive::batch_norm_pool(x, shape, groups, weight, bias, norm.eps, out.0, out.1, m, s, v);
        assert_close(&y, &naive_y);
        for i in 0..pooled {
            assert_eq!(picks[i] == DEAD, y[i] <= T::ZERO, "{shape:?}, window {i}");
            let (row, column) = (at[i] as usize / c / w % h % 2, at[i] as usize / c % w % 2);
            assert!(picks[i] == DEAD || usize::from(picks[i]) == 2 * row + column, "{shape:?}");
        }

        let (mean, inv_std, rows) = (&mean, &inv_std, n / groups * h * w);
        let mut spread = vec![T::ZERO; len];
        naive::put_add(&gated(&y, g), &at, 1, &mut spread);
        let [mut dx, mut expected] = [vec![T::MAX; len], vec![T::ZERO; len]];
        let [mut dw, mut db, mut dw_naive, mut db_naive] = [(); 4].map(|()| vec![T::ZERO; c]);
        let found = Found { mean, var: &var, tail: Tail::MaxPoolRelu, picks: &picks };
        batch_norm_grad(norm, found, g, Some(&mut dx), [&mut dw, &mut db]);
        let out = (Some(&mut expected[..]), &mut dw_naive, &mut db_naive);
        naive::batch_norm_grad(
            x, mean, inv_std, weight, &spread, groups, rows, c, out.0, out.1, out.2,
        );
        assert_close(&dx, &expected);
        assert_close(&dw, &dw_naive);
        assert_close(&db, &db_naive);

        let directions = random::<T>(28, len);
        for choice in 0..8 {
            let pick = |bit: usize, t| (choice >> bit & 1 == 1).then_some(t);
            let (t, dw) = (pick(0, &directions[..]), pick(1, &dweight[..]));
            let db = pick(2, &dbias[..]);
            let [mut dy, mut gathered] = [vec![T::MAX; pooled], vec![T::ZERO; pooled]];
            batch_norm_tangent(norm, found, [t, dw, db], &mut dy);
            naive::batch_norm_tangent(
                x,
                mean,
                inv_std,
                weight,
                t,
                dw,
                db,
                groups,
                rows,
                c,
                &mut expected,
            );
            naive::take(&expected, &at, 1, &mut gathered);
            assert_close(&dy, &gated(&y, &gathered));
        }
    }
}

#[test]
pub(super) fn pooled_kernels_are_their_definitions_in_both_types() {
    pooled_kernels_are_their_definitions::<f32>();
    pooled_kernels_are_their_definitions::<f64>();
}

#[test]
fn a_nan_stays_and_no_derivative_reaches_its_window() {
    let mut case = Case::<f32>::new(2 * 4 * 4, 1);
    case.x[5] = f32::NAN;
    let (mut y, mut picks) = ([0.0; 8], [0; 8]);
    let moments: [&mut [f32]; 2] = [&mut [0.0], &mut [0.0]];
    batch_norm(case.norm([2, 4, 4, 1], 1), Tail::MaxPoolRelu, &mut y, &mut picks, moments);
    // One NaN spoils the moments, and with them everything.
    assert!(y.iter().all(|y| y.is_nan()) && picks == [DEAD; 8]);
}

#[test]
fn kernels_with_tails_give_the_same_bits_on_all_threads() {
    let (shape, groups) = ([8, 32, 32, 24], 2);
    let [n, h, w, c] = shape;
    let (len, pooled) = (n * h * w * c, n * h / 2 * w / 2 * c);
    let case = Case::<f32>::new(len, c);
    assert_same_on_all_threads(|| {
        let (norm, g) = (case.norm(shape, groups), &case.g);
        let [mut y, mut dx, mut relu] = [(); 3].map(|()| vec![0.0; len]);
        y.truncate(pooled);
        let mut picks = vec![0; pooled];
        let [mut mean, mut var] = [(); 2].map(|()| vec![0.0; groups * c]);
        let [mut dw, mut db] = [(); 2].map(|()| vec![0.0; c]);
        batch_norm(norm, Tail::MaxPoolRelu, &mut y, &mut picks, [&mut mean, &mut var]);
        let found = Found { mean: &mean, var: &var, tail: Tail::MaxPoolRelu, picks: &picks };
        batch_norm_grad(norm, found, &g[..pooled], Some(&mut dx), [&mut dw, &mut db]);
        let found = Found { tail: Tail::Relu, picks: &[], ..found };
        batch_norm_grad(norm, found, g, Some(&mut relu), [&mut dw, &mut db]);
        [y, dx, relu, dw, db].concat()
    });
}
