//! Right derivatives of all sizes: hardly one may be refused.

use std::slice::from_ref;
use std::time::Instant;

use super::*;
use crate::tensor::Keep;

struct Tried {
    all: usize,
    refused: Vec<String>,
}

impl Tried {
    fn add(&mut self, what: String, found: Result<Report, Report>) {
        self.all += 1;
        if let Err(report) = found {
            self.refused.push(format!("{what}: {report}"));
        }
    }
}

type Function = fn(&[Var<f64>]) -> Var<f64>;

/// Functions whose derivative has a size for inputs of any size.
const SCALE_FREE: [(&str, Function); 12] = [
    ("x²", |x| x[0].square()),
    ("x³", |x| &x[0] * &x[0].square()),
    ("1/x", |x| x[0].recip()),
    ("sqrt", |x| x[0].sqrt()),
    ("x^2.5", |x| x[0].powf(2.5)),
    ("ln", |x| x[0].ln()),
    ("mean of squares", |x| x[0].square().mean()),
    ("sum", |x| x[0].sum()),
    ("unit rows", |x| x[0].l2_normalize(1, 1e-300)),
    ("product", |x| x[0].matmul_nt(&x[1])),
    ("quotient", |x| &x[0] / &x[1]),
    ("length", |x| x[0].square().sum().sqrt()),
];

/// Functions that have a scale of their own.
const OF_ONE_SCALE: [(&str, Function); 12] = [
    ("exp", |x| x[0].exp()),
    ("tanh", |x| x[0].tanh()),
    ("sigmoid", |x| x[0].sigmoid()),
    ("softmax", |x| x[0].softmax(1)),
    ("logsumexp", |x| x[0].logsumexp(1, Keep::Drop)),
    ("log_softmax", |x| x[0].log_softmax(0)),
    ("cross entropy", |x| x[0].cross_entropy(&[0, 2, 1], crate::autodiff::Reduction::Mean)),
    ("standardized", |x| x[0].standardize(1e-3, 1).y),
    ("gauss", |x| (-x[0].square()).exp()),
    ("steep exp", |x| (&x[0] * 30.0).exp()),
    ("steep tanh", |x| (&x[0] * 4.0).tanh().sum()),
    ("x² and a large constant", |x| x[0].square() + 1e9),
];

// Formula: check-1.
#[test]
fn right_derivatives_are_accepted() {
    let start = Instant::now();
    let mut tried = Tried { all: 0, refused: Vec::new() };
    let x = [positive(&[3, 4], 1), positive(&[3, 4], 2)];
    for power in -8..=8 {
        let size = 10f64.powi(power);
        for (name, f) in SCALE_FREE {
            let scaled = x.each_ref().map(|x| x.scale(size));
            tried.add(format!("{name} at {size:e}"), check_grads(f, &scaled, 2));
            let f = |x: &[Var<f64>]| f(x) * size;
            tried.add(format!("{name} times {size:e}"), check_grads(f, &x, 2));
        }
        for (name, f) in OF_ONE_SCALE {
            // Nothing survives below the digits of the constant.
            if !name.contains("constant") || power >= 0 {
                let times = |x: &[Var<f64>]| f(x) * size;
                tried.add(format!("{name} times {size:e}"), check_grads(times, &x, 2));
            }
            let scaled = [x[0].scale(size)];
            let of = |x: &[Var<f64>]| f(&[&x[0] * (1.0 / size)]);
            tried.add(format!("{name} of x / {size:e}"), check_grads(of, &scaled, 2));
        }
        // Entries of all sizes in one tensor.
        let mixed = Tensor::from_fn(&[17], |i| 10f64.powi(i as i32 - 8) * size.powf(0.2));
        let names: [(&str, Function); 5] = [
            ("mixed squares", |x| x[0].square()),
            ("mixed ln", |x| x[0].ln()),
            ("mixed ln, summed", |x| x[0].ln().sum()),
            ("mixed squares, summed", |x| x[0].square().sum()),
            ("mixed roots, summed", |x| x[0].sqrt().sum()),
        ];
        for (name, f) in names {
            tried.add(format!("{name} {size:e}"), check_grads(f, from_ref(&mixed), 2));
        }
    }
    // Zeros, alone and among others; derivatives that vanish; large matrices.
    let zeros = [Tensor::zeros(&[3, 4]), Tensor::zeros(&[3, 4])];
    let some = [Tensor::from_fn(&[3, 4], |i| if i % 3 == 0 { 0.0 } else { i as f64 - 4.5 })];
    for (name, f) in OF_ONE_SCALE.iter().chain(&SCALE_FREE[..2]).chain(&SCALE_FREE[6..8]) {
        tried.add(format!("{name} at zeros"), check_grads(f, &zeros, 2));
        tried.add(format!("{name} at some zeros"), check_grads(f, &some, 2));
    }
    let at_one = |x: &[Var<f64>]| (&x[0] - 1.0).square().sum();
    tried.add("a minimum".into(), check_grads(at_one, &[Tensor::full(&[4], 1.0)], 2));
    let at = |x: &[Var<f64>]| (&x[0] - 0.7).square().sum();
    tried.add("a minimum at 0.7".into(), check_grads(at, &[Tensor::full(&[4], 0.7)], 2));
    let large = [numbers(&[400, 512], 5)];
    for (name, f) in [SCALE_FREE[6], OF_ONE_SCALE[1]] {
        tried.add(format!("{name} of [400, 512]"), check_grads(f, &large, 1));
    }
    let accepted = tried.all - tried.refused.len();
    println!("right derivatives: {accepted} of {} accepted in {:.1?}", tried.all, start.elapsed());
    tried.refused.iter().for_each(|refused| println!("refused: {refused}"));
    assert!(tried.all >= 500, "only {} were tried", tried.all);
    assert!(accepted * 100 >= tried.all * 99, "more than 1 % were refused");
}
