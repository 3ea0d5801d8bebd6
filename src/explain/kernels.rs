//! Chapter 5: the kernels.

use super::by_hand::{flat, product, rows, wave};
use super::{Formula, given};
use crate::kernels::conv::{Geometry, Path, conv2d_at, conv2d_weight_grad_at, naive};
use crate::kernels::dispatch;
use crate::kernels::gemm::{Trans, gemm};
use crate::tensor::Tensor;

const PAGE: &str = "docs/book/5-kernels.md";

pub(super) const TABLE: &[Formula] = &[
    Formula {
        id: "gemm-1",
        title: "The matrix product",
        plain: "c_ij = sum over k of a_ik b_kj",
        latex: r"c_{ij} = \sum_k a_{ik}\, b_{kj}",
        page: PAGE,
        file: "src/kernels/gemm/mod.rs",
        function: "gemm",
        example: || {
            let (a, b) = (wave(2, 3, 0.1), wave(3, 2, 0.2));
            let mut c = [0.0; 4];
            gemm(Trans::Nn, 2, 2, 3, a.as_slice(), b.as_slice(), &mut c);
            given("A = m(2, 3, 0.1), B = m(3, 2, 0.2)").numbers(
                "C",
                &flat(&product(&rows(&a), &rows(&b))),
                &c,
            )
        },
    },
    Formula {
        id: "gemm-2",
        title: "The same product in blocks, whose parts stay in the cache",
        plain: "C_IJ = sum over blocks K of A_IK B_KJ",
        latex: r"C_{IJ} = \sum_K A_{IK}\, B_{KJ}",
        page: PAGE,
        file: "src/kernels/gemm/mod.rs",
        function: "gemm_at",
        example: || {
            // More steps than one block of k has: two blocks at least.
            let (a, b) = (wave(1, 1000, 0.1), wave(1000, 1, 0.2));
            let mut c = [0.0];
            gemm(Trans::Nn, 1, 1, 1000, a.as_slice(), b.as_slice(), &mut c);
            let block = |range: std::ops::Range<usize>| {
                range.map(|k| a.as_slice()[k] * b.as_slice()[k]).sum::<f64>()
            };
            given("A = m(1, 1000, 0.1), B = m(1000, 1, 0.2); by the formula: blocks of 500").number(
                "C",
                block(0..500) + block(500..1000),
                c[0],
            )
        },
    },
    Formula {
        id: "winograd-1",
        title: "Winograd's F(4, 3): four outputs of three taps from six products",
        plain: "y = A^T [ (G w) o (B^T x) ],  in two dimensions Y = A^T [ (G w G^T) o (B^T x B) \
            ] A",
        latex: r"Y = A^\top \left[ (G\, w\, G^\top) \odot (B^\top x\, B) \right] A",
        page: PAGE,
        file: "src/kernels/conv/winograd/mod.rs",
        function: "compute",
        example: || {
            let (x, w) = tile();
            let mut y = [0f32; 16];
            conv2d_at(dispatch::level(), Path::Winograd, &TILE, &x, &w, &mut y);
            let maps = Maps::new();
            let squares: Vec<f64> =
                maps.inputs(&x).iter().zip(maps.weights(&w)).map(|(x, w)| x * w).collect();
            let expected = both(&maps.output, &squares, 6);
            given(format!("{TILE_GIVEN}; by the formula the three maps and 36 products, in f64"))
                .numbers("Y", &expected, &y.map(f64::from))
                .within(1e-5)
        },
    },
    Formula {
        id: "winograd-2",
        title: "The same algorithm for the weights' gradient: the form is symmetric",
        plain: "dw = G^T [ (A g A^T) o (B^T x B) ] G",
        latex: r"\bar w = G^\top \left[ (A\, \bar y\, A^\top) \odot (B^\top x\, B) \right] G",
        page: PAGE,
        file: "src/kernels/conv/winograd/weight_grad.rs",
        function: "weight_grad",
        example: || {
            let (x, _) = tile();
            let g: [f32; 16] = std::array::from_fn(|i| wave(4, 4, 0.7).as_slice()[i] as f32);
            let mut dw = [0f32; 9];
            conv2d_weight_grad_at(dispatch::level(), Path::Winograd, &TILE, &x, &g, &mut dw);
            let maps = Maps::new();
            let g: Vec<f64> = g.iter().map(|&g| f64::from(g)).collect();
            let squares: Vec<f64> = maps
                .inputs(&x)
                .iter()
                .zip(both(&turn(&maps.output), &g, 4))
                .map(|(x, g)| x * g)
                .collect();
            let expected = both(&turn(&maps.taps), &squares, 6);
            given(TILE_GIVEN).numbers("dw", &expected, &dw.map(f64::from)).within(1e-5)
        },
    },
    Formula {
        id: "winograd-3",
        title: "What the algorithm computes: the definition",
        plain: "the tile of winograd-1 by conv-1",
        latex: r"y_{ij} = \sum_{u,v} x_{i+u,\,j+v}\; w_{uv}",
        page: PAGE,
        file: "src/kernels/conv/naive.rs",
        function: "conv2d",
        example: || {
            let (x, w) = tile();
            let mut y = [0f32; 16];
            naive::conv2d(&TILE, &x, &w, &mut y);
            let entry = |at: usize| {
                let tap = |k: usize| f64::from(x[(at / 4 + k / 3) * 6 + at % 4 + k % 3] * w[k]);
                (0..9).map(tap).sum::<f64>()
            };
            let expected: Vec<f64> = (0..16).map(entry).collect();
            given(TILE_GIVEN).numbers("Y", &expected, &y.map(f64::from)).within(1e-5)
        },
    },
    Formula {
        id: "exp-1",
        title: "The exponential in f32: a power of two times a short polynomial",
        plain: "e^x = 2^n e^r,  n = round(x / ln 2),  r = x - n ln 2",
        latex: r"e^x = 2^n e^r, \qquad n = \mathrm{round}(x / \ln 2), \qquad r = x - n \ln 2",
        page: PAGE,
        file: "src/kernels/exp.rs",
        function: "exp",
        example: || {
            let x = [-10.0f32, 0.5, 20.0];
            let y = Tensor::from_slice(&x, &[3]).exp();
            let hand = x.map(|x| {
                let n = (f64::from(x) / 2f64.ln()).round();
                let r = f64::from(x) - n * 2f64.ln();
                // The series of e^r, as far as doubles see it.
                let series = (1..20).rev().fold(1.0, |sum, k| 1.0 + r / f64::from(k) * sum);
                2f64.powf(n) * series
            });
            let relative: Vec<f64> =
                y.as_slice().iter().zip(hand).map(|(&y, hand)| f64::from(y) / hand).collect();
            given("x = -10, 0.5, 20: the function over the formula")
                .numbers("ratio", &[1.0; 3], &relative)
                .within(3e-7)
        },
    },
];

/// One tile: 6 x 6 inputs, 3 x 3 taps, 4 x 4 outputs, one channel.
const TILE: Geometry = Geometry { h: 6, w: 6, kh: 3, kw: 3, ..Geometry::ONE };
const TILE_GIVEN: &str = "one tile: x = m(6, 6, 0.1), w = m(3, 3, 0.4), g = m(4, 4, 0.7), in f32";

fn tile() -> ([f32; 36], [f32; 9]) {
    let (x, w) = (wave(6, 6, 0.1), wave(3, 3, 0.4));
    (
        std::array::from_fn(|i| x.as_slice()[i] as f32),
        std::array::from_fn(|i| w.as_slice()[i] as f32),
    )
}

type Matrix = Vec<Vec<f64>>;

/// The maps of F(4, 3), made from their points.
struct Maps {
    input: Matrix,
    taps: Matrix,
    output: Matrix,
}

impl Maps {
    /// With points `0, ±1/√2, ±√2, ∞`: the row of Bᵀ of point p has the coefficients of
    /// `Π (t - q)` over the other points, the row of G `1, p, p²` over `Π (p - q)`, the column of
    /// Aᵀ `1, p, p², p³`; at infinity only the highest power counts.
    fn new() -> Maps {
        let (half, two) = (0.5f64.sqrt(), 2f64.sqrt());
        let points = [0.0, -half, half, -two, two];
        let (mut input, mut taps, mut columns): (Matrix, Matrix, Matrix) = Default::default();
        for p in points {
            let others = points.iter().filter(|&&q| q != p);
            let below: f64 = others.clone().map(|q| p - q).product();
            input.push(polynomial(others.copied()));
            taps.push([1.0, p, p * p].map(|power| power / below).to_vec());
            columns.push(vec![1.0, p, p * p, p * p * p]);
        }
        input.push(polynomial(points.into_iter()));
        taps.push(vec![0.0, 0.0, 1.0]);
        columns.push(vec![0.0, 0.0, 0.0, 1.0]);
        Maps { input, taps, output: turn(&columns) }
    }

    fn inputs(&self, x: &[f32]) -> Vec<f64> {
        both(&self.input, &x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), 6)
    }

    fn weights(&self, w: &[f32]) -> Vec<f64> {
        both(&self.taps, &w.iter().map(|&w| f64::from(w)).collect::<Vec<_>>(), 3)
    }
}

/// The coefficients of `Π (t - q)`, from the constant on, as six.
fn polynomial(roots: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut all = vec![0.0; 6];
    all[0] = 1.0;
    for q in roots {
        for power in (0..6).rev() {
            let below = if power > 0 { all[power - 1] } else { 0.0 };
            all[power] = below - q * all[power];
        }
    }
    all
}

fn turn(m: &Matrix) -> Matrix {
    super::by_hand::turned(m)
}

/// `m x mᵀ` of a square `x` with this side, row after row.
fn both(m: &Matrix, x: &[f64], side: usize) -> Vec<f64> {
    let x: Matrix = x.chunks(side).map(<[f64]>::to_vec).collect();
    flat(&product(&product(m, &x), &turn(m)))
}
