//! Batch norm, its adjoint and its tangent against their definitions.

use super::*;
use crate::kernels::naive;
use crate::kernels::norm::{Found, Norm, Tail, batch_norm, batch_norm_grad, batch_norm_tangent};

const EPS: f64 = 1e-5;

/// One case of the three kernels: `x: [groups, rows, c]` and directions for everything.
struct Case<T> {
    groups: usize,
    rows: usize,
    c: usize,
    x: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
    /// A cotangent of the output, also a direction for `x`.
    g: Vec<T>,
    dweight: Vec<T>,
    dbias: Vec<T>,
}

/// The output, then mean and variance `[groups, c]`.
type Normalised<T> = [Vec<T>; 3];

impl<T: Real> Case<T> {
    fn new([groups, rows, c]: [usize; 3]) -> Self {
        let len = groups * rows * c;
        Case {
            groups,
            rows,
            c,
            x: random(1, len),
            weight: random(2, c),
            bias: random(3, c),
            g: random(4, len),
            dweight: random(5, c),
            dbias: random(6, c),
        }
    }

    fn all() -> Vec<Self> {
        let shapes = [
            [1, 1, 1],
            [1, 0, 3],
            [2, 5, 1],
            [2, 7, 3],
            [1, 33, 31],
            [3, 100, 8],
            [2, 1037, 33],
            [2, 40_001, 3],
            [1, 40, 2000],
            [7, 4000, 2],
        ];
        shapes.into_iter().map(Self::new).collect()
    }

    fn norm(&self) -> Norm<'_, T> {
        let Case { x, groups, weight, bias, .. } = self;
        let shape = [*groups, 1, self.rows, self.c];
        Norm { x, shape, groups: *groups, weight, bias, eps: T::from_f64(EPS), rest: None }
    }

    fn normalise(&self) -> Normalised<T> {
        let n = self.groups * self.c;
        let [mut y, mut mean, mut var] = [self.x.len(), n, n].map(|len| vec![T::MAX; len]);
        batch_norm(self.norm(), Tail::Nothing, &mut y, &mut [], [&mut mean, &mut var]);
        [y, mean, var]
    }

    /// What [`Case::normalise`] finds, and the inverse deviation.
    fn normalise_naive(&self) -> (Normalised<T>, Vec<T>) {
        let n = self.groups * self.c;
        let mut y = vec![T::ZERO; self.x.len()];
        let [mut mean, mut inv_std, mut var] = [(); 3].map(|()| vec![T::ZERO; n]);
        let (moments, eps) = ((&mut mean, &mut inv_std, &mut var), T::from_f64(EPS));
        let (x, w, b) = (&self.x, &self.weight, &self.bias);
        let (groups, rows, c) = (self.groups, self.rows, self.c);
        naive::batch_norm(x, groups, rows, c, w, b, eps, &mut y, moments.0, moments.1, moments.2);
        ([y, mean, var], inv_std)
    }

    /// `dx`, `dweight` and `dbias`.
    fn grad(&self, [_, mean, var]: &Normalised<T>) -> [Vec<T>; 3] {
        let found = Found { mean, var, tail: Tail::Nothing, picks: &[] };
        let mut dx = vec![T::MAX; self.x.len()];
        let [mut dw, mut db, mut dw_alone, mut db_alone] = [(); 4].map(|()| vec![T::MAX; self.c]);
        batch_norm_grad(self.norm(), found, &self.g, Some(&mut dx), [&mut dw, &mut db]);
        batch_norm_grad(self.norm(), found, &self.g, None, [&mut dw_alone, &mut db_alone]);
        assert!(dw == dw_alone && db == db_alone);
        [dx, dw, db]
    }

    fn tangent(&self, [_, mean, var]: &Normalised<T>, along: [Option<&[T]>; 3]) -> Vec<T> {
        let mut dy = vec![T::MAX; self.x.len()];
        let found = Found { mean, var, tail: Tail::Nothing, picks: &[] };
        batch_norm_tangent(self.norm(), found, along, &mut dy);
        dy
    }
}

fn batch_norm_kernels_are_their_definitions<T: Real>() {
    for case in Case::<T>::all() {
        if case.rows == 0 {
            case.normalise();
            continue;
        }
        let (found, (expected, inv_std)) = (case.normalise(), case.normalise_naive());
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(found, expected);
        }
        let (mean, inv_std) = (&expected[1], &inv_std);
        let (x, w, g) = (&case.x, &case.weight, &case.g);
        let (groups, rows, c) = (case.groups, case.rows, case.c);
        let mut dx = vec![T::ZERO; x.len()];
        let [mut dw, mut db] = [vec![T::ZERO; c], vec![T::ZERO; c]];
        let out = (Some(&mut dx[..]), &mut dw, &mut db);
        naive::batch_norm_grad(x, mean, inv_std, w, g, groups, rows, c, out.0, out.1, out.2);
        // A single row has no spread: inv_std is large, and so are the roundings.
        let loose = tolerance::<T>() * if rows == 1 { 1e3 } else { 1.0 };
        for (found, expected) in case.grad(&expected).iter().zip([&dx, &dw, &db]) {
            assert_close_to(found, expected, loose);
        }
        for choice in 0..8 {
            let pick = |bit: usize, t| (choice >> bit & 1 == 1).then_some(t);
            let (dx, dw) = (pick(0, &case.g[..]), pick(1, &case.dweight[..]));
            let db = pick(2, &case.dbias[..]);
            let mut dy = vec![T::ZERO; x.len()];
            naive::batch_norm_tangent(x, mean, inv_std, w, dx, dw, db, groups, rows, c, &mut dy);
            assert_close_to(&case.tangent(&expected, [dx, dw, db]), &dy, loose);
        }
    }
}

#[test]
pub(super) fn batch_norm_kernels_are_their_definitions_in_both_types() {
    batch_norm_kernels_are_their_definitions::<f32>();
    batch_norm_kernels_are_their_definitions::<f64>();
}

#[test]
fn variance_is_accurate_beside_a_large_mean() {
    // The values k + 1e6 have the variance of 0, 1, .., n − 1, known in closed form.
    let (n, c) = (50_000, 2);
    let x: Vec<f64> = (0..n * c).map(|i| (i / c) as f64 + 1e6).collect();
    let case = Case { x, ..Case::new([1, n, c]) };
    let [_, mean, var] = case.normalise();
    let n = n as f64;
    assert_close_to(&var, &[(n * n - 1.0) / 12.0; 2], 1e-12);
    assert_close_to(&mean, &[(n - 1.0) / 2.0 + 1e6; 2], 1e-14);
}

// Formula: batchnorm-2.
#[test]
fn batch_norm_grad_is_the_gradient() {
    let case = Case::<f64>::new([2, 6, 3]);
    let normalised = case.normalise();
    let [dx, dweight, dbias] = case.grad(&normalised);
    let value = |case: &Case<f64>| dot(&case.normalise()[0], &case.g);
    let h = 1e-5;
    let slope = |nudge: &dyn Fn(&mut Case<f64>, f64)| {
        let at = |step: f64| {
            let mut case = Case::<f64>::new([2, 6, 3]);
            nudge(&mut case, step);
            value(&case)
        };
        (at(h) - at(-h)) / (2.0 * h)
    };
    for i in 0..dx.len() {
        assert_close_to(&[dx[i]], &[slope(&|case, step| case.x[i] += step)], 1e-8);
    }
    for i in 0..dweight.len() {
        assert_close_to(&[dweight[i]], &[slope(&|case, step| case.weight[i] += step)], 1e-8);
        assert_close_to(&[dbias[i]], &[slope(&|case, step| case.bias[i] += step)], 1e-8);
    }
}

#[test]
fn batch_norm_tangent_is_the_adjoint_of_batch_norm_grad() {
    for case in Case::<f64>::all().into_iter().filter(|case| case.rows > 1) {
        let normalised = case.normalise();
        let [dx, dweight, dbias] = case.grad(&normalised);
        let direction = random::<f64>(9, case.x.len());
        let (dw, db) = (&case.dweight, &case.dbias);
        let dy = case.tangent(&normalised, [Some(&direction), Some(dw), Some(db)]);
        let pulled = dot(&dx, &direction) + dot(&dweight, dw) + dot(&dbias, db);
        assert_close_to(&[dot(&dy, &case.g)], &[pulled], 1e-10);
    }
}

#[test]
fn batch_norm_kernels_give_the_same_bits_on_all_threads() {
    for shape in [[2, 5000, 16], [3, 70, 300]] {
        let case = Case::<f32>::new(shape);
        assert_same_on_all_threads(|| {
            let normalised = case.normalise();
            let grad = case.grad(&normalised);
            let tangent = case.tangent(&normalised, [Some(&case.g), Some(&case.dweight), None]);
            normalised.into_iter().chain(grad).chain([tangent]).flatten().collect()
        });
    }
}
