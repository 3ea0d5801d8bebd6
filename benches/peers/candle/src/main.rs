//! The work of `cargo bench --bench steps -- --only simclr_conv4_3x32_b256` in candle, on the CPU.
//!
//!     RAYON_NUM_THREADS=2 cargo run --release [-- STEPS]
//!
//! Takes five steps, or as many as are asked for; the first is not counted. Prints one JSON line.
//! The max-pool of 0.11.1 hands back a quarter of its gradient, so the loss falls slowly; the work
//! is the same.

use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{
    BatchNorm, Conv2d, Conv2dConfig, Linear, Module, ModuleT, VarBuilder, VarMap, batch_norm,
    conv2d_no_bias, linear, loss::cross_entropy,
};

/// The release that `Cargo.toml` names.
const VERSION: &str = "0.11.1";
const PAIRS: usize = 256;
const TEMPERATURE: f64 = 0.5;
const LR: f64 = 1e-3;
const MOMENTUM: f64 = 0.9;
const DECAY: f64 = 5e-4;

/// The encoder of four blocks and the head 256-2048-256.
struct Network {
    blocks: Vec<(Conv2d, BatchNorm)>,
    head: Vec<(Linear, BatchNorm)>,
}

impl Network {
    fn new(vars: &VarBuilder) -> Result<Self> {
        let config = Conv2dConfig { padding: 1, ..Conv2dConfig::default() };
        let (mut blocks, mut head) = (Vec::new(), Vec::new());
        for (i, pair) in [3, 32, 64, 128, 256].windows(2).enumerate() {
            let conv = conv2d_no_bias(pair[0], pair[1], 3, config, vars.pp(format!("conv{i}")))?;
            blocks.push((conv, batch_norm(pair[1], 1e-5, vars.pp(format!("norm{i}")))?));
        }
        for (i, pair) in [256, 2048, 256].windows(2).enumerate() {
            let layer = linear(pair[0], pair[1], vars.pp(format!("head{i}")))?;
            head.push((layer, batch_norm(pair[1], 1e-5, vars.pp(format!("head_norm{i}")))?));
        }
        Ok(Self { blocks, head })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = x.clone();
        for (conv, norm) in &self.blocks {
            y = norm.forward_t(&conv.forward(&y)?, true)?.relu()?.max_pool2d(2)?;
        }
        y = y.mean((2, 3))?;
        for (i, (layer, norm)) in self.head.iter().enumerate() {
            y = norm.forward_t(&layer.forward(&y)?, true)?;
            y = if i + 1 < self.head.len() { y.relu()? } else { y };
        }
        Ok(y)
    }
}

/// NT-Xent of the rows of two views, one view after the other.
fn nt_xent(z: &Tensor) -> Result<Tensor> {
    let rows = z.dim(0)?;
    let z = z.broadcast_div(&z.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)?;
    let similarity = (z.matmul(&z.t()?)? / TEMPERATURE)?;
    let itself = (Tensor::eye(rows, DType::F32, z.device())? * -1e9)?;
    let other_view: Vec<u32> = (0..rows).map(|i| ((i + rows / 2) % rows) as u32).collect();
    cross_entropy(&(similarity + itself)?, &Tensor::new(other_view, z.device())?)
}

/// Descent with momentum and weight decay; candle's own has neither.
fn descend(vars: &[Var], velocities: &mut [Tensor], grads: &GradStore) -> Result<()> {
    for (var, velocity) in vars.iter().zip(velocities) {
        let Some(grad) = grads.get(var) else { continue }; // Running moments have none.
        *velocity = ((&*velocity * MOMENTUM)? + (grad + (var.as_tensor() * DECAY)?)?)?;
        var.set(&(var.as_tensor() - (&*velocity * LR)?)?)?;
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let steps: usize = args.next().map_or(5, |steps| steps.parse().expect("a number of steps"));
    assert!(steps > 1, "the first step is not counted");
    let device = Device::Cpu;
    let map = VarMap::new();
    let network = Network::new(&VarBuilder::from_varmap(&map, DType::F32, &device))?;
    let vars = map.all_vars();
    let mut velocities = vars.iter().map(|x| x.zeros_like()).collect::<Result<Vec<_>>>()?;
    let noise = || Tensor::randn(0f32, 1f32, (PAIRS, 3, 32, 32), &device);
    let views = [noise()?, noise()?];
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let start = Instant::now();
        // Views go one by one: batch-norm takes the moments of each, as ours does.
        let z = [network.forward(&views[0])?, network.forward(&views[1])?];
        let loss = nt_xent(&Tensor::cat(&z, 0)?)?;
        descend(&vars, &mut velocities, &loss.backward()?)?;
        losses.push(loss.to_scalar::<f32>()?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    report(&format!("candle {VERSION}"), &mut seconds[1..], &losses);
    Ok(())
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
