//! Convolution and its two gradients: GFLOP/s, counted with the taps that fall in the padding.
//!
//! `cargo bench --bench conv -- [--json] [--only NAME] [--budget SECONDS]`; threads by
//! `RAYON_NUM_THREADS`, level by `DIMASK_SIMD`. Workload names are those of `torch_bench.py`;
//! `step_*` is the sum over all convolutions of a training step.

use dimask::kernels::conv::{Geometry, conv2d, conv2d_input_grad, conv2d_weight_grad};

#[path = "support/mod.rs"]
mod support;
use support::{Bench, noise};

/// `(input channels, output channels, side, kernel, stride)`.
type Layer = (usize, usize, usize, usize, usize);

const LAYERS: [Layer; 11] = [
    (3, 64, 32, 3, 1),
    (64, 64, 32, 3, 1),
    (64, 128, 32, 3, 2),
    (128, 128, 16, 3, 1),
    (128, 256, 16, 3, 2),
    (256, 256, 8, 3, 1),
    (256, 512, 8, 3, 2),
    (512, 512, 4, 3, 1),
    (64, 128, 32, 1, 2),
    (128, 256, 16, 1, 2),
    (256, 512, 8, 1, 2),
];
/// How often a ResNet-18 with a stem for 32 pixels has each of `LAYERS`.
const RESNET18: [usize; 11] = [1, 4, 1, 3, 1, 3, 1, 3, 1, 1, 1];
const CONV4: [Layer; 4] =
    [(3, 32, 32, 3, 1), (32, 64, 16, 3, 1), (64, 128, 8, 3, 1), (128, 256, 4, 3, 1)];

fn geometry(images: usize, (c, o, side, k, stride): Layer) -> Geometry {
    let (stride, padding) = ([stride; 2], [k / 2; 2]);
    Geometry { n: images, h: side, w: side, c, kh: k, kw: k, o, stride, padding }
}

/// Multiply-adds, twice.
fn flop(geometry: &Geometry) -> usize {
    2 * geometry.y_len() * geometry.kh * geometry.kw * geometry.c
}

/// A layer with its operands and results.
struct Work {
    geometry: Geometry,
    x: Vec<f32>,
    w: Vec<f32>,
    g: Vec<f32>,
    y: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
}

impl Work {
    fn new(geometry: Geometry) -> Self {
        let (x, w, g) = (noise(geometry.x_len()), noise(geometry.w_len()), noise(geometry.y_len()));
        let (y, dx, dw) = (g.clone(), x.clone(), w.clone());
        Self { geometry, x, w, g, y, dx, dw }
    }
    fn forward(&mut self) {
        conv2d(&self.geometry, &self.x, &self.w, &mut self.y);
    }
    fn input_grad(&mut self) {
        conv2d_input_grad(&self.geometry, &self.w, &self.g, &mut self.dx);
    }
    fn weight_grad(&mut self) {
        conv2d_weight_grad(&self.geometry, &self.x, &self.g, &mut self.dw);
    }
}

/// All convolutions of a training step; the first layer needs no input gradient.
fn step(bench: &Bench, name: &str, images: usize, layers: &[(Layer, usize)]) {
    if !bench.wants(name) {
        return;
    }
    let mut work: Vec<(Work, usize)> =
        layers.iter().map(|&(layer, count)| (Work::new(geometry(images, layer)), count)).collect();
    let flops = |(i, (work, count)): (usize, &(Work, usize))| {
        let products = if i == 0 { 2 } else { 3 };
        products * count * flop(&work.geometry)
    };
    let total = work.iter().enumerate().map(flops).sum();
    bench.measure(name, total, || {
        for (i, (work, count)) in work.iter_mut().enumerate() {
            for _ in 0..*count {
                work.forward();
                if i > 0 {
                    work.input_grad();
                }
                work.weight_grad();
            }
        }
    });
}

fn main() {
    let bench = Bench::from_args();
    for layer in LAYERS {
        let (c, o, side, k, stride) = layer;
        let name = |what| format!("conv_{c}-{o}_{side}_k{k}s{stride}_{what}");
        let names = ["fwd", "dgrad", "wgrad"].map(name);
        if !names.iter().any(|name| bench.wants(name)) {
            continue;
        }
        let mut work = Work::new(geometry(64, layer));
        let flop = flop(&work.geometry);
        if bench.wants(&names[0]) {
            bench.measure(&names[0], flop, || work.forward());
        }
        if bench.wants(&names[1]) {
            bench.measure(&names[1], flop, || work.input_grad());
        }
        if bench.wants(&names[2]) {
            bench.measure(&names[2], flop, || work.weight_grad());
        }
    }
    let resnet: Vec<_> = LAYERS.into_iter().zip(RESNET18).collect();
    step(&bench, "step_resnet18_128", 128, &resnet);
    step(&bench, "step_conv4_512", 512, &CONV4.map(|layer| (layer, 1)));
}
