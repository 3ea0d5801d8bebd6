//! Arithmetic for the examples, in plain loops: nothing here calls a kernel, a tensor's operation
//! or the graph.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::tensor::Tensor;

/// Rows of numbers.
pub(super) type Rows<N = f64> = Vec<Vec<N>>;

/// The numbers that examples are made of: `sin(1.3 i + 0.7 j + p) + cos(0.9 i j + p) / 2` in row
/// `i` and column `j`, counted from 0.
pub(super) fn wave(rows: usize, columns: usize, p: f64) -> Tensor<f64> {
    let value = |at: usize| {
        let (i, j) = ((at / columns) as f64, (at % columns) as f64);
        (1.3 * i + 0.7 * j + p).sin() + 0.5 * (0.9 * i * j + p).cos()
    };
    Tensor::from_fn(&[rows, columns], value)
}

/// The two views of the examples of losses: A and B = A + 0.3 m(2.0), both `[6, 4]`.
pub(super) fn views() -> [Tensor<f64>; 2] {
    let (a, b) = (wave(6, 4, 0.1), wave(6, 4, 2.0));
    let sum = a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a + 0.3 * b).collect();
    [a, Tensor::from_vec(sum, &[6, 4])]
}

/// What the examples of losses are given.
pub(super) const VIEWS: &str = "A = m(6, 4, 0.1), B = A + 0.3 m(6, 4, 2.0)";

/// A matrix as rows.
pub(super) fn rows(x: &Tensor<f64>) -> Rows {
    x.as_slice().chunks(x.shape()[1]).map(<[f64]>::to_vec).collect()
}

/// All numbers of some rows, one row after the other.
pub(super) fn flat(x: &Rows) -> Vec<f64> {
    x.iter().flatten().copied().collect()
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(super) fn mean(x: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = x.into_iter().fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
    sum / count
}

/// A row divided by its length.
pub(super) fn unit(x: &[f64]) -> Vec<f64> {
    let length = dot(x, x).sqrt();
    x.iter().map(|x| x / length).collect()
}

pub(super) fn units(x: &Tensor<f64>) -> Rows {
    rows(x).iter().map(|row| unit(row)).collect()
}

/// The columns of some rows.
pub(super) fn turned(x: &Rows) -> Rows {
    (0..x[0].len()).map(|j| x.iter().map(|row| row[j]).collect()).collect()
}

/// The matrix product by its definition.
pub(super) fn product(a: &Rows, b: &Rows) -> Rows {
    let b = turned(b);
    a.iter().map(|row| b.iter().map(|column| dot(row, column)).collect()).collect()
}

pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A number that moves: `value + slope · ε` with `ε² = 0`.
///
/// Arithmetic on such numbers is arithmetic and the rules of differentiation at once, which makes
/// it a second way to a derivative, independent of the graph.
#[derive(Clone, Copy)]
pub(super) struct Moving {
    pub(super) value: f64,
    pub(super) slope: f64,
}

/// What the loss of the worked example is computed with: plain numbers, or numbers that move.
pub(super) trait Number:
    Copy
    + From<f64>
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    fn tanh(self) -> Self;
}

impl Number for f64 {
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    fn ln(self) -> f64 {
        f64::ln(self)
    }
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
}

fn moving(value: f64, slope: f64) -> Moving {
    Moving { value, slope }
}

impl From<f64> for Moving {
    fn from(value: f64) -> Moving {
        moving(value, 0.0)
    }
}

impl Neg for Moving {
    type Output = Moving;
    fn neg(self) -> Moving {
        moving(-self.value, -self.slope)
    }
}

impl Add for Moving {
    type Output = Moving;
    fn add(self, other: Moving) -> Moving {
        moving(self.value + other.value, self.slope + other.slope)
    }
}

impl Sub for Moving {
    type Output = Moving;
    fn sub(self, other: Moving) -> Moving {
        moving(self.value - other.value, self.slope - other.slope)
    }
}

impl Mul for Moving {
    type Output = Moving;
    fn mul(self, other: Moving) -> Moving {
        moving(self.value * other.value, self.slope * other.value + self.value * other.slope)
    }
}

impl Div for Moving {
    type Output = Moving;
    fn div(self, other: Moving) -> Moving {
        let y = self.value / other.value;
        moving(y, (self.slope - y * other.slope) / other.value)
    }
}

impl Number for Moving {
    fn exp(self) -> Moving {
        let y = self.value.exp();
        moving(y, self.slope * y)
    }
    fn ln(self) -> Moving {
        moving(self.value.ln(), self.slope / self.value)
    }
    fn sqrt(self) -> Moving {
        let y = self.value.sqrt();
        moving(y, self.slope / (2.0 * y))
    }
    fn tanh(self) -> Moving {
        let y = self.value.tanh();
        moving(y, self.slope * (1.0 - y * y))
    }
}

/// The worked example's networks: two matrices and the mask's logits.
#[derive(Clone)]
pub(super) struct Weights<N> {
    pub(super) w0: Rows<N>,
    pub(super) w1: Rows<N>,
    pub(super) a: Vec<N>,
}

/// What the loss of the worked example passes on its way, and its gradients.
pub(super) struct Worked<N> {
    pub(super) h: Rows<N>,
    pub(super) s: Vec<N>,
    pub(super) z: Rows<N>,
    pub(super) loss: N,
    /// ∂L/∂(w0, w1, a).
    pub(super) grad: Weights<N>,
}

/// The contrastive loss of the worked example at temperature 1/2, and its gradient, every
/// derivative written out: `h = tanh(x w0)`, `h̄ = σ(a) h`, `z = h̄ w1`, NT-Xent of `z`.
pub(super) fn worked<N: Number>(x: &Rows, weights: &Weights<N>) -> Worked<N> {
    let zero = || N::from(0.0);
    let sum = |terms: &mut dyn Iterator<Item = N>| terms.fold(zero(), |sum, term| sum + term);
    let (rows, half) = (x.len(), x.len() / 2);
    let (inputs, features) = (weights.w0.len(), weights.a.len());
    let outputs = weights.w1[0].len();
    let s: Vec<N> = weights.a.iter().map(|&a| N::from(1.0) / (N::from(1.0) + (-a).exp())).collect();
    // Forward.
    let (mut h, mut z, mut u, mut lengths) = (vec![], vec![], vec![], vec![]);
    for row in x {
        let h_row: Vec<N> = (0..features)
            .map(|j| sum(&mut (0..inputs).map(|k| N::from(row[k]) * weights.w0[k][j])).tanh())
            .collect();
        let z_row: Vec<N> = (0..outputs)
            .map(|p| sum(&mut (0..features).map(|j| s[j] * h_row[j] * weights.w1[j][p])))
            .collect();
        let length = sum(&mut z_row.iter().map(|&z| z * z)).sqrt();
        u.push(z_row.iter().map(|&z| z / length).collect::<Vec<N>>());
        lengths.push(length);
        h.push(h_row);
        z.push(z_row);
    }
    // The softmax of each anchor over all others; the loss; its gradient in the similarities.
    let mut loss = zero();
    let mut du = vec![vec![zero(); outputs]; rows];
    for i in 0..rows {
        let partner = (i + half) % rows;
        let similar = |k: usize| N::from(2.0) * sum(&mut (0..outputs).map(|p| u[i][p] * u[k][p]));
        let total = sum(&mut (0..rows).filter(|&k| k != i).map(|k| similar(k).exp()));
        loss = loss + (total.ln() - similar(partner)) / N::from(rows as f64);
        for k in (0..rows).filter(|&k| k != i) {
            let hit = N::from(f64::from(u8::from(k == partner)));
            let slope = N::from(2.0 / rows as f64) * (similar(k).exp() / total - hit);
            for p in 0..outputs {
                du[i][p] = du[i][p] + slope * u[k][p];
                du[k][p] = du[k][p] + slope * u[i][p];
            }
        }
    }
    // Backward: through the lengths, the head, the mask, tanh and the encoder.
    let mut grad = Weights {
        w0: vec![vec![zero(); features]; inputs],
        w1: vec![vec![zero(); outputs]; features],
        a: vec![zero(); features],
    };
    for i in 0..rows {
        let along = sum(&mut (0..outputs).map(|p| u[i][p] * du[i][p]));
        let dz: Vec<N> = (0..outputs).map(|p| (du[i][p] - along * u[i][p]) / lengths[i]).collect();
        for j in 0..features {
            let masked = sum(&mut (0..outputs).map(|p| dz[p] * weights.w1[j][p]));
            for p in 0..outputs {
                grad.w1[j][p] = grad.w1[j][p] + s[j] * h[i][j] * dz[p];
            }
            grad.a[j] = grad.a[j] + masked * h[i][j] * s[j] * (N::from(1.0) - s[j]);
            let inside = masked * s[j] * (N::from(1.0) - h[i][j] * h[i][j]);
            for k in 0..inputs {
                grad.w0[k][j] = grad.w0[k][j] + N::from(x[i][k]) * inside;
            }
        }
    }
    Worked { h, s, z, loss, grad }
}

impl Weights<f64> {
    /// `self + step · by` in both matrices.
    pub(super) fn plus(&self, step: f64, by: &Weights<f64>) -> Weights<f64> {
        let add = |a: &Rows, b: &Rows| {
            let row = |(a, b): (&Vec<f64>, &Vec<f64>)| {
                a.iter().zip(b).map(|(a, b)| a + step * b).collect::<Vec<f64>>()
            };
            a.iter().zip(b).map(row).collect()
        };
        Weights { w0: add(&self.w0, &by.w0), w1: add(&self.w1, &by.w1), a: self.a.clone() }
    }

    /// The same numbers, both matrices moving along `by`.
    pub(super) fn along(&self, by: &Weights<f64>) -> Weights<Moving> {
        let pair = |a: &Rows, b: &Rows| {
            let row = |(a, b): (&Vec<f64>, &Vec<f64>)| {
                a.iter().zip(b).map(|(&a, &b)| moving(a, b)).collect()
            };
            a.iter().zip(b).map(row).collect::<Rows<Moving>>()
        };
        let a = self.a.iter().map(|&a| Moving::from(a)).collect();
        Weights { w0: pair(&self.w0, &by.w0), w1: pair(&self.w1, &by.w1), a }
    }

    /// The length of both matrices taken as one vector.
    pub(super) fn length(&self) -> f64 {
        self.w0.iter().chain(&self.w1).map(|row| dot(row, row)).sum::<f64>().sqrt()
    }
}
