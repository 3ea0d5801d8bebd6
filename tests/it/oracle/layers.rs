//! Convolution, linear layers, batch norm and pooling.
//!
//! The files hold images as `[N, C, H, W]` and kernels as `[O, C, KH, KW]`; the functions here
//! permute inside, so that every derivative comes out in the files' layout.

use super::Check;
use super::case::{Case, Results};
use super::driver::differentiate;
use dimask::Real;
use dimask::autodiff::{CountPad, Var};
use dimask::nn::{BatchNorm, Pass, RunningStats};

/// `[N, C, H, W]` to `[N, H, W, C]`.
pub const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];
/// `[N, H, W, C]` to `[N, C, H, W]`.
pub const CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];
/// `[O, C, KH, KW]` to `[KH, KW, C, O]`.
pub const KERNEL: [usize; 4] = [2, 3, 1, 0];

/// Computes a case of these ops.
pub fn compute<T: Real>(case: &Case, out: &mut Results) -> Check {
    match case.info.op.as_str() {
        "conv2d" => conv2d::<T>(case, out),
        "linear" => linear::<T>(case, out),
        "batch_norm_train" => batch_norm_train::<T>(case, out),
        "batch_norm_eval" => batch_norm_eval::<T>(case, out),
        _ => pooling::<T>(case, out),
    }
}

/// `conv2d` over the files' layouts.
pub fn conv2d_nchw<T: Real>(x: &Var<T>, w: &Var<T>, stride: [usize; 2], pad: [usize; 2]) -> Var<T> {
    let y = x.permute(&CHANNELS_LAST).conv2d(&w.permute(&KERNEL), stride, pad);
    y.permute(&CHANNELS_FIRST)
}

fn conv2d<T: Real>(case: &Case, out: &mut Results) -> Check {
    case.only("dilation", vec![1, 1])?;
    case.only("groups", 1)?;
    let (stride, padding) = (case.attr("stride")?, case.attr("padding")?);
    let names: &[&str] = if case.attr("bias")? { &["x", "w", "b"] } else { &["x", "w"] };
    differentiate(case, out, names, "y", |v: &[Var<T>]| {
        let y = conv2d_nchw(&v[0], &v[1], stride, padding);
        v.get(2).map_or(y.clone(), |b| &y + &b.reshape(&[1, b.shape()[0], 1, 1]))
    })
}

// Formula: linear-1.
fn linear<T: Real>(case: &Case, out: &mut Results) -> Check {
    let names: &[&str] = if case.attr("bias")? { &["x", "w", "b"] } else { &["x", "w"] };
    differentiate(case, out, names, "y", |v: &[Var<T>]| {
        let y = v[0].matmul(&v[1].transpose(0, 1));
        v.get(2).map_or(y.clone(), |b| &y + b)
    })
}

fn pooling<T: Real>(case: &Case, out: &mut Results) -> Check {
    if case.info.op == "global_avg_pool2d" {
        return differentiate(case, out, &["x"], "y", |v: &[Var<T>]| {
            v[0].permute(&CHANNELS_LAST).global_avg_pool2d()
        });
    }
    let kernel = case.attr("kernel")?;
    let (stride, padding) = (case.attr("stride")?, case.attr("padding")?);
    if case.info.op == "max_pool2d" {
        return differentiate(case, out, &["x"], "y", |v: &[Var<T>]| {
            let x = v[0].permute(&CHANNELS_LAST);
            x.max_pool2d(kernel, stride, padding).permute(&CHANNELS_FIRST)
        });
    }
    let count = if case.attr("count_include_pad")? { CountPad::Include } else { CountPad::Exclude };
    differentiate(case, out, &["x"], "y", |v: &[Var<T>]| {
        let x = v[0].permute(&CHANNELS_LAST);
        x.avg_pool2d(kernel, stride, padding, count).permute(&CHANNELS_FIRST)
    })
}

/// The permutation that moves `axis` to the end, and its inverse.
fn to_end(rank: usize, axis: usize) -> (Vec<usize>, Vec<usize>) {
    let forward: Vec<usize> = (0..rank).filter(|&i| i != axis).chain([axis]).collect();
    let mut back = vec![0; rank];
    for (i, &from) in forward.iter().enumerate() {
        back[from] = i;
    }
    (forward, back)
}

/// The layer and its running moments as the case gives them; without `affine` the identity's.
struct Norm<T: Real> {
    names: &'static [&'static str],
    layer: BatchNorm<T>,
    running: RunningStats<T>,
    to_end: Vec<usize>,
    back: Vec<usize>,
}

impl<T: Real> Norm<T> {
    fn read(case: &Case) -> Check<Norm<T>> {
        let (mean, var) = (case.tensor("running_mean")?, case.tensor("running_var")?);
        let names: &[&str] = if case.attr("affine")? { &["x", "weight", "bias"] } else { &["x"] };
        let mut layer = BatchNorm::new("norm", mean.len());
        layer.eps = case.attr("eps")?;
        let mut running = RunningStats::new(&layer);
        running.set("norm", mean, var);
        let rank = case.raw("x")?.shape.len();
        let (to_end, back) = to_end(rank, case.attr("channel_axis")?);
        Ok(Norm { names, layer, running, to_end, back })
    }

    /// The layer on `[x]` or `[x, weight, bias]`, in the files' layout.
    fn forward(&self, v: &[Var<T>], pass: &mut Pass<'_, T>) -> Var<T> {
        let mut layer = self.layer.clone();
        if let [_, weight, bias] = v {
            (layer.weight, layer.bias) = (weight.clone(), bias.clone());
        }
        layer.forward(&v[0].permute(&self.to_end), pass).permute(&self.back)
    }
}

fn batch_norm_train<T: Real>(case: &Case, out: &mut Results) -> Check {
    let mut norm = Norm::<T>::read(case)?;
    let momentum: f64 = case.attr("momentum")?;
    differentiate(case, out, norm.names, "y", |v: &[Var<T>]| norm.forward(v, &mut Pass::train(1)))?;
    for (batch, count) in [("x", 1), ("x2", 2)] {
        let mut inputs = vec![Var::constant(case.tensor::<T>(batch)?)];
        for name in &norm.names[1..] {
            inputs.push(Var::constant(case.tensor::<T>(name)?));
        }
        let mut pass = Pass::train(1);
        let y = norm.forward(&inputs, &mut pass);
        if count == 2 {
            out.put("y2", y.value());
        }
        norm.running.update(&pass.into_moments(), momentum);
        let (mean, var) = norm.running.get("norm").ok_or("the running moments are gone")?;
        out.put(format!("running_mean_{count}"), mean);
        out.put(format!("running_var_{count}"), var);
    }
    Ok(())
}

fn batch_norm_eval<T: Real>(case: &Case, out: &mut Results) -> Check {
    let norm = Norm::<T>::read(case)?;
    differentiate(case, out, norm.names, "y", |v: &[Var<T>]| {
        norm.forward(v, &mut Pass::eval(&norm.running))
    })
}
