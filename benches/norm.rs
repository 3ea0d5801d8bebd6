//! Batch-norm and what follows it, forward and backward, as one operation and as several; the
//! optimisers' steps.
//!
//! `cargo bench --bench norm -- [--json] [--only NAME]`. Counted are the passes that a
//! fused operation has to make at least: four over the batch forward and backward, and one more for
//! each further tensor.

mod support;

use dimask::autodiff::{Norm, Tail, Var, pull};
use dimask::kernels::pool::max_pool2d;
use dimask::optim::{Adam, AdamDecay, Clip, Lars, LarsForm, Optimizer, Scope, Sgd};
use dimask::tensor::Tensor;
use support::{Bench, Count, noise};

/// Bytes of a pass over the 64 x 32 x 32 x 64 batch.
const PASS: usize = 64 * 32 * 32 * 64 * 4;

fn main() {
    let bench = Bench::from_args();
    let shape = [64, 32, 32, 64];
    let x = Var::leaf(Tensor::from_vec(noise::<f32>(PASS / 4), &shape));
    let other = Var::leaf(Tensor::from_vec(noise::<f32>(PASS / 4), &shape));
    let w = Var::leaf(Tensor::full(&[64], 1.0));
    let b = Var::leaf(Tensor::full(&[64], 0.1));
    let g = Tensor::from_vec(noise::<f32>(PASS / 4), &shape);
    let pooled = g.slice(&[0; 4], &[64, 32, 32, 64], &[1, 2, 2, 1]);
    let norm = |tail| x.batch_norm(Norm { tail, ..Norm::new(&w, &b, 1e-5, 1) }).y;
    let (own, all) = (&[&x, &w, &b][..], &[&x, &w, &b, &other][..]);
    // `wrt` are those that are reached: the others would be given zeros, a pass more.
    let run = |name: &str,
               g: &Tensor<f32>,
               passes: usize,
               wrt: &[&Var<f32>],
               f: &dyn Fn() -> Var<f32>| {
        if bench.wants(name) {
            bench.measure(name, Count::Bytes(passes * PASS), || {
                pull(vec![(f(), g.clone())], wrt);
            });
        }
    };
    run("bn_fwd_bwd_64x32x32x64", &g, 8, own, &|| norm(Tail::Nothing));
    run("bn_relu_fwd_bwd_64x32x32x64", &g, 8, own, &|| norm(Tail::Relu));
    run("bn_then_relu_fwd_bwd_64x32x32x64", &g, 8, own, &|| norm(Tail::Nothing).relu());
    run("bn_add_relu_fwd_bwd_64x32x32x64", &g, 12, all, &|| norm(Tail::AddRelu(&other)));
    run("bn_then_add_relu_fwd_bwd_64x32x32x64", &g, 12, all, &|| {
        (norm(Tail::Nothing) + &other).relu()
    });
    run("bn_pool_relu_fwd_bwd_64x32x32x64", &pooled, 6, own, &|| norm(Tail::MaxPoolRelu));
    run("bn_then_pool_relu_fwd_bwd_64x32x32x64", &pooled, 6, own, &|| {
        norm(Tail::Nothing).max_pool2d([2, 2], [2, 2], [0, 0]).relu()
    });
    if bench.wants("max_pool2_fwd_64x32x32x64") {
        let (mut y, mut at) = (vec![0.0; PASS / 16], vec![0; PASS / 16]);
        let x = x.value().as_slice();
        bench.measure("max_pool2_fwd_64x32x32x64", Count::Bytes(PASS * 5 / 4), || {
            max_pool2d(x, 64, 32, 32, 64, [2, 2], [2, 2], [0, 0], &mut y, &mut at);
        });
    }
    let scope = Scope::Matrices;
    let (betas, eps, weight_decay) = ([0.9, 0.999], 1e-8, 1e-4);
    let decay = AdamDecay::L2;
    let form = LarsForm::Clipped { eps, clip: Clip::On };
    let lars = Lars { lr: 0.1, momentum: 0.9, weight_decay, eta: 0.02, form, scope };
    let adam = Adam { lr: 1e-3, betas, eps, weight_decay, decay, scope };
    steps(&bench, "sgd", Optimizer::Sgd(Sgd::default()), 5);
    steps(&bench, "lars", Optimizer::Lars(lars), 11);
    steps(&bench, "adam", Optimizer::Adam(adam), 7);
}

/// Steps of a rule, in its own memory and by its definition; `passes` are those of the former.
fn steps(bench: &Bench, name: &str, rule: Optimizer, passes: usize) {
    // As many numbers as ResNet-18 has, in as many parts as it has convolutions.
    let params: Vec<Tensor> = (0..20).map(|_| Tensor::full(&[550, 1000], 0.5)).collect();
    let grads = params.clone();
    let count = Count::Bytes(passes * 4 * 11_000_000);
    let of = |tensors: &[Tensor], i: usize| Var::constant(tensors[i].clone());
    let own: Vec<Tensor> = params.iter().map(|p| p.scale(1.0)).collect();
    let first = rule.start(&params);
    let mut state = Some((own, rule.start(&params)));
    if bench.wants(&format!("{name}_step_11m")) {
        bench.measure(&format!("{name}_step_11m"), count, || {
            let (params, slots) = state.take().expect("put back below");
            state = Some(rule.step(params, &grads, slots));
        });
    }
    if bench.wants(&format!("{name}_definition_11m")) {
        bench.measure(&format!("{name}_definition_11m"), count, || {
            for i in 0..params.len() {
                let slots: Vec<_> = first.slots.iter().map(|slot| of(slot, i)).collect();
                rule.update(&of(&params, i), &of(&grads, i), &slots, 1);
            }
        });
    }
}
