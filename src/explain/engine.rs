//! Chapter 2: the engine's formulas.

use super::by_hand::{dot, flat, mean, product, rows, sigmoid, unit, wave};
use super::{Formula, given};
use crate::autodiff::check::check_grads;
use crate::autodiff::{Keep, Norm, Reduction, push_graph};
use crate::kernels::conv::{Geometry, conv2d, conv2d_input_grad, conv2d_weight_grad};
use crate::nn::{BatchNorm, Init, LayerMoments, Linear, RunningStats};
use crate::tensor::Tensor;
use crate::{Var, grad, grad_graph, hvp, pull, push};

const PAGE: &str = "docs/book/2-engine.md";

pub(super) const TABLE: &[Formula] = &[
    Formula {
        id: "reverse-1",
        title: "Pulling back: cotangents of the inputs from those of the outputs",
        plain: "dx_i = sum over k of g_k dy_k/dx_i",
        latex: r"\bar x_i = \sum_k \bar y_k \frac{\partial y_k}{\partial x_i}",
        page: PAGE,
        file: "src/autodiff/pull.rs",
        function: "pull",
        example: || {
            let x = Var::leaf(Tensor::from_vec(vec![2.0, 3.0], &[2]));
            let [a, b] = [0, 1].map(|i| x.narrow(0, i..i + 1));
            let y = Var::concat(&[&(&a * &b), &a.square()], 0);
            let dx = pull(vec![(y, Tensor::from_vec(vec![1.0, 10.0], &[2]))], &[&x]);
            given("y = (x1 x2, x1^2) at x = (2, 3), cotangents g = (1, 10)").numbers(
                "dx",
                &[3.0 + 10.0 * 2.0 * 2.0, 2.0],
                dx[0].as_slice(),
            )
        },
    },
    Formula {
        id: "reverse-2",
        title: "The gradient of one number: pull back the cotangent 1",
        plain: "dL/dx_i = sum over all ways from x_i to L of the product of derivatives on the way",
        latex: r"\frac{\partial L}{\partial x} = \sum_{c\,\in\,\text{children of }x}
            \left(\frac{\partial c}{\partial x}\right)^{\!\top} \frac{\partial L}{\partial c},
            \qquad \frac{\partial L}{\partial L} = 1",
        page: PAGE,
        file: "src/autodiff/pull.rs",
        function: "grad",
        example: || {
            let x = Var::leaf(Tensor::scalar(2.0));
            let loss = &x.square() * &x.exp();
            given("L = x^2 e^x at x = 2: two ways from x to L").number(
                "dL/dx",
                2.0 * 2.0 * 2f64.exp() + 4.0 * 2f64.exp(),
                grad(loss, &[&x])[0].item(),
            )
        },
    },
    Formula {
        id: "reverse-3",
        title: "The gradient as a function, to be differentiated again",
        plain: "d/dx (dL/dx): a rule made of recorded operations is differentiated by the same \
            rules",
        latex: r"\frac{\partial^2 L}{\partial x^2} = \frac{\partial}{\partial x}
            \left(\bar y\, \frac{\partial y}{\partial x}\right)",
        page: PAGE,
        file: "src/autodiff/pull.rs",
        function: "grad_graph",
        example: || {
            let x = Var::leaf(Tensor::scalar(3.0));
            let first = grad_graph(&(&x * &x * &x), &[&x]).remove(0);
            let second = grad_graph(&first, &[&x]).remove(0);
            let values = [first.item(), second.item(), grad(second, &[&x])[0].item()];
            given("y = x^3 at x = 3, one derivative after the other").numbers(
                "derivative",
                &[27.0, 18.0, 6.0],
                &values,
            )
        },
    },
    Formula {
        id: "reverse-4",
        title: "A Hessian times a direction, without the Hessian",
        plain: "H v = d/dx <dL/dx, v>",
        latex: r"H v = \frac{\partial}{\partial x}
            \left\langle \frac{\partial L}{\partial x},\, v \right\rangle",
        page: PAGE,
        file: "src/autodiff/pull.rs",
        function: "hvp",
        example: || {
            let x = Var::leaf(Tensor::from_vec(vec![2.0, 3.0], &[2]));
            let [a, b] = [0, 1].map(|i| x.narrow(0, i..i + 1));
            let loss = (a.square() * b).sum();
            let v = Tensor::from_vec(vec![1.0, -1.0], &[2]);
            // H = [[2 x2, 2 x1], [2 x1, 0]].
            given("L = x1^2 x2 at x = (2, 3), v = (1, -1)").numbers(
                "Hv",
                &[6.0 - 4.0, 4.0],
                hvp(&loss, &[&x], &[&v])[0].as_slice(),
            )
        },
    },
    Formula {
        id: "forward-1",
        title: "Pushing forward: tangents of the outputs from those of the inputs",
        plain: "dy_k = sum over i of dy_k/dx_i dx_i",
        latex: r"\dot y_k = \sum_i \frac{\partial y_k}{\partial x_i}\, \dot x_i",
        page: PAGE,
        file: "src/autodiff/push.rs",
        function: "push",
        example: || {
            let x = Var::leaf(Tensor::from_vec(vec![2.0, 3.0], &[2]));
            let [a, b] = [0, 1].map(|i| x.narrow(0, i..i + 1));
            let y = Var::concat(&[&(&a * &b), &a.square()], 0);
            let dx = Tensor::from_vec(vec![1.0, 0.5], &[2]);
            given("y = (x1 x2, x1^2) at x = (2, 3), tangents (1, 0.5)").numbers(
                "dy",
                &[3.0 + 2.0 * 0.5, 4.0],
                push(&[&y], &[(&x, &dx)])[0].as_slice(),
            )
        },
    },
    Formula {
        id: "forward-2",
        title: "Reverse over forward: a second derivative from one push and one pull",
        plain: "[d2L/da dx] u = d/da (dL/dx . u)",
        latex: r"\left[\frac{\partial^2 L}{\partial a\,\partial x}\right] u
            = \frac{\partial}{\partial a} \left( \frac{\partial L}{\partial x}\, u \right)",
        page: PAGE,
        file: "src/autodiff/push.rs",
        function: "push_graph",
        example: || {
            let [x, a] = [3.0, 0.5].map(|value| Var::leaf(Tensor::scalar(value)));
            let loss = (&x * &a).square();
            let slope = push_graph(&[&loss], &[(&x, &Var::scalar(2.0))]).remove(0);
            // L = x^2 a^2, dL/dx u = 2 x a^2 u, and its derivative in a is 4 x a u.
            given("L = (x a)^2 at x = 3, a = 1/2, u = 2").number(
                "[d2L/da dx] u",
                4.0 * 3.0 * 0.5 * 2.0,
                grad(slope, &[&a])[0].item(),
            )
        },
    },
    Formula {
        id: "check-1",
        title: "The differences that every derivative is held against",
        plain: "df/dx = (4 D(h/2) - D(h)) / 3 + O(h^4), D(h) = (f(x + h) - f(x - h)) / (2 h)",
        latex: r"\frac{\partial f}{\partial x} = \frac{4\, D(h/2) - D(h)}{3} + O(h^4),
            \qquad D(h) = \frac{f(x + h) - f(x - h)}{2h}",
        page: PAGE,
        file: "src/autodiff/check/mod.rs",
        function: "check_grads",
        example: || {
            let x = Tensor::from_vec(vec![0.3], &[1]);
            let report = check_grads(|x| x[0].tanh(), &[x], 1).expect("a right derivative");
            let worst = report.worst.expect("one entry");
            let difference = |h: f64| ((0.3 + h).tanh() - (0.3 - h).tanh()) / (2.0 * h);
            let h = 0.3 / 1024.0;
            let slope = (4.0 * difference(h / 2.0) - difference(h)) / 3.0;
            given("f = tanh at x = 0.3, h = 0.3 / 1024")
                .number("df/dx", slope, worst.numeric)
                .number("exact", 1.0 - 0.3f64.tanh().powi(2), worst.exact)
                .within(1e-9)
        },
    },
    Formula {
        id: "pair-1",
        title: "Repeating and summing are each other's adjoint",
        plain: "<repeat(x), g> = <x, sum(g)>",
        latex: r"\langle \mathrm{broadcast}(x),\, g \rangle = \langle x,\, \mathrm{sum}(g) \rangle",
        page: PAGE,
        file: "src/autodiff/ops/layout.rs",
        function: "sum_to",
        example: || {
            let (x, g) = (Var::leaf(wave(1, 3, 0.0)), wave(2, 3, 1.0));
            let pulled = pull(vec![(x.broadcast_to(&[2, 3]), g.clone())], &[&x]).remove(0);
            let sums: Vec<f64> = (0..3).map(|j| rows(&g).iter().map(|row| row[j]).sum()).collect();
            given("a row repeated twice, and a cotangent of two rows")
                .numbers("dx", &sums, pulled.as_slice())
                .numbers("sum", &sums, Var::constant(g).sum_to(&[1, 3]).value().as_slice())
        },
    },
    Formula {
        id: "gate-1",
        title: "ReLU, and its derivative, which is a gate",
        plain: "y = max(x, 0),  dx = g where x > 0, else 0",
        latex: r"y = \max(x, 0), \qquad \bar x = \bar y \cdot [x > 0]",
        page: PAGE,
        file: "src/autodiff/ops/elementwise.rs",
        function: "relu",
        example: || {
            let x = Var::leaf(Tensor::from_vec(vec![-1.0, 0.0, 2.0], &[3]));
            let g = Tensor::from_vec(vec![5.0, 6.0, 7.0], &[3]);
            let y = x.relu();
            let values = y.value().to_vec();
            given("x = (-1, 0, 2), g = (5, 6, 7)").numbers("y", &[0.0, 0.0, 2.0], &values).numbers(
                "dx",
                &[0.0, 0.0, 7.0],
                pull(vec![(y, g)], &[&x])[0].as_slice(),
            )
        },
    },
    Formula {
        id: "sigmoid-1",
        title: "The logistic function and its derivative",
        plain: "s = 1 / (1 + e^-a),  ds/da = s (1 - s)",
        latex: r"\sigma(a) = \frac{1}{1 + e^{-a}}, \qquad \sigma' = \sigma (1 - \sigma)",
        page: PAGE,
        file: "src/autodiff/ops/elementwise.rs",
        function: "sigmoid",
        example: || {
            let a = Var::leaf(Tensor::scalar(0.5));
            let s = a.sigmoid();
            let value = sigmoid(0.5);
            given("a = 1/2").number("s", value, s.item()).number(
                "ds/da",
                value * (1.0 - value),
                grad(s, &[&a])[0].item(),
            )
        },
    },
    Formula {
        id: "product-1",
        title: "The matrix product, and its two derivatives, which are matrix products",
        plain: "Y = A B,  dA = G B^T,  dB = A^T G",
        latex: r"Y = A B, \qquad \bar A = \bar Y B^\top, \qquad \bar B = A^\top \bar Y",
        page: PAGE,
        file: "src/autodiff/ops/product.rs",
        function: "matmul",
        example: || {
            let [a, b, g] = [wave(2, 3, 0.1), wave(3, 2, 0.2), wave(2, 2, 0.3)];
            let [x, y] = [&a, &b].map(|x| Var::leaf(x.clone()));
            let found = pull(vec![(x.matmul(&y), g.clone())], &[&x, &y]);
            let [a, b, g] = [&a, &b, &g].map(rows);
            let (turned_a, turned_b) = (super::by_hand::turned(&a), super::by_hand::turned(&b));
            given("A = m(2, 3, 0.1), B = m(3, 2, 0.2), G = m(2, 2, 0.3)")
                .numbers("Y", &flat(&product(&a, &b)), x.matmul(&y).value().as_slice())
                .numbers("dA", &flat(&product(&g, &turned_b)), found[0].as_slice())
                .numbers("dB", &flat(&product(&turned_a, &g)), found[1].as_slice())
        },
    },
    Formula {
        id: "conv-1",
        title: "The convolution: one of the three derivatives of a trilinear form",
        plain: "y[n,i,j,o] = sum over u, v, c of x[n, i s + u - p, j s + v - p, c] w[u,v,c,o]",
        latex: r"y_{nijo} = \sum_{u,v,c} x_{n,\,is+u-p,\,js+v-p,\,c}\; w_{uvco}",
        page: PAGE,
        file: "src/kernels/conv/mod.rs",
        function: "conv2d",
        example: || {
            let mut y = [0.0; 4];
            conv2d(&SMALL, &SMALL_X, &SMALL_W, &mut y);
            given(SMALL_GIVEN).numbers("y", &form(None, Some(&SMALL_W), Some(&SMALL_X)), &y)
        },
    },
    Formula {
        id: "conv-2",
        title: "The derivative of the form in its input",
        plain: "dx[n,a,b,c] = sum over u, v, o of w[u,v,c,o] g[n,i,j,o], a = i s + u - p, b = j \
            s + v - p",
        latex: r"\bar x_{nabc} = \sum_{\substack{u,v,i,j,o\\ is+u-p=a,\; js+v-p=b}}
            w_{uvco}\; \bar y_{nijo}",
        page: PAGE,
        file: "src/kernels/conv/mod.rs",
        function: "conv2d_input_grad",
        example: || {
            let mut dx = [0.0; 9];
            conv2d_input_grad(&SMALL, &SMALL_W, &SMALL_G, &mut dx);
            given(SMALL_GIVEN).numbers("dx", &form(Some(&SMALL_G), Some(&SMALL_W), None), &dx)
        },
    },
    Formula {
        id: "conv-3",
        title: "The derivative of the form in its weights",
        plain: "dw[u,v,c,o] = sum over n, i, j of x[n, i s + u - p, j s + v - p, c] g[n,i,j,o]",
        latex: r"\bar w_{uvco} = \sum_{n,i,j} x_{n,\,is+u-p,\,js+v-p,\,c}\; \bar y_{nijo}",
        page: PAGE,
        file: "src/kernels/conv/mod.rs",
        function: "conv2d_weight_grad",
        example: || {
            let mut dw = [0.0; 4];
            conv2d_weight_grad(&SMALL, &SMALL_X, &SMALL_G, &mut dw);
            given(SMALL_GIVEN).numbers("dw", &form(Some(&SMALL_G), None, Some(&SMALL_X)), &dw)
        },
    },
    Formula {
        id: "softmax-1",
        title: "The logarithm of the softmax",
        plain: "y_k = x_k - ln(sum over l of e^(x_l))",
        latex: r"y_k = x_k - \ln \sum_l e^{x_l}",
        page: PAGE,
        file: "src/autodiff/ops/reduce.rs",
        function: "log_softmax",
        example: || {
            let x = [1.0f64, 2.0, 4.0];
            let total = x.iter().map(|x| x.exp()).sum::<f64>().ln();
            let y = Var::constant(Tensor::from_rows(&[&x])).log_softmax(1);
            given("x = (1, 2, 4)").numbers("y", &x.map(|x| x - total), y.value().as_slice())
        },
    },
    Formula {
        id: "softmax-2",
        title: "The cross-entropy, and its derivative: what was said less what was right",
        plain: "L = -mean over n of ln p[n, t_n],  dL/dx = (p - onehot(t)) / N,  p = softmax(x)",
        latex: r"L = -\frac1N \sum_n \ln p_{n t_n}, \qquad
            \frac{\partial L}{\partial x_{nk}} = \frac{p_{nk} - [k = t_n]}{N}, \qquad
            p_{nk} = \frac{e^{x_{nk}}}{\sum_l e^{x_{nl}}}",
        page: PAGE,
        file: "src/autodiff/ops/reduce.rs",
        function: "cross_entropy",
        example: || {
            let x = [1.0f64, 2.0, 4.0];
            let total: f64 = x.iter().map(|x| x.exp()).sum();
            let p = x.map(|x| x.exp() / total);
            let leaf = Var::leaf(Tensor::from_rows(&[&x]));
            let loss = leaf.cross_entropy(&[1], Reduction::Mean);
            given("x = (1, 2, 4), and the second is right")
                .number("L", -p[1].ln(), loss.item())
                .numbers("dL/dx", &[p[0], p[1] - 1.0, p[2]], grad(loss, &[&leaf])[0].as_slice())
        },
    },
    Formula {
        id: "norm-1",
        title: "A row over its length, and what comes back: nothing along the row",
        plain: "u = z / |z|,  dz = (g - u <u, g>) / |z|",
        latex: r"u = \frac{z}{\lVert z\rVert}, \qquad
            \bar z = \frac{\bar u - u \langle u, \bar u\rangle}{\lVert z\rVert}",
        page: PAGE,
        file: "src/autodiff/ops/reduce.rs",
        function: "l2_normalize",
        example: || {
            let (z, g) = ([3.0, 4.0], [1.0, 2.0]);
            let leaf = Var::leaf(Tensor::from_rows(&[&z]));
            let y = leaf.l2_normalize(1, 1e-12);
            let u = unit(&z);
            let along = dot(&u, &g);
            let back = [0, 1].map(|i| (g[i] - u[i] * along) / 5.0);
            let values = y.value().to_vec();
            given("z = (3, 4), g = (1, 2)").numbers("u", &u, &values).numbers(
                "dz",
                &back,
                pull(vec![(y, Tensor::from_rows(&[&g]))], &[&leaf])[0].as_slice(),
            )
        },
    },
    Formula {
        id: "batchnorm-1",
        title: "Batch-norm: each channel with mean 0 and variance 1, then a scale and a shift",
        plain: "y = (x - mean) / sqrt(var + eps) w + b, moments over the batch, variance over N",
        latex: r"\hat x_n = \frac{x_n - \mu}{\sqrt{\mathrm{var} + \epsilon}}, \quad
            y_n = w\, \hat x_n + b, \quad \mu = \frac1N \sum_n x_n, \quad
            \mathrm{var} = \frac1N \sum_n (x_n - \mu)^2",
        page: PAGE,
        file: "src/autodiff/ops/fused.rs",
        function: "batch_norm",
        example: || {
            let (found, _) = small_norm();
            let (normal, _) = small_norm_by_hand();
            given(SMALL_NORM).numbers("y", &normal.map(|x| 2.0 * x + 0.5), &found)
        },
    },
    Formula {
        id: "batchnorm-2",
        title: "What comes back through batch-norm: the batch's mean and its own direction are \
            taken out",
        plain: "dx = w / sqrt(var + eps) (g - mean(g) - xhat mean(g xhat))",
        latex: r"\bar x_n = \frac{w}{\sqrt{\mathrm{var} + \epsilon}} \left( \bar y_n
            - \frac1N\sum_m \bar y_m - \hat x_n \frac1N\sum_m \bar y_m \hat x_m \right)",
        page: PAGE,
        file: "src/kernels/norm/mod.rs",
        function: "batch_norm_grad",
        example: || {
            let (_, found) = small_norm();
            let (normal, inv_std) = small_norm_by_hand();
            let along = mean((0..4).map(|i| NORM_G[i] * normal[i]));
            let middle = mean(NORM_G);
            let dx = [0, 1, 2, 3].map(|i| 2.0 * inv_std * (NORM_G[i] - middle - normal[i] * along));
            given(SMALL_NORM).numbers("dx", &dx, &found)
        },
    },
    Formula {
        id: "batchnorm-3",
        title: "The moments that an evaluation takes: a running mean of what batches had",
        plain: "m <- 0.9 m + 0.1 mean,  v <- 0.9 v + 0.1 var N / (N - 1)",
        latex: r"m \leftarrow (1 - \rho)\, m + \rho\, \mu, \qquad
            v \leftarrow (1 - \rho)\, v + \rho\, \frac{N}{N - 1}\, \mathrm{var}",
        page: PAGE,
        file: "src/nn/pass.rs",
        function: "update",
        example: || {
            let mut running = RunningStats::new(&norm_layer());
            let [mean, var] = [3.0, 2.0].map(|value| Tensor::from_rows(&[&[value]]));
            let moments = LayerMoments { name: "bn".into(), mean, var, count: 5 };
            running.update(&[moments], 0.1);
            let (mean, var) = running.get("bn").expect("the layer's name");
            given("m = 0, v = 1 and a batch of 5 with mean 3 and variance 2, at rho = 0.1")
                .number("m", 0.1 * 3.0, mean.item())
                .number("v", 0.9 + 0.1 * 2.0 * 5.0 / 4.0, var.item())
        },
    },
    Formula {
        id: "linear-1",
        title: "The fully connected layer",
        plain: "y = x w + b",
        latex: r"y_{no} = \sum_i x_{ni} w_{io} + b_o",
        page: PAGE,
        file: "src/nn/linear.rs",
        function: "forward",
        example: || {
            let layer = Linear::<f64>::new("fc", 2, 1, &Init::new(1));
            let w = layer.weight.value().to_vec();
            let b = layer.bias.as_ref().expect("it has one").value().to_vec();
            let y = layer.forward(&Var::constant(Tensor::from_rows(&[&[1.0, 2.0]])));
            given(format!("x = (1, 2), w = ({:.4}, {:.4}), b = {:.4}", w[0], w[1], b[0])).number(
                "y",
                w[0] + 2.0 * w[1] + b[0],
                y.item(),
            )
        },
    },
    Formula {
        id: "pool-1",
        title: "Global average pooling: an image's maps become its features",
        plain: "h[n,c] = mean over i, j of x[n,i,j,c]",
        latex: r"h_{nc} = \frac{1}{HW} \sum_{i,j} x_{nijc}",
        page: PAGE,
        file: "src/autodiff/ops/window.rs",
        function: "global_avg_pool2d",
        example: || {
            let x = Tensor::from_vec(vec![1.0, 2.0, 3.0, 6.0], &[1, 2, 2, 1]);
            let h = Var::constant(x).global_avg_pool2d();
            given("one image of 2 x 2 pixels, 1, 2, 3, 6").number("h", 3.0, h.item())
        },
    },
    Formula {
        id: "logsumexp-1",
        title: "The logarithm of a sum of exponentials, which does not overflow",
        plain: "lse(x) = M + ln(sum over k of e^(x_k - M)), M the largest",
        latex: r"\mathrm{lse}(x) = M + \ln \sum_k e^{x_k - M}, \qquad M = \max_k x_k",
        page: PAGE,
        file: "src/autodiff/ops/reduce.rs",
        function: "logsumexp",
        example: || {
            let x = Var::constant(Tensor::from_rows(&[&[1000.0, 1000.0]]));
            given("x = (1000, 1000), whose exponentials are too large for any float").number(
                "lse",
                1000.0 + 2f64.ln(),
                x.logsumexp(1, Keep::Drop).item(),
            )
        },
    },
];

/// One image of 3 x 3 pixels, a kernel of 2 x 2, one channel.
const SMALL: Geometry = Geometry { h: 3, w: 3, kh: 2, kw: 2, ..Geometry::ONE };
const SMALL_X: [f64; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
const SMALL_W: [f64; 4] = [1.0, 0.0, -1.0, 2.0];
const SMALL_G: [f64; 4] = [1.0, 2.0, 3.0, 4.0];
const SMALL_GIVEN: &str =
    "x = 1 to 9 as 3 x 3, w = (1, 0; -1, 2), g = (1, 2; 3, 4), stride 1, no padding, one channel";

/// The derivative of `Σ x w g` in the operand that is missing.
fn form(g: Option<&[f64]>, w: Option<&[f64]>, x: Option<&[f64]>) -> Vec<f64> {
    let mut found = vec![0.0; if x.is_none() { 9 } else { 4 }];
    for (i, j, u, v) in (0..16).map(|k| (k / 8, k / 4 % 2, k / 2 % 2, k % 2)) {
        let places = [(i + u) * 3 + j + v, u * 2 + v, i * 2 + j];
        let at = |operand: Option<&[f64]>, place: usize| operand.map_or(1.0, |o| o[place]);
        let term = at(x, places[0]) * at(w, places[1]) * at(g, places[2]);
        let missing = [x.is_none(), w.is_none(), g.is_none()];
        let of = missing.iter().position(|missing| *missing).expect("one operand is missing");
        found[places[of]] += term;
    }
    found
}

const NORM_X: [f64; 4] = [1.0, 2.0, 3.0, 6.0];
const NORM_G: [f64; 4] = [1.0, 0.0, 0.0, -2.0];
const SMALL_NORM: &str = "x = (1, 2, 3, 6), w = 2, b = 0.5, eps = 0.5, g = (1, 0, 0, -2)";

fn norm_layer() -> BatchNorm<f64> {
    BatchNorm::new("bn", 1)
}

/// By the engine: y and dx.
fn small_norm() -> (Vec<f64>, Vec<f64>) {
    let column = |x: &[f64]| Tensor::from_slice(x, &[4, 1]);
    let x = Var::leaf(column(&NORM_X));
    let [w, b] = [2.0, 0.5].map(|value| Var::constant(Tensor::full(&[1], value)));
    let y = x.batch_norm(Norm::new(&w, &b, 0.5, 1)).y;
    let values = y.value().to_vec();
    (values, pull(vec![(y, column(&NORM_G))], &[&x])[0].to_vec())
}

/// The normalised numbers, mean 3 and variance 3.5, and one over their deviation.
fn small_norm_by_hand() -> ([f64; 4], f64) {
    let middle = mean(NORM_X);
    let variance = mean(NORM_X.map(|x| (x - middle).powi(2)));
    let inv_std = 1.0 / (variance + 0.5).sqrt();
    (NORM_X.map(|x| (x - middle) * inv_std), inv_std)
}
