//! ResNet-18 as a whole, with weights under torchvision's names, in both modes.

use super::Check;
use super::case::{Case, Results};
use super::layers::{CHANNELS_FIRST, CHANNELS_LAST};
use super::store::Raw;
use dimask::Real;
use dimask::autodiff::{Var, grad};
use dimask::nn::{Init, Layout, Module, Pass, ResNet18, RunningStats, Stem};
use std::collections::BTreeMap;

const STAGES: [&str; 5] = ["stem", "layer1", "layer2", "layer3", "layer4"];

/// Computes a case: maps, features, loss, gradients, and the moments after a training pass.
pub fn compute<T: Real>(case: &Case, out: &mut Results) -> Check {
    case.only("blocks", vec![2, 2, 2, 2])?;
    // The layers' own eps; another value would be unknown here.
    case.only("bn_eps", 1e-5)?;
    let momentum: f64 = case.attr("bn_momentum")?;
    let order: Vec<String> = case.attr("param_order")?;
    let state = case.attached("state_dict_file")?;
    let x = Var::constant(case.tensor::<T>("input")?.permute(&CHANNELS_LAST));
    let channels = x.shape()[3];

    let blank = ResNet18::<T>::new(channels, case.attr("width")?, Stem::Relu, &Init::new(0));
    let net = load(&blank, &state)?;
    let mut running = RunningStats::new(&net);
    let layers: Vec<String> = running.iter().map(|(name, _, _)| name.to_string()).collect();
    for layer in &layers {
        let (mean, var) = (format!("{layer}.running_mean"), format!("{layer}.running_var"));
        running.set(layer, tensor(&state, &mean)?, tensor(&state, &var)?);
    }

    let mut pass = Pass::eval(&running);
    run(case, out, "eval", &net, &x, &mut pass, &order)?;
    drop(pass);
    let mut pass = Pass::train(1);
    run(case, out, "train", &net, &x, &mut pass, &order)?;
    running.update(&pass.into_moments(), momentum);
    for (layer, mean, var) in running.iter() {
        out.put(format!("train/{layer}.running_mean_after"), mean);
        out.put(format!("train/{layer}.running_var_after"), var);
    }
    Ok(())
}

fn tensor<T: Real>(state: &BTreeMap<String, Raw>, name: &str) -> Check<dimask::tensor::Tensor<T>> {
    let raw = state.get(name).and_then(Raw::to_tensor);
    raw.ok_or_else(|| format!("no float tensor `{name}` in the state dict"))
}

/// The network with the state dict's parameters; each must be there and fit.
fn load<T: Real>(net: &ResNet18<T>, state: &BTreeMap<String, Raw>) -> Check<ResNet18<T>> {
    let mut failure = None;
    let loaded = net.map_params(&mut |name, var, layout: Layout| match tensor(state, name)
        .map(|value| layout.from_torch(&value))
    {
        Ok(value) if value.shape() == var.shape() => Var::leaf(value),
        Ok(value) => {
            failure = Some(format!("`{name}` is {:?}, not {:?}", value.shape(), var.shape()));
            var.clone()
        }
        Err(error) => {
            failure = Some(error);
            var.clone()
        }
    });
    failure.map_or(Ok(loaded), Err)
}

fn run<T: Real>(
    case: &Case,
    out: &mut Results,
    mode: &str,
    net: &ResNet18<T>,
    x: &Var<T>,
    pass: &mut Pass<'_, T>,
    order: &[String],
) -> Check {
    let maps = net.maps(x, pass);
    for (stage, map) in STAGES.iter().zip(&maps) {
        let name = format!("{mode}/{stage}");
        // Large maps are stored for the first images only.
        let stored = case.raw(&name)?.shape.first().copied().unwrap_or(0);
        let map = map.value().permute(&CHANNELS_FIRST);
        let mut ends = map.shape().to_vec();
        ends[0] = ends[0].min(stored);
        out.put(name, &map.slice(&[0; 4], &ends, &[1; 4]));
    }
    let features = maps[4].global_avg_pool2d();
    out.put(format!("{mode}/features"), features.value());
    let loss = features.square().mean();
    out.put(format!("{mode}/loss"), loss.value());

    let mut names = Vec::new();
    let mut params = Vec::new();
    net.visit(&mut |name, var, layout| {
        names.push((name.to_string(), layout));
        params.push(var.clone());
    });
    let gradients = grad(loss, &params.iter().collect::<Vec<_>>());
    let mut norms = BTreeMap::new();
    for ((name, layout), gradient) in names.iter().zip(&gradients) {
        out.put(format!("{mode}/grad_{name}"), &layout.to_torch(gradient));
        let square: f64 = gradient.as_slice().iter().map(|x| x.to_f64() * x.to_f64()).sum();
        norms.insert(name.as_str(), square.sqrt());
    }
    let norm = |name: &String| {
        norms.get(name.as_str()).copied().ok_or(format!("there is no parameter `{name}`"))
    };
    out.put_list(format!("{mode}/grad_norms"), order.iter().map(norm).collect::<Check<_>>()?);
    Ok(())
}
