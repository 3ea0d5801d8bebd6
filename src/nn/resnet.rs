//! ResNet-18 with the stem for small images.

use super::{BatchNorm, Conv2d, Encode, Init, Layout, Module, Pass};
use crate::autodiff::{Tail, Var};
use crate::kernels::Real;

/// What follows the stem's batch-norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Stem {
    /// A ReLU, as ResNet has it.
    #[default]
    Relu,
    /// Nothing: the published MetaMask code loses the ReLU when it takes its backbone apart.
    Linear,
}

/// ResNet-18: a 3x3 stride-1 stem without max-pool, four stages of two basic blocks with channels
/// `width · {1, 2, 4, 8}` and strides 1, 2, 2, 2, then the mean over space: D = 8 width.
///
/// Parameters have torchvision's names. Source: He et al. 2015, arXiv 1512.03385; the stem is the
/// usual one for CIFAR.
#[derive(Clone, Debug)]
pub struct ResNet18<T: Real = f32> {
    conv1: Conv2d<T>,
    bn1: BatchNorm<T>,
    stages: Vec<[Block<T>; 2]>,
    stem: Stem,
}

/// Two 3x3 convolutions with batch-norm and a shortcut around them.
#[derive(Clone, Debug)]
struct Block<T: Real> {
    conv1: Conv2d<T>,
    bn1: BatchNorm<T>,
    conv2: Conv2d<T>,
    bn2: BatchNorm<T>,
    downsample: Option<(Conv2d<T>, BatchNorm<T>)>,
}

impl<T: Real> ResNet18<T> {
    /// The encoder of images with `channels` channels; the published width is 64.
    ///
    /// # Panics
    /// If there are no channels, or the width is 0.
    #[track_caller]
    pub fn new(channels: usize, width: usize, stem: Stem, init: &Init) -> ResNet18<T> {
        let some = channels > 0 && width > 0;
        assert!(some, "ResNet18::new: images of {channels} channels, width {width}");
        let stage = |i: usize| {
            let outputs = width << i;
            let inputs = if i == 0 { width } else { outputs / 2 };
            let (stride, name) = (if i == 0 { 1 } else { 2 }, format!("layer{}", i + 1));
            [
                Block::new(&format!("{name}.0"), [inputs, outputs], stride, init),
                Block::new(&format!("{name}.1"), [outputs, outputs], 1, init),
            ]
        };
        ResNet18 {
            conv1: Conv2d::new("conv1", [channels, width], 3, 1, init),
            bn1: BatchNorm::new("bn1", width),
            stages: (0..4).map(stage).collect(),
            stem,
        }
    }

    /// The maps after the stem and after each of the four stages, `[N, H, W, C]` each.
    ///
    /// # Panics
    /// If `x` is not `[N, H, W, channels]`.
    #[track_caller]
    pub fn maps(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Vec<Var<T>> {
        let mut maps = vec![self.stem_map(x, pass)];
        for stage in &self.stages {
            maps.push(stage_map(stage, maps[maps.len() - 1].clone(), pass));
        }
        maps
    }

    #[track_caller]
    fn stem_map(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        let then = match self.stem {
            Stem::Relu => Tail::Relu,
            Stem::Linear => Tail::Nothing,
        };
        self.bn1.forward_then(&self.conv1.forward(x), then, pass)
    }
}

/// What a stage makes of a map, which is kept no longer than it is needed.
#[track_caller]
fn stage_map<T: Real>(
    [first, second]: &[Block<T>; 2],
    map: Var<T>,
    pass: &mut Pass<'_, T>,
) -> Var<T> {
    let middle = first.forward(&map, pass);
    drop(map);
    second.forward(&middle, pass)
}

impl<T: Real> Block<T> {
    fn new(name: &str, [inputs, outputs]: [usize; 2], stride: usize, init: &Init) -> Block<T> {
        let downsample = (stride != 1 || inputs != outputs).then(|| {
            let conv = format!("{name}.downsample.0");
            let norm = BatchNorm::new(&format!("{name}.downsample.1"), outputs);
            (Conv2d::new(&conv, [inputs, outputs], 1, stride, init), norm)
        });
        Block {
            conv1: Conv2d::new(&format!("{name}.conv1"), [inputs, outputs], 3, stride, init),
            bn1: BatchNorm::new(&format!("{name}.bn1"), outputs),
            conv2: Conv2d::new(&format!("{name}.conv2"), [outputs, outputs], 3, 1, init),
            bn2: BatchNorm::new(&format!("{name}.bn2"), outputs),
            downsample,
        }
    }

    #[track_caller]
    fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        let y = self.bn1.forward_then(&self.conv1.forward(x), Tail::Relu, pass);
        let y = self.conv2.forward(&y);
        let shortcut = match &self.downsample {
            Some((conv, norm)) => norm.forward(&conv.forward(x), pass),
            None => x.clone(),
        };
        self.bn2.forward_then(&y, Tail::AddRelu(&shortcut), pass)
    }
}

impl<T: Real> Module<T> for Block<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        Block {
            conv1: self.conv1.map_params(f),
            bn1: self.bn1.map_params(f),
            conv2: self.conv2.map_params(f),
            bn2: self.bn2.map_params(f),
            downsample: self.downsample.as_ref().map(|(conv, norm)| {
                let conv = conv.map_params(f);
                (conv, norm.map_params(f))
            }),
        }
    }
}

impl<T: Real> Module<T> for ResNet18<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        ResNet18 {
            conv1: self.conv1.map_params(f),
            bn1: self.bn1.map_params(f),
            stages: self
                .stages
                .iter()
                .map(|[first, second]| {
                    let first = first.map_params(f);
                    [first, second.map_params(f)]
                })
                .collect(),
            stem: self.stem,
        }
    }
}

impl<T: Real> Encode<T> for ResNet18<T> {
    fn features(&self) -> usize {
        8 * self.bn1.weight.value().len()
    }

    #[track_caller]
    fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        // Not `maps`, which keeps them all.
        let mut map = self.stem_map(x, pass);
        for stage in &self.stages {
            map = stage_map(stage, map, pass);
        }
        map.global_avg_pool2d()
    }
}
