//! Gradients against finite differences, to any order: for users, layers and losses.
//!
//! Order 1 compares each entry of the gradient of `s(x) = <u, f(x)>` (fixed pseudo-random `u`) with
//! a central difference of `s`. Order 2 does the same to the function `x -> <v, grad s(x)>`, and so
//! on:
//! the checker recurses on what it has just checked.

use std::fmt;

use super::{Var, grad, grad_graph};
use crate::tensor::Tensor;

/// A failed comparison is one whose relative error is above this.
const TOLERANCE: f64 = 1e-5;
/// Step of the central difference, balanced between its own error (h²) and rounding (1e-16 / h).
const STEP: f64 = 1e-5;
/// Entries compared per input; of larger inputs an even sample is taken.
const ENTRIES: usize = 64;

/// One entry of a gradient: what the engine says and what a finite difference says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The order of the derivative, from 1.
    pub order: usize,
    /// Which input.
    pub input: usize,
    /// Which element of it, in row-major order.
    pub element: usize,
    /// By differentiation.
    pub exact: f64,
    /// By central difference.
    pub numeric: f64,
}

impl Entry {
    /// `|exact - numeric|` over the larger of 1 and both sizes.
    pub fn error(&self) -> f64 {
        let scale = self.exact.abs().max(self.numeric.abs()).max(1.0);
        let error = (self.exact - self.numeric).abs() / scale;
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

/// What a check compared, and the worst entry of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number of entries compared, over all orders.
    pub entries: usize,
    /// The entry with the largest error; `None` if nothing was compared.
    pub worst: Option<Entry>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(worst) = &self.worst else {
            return write!(f, "no entries compared");
        };
        let Entry { order, input, element, exact, numeric } = worst;
        write!(
            f,
            "{} entries compared; worst: derivative of order {order}, input {input}, element \
             {element}: exact {exact:.10e}, finite difference {numeric:.10e}, error {:.2e}",
            self.entries,
            worst.error()
        )
    }
}

/// Compares derivatives of `f` up to `order` with central differences, in `f64`.
///
/// Choose inputs away from kinks. The error of a correct derivative stays near 1e-9; `Err` carries
/// the same report when the worst error is above 1e-5, or when nothing was compared.
///
/// ```
/// use dimask::{Tensor, autodiff::check::check_grads};
/// let x = Tensor::from_vec(vec![0.3, -1.2], &[2]);
/// let report = check_grads(|x| x[0].tanh().square(), &[x], 3).unwrap();
/// assert_eq!(report.entries, 6);
/// ```
///
/// Formula: check-1.
pub fn check_grads(
    f: impl Fn(&[Var<f64>]) -> Var<f64>,
    inputs: &[Tensor<f64>],
    order: usize,
) -> Result<Report, Report> {
    let projected = |x: &[Var<f64>]| {
        let y = f(x);
        let u = direction(y.shape(), 0);
        y.dot_constant(&u)
    };
    let mut report = Report { entries: 0, worst: None };
    compare(&projected, inputs, 1, order, &mut report);
    match &report.worst {
        Some(worst) if worst.error() <= TOLERANCE => Ok(report),
        _ => Err(report),
    }
}

fn compare(
    s: &dyn Fn(&[Var<f64>]) -> Var<f64>,
    inputs: &[Tensor<f64>],
    order: usize,
    last: usize,
    report: &mut Report,
) {
    if order > last {
        return;
    }
    let leaves: Vec<Var<f64>> = inputs.iter().cloned().map(Var::leaf).collect();
    let value = s(&leaves);
    // The gradient of a function that does not depend on its inputs is zero, not an error.
    let exact = grad(value, &leaves.iter().collect::<Vec<_>>());
    for (input, x) in inputs.iter().enumerate() {
        for element in (0..x.len()).step_by(x.len().div_ceil(ENTRIES).max(1)) {
            let at = |delta: f64| {
                let mut moved = inputs.to_vec();
                moved[input].make_mut()[element] += delta;
                // Leaves, because a derivative inside `s` needs something to differentiate in.
                s(&moved.into_iter().map(Var::leaf).collect::<Vec<_>>()).item()
            };
            let numeric = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            let exact = exact[input].as_slice()[element];
            let entry = Entry { order, input, element, exact, numeric };
            report.entries += 1;
            if report.worst.as_ref().is_none_or(|worst| entry.error() > worst.error()) {
                report.worst = Some(entry);
            }
        }
    }
    let next = |x: &[Var<f64>]| {
        let wrt: Vec<_> = x.iter().collect();
        let gradient = grad_graph(&s(x), &wrt);
        let term = |(i, g): (usize, &Var<f64>)| g.dot_constant(&direction(g.shape(), order + i));
        let terms = gradient.iter().enumerate().map(term);
        terms.reduce(|a, b| a + b).unwrap_or_else(|| Var::scalar(0.0))
    };
    compare(&next, inputs, order + 1, last, report);
}

/// A fixed direction with entries in `[-1, 1]`, none near zero.
fn direction(shape: &[usize], seed: usize) -> Tensor<f64> {
    Tensor::from_fn(shape, |i| {
        let x = ((i + 1) as f64 * 0.754_877_666 + seed as f64 * 0.569_840_29).fract() - 0.5;
        x + 0.5 * x.signum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_derivative_is_named() {
        // A constant multiplied in: the true derivative of x·x would have a factor 2.
        let wrong = |x: &[Var<f64>]| &x[0] * &x[0].detach();
        let x = Tensor::from_vec(vec![0.5, 2.0], &[2]);
        let report = check_grads(wrong, &[x], 1).unwrap_err();
        let worst = report.worst.as_ref().unwrap();
        assert!((worst.numeric / worst.exact - 2.0).abs() < 1e-6);
        assert!(report.to_string().contains("order 1, input 0"), "{report}");
    }
}
