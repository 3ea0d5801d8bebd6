//! Random shapes and values for property tests: the feature `proptest`.
//!
//! Failing cases shrink to small shapes and round values, because everything here is built from
//! proptest's own strategies.

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::kernels::Real;
use crate::tensor::Tensor;

/// Shapes with `rank` axes of the given lengths.
///
/// ```
/// use dimask::strategies::{shapes, values};
/// use dimask::{Tensor, Var, pull};
/// use proptest::prelude::*;
///
/// // A sum's adjoint is a broadcast: the gradient of `<g, sum_to(x)>` is `g`, repeated.
/// let tensors = shapes(2..=2, 1..=5).prop_flat_map(|shape| values::<f64>(&shape, -1.0, 1.0));
/// proptest!(|(x in tensors)| {
///     let x = Var::leaf(x);
///     let y = x.sum_to(&[1, x.shape()[1]]);
///     let g = y.value().clone();
///     prop_assert_eq!(&pull(vec![(y, g.clone())], &[&x])[0], &g.broadcast_to(x.shape()));
/// });
/// ```
pub fn shapes(
    rank: RangeInclusive<usize>,
    lengths: RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<usize>> {
    vec(lengths, rank)
}

/// A pair of shapes that broadcast to each other, and the shape they broadcast to.
///
/// Either may have axes of length 1 where the other does not, and fewer leading axes.
pub fn broadcastable(
    rank: RangeInclusive<usize>,
    lengths: RangeInclusive<usize>,
) -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Vec<usize>)> {
    shapes(rank, lengths).prop_flat_map(|shape| {
        // For each axis, which operand keeps it; for one operand, how many leading axes it drops.
        let keeps = vec(0..3usize, shape.len());
        (Just(shape.clone()), keeps, 0..=shape.len()).prop_map(|(shape, keeps, dropped)| {
            let side = |operand: usize| -> Vec<usize> {
                let axis = |(&len, &keep): (&usize, &usize)| if keep == operand { 1 } else { len };
                shape.iter().zip(&keeps).map(axis).collect()
            };
            let (a, b) = (side(0), side(1)[dropped..].to_vec());
            let common = crate::tensor::broadcast(&a, &b).expect("an axis differs only from 1");
            (a, b, common.to_vec())
        })
    })
}

/// Tensors of one shape with elements in `[low, high]`.
pub fn values<T: Real>(shape: &[usize], low: f64, high: f64) -> impl Strategy<Value = Tensor<T>> {
    let shape = shape.to_vec();
    vec(low..=high, shape.iter().product::<usize>())
        .prop_map(move |x| Tensor::from_vec(x.into_iter().map(T::from_f64).collect(), &shape))
}

/// Tensors of one shape with elements in `[-high, -gap]` or `[gap, high]`: away from kinks at 0.
pub fn values_off_zero<T: Real>(
    shape: &[usize],
    gap: f64,
    high: f64,
) -> impl Strategy<Value = Tensor<T>> {
    let shape = shape.to_vec();
    let value = (any::<bool>(), gap..=high).prop_map(|(minus, x)| if minus { -x } else { x });
    vec(value, shape.iter().product::<usize>())
        .prop_map(move |x| Tensor::from_vec(x.into_iter().map(T::from_f64).collect(), &shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest! {
        #[test]
        fn broadcastable_shapes_do_broadcast((a, b, common) in broadcastable(0..=4, 1..=4)) {
            let x = Tensor::<f32>::zeros(&a);
            let sum = &x + &Tensor::zeros(&b);
            prop_assert_eq!(sum.shape(), &common[..]);
        }

        #[test]
        fn values_stay_in_their_ranges(
            x in values::<f64>(&[2, 3], -0.5, 2.0),
            y in values_off_zero::<f32>(&[4], 0.25, 1.0),
        ) {
            prop_assert!(x.as_slice().iter().all(|x| (-0.5..=2.0).contains(x)));
            prop_assert!(y.as_slice().iter().all(|y| (0.25..=1.0).contains(&y.abs())));
        }
    }
}
