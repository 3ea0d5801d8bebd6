//! Numbers that differentiate themselves, one at a time: forward as dual numbers, backward along a
//! tape whose coefficients are dual numbers too.
//!
//! Backward over forward gives, from one evaluation, a number's gradient and the product of its
//! Hessian with the direction of the dual numbers. Nothing here is shared with the crate.

use std::ops::{Add, Mul, Range};

/// A number and its derivative along one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dual {
    pub value: f64,
    pub slope: f64,
}

/// A number that does not move.
fn fixed(value: f64) -> Dual {
    Dual { value, slope: 0.0 }
}

impl Add for Dual {
    type Output = Dual;
    fn add(self, other: Dual) -> Dual {
        Dual { value: self.value + other.value, slope: self.slope + other.slope }
    }
}

impl Mul for Dual {
    type Output = Dual;
    fn mul(self, other: Dual) -> Dual {
        let slope = self.slope * other.value + self.value * other.slope;
        Dual { value: self.value * other.value, slope }
    }
}

/// A number of a computation, and where it is on the tape; constants are nowhere.
#[derive(Clone, Copy, Debug)]
pub struct Scalar {
    pub dual: Dual,
    at: Option<usize>,
}

/// The derivatives of a number in those that it was made of.
#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    to: Option<usize>,
    slope: Dual,
}

/// A mistake in the derivatives of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mistake {
    /// They are twice as large.
    Double,
    /// They are right, and then taken for constants: right to the first order only.
    Constant,
    /// They go to the operand's next element.
    Neighbour,
    /// Where an element is read more than once, only the last time counts.
    Last,
}

/// How numbers were made of numbers, in the order of making.
#[derive(Default)]
pub struct Tape {
    edges: Vec<[Edge; 2]>,
}

impl Tape {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.edges.len()
    }

    /// Forgets the numbers after the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.edges.truncate(len);
    }

    fn push(&mut self, dual: Dual, edges: [Edge; 2]) -> Scalar {
        self.edges.push(edges);
        Scalar { dual, at: Some(self.edges.len() - 1) }
    }

    /// A variable that moves by `slope`.
    pub fn leaf(&mut self, value: f64, slope: f64) -> Scalar {
        self.push(Dual { value, slope }, [Edge::default(); 2])
    }

    /// A number that does not move.
    pub fn constant(&self, value: f64) -> Scalar {
        Scalar { dual: fixed(value), at: None }
    }

    /// `f(x)` from the value and the first two derivatives of `f` at `x`.
    pub fn apply(&mut self, x: Scalar, [f, first, second]: [f64; 3]) -> Scalar {
        let dx = x.dual.slope;
        let edge = Edge { to: x.at, slope: Dual { value: first, slope: second * dx } };
        self.push(Dual { value: f, slope: first * dx }, [edge, Edge::default()])
    }

    /// `factor x`.
    pub fn scale(&mut self, x: Scalar, factor: f64) -> Scalar {
        self.apply(x, [factor * x.dual.value, factor, 0.0])
    }

    /// The number itself, once more.
    pub fn copy(&mut self, x: Scalar) -> Scalar {
        self.scale(x, 1.0)
    }

    /// `1 / x`.
    pub fn recip(&mut self, x: Scalar) -> Scalar {
        let y = 1.0 / x.dual.value;
        self.apply(x, [y, -y * y, 2.0 * y * y * y])
    }

    /// `e^x`.
    pub fn exp(&mut self, x: Scalar) -> Scalar {
        self.apply(x, [x.dual.value.exp(); 3])
    }

    /// `ln x`.
    pub fn ln(&mut self, x: Scalar) -> Scalar {
        let value = x.dual.value;
        self.apply(x, [value.ln(), 1.0 / value, -1.0 / (value * value)])
    }

    /// The square root.
    pub fn sqrt(&mut self, x: Scalar) -> Scalar {
        let root = x.dual.value.sqrt();
        self.apply(x, [root, 0.5 / root, -0.25 / (root * x.dual.value)])
    }

    /// `a + b`.
    pub fn add(&mut self, a: Scalar, b: Scalar) -> Scalar {
        let edge = |x: Scalar| Edge { to: x.at, slope: fixed(1.0) };
        self.push(a.dual + b.dual, [edge(a), edge(b)])
    }

    /// `a - b`.
    pub fn sub(&mut self, a: Scalar, b: Scalar) -> Scalar {
        let b = self.scale(b, -1.0);
        self.add(a, b)
    }

    /// `a b`.
    pub fn mul(&mut self, a: Scalar, b: Scalar) -> Scalar {
        let edges = [Edge { to: a.at, slope: b.dual }, Edge { to: b.at, slope: a.dual }];
        self.push(a.dual * b.dual, edges)
    }

    /// `a / b`.
    pub fn div(&mut self, a: Scalar, b: Scalar) -> Scalar {
        let b = self.recip(b);
        self.mul(a, b)
    }

    /// The sum of some numbers; 0 of none.
    pub fn sum(&mut self, terms: impl IntoIterator<Item = Scalar>) -> Scalar {
        let mut terms = terms.into_iter();
        let first = terms.next().unwrap_or(self.constant(0.0));
        terms.fold(first, |sum, term| self.add(sum, term))
    }

    /// The derivatives of `y` in all numbers before it; their slopes are those of the gradient.
    pub fn gradient(&self, y: Scalar) -> Vec<Dual> {
        let mut found = vec![Dual::default(); self.edges.len()];
        if let Some(at) = y.at {
            found[at] = fixed(1.0);
        }
        for (at, edges) in self.edges.iter().enumerate().rev() {
            for edge in edges {
                if let Some(to) = edge.to {
                    found[to] = found[to] + found[at] * edge.slope;
                }
            }
        }
        found
    }

    /// Puts a mistake into the numbers `step`, which were made of `operands` (and each other).
    pub fn spoil(&mut self, step: Range<usize>, operands: &[&[Scalar]], mistake: Mistake) {
        let mut seen = Vec::new();
        for at in step.rev() {
            for edge in self.edges[at].iter_mut().rev() {
                if mistake == Mistake::Constant {
                    edge.slope.slope = 0.0;
                    continue;
                }
                let Some(to) = edge.to else { continue };
                let place = operands.iter().find_map(|operand| {
                    let place = operand.iter().position(|scalar| scalar.at == Some(to))?;
                    Some(operand[(place + 1) % operand.len()])
                });
                let Some(next) = place else { continue };
                match mistake {
                    Mistake::Double => edge.slope = edge.slope * fixed(2.0),
                    Mistake::Constant => {}
                    Mistake::Neighbour => edge.to = next.at,
                    Mistake::Last if seen.contains(&to) => edge.slope = fixed(0.0),
                    Mistake::Last => seen.push(to),
                }
            }
        }
    }
}

impl Scalar {
    /// The entry of a gradient that belongs to this variable.
    pub fn of(self, gradient: &[Dual]) -> Dual {
        self.at.map_or(Dual::default(), |at| gradient[at])
    }
}
