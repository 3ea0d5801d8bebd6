//! The work of `cargo bench --bench steps -- --only simclr_conv4_3x32_b256` in burn, on the CPU.
//!
//!     RAYON_NUM_THREADS=2 cargo run --release [-- STEPS]
//!
//! Takes five steps, or as many as are asked for; the first is not counted. Prints one JSON line.

use std::time::Instant;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Int, Tensor};

/// The release that `Cargo.toml` names.
const VERSION: &str = "0.22.1";
const PAIRS: usize = 256;
const TEMPERATURE: f32 = 0.5;
const LR: f64 = 1e-3;

/// 3x3 convolution, batch-norm, ReLU, 2x2 max-pool.
#[derive(Module, Debug)]
struct Block {
    conv: Conv2d,
    norm: BatchNorm,
    pool: MaxPool2d,
}

impl Block {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        let conv = Conv2dConfig::new([inputs, outputs], [3, 3])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .with_bias(false);
        Self {
            conv: conv.init(device),
            norm: BatchNormConfig::new(outputs).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.pool.forward(relu(self.norm.forward(self.conv.forward(x))))
    }
}

/// The encoder of four blocks and the head 256-2048-256.
#[derive(Module, Debug)]
struct Network {
    blocks: Vec<Block>,
    layers: Vec<Linear>,
    norms: Vec<BatchNorm>,
}

impl Network {
    fn new(device: &Device) -> Self {
        let widths = [3, 32, 64, 128, 256];
        let sizes = [256, 2048, 256];
        let linear = |pair: &[usize]| LinearConfig::new(pair[0], pair[1]).init(device);
        Self {
            blocks: widths.windows(2).map(|pair| Block::new(pair[0], pair[1], device)).collect(),
            layers: sizes.windows(2).map(linear).collect(),
            norms: sizes[1..].iter().map(|&n| BatchNormConfig::new(n).init(device)).collect(),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let y = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let y = y.mean_dim(3).mean_dim(2).flatten(1, 3);
        let y = relu(self.norms[0].forward(self.layers[0].forward(y)));
        self.norms[1].forward(self.layers[1].forward(y))
    }
}

/// NT-Xent of the rows of two views, one view after the other.
fn nt_xent(z: Tensor<2>) -> Tensor<1> {
    let (rows, device) = (z.dims()[0], z.device().inner());
    let z = z.clone() / z.square().sum_dim(1).sqrt();
    let similarity = z.clone().matmul(z.transpose()).div_scalar(TEMPERATURE);
    let itself = Tensor::eye(rows, &device).mul_scalar(-1e9);
    let other_view = Tensor::<1, Int>::arange(0..rows as i64, &device).roll_dim(rows / 2, 0);
    let loss = CrossEntropyLossConfig::new().init(&device);
    loss.forward(similarity + itself, other_view)
}

fn main() {
    let mut args = std::env::args().skip(1);
    let steps: usize = args.next().map_or(5, |steps| steps.parse().expect("a number of steps"));
    assert!(steps > 1, "the first step is not counted");
    // Its other backend in pure Rust, ndarray, is deprecated and over ten times slower.
    let device = Device::flex().autodiff();
    device.seed(1);
    let mut network = Network::new(&device);
    let mut optimizer = SgdConfig::new()
        .with_momentum(Some(MomentumConfig::new().with_dampening(0.0)))
        .with_weight_decay(Some(WeightDecayConfig::new(5e-4)))
        .init();
    let noise = || Tensor::<4>::random([PAIRS, 3, 32, 32], Distribution::Normal(0.0, 1.0), &device);
    let views = [noise(), noise()];
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let start = Instant::now();
        // Views go one by one: batch-norm takes the moments of each, as ours does.
        let z = views.iter().map(|x| network.forward(x.clone())).collect();
        let loss = nt_xent(Tensor::cat(z, 0));
        let grads = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(LR, network, grads);
        losses.push(loss.into_scalar::<f32>());
        seconds.push(start.elapsed().as_secs_f64());
    }
    report(&format!("burn {VERSION} flex"), &mut seconds[1..], &losses);
}

/// Prints the times, after a look at the losses.
fn report(peer: &str, seconds: &mut [f64], losses: &[f32]) {
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    // At first an image finds its other view no more easily than any of the 511 others.
    assert!((first - 511f32.ln()).abs() < 0.5, "the first loss is {first}");
    assert!(losses.iter().all(|x| x.is_finite()) && last < first, "losses {losses:?}");
    seconds.sort_by(f64::total_cmp);
    let (best, median) = (seconds[0], seconds[seconds.len() / 2]);
    println!(
        "{{\"name\":\"simclr_conv4_3x32_b256\",\"peer\":\"{peer}\",\"seconds_best\":{best:.5},\
         \"seconds_median\":{median:.5},\"loss_first\":{first:.4},\"loss_last\":{last:.4}}}"
    );
}
