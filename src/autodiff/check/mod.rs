//! Derivatives against differences, to any order: for users, layers and losses.
//!
//! # What is compared
//! A function `f` with Jacobian `J` is moved along single entries and random directions `v` of its
//! inputs, at several steps to either side. The differences of all its outputs are held against
//! `push`, which claims `J v`, and their sum `<u, ·>` with random weights `u` against `pull`, which
//! claims `Jᵀ u`; both claims are held against each other by `<u, J v> = <Jᵀ u, v>`. Then `Jᵀ u`
//! and `J v` are functions again, by `pull_graph` and `push_graph`: the second order is their
//! first, and so on.
//!
//! # When a difference is believed
//! Each step is a part of the entry's own size. Differences at several steps are extrapolated to a
//! step of 0, in each way that takes neighbouring steps together; how far they are apart says what
//! curvature leaves, and the rounding error of `f`, measured by its fourth differences over tiny
//! steps, says what rounding leaves. The extrapolation with the smallest sum of the two counts. If
//! even that is above the tolerance, the check *cannot tell*, which fails like a wrong derivative
//! but says so. All is relative to the derivative itself: nothing is compared with 1.
//!
//! # What it cannot see
//! `f` must be computed in `f64` throughout, and its values must depend on its inputs only. Of
//! large inputs, some entries are compared one by one and all others along a few directions, where
//! a wrong entry shows if it is not negligible beside the rounding error of `f`. Where rounding
//! leaves an uncertainty below 1e-7 of the other derivatives, that is certain enough.

mod difference;
mod map;
mod point;
mod report;
mod scales;
#[cfg(test)]
mod tests;
mod walk;

pub use report::{CheckOptions, Comparison, Mode, Modes, Place, Report, Verdict};

use super::Var;
use crate::tensor::Tensor;
use map::{Claim, Map};

/// Compares derivatives of `f` up to `order` with differences, in both modes, in `f64`.
///
/// The short form of [`check_grads_with`], with the defaults of [`CheckOptions`] beside the order.
///
/// # Errors
/// The report, if something in it is wrong, not finite or cannot be told, or nothing was compared.
///
/// ```
/// use dimask::{Tensor, autodiff::check::check_grads};
/// let x = Tensor::from_vec(vec![0.3, -1.2], &[2]);
/// let report = check_grads(|x| x[0].tanh().square(), &[x.clone()], 3).unwrap();
/// assert_eq!(report.entries, 6);                          // two entries, three orders
/// // A constant multiplied in: the true derivative of x·x is 2 x.
/// let report = check_grads(|x| &x[0] * &x[0].detach(), &[x], 1).unwrap_err();
/// assert!(report.to_string().contains("input 0 at [1]"));
/// ```
///
/// Formula: check-1.
pub fn check_grads(
    f: impl Fn(&[Var<f64>]) -> Var<f64>,
    inputs: &[Tensor<f64>],
    order: usize,
) -> Result<Report, Report> {
    check_grads_with(f, inputs, &CheckOptions { order, ..CheckOptions::default() })
}

/// [`check_grads`] with all its options.
///
/// Choose inputs away from kinks: a kink is named, and fails the check.
///
/// # Errors
/// The report, if something in it is wrong, not finite or cannot be told, or nothing was compared.
pub fn check_grads_with(
    f: impl Fn(&[Var<f64>]) -> Var<f64>,
    inputs: &[Tensor<f64>],
    options: &CheckOptions,
) -> Result<Report, Report> {
    let mut report = Report::default();
    walk::check_orders(&|x| vec![f(x)], inputs, options, &mut report);
    report.finish()
}

/// Compares `gradient`, a function of the same numbers, with differences of `f`: no graph is
/// needed.
///
/// Of the options, order and modes do not apply.
///
/// # Errors
/// The report, if something in it is wrong, not finite or cannot be told, or nothing was compared.
///
/// # Panics
/// If the gradient has not as many entries as `x`.
///
/// ```
/// use dimask::autodiff::check::{CheckOptions, check_gradient};
/// let f = |x: &[f64]| x[0].sin() * x[1];
/// let g = |x: &[f64]| vec![x[0].cos() * x[1], x[0].sin()];
/// let options = CheckOptions::default();
/// check_gradient(f, g, &[0.7, 3.0], &options).unwrap();
/// check_gradient(f, |x| vec![x[0].cos(), x[0].sin()], &[0.7, 3.0], &options).unwrap_err();
/// ```
#[track_caller]
pub fn check_gradient(
    f: impl Fn(&[f64]) -> f64,
    gradient: impl Fn(&[f64]) -> Vec<f64>,
    x: &[f64],
    options: &CheckOptions,
) -> Result<Report, Report> {
    let map = Map {
        inputs: vec![vec![x.len()]],
        value: Box::new(|x| vec![f(x)]),
        claim: Box::new(|x| {
            let pulled = gradient(x);
            let pull = move |u: &[f64]| pulled.iter().map(|g| u[0] * g).collect();
            Claim {
                outputs: vec![vec![]],
                value: vec![f(x)],
                pull: Some(Box::new(pull)),
                push: None,
            }
        }),
    };
    check_map(&map, x, options)
}

/// Checks claims of any kind about one derivative of a function of flat numbers.
#[track_caller]
fn check_map(map: &Map<'_>, x: &[f64], options: &CheckOptions) -> Result<Report, Report> {
    let mut report = Report::default();
    let options = CheckOptions { modes: Modes::Both, ..options.clone() };
    let task = walk::Task {
        options: &options,
        order: 1,
        over: Mode::Claimed,
        plain: None,
        pull: Mode::Claimed,
        entries: options.entries,
        directions: options.directions,
    };
    point::check(map, x, &task, &mut report);
    report.finish()
}
