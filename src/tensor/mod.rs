//! N-dimensional values: no graph, no input or output.
//!
//! A [`Tensor`] is contiguous, row-major and immutable to its users; a clone shares the memory.
//! Memory comes from a pool, because fresh pages cost more than ten passes over them.
//! Every operation here has the name that it has on [`crate::Var`], which calls it.

mod index;
mod ops;
mod shape;

use std::fmt;
use std::sync::Arc;

use crate::kernels::Real;
use crate::kernels::alloc::Buffer;
use crate::kernels::profile::{self, Work};

pub use crate::kernels::bf16::Precision;
pub use crate::kernels::conv::Geometry;
pub use crate::kernels::gemm::Trans;
pub(crate) use crate::kernels::maxima::places_above;
pub(crate) use crate::kernels::norm::Rest;
pub use crate::kernels::norm::Tail;
pub use index::Indices;
pub(crate) use ops::{
    Normed, Softmax, Targets, UnitRows, check_norm, images, norm_shape, window_counts, windows_fit,
};
pub use shape::{Keep, MAX_RANK, Shape, broadcast};
pub(crate) use shape::{broadcast_for, check_axes};

/// An n-dimensional array of `f32` or `f64`: a value without a history.
///
/// Contiguous and row-major; up to [`MAX_RANK`] axes; cloning is cheap and shares memory.
///
/// ```
/// use dimask::Tensor;
/// let x = Tensor::from_rows(&[&[1.0f32, 2.0], &[3.0, 4.0]]);
/// assert_eq!(x.matmul(&x).to_vec(), [7.0, 10.0, 15.0, 22.0]);
/// ```
pub struct Tensor<T: Real = f32> {
    data: Arc<Buffer<T>>,
    shape: Shape,
}

impl<T: Real> Clone for Tensor<T> {
    fn clone(&self) -> Self {
        Tensor { data: Arc::clone(&self.data), shape: self.shape }
    }
}

impl<T: Real> Tensor<T> {
    /// A tensor that owns `data`, read row-major.
    ///
    /// # Panics
    /// If the shape does not have `data.len()` elements.
    #[track_caller]
    #[inline(never)]
    pub fn from_vec(data: Vec<T>, shape: &[usize]) -> Tensor<T> {
        let shape = Shape::of("from_vec", shape);
        let fits = data.len() == shape.size();
        assert!(fits, "from_vec: {} values do not fill the shape {shape:?}", data.len());
        Tensor::from_buffer(Buffer::from_vec(data), shape)
    }

    /// A tensor over a buffer of the pool.
    fn from_buffer(data: Buffer<T>, shape: Shape) -> Tensor<T> {
        assert_eq!(data.len(), shape.size(), "from_buffer: {shape:?}");
        Tensor { data: Arc::new(data), shape }
    }

    /// A tensor that a kernel fills: `fill` gets a buffer with stale contents and must overwrite
    /// it.
    pub(crate) fn filled(shape: Shape, fill: impl FnOnce(&mut [T])) -> Tensor<T> {
        let mut data = Buffer::stale(shape.size());
        fill(&mut data);
        Tensor::from_buffer(data, shape)
    }

    /// The same by an operation whose cost is counted under `name`: it reads `n_read` elements.
    #[track_caller]
    pub(crate) fn passed(
        name: &'static str,
        n_read: usize,
        shape: &[usize],
        fill: impl FnOnce(&mut [T]),
    ) -> Tensor<T> {
        let shape = Shape::of(name, shape);
        let _span = profile::span(name, Work::Bytes((n_read + shape.size()) * size_of::<T>()));
        Tensor::filled(shape, fill)
    }

    /// A copy of `data`, read row-major.
    ///
    /// # Panics
    /// If the shape does not have `data.len()` elements.
    #[track_caller]
    #[inline(never)]
    pub fn from_slice(data: &[T], shape: &[usize]) -> Tensor<T> {
        let shape = Shape::of("from_slice", shape);
        let fits = data.len() == shape.size();
        assert!(fits, "from_slice: {} values do not fill the shape {shape:?}", data.len());
        Tensor::filled(shape, |y| y.copy_from_slice(data))
    }

    /// A matrix from its rows, `[rows.len(), rows[0].len()]`.
    ///
    /// # Panics
    /// If the rows differ in length.
    #[track_caller]
    #[inline(never)]
    pub fn from_rows(rows: &[&[T]]) -> Tensor<T> {
        let width = rows.first().map_or(0, |row| row.len());
        assert!(rows.iter().all(|row| row.len() == width), "from_rows: rows differ in length");
        Tensor::from_vec(rows.concat(), &[rows.len(), width])
    }

    /// A value with the shape `[]`.
    pub fn scalar(value: T) -> Tensor<T> {
        Tensor::full(&[], value)
    }

    /// All elements 0.
    ///
    /// # Panics
    /// If no tensor can have the shape: see [`Shape::new`].
    #[track_caller]
    #[inline(never)]
    pub fn zeros(shape: &[usize]) -> Tensor<T> {
        Tensor::filled(Shape::of("zeros", shape), |y| y.fill(T::ZERO))
    }

    /// All elements `value`.
    ///
    /// # Panics
    /// If no tensor can have the shape: see [`Shape::new`].
    #[track_caller]
    #[inline(never)]
    pub fn full(shape: &[usize], value: T) -> Tensor<T> {
        Tensor::filled(Shape::of("full", shape), |y| y.fill(value))
    }

    /// Element `i` of the row-major order is `f(i)`.
    ///
    /// # Panics
    /// If no tensor can have the shape: see [`Shape::new`].
    #[track_caller]
    pub fn from_fn(shape: &[usize], mut f: impl FnMut(usize) -> T) -> Tensor<T> {
        Tensor::filled(Shape::of("from_fn", shape), |y| {
            y.iter_mut().enumerate().for_each(|(i, y)| *y = f(i))
        })
    }

    /// The lengths of the axes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether an axis has length 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in row-major order.
    pub fn as_slice(&self) -> &[T] {
        &self.data
    }

    /// A copy of the elements in row-major order.
    pub fn to_vec(&self) -> Vec<T> {
        self.as_slice().to_vec()
    }

    /// The only element.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[track_caller]
    pub fn item(&self) -> T {
        assert!(self.len() == 1, "item: shape {:?} has {} elements", self.shape, self.len());
        self.data[0]
    }

    /// The elements for writing; copies them first if another tensor shares the memory.
    #[inline(never)]
    pub fn make_mut(&mut self) -> &mut [T] {
        if Arc::get_mut(&mut self.data).is_none() {
            self.data = Arc::new(Buffer::clone(&self.data));
        }
        // The line above leaves one owner, so this cannot fail.
        Arc::get_mut(&mut self.data).expect("a fresh buffer has one owner")
    }

    /// The same elements, row-major, under another shape; shares the memory.
    ///
    /// # Panics
    /// If the number of elements differs.
    #[track_caller]
    pub fn reshape(&self, shape: &[usize]) -> Tensor<T> {
        let new = Shape::of("reshape", shape);
        assert!(new.size() == self.len(), "reshape: {:?} does not fit into {shape:?}", self.shape);
        Tensor { data: Arc::clone(&self.data), shape: new }
    }

    /// The same values in the other float type, rounded to nearest.
    pub fn cast<U: Real>(&self) -> Tensor<U> {
        let x = self.as_slice();
        Tensor::from_fn(self.shape(), |i| U::from_f64(x[i].to_f64()))
    }

    /// Whether no element is infinite or NaN.
    #[inline(never)]
    pub fn is_finite(&self) -> bool {
        self.as_slice().iter().all(|x| x.is_finite())
    }
}

impl<T: Real> fmt::Debug for Tensor<T> {
    #[inline(never)]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let head = &self.as_slice()[..self.len().min(SHOWN)];
        let more = if self.len() > SHOWN { " ..." } else { "" };
        write!(f, "Tensor{:?} {head:?}{more}", self.shape)
    }
}

impl<T: Real> PartialEq for Tensor<T> {
    /// Same shape and same elements; NaN differs from itself.
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.as_slice() == other.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_copies_only_what_is_shared() {
        let mut a = Tensor::from_vec(vec![1.0f64, 2.0], &[2]);
        let b = a.clone();
        a.make_mut()[0] = 5.0;
        assert_eq!((a.to_vec(), b.to_vec()), (vec![5.0, 2.0], vec![1.0, 2.0]));
        let before = a.as_slice().as_ptr();
        a.make_mut()[1] = 6.0;
        assert_eq!(a.as_slice().as_ptr(), before);
    }
    /// Parts that are copied by several threads, which the laws on small shapes do not reach.
    #[test]
    fn large_parts_keep_their_places_in_a_concatenation() {
        let (outer, inner) = (2, 20_011);
        let part = |len: usize, first: usize| {
            Tensor::from_fn(&[outer, len, inner], |i| (first + i) as f32)
        };
        let parts = [part(2, 0), part(1, 1_000_000)];
        let y = Tensor::concat(&[&parts[0], &parts[1]], 1);
        assert_eq!(y.shape(), [outer, 3, inner]);
        for (i, &got) in y.as_slice().iter().enumerate() {
            let [o, a, rest] = [i / (3 * inner), i / inner % 3, i % inner];
            let (of, at) = if a < 2 { (0, a) } else { (1, a - 2) };
            let len = 2 - of;
            assert_eq!(got, parts[of].as_slice()[(o * len + at) * inner + rest], "at {i}");
        }
    }
}
