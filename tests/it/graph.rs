//! The graph as a thing: threads, depth, memory, and what derivatives of derivatives must be.

use crate::support::{Numbers, assert_tensors_close, tolerance, with_threads};
use dimask::autodiff::{Norm, Tail, Var, grad, grad_graph, push};
use dimask::kernels::alloc::{Stats, stats};
use dimask::metamask::{HeadShapes, Mask, MaskForm, Network, Settings, State, step};
use dimask::nn::{Conv4, Encode, Init, Module, Pass, ResNet18, Stem};
use dimask::tensor::Tensor;

/// Small enough that a recursion over a million nodes cannot fit.
const SMALL_STACK: usize = 256 * 1024;

fn on_a_small_stack<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = std::thread::Builder::new().stack_size(SMALL_STACK).spawn(work);
    thread.expect("a thread can be started").join().expect("the work ends without a panic")
}

fn chain(x: &Var<f64>, length: usize) -> Var<f64> {
    let mut y = x.clone();
    for _ in 0..length {
        y = &y + 1e-6;
    }
    y
}

#[test]
fn variables_cross_threads() {
    fn check<X: Send + Sync>() {}
    check::<Var<f32>>();
    check::<Var<f64>>();
    check::<Tensor<f32>>();

    // One graph, four threads, the same bits.
    let x = Var::leaf(Numbers::new(1).tensor::<f64>(&[4, 4], -1.0, 1.0));
    let loss = x.matmul(&x).tanh().square().sum();
    let gradient = || grad_graph(&loss, &[&x]).remove(0).value().to_vec();
    let first = gradient();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(gradient)).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), first);
        }
    });
}

#[test]
fn a_million_operations_differentiate_without_recursion() {
    on_a_small_stack(|| {
        let x = Var::leaf(Tensor::scalar(0.5));
        let y = chain(&x, 1_000_000);
        let pushed = push(&[&y], &[(&x, &Tensor::scalar(2.0))]);
        assert_eq!(pushed[0].item(), 2.0);
        assert_eq!(grad(y, &[&x])[0].item(), 1.0);
    });
}

#[test]
fn a_million_operations_drop_without_recursion() {
    on_a_small_stack(|| {
        let x = Var::leaf(Tensor::scalar(0.5));
        drop(chain(&x, 1_000_000));
        // Kept alive by a second owner in the middle, then let go.
        let middle = chain(&x, 500_000);
        let end = chain(&middle, 500_000);
        drop(middle);
        drop(end);
    });
}

#[test]
fn a_chain_of_gradients_drops_without_recursion() {
    on_a_small_stack(|| {
        let x = Var::leaf(Tensor::scalar(0.5));
        let y = chain(&x.square(), 200_000);
        let dy = grad_graph(&y, &[&x]).remove(0);
        drop(y);
        assert_eq!(grad(dy, &[&x])[0].item(), 2.0);
    });
}

/// Runs `work` in a process of its own: what the pool counts is the whole process's.
fn alone(test: &str, work: impl FnOnce()) {
    const ALONE: &str = "DIMASK_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let program = std::env::current_exe().expect("a test knows its own program");
    let mut command = std::process::Command::new(program);
    command.args([test, "--exact", "--nocapture"]).env(ALONE, "1");
    let output = command.output().expect("a test can be started again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

const LAYERS: usize = 50;

/// `x * w_0 * w_1 ..`, of 100,000 numbers: each layer saves its input, and adds a gradient.
fn layers() -> (Vec<Var<f64>>, Var<f64>) {
    let weight = |i| Var::leaf(Tensor::full(&[100_000], 1.0 + i as f64 * 1e-3));
    let weights: Vec<Var<f64>> = (0..LAYERS).map(weight).collect();
    let mut y = Var::constant(Tensor::full(&[100_000], 0.5));
    for weight in &weights {
        y = &y * weight;
    }
    let loss = y.sum();
    (weights, loss)
}

#[test]
fn grad_frees_as_it_walks() {
    alone("graph::grad_frees_as_it_walks", || {
        let unit = 100_000 * size_of::<f64>();
        let (weights, loss) = layers();
        let before = stats().live_bytes;
        assert!(before >= 2 * LAYERS * unit, "weights and saved values: {before}");
        let gradients = grad(loss, &weights.iter().collect::<Vec<_>>());
        // One value goes for each gradient that comes; kept, they would be fifty more.
        let peak = stats().peak_bytes;
        assert!(peak <= before + 6 * unit, "{} more than before the walk", peak - before);
        drop(gradients);
        let after = stats().live_bytes;
        assert!(after <= (LAYERS + 2) * unit * 9 / 8, "{after} left where the weights are");
    });
}

#[test]
fn a_graph_that_someone_holds_is_not_freed() {
    alone("graph::a_graph_that_someone_holds_is_not_freed", || {
        let (weights, loss) = layers();
        let before = stats().live_bytes;
        let wrt: Vec<&Var<f64>> = weights.iter().collect();
        let first = grad(loss.clone(), &wrt);
        let kept = stats().live_bytes;
        assert!(kept >= before, "{kept} of {before} are left");
        let second = grad(loss, &wrt);
        for (a, b) in first.iter().zip(&second) {
            assert_eq!(a.as_slice()[..10], b.as_slice()[..10]);
        }
    });
}

#[test]
fn a_repeated_step_takes_no_fresh_memory() {
    alone("graph::a_repeated_step_takes_no_fresh_memory", || {
        with_threads(1, || {
            let step = || {
                let (weights, loss) = layers();
                grad(loss, &weights.iter().collect::<Vec<_>>())
            };
            drop(step());
            drop(step());
            let fresh = stats().n_fresh;
            (0..3).for_each(|_| drop(step()));
            assert_eq!(stats().n_fresh, fresh, "buffers from the system after the second step");
        });
    });
}

#[test]
fn two_hundred_steps_hold_no_more_memory_than_ten() {
    alone("graph::two_hundred_steps_hold_no_more_memory_than_ten", || {
        with_threads(1, || {
            let init = Init::new(1);
            let heads =
                HeadShapes { base: vec![64, 32], redundancy: vec![64], ..Default::default() };
            let network = Network::new(Conv4::<f32>::new(1, &init), &heads, &init);
            let mask = Mask::new(network.encoder.features(), MaskForm::Sigmoid);
            let settings = Settings::default();
            let x = Numbers::new(17).tensor(&[16, 16, 16, 1], -1.0, 1.0);
            let mut state = State::new(network, mask, &settings);
            let mut at_ten = stats();
            for n in 1..=200 {
                state = step(state, &x, &settings).0;
                if n == 10 {
                    at_ten = stats();
                    assert!(at_ten.peak_bytes > 4 << 20, "the pool counts: {at_ten:?}");
                }
            }
            let at_end = stats();
            assert_eq!(at_end.live_bytes, at_ten.live_bytes, "held between steps");
            assert_eq!(at_end.peak_bytes, at_ten.peak_bytes, "held within a step");
            assert_eq!(at_end.n_fresh, at_ten.n_fresh, "from the system");
        });
    });
}

#[test]
fn a_resnets_forward_pass_keeps_no_map_that_can_be_made_again() {
    alone("graph::a_resnets_forward_pass_keeps_no_map_that_can_be_made_again", || {
        let (net, x) = resnet();
        let before = stats().peak_bytes;
        let features = net.forward(&x, &mut Pass::train(2));
        let forward = stats().peak_bytes;
        drop(features);
        let maps = net.maps(&x, &mut Pass::train(2));
        let with_maps = stats().peak_bytes;
        // Of the maps only the stem's is not what an operation saves anyway.
        let stem = maps[0].value().len() * size_of::<f32>();
        assert!(before < forward && forward + stem <= with_maps, "{before} {forward} {with_maps}");
    });
}

#[test]
fn what_wide_layers_free_serves_narrow_ones() {
    alone("graph::what_wide_layers_free_serves_narrow_ones", || {
        with_threads(1, || {
            let (net, x) = resnet();
            for _ in 0..3 {
                let loss = net.forward(&x, &mut Pass::train(2)).square().mean();
                let mut weights = Vec::new();
                net.visit(&mut |_, weight, _| weights.push(weight.clone()));
                drop(grad(loss, &weights.iter().collect::<Vec<_>>()));
            }
            let Stats { live_bytes, pooled_bytes, peak_bytes, .. } = stats();
            let held = live_bytes + pooled_bytes;
            assert!(held <= peak_bytes * 5 / 4, "{held} held for a peak of {peak_bytes}");
        });
    });
}

/// A network whose maps are 16 MiB in its first stage and half of it in each of the next, and
/// images for it.
fn resnet() -> (ResNet18<f32>, Var<f32>) {
    let net = ResNet18::new(3, 16, Stem::Relu, &Init::new(1));
    let net = net.map_params(&mut |_, weight, _| Var::leaf(weight.value().clone()));
    (net, Var::constant(Numbers::new(18).tensor(&[256, 32, 32, 3], -1.0, 1.0)))
}

#[test]
fn an_unused_input_has_gradient_zero() {
    let (x, unused) = (Var::leaf(Tensor::scalar(2.0)), Var::leaf(Tensor::<f64>::zeros(&[2, 3])));
    let gradients = grad(x.square(), &[&x, &unused]);
    assert_eq!(gradients[0].item(), 4.0);
    assert_eq!((gradients[1].shape(), gradients[1].to_vec()), (&[2, 3][..], vec![0.0; 6]));
    assert_eq!(grad_graph(&x.square(), &[&unused])[0].value().to_vec(), [0.0; 6]);
    let constant = Var::constant(Tensor::scalar(1.0));
    assert_eq!(grad(constant, &[&x])[0].item(), 0.0);
    let still = push(&[&x.square()], &[(&unused, &Tensor::zeros(&[2, 3]))]);
    assert_eq!(still[0].item(), 0.0);
}

#[test]
fn a_detached_value_passes_no_gradient() {
    let x = Var::leaf(Tensor::scalar(3.0));
    assert_eq!(grad(&x * &x.detach(), &[&x])[0].item(), 3.0);
    assert!(!x.detach().is_recorded() && x.is_recorded());
    assert!(!(&x.detach() * &Var::constant(Tensor::scalar(2.0))).is_recorded());
}

#[test]
fn an_output_is_its_own_gradient_when_asked_for() {
    // The gradient in an intermediate value, and in a value and its ancestor at once.
    let x = Var::leaf(Tensor::scalar(2.0));
    let y = x.square();
    let z = &y * &x;
    let gradients = grad_graph(&z, &[&y, &x]);
    assert_eq!(gradients[0].item(), 2.0);
    assert_eq!(gradients[1].item(), 12.0);
}

// Formulas: reverse-2, reverse-3.
#[test]
fn mixed_partials_commute_and_match_by_hand() {
    let (x, y) = (Var::leaf(Tensor::scalar(0.7)), Var::leaf(Tensor::scalar(-1.3)));
    // f = exp(x y) + x³ y²: f_xy = (1 + x y) exp(x y) + 6 x² y, f_xxy = y (2 + x y) e + 12 x y.
    let f = (&x * &y).exp() + x.powf(3.0) * y.square();
    let f_x = grad_graph(&f, &[&x]).remove(0);
    let f_y = grad_graph(&f, &[&y]).remove(0);
    let f_xy = grad_graph(&f_x, &[&y]).remove(0);
    let f_yx = grad_graph(&f_y, &[&x]).remove(0);
    let (a, b) = (0.7f64, -1.3f64);
    let e = (a * b).exp();
    let expected = Tensor::scalar((1.0 + a * b) * e + 6.0 * a * a * b);
    assert_tensors_close("f_xy", f_xy.value(), &expected, tolerance::LAW);
    assert_tensors_close("f_yx", f_yx.value(), &expected, tolerance::LAW);
    let f_xyx = grad(f_xy, &[&x]).remove(0);
    let third = Tensor::scalar(b * (2.0 + a * b) * e + 12.0 * a * b);
    assert_tensors_close("f_xyx", &f_xyx, &third, tolerance::LAW);
}

#[test]
fn a_gradient_through_a_gradient_step_is_exact() {
    // d/dm L(w - lr dL/dw(w, m), m) for L = (w m - 1)², by hand.
    let (w0, m0, lr) = (0.8f64, 0.6f64, 0.3f64);
    let (w, m) = (Var::leaf(Tensor::scalar(w0)), Var::leaf(Tensor::scalar(m0)));
    let loss = |w: &Var<f64>| (w * &m - 1.0).square();
    let step = grad_graph(&loss(&w), &[&w]).remove(0);
    let moved = &w - &(step * lr);
    let meta = grad(loss(&moved), &[&m]).remove(0).item();
    let trial = w0 - lr * 2.0 * m0 * (w0 * m0 - 1.0);
    let trial_dm = -lr * 2.0 * (2.0 * w0 * m0 - 1.0);
    let by_hand = 2.0 * (trial * m0 - 1.0) * (trial + m0 * trial_dm);
    assert!((meta - by_hand).abs() < 1e-14, "{meta} and {by_hand}");
}

#[test]
fn whole_powers_have_every_derivative_at_zero() {
    let x = Var::leaf(Tensor::from_vec(vec![0.0f64, -2.0], &[2]));
    // x² has the derivatives 2x, 2 and 0; a rule that ends in 0 · 0⁻¹ would say NaN.
    let first = grad_graph(&x.powf(2.0).sum(), &[&x]).remove(0);
    let second = grad_graph(&first.sum(), &[&x]).remove(0);
    let third = grad_graph(&second.sum(), &[&x]).remove(0);
    assert_eq!(first.value().to_vec(), [0.0, -4.0]);
    assert_eq!(second.value().to_vec(), [2.0, 2.0]);
    assert_eq!(third.value().to_vec(), [0.0, 0.0]);
}

#[test]
fn what_is_made_again_is_not_kept() {
    alone("graph::what_is_made_again_is_not_kept", || {
        let mut numbers = Numbers::new(18);
        let x = Var::constant(numbers.tensor(&[8, 32, 32, 16], -1.0, 1.0));
        let unit = x.value().len() * size_of::<f64>();
        let w = Var::leaf(numbers.tensor(&[3, 3, 16, 16], -0.1, 0.1));
        let [scale, shift] = [1.0, 0.0].map(|v| Var::leaf(Tensor::full(&[16], v)));
        let conv = |x: &Var<f64>| x.conv2d(&w, [1, 1], [1, 1]);
        let norm = |x: &Var<f64>, tail| {
            x.batch_norm(Norm { tail, ..Norm::new(&scale, &shift, 1e-5, 2) }).y
        };
        let before = stats().live_bytes;
        // A block with a convolution in its shortcut, and the next convolution.
        let relu = norm(&conv(&x), Tail::Relu);
        let shortcut = norm(&conv(&relu), Tail::Nothing);
        let sum = norm(&conv(&relu), Tail::AddRelu(&shortcut));
        drop((relu, shortcut));
        let loss = conv(&sum).sum();
        drop(sum);
        // Three convolutions are kept, and nothing that was made of them.
        let kept = stats().live_bytes - before;
        assert!((3 * unit..3 * unit + unit / 2).contains(&kept), "{kept} bytes, {unit} a value");
        drop(grad(loss, &[&w]));
    });
}
