//! A program of somebody who uses the library: a contrastive network in f32, and a Hessian in f64.

use dimask::nn::{Init, Layout, Linear, Module, leaves, params, with_params};
use dimask::optim::{Optimizer, Sgd};
use dimask::{Real, Tensor, Var, grad, hvp, ssl::nt_xent};

/// Three layers with ReLUs between them.
struct Net<T: Real>([Linear<T>; 3]);

impl<T: Real> Net<T> {
    fn new(sizes: [usize; 4]) -> Net<T> {
        let init = Init::new(1);
        Net([0, 1, 2].map(|i| Linear::new(&i.to_string(), sizes[i], sizes[i + 1], &init)))
    }

    /// The contrastive loss of two views, and a small penalty on the weights.
    fn loss(&self, views: &[Tensor<T>; 2]) -> Var<T> {
        let [first, second, last] = &self.0;
        let project = |x: &Tensor<T>| {
            let x = first.forward(&Var::constant(x.clone())).relu();
            last.forward(&second.forward(&x).relu())
        };
        let penalty = params(self).iter().map(|w| w.square().sum()).reduce(|a, b| a + b);
        let [z0, z1] = views.each_ref().map(project);
        nt_xent(&z0, &z1, 0.5) + penalty.expect("there are parameters").scale(1e-4)
    }
}

impl<T: Real> Module<T> for Net<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Net<T> {
        Net(self.0.each_ref().map(|layer| layer.map_params(f)))
    }
}

/// Two views of `n` rows: in each row a wave of its own, in each view with another one on top.
fn views<T: Real>(n: usize, width: usize) -> [Tensor<T>; 2] {
    [2.0, 3.0].map(|view| {
        Tensor::from_fn(&[n, width], |i| {
            let (row, column) = ((i / width) as f64, (i % width) as f64);
            T::from_f64((1.7 * row * column + row).sin() + 0.3 * (view * row + column).cos())
        })
    })
}

/// The losses of some steps of SGD.
fn train() -> Vec<f64> {
    let rule = Optimizer::Sgd(Sgd { lr: 0.05, momentum: 0.9, ..Sgd::default() });
    let (mut net, views) = (leaves(&Net::<f32>::new([32, 256, 256, 64])), views(256, 32));
    let mut state = rule.start(params(&net).iter().map(Var::value));
    let step = |_| {
        let (loss, wrt) = (net.loss(&views), params(&net));
        let value = loss.item();
        let grads = grad(loss, &Vec::from_iter(&wrt));
        let weights = wrt.into_iter().map(Var::into_value).collect();
        let (weights, next) = rule.step(weights, &grads, state.clone());
        (net, state) = (with_params(&net, weights.into_iter().map(Var::leaf).collect()), next);
        value
    };
    (0..100).map(step).collect()
}

/// How far a product of the Hessian is from the difference of two gradients, relative to it.
fn second_order() -> f64 {
    let (net, views) = (leaves(&Net::<f64>::new([8, 16, 16, 4])), views(12, 8));
    let wrt = params(&net);
    let wave = |w: &Var<f64>| Tensor::from_fn(w.shape(), |i| (i as f64).cos());
    let along: Vec<_> = wrt.iter().map(wave).collect();
    let product = hvp(&net.loss(&views), &Vec::from_iter(&wrt), &Vec::from_iter(&along));
    let gradient = |by: f64| {
        let moved = wrt.iter().zip(&along).map(|(w, v)| Var::leaf(w.value() + &v.scale(by)));
        let net = with_params(&net, moved.collect());
        grad(net.loss(&views), &Vec::from_iter(&params(&net)))
    };
    let (after, before) = (gradient(1e-6), gradient(-1e-6));
    let slope = after.iter().zip(&before).map(|(a, b)| (a - b).scale(0.5e6));
    let apart = product.iter().zip(slope).map(|(p, s)| (p - &s).to_vec()).collect::<Vec<_>>();
    let largest = |all: &[f64]| all.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let of_product: Vec<f64> = product.iter().flat_map(Tensor::to_vec).collect();
    largest(&apart.concat()) / largest(&of_product)
}

fn main() {
    let losses = train();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    println!("the loss falls from {first:.3} to {last:.3} in {} steps", losses.len());
    assert!(last < first - 0.5, "{losses:?}");
    let apart = second_order();
    println!("the Hessian's product is {apart:.1e} from the difference of two gradients");
    assert!(apart < 1e-6);
}
