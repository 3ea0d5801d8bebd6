//! Functions of each element, and of pairs of elements with NumPy broadcasting.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::autodiff::Var;
use crate::autodiff::op::Op;
use crate::kernels::Real;
use crate::tensor::{Tensor, broadcast_for};

impl<T: Real> Var<T> {
    /// `e^x`. Saves the output.
    pub fn exp(&self) -> Var<T> {
        let y = self.value().exp();
        Var::record(y.clone(), &[self], || Op::Exp { y })
    }

    /// Natural logarithm. Saves the input.
    pub fn ln(&self) -> Var<T> {
        Var::record(self.value().ln(), &[self], || Op::Ln { x: self.value().clone() })
    }

    /// `ln(1 + x)`, with every digit of a small `x`. Saves the input.
    pub fn ln_1p(&self) -> Var<T> {
        Var::record(self.value().ln_1p(), &[self], || Op::Ln1p { x: self.value().clone() })
    }

    /// Square root. Saves the output. Its derivative at 0 is infinite.
    pub fn sqrt(&self) -> Var<T> {
        let y = self.value().sqrt();
        Var::record(y.clone(), &[self], || Op::Sqrt { y })
    }

    /// `x²`.
    pub fn square(&self) -> Var<T> {
        self * self
    }

    /// `1 / x`.
    pub fn recip(&self) -> Var<T> {
        &Var::scalar(1.0) / self
    }

    /// Hyperbolic tangent. Saves the output.
    pub fn tanh(&self) -> Var<T> {
        let y = self.value().tanh();
        Var::record(y.clone(), &[self], || Op::Tanh { y })
    }

    /// The logistic function `1 / (1 + e^-x)`. Saves the output.
    ///
    /// Formula: sigmoid-1.
    pub fn sigmoid(&self) -> Var<T> {
        let y = self.value().sigmoid();
        Var::record(y.clone(), &[self], || Op::Sigmoid { y })
    }

    /// `max(x, 0)`, derivative 0 at 0. Saves the output.
    ///
    /// Formula: gate-1.
    pub fn relu(&self) -> Var<T> {
        let y = self.value().relu();
        Var::record(y.clone(), &[self], || Op::Gate { by: y })
    }

    /// `x` where `by > 0`, 0 elsewhere; no derivative reaches `by`. Saves `by`.
    pub(crate) fn gate(&self, by: &Tensor<T>) -> Var<T> {
        Var::record(self.value().gate(by), &[self], || Op::Gate { by: by.clone() })
    }

    /// `|x|`, derivative 0 at 0.
    pub fn abs(&self) -> Var<T> {
        let sign = self.value().map(|x| {
            if x > T::ZERO {
                T::ONE
            } else if x < T::ZERO {
                -T::ONE
            } else {
                x // 0 stays 0 and NaN stays NaN.
            }
        });
        self * &Var::constant(sign)
    }

    /// `min(max(x, low), high)`, so `high` where `low > high`; either bound may be absent.
    ///
    /// Derivative 1 strictly inside, else 0; NaN stays NaN.
    ///
    /// # Panics
    /// If a bound is NaN.
    #[track_caller]
    pub fn clamp(&self, low: Option<f64>, high: Option<f64>) -> Var<T> {
        let has_nan = low.into_iter().chain(high).any(f64::is_nan);
        assert!(!has_nan, "clamp: a bound is NaN");
        let low = T::from_f64(low.unwrap_or(f64::NEG_INFINITY));
        let high = T::from_f64(high.unwrap_or(f64::INFINITY));
        // Outside, the gate gives 0 and the bound is added; a NaN passes the gate.
        let outside = move |x: T| x <= low || x >= high;
        let inside = self.value().map(move |x| if outside(x) { T::ZERO } else { T::ONE });
        let bound = self.value().map(move |x| {
            if x >= high {
                high
            } else if x <= low {
                low.min(high)
            } else {
                T::ZERO
            }
        });
        &self.gate(&inside) + &Var::constant(bound)
    }

    /// `x^exponent` for a constant exponent. Saves the input.
    pub fn powf(&self, exponent: f64) -> Var<T> {
        let exponent = T::from_f64(exponent);
        Var::record(self.value().powf(exponent), &[self], || Op::Powf {
            x: self.value().clone(),
            exponent,
        })
    }

    /// `x^exponent` for `x > 0`, both differentiable: `e^(exponent · ln x)`.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub fn pow(&self, exponent: &Var<T>) -> Var<T> {
        let (x, e) = (self.shape(), exponent.shape());
        let fits = broadcast_for("pow", x, e).is_some();
        assert!(fits, "pow: shapes {x:?} and {e:?} do not broadcast");
        (exponent * &self.ln()).exp()
    }

    /// `factor * x`. Saves nothing.
    pub fn scale(&self, factor: f64) -> Var<T> {
        let factor = T::from_f64(factor);
        Var::record(self.value().scale(factor), &[self], || Op::Scale(factor))
    }

    /// `x / divisor`, rounded once: times `1 / divisor` would round twice. Saves nothing.
    fn div_scalar(&self, divisor: T) -> Var<T> {
        Var::record(self.value().div_scalar(divisor), &[self], || Op::DivScalar(divisor))
    }

    /// `x + term`. Saves nothing.
    pub fn shift(&self, term: f64) -> Var<T> {
        Var::record(self.value().shift(T::from_f64(term)), &[self], || Op::Shift)
    }

    /// The value itself under a node of its own.
    pub(crate) fn fence(&self) -> Var<T> {
        Var::record(self.value().clone(), &[self], || Op::Identity)
    }
}

macro_rules! binary {
    ($trait:ident, $method:ident, $op:tt, $a:ident, $b:ident, $y:ident => $saved:expr) => {
        impl<T: Real> $trait for &Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $method(self, other: &Var<T>) -> Var<T> {
                let $y = self.value() $op other.value();
                let ($a, $b) = (self, other);
                Var::record($y.clone(), &[self, other], || $saved)
            }
        }
        impl<T: Real> $trait<&Var<T>> for Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $method(self, other: &Var<T>) -> Var<T> {
                &self $op other
            }
        }
        impl<T: Real> $trait<Var<T>> for &Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $method(self, other: Var<T>) -> Var<T> {
                self $op &other
            }
        }
        impl<T: Real> $trait for Var<T> {
            type Output = Var<T>;
            #[track_caller]
            fn $method(self, other: Var<T>) -> Var<T> {
                &self $op &other
            }
        }
    };
}
binary!(Add, add, +, _a, _b, y => Op::Add);
binary!(Sub, sub, -, _a, _b, y => Op::Sub);
binary!(Mul, mul, *, a, b, y => Op::Mul { a: a.value().clone(), b: b.value().clone() });
binary!(Div, div, /, _a, b, y => Op::Div { b: b.value().clone(), y });

macro_rules! with_number {
    ($trait:ident, $method:ident, |$x:ident, $c:ident| $body:expr) => {
        impl<T: Real> $trait<T> for &Var<T> {
            type Output = Var<T>;
            fn $method(self, c: T) -> Var<T> {
                let ($x, $c) = (self, c);
                $body
            }
        }
        impl<T: Real> $trait<T> for Var<T> {
            type Output = Var<T>;
            fn $method(self, c: T) -> Var<T> {
                $trait::$method(&self, c)
            }
        }
    };
}
with_number!(Add, add, |x, c| x.shift(c.to_f64()));
with_number!(Sub, sub, |x, c| x.shift(-c.to_f64()));
with_number!(Mul, mul, |x, c| x.scale(c.to_f64()));
with_number!(Div, div, |x, c| x.div_scalar(c));

impl<T: Real> Neg for &Var<T> {
    type Output = Var<T>;
    fn neg(self) -> Var<T> {
        Var::record(-self.value(), &[self], || Op::Neg)
    }
}

impl<T: Real> Neg for Var<T> {
    type Output = Var<T>;
    fn neg(self) -> Var<T> {
        -&self
    }
}
