//! The smallest MetaMask.

use dimask::eval::dimensions::{correlation_ratio, spearman};
use dimask::rng::Stream;
use dimask::ssl::{BarlowTwins, barlow_twins, nt_xent};
use dimask::{Tensor, Var, grad, grad_graph};
use rand::Rng;

type V = Var<f64>;
type T = Tensor<f64>;

fn env(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().map_or(default, |s| s.parse().unwrap())
}

fn normal(rng: &mut impl Rng, shape: &[usize], scale: f64) -> T {
    // Irwin-Hall: the sum of 12 uniform numbers.
    T::from_fn(shape, |_| scale * ((0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0))
}

fn main() {
    for seed in 0..env("SEEDS", 3.0) as u64 {
        one(seed);
    }
}

fn one(seed: u64) {
    let (pixels, content, kinds, features, width, batch) = (
        32usize,
        env("CONTENT", 12.0) as usize,
        env("KINDS", 4.0) as usize,
        env("D", 16.0) as usize,
        16usize,
        128usize,
    );
    let strength = env("STRENGTH", 1.0);
    let (lr, mask_lr, momentum) = (env("LR", 0.1), env("MASK_LR", 3.0), env("MOM", 0.9));
    let (noise, tau, w_drr) = (env("NOISE", 0.3), env("TAU", 0.2), env("WDRR", 0.02));
    let mut rng = Stream::new(seed, "smallest").at(&[]);
    let to_pixels = normal(&mut rng, &[content, pixels], 1.0 / (content as f64).sqrt());
    let textures = normal(&mut rng, &[kinds, pixels], strength);
    let draw = |rng: &mut _, n: usize| {
        let c = normal(rng, &[n, content], 1.0);
        let kind: Vec<u32> = (0..n).map(|_| Rng::random_range(rng, 0..kinds as u32)).collect();
        let view = |rng: &mut _| {
            let mut x = (&c + &normal(rng, &[n, content], noise)).matmul(&to_pixels);
            let pix = normal(rng, &[n, pixels], 0.1);
            x.add_scaled(1.0, &pix);
            for (row, &k) in x.make_mut().chunks_mut(pixels).zip(&kind) {
                for (x, t) in row.iter_mut().zip(&textures.as_slice()[k as usize * pixels..]) {
                    *x += t;
                }
            }
            x
        };
        (view(rng), view(rng), kind)
    };
    let mut w = [
        normal(&mut rng, &[pixels, features], 1.0 / (pixels as f64).sqrt()),
        normal(&mut rng, &[features, width], 1.0 / (features as f64).sqrt()),
        normal(&mut rng, &[features, width], 1.0 / (features as f64).sqrt()),
    ];
    let mut b = [0, 1, 2].map(|i: usize| T::zeros(w[i].shape()));
    let mut a = T::zeros(&[features]);
    let l_con = |w: &[V], a: &V, x: &[T; 2]| {
        let z = [0, 1].map(|i: usize| {
            let h = Var::constant(x[i].clone()).matmul(&w[0]).tanh();
            (h * a.sigmoid()).matmul(&w[1])
        });
        nt_xent(&z[0], &z[1], tau)
    };
    let joint = |w: &[V], a: &V, x: &[T; 2]| {
        let z = [0, 1].map(|i: usize| {
            let h = Var::constant(x[i].clone()).matmul(&w[0]).tanh();
            (h * a.sigmoid()).matmul(&w[2])
        });
        l_con(w, a, x) + barlow_twins(&z[0], &z[1], &BarlowTwins::default()).scale(w_drr)
    };
    let mut share = 0.0;
    for step in 0..env("STEPS", 400.0) as usize {
        let (x0, x1, _) = draw(&mut rng, batch);
        let x = [x0, x1];
        let leaves = w.each_ref().map(|w| Var::leaf(w.clone()));
        let g = grad(joint(&leaves, &Var::constant(a.clone()), &x), &leaves.each_ref());
        for i in 0..3 {
            b[i] = b[i].scale(momentum);
            b[i].add_scaled(1.0, &g[i]);
            w[i].add_scaled(-lr, &b[i]);
        }
        let (leaves, mask) = (w.each_ref().map(|w| Var::leaf(w.clone())), Var::leaf(a.clone()));
        let g = grad_graph(&l_con(&leaves, &mask, &x), &leaves.each_ref());
        let trial: Vec<V> = (0..3)
            .map(|i| &leaves[i] - &(&g[i] + &Var::constant(b[i].scale(momentum))).scale(lr))
            .collect();
        let first: Vec<V> = trial.iter().map(|t| t.detach()).collect();
        let f = grad(l_con(&first, &mask, &x), &[&mask]).remove(0);
        let m = match env("MODE", 0.0) as i32 {
            0 => grad(l_con(&trial, &mask, &x), &[&mask]).remove(0),
            1 => f.clone(),
            2 => grad(l_con(&leaves, &mask, &x), &[&mask]).remove(0),
            _ => grad(joint(&leaves, &mask, &x), &[&mask]).remove(0),
        };
        a.add_scaled(-mask_lr, &m);
        if step % 100 == 0 {
            share = ((&m - &f).sum_of_squares() / m.sum_of_squares()).sqrt();
        }
    }
    let (x, _, kind) = draw(&mut rng, 2000);
    let h = Var::constant(x).matmul(&Var::constant(w[0].clone())).tanh().into_value();
    let ratio = correlation_ratio(&h, &kind, kinds);
    let s = Var::constant(a).sigmoid().into_value().to_vec();
    let mut order: Vec<usize> = (0..features).collect();
    order.sort_by(|&i, &j| ratio[j].total_cmp(&ratio[i]));
    let mean = |ids: &[usize]| ids.iter().map(|&i| s[i]).sum::<f64>() / ids.len() as f64;
    let q = features / 4;
    // The class: the signs of two numbers of the content, by kNN in both masked and plain features.
    println!(
        "seed {seed}: confounded quarter {:.3} (ratio {:.2}), rest {:.3}, rank correlation {:.2}, second-order share {share:.2}",
        mean(&order[..q]),
        order[..q].iter().map(|&i| ratio[i]).sum::<f64>() / q as f64,
        mean(&order[q..]),
        spearman(&s, &ratio)
    );
    if env("SHOW", 0.0) > 0.0 {
        for &i in &order {
            println!("  ratio {:.2} mask {:.3}", ratio[i], s[i]);
        }
    }
}
