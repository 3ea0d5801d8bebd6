//! Products in bf16: what is rounded in each derivative, and that a whole step stays near one in
//! full precision.

use crate::support::{Numbers, assert_tensors_close, dot, tolerance};
use dimask::autodiff::{Var, pull, pull_graph, push};
use dimask::kernels::bf16::Bf16;
use dimask::metamask::{HeadShapes, Mask, MaskForm, Meta, Mode, Network, Settings, State, step};
use dimask::nn::{Architecture, Conv2d, Encoder, Init, Linear, leaves, params, with_params};
use dimask::optim::{Optimizer, Sgd};
use dimask::tensor::{Precision, Tensor};

/// `x` and `w`, multiplied in a precision.
type Product = fn(&Var, &Var, Precision) -> Var;

/// A value of `x`, `w` and the result each, at which the derivatives are taken or along which.
struct Point {
    x: Tensor,
    w: Tensor,
    y: Tensor,
}

impl Point {
    fn draw(product: Product, [x, w]: [&[usize]; 2], seed: u64) -> Point {
        let mut numbers = Numbers::new(seed);
        let [x, w] = [x, w].map(|shape| numbers.tensor(shape, -1.0, 1.0));
        let y = product(&Var::constant(x.clone()), &Var::constant(w.clone()), Precision::Full);
        Point { y: numbers.tensor(y.shape(), -1.0, 1.0), x, w }
    }

    fn map(&self, f: impl Fn(&Tensor) -> Tensor) -> Point {
        Point { x: f(&self.x), w: f(&self.w), y: f(&self.y) }
    }
}

/// Values and derivatives of a product, with their names.
type Derivatives = Vec<(&'static str, Tensor)>;

/// By differentiation, at `at` along `to`.
fn differentiated(product: Product, precision: Precision, at: &Point, to: &Point) -> Derivatives {
    let [x, w, g] = [&at.x, &at.w, &at.y].map(|value| Var::leaf(value.clone()));
    let y = product(&x, &w, precision);
    let first = pull_graph(&[(&y, &g)], &[&x, &w]);
    let of_dx = pull(vec![(first[0].clone(), to.x.clone())], &[&w, &g]);
    let of_dw = pull(vec![(first[1].clone(), to.w.clone())], &[&x, &g]);
    let tangent = |outputs: &[&Var], var: &Var, along: &Tensor| push(outputs, &[(var, along)]);
    let mut all = vec![("y", y.value().clone())];
    all.extend(["dx", "dw"].into_iter().zip(first.iter().map(|d| d.value().clone())));
    all.extend(["dx by w", "dx by g"].into_iter().zip(of_dx));
    all.extend(["dw by x", "dw by g"].into_iter().zip(of_dw));
    all.extend(["y along x", "dw along x"].into_iter().zip(tangent(&[&y, &first[1]], &x, &to.x)));
    all.extend(["y along w", "dx along w"].into_iter().zip(tangent(&[&y, &first[0]], &w, &to.w)));
    let along_g = tangent(&[&first[0], &first[1]], &g, &to.y);
    all.extend(["dx along g", "dw along g"].into_iter().zip(along_g));
    all
}

/// The same as products of the trilinear form `Σ product(x, w) g`, in full precision.
fn as_products(product: Product, at: &Point, to: &Point) -> Derivatives {
    let y = |x: &Tensor, w: &Tensor| {
        let [x, w] = [x, w].map(|value| Var::constant(value.clone()));
        product(&x, &w, Precision::Full).value().clone()
    };
    // What is differentiated by does not matter, as the form is linear in it.
    let partials = |x: &Tensor, w: &Tensor, g: &Tensor| {
        let [x, w] = [x, w].map(|value| Var::leaf(value.clone()));
        pull(vec![(product(&x, &w, Precision::Full), g.clone())], &[&x, &w])
    };
    let dx = |w: &Tensor, g: &Tensor| partials(&at.x, w, g)[0].clone();
    let dw = |x: &Tensor, g: &Tensor| partials(x, &at.w, g)[1].clone();
    vec![
        ("y", y(&at.x, &at.w)),
        ("dx", dx(&at.w, &at.y)),
        ("dw", dw(&at.x, &at.y)),
        ("dx by w", dw(&to.x, &at.y)),
        ("dx by g", y(&to.x, &at.w)),
        ("dw by x", dx(&to.w, &at.y)),
        ("dw by g", y(&at.x, &to.w)),
        ("y along x", y(&to.x, &at.w)),
        ("dw along x", dw(&to.x, &at.y)),
        ("y along w", y(&at.x, &to.w)),
        ("dx along w", dx(&to.w, &at.y)),
        ("dx along g", dx(&at.w, &to.y)),
        ("dw along g", dw(&at.x, &to.y)),
    ]
}

#[test]
fn every_derivative_rounds_the_operands_of_its_product() {
    let matmul: Product = |x, w, precision| x.matmul_with(w, precision);
    let conv: Product = |x, w, precision| x.conv2d_with(w, [2, 1], [1, 1], precision);
    let cases: [(&str, Product, [&[usize]; 2]); 4] = [
        ("large matmul", matmul, [&[40, 70], &[70, 36]]),
        ("small matmul", matmul, [&[3, 4], &[4, 5]]),
        ("large conv2d", conv, [&[17, 7, 6, 16], &[3, 3, 16, 18]]),
        ("small conv2d", conv, [&[2, 7, 6, 3], &[3, 2, 3, 5]]),
    ];
    let rounded = |x: &Tensor| x.map(|x| Bf16::new(x).to_f32());
    for (name, product, shapes) in cases {
        let [at, to] = [1, 2].map(|seed| Point::draw(product, shapes, seed));
        let got = differentiated(product, Precision::Bf16, &at, &to);
        let want = as_products(product, &at.map(rounded), &to.map(rounded));
        let full = as_products(product, &at, &to);
        for ((what, got), ((same, want), (_, full))) in got.iter().zip(want.iter().zip(&full)) {
            assert_eq!(what, same);
            assert_tensors_close(&format!("{name}: {what}"), got, want, tolerance::SINGLE);
            assert!(got != full, "{name}: {what} is not rounded");
        }
        let own = differentiated(product, Precision::Full, &at, &to);
        for ((what, own), (_, full)) in own.iter().zip(&full) {
            assert_tensors_close(&format!("{name}: {what}"), own, full, tolerance::SINGLE);
        }
    }
}

#[test]
fn small_layers_stay_in_full_precision() {
    let init = Init::new(1).with(Precision::Bf16);
    let conv = |channels| Conv2d::<f32>::new("conv", channels, 3, 1, &init).precision;
    assert_eq!(conv([16, 16]), Precision::Bf16);
    assert_eq!([conv([3, 64]), conv([64, 15])], [Precision::Full; 2]);
    let linear = |inputs, outputs| Linear::<f32>::new("fc", inputs, outputs, &init).precision;
    assert_eq!(linear(64, 64), Precision::Bf16);
    assert_eq!([linear(63, 64), linear(512, 10)], [Precision::Full; 2]);
}

/// Also after the traversal that makes leaves and saves parameters.
#[test]
fn layers_multiply_in_the_precision_they_were_made_with() {
    let mut numbers = Numbers::new(5);
    let (rows, images) = (numbers.tensor(&[32, 64], -1.0, 1.0), [16, 5, 5, 16]);
    let [rows, images] = [rows, numbers.tensor(&images, -1.0, 1.0)].map(Var::constant);
    let of = |precision| {
        let init = Init::new(1).with(precision);
        let linear: Linear = leaves(&Linear::new("fc", 64, 64, &init));
        let conv: Conv2d = leaves(&Conv2d::new("conv", [16, 16], 3, 1, &init));
        assert_eq!([linear.precision, conv.precision], [precision; 2]);
        [linear.forward(&rows), conv.forward(&images)].map(|y| y.value().clone())
    };
    let [full, bf16] = [Precision::Full, Precision::Bf16].map(of);
    for (full, bf16) in full.iter().zip(&bf16) {
        assert!(full != bf16, "not rounded");
        assert_tensors_close("bf16", bf16, full, 0.02);
    }
}

/// Two views of 32 images of 16 x 16 pixels: coarse squares, which the views share, and noise.
fn views() -> Tensor {
    let mut numbers = Numbers::new(3);
    let squares = numbers.tensor::<f32>(&[32, 4, 4, 3], -1.0, 1.0);
    let noise = numbers.tensor::<f32>(&[64, 16, 16, 3], -0.3, 0.3);
    Tensor::from_fn(noise.shape(), |i| {
        let [image, row, col, channel] = [i / 768 % 32, i / 48 % 16, i / 3 % 16, i % 3];
        let square = ((image * 4 + row / 4) * 4 + col / 4) * 3 + channel;
        squares.as_slice()[square] + noise.as_slice()[i]
    })
}

/// At the start a mask's gradient is the small difference of large sums; later it stands out.
#[test]
fn a_step_in_bf16_is_near_one_in_full_precision() {
    let x = views();
    let rule = Optimizer::Sgd(Sgd { lr: 0.06, ..Sgd::default() });
    let mode = Mode::MetaMask(Meta::FirstOrder);
    let quick = Settings { optimizer: rule, mode, ..Settings::default() };
    let settings = Settings { mode: Mode::MetaMask(Meta::Exact), ..quick };
    let network = |precision| {
        let init = Init::new(1).with(precision);
        let encoder: Encoder = Encoder::new(Architecture::Conv4, 3, &init);
        let [base, redundancy] = [vec![128, 64], vec![128, 128]];
        Network::new(encoder, &HeadShapes { base, redundancy, ..HeadShapes::default() }, &init)
    };
    let mask = Mask::new(256, MaskForm::Sigmoid);
    let mut state = State::new(network(Precision::Full), mask, &quick);
    for _ in 0..30 {
        state = step(state, &x, &quick).0;
    }
    // By how much a step moves weights and mask.
    let moved = |precision| {
        let network = with_params(&network(precision), params(&state.network));
        let after = step(State { network, ..state.clone() }, &x, &settings).0;
        let weights = [&after, &state].map(|state| params(&state.network));
        let pairs = weights[0].iter().zip(&weights[1]);
        let differences: Vec<Tensor> =
            pairs.map(|(a, b)| (a.value() - b.value()).reshape(&[a.value().len()])).collect();
        let weights = Tensor::concat(&differences.iter().collect::<Vec<_>>(), 0);
        [weights, &after.mask.logits - &state.mask.logits]
    };
    let [full, bf16] = [Precision::Full, Precision::Bf16].map(moved);
    for (what, (full, bf16)) in ["weights", "mask"].into_iter().zip(full.iter().zip(&bf16)) {
        let cosine = dot(full, bf16) / (dot(full, full) * dot(bf16, bf16)).sqrt();
        assert!(full != bf16 && cosine > 0.999, "{what}: the step turned, cosine {cosine}");
    }
}
