//! The small network of the group `metamask`, made of this crate's layers.

use super::Check;
use super::case::Case;
use super::layers::CHANNELS_LAST;
use dimask::Real;
use dimask::autodiff::Var;
use dimask::nn::{BatchNorm, Conv2d, Encode, Init, Layout, Mlp, MlpEnd, Module, Pass};
use dimask::tensor::Tensor;
use std::cell::RefCell;

/// Two convolutions with batch-norm and ReLU, the second with stride 2, then the mean over space.
#[derive(Clone)]
pub struct TinyEncoder<T: Real> {
    conv1: Conv2d<T>,
    bn1: BatchNorm<T>,
    conv2: Conv2d<T>,
    bn2: BatchNorm<T>,
}

impl<T: Real> Module<T> for TinyEncoder<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        TinyEncoder {
            conv1: self.conv1.map_params(f),
            bn1: self.bn1.map_params(f),
            conv2: self.conv2.map_params(f),
            bn2: self.bn2.map_params(f),
        }
    }
}

impl<T: Real> Encode<T> for TinyEncoder<T> {
    fn features(&self) -> usize {
        self.bn2.weight.value().len()
    }

    fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        let y = self.bn1.forward(&self.conv1.forward(x), pass).relu();
        self.bn2.forward(&self.conv2.forward(&y), pass).relu().global_avg_pool2d()
    }
}

/// The encoder and both heads with the sizes that the attributes give, and weights from `w/`.
pub fn network<T: Real>(case: &Case) -> Check<(TinyEncoder<T>, Mlp<T>, Mlp<T>)> {
    let size = |name: &str| case.attr::<usize>(name);
    let (input, first, d) = (size("in_channels")?, size("conv1_out")?, size("features")?);
    let bt = [d, size("bt_hidden")?, size("bt_hidden")?, size("bt_out")?];
    let cl = [d, size("cl_hidden")?, size("cl_out")?];
    let eps: f64 = case.attr("bn_eps")?;
    let init = Init::new(0);
    let encoder = TinyEncoder {
        conv1: Conv2d::new("conv1", [input, first], 3, 1, &init),
        bn1: BatchNorm { eps, ..BatchNorm::new("bn1", first) },
        conv2: Conv2d::new("conv2", [first, d], 3, 2, &init),
        bn2: BatchNorm { eps, ..BatchNorm::new("bn2", d) },
    };
    let head = |name: &str, sizes: &[usize]| {
        let mut head = Mlp::new(name, sizes, MlpEnd::BatchNorm, &init);
        for norm in head.layers.iter_mut().filter_map(|layer| layer.norm.as_mut()) {
            norm.eps = eps;
        }
        head
    };
    let seen = RefCell::new(Vec::new());
    let encoder = load(case, &encoder, &seen)?;
    let (bt, cl) = (load(case, &head("bt", &bt), &seen)?, load(case, &head("cl", &cl), &seen)?);
    match case.names_under("w/").iter().find(|name| !seen.borrow().contains(name)) {
        Some(name) => Err(format!("the network has no parameter `{name}`")),
        None => Ok((encoder, bt, cl)),
    }
}

/// The module with its weights from the tensors `w/NAME`.
fn load<T: Real, M: Module<T>>(case: &Case, m: &M, seen: &RefCell<Vec<String>>) -> Check<M> {
    let mut failure = None;
    let loaded = m.map_params(&mut |name, var, layout| {
        seen.borrow_mut().push(name.to_string());
        match named(case, "w/", name, layout, var.shape()) {
            Ok(value) => Var::leaf(value),
            Err(error) => {
                failure = Some(error);
                var.clone()
            }
        }
    });
    failure.map_or(Ok(loaded), Err)
}

/// The tensor `PREFIX NAME` in the engine's layout.
fn named<T: Real>(
    case: &Case,
    prefix: &str,
    name: &str,
    layout: Layout,
    shape: &[usize],
) -> Check<Tensor<T>> {
    let value = layout.from_torch(&case.tensor::<T>(&format!("{prefix}{name}"))?);
    match value.shape() == shape {
        true => Ok(value),
        false => Err(format!("`{prefix}{name}` is {:?}, expected {shape:?}", value.shape())),
    }
}

/// The tensors `PREFIX NAME` of every parameter of `module`, in traversal order.
pub fn per_parameter<T: Real>(
    case: &Case,
    prefix: &str,
    module: &impl Module<T>,
) -> Check<Vec<Tensor<T>>> {
    let mut all = Vec::new();
    module.visit(&mut |name, var, layout| {
        all.push(named(case, prefix, name, layout, var.shape()));
    });
    all.into_iter().collect()
}

/// The images `name` as `[N, H, W, C]`.
pub fn images<T: Real>(case: &Case, name: &str) -> Check<Tensor<T>> {
    Ok(case.tensor::<T>(name)?.permute(&CHANNELS_LAST))
}
