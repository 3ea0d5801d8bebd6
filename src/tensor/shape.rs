//! Shapes: a few numbers kept inline, the broadcasting rule, row-major strides.

use std::fmt;
use std::ops::Deref;

/// The largest number of axes a tensor can have.
pub const MAX_RANK: usize = 6;

/// The largest number of elements: as many `f64` as a slice can hold.
const MAX_ELEMENTS: usize = isize::MAX as usize / size_of::<f64>();

/// The lengths of a tensor's axes, outermost first; dereferences to `[usize]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: usize,
}

impl Shape {
    /// The shape with these axis lengths.
    ///
    /// # Panics
    /// With more than [`MAX_RANK`] axes; if the product of the lengths (those of 0 left out) is
    /// more elements than memory can have.
    #[track_caller]
    pub fn new(dims: &[usize]) -> Shape {
        Shape::of("Shape::new", dims)
    }

    /// [`Shape::new`] for the operation `op`, which a complaint names.
    #[track_caller]
    pub(crate) fn of(op: &str, dims: &[usize]) -> Shape {
        assert!(dims.len() <= MAX_RANK, "{op}: {dims:?} has more than {MAX_RANK} axes");
        // Strides are products of a part of the lengths: none of them overflows either.
        let size = dims.iter().try_fold(1usize, |size, &len| size.checked_mul(len.max(1)));
        let fits = size.is_some_and(|size| size <= MAX_ELEMENTS);
        assert!(fits, "{op}: {dims:?} has more than {MAX_ELEMENTS} elements");
        let mut shape = Shape { dims: [0; MAX_RANK], rank: dims.len() };
        shape.dims[..dims.len()].copy_from_slice(dims);
        shape
    }

    /// The number of elements: the product of the axes, 1 for a scalar.
    pub fn size(&self) -> usize {
        self.iter().product()
    }

    /// The shape without the given axes, or with them as 1 (`keep`).
    pub(crate) fn reduce(&self, axes: &[usize], keep: Keep) -> Shape {
        let kept = (0..self.rank).filter_map(|axis| match (axes.contains(&axis), keep) {
            (true, Keep::Drop) => None,
            (true, Keep::Keep) => Some(1),
            (false, _) => Some(self[axis]),
        });
        Shape::new(&kept.collect::<Vec<_>>())
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank]
    }
}

impl From<&[usize]> for Shape {
    /// [`Shape::new`], which panics on a shape that no tensor can have.
    #[track_caller]
    fn from(dims: &[usize]) -> Shape {
        Shape::of("Shape::from", dims)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &**self)
    }
}

/// Whether a reduced axis disappears or stays with length 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The axis disappears.
    Drop,
    /// The axis stays, with length 1.
    Keep,
}

/// The common shape of two operands: axes are aligned at the end, and an axis of 1 repeats.
///
/// `None` where two lengths differ and neither is 1.
///
/// # Panics
/// If the common shape has more axes than [`MAX_RANK`] or more elements than memory can have.
#[track_caller]
pub fn broadcast(a: &[usize], b: &[usize]) -> Option<Shape> {
    broadcast_for("broadcast", a, b)
}

/// [`broadcast`] for the operation `op`, which a complaint names.
#[track_caller]
pub(crate) fn broadcast_for(op: &str, a: &[usize], b: &[usize]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    assert!(rank <= MAX_RANK, "{op}: {a:?} and {b:?} have more than {MAX_RANK} axes");
    let axis_of = |dims: &[usize], axis: usize| {
        (axis + dims.len()).checked_sub(rank).map_or(1, |axis| dims[axis])
    };
    let mut dims = [0; MAX_RANK];
    for (axis, dim) in dims.iter_mut().enumerate().take(rank) {
        *dim = match (axis_of(a, axis), axis_of(b, axis)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return None,
        };
    }
    Some(Shape::of(op, &dims[..rank]))
}

/// Refuses axes that a shape does not have, or that are named twice.
#[track_caller]
pub(crate) fn check_axes(op: &str, shape: &[usize], axes: &[usize]) {
    for (i, &axis) in axes.iter().enumerate() {
        assert!(axis < shape.len(), "{op}: shape {shape:?} has no axis {axis}");
        assert!(!axes[..i].contains(&axis), "{op}: axis {axis} is named twice in {axes:?}");
    }
}

/// Row-major strides of a shape, in elements.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Strides that walk `from` as if it had the shape `to`: 0 along each repeated axis.
pub(crate) fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<usize> {
    let missing = to.len() - from.len();
    let own = strides(from);
    let stride = |axis: usize| if from[axis] == 1 { 0 } else { own[axis] };
    (0..to.len()).map(|axis| axis.checked_sub(missing).map_or(0, stride)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_aligns_at_the_end() {
        let check = |a: &[usize], b: &[usize], want: Option<&[usize]>| {
            assert_eq!(broadcast(a, b), want.map(Shape::new));
            assert_eq!(broadcast(b, a), want.map(Shape::new));
        };
        check(&[2, 3], &[3], Some(&[2, 3]));
        check(&[4, 1, 3], &[5, 1], Some(&[4, 5, 3]));
        check(&[], &[2, 2], Some(&[2, 2]));
        check(&[0], &[1], Some(&[0]));
        check(&[2], &[3], None);
    }
}
