//! Chapter 6: how features are judged.

use super::by_hand::{Rows, dot, flat, mean, rows, turned, unit, units, wave};
use super::{Formula, given};
use crate::eval::bound::{BoundSettings, bound};
use crate::eval::dimensions::{correlation_ratio, spearman};
use crate::eval::interval::Interval;
use crate::eval::knn::{Vote, knn};
use crate::eval::linear_probe::{LinearProbe, linear_probe};
use crate::eval::statistics::effective_rank;
use crate::tensor::Tensor;

const PAGE: &str = "docs/book/6-experiments.md";

pub(super) const TABLE: &[Formula] = &[
    Formula {
        id: "knn-1",
        title: "The vote of the nearest neighbours",
        plain: "score_c = sum of e^(s/t) over the k nearest bank rows of class c, s the cosine",
        latex: r"\mathrm{score}_c = \sum_{i \,\in\, \mathrm{nearest}_k,\; y_i = c} e^{s_i / t},
            \qquad s_i = \frac{\langle q, b_i \rangle}{\lVert q\rVert \lVert b_i\rVert}",
        page: PAGE,
        file: "src/eval/knn.rs",
        function: "knn",
        example: || {
            let (bank, query) = (wave(6, 3, 0.1), wave(1, 3, 0.5));
            let labels = [0, 1, 0, 1, 1, 0];
            let found =
                knn(&bank, &labels, &query, 2, &[Vote { k: 3, temperature: 0.5 }]).remove(0);
            let q = unit(query.as_slice());
            let mut near: Vec<(f64, u32)> =
                units(&bank).iter().zip(labels).map(|(b, label)| (dot(b, &q), label)).collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            let score = |class| {
                let own = near[..3].iter().filter(|(_, label)| *label == class);
                own.map(|(s, _)| (s / 0.5).exp()).sum::<f64>()
            };
            given(
                "bank m(6, 3, 0.1) with labels 0, 1, 0, 1, 1, 0, query m(1, 3, 0.5), k = 3, t \
                = 0.5",
            )
            .numbers("score", &[score(0), score(1)], found.scores.as_slice())
        },
    },
    Formula {
        id: "probe-1",
        title: "The linear probe's gradient, which needs no graph",
        plain: "dW = X^T (P - Y) / N,  P = softmax(X W + b), Y the one-hot labels",
        latex: r"\frac{\partial L}{\partial W} = \frac1N X^\top (P - Y), \qquad
            P = \mathrm{softmax}(X W + b)",
        page: PAGE,
        file: "src/eval/linear_probe.rs",
        function: "cross_entropy_grad",
        example: || {
            let (x, labels) =
                (Tensor::from_rows(&[&[1.0f64], &[2.0], &[3.0], &[6.0]]), [0, 0, 1, 1]);
            let once = LinearProbe { epochs: 1, batch_size: 4, lr: 1.0, momentum: 0.0 };
            let scores = linear_probe(&x, &labels, 2, &once, 1).scores(&x);
            // Standardised by mean 3 and variance 3.5; at W = 0 both classes have probability 1/2.
            let normal = [1.0, 2.0, 3.0, 6.0].map(|x| (x - 3.0) / 3.5f64.sqrt());
            let slope = mean((0..4).map(|n| normal[n] * (0.5 - f64::from(1 - labels[n]))));
            let expected: Vec<f64> = normal.iter().flat_map(|x| [-slope * x, slope * x]).collect();
            given("x = 1, 2, 3, 6 with labels 0, 0, 1, 1: one step of rate 1 from W = 0, b = 0")
                .numbers("score", &expected, scores.as_slice())
        },
    },
    Formula {
        id: "ratio-1",
        title: "How much of a dimension's variance lies between groups",
        plain: "eta^2 = sum over c of n_c (mean_c - mean)^2 / sum over i of (x_i - mean)^2",
        latex: r"\eta^2 = \frac{\sum_c n_c (\mu_c - \mu)^2}{\sum_i (x_i - \mu)^2}",
        page: PAGE,
        file: "src/eval/dimensions.rs",
        function: "correlation_ratio",
        example: || {
            let x = Tensor::from_rows(&[&[1.0, 1.0], &[3.0, 0.0], &[5.0, 1.0], &[7.0, 0.0]]);
            // Of the first column: means 2 and 6 around 4, squares 9 + 1 + 1 + 9.
            given("columns (1, 3, 5, 7) and (1, 0, 1, 0), groups 0, 0, 1, 1").numbers(
                "eta^2",
                &[16.0 / 20.0, 0.0],
                &correlation_ratio(&x, &[0, 0, 1, 1], 2),
            )
        },
    },
    Formula {
        id: "spearman-1",
        title: "The rank correlation",
        plain: "rho = the correlation of the ranks",
        latex: r"\rho = \frac{\sum_i (r_i - \bar r)(q_i - \bar q)}
            {\sqrt{\sum_i (r_i - \bar r)^2 \sum_i (q_i - \bar q)^2}}",
        page: PAGE,
        file: "src/eval/dimensions.rs",
        function: "spearman",
        example: || {
            // Ranks 0, 1, 2, 3 and 1, 0, 2, 3: 1 - 6 · 2 / (4 · 15).
            let (a, b) = ([0.1, 0.2, 0.3, 10.0], [5.0, 4.0, 6.0, 7.0]);
            given("(0.1, 0.2, 0.3, 10) and (5, 4, 6, 7)").number("rho", 0.8, spearman(&a, &b))
        },
    },
    Formula {
        id: "rank-1",
        title: "How many dimensions features use",
        plain: "rank = exp( -sum of p ln p ),  p = sigma / sum of sigma, sigma the singular values",
        latex: r"\mathrm{rank} = \exp\Big( -\sum_k p_k \ln p_k \Big), \qquad
            p_k = \frac{\sigma_k}{\sum_l \sigma_l}",
        page: PAGE,
        file: "src/eval/statistics.rs",
        function: "effective_rank",
        example: || {
            // Centred already, columns at right angles, of lengths 3 √2 and √2.
            let x = Tensor::from_rows(&[&[3.0, 0.0], &[-3.0, 0.0], &[0.0, 1.0], &[0.0, -1.0]]);
            let hand = (-(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln())).exp();
            given("(3, 0), (-3, 0), (0, 1), (0, -1): p = 3/4, 1/4").number(
                "rank",
                hand,
                effective_rank(&x),
            )
        },
    },
    Formula {
        id: "interval-1",
        title: "How far the mean of a few runs can be trusted",
        plain: "mean +- t s / sqrt(n),  t the 95 % point of Student's distribution, n - 1 \
            degrees of freedom",
        latex: r"\bar x \pm t_{0.95,\,n-1} \frac{s}{\sqrt n}, \qquad
            s^2 = \frac{1}{n - 1} \sum_i (x_i - \bar x)^2",
        page: PAGE,
        file: "src/eval/interval.rs",
        function: "of",
        example: || {
            let found = Interval::of(&[1.0, 2.0, 3.0]).expect("there are values");
            // Of two degrees of freedom the point is √(2 / (1/0.95² - 1)).
            let point = (2.0 / (1.0 / (0.95 * 0.95) - 1.0f64)).sqrt();
            given("1, 2, 3: s = 1")
                .number("mean", 2.0, found.mean)
                .number("half", point / 3f64.sqrt(), found.half)
                .within(1e-9)
        },
    },
    Formula {
        id: "bound-1",
        title: "Every term between the contrastive and the supervised loss",
        plain: "L_con - ln M - (L_CE - ln K) = A + B + C",
        latex: r"\mathcal L_{\mathrm{con}} - \ln M - (\mathcal L_{\mathrm{CE}} - \ln K) = A + B +
            C",
        page: PAGE,
        file: "src/eval/bound.rs",
        function: "bound",
        example: || {
            let (u, positive) = (wave(8, 3, 0.1), wave(8, 3, 0.3));
            let labels = [0, 0, 0, 0, 1, 1, 1, 1];
            let settings = BoundSettings { resamplings: 1, ..BoundSettings::default() };
            let found = bound(&u, &positive, &labels, 2, &settings);
            // L_CE of the class means, and A, by hand at t = 1.
            let (a, b) = (units(&u), units(&positive));
            let class_mean = |class: usize| -> Vec<f64> {
                let own: Rows =
                    a[class * 4..][..4].iter().chain(&b[class * 4..][..4]).cloned().collect();
                turned(&own).iter().map(|column| mean(column.iter().copied())).collect()
            };
            let means = [class_mean(0), class_mean(1)];
            let to_means = |i: usize| [dot(&a[i], &means[0]), dot(&a[i], &means[1])];
            let ce = mean((0..8).map(|i| {
                let s = to_means(i);
                (s[0].exp() + s[1].exp()).ln() - s[i / 4]
            }));
            let positives = mean((0..8).map(|i| to_means(i)[i / 4] - dot(&a[i], &b[i])));
            let [con, b_term, c_term] = ["L_con", "B", "C"].map(|name| found.value(name));
            let left = con - 510f64.ln() - (ce - 2f64.ln());
            given(
                "two views m(8, 3, 0.1), m(8, 3, 0.3), two classes of four, M = 510, K = 2, t = 1",
            )
            .number("L_CE", ce, found.value("L_CE"))
            .number("A", positives, found.value("A"))
            .number("left side less right side", left - positives - b_term - c_term, 0.0)
            .number("the same, as it is reported", found.value("identity"), 0.0)
        },
    },
    Formula {
        id: "contribution-1",
        title: "What each dimension contributes to a class in the probe",
        plain: "m_kj = mean over the rows of class k of w_kj x_j, x the standardised features",
        latex: r"m_{kj} = \frac{1}{n_k} \sum_{i \,:\, y_i = k} w_{jk}\, \hat x_{ij}",
        page: PAGE,
        file: "src/eval/linear_probe.rs",
        function: "contributions",
        example: || {
            let x = Tensor::from_rows(&[&[1.0f64], &[2.0], &[3.0], &[6.0]]);
            let labels = [0, 0, 1, 1];
            let once = LinearProbe { epochs: 1, batch_size: 4, lr: 1.0, momentum: 0.0 };
            let probe = linear_probe(&x, &labels, 2, &once, 1);
            let found = probe.contributions(&x, &labels);
            // The probe has no bias yet, so a class's mean score is the one dimension's share.
            let scores = rows(&probe.scores(&x));
            let hand = [mean([scores[0][0], scores[1][0]]), mean([scores[2][1], scores[3][1]])];
            given("the probe of probe-1").numbers("m", &hand, &flat(&rows(&found)))
        },
    },
];
