//! Functions of each element, and of pairs of elements with broadcasting.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::kernels::{Real, elementwise, reduce};
use crate::tensor::Tensor;
use crate::tensor::shape::{broadcast, broadcast_strides};

impl<T: Real> Tensor<T> {
    /// `f` of each element.
    pub fn map(&self, f: impl Fn(T) -> T + Sync + Copy) -> Tensor<T> {
        Tensor::filled(self.shape(), |y| elementwise::map(self.as_slice(), y, f))
    }

    /// `f` of each pair of elements, with NumPy broadcasting.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub(crate) fn zip(
        &self,
        other: &Tensor<T>,
        op: &str,
        f: impl Fn(T, T) -> T + Sync + Copy,
    ) -> Tensor<T> {
        if self.shape == other.shape {
            let (a, b) = (self.as_slice(), other.as_slice());
            return Tensor::filled(self.shape(), |y| elementwise::zip(a, b, y, f));
        }
        let Some(shape) = broadcast(self.shape(), other.shape()) else {
            panic!("{op}: shapes {:?} and {:?} do not broadcast", self.shape, other.shape);
        };
        let a_strides = broadcast_strides(self.shape(), &shape);
        let b_strides = broadcast_strides(other.shape(), &shape);
        let (a, b) = (self.as_slice(), other.as_slice());
        Tensor::filled(&shape, |y| {
            elementwise::zip_broadcast(&shape, a, &a_strides, b, &b_strides, y, f);
        })
    }

    /// `e^x`.
    pub fn exp(&self) -> Tensor<T> {
        self.map(T::exp)
    }

    /// Natural logarithm.
    pub fn ln(&self) -> Tensor<T> {
        self.map(T::ln)
    }

    /// Square root.
    pub fn sqrt(&self) -> Tensor<T> {
        self.map(T::sqrt)
    }

    /// Hyperbolic tangent.
    pub fn tanh(&self) -> Tensor<T> {
        self.map(T::tanh)
    }

    /// The logistic function `1 / (1 + e^-x)`.
    pub fn sigmoid(&self) -> Tensor<T> {
        self.map(|x| T::ONE / (T::ONE + (-x).exp()))
    }

    /// `max(x, 0)`; NaN stays NaN.
    pub fn relu(&self) -> Tensor<T> {
        self.map(|x| if x < T::ZERO { T::ZERO } else { x })
    }

    /// `x` where `by > 0`, 0 elsewhere: the derivative of [`Tensor::relu`] applied to `x`.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub(crate) fn gate(&self, by: &Tensor<T>) -> Tensor<T> {
        assert!(self.shape == by.shape, "gate: shapes {:?} and {:?}", self.shape, by.shape);
        self.zip(by, "gate", |x, by| if by > T::ZERO { x } else { T::ZERO })
    }

    /// `factor * x`.
    pub fn scale(&self, factor: T) -> Tensor<T> {
        self.map(move |x| factor * x)
    }

    /// `x + term`.
    pub fn shift(&self, term: T) -> Tensor<T> {
        self.map(move |x| x + term)
    }

    /// `x^exponent`.
    pub fn powf(&self, exponent: T) -> Tensor<T> {
        self.map(move |x| x.powf(exponent))
    }

    /// Adds `other` to the elements, in place where nothing else shares the memory.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn add_assign(&mut self, other: &Tensor<T>) {
        self.add_scaled(T::ONE, other);
    }

    /// `self += factor * other`, in place where nothing else shares the memory.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn add_scaled(&mut self, factor: T, other: &Tensor<T>) {
        let (a, b) = (self.shape, other.shape);
        assert!(a == b, "add_scaled: shapes {a:?} and {b:?} differ");
        elementwise::axpy(factor, other.as_slice(), self.make_mut());
    }

    /// `Σ x²`, in a fixed order.
    pub fn sum_of_squares(&self) -> T {
        self.dot(self)
    }

    /// `Σ x y`, in a fixed order.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn dot(&self, other: &Tensor<T>) -> T {
        assert!(self.shape == other.shape, "dot: {:?} and {:?}", self.shape, other.shape);
        reduce::dot(self.as_slice(), other.as_slice())
    }
}

macro_rules! binary {
    ($trait:ident, $method:ident, $op:tt) => {
        impl<T: Real> $trait for &Tensor<T> {
            type Output = Tensor<T>;
            /// Elementwise, with NumPy broadcasting; panics where the shapes do not broadcast.
            #[track_caller]
            fn $method(self, other: &Tensor<T>) -> Tensor<T> {
                self.zip(other, stringify!($method), |a, b| a $op b)
            }
        }
    };
}
binary!(Add, add, +);
binary!(Sub, sub, -);
binary!(Mul, mul, *);
binary!(Div, div, /);

impl<T: Real> Neg for &Tensor<T> {
    type Output = Tensor<T>;
    fn neg(self) -> Tensor<T> {
        self.map(|x| -x)
    }
}
