//! The base methods' losses, with inputs away from their kinks.

use super::{Numbers, Row};
use crate::autodiff::Var;
use crate::ssl::{BarlowTwins, Dcl, Hcl, Loss, Normalization};
use crate::tensor::Tensor;

/// Images, and the width of their projections.
const SHAPE: [usize; 2] = [5, 4];

/// A row for every loss: a function of the two views' projections.
pub fn losses() -> Vec<Row> {
    let batch_norm = Normalization::BatchNorm { eps: 1e-5 };
    let barlow_twins = |normalization, lambda| {
        Loss::BarlowTwins(BarlowTwins { lambda, normalization, scale: 1.0 })
    };
    let row = |name: &'static str, seed: u64, loss: Loss| {
        let mut numbers = Numbers::new(seed);
        let mut draw = || numbers.uniform(&SHAPE, -1.0, 1.0);
        let inputs = vec![draw(), draw()];
        let anchors = loss.compares().then(|| [draw(), draw()]);
        let f = move |z: &[Var<f64>]| loss.value(&z[0], &z[1], anchors.as_ref());
        Row { name, op: loss.name(), inputs, f: Box::new(f) }
    };
    vec![
        row("barlow-twins", 1, barlow_twins(batch_norm, 5e-3)),
        row("barlow-twins unbiased", 2, barlow_twins(Normalization::Unbiased, 0.1)),
        row("simclr", 3, Loss::NtXent { temperature: 0.5 }),
        row("simclr sharp", 4, Loss::NtXent { temperature: 0.07 }),
        row("byol", 5, Loss::Byol),
        row("dcl", 6, Loss::Dcl(Dcl::default())),
        row("hcl", 7, Loss::Hcl(Hcl::default())),
        row("hcl without debiasing", 8, Loss::Hcl(Hcl { tau_plus: 0.0, ..Hcl::default() })),
        row("nnclr", 9, Loss::Nnclr { temperature: 0.1 }),
    ]
}

/// Two views' projections as [`losses`] draws them.
pub(super) fn projections(numbers: &mut Numbers, width: usize) -> [Tensor<f64>; 2] {
    [numbers.uniform(&[6, width], -1.0, 1.0), numbers.uniform(&[6, width], -1.0, 1.0)]
}
