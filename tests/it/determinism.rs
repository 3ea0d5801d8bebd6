//! Same bits for the same seed at any thread count: work is cut by problem size only.

use crate::support::{Numbers, with_threads};
use dimask::Real;
use dimask::autodiff::{Var, grad};
use dimask::metamask::{HeadShapes, Mask, MaskForm, Network, Settings, State, step};
use dimask::nn::{Architecture, Encode, Encoder, Init, Pass, Stem, leaves, params};
use dimask::tensor::{Precision, Tensor};

const THREADS: [usize; 4] = [1, 2, 3, 7];

const RESNET: Architecture = Architecture::ResNet18 { width: 4, stem: Stem::Relu };

/// The bits of tensors, so that `-0.0` and `0.0`, and two NaNs, are told apart.
fn bits<'a, T: Real>(tensors: impl IntoIterator<Item = &'a Tensor<T>>) -> Vec<u64> {
    let all = tensors.into_iter().flat_map(|tensor| tensor.as_slice());
    all.map(|x| x.to_f64().to_bits()).collect()
}

/// Fails unless `work` gives the same bits in pools of 1, 2, 3 and 7 threads.
#[track_caller]
fn check(what: &str, work: impl Fn() -> Vec<u64> + Send + Sync) {
    let first = with_threads(THREADS[0], &work);
    assert!(first.len() > 100, "{what}: only {} numbers to compare", first.len());
    for threads in &THREADS[1..] {
        let other = with_threads(*threads, &work);
        let differing = first.iter().zip(&other).filter(|(a, b)| a != b).count();
        assert_eq!(other.len(), first.len());
        assert_eq!(differing, 0, "{what}: {differing} numbers differ with {threads} threads");
    }
}

fn images<T: Real>(n: usize, side: usize) -> Tensor<T> {
    Numbers::new(4).tensor(&[n, side, side, 3], -1.0, 1.0)
}

/// Value, gradients and batch moments of one forward and backward pass.
fn gradients<T: Real>(architecture: Architecture, x: &Tensor<T>, precision: Precision) -> Vec<u64> {
    let init = Init::new(5).with(precision);
    let encoder = leaves(&Encoder::<T>::new(architecture, 3, &init));
    let mut pass = Pass::train(2);
    let features = encoder.forward(&Var::constant(x.clone()), &mut pass);
    let loss = features.log_softmax(1).square().mean();
    let wrt = params(&encoder);
    let value = loss.value().clone();
    let gradients = grad(loss, &wrt.iter().collect::<Vec<_>>());
    let mut all = bits([&value].into_iter().chain(&gradients));
    all.extend(pass.into_moments().iter().flat_map(|m| bits([&m.mean, &m.var])));
    all
}

#[test]
fn gradients_of_conv4_have_the_same_bits_at_any_thread_count() {
    let x = images::<f32>(32, 32);
    check("conv4, f32", || gradients(Architecture::Conv4, &x, Precision::Full));
    check("conv4, bf16", || gradients(Architecture::Conv4, &x, Precision::Bf16));
    let x = images::<f64>(4, 16);
    check("conv4, f64", || gradients(Architecture::Conv4, &x, Precision::Full));
}

#[test]
fn gradients_of_resnet18_have_the_same_bits_at_any_thread_count() {
    let x = images::<f32>(16, 32);
    check("resnet18, f32", || gradients(RESNET, &x, Precision::Full));
    check("resnet18, bf16", || gradients(RESNET, &x, Precision::Bf16));
}

#[test]
fn training_has_the_same_bits_at_any_thread_count() {
    let batches: Vec<Tensor<f32>> =
        (0..2).map(|i| Numbers::new(6 + i).tensor(&[16, 16, 16, 3], -1.0, 1.0)).collect();
    check("two steps of MetaMask", || {
        let init = Init::new(7);
        let encoder = Encoder::<f32>::new(Architecture::Conv4, 3, &init);
        let mask = Mask::new(encoder.features(), MaskForm::Sigmoid);
        let shapes = HeadShapes {
            base: vec![64, 32],
            redundancy: vec![64, 64, 64],
            ..HeadShapes::default()
        };
        let network = Network::new(encoder, &shapes, &init);
        let mut state = State::new(network, mask, &Settings::default());
        let mut all = Vec::new();
        for x in &batches {
            let report;
            (state, report) = step(state, x, &Settings::default());
            assert_eq!(report.non_finite, None);
            all.push(report.loss.to_bits());
        }
        assert!(state.network.heads.redundancy.is_some());
        all.extend(bits(params(&state.network).iter().map(Var::value)));
        all.extend(bits(state.optimizer.slots.iter().flatten()));
        all.extend(bits([&state.mask.logits]));
        all.extend(state.running.iter().flat_map(|(_, mean, var)| bits([mean, var])));
        all
    });
}

#[test]
fn sums_and_products_have_the_same_bits_at_any_thread_count() {
    let mut numbers = Numbers::new(8);
    // Long enough to be cut into pieces whose number no thread count divides.
    let long = numbers.tensor::<f32>(&[1_000_003], -1.0, 1.0);
    let tall = numbers.tensor::<f32>(&[50_021, 7], -1.0, 1.0);
    let (a, b) =
        (numbers.tensor::<f32>(&[301, 257], -1.0, 1.0), numbers.tensor(&[257, 199], -1.0, 1.0));
    check("sums and products", || {
        let long = Var::constant(long.clone());
        let tall = Var::constant(tall.clone());
        let product = a.matmul(&b);
        bits([
            long.sum().value(),
            long.square().mean().value(),
            tall.sum_to(&[7]).value(),
            tall.sum_to(&[50_021, 1]).value(),
            tall.log_softmax(1).sum().value(),
            &product,
            &a.matmul_tn(&product),
            &product.matmul_nt(&b),
        ])
    });
}
