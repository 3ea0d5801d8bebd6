//! Functions of each element, and of pairs of elements with broadcasting.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::kernels::profile::{self, Span, Work};
use crate::kernels::{Real, elementwise, reduce};
use crate::tensor::Tensor;
use crate::tensor::shape::{broadcast_for, broadcast_strides};

impl<T: Real> Tensor<T> {
    /// `f` of each element.
    pub fn map(&self, f: impl Fn(T) -> T + Sync + Copy) -> Tensor<T> {
        Tensor::passed("map", self.len(), self.shape(), |y| elementwise::map(self.as_slice(), y, f))
    }

    /// `f` of each pair of elements, with NumPy broadcasting.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[track_caller]
    pub(crate) fn zip(
        &self,
        other: &Tensor<T>,
        op: &'static str,
        f: impl Fn(T, T) -> T + Sync + Copy,
    ) -> Tensor<T> {
        if self.shape == other.shape {
            let (a, b) = (self.as_slice(), other.as_slice());
            return Tensor::passed(op, 2 * a.len(), self.shape(), |y| elementwise::zip(a, b, y, f));
        }
        let Some(shape) = broadcast_for(op, self.shape(), other.shape()) else {
            panic!("{op}: shapes {:?} and {:?} do not broadcast", self.shape, other.shape);
        };
        let a_strides = broadcast_strides(self.shape(), &shape);
        let b_strides = broadcast_strides(other.shape(), &shape);
        let (a, b) = (self.as_slice(), other.as_slice());
        Tensor::passed(op, a.len() + b.len(), &shape, |y| {
            elementwise::zip_broadcast(&shape, a, &a_strides, b, &b_strides, y, f);
        })
    }

    /// `e^x`.
    #[inline(never)]
    pub fn exp(&self) -> Tensor<T> {
        self.map(T::exp)
    }

    /// Natural logarithm.
    #[inline(never)]
    pub fn ln(&self) -> Tensor<T> {
        self.map(T::ln)
    }

    /// `ln(1 + x)`, with every digit of a small `x`.
    #[inline(never)]
    pub fn ln_1p(&self) -> Tensor<T> {
        self.map(T::ln_1p)
    }

    /// Square root.
    #[inline(never)]
    pub fn sqrt(&self) -> Tensor<T> {
        self.map(T::sqrt)
    }

    /// Hyperbolic tangent.
    #[inline(never)]
    pub fn tanh(&self) -> Tensor<T> {
        self.map(T::tanh)
    }

    /// The logistic function `1 / (1 + e^-x)`.
    #[inline(never)]
    pub fn sigmoid(&self) -> Tensor<T> {
        self.map(|x| T::ONE / (T::ONE + (-x).exp()))
    }

    /// `max(x, 0)`; NaN stays NaN.
    #[inline(never)]
    pub fn relu(&self) -> Tensor<T> {
        self.map(|x| if x < T::ZERO { T::ZERO } else { x })
    }

    /// `x` where `by > 0`, 0 elsewhere: the derivative of [`Tensor::relu`] applied to `x`.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    #[inline(never)]
    pub(crate) fn gate(&self, by: &Tensor<T>) -> Tensor<T> {
        assert!(self.shape == by.shape, "gate: shapes {:?} and {:?}", self.shape, by.shape);
        self.zip(by, "gate", |x, by| if by > T::ZERO { x } else { T::ZERO })
    }

    /// `factor * x`.
    #[inline(never)]
    pub fn scale(&self, factor: T) -> Tensor<T> {
        self.map(move |x| factor * x)
    }

    /// `x / divisor`.
    #[inline(never)]
    pub fn div_scalar(&self, divisor: T) -> Tensor<T> {
        self.map(move |x| x / divisor)
    }

    /// `x + term`.
    #[inline(never)]
    pub fn shift(&self, term: T) -> Tensor<T> {
        self.map(move |x| x + term)
    }

    /// `x^exponent`.
    #[inline(never)]
    pub fn powf(&self, exponent: T) -> Tensor<T> {
        self.map(move |x| x.powf(exponent))
    }

    /// Adds `other` to the elements, in place where nothing else shares the memory.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn add_assign(&mut self, other: &Tensor<T>) {
        self.accumulate("add_assign", T::ONE, other);
    }

    /// `self += factor * other`, in place where nothing else shares the memory.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub fn add_scaled(&mut self, factor: T, other: &Tensor<T>) {
        self.accumulate("add_scaled", factor, other);
    }

    #[track_caller]
    #[inline(never)]
    fn accumulate(&mut self, op: &str, factor: T, other: &Tensor<T>) {
        let (a, b) = (self.shape, other.shape);
        assert!(a == b, "{op}: shapes {a:?} and {b:?} differ");
        let _span = in_place("add_scaled", self, 3);
        elementwise::axpy(factor, other.as_slice(), self.make_mut());
    }

    /// `self = f(self, a, b)` element by element, in place where nothing else shares the memory.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub(crate) fn zip_assign2(
        &mut self,
        a: &Tensor<T>,
        b: &Tensor<T>,
        f: impl Fn(T, T, T) -> T + Sync + Copy,
    ) {
        let shapes = [self.shape, a.shape, b.shape];
        assert!(shapes[1..].iter().all(|s| *s == shapes[0]), "zip_assign2: shapes {shapes:?}");
        let _span = in_place("optimizer", self, 4);
        elementwise::zip_inplace2(self.make_mut(), a.as_slice(), b.as_slice(), f);
    }

    /// `(self, other) = f(self, other, x)` element by element, in place where nothing else shares
    /// the memory.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub(crate) fn update_with(
        &mut self,
        other: &mut Tensor<T>,
        x: &Tensor<T>,
        f: impl Fn(T, T, T) -> (T, T) + Sync + Copy,
    ) {
        let shapes = [self.shape, other.shape, x.shape];
        assert!(shapes[1..].iter().all(|s| *s == shapes[0]), "update_with: shapes {shapes:?}");
        let _span = in_place("optimizer", self, 5);
        elementwise::update_pair(self.make_mut(), other.make_mut(), x.as_slice(), f);
    }

    /// `(self, a, b) = f(self, a, b, x)` element by element, in place where nothing else shares the
    /// memory.
    ///
    /// # Panics
    /// If the shapes differ.
    #[track_caller]
    pub(crate) fn update_with2(
        &mut self,
        a: &mut Tensor<T>,
        b: &mut Tensor<T>,
        x: &Tensor<T>,
        f: impl Fn(T, T, T, T) -> (T, T, T) + Sync + Copy,
    ) {
        let shapes = [self.shape, a.shape, b.shape, x.shape];
        assert!(shapes[1..].iter().all(|s| *s == shapes[0]), "update_with2: shapes {shapes:?}");
        let _span = in_place("optimizer", self, 7);
        let (y, a, b) = (self.make_mut(), a.make_mut(), b.make_mut());
        elementwise::update_triple(y, a, b, x.as_slice(), f);
    }

    /// `self *= factor`, in place where nothing else shares the memory.
    #[inline(never)]
    pub(crate) fn scale_assign(&mut self, factor: T) {
        let _span = in_place("scale_assign", self, 2);
        elementwise::map_inplace(self.make_mut(), move |x| factor * x);
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
    #[inline(never)]
    pub fn dot(&self, other: &Tensor<T>) -> T {
        assert!(
            self.shape == other.shape,
            "dot: shapes {:?} and {:?} differ",
            self.shape,
            other.shape
        );
        let _span = in_place("dot", self, 2);
        reduce::dot(self.as_slice(), other.as_slice())
    }
}

/// Counts passes over `x` until dropped.
fn in_place<T: Real>(name: &'static str, x: &Tensor<T>, passes: usize) -> Span {
    let len = x.len();
    profile::span(name, Work::Bytes(passes * len * size_of::<T>()))
}

macro_rules! binary {
    ($trait:ident, $method:ident, $op:tt) => {
        impl<T: Real> $trait for &Tensor<T> {
            type Output = Tensor<T>;
            /// Elementwise, with NumPy broadcasting; panics where the shapes do not broadcast.
            #[track_caller]
            #[inline(never)]
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
    #[inline(never)]
    fn neg(self) -> Tensor<T> {
        self.map(|x| -x)
    }
}
