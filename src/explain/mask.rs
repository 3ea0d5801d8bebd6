//! Chapter 4: the mask and its gradient, on the worked example.
//!
//! Its numbers are those of the reference values: two matrices, tanh between them, no batch-norm,
//! six images of five numbers in two views, a learning rate of 0.1.

use super::by_hand::{Moving, Rows, Weights, Worked, dot, flat, rows, wave, worked};
use super::{Formula, given};
use crate::Var;
use crate::autodiff::{grad, push, push_graph};
use crate::gradcheck::{Setting, Smooth};
use crate::metamask::meta_gradient::{
    exact, finite_difference, first_order, reverse_over_reverse, unrolled,
};
use crate::metamask::{Heads, Mask, MaskForm, Network, Objective, TrialStep};
use crate::nn::{Encode, Linear, Mlp, MlpLayer, Pass, leaves, params};
use crate::optim::{Optimizer, OptimizerState, Sgd};
use crate::ssl::Loss;
use crate::tensor::Tensor;

const PAGE: &str = "docs/book/4-mask.md";
const FILE: &str = "src/metamask/meta_gradient.rs";
const LR: f64 = 0.1;
const MOMENTUM: f64 = 0.9;
const DECAY: f64 = 5e-4;

pub(super) const TABLE: &[Formula] = &[
    Formula {
        id: "mask-1",
        title: "The mask: one factor for each feature, the same for all images and both views",
        plain: "s = 1 / (1 + e^-a),  hbar = s h",
        latex: r"s_j = \sigma(a_j), \qquad \bar h_{ij} = s_j\, h_{ij}",
        page: PAGE,
        file: "src/metamask/mask.rs",
        function: "factors",
        example: || {
            let setting = setting();
            let at = worked(&rows(&setting.x), &weights(&setting));
            let a = Var::constant(setting.mask.logits.clone());
            let (_, h) = loss(&setting, &setting.network, &a);
            let factors = setting.mask.factors();
            let masked = &h * &Var::constant(factors.clone());
            let z = setting.network.heads.project(&masked, &mut Pass::train(2)).z;
            given(GIVEN)
                .numbers("s", &at.s, factors.as_slice())
                .numbers("h of view 0, image 1", &at.h[0], h.rows(0..1).value().as_slice())
                .numbers("z of it", &at.z[0], z.rows(0..1).value().as_slice())
        },
    },
    Formula {
        id: "mask-2",
        title: "What the mask does to gradients: a feature's is scaled, and its own is a sum",
        plain: "dL/dh_ij = s_j dL/dhbar_ij,  dL/ds_j = sum over i of h_ij dL/dhbar_ij",
        latex: r"\frac{\partial L}{\partial h_{ij}} = s_j \frac{\partial L}{\partial \bar h_{ij}},
            \qquad \frac{\partial L}{\partial s_j}
            = \sum_i h_{ij} \frac{\partial L}{\partial \bar h_{ij}}",
        page: PAGE,
        file: "src/metamask/cut.rs",
        function: "new",
        example: || {
            let setting = setting();
            let a = Var::leaf(setting.mask.logits.clone());
            let by_code = grad(loss(&setting, &setting.network, &a).0, &[&a]).remove(0);
            let by_hand = worked(&rows(&setting.x), &weights(&setting)).grad.a;
            given(format!("dL_con/da at omega, which is s (1 - s) dL_con/ds. {GIVEN}")).numbers(
                "dL/da",
                &by_hand,
                by_code.as_slice(),
            )
        },
    },
    Formula {
        id: "meta-1",
        title: "The trial step: where the weights would go, without going there",
        plain: "omega' = omega - eta (mu b + g + wd omega),  g = dL_con/domega at omega",
        latex: r"\omega' = \omega - \eta\, (\mu\, b + g + \mathrm{wd}\; \omega), \qquad
            g = \frac{\partial \mathcal L_{\mathrm{con}}}{\partial \omega} (\omega, a)",
        page: PAGE,
        file: "src/optim/optimizer.rs",
        function: "trial",
        example: || {
            let setting = setting();
            let (at, moved) = trial(&setting);
            let network = leaves(&setting.network);
            let a = Var::constant(setting.mask.logits.clone());
            let omega = params(&network);
            let g = grad(loss(&setting, &network, &a).0, &omega.iter().collect::<Vec<_>>());
            let omega: Vec<Tensor<f64>> = omega.into_iter().map(Var::into_value).collect();
            let by_code = setting.optimizer.trial(&omega, g, &setting.state);
            given(GIVEN)
                .number("L_con at omega", at.loss, loss(&setting, &setting.network, &a).0.item())
                .numbers("w1'", &flat(&moved.w1), by_code[1].as_slice())
        },
    },
    Formula {
        id: "meta-2",
        title: "What the mask minimises: the base method's loss after the trial step",
        plain: "J(a) = L_con(omega'(a), a)",
        latex: r"J(a) = \mathcal L_{\mathrm{con}}\big(\omega'(a),\, a\big)",
        page: PAGE,
        file: FILE,
        function: "at",
        example: || {
            let setting = setting();
            let (_, moved) = trial(&setting);
            let after = worked(&rows(&setting.x), &moved);
            given(GIVEN).number("J", after.loss, exact(&setting.problem()).outer_loss)
        },
    },
    Formula {
        id: "meta-3",
        title: "The mask's gradient through the trial step, exactly",
        plain: "dJ/da = dL_con/da (omega', a) + [d2L/da domega (omega, a)] u,  u = -eta v",
        latex: r"\frac{dJ}{da} = \frac{\partial \mathcal L_{\mathrm{con}}}{\partial a} (\omega', a)
            + \left[ \frac{\partial^2 \mathcal L_{\mathrm{con}}}{\partial a\, \partial \omega}
            (\omega, a) \right] u",
        page: PAGE,
        file: FILE,
        function: "exact",
        example: || {
            let setting = setting();
            let found = exact(&setting.problem());
            let (first, second) = by_hand(&setting);
            let whole: Vec<f64> = first.iter().zip(&second).map(|(f, s)| f + s).collect();
            given(GIVEN)
                .numbers("first-order part", &first, found.first_order.as_slice())
                .numbers("second-order part", &second, found.second_order.as_slice())
                .numbers("dJ/da", &whole, found.gradient.as_slice())
        },
    },
    Formula {
        id: "meta-4",
        title: "The direction u: the outer gradient through the step's own derivative",
        plain: "u = (dstep/dg)^T v,  v = dL_con/domega at omega';  for SGD u = -eta v",
        latex: r"u = \left( \frac{\partial\, \mathrm{step}}{\partial g} \right)^{\!\top} v, \qquad
            v = \frac{\partial \mathcal L_{\mathrm{con}}}{\partial \omega} (\omega', a), \qquad
            \text{for SGD } u = -\eta\, v",
        page: PAGE,
        file: "src/optim/optimizer.rs",
        function: "trial_vjp",
        example: || {
            let setting = setting();
            let (_, moved) = trial(&setting);
            let v = worked(&rows(&setting.x), &moved).grad;
            let tensors = |w: &Weights<f64>| {
                let tensor = |w: &Rows| Tensor::from_vec(flat(w), &[w.len(), w[0].len()]);
                vec![tensor(&w.w0), tensor(&w.w1)]
            };
            let omega = tensors(&weights(&setting));
            let u = setting.optimizer.trial_vjp(&omega, &[], &setting.state, tensors(&v));
            let hand: Vec<f64> = flat(&v.w1).iter().map(|v| -LR * v).collect();
            let length = exact(&setting.problem()).direction_norm.expect("v was computed");
            given(GIVEN).number("|v|", v.length(), length).numbers(
                "u of w1",
                &hand,
                u[1].as_slice(),
            )
        },
    },
    Formula {
        id: "meta-5",
        title: "The second-order part without a second derivative of the encoder",
        plain: "[d2L/da domega] u = d/da ( dG/de (h + e hdot, phi + e u_phi, a) ),  hdot = \
            (dh/dtheta) u_theta",
        latex: r"\left[ \frac{\partial^2 \mathcal L}{\partial a\, \partial \omega} \right] u
            = \frac{\partial}{\partial a}\, \frac{d}{d\varepsilon}\,
            \mathcal L\big(h + \varepsilon \dot h,\; \varphi + \varepsilon u_\varphi,\; a\big)
            \Big|_{\varepsilon = 0}, \qquad \dot h = \frac{\partial h}{\partial \theta}\, u_\theta",
        page: PAGE,
        file: FILE,
        function: "exact",
        example: || {
            let setting = setting();
            let (_, second) = by_hand(&setting);
            given(format!("the push along the encoder and the heads' slope, step by step. {GIVEN}"))
                .numbers(
                    "hdot of view 0, image 1",
                    &tangent(&setting)[..4],
                    &pushed(&setting).0[..4],
                )
                .numbers("second-order part", &second, &pushed(&setting).1)
        },
    },
    Formula {
        id: "meta-6",
        title: "The first-order part alone: the trial weights are taken as constants",
        plain: "dJ/da ~ dL_con/da (omega', a)",
        latex: r"\frac{dJ}{da} \approx
            \frac{\partial \mathcal L_{\mathrm{con}}}{\partial a} (\omega', a)",
        page: PAGE,
        file: FILE,
        function: "first_order",
        example: || {
            let setting = setting();
            given(GIVEN).numbers(
                "dJ/da, first order",
                &by_hand(&setting).0,
                first_order(&setting.problem()).gradient.as_slice(),
            )
        },
    },
    Formula {
        id: "meta-7",
        title: "The published approximation: the second-order part as a central difference",
        plain: "[..] u ~ ( dL/da (omega + e u) - dL/da (omega - e u) ) / (2 e),  e = r / |u|",
        latex: r"\left[ \frac{\partial^2 \mathcal L}{\partial a\, \partial \omega} \right] u \approx
            \frac{\partial_a \mathcal L(\omega + \varepsilon u, a)
            - \partial_a \mathcal L(\omega - \varepsilon u, a)}{2 \varepsilon}, \qquad
            \varepsilon = \frac{r}{\lVert u\rVert}",
        page: PAGE,
        file: FILE,
        function: "finite_difference",
        example: || {
            let setting = setting();
            let (x, omega) = (rows(&setting.x), weights(&setting));
            let (_, moved) = trial(&setting);
            let after = worked(&x, &moved).grad;
            // Along u = -eta v: the length of u times e is r.
            let e = 1e-2 / after.length();
            let [up, down] = [-e, e].map(|e| worked(&x, &omega.plus(e, &after)).grad.a);
            let second = up.iter().zip(&down).map(|(u, d)| (u - d) / (2.0 * e) * LR);
            let whole: Vec<f64> = after.a.iter().zip(second).map(|(f, s)| f + s).collect();
            given(format!("r = 0.01. {GIVEN}")).numbers(
                "dJ/da, approximately",
                &whole,
                finite_difference(&setting.problem(), 1e-2).gradient.as_slice(),
            )
        },
    },
    Formula {
        id: "meta-8",
        title: "The twin: record the trial step and differentiate all of it in reverse",
        plain: "dJ/da = d/da L_con(omega - eta (mu b + g(omega, a) + wd omega), a), by the graph \
            alone",
        latex: r"\frac{dJ}{da} = \frac{d}{da}\, \mathcal L_{\mathrm{con}}\big( \omega
            - \eta\, (\mu\, b + g(\omega, a) + \mathrm{wd}\; \omega),\; a \big)",
        page: PAGE,
        file: FILE,
        function: "reverse_over_reverse",
        example: || {
            let setting = setting();
            let (first, second) = by_hand(&setting);
            let whole: Vec<f64> = first.iter().zip(&second).map(|(f, s)| f + s).collect();
            given(GIVEN).numbers(
                "dJ/da",
                &whole,
                reverse_over_reverse(&setting.problem()).gradient.as_slice(),
            )
        },
    },
    Formula {
        id: "meta-9",
        title: "More than one trial step",
        plain: "b_k+1 = mu b_k + g_k + wd omega_k,  omega_k+1 = omega_k - eta b_k+1,  J = \
            L_con(omega_K, a)",
        latex: r"b_{k+1} = \mu\, b_k + g(\omega_k, a) + \mathrm{wd}\; \omega_k, \qquad
            \omega_{k+1} = \omega_k - \eta\, b_{k+1}, \qquad
            J = \mathcal L_{\mathrm{con}}(\omega_K, a)",
        page: PAGE,
        file: FILE,
        function: "unrolled",
        example: || {
            let setting = setting();
            let x = rows(&setting.x);
            let outer = |a: &[f64]| {
                let mut omega = Weights { a: a.to_vec(), ..weights(&setting) };
                let mut b = buffers(&setting);
                for _ in 0..2 {
                    let g = worked(&x, &omega).grad;
                    b = g.plus(DECAY, &omega).plus(MOMENTUM, &b);
                    omega = omega.plus(-LR, &b);
                }
                worked(&x, &omega).loss
            };
            let found = unrolled(&setting.problem(), 2);
            let slope = |j: usize| {
                let moved = |by: f64| {
                    let mut a = setting.mask.logits.to_vec();
                    a[j] += by;
                    outer(&a)
                };
                (moved(1e-5) - moved(-1e-5)) / 2e-5
            };
            given(format!("two steps; by the formula: central differences of J. {GIVEN}"))
                .number("J", outer(setting.mask.logits.as_slice()), found.outer_loss)
                .numbers("dJ/da", &[0, 1, 2, 3].map(slope), found.gradient.as_slice())
                .within(1e-9)
        },
    },
];

const GIVEN: &str = "The worked example: x0 = m(6, 5, 0.2), x1 = x0 + 0.3 m(6, 5, 1.1), \
     w0 = m(5, 4, 0.3) / 2, w1 = m(4, 3, 0.5) / 2, b = 0.1 m(5, 4, 0.7) and 0.1 m(4, 3, 0.8), \
     a = 0.2 m(1, 4, 0.9); h = tanh(x w0), hbar = s h, z = hbar w1, NT-Xent at t = 0.5; \
     eta = 0.1, mu = 0.9, wd = 0.0005";

/// The worked example, as the library takes it.
pub(super) fn setting() -> Setting<Smooth> {
    let x0 = wave(6, 5, 0.2);
    let x1 = &x0 + &wave(6, 5, 1.1).scale(0.3);
    let linear =
        |name: &str, weight: Tensor<f64>| Linear::unbiased(name, Var::constant(weight.scale(0.5)));
    let layer = MlpLayer { linear: linear("w1", wave(4, 3, 0.5)), norm: None };
    let heads = Heads { redundancy: None, base: Mlp { layers: vec![layer] }, predictor: None };
    let buffers = vec![wave(5, 4, 0.7).scale(0.1), wave(4, 3, 0.8).scale(0.1)];
    let sgd = Sgd { lr: LR, momentum: MOMENTUM, weight_decay: DECAY, ..Sgd::default() };
    let base = Loss::NtXent { temperature: 0.5 };
    Setting {
        network: Network { encoder: Smooth(linear("w0", wave(5, 4, 0.3))), heads },
        state: OptimizerState { slots: vec![buffers], steps: 1 },
        optimizer: Optimizer::Sgd(sgd),
        mask: Mask { logits: wave(1, 4, 0.9).scale(0.2).reshape(&[4]), form: MaskForm::Sigmoid },
        objective: Objective { base, ..Objective::default() },
        anchors: None,
        trial: TrialStep::Contrastive,
        x: Tensor::concat(&[&x0, &x1], 0),
    }
}

/// L_con by the library, and the encoder's features on the way.
fn loss(
    setting: &Setting<Smooth>,
    network: &Network<f64, Smooth>,
    a: &Var<f64>,
) -> (Var<f64>, Var<f64>) {
    let mut pass = Pass::train(2);
    let h = network.encoder.forward(&Var::constant(setting.x.clone()), &mut pass);
    let masked = &h * &setting.mask.form.factors(a);
    (setting.objective.contrastive(&network.heads, &masked, None, &mut pass), h)
}

/// ω and a as plain numbers.
fn weights(setting: &Setting<Smooth>) -> Weights<f64> {
    let w = params(&setting.network);
    let a = setting.mask.logits.to_vec();
    Weights { w0: rows(w[0].value()), w1: rows(w[1].value()), a }
}

fn buffers(setting: &Setting<Smooth>) -> Weights<f64> {
    let slots = &setting.state.slots[0];
    Weights { w0: rows(&slots[0]), w1: rows(&slots[1]), a: Vec::new() }
}

/// The loss at ω and everything on its way, and ω'.
fn trial(setting: &Setting<Smooth>) -> (Worked<f64>, Weights<f64>) {
    let omega = weights(setting);
    let at = worked(&rows(&setting.x), &omega);
    let step = at.grad.plus(DECAY, &omega).plus(MOMENTUM, &buffers(setting));
    let moved = omega.plus(-LR, &step);
    (at, moved)
}

/// Both parts of dJ/da in plain loops: at ω' the gradient in a, at ω the slope of the gradient in a
/// along u.
fn by_hand(setting: &Setting<Smooth>) -> (Vec<f64>, Vec<f64>) {
    let x = rows(&setting.x);
    let (_, moved) = trial(setting);
    let after = worked(&x, &moved).grad;
    let slopes: Vec<Moving> = worked(&x, &weights(setting).along(&after)).grad.a;
    let second = slopes.iter().map(|slope| -LR * slope.slope).collect();
    (after.a, second)
}

/// ḣ by hand: `(1 - h²) (x u)`, row after row.
fn tangent(setting: &Setting<Smooth>) -> Vec<f64> {
    let x = rows(&setting.x);
    let (at, moved) = trial(setting);
    let u: Rows = super::by_hand::turned(&worked(&x, &moved).grad.w0);
    let row = |(x, h): (&Vec<f64>, &Vec<f64>)| {
        let entry = |(h, u): (&f64, &Vec<f64>)| (1.0 - h * h) * -LR * dot(x, u);
        h.iter().zip(&u).map(entry).collect::<Vec<f64>>()
    };
    x.iter().zip(&at.h).flat_map(row).collect()
}

/// ḣ and the second-order part by the library's pushes.
fn pushed(setting: &Setting<Smooth>) -> (Vec<f64>, Vec<f64>) {
    let (_, moved) = trial(setting);
    let v = worked(&rows(&setting.x), &moved).grad;
    let scaled = |w: &Rows| {
        let values = flat(w).iter().map(|v| -LR * v).collect();
        Tensor::from_vec(values, &[w.len(), w[0].len()])
    };
    let (u_theta, u_phi) = (scaled(&v.w0), scaled(&v.w1));
    let network = leaves(&setting.network);
    let a = Var::leaf(setting.mask.logits.clone());
    let (_, features) = loss(setting, &network, &a);
    let theta = params(&network.encoder).remove(0);
    let h_dot = push(&[&features], &[(&theta, &u_theta)]).remove(0);
    // From here on the features are a leaf: no derivative of the encoder is taken twice.
    let h = Var::leaf(features.into_value());
    let masked = &h * &setting.mask.form.factors(&a);
    let objective = &setting.objective;
    let of_heads = objective.contrastive(&network.heads, &masked, None, &mut Pass::train(2));
    let phi = params(&network.heads).remove(0);
    let directions = [&h_dot, &u_phi].map(|u| Var::constant(u.clone()));
    let slope = push_graph(&[&of_heads], &[(&h, &directions[0]), (&phi, &directions[1])]).remove(0);
    (h_dot.to_vec(), grad(slope, &[&a])[0].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The book's chapter 4 walks along these numbers.
    #[test]
    fn the_worked_example_has_the_numbers_of_the_reference() {
        let setting = setting();
        let (at, moved) = trial(&setting);
        let after = worked(&rows(&setting.x), &moved);
        assert!((at.loss - 1.1903442542232145).abs() < 1e-14);
        assert!((after.loss - 1.1512996859668705).abs() < 1e-14);
        assert!((after.grad.length() - 0.5518689301636714).abs() < 1e-14);
        let (first, second) = by_hand(&setting);
        let published = [0.078681221551, -0.042537323777, -0.058927207986, 0.025269772806];
        for (j, expected) in published.iter().enumerate() {
            assert!((first[j] + second[j] - expected).abs() < 1e-12);
        }
        assert!(
            (at.s[0] - super::super::by_hand::sigmoid(setting.mask.logits.as_slice()[0])).abs()
                < 1e-15
        );
        assert_eq!((at.z.len(), at.z[0].len()), (12, 3));
    }
}
