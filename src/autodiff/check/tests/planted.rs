//! Mistakes planted by functions that lie about their derivatives: every one must be found.

use std::slice::from_ref;
use std::time::Instant;

use super::*;

/// The sizes of derivatives, from 1e-12 to 1e12.
fn sizes() -> impl Iterator<Item = f64> {
    (-12..=12).map(|power| 10f64.powi(power))
}

#[derive(Default)]
struct Planted {
    all: usize,
    missed: Vec<String>,
}

impl Planted {
    /// A mistake counts as found if something is called wrong.
    fn add(&mut self, what: String, found: Result<Report, Report>) -> Option<Report> {
        self.all += 1;
        match found {
            Err(report) if report.failures.iter().any(|c| c.verdict == Verdict::Wrong) => {
                Some(report)
            }
            Ok(report) | Err(report) => {
                self.missed.push(format!("{what}: {report}"));
                None
            }
        }
    }
}

/// Functions by name.
type Named = (&'static str, fn(&Var<f64>) -> Var<f64>);

const FUNCTIONS: [Named; 6] = [
    ("square", |x| x.square()),
    ("exp", |x| x.exp()),
    ("ln", |x| x.ln()),
    ("tanh", |x| x.tanh()),
    ("one over", |x| x.recip()),
    ("softmax", |x| x.softmax(0)),
];

/// Derivatives of all sizes, in every entry or in one, by small and large factors.
fn sizes_and_factors(planted: &mut Planted) {
    let shape = [5];
    let x = positive(&shape, 1);
    for size in sizes() {
        for (name, f) in FUNCTIONS {
            let everywhere =
                |x: &[Var<f64>]| wrong_by(&f(&x[0]), 1e-3, &mask(&shape, |_| true)) * size;
            let found = check_grads(everywhere, from_ref(&x), 1);
            planted.add(format!("{name} times {size:e}, 1.001 everywhere"), found);
        }
        let f =
            |x: &[Var<f64>]| (wrong_by(&x[0], 1e-3, &mask(&shape, |i| i == 3)).exp() * size).sum();
        planted
            .add(format!("sum of exp times {size:e}, one entry"), check_grads(f, from_ref(&x), 1));
        // Half of what it should be, and of inputs of this size.
        let f = |x: &[Var<f64>]| &x[0] * &x[0].detach();
        let scaled = [x.scale(size)];
        planted.add(format!("x times itself, detached, at {size:e}"), check_grads(f, &scaled, 1));
        let f = |x: &[Var<f64>]| (&x[0] * &x[0].detach() * size).mean();
        planted.add(format!("its mean, times {size:e}"), check_grads(f, from_ref(&x), 1));
    }
}

/// A function that lies.
type Wrong<'a> = dyn Fn(&[Var<f64>]) -> Var<f64> + 'a;

/// One column, row, corner or entry of a large matrix.
fn places(planted: &mut Planted) {
    let shape = [64, 64];
    let place = |name: &'static str, is: fn(usize, usize) -> bool| (name, is);
    let places = [
        place("column 17", |_, j| j == 17),
        place("all columns but the first", |_, j| j > 0),
        place("row 40", |i, _| i == 40),
        place("the first corner", |i, j| i == 0 && j == 0),
        place("the last corner", |i, j| i == 63 && j == 63),
        place("a corner", |i, j| i == 0 && j == 63),
        place("[23, 45]", |i, j| i == 23 && j == 45),
        place("[62, 62]", |i, j| i == 62 && j == 62),
    ];
    let w = numbers(&[64, 8], 2);
    for (seed, by) in [1e-3, -1.0, -2.0].into_iter().enumerate() {
        let x = numbers(&shape, 3 + seed as u64);
        for (place, is) in &places {
            let at = mask(&shape, |p| is(p / 64, p % 64));
            let functions: [(&str, Box<Wrong<'_>>); 4] = [
                ("elementwise", Box::new(|x| wrong_by(&x[0].tanh(), by, &at))),
                ("mean", Box::new(|x| wrong_by(&x[0], by, &at).square().mean())),
                (
                    "product",
                    Box::new(|x| wrong_by(&x[0], by, &at).matmul(&Var::constant(w.clone()))),
                ),
                (
                    "rows",
                    Box::new(|x| wrong_by(&x[0], by, &at).logsumexp(1, crate::tensor::Keep::Drop)),
                ),
            ];
            for (name, f) in functions {
                let what = format!("{name}, {place} wrong by {by}");
                let Some(report) = planted.add(what.clone(), check_grads(f, from_ref(&x), 1))
                else {
                    continue;
                };
                let mut named = 0;
                for failure in &report.failures {
                    if let Place::Entry { index, .. } = &failure.place {
                        assert!(is(index[0], index[1]), "{what}: {failure} is right");
                        named += 1;
                    }
                }
                assert!(named > 0, "{what}: no entry is named: {report}");
            }
        }
    }
}

/// A linear function whose two claims are made by hand.
fn linear(j: &Tensor<f64>, pull: &Tensor<f64>, push: &Tensor<f64>) -> Map<'static> {
    let [m, n] = [j.shape()[0], j.shape()[1]];
    let times = move |j: &Tensor<f64>| {
        let j = j.clone();
        move |v: &[f64]| j.matmul(&Tensor::from_vec(v.to_vec(), &[n, 1])).to_vec()
    };
    let transposed = move |j: &Tensor<f64>| {
        let j = j.clone();
        move |u: &[f64]| Tensor::from_vec(u.to_vec(), &[1, m]).matmul(&j).to_vec()
    };
    let (pull, push) = (pull.clone(), push.clone());
    let value = times(j);
    Map {
        inputs: vec![vec![n]],
        value: Box::new(times(j)),
        claim: Box::new(move |x| Claim {
            outputs: vec![vec![m]],
            value: value(x),
            pull: Some(Box::new(transposed(&pull))),
            push: Some(Box::new(times(&push))),
        }),
    }
}

/// One mode wrong beside the other one, which is right.
fn modes(planted: &mut Planted) {
    for (case, [m, n]) in [[1, 6], [7, 5], [40, 100], [3, 200]].into_iter().enumerate() {
        let right = numbers(&[m, n], 10 + case as u64);
        let x = numbers(&[n], 20).to_vec();
        let entry = (m / 2) * n + n / 2;
        let column = n - 1;
        let at: [(&str, Tensor<f64>); 3] = [
            ("entry", mask(&[m, n], |p| p == entry)),
            ("column", mask(&[m, n], |p| p % n == column)),
            ("row", mask(&[m, n], |p| p / n == m - 1)),
        ];
        for ((name, at), by) in at.iter().flat_map(|at| [1e-3, -2.0].map(|by| (at, by))) {
            let wrong = &right + &(&right * &at.scale(by));
            let options = CheckOptions::default();
            for (what, pull, push, mode) in
                [("push", &right, &wrong, Mode::Forward), ("pull", &wrong, &right, Mode::Claimed)]
            {
                let what = format!("{what} of [{m}, {n}], {name} by {by}");
                let found = check_map(&linear(&right, pull, push), &x, &options);
                let Some(report) = planted.add(what.clone(), found) else { continue };
                let fair = |c: &Comparison| c.mode == mode || c.mode == Mode::Adjoint;
                assert!(report.failures.iter().all(fair), "{what}: {report}");
                assert!(report.failures.iter().any(|c| c.mode == mode), "{what}: {report}");
                assert!(
                    report.failures.iter().any(|c| c.mode == Mode::Adjoint),
                    "{what}: {report}"
                );
            }
        }
    }
}

/// `f(x)` with the right first derivative, of which the second is wrong by a factor `1 + by`:
/// a tangent at the point, written with constants, has the value and the slope of `f`, but no
/// curvature.
fn straightened(x: &Var<f64>, f: fn(&Var<f64>) -> Var<f64>, by: f64) -> Var<f64> {
    let at = Var::leaf(x.value().clone());
    let value = f(&at);
    let slope = crate::autodiff::grad(value.sum(), &[&at]).remove(0);
    let tangent = value.detach() + (x - &x.detach()) * Var::constant(slope);
    f(x) * (1.0 + by) - tangent * by
}

/// A wrong order behind right ones.
fn orders(planted: &mut Planted) {
    let x = positive(&[4], 30);
    for size in (-12..=12).step_by(4).map(|power| 10f64.powi(power)) {
        for ((name, f), by) in FUNCTIONS[..5].iter().flat_map(|f| [1e-3, -1.0].map(|by| (f, by))) {
            let wrong = |x: &[Var<f64>]| straightened(&x[0], *f, by) * size;
            check_grads(wrong, from_ref(&x), 1).expect("the first order is right");
            let what = format!("second order of {name} times {size:e} by {by}");
            let Some(report) = planted.add(what, check_grads(wrong, from_ref(&x), 2)) else {
                continue;
            };
            assert!(report.failures.iter().all(|c| c.order == 2), "{report}");
        }
    }
}

/// Claims about closures.
fn closures(planted: &mut Planted) {
    let x = numbers(&[9], 40).to_vec();
    let options = CheckOptions::default();
    for size in sizes() {
        let f = |x: &[f64]| size * x.iter().map(|x| x.sin()).product::<f64>();
        let g = |x: &[f64], by: f64| -> Vec<f64> {
            let slope = |(i, xi): (usize, &f64)| {
                let others = x.iter().enumerate().filter(|(j, _)| *j != i);
                let wrong = if i == 4 { 1.0 + by } else { 1.0 };
                size * wrong * xi.cos() * others.map(|(_, x)| x.sin()).product::<f64>()
            };
            x.iter().enumerate().map(slope).collect()
        };
        check_gradient(f, |x| g(x, 0.0), &x, &options).expect("a right gradient");
        let found = check_gradient(f, |x| g(x, 1e-3), &x, &options);
        planted.add(format!("a closure times {size:e}"), found);
    }
}

// Formula: check-1.
#[test]
fn every_planted_mistake_is_found() {
    let mut planted = Planted::default();
    let start = Instant::now();
    let kinds = [sizes_and_factors, places, modes, orders, closures];
    for (kind, name) in kinds.iter().zip(["sizes", "places", "modes", "orders", "closures"]) {
        let (before, start) = (planted.all, Instant::now());
        kind(&mut planted);
        println!("{name}: {} planted in {:.2?}", planted.all - before, start.elapsed());
    }
    let found = planted.all - planted.missed.len();
    println!("planted mistakes: {found} of {} found in {:.1?}", planted.all, start.elapsed());
    assert!(planted.all >= 200, "only {} were planted", planted.all);
    assert!(planted.missed.is_empty(), "{}", planted.missed.join("\n"));
}
