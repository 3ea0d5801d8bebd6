//! Fused operations equal their definitions: value, first and second order, both modes.
//!
//! The definitions here are written in primitive operations, independently of those inside the
//! crate.

use crate::support::{Numbers, assert_close, assert_tensors_close, dot, tolerance};
use dimask::autodiff::{
    Keep, Norm, Reduction, Stats, Tail, Var, grad, grad_graph, hvp, pull, push,
};
use dimask::tensor::Tensor;

/// `(x - mean) / sqrt(var + eps) * weight + bias`, in each of `groups` pieces of the first axis.
fn batch_norm(x: &Var<f64>, w: &Var<f64>, b: &Var<f64>, eps: f64, groups: usize) -> Var<f64> {
    let piece = x.shape()[0] / groups;
    let axes: Vec<usize> = (0..x.rank() - 1).collect();
    let normal = |group: usize| {
        let x = x.rows(group * piece..(group + 1) * piece);
        let centred = &x - &x.mean_axes(&axes, Keep::Keep);
        let var = centred.square().mean_axes(&axes, Keep::Keep);
        &(&centred / &(var + eps).sqrt() * w) + b
    };
    let pieces: Vec<Var<f64>> = (0..groups).map(normal).collect();
    Var::concat(&pieces.iter().collect::<Vec<_>>(), 0)
}

/// `x - ln sum exp x`: safe for the small numbers here.
fn log_softmax(x: &Var<f64>, axis: usize) -> Var<f64> {
    x - &x.exp().sum_axes(&[axis], Keep::Keep).ln()
}

#[track_caller]
fn check(
    what: &str,
    fused: impl Fn(&[Var<f64>]) -> Var<f64>,
    definition: impl Fn(&[Var<f64>]) -> Var<f64>,
    inputs: &[Tensor<f64>],
) {
    let mut numbers = Numbers::new(5);
    let x: Vec<Var<f64>> = inputs.iter().cloned().map(Var::leaf).collect();
    let wrt: Vec<&Var<f64>> = x.iter().collect();
    let (a, b) = (fused(&x), definition(&x));
    assert_tensors_close(what, a.value(), b.value(), tolerance::FUSED);
    let g = numbers.tensor::<f64>(a.shape(), -1.0, 1.0);
    let v: Vec<Tensor<f64>> =
        x.iter().map(|x| numbers.tensor::<f64>(x.shape(), -1.0, 1.0)).collect();

    // First order, by the kernels and recorded.
    let cotangent = Var::leaf(g.clone());
    let by_definition = grad_graph(&(&b * &cotangent).sum(), &wrt);
    let recorded = grad_graph(&(&a * &cotangent).sum(), &wrt);
    let by_kernel = pull(vec![(fused(&x), g.clone())], &wrt);
    for ((d, r), k) in by_definition.iter().zip(&recorded).zip(&by_kernel) {
        assert_tensors_close(what, d.value(), k, tolerance::FUSED);
        assert_tensors_close(what, d.value(), r.value(), tolerance::FUSED);
    }

    // Forward, by the kernels, and its law with reverse.
    let tangents: Vec<_> = x.iter().zip(&v).collect();
    let pushed = push(&[&a], &tangents).remove(0);
    assert_tensors_close(what, &pushed, &push(&[&b], &tangents)[0], tolerance::FUSED);
    let right: f64 = v.iter().zip(&by_kernel).map(|(v, p)| dot(v, p)).sum();
    assert_close(what, dot(&pushed, &g), right, tolerance::ADJOINT);

    // Second order, also in the cotangent.
    let second = |gradient: &[Var<f64>]| {
        let terms = gradient.iter().zip(&v).map(|(g, v)| g.dot_constant(v));
        let s = terms.reduce(|a, b| a + b).expect("there are inputs");
        let all: Vec<&Var<f64>> = wrt.iter().copied().chain([&cotangent]).collect();
        grad(s, &all)
    };
    for (d, r) in second(&by_definition).iter().zip(&second(&recorded)) {
        assert_tensors_close(what, d, r, tolerance::FUSED);
    }
}

#[test]
fn normalising_by_given_moments_equals_its_definition() {
    // Widths below and above a row that is read alone, sides that do not pool evenly, no images.
    for [n, h, w, c] in [[3, 5, 4, 6], [2, 7, 9, 300], [1, 2, 2, 1], [0, 4, 4, 5]] {
        let x = random(90, &[&[n, h, w, c], &[n, h, w, c]]);
        let vectors = random(91, &[&[c], &[c], &[c], &[c]]);
        let [mean, var] = [&vectors[0], &vectors[1].map(|v| v * v)];
        let result = |var_of: fn(Tensor<f64>) -> Var<f64>| {
            let [x, shortcut] = [0, 1].map(|i| var_of(x[i].clone()));
            let [weight, bias] = [2, 3].map(|i| var_of(vectors[i].clone()));
            let all = [Tail::Nothing, Tail::Relu, Tail::AddRelu(&shortcut), Tail::MaxPoolRelu];
            all.map(|tail| {
                let (weight, bias, stats) = (&weight, &bias, Stats::Given { mean, var });
                x.batch_norm(Norm { weight, bias, eps: 1e-5, stats, tail }).y
            })
        };
        let (fused, defined) = (result(Var::constant), result(Var::leaf));
        let [mean, var, weight, bias] =
            [mean, var, &vectors[2], &vectors[3]].map(|v| Var::constant(v.clone()));
        let plain = (Var::constant(x[0].clone()) - mean) / (var + 1e-5).sqrt() * weight + bias;
        let with_shortcut = (&plain + &Var::constant(x[1].clone())).relu();
        let pooled = plain.relu().max_pool2d([2, 2], [2, 2], [0, 0]);
        let expected = [plain.clone(), plain.relu(), with_shortcut, pooled];
        for (at, expected) in expected.iter().enumerate() {
            assert!(!fused[at].is_recorded() && defined[at].is_recorded());
            let what = format!("tail {at} of {:?}", [n, h, w, c]);
            assert_tensors_close(&what, fused[at].value(), expected.value(), tolerance::FUSED);
            assert_tensors_close(&what, defined[at].value(), expected.value(), tolerance::FUSED);
        }
    }
}

fn random(seed: u64, shapes: &[&[usize]]) -> Vec<Tensor<f64>> {
    let mut numbers = Numbers::new(seed);
    shapes.iter().map(|shape| numbers.tensor(shape, -1.2, 1.2)).collect()
}

// Formula: batchnorm-1.
#[test]
fn batch_norm_equals_its_definition() {
    for groups in [1, 2, 4] {
        let inputs = random(6, &[&[8, 3, 2, 5], &[5], &[5]]);
        check(
            &format!("batch_norm, {groups} groups"),
            |v| v[0].batch_norm(Norm::new(&v[1], &v[2], 1e-3, groups)).y,
            |v| batch_norm(&v[0], &v[1], &v[2], 1e-3, groups),
            &inputs,
        );
    }
}

#[test]
fn standardisation_equals_its_definition() {
    for groups in [1, 2] {
        let (one, zero) = (Tensor::full(&[3], 1.0), Tensor::zeros(&[3]));
        let (one, zero) = (Var::constant(one), Var::constant(zero));
        check(
            &format!("standardize, {groups} groups"),
            |v| v[0].standardize(1e-5, groups).y,
            |v| batch_norm(&v[0], &one, &zero, 1e-5, groups),
            &random(7, &[&[6, 3]]),
        );
    }
}

#[test]
fn batch_norm_equals_its_definition_where_one_input_is_an_ancestor_of_another() {
    // Weight and bias are made from x: the paths through them and through x must each count once.
    let weight = |x: &Var<f64>| x.rows(0..1).reshape(&[3]).exp();
    let bias = |x: &Var<f64>| x.square().sum_axes(&[0], Keep::Drop);
    for groups in [1, 2] {
        check(
            "batch_norm of its own weight",
            |v| v[0].batch_norm(Norm::new(&weight(&v[0]), &bias(&v[0]), 1e-3, groups)).y,
            |v| batch_norm(&v[0], &weight(&v[0]), &bias(&v[0]), 1e-3, groups),
            &random(8, &[&[4, 3]]),
        );
    }
    check(
        "batch_norm of a batch made from its weight",
        |v| {
            let x = &v[1] * &v[0].exp();
            x.batch_norm(Norm::new(&v[0], &v[0], 1e-3, 1)).y
        },
        |v| {
            let x = &v[1] * &v[0].exp();
            batch_norm(&x, &v[0], &v[0], 1e-3, 1)
        },
        &random(9, &[&[3], &[4, 3]]),
    );
}

#[test]
fn batch_norm_and_what_follows_equals_its_definition() {
    for groups in [1, 2] {
        let norm = |v: &[Var<f64>]| batch_norm(&v[0], &v[1], &v[2], 1e-3, groups);
        let fused = |v: &[Var<f64>], tail: Tail<&Var<f64>>| {
            v[0].batch_norm(Norm { tail, ..Norm::new(&v[1], &v[2], 1e-3, groups) }).y
        };
        // Odd sides: the last row and column are in no window.
        let inputs = random(13, &[&[4, 5, 3, 2], &[2], &[2], &[4, 5, 3, 2]]);
        check("then relu", |v| fused(v, Tail::Relu), |v| norm(v).relu(), &inputs[..3]);
        check(
            "then add and relu",
            |v| fused(v, Tail::AddRelu(&v[3])),
            |v| (norm(v) + &v[3]).relu(),
            &inputs,
        );
        check(
            "then max-pool and relu",
            |v| fused(v, Tail::MaxPoolRelu),
            |v| norm(v).max_pool2d([2, 2], [2, 2], [0, 0]).relu(),
            &inputs[..3],
        );
    }
}

#[test]
fn batch_norm_and_what_follows_counts_the_paths_to_an_ancestor_once() {
    let weight = |x: &Var<f64>| x.slice(&[0; 4], &[1, 1, 1, 3], &[1; 4]).reshape(&[3]).exp();
    let bias = |x: &Var<f64>| x.square().sum_axes(&[0, 1, 2], Keep::Drop).scale(0.1);
    let shortcut = |x: &Var<f64>| x.tanh();
    let norm = |x: &Var<f64>| batch_norm(x, &weight(x), &bias(x), 1e-3, 2);
    let fused = |x: &Var<f64>, tail: Tail<&Var<f64>>| {
        x.batch_norm(Norm { tail, ..Norm::new(&weight(x), &bias(x), 1e-3, 2) }).y
    };
    let inputs = random(14, &[&[4, 2, 2, 3]]);
    check("relu of itself", |v| fused(&v[0], Tail::Relu), |v| norm(&v[0]).relu(), &inputs);
    check(
        "a shortcut from x",
        |v| fused(&v[0], Tail::AddRelu(&shortcut(&v[0]))),
        |v| (norm(&v[0]) + shortcut(&v[0])).relu(),
        &inputs,
    );
    check(
        "a shortcut that x is made from",
        |v| fused(&v[0].exp(), Tail::AddRelu(&v[0])),
        |v| (norm(&v[0].exp()) + &v[0]).relu(),
        &inputs,
    );
    check(
        "pooling of itself",
        |v| fused(&v[0], Tail::MaxPoolRelu),
        |v| norm(&v[0]).max_pool2d([2, 2], [2, 2], [0, 0]).relu(),
        &inputs,
    );
}

#[test]
fn a_shortcut_alone_can_move() {
    let [x, s] = random(15, &[&[4, 3], &[4, 3]]).try_into().expect("two tensors");
    let (one, zero) = (Tensor::full(&[3], 1.0), Tensor::zeros(&[3]));
    let (x, one, zero) = (Var::constant(x), Var::constant(one), Var::constant(zero));
    check(
        "a constant batch beside a shortcut",
        |v| x.batch_norm(Norm { tail: Tail::AddRelu(&v[0]), ..Norm::new(&one, &zero, 1e-3, 1) }).y,
        |v| (batch_norm(&x, &one, &zero, 1e-3, 1) + &v[0]).relu(),
        &[s],
    );
}

// Formula: softmax-1.
#[test]
fn log_softmax_equals_its_definition() {
    for axis in 0..3 {
        check(
            &format!("log_softmax along axis {axis}"),
            |v| v[0].log_softmax(axis),
            |v| log_softmax(&v[0], axis),
            &random(10, &[&[3, 4, 5]]),
        );
    }
}

// Formula: softmax-2.
#[test]
fn cross_entropy_equals_its_definition() {
    let target = [4, 0, 2];
    let one_hot = |columns: &[u32]| {
        let at = |i: usize| f64::from(columns[i / 5] as usize == i % 5);
        Var::constant(Tensor::from_fn(&[3, 5], at))
    };
    let defined = |x: &Var<f64>, out: &[u32]| {
        // The exponentials of a column that does not take part, taken out of the sum.
        let part = if out.is_empty() { x.exp() } else { x.exp() * (-one_hot(out)).shift(1.0) };
        let log_sum = part.sum_axes(&[1], Keep::Drop).ln();
        log_sum - (x * &one_hot(&target)).sum_axes(&[1], Keep::Drop)
    };
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
        let reduce = |terms: Var<f64>| match reduction {
            Reduction::Mean => terms.mean(),
            Reduction::Sum => terms.sum(),
            Reduction::None => terms,
        };
        let inputs = random(11, &[&[3, 5]]);
        check(
            "cross_entropy",
            |v| v[0].cross_entropy(&target, reduction),
            |v| reduce(defined(&v[0], &[])),
            &inputs,
        );
        let out = [0, 4, 1];
        check(
            "cross_entropy without a column",
            |v| v[0].cross_entropy_without(&target, &out, reduction),
            |v| reduce(defined(&v[0], &out)),
            &inputs,
        );
        // Of a Gram matrix, as in the losses.
        check(
            "cross_entropy of a product with itself",
            |v| v[0].matmul_nt(&v[0]).cross_entropy_without(&[1, 0, 0], &[0, 1, 2], reduction),
            |v| {
                let x = v[0].matmul_nt(&v[0]);
                let (a, b) = (x.narrow(1, 0..1), x.narrow(1, 1..2));
                let c = x.narrow(1, 2..3);
                let row = |x: &Var<f64>, i: usize| x.rows(i..i + 1).reshape(&[1]);
                let pair =
                    |right: &Var<f64>, wrong: &Var<f64>| (wrong - right).exp().shift(1.0).ln();
                let terms = [
                    pair(&row(&b, 0), &row(&c, 0)),
                    pair(&row(&a, 1), &row(&c, 1)),
                    pair(&row(&a, 2), &row(&b, 2)),
                ];
                reduce(Var::concat(&terms.iter().collect::<Vec<_>>(), 0))
            },
            &random(16, &[&[3, 4]]),
        );
    }
}

// Formula: norm-1.
#[test]
fn l2_normalize_equals_its_definition() {
    let defined = |x: &Var<f64>, axis: usize| x / &x.square().sum_axes(&[axis], Keep::Keep).sqrt();
    for axis in 0..3 {
        check(
            &format!("l2_normalize along axis {axis}"),
            |v| v[0].l2_normalize_to(1.7, axis, 1e-12),
            |v| defined(&v[0], axis).scale(1.7),
            &random(17, &[&[3, 4, 5]]),
        );
    }
    // Below the bound the divisor is constant, and the first row is 0.
    check(
        "l2_normalize clamped",
        |v| (&v[0] * &v[1]).l2_normalize(1, 10.0),
        |v| (&v[0] * &v[1]).scale(0.1),
        &[Tensor::from_vec(vec![0.0, 1.0], &[2, 1]), random(18, &[&[2, 5]]).remove(0)],
    );
    check(
        "l2_normalize of itself",
        |v| &v[0].l2_normalize(1, 1e-12).exp().l2_normalize(1, 1e-12) * &v[0],
        |v| &defined(&defined(&v[0], 1).exp(), 1) * &v[0],
        &random(19, &[&[3, 4]]),
    );
}

#[test]
fn batch_norm_hands_out_the_moments_of_each_group() {
    let x = random(12, &[&[6, 2, 3]]).remove(0);
    let groups = Var::constant(x.clone()).standardize(1e-5, 2);
    for group in 0..2 {
        let piece = Var::constant(x.clone()).rows(group * 3..(group + 1) * 3);
        let mean = piece.mean_axes(&[0, 1], Keep::Drop);
        let var = piece.var_axes(&[0, 1], Keep::Drop, 0);
        let row = |t: &Tensor<f64>| t.slice(&[group, 0], &[group + 1, 3], &[1, 1]).reshape(&[3]);
        assert_tensors_close("mean", &row(&groups.mean), mean.value(), tolerance::LAW);
        assert_tensors_close("var", &row(&groups.var), var.value(), tolerance::LAW);
    }
}

#[test]
fn large_inputs_neither_overflow_nor_lose_the_variance() {
    let x = Var::constant(Tensor::from_vec(vec![1000.0f32, 0.0, -1000.0], &[1, 3]));
    assert_eq!(x.log_softmax(1).value().to_vec(), [0.0, -1000.0, -2000.0]);
    // A mean far above the deviation: a sum of squares in f32 would lose the variance altogether.
    let x = Tensor::<f32>::from_fn(&[512, 1], |i| 4096.0 + (i % 2) as f32);
    let normal = Var::constant(x).standardize(0.0, 1);
    assert!((normal.var.as_slice()[0] - 0.25).abs() < 1e-4, "variance {:?}", normal.var);
}

#[test]
fn what_a_convolution_reads_is_made_again_to_the_same_bits() {
    let inputs = random(15, &[&[4, 5, 3, 2], &[2], &[2], &[3, 3, 2, 4], &[4, 5, 3, 2]]);
    let wrt: Vec<Var<f64>> = inputs.iter().cloned().map(Var::leaf).collect();
    let [x, weight, bias, kernel, other] = [0, 1, 2, 3, 4].map(|i| &wrt[i]);
    let then = |x: &Var<f64>, tail: Tail<&Var<f64>>| {
        x.batch_norm(Norm { tail, ..Norm::new(weight, bias, 1e-3, 2) }).y
    };
    let all: Vec<&Var<f64>> = wrt.iter().collect();
    let found = |kept: bool| {
        // A reshaped value does not say that it could be made again.
        let keep = |y: Var<f64>| if kept { y.reshape(y.shape()) } else { y };
        let mut found = Vec::new();
        for tail in 0..4 {
            let shortcut = keep(match tail {
                0 => then(other, Tail::Relu),
                1 => then(other, Tail::Nothing),
                2 => then(other, Tail::AddRelu(&then(x, Tail::Relu))),
                _ => other.exp(),
            });
            let (relu, sum) = (then(x, Tail::Relu), then(x, Tail::AddRelu(&shortcut)));
            let y = [relu, sum].map(|y| keep(y).conv2d(kernel, [1, 2], [1, 1]).tanh());
            let y = &y[0] + &y[1];
            let tangents: Vec<_> = all.iter().map(|&v| (v, v.value())).collect();
            found.extend(push(&[&y], &tangents));
            let loss = y.square().sum();
            found.extend(hvp(&loss, &all, &all.iter().map(|v| v.value()).collect::<Vec<_>>()));
            drop(y);
            found.extend(grad(loss, &all));
        }
        found.iter().flat_map(|x| x.to_vec()).map(f64::to_bits).collect::<Vec<_>>()
    };
    assert!(found(true) == found(false));
}
