//! Chapter 4, its end: update rules and schedules.

use super::{Formula, given};
use crate::Var;
use crate::optim::{
    Adam, AdamDecay, Clip, Lars, LarsForm, Optimizer, OptimizerState, Scope, Sgd, cosine,
    warmup_cosine,
};
use crate::tensor::Tensor;

const PAGE: &str = "docs/book/4-mask.md";

pub(super) const TABLE: &[Formula] = &[
    Formula {
        id: "sgd-1",
        title: "Gradient descent with momentum and weight decay",
        plain: "d = g + wd p,  b <- mu b + d,  p <- p - eta b",
        latex: r"d = g + \mathrm{wd}\; p, \qquad b \leftarrow \mu\, b + d, \qquad
            p \leftarrow p - \eta\, b",
        page: PAGE,
        file: "src/optim/sgd.rs",
        function: "update",
        example: || {
            let rule = Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.01, ..Sgd::default() };
            let (p, slots) = step(Optimizer::Sgd(rule), &[1.0], &[2.0], &[&[0.5]], 1);
            let b = 0.9 * 0.5 + 2.0 + 0.01;
            given("p = 1, g = 2, b = 0.5, eta = 0.1, mu = 0.9, wd = 0.01")
                .number("b", b, slots[0][0])
                .number("p", 1.0 - 0.1 * b, p[0])
        },
    },
    Formula {
        id: "lars-1",
        title: "LARS: a step in proportion to the length of the layer's weights",
        plain: "d = g + wd p,  d <- kappa |p| / |d| d,  b <- mu b + d,  p <- p - eta b",
        latex: r"d = g + \mathrm{wd}\; p, \qquad
            d \leftarrow \kappa\, \frac{\lVert p\rVert}{\lVert d\rVert}\, d, \qquad
            b \leftarrow \mu\, b + d, \qquad p \leftarrow p - \eta\, b",
        page: PAGE,
        file: "src/optim/lars.rs",
        function: "update",
        example: || {
            let (p, slots) =
                step(lars(LarsForm::Outside), &[3.0, 4.0], &[0.0, 2.0], &[&[0.0, 0.0]], 1);
            // |p| = 5, |d| = 2.
            given("p = (3, 4), g = (0, 2), b = 0, eta = 0.5, kappa = 0.1, mu = 0.9, wd = 0")
                .numbers("b", &[0.0, 0.1 * 5.0 / 2.0 * 2.0], &slots[0])
                .numbers("p", &[3.0, 4.0 - 0.5 * 0.5], &p)
        },
    },
    Formula {
        id: "lars-2",
        title: "The local rate of solo-learn's LARS, at most the global one",
        plain: "local = min( kappa |p| / (|g| + wd |p| + eps) / eta, 1 )",
        latex: r"\ell = \min\!\left( \frac{\kappa \lVert p\rVert}
            {\eta\, (\lVert g\rVert + \mathrm{wd} \lVert p\rVert + \epsilon)},\; 1 \right)",
        page: PAGE,
        file: "src/optim/lars.rs",
        function: "local_rate",
        example: || {
            let form = LarsForm::Clipped { eps: 0.0, clip: Clip::On };
            let (p, _) = step(lars(form), &[3.0, 4.0], &[0.0, 2.0], &[&[0.0, 0.0]], 1);
            let (small, _) = step(lars(form), &[3.0, 4.0], &[0.0, 0.2], &[&[0.0, 0.0]], 1);
            let local = 0.1 * 5.0 / 2.0 / 0.5;
            given(
                "p = (3, 4), b = 0, eta = 0.5, kappa = 0.1, wd = eps = 0; g = (0, 2), then (0, \
                0.2)",
            )
            .number("p[2]", 4.0 - 0.5 * local * 2.0, p[1])
            .number("p[2], at the bound", 4.0 - 0.5 * 0.2, small[1])
        },
    },
    Formula {
        id: "adam-1",
        title: "Adam: a mean of gradients over the root of a mean of their squares",
        plain: "m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,  p <- p - eta (m / (1 - \
            b1^t)) / (sqrt(v / (1 - b2^t)) + eps)",
        latex: r"m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \quad
            v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2, \quad
            p \leftarrow p - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} +
            \epsilon}",
        page: PAGE,
        file: "src/optim/adam.rs",
        function: "update",
        example: || {
            let rule = Adam {
                lr: 0.1,
                betas: [0.9, 0.99],
                eps: 1e-8,
                weight_decay: 0.0,
                decay: AdamDecay::L2,
                scope: Scope::All,
            };
            let (p, slots) = step(Optimizer::Adam(rule), &[1.0], &[2.0], &[&[0.5], &[1.0]], 3);
            let (m, v) = (0.9 * 0.5 + 0.1 * 2.0, 0.99 + 0.01 * 4.0);
            let (mean, square) = (m / (1.0 - 0.9f64.powi(3)), v / (1.0 - 0.99f64.powi(3)));
            given("p = 1, g = 2, m = 0.5, v = 1, t = 3, eta = 0.1, b1 = 0.9, b2 = 0.99, eps = 1e-8")
                .number("m", m, slots[0][0])
                .number("v", v, slots[1][0])
                .number("p", 1.0 - 0.1 * mean / (square.sqrt() + 1e-8), p[0])
        },
    },
    Formula {
        id: "schedule-1",
        title: "The cosine schedule of the learning rate",
        plain: "eta_t = eta_min + (eta - eta_min) (1 + cos(pi t / T)) / 2",
        latex: r"\eta_t = \eta_{\min} + (\eta - \eta_{\min})\, \frac{1 + \cos(\pi t / T)}{2}",
        page: PAGE,
        file: "src/optim/schedule.rs",
        function: "cosine",
        example: || {
            let hand = [0.1, 0.1 * (1.0 + 0.5f64.sqrt()) / 2.0, 0.05, 0.0];
            given("eta = 0.1, eta_min = 0, T = 4, at t = 0, 1, 2, 4").numbers(
                "eta",
                &hand,
                &[0, 1, 2, 4].map(|t| cosine(0.1, 0.0, t, 4)),
            )
        },
    },
    Formula {
        id: "schedule-2",
        title: "The same after a linear rise",
        plain: "eta_t = eta t / W while t < W, then the cosine over the other T - W steps, down \
            to f eta",
        latex: r"\eta_t = \begin{cases} \eta\, t / W & t < W \\
            \eta \left( q + f (1 - q) \right), \; q = \frac{1 + \cos(\pi (t - W) / (T - W))}{2}
            & t \ge W \end{cases}",
        page: PAGE,
        file: "src/optim/schedule.rs",
        function: "warmup_cosine",
        example: || {
            let hand = [0.0, 0.5, 1.0, 0.5 + 0.1 * 0.5, 0.1];
            given("eta = 1, W = 2, T = 6, f = 0.1, at t = 0, 1, 2, 4, 6").numbers(
                "eta",
                &hand,
                &[0, 1, 2, 4, 6].map(|t| warmup_cosine(1.0, t, 2, 6, 0.1)),
            )
        },
    },
];

fn lars(form: LarsForm) -> Optimizer {
    Optimizer::Lars(Lars {
        lr: 0.5,
        momentum: 0.9,
        weight_decay: 0.0,
        eta: 0.1,
        form,
        scope: Scope::All,
    })
}

/// One parameter after one step, and its slots; the differentiable rule and the one in place agree.
fn step(
    rule: Optimizer,
    p: &[f64],
    g: &[f64],
    slots: &[&[f64]],
    t: usize,
) -> (Vec<f64>, Vec<Vec<f64>>) {
    let tensor = |x: &[f64]| Tensor::from_slice(x, &[x.len()]);
    let var = |x: &[f64]| Var::constant(tensor(x));
    let vars: Vec<Var<f64>> = slots.iter().map(|slot| var(slot)).collect();
    let (next, next_slots) = rule.update(&var(p), &var(g), &vars, t);
    let state = OptimizerState {
        slots: slots.iter().map(|slot| vec![tensor(slot)]).collect(),
        steps: t - 1,
    };
    let (in_place, _) = rule.step(vec![tensor(p)], &[tensor(g)], state);
    let pairs = in_place[0].as_slice().iter().zip(next.value().as_slice());
    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-12), "two ways of {rule:?}");
    (next.value().to_vec(), next_slots.iter().map(|slot| slot.value().to_vec()).collect())
}
