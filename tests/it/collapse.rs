//! The watch over collapsing features, on the collapse that BYOL is known for.

use crate::support::Numbers;
use dimask::autodiff::{Var, grad};
use dimask::eval::collapse::Spread;
use dimask::nn::{Init, Mlp, MlpEnd, Module, Pass, leaves, params, with_params};
use dimask::optim::{Optimizer, Sgd, ema};
use dimask::ssl::byol;
use dimask::tensor::Tensor;

/// What the prediction of one view is compared with.
#[derive(Clone, Copy, PartialEq)]
enum Target {
    /// A slow copy's projection of the other view, as a plain value: BYOL.
    Detached,
    /// The network's own projection of the other view, which learns to be easy to predict.
    Attached,
}

/// Encoder, projector and predictor.
struct Nets([Mlp<f64>; 3]);

impl Module<f64> for Nets {
    fn map_params(
        &self,
        f: &mut dyn FnMut(&str, &Var<f64>, dimask::nn::Layout) -> Var<f64>,
    ) -> Self {
        let [encoder, projector, predictor] = &self.0;
        Nets([encoder.map_params(f), projector.map_params(f), predictor.map_params(f)])
    }
}

impl Nets {
    fn new() -> Nets {
        let mlp = |name: &str, sizes: &[usize], end| Mlp::new(name, sizes, end, &Init::new(1));
        Nets([
            mlp("encoder", &[8, 32, 16], MlpEnd::Linear),
            mlp("projector", &[16, 32, 8], MlpEnd::Linear),
            mlp("predictor", &[8, 32, 8], MlpEnd::Linear),
        ])
    }

    /// Features, projections and predictions of `x [N, 8]`.
    fn forward(&self, x: &Tensor<f64>) -> [Var<f64>; 3] {
        let pass = &mut Pass::train(1);
        let h = self.0[0].forward(&Var::constant(x.clone()), pass);
        let z = self.0[1].forward(&h, pass);
        let p = self.0[2].forward(&z, pass);
        [h, z, p]
    }
}

/// The spread of the projections after training on noisy views of random points.
fn trained(target: Target) -> Spread {
    let mut numbers = Numbers::new(7);
    let points: Tensor<f64> = numbers.tensor(&[64, 8], -1.0, 1.0);
    let mut nets = Nets::new();
    let mut slow = Nets::new();
    let rule = Optimizer::Sgd(Sgd { lr: 0.3, ..Sgd::default() });
    let mut state = rule.start(params(&nets).iter().map(Var::value));
    for _ in 0..1000 {
        let views = [(); 2].map(|()| &points + &numbers.tensor(&[64, 8], -0.2, 0.2));
        let live = leaves(&nets);
        let [[_, z0, p0], [_, z1, p1]] = [0, 1].map(|view: usize| live.forward(&views[view]));
        let loss = match target {
            Target::Detached => {
                let [t0, t1] =
                    [0, 1].map(|view: usize| slow.forward(&views[view])[1].value().clone());
                byol(&p0, &p1, &t0, &t1)
            }
            // The same formula with the gradient let through.
            Target::Attached => {
                let unit = |z: &Var<f64>| z.l2_normalize(1, 1e-12);
                let cosines = (unit(&p0) * unit(&z1)).sum() + (unit(&p1) * unit(&z0)).sum();
                cosines.scale(-2.0 / 64.0).shift(4.0)
            }
        };
        drop([z0, z1, p0, p1]);
        let wrt = params(&live);
        let grads = grad(loss, &wrt.iter().collect::<Vec<_>>());
        let weights = wrt.iter().map(|w| w.value().clone()).collect();
        drop(wrt);
        let (weights, next) = rule.step(weights, &grads, state);
        state = next;
        nets = with_params(&live, weights.into_iter().map(Var::constant).collect());
        let pairs = params(&slow).into_iter().zip(params(&nets));
        let moved = pairs.map(|(old, new)| ema(old.value().clone(), new.value(), 0.95));
        slow = with_params(&slow, moved.map(Var::constant).collect());
    }
    Spread::of(nets.forward(&points)[1].value())
}

#[test]
fn byol_without_a_detached_target_trips_the_watch() {
    let kept = trained(Target::Detached);
    assert!(kept.collapse().is_none() && kept.std > 0.5, "{kept:?}");
    let collapsed = trained(Target::Attached);
    assert!(collapsed.collapse().is_some(), "{collapsed:?}");
}
