//! The smallest MetaMask: data with a planted confounder, an encoder, the losses, the exact mask
//! gradient and the training loop, on nothing but the library's public parts.
//!
//! An "image" is 32 numbers: what it shows (12 numbers, mixed) plus one of 4 textures, which has
//! nothing to do with what it shows. Both views of an image have its texture, so the encoder may
//! tell images apart by it; the mask should find the dimensions that carry it.
//!
//!     cargo run --release --example smallest

use dimask::eval::dimensions::{correlation_ratio, spearman};
use dimask::eval::knn::{Vote, knn};
use dimask::rng::Stream;
use dimask::ssl::{BarlowTwins, barlow_twins, nt_xent};
use dimask::{Tensor, Var, grad, grad_graph};
use rand::{Rng, RngCore};
use rand_distr::{Distribution, StandardNormal};

const NUMBERS: usize = 32;
const SHOWN: usize = 12;
const TEXTURES: usize = 4;
const FEATURES: usize = 16;
const LR: f64 = 0.1;
const MOMENTUM: f64 = 0.9;
const MASK_LR: f64 = 10.0;
const W_DRR: f64 = 0.02;

fn main() {
    println!(
        "texture  seed  mask: confounded quarter, rest, rank correlation  class: plain, masked"
    );
    for (texture, seed) in [0.0, 1.0].into_iter().flat_map(|t| [(t, 1), (t, 2), (t, 3)]) {
        let Found { mask: [quarter, rest], correlation, class: [plain, masked] } =
            train(texture, seed);
        print!("{texture:>7}  {seed:>4}  {quarter:>23.3}  {rest:.3}  {correlation:>+16.2}");
        println!("  {plain:>11.1} %  {masked:.1} %");
    }
}

/// What became of the mask.
pub struct Found {
    /// Its mean on the quarter of the dimensions that says most about the texture, and on the rest.
    pub mask: [f64; 2],
    /// The rank correlation of mask and texture's share over all dimensions.
    pub correlation: f64,
    /// Accuracy of neighbours in percent, of the features without and with the mask.
    pub class: [f64; 2],
}

fn normal(rng: &mut dyn RngCore, shape: &[usize], scale: f64) -> Tensor<f64> {
    Tensor::from_fn(shape, |_| scale * Distribution::<f64>::sample(&StandardNormal, rng))
}

/// The world: how what is shown becomes numbers, and the textures.
struct World {
    mix: Tensor<f64>,
    textures: Tensor<f64>,
}

/// Two views of some images, the texture of each, and its class: two signs of what it shows.
struct Batch {
    views: [Tensor<f64>; 2],
    texture: Vec<u32>,
    class: Vec<u32>,
}

impl World {
    fn draw(&self, rng: &mut dyn RngCore, n: usize) -> Batch {
        let shown = normal(rng, &[n, SHOWN], 1.0);
        let texture: Vec<u32> = (0..n).map(|_| rng.random_range(0..TEXTURES as u32)).collect();
        let positive = |x: f64| u32::from(x > 0.0);
        let class = shown.as_slice().chunks(SHOWN).map(|x| 2 * positive(x[0]) + positive(x[1]));
        let over = Var::constant(self.textures.clone()).index_select(0, &texture).into_value();
        let view = |rng: &mut dyn RngCore| {
            let changed = &shown + &normal(rng, &[n, SHOWN], 0.6);
            &(&changed.matmul(&self.mix) + &over) + &normal(rng, &[n, NUMBERS], 0.1)
        };
        Batch { views: [view(rng), view(rng)], class: class.collect(), texture }
    }
}

/// The features of a view: an encoder of one layer.
fn encode(x: &Tensor<f64>, w: &[Var<f64>]) -> Var<f64> {
    Var::constant(x.clone()).matmul(&w[0]).tanh()
}

/// L_con: the masked features through their head, and NT-Xent.
fn l_con(views: &[Tensor<f64>; 2], w: &[Var<f64>], a: &Var<f64>) -> Var<f64> {
    let [z0, z1] = views.each_ref().map(|x| (encode(x, w) * a.sigmoid()).matmul(&w[1]));
    nt_xent(&z0, &z1, 0.5)
}

/// L = L_con + w_drr · L_drr, the second through a head of its own.
fn joint(views: &[Tensor<f64>; 2], w: &[Var<f64>], a: &Var<f64>) -> Var<f64> {
    let [z0, z1] = views.each_ref().map(|x| (encode(x, w) * a.sigmoid()).matmul(&w[2]));
    l_con(views, w, a) + barlow_twins(&z0, &z1, &BarlowTwins::default()).scale(W_DRR)
}

/// Trains encoder, heads and mask in a world with textures of this strength.
pub fn train(strength: f64, seed: u64) -> Found {
    let rng = &mut Stream::new(seed, "smallest").at(&[]);
    let matrix =
        |rng: &mut dyn RngCore, n: usize, m: usize| normal(rng, &[n, m], (n as f64).powf(-0.5));
    let textures = normal(rng, &[TEXTURES, NUMBERS], 1.0);
    let world = World { mix: matrix(rng, SHOWN, NUMBERS), textures: textures.scale(strength) };
    let sizes = [(NUMBERS, FEATURES), (FEATURES, 16), (FEATURES, 16)];
    let mut w = sizes.map(|(n, m)| matrix(rng, n, m)).to_vec();
    let mut b: Vec<Tensor<f64>> = w.iter().map(|w| Tensor::zeros(w.shape())).collect();
    let mut a = Tensor::zeros(&[FEATURES]);

    for _ in 0..400 {
        let views = world.draw(rng, 128).views;
        // The regular step: b <- mu b + g, w <- w - lr b; the mask is a constant.
        let leaves: Vec<_> = w.iter().cloned().map(Var::leaf).collect();
        let wrt: Vec<_> = leaves.iter().collect();
        let g = grad(joint(&views, &leaves, &Var::constant(a.clone())), &wrt);
        for ((w, b), g) in w.iter_mut().zip(&mut b).zip(&g) {
            *b = &b.scale(MOMENTUM) + g;
            w.add_scaled(-LR, b);
        }
        // The trial step, recorded: w' = w - lr (mu b + g(a)), and J = L_con(w', a).
        let leaves: Vec<_> = w.iter().cloned().map(Var::leaf).collect();
        let mask = Var::leaf(a.clone());
        let wrt: Vec<_> = leaves.iter().collect();
        let g = grad_graph(&l_con(&views, &leaves, &mask), &wrt);
        let moved = |((w, g), b): ((&Var<f64>, &Var<f64>), &Tensor<f64>)| {
            w - &(g + &Var::constant(b.scale(MOMENTUM))).scale(LR)
        };
        let trial: Vec<_> = leaves.iter().zip(&g).zip(&b).map(moved).collect();
        // The mask descends on J: the exact gradient, through the trial step.
        a.add_scaled(-MASK_LR, &grad(l_con(&views, &trial, &mask), &[&mask])[0]);
    }

    let [bank, test] = [1000; 2].map(|n| world.draw(rng, n));
    let w: Vec<_> = w.into_iter().map(Var::constant).collect();
    let features = |batch: &Batch| encode(&batch.views[0], &w).into_value();
    let s = Var::constant(a).sigmoid().into_value();
    let share = correlation_ratio(&features(&test), &test.texture, TEXTURES);
    let mut order: Vec<usize> = (0..FEATURES).collect();
    order.sort_by(|&i, &j| share[j].total_cmp(&share[i]));
    let mean = |of: &[usize]| of.iter().map(|&j| s.as_slice()[j]).sum::<f64>() / of.len() as f64;
    let (quarter, rest) = order.split_at(FEATURES / 4);
    let ones = Tensor::full(&[FEATURES], 1.0);
    let class = |s: Tensor<f64>| {
        let (near, far) = (&features(&bank) * &s, &features(&test) * &s);
        let vote = [Vote { k: 20, temperature: 0.1 }];
        100.0 * knn(&near, &bank.class, &far, 4, &vote)[0].accuracy(&test.class, 1)
    };
    let (class, correlation) = ([ones, s.clone()].map(class), spearman(s.as_slice(), &share));
    Found { mask: [quarter, rest].map(mean), correlation, class }
}
