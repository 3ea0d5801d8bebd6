//! Chapter 3: the losses.

use super::by_hand::{Rows, VIEWS, dot, flat, mean, rows, turned, unit, units, views, wave};
use super::{Formula, given};
use crate::Var;
use crate::metamask::{Heads, Objective};
use crate::nn::{Linear, Mlp, MlpLayer, Pass};
use crate::optim::{ema, ema_cosine};
use crate::ssl::{
    BarlowTwins, Dcl, Hcl, Loss, Normalization, Queue, barlow_twins, byol, dcl, hcl, nnclr, nt_xent,
};
use crate::tensor::Tensor;

const PAGE: &str = "docs/book/3-losses.md";

pub(super) const TABLE: &[Formula] = &[
    Formula {
        id: "barlow-1",
        title: "The cross-correlation of two views' features",
        plain: "c_ij = 1/N sum over n of a_ni b_nj, each column with mean 0 and deviation 1",
        latex: r"c_{ij} = \frac1N \sum_n \hat z^0_{ni}\, \hat z^1_{nj}, \qquad
            \hat z_{ni} = \frac{z_{ni} - \mathrm{mean}_n z_{ni}}{\mathrm{std}_n z_{ni}}",
        page: PAGE,
        file: "src/ssl/barlow_twins.rs",
        function: "barlow_twins",
        example: || {
            let two = |x: [f64; 6]| Tensor::from_slice(&x, &[3, 2]);
            let (a, b) =
                (two([1.0, 0.0, 0.0, 2.0, -1.0, 1.0]), two([1.0, 1.0, 0.0, 3.0, -2.0, 0.0]));
            let c = correlation(&a, &b, 0.0, 0.0);
            let whole = |lambda| {
                let normalization = Normalization::BatchNorm { eps: 0.0 };
                let settings = BarlowTwins { lambda, normalization, scale: 1.0 };
                barlow_twins(&constant(&a), &constant(&b), &settings).item()
            };
            let diagonal = (1.0 - c[0][0]).powi(2) + (1.0 - c[1][1]).powi(2);
            given(format!(
                "z0 = (1, 0; 0, 2; -1, 1), z1 = (1, 1; 0, 3; -2, 0): c = ({:.4}, {:.4}; {:.4}, \
                    {:.4})",
                c[0][0], c[0][1], c[1][0], c[1][1]
            ))
            .number("sum (1 - c_ii)^2", diagonal, whole(0.0))
            .number("sum c_ij^2, i and j different", off(&c), whole(1.0) - whole(0.0))
        },
    },
    Formula {
        id: "barlow-2",
        title: "Barlow Twins: the cross-correlation should be the identity",
        plain: "L = sum over i of (1 - c_ii)^2 + lambda sum over i, j different of c_ij^2",
        latex: r"\mathcal L_{\mathrm{BT}} = \sum_i (1 - c_{ii})^2
            + \lambda \sum_{i \ne j} c_{ij}^2",
        page: PAGE,
        file: "src/ssl/barlow_twins.rs",
        function: "barlow_twins",
        example: || {
            let [a, b] = views();
            let value = |lambda: f64, (correction, eps): (f64, f64)| {
                let c = correlation(&a, &b, correction, eps);
                (0..4).map(|i| (1.0 - c[i][i]).powi(2)).sum::<f64>() + lambda * off(&c)
            };
            let published = BarlowTwins {
                lambda: 0.0051,
                normalization: Normalization::BatchNorm { eps: 1e-5 },
                scale: 1.0,
            };
            let code = |settings| barlow_twins(&constant(&a), &constant(&b), &settings).item();
            given(VIEWS)
                .number(
                    "MetaMask's, lambda 0.005",
                    value(5e-3, (1.0, 0.0)),
                    code(BarlowTwins::default()),
                )
                .number("its authors', lambda 0.0051", value(0.0051, (0.0, 1e-5)), code(published))
        },
    },
    Formula {
        id: "barlow-3",
        title: "The sum of squares of the cross-correlation by rows, for wide projections",
        plain: "sum c_ij^2 = 1/N^2 sum over n, m of (a_n.a_m) (b_n.b_m), a and b standardised",
        latex: r"\sum_{ij} c_{ij}^2 = \frac{1}{N^2} \sum_{nm}
            (\hat z^0_n \cdot \hat z^0_m)\, (\hat z^1_n \cdot \hat z^1_m)",
        page: PAGE,
        file: "src/ssl/barlow_twins.rs",
        function: "squares_by_rows",
        example: || {
            // Three rows of eight: twice the rows are fewer than the columns.
            let (a, b) = (wave(3, 8, 0.1), wave(3, 8, 2.0));
            let whole = |lambda| {
                let normalization = Normalization::BatchNorm { eps: 0.0 };
                let settings = BarlowTwins { lambda, normalization, scale: 1.0 };
                barlow_twins(&constant(&a), &constant(&b), &settings).item()
            };
            let [x, y] = [&a, &b].map(|z| turned(&standardized(z, 0.0, 0.0)));
            let pairs = (0..9).map(|at| (at / 3, at % 3));
            let all: f64 = pairs.map(|(n, m)| dot(&x[n], &x[m]) * dot(&y[n], &y[m]) / 9.0).sum();
            let c = correlation(&a, &b, 0.0, 0.0);
            let diagonal: f64 = (0..8).map(|i| c[i][i] * c[i][i]).sum();
            given("z0 = m(3, 8, 0.1), z1 = m(3, 8, 2.0)").number(
                "sum c_ij^2, i and j different",
                all - diagonal,
                whole(1.0) - whole(0.0),
            )
        },
    },
    Formula {
        id: "simclr-1",
        title: "NT-Xent: find the other view of an image among all views",
        plain: "L = mean over the 2N anchors of -ln( e^(u_i.u_p(i)/t) / sum over k not i of \
            e^(u_i.u_k/t) )",
        latex: r"\mathcal L_{\mathrm{NT}} = -\frac{1}{2N} \sum_{i=1}^{2N} \ln
            \frac{e^{u_i \cdot u_{p(i)} / \tau}}{\sum_{k \ne i} e^{u_i \cdot u_k / \tau}}",
        page: PAGE,
        file: "src/ssl/simclr.rs",
        function: "nt_xent",
        example: || {
            let [a, b] = views();
            let value =
                |t: f64| mean(anchors(&a, &b, t).iter().map(|a| -a.positive.ln() + a.all().ln()));
            let code = |t| nt_xent(&constant(&a), &constant(&b), t).item();
            given(VIEWS).number("L at t = 0.5", value(0.5), code(0.5)).number(
                "L at t = 0.07",
                value(0.07),
                code(0.07),
            )
        },
    },
    Formula {
        id: "byol-1",
        title: "BYOL: predict the target's projection of the other view",
        plain: "L = mean over images of |n(p0) - n(t1)|^2 + |n(p1) - n(t0)|^2,  n(z) = z / |z|",
        latex: r"\mathcal L_{\mathrm{BYOL}} = \frac1N \sum_n \left(
            \left\lVert \frac{p^0_n}{\lVert p^0_n\rVert} - \frac{t^1_n}{\lVert t^1_n\rVert}
            \right\rVert^2 + \left\lVert \frac{p^1_n}{\lVert p^1_n\rVert}
            - \frac{t^0_n}{\lVert t^0_n\rVert} \right\rVert^2 \right)",
        page: PAGE,
        file: "src/ssl/byol.rs",
        function: "byol",
        example: || {
            let [a, b] = views();
            let apart = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum();
            let pairs = units(&a).into_iter().zip(units(&b));
            let one: f64 = mean(pairs.map(|(x, y)| apart(&x, &y)));
            given(format!("predictions A of view 0 and B of view 1, targets the same; {VIEWS}"))
                .number("L", 2.0 * one, byol(&constant(&a), &constant(&b), &a, &b).item())
        },
    },
    Formula {
        id: "byol-2",
        title: "BYOL's target follows the trained network",
        plain: "xi <- tau xi + (1 - tau) theta",
        latex: r"\xi \leftarrow \tau\, \xi + (1 - \tau)\, \theta",
        page: PAGE,
        file: "src/optim/ema.rs",
        function: "ema",
        example: || {
            let [target, online] = [1.0, 3.0].map(Tensor::scalar);
            given("xi = 1, theta = 3, tau = 0.9").number(
                "xi",
                0.9 + 0.1 * 3.0,
                ema(target, &online, 0.9).item(),
            )
        },
    },
    Formula {
        id: "byol-3",
        title: "How much of itself the target keeps, over the steps",
        plain: "tau_k = 1 - (1 - tau_base) (1 + cos(pi k / K)) / 2",
        latex: r"\tau_k = 1 - (1 - \tau_{\mathrm{base}})\, \frac{1 + \cos(\pi k / K)}{2}",
        page: PAGE,
        file: "src/optim/schedule.rs",
        function: "ema_cosine",
        example: || {
            let hand = [0.99, 1.0 - 0.01 * 0.5, 1.0];
            given("tau_base = 0.99, K = 100, at k = 0, 50, 100").numbers(
                "tau",
                &hand,
                &[0, 50, 100].map(|k| ema_cosine(0.99, k, 100)),
            )
        },
    },
    Formula {
        id: "dcl-1",
        title: "The negatives without those of the anchor's own class",
        plain: "N_g = max( (S - tau_plus n p) / (1 - tau_plus), n e^(-1/t) ),  n = 2N - 2",
        latex: r"N_g = \max\!\left( \frac{S - \tau^+ n\, p}{1 - \tau^+},\; n\, e^{-1/\tau} \right),
            \qquad n = 2N - 2",
        page: PAGE,
        file: "src/ssl/negatives.rs",
        function: "loss",
        example: || {
            // Two images in two dimensions, everything at right angles: S = 2, p = e^(1/t).
            let rows = Tensor::from_rows(&[&[1.0, 0.0], &[0.0, 1.0]]);
            let p = 2f64.exp();
            let value = |tau: f64| {
                let estimate = ((2.0 - tau * 2.0 * p) / (1.0 - tau)).max(2.0 * (-2f64).exp());
                (p + estimate).ln() - 2.0
            };
            let code = |tau_plus| {
                let settings = Dcl { temperature: 0.5, tau_plus };
                dcl(&constant(&rows), &constant(&rows), &settings).item()
            };
            given("two images at right angles, both views the same, t = 0.5: p = e^2, S = 2, n = 2")
                .number("L with tau_plus 0.1", value(0.1), code(0.1))
                .number("L with tau_plus 0.5, where the bound is reached", value(0.5), code(0.5))
        },
    },
    Formula {
        id: "dcl-2",
        title: "DCL: contrast with the debiased negatives",
        plain: "L = mean over anchors of -ln( p / (p + N_g) ),  p = e^(o.o+/t),  S = sum of \
            e^(o.o_j/t)",
        latex: r"\mathcal L_{\mathrm{DCL}} = -\frac{1}{2N} \sum_o \ln \frac{p}{p + N_g}, \qquad
            p = e^{o \cdot o^+ / \tau}, \qquad S = \sum_j e^{o \cdot o_j / \tau}",
        page: PAGE,
        file: "src/ssl/dcl.rs",
        function: "dcl",
        example: || {
            let [a, b] = views();
            let value = mean(
                anchors(&a, &b, 0.5).iter().map(|a| a.contrast(a.negatives.iter().sum(), 0.1, 0.5)),
            );
            let code = dcl(&constant(&a), &constant(&b), &Dcl::default()).item();
            given(VIEWS).number("L at t = 0.5, tau_plus = 0.1", value, code)
        },
    },
    Formula {
        id: "hcl-1",
        title: "HCL: negatives count for more the harder they are",
        plain: "R = n sum of e^((1 + beta) o.o_j/t) / sum of e^(beta o.o_j/t), in the place of \
            DCL's S",
        latex: r"R = n\, \frac{\sum_j e^{(1 + \beta)\, o \cdot o_j / \tau}}
            {\sum_j e^{\beta\, o \cdot o_j / \tau}}",
        page: PAGE,
        file: "src/ssl/hcl.rs",
        function: "hcl",
        example: || {
            let [a, b] = views();
            let value = |beta: f64| {
                mean(anchors(&a, &b, 0.5).iter().map(|a| {
                    let power = |by: f64| a.negatives.iter().map(|n| n.powf(by)).sum::<f64>();
                    let hard = a.negatives.len() as f64 * power(1.0 + beta) / power(beta);
                    a.contrast(hard, 0.1, 0.5)
                }))
            };
            let code =
                |beta| hcl(&constant(&a), &constant(&b), &Hcl { beta, ..Hcl::default() }).item();
            given(format!("t = 0.5, tau_plus = 0.1; {VIEWS}"))
                .number("L with beta 1", value(1.0), code(1.0))
                .number("L with beta 0.5", value(0.5), code(0.5))
        },
    },
    Formula {
        id: "nnclr-1",
        title: "NNCLR's neighbour: the nearest of the past projections",
        plain: "k = the row q of Q with the largest q . n(z)",
        latex: r"k(z) = \arg\max_{q \in Q}\; q \cdot \frac{z}{\lVert z\rVert}",
        page: PAGE,
        file: "src/ssl/nnclr.rs",
        function: "nearest_rows",
        example: || {
            let (queue, [z, _]) = (queue(), views());
            let code: Vec<f64> = queue.nearest_rows(&z).iter().map(|&at| f64::from(at)).collect();
            let hand: Vec<f64> =
                nearest(&rows(&queue.rows), &units(&z)).iter().map(|&at| at as f64).collect();
            given("Q = the 8 unit rows of m(8, 4, 1.7), z = A: the positions of the neighbours")
                .numbers("k", &hand, &code)
        },
    },
    Formula {
        id: "nnclr-2",
        title: "NNCLR: tell the prediction of an image from the others' by its neighbour",
        plain: "L = 1/2 CE(k0 n(p1)^T / t, diagonal) + 1/2 CE(k1 n(p0)^T / t, diagonal)",
        latex: r"\mathcal L_{\mathrm{NN}} = -\frac{1}{2N} \sum_n \left( \ln
            \frac{e^{k^0_n \cdot u^1_n / \tau}}{\sum_m e^{k^0_n \cdot u^1_m / \tau}}
            + \ln \frac{e^{k^1_n \cdot u^0_n / \tau}}{\sum_m e^{k^1_n \cdot u^0_m / \tau}} \right),
            \qquad u = \frac{p}{\lVert p\rVert}",
        page: PAGE,
        file: "src/ssl/nnclr.rs",
        function: "nnclr",
        example: || {
            let (queue, [z0, z1]) = (queue(), views());
            let (p0, p1) = (wave(6, 4, 0.4), wave(6, 4, 0.6));
            let neighbours = |z: &Tensor<f64>| -> Rows {
                let found = nearest(&rows(&queue.rows), &units(z));
                found.into_iter().map(|at| rows(&queue.rows)[at].clone()).collect()
            };
            let direction = |k: &Rows, u: &Rows| {
                mean(k.iter().enumerate().map(|(n, k)| {
                    let terms: Vec<f64> = u.iter().map(|u| (dot(k, u) / 0.1).exp()).collect();
                    terms.iter().sum::<f64>().ln() - terms[n].ln()
                }))
            };
            let hand = 0.5 * direction(&neighbours(&z0), &units(&p1))
                + 0.5 * direction(&neighbours(&z1), &units(&p0));
            let [k0, k1] = [&z0, &z1].map(|z| queue.nearest(z));
            let code = nnclr(&constant(&p0), &constant(&p1), &k0, &k1, 0.1).item();
            given("Q as for nnclr-1, z0 = A, z1 = B, p0 = m(6, 4, 0.4), p1 = m(6, 4, 0.6), t = 0.1")
                .number("L", hand, code)
        },
    },
    Formula {
        id: "nnclr-3",
        title: "The queue: first in, first out, unit rows",
        plain: "Q[next] <- n(z_n), next <- next + 1 (mod S)",
        latex: r"Q_{\mathrm{next}} \leftarrow \frac{z_n}{\lVert z_n\rVert}, \qquad
            \mathrm{next} \leftarrow \mathrm{next} + 1 \pmod S",
        page: PAGE,
        file: "src/ssl/nnclr.rs",
        function: "enqueue",
        example: || {
            let mut start = queue();
            start.next = 7;
            let z = Tensor::from_rows(&[&[3.0, 0.0, 4.0, 0.0], &[0.0, 2.0, 0.0, 0.0]]);
            let mut hand = rows(&start.rows);
            hand[7] = vec![0.6, 0.0, 0.8, 0.0];
            hand[0] = vec![0.0, 1.0, 0.0, 0.0];
            let after = start.enqueue(&z);
            given("8 rows, the next place is the last, two projections (3, 0, 4, 0), (0, 2, 0, 0)")
                .number("next", 1.0, after.next as f64)
                .numbers("Q", &flat(&hand), after.rows.as_slice())
        },
    },
    Formula {
        id: "start-1",
        title: "What a loss is of random projections, where training starts",
        plain: "NT-Xent, DCL, HCL: about ln(2N - 1); NNCLR: ln N; BYOL: 4; Barlow Twins: about D",
        latex: r"\mathcal L_{\mathrm{NT}} \approx \ln(2N - 1), \quad
            \mathcal L_{\mathrm{NN}} \approx \ln N, \quad \mathcal L_{\mathrm{BYOL}} \approx 4,
            \quad
            \mathcal L_{\mathrm{BT}} \approx D \left(1 + \tfrac1N + \lambda \tfrac{D -
            1}{N}\right)",
        page: PAGE,
        file: "src/ssl/mod.rs",
        function: "at_start",
        example: || {
            let twins = Loss::BarlowTwins(BarlowTwins::default()).at_start(256, 128);
            let hand =
                [511f64.ln(), 4.0, 256f64.ln(), 128.0 * (1.0 + (1.0 + 0.005 * 127.0) / 256.0)];
            let nt_xent = Loss::NtXent { temperature: 0.5 }.at_start(256, 128);
            let nnclr = Loss::Nnclr { temperature: 0.1 }.at_start(256, 128);
            let code = [nt_xent, Loss::Byol.at_start(256, 128), nnclr, twins];
            given("a batch of N = 256 and D = 128: NT-Xent, BYOL, NNCLR, Barlow Twins")
                .numbers("L", &hand, &code)
        },
    },
    Formula {
        id: "joint-1",
        title: "What the networks minimise with MetaMask",
        plain: "L = w_drr L_drr + w_con L_con, both of the masked features, each on its own head",
        latex: r"\mathcal L = w_{\mathrm{drr}}\, \mathcal L_{\mathrm{drr}}(g_r(\bar h))
            + w_{\mathrm{con}}\, \mathcal L_{\mathrm{con}}(g_c(\bar h))",
        page: PAGE,
        file: "src/metamask/objective.rs",
        function: "joint",
        example: || {
            let [a, b] = views();
            let head = || {
                // The identity, so that the losses are those of A and B.
                let weight = Tensor::from_fn(&[4, 4], |i| f64::from(u8::from(i % 5 == 0)));
                let linear = Linear::unbiased("fc1", Var::constant(weight));
                Mlp { layers: vec![MlpLayer { linear, norm: None }] }
            };
            let heads = Heads { redundancy: Some(head()), base: head(), predictor: None };
            let x = Var::concat(&[&constant(&a), &constant(&b)], 0);
            let joint = Objective::default().joint(&heads, &x, None, &mut Pass::train(2));
            let con = mean(anchors(&a, &b, 0.07).iter().map(|a| -a.positive.ln() + a.all().ln()));
            let c = correlation(&a, &b, 1.0, 0.0);
            let drr = (0..4).map(|i| (1.0 - c[i][i]).powi(2)).sum::<f64>() + 5e-3 * off(&c);
            given(format!("heads that change nothing, w_con = 10, w_drr = 1, t = 0.07; {VIEWS}"))
                .number("L_con", con, joint.con.item())
                .number("L_drr", drr, joint.drr.expect("it has the head").item())
                .number("L", drr + 10.0 * con, joint.total.item())
        },
    },
];

fn constant(x: &Tensor<f64>) -> Var<f64> {
    Var::constant(x.clone())
}

/// The columns, each with mean 0 and deviation 1, the deviation being
/// `√(Σ (z - mean)² / (N - correction) + eps)`.
fn standardized(x: &Tensor<f64>, correction: f64, eps: f64) -> Rows {
    let column = |column: &Vec<f64>| {
        let middle = mean(column.iter().copied());
        let squares: f64 = column.iter().map(|x| (x - middle).powi(2)).sum();
        let deviation = (squares / (column.len() as f64 - correction) + eps).sqrt();
        column.iter().map(|x| (x - middle) / deviation).collect()
    };
    turned(&rows(x)).iter().map(column).collect()
}

/// The cross-correlation of columns that are [`standardized`].
fn correlation(a: &Tensor<f64>, b: &Tensor<f64>, correction: f64, eps: f64) -> Rows {
    let n = a.shape()[0] as f64;
    let [a, b] = [a, b].map(|x| standardized(x, correction, eps));
    a.iter().map(|a| b.iter().map(|b| dot(a, b) / n).collect()).collect()
}

/// The squares off the diagonal.
fn off(c: &Rows) -> f64 {
    let all: f64 = c.iter().map(|row| dot(row, row)).sum();
    all - (0..c.len()).map(|i| c[i][i] * c[i][i]).sum::<f64>()
}

/// An anchor's exponentials.
struct Anchor {
    positive: f64,
    negatives: Vec<f64>,
}

impl Anchor {
    fn all(&self) -> f64 {
        self.positive + self.negatives.iter().sum::<f64>()
    }

    /// DCL's loss of one anchor, given the sum over its negatives in some measure.
    fn contrast(&self, negatives: f64, tau_plus: f64, t: f64) -> f64 {
        let (n, p) = (self.negatives.len() as f64, self.positive);
        let estimate =
            ((negatives - tau_plus * n * p) / (1.0 - tau_plus)).max(n * (-1.0 / t).exp());
        (p + estimate).ln() - p.ln()
    }
}

/// All 2N anchors of two views.
fn anchors(a: &Tensor<f64>, b: &Tensor<f64>, t: f64) -> Vec<Anchor> {
    let u: Rows = units(a).into_iter().chain(units(b)).collect();
    let (rows, n) = (u.len(), a.shape()[0]);
    let anchor = |i: usize| {
        let similar = |k: usize| (dot(&u[i], &u[k]) / t).exp();
        let others = (0..rows).filter(|&k| k != i && k != (i + n) % rows);
        Anchor { positive: similar((i + n) % rows), negatives: others.map(similar).collect() }
    };
    (0..rows).map(anchor).collect()
}

fn queue() -> Queue<f64> {
    let rows = flat(&rows(&wave(8, 4, 1.7)).iter().map(|row| unit(row)).collect());
    Queue { rows: Tensor::from_vec(rows, &[8, 4]), next: 0 }
}

/// The position of the row of `bank` with the largest product with each of `rows`.
fn nearest(bank: &Rows, rows: &Rows) -> Vec<usize> {
    let best = |row: &Vec<f64>| {
        let found =
            (0..bank.len()).max_by(|&i, &j| dot(&bank[i], row).total_cmp(&dot(&bank[j], row)));
        found.unwrap_or(0)
    };
    rows.iter().map(best).collect()
}
