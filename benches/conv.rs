//! Convolution and its two gradients: GFLOP/s, counted with the taps that fall in the padding.
//!
//! `cargo bench --bench conv -- [--json] [--only NAME] [--variants] [--budget SECONDS]`; threads by
//! `RAYON_NUM_THREADS`, level by `DIMASK_SIMD`, path by `DIMASK_CONV`. Workload names are those of
//! `peers/torch_kernels.py`, along the path that `conv2d` takes; `--variants` adds each path that
//! is possible under the name `…_PATH`. `step_*` is the sum over all convolutions of a training
//! step. The definition is timed on one image, on one thread.

use dimask::kernels::conv::{
    Choice, Geometry, Part, Path, choose, conv2d_at, conv2d_input_grad_at, conv2d_weight_grad_at,
    naive,
};
use dimask::kernels::dispatch;

#[path = "support/mod.rs"]
mod support;
use support::{Bench, Count, noise};

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
    Geometry { n: images, h: side, w: side, c, kh: k, kw: k, o, stride, padding, ..Geometry::ONE }
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
    /// Computes a part along a path, or along the one that the table gives.
    fn run(&mut self, part: Part, path: Option<Path>) {
        let Self { geometry, x, w, g, y, dx, dw } = self;
        let level = dispatch::level();
        let by_table = || choose::<f32>(level, Choice::of_process(), part, geometry);
        let path = path.unwrap_or_else(by_table);
        match part {
            Part::Forward => conv2d_at(level, path, geometry, x, w, y),
            Part::InputGrad => conv2d_input_grad_at(level, path, geometry, w, g, dx),
            Part::WeightGrad => conv2d_weight_grad_at(level, path, geometry, x, g, dw),
        }
    }
}

/// Computes a part for one image by its definition; returns its share of the work.
fn define(geometry: &Geometry, part: Part) -> f64 {
    let Work { geometry: one, x, w, g, mut y, mut dx, mut dw } =
        Work::new(Geometry { n: 1, ..*geometry });
    match part {
        Part::Forward => naive::conv2d(&one, &x, &w, &mut y),
        Part::InputGrad => naive::conv2d_input_grad(&one, &w, &g, &mut dx),
        Part::WeightGrad => naive::conv2d_weight_grad(&one, &x, &g, &mut dw),
    }
    1.0 / geometry.n as f64
}

/// What the names of workloads call a part.
fn part_name(part: Part) -> &'static str {
    match part {
        Part::Forward => "fwd",
        Part::InputGrad => "dgrad",
        Part::WeightGrad => "wgrad",
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
    let run = || {
        for (i, (work, count)) in work.iter_mut().enumerate() {
            for _ in 0..*count {
                for part in Part::ALL {
                    if i > 0 || part != Part::InputGrad {
                        work.run(part, None);
                    }
                }
            }
        }
    };
    bench.measure(name, Count::Flop(total), run);
}

fn main() {
    let bench = Bench::from_args();
    for layer in LAYERS {
        let (c, o, side, k, stride) = layer;
        let name = |what| format!("conv_{c}-{o}_{side}_k{k}s{stride}_{what}");
        let mut work = None;
        for part in Part::ALL {
            let name = name(part_name(part));
            let geometry = geometry(64, layer);
            let possible = Path::ALL.into_iter().filter(|path| path.is_possible(part, &geometry));
            let variants = possible.filter(|_| bench.variants()).map(Some);
            for path in [None].into_iter().chain(variants) {
                let name = path.map_or(name.clone(), |path| format!("{name}_{path:?}"));
                if bench.wants(&name) {
                    let work = work.get_or_insert_with(|| Work::new(geometry));
                    let count = Count::Flop(flop(&geometry));
                    let definition = || define(&geometry, part);
                    bench.measure_beside(&name, count, || work.run(part, path), definition);
                }
            }
        }
    }
    let resnet: Vec<_> = LAYERS.into_iter().zip(RESNET18).collect();
    step(&bench, "step_resnet18_128", 128, &resnet);
    step(&bench, "step_conv4_512", 512, &CONV4.map(|layer| (layer, 1)));
}
