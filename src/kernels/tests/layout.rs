//! Permutations, broadcasts, slices and their adjoints against plain loops.

use super::*;
use crate::kernels::layout::{broadcast_to, embed, permute, slice};
use crate::kernels::naive;
use crate::kernels::reduce::sum_to;
use crate::kernels::transpose::plus_transposed;

#[test]
fn permute_is_its_definition_and_undone_by_its_inverse() {
    let cases: [(&[usize], &[usize]); 14] = [
        (&[], &[]),
        (&[5], &[0]),
        (&[3, 0], &[1, 0]),
        (&[3, 4], &[1, 0]),
        (&[211, 307], &[1, 0]),
        (&[16, 3000], &[1, 0]),
        (&[40_000, 3], &[1, 0]),
        (&[3, 40_000], &[1, 0]),
        (&[7, 33, 35, 5], &[0, 3, 1, 2]),
        (&[6, 5, 33, 35], &[0, 2, 3, 1]),
        (&[33, 47, 29], &[2, 1, 0]),
        (&[9, 1, 40, 17], &[2, 3, 1, 0]),
        (&[2, 3, 4, 5, 6], &[1, 0, 2, 3, 4]),
        (&[2, 3, 4, 5, 6, 3], &[5, 2, 0, 4, 3, 1]),
    ];
    for (shape, axes) in cases {
        let len: usize = shape.iter().product();
        let x = random::<f32>(1, len);
        let [mut y, mut expected] = [vec![f32::MAX; len], vec![0.0; len]];
        permute(&x, shape, axes, &mut y);
        naive::permute(&x, shape, axes, &mut expected);
        assert_eq!(y, expected, "{shape:?} {axes:?}");

        let y_shape: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
        let mut inverse = vec![0; axes.len()];
        axes.iter().enumerate().for_each(|(i, &axis)| inverse[axis] = i);
        let mut back = vec![f32::MAX; len];
        permute(&y, &y_shape, &inverse, &mut back);
        assert_eq!(back, x, "{shape:?} {axes:?}");
    }
}

// Formula: pair-1.
#[test]
fn plus_transposed_is_its_definition() {
    for n in [0, 1, 5, 16, 33, 48, 200, 211, 512] {
        let x = random::<f32>(2, n * n);
        let [mut turned, mut y] = [vec![0.0; n * n], vec![f32::MAX; n * n]];
        naive::permute(&x, &[n, n], &[1, 0], &mut turned);
        plus_transposed(&x, n, &mut y);
        let expected: Vec<f32> = x.iter().zip(&turned).map(|(x, t)| x + t).collect();
        assert_eq!(y, expected, "{n}");
    }
}

#[test]
fn sum_to_is_the_adjoint_of_broadcast_to() {
    let cases: [(&[usize], &[usize]); 10] = [
        (&[], &[]),
        (&[1], &[0]),
        (&[4, 5], &[4, 5]),
        (&[1, 5], &[4, 5]),
        (&[4, 1], &[4, 5]),
        (&[1, 1], &[300, 257]),
        (&[1, 33], &[2000, 33]),
        (&[2000, 1], &[2000, 33]),
        (&[1, 40, 1, 6], &[30, 40, 9, 6]),
        (&[5, 1, 4, 1, 3, 1], &[5, 6, 4, 7, 3, 8]),
    ];
    for (x_shape, y_shape) in cases {
        let x = random::<f64>(1, x_shape.iter().product());
        let g = random::<f64>(2, y_shape.iter().product());
        let [mut y, mut expected] = [vec![9.0; g.len()], vec![0.0; g.len()]];
        broadcast_to(&x, x_shape, y_shape, &mut y);
        naive::broadcast_to(&x, x_shape, y_shape, &mut expected);
        assert_eq!(y, expected, "{x_shape:?} {y_shape:?}");

        let kept: Vec<bool> = x_shape.iter().zip(y_shape).map(|(x, y)| x == y).collect();
        let mut dx = vec![9.0; x.len()];
        sum_to(&g, y_shape, &kept, &mut dx);
        assert_close(&[dot(&y, &g)], &[dot(&x, &dx)]);
    }
}

#[test]
fn embed_is_the_adjoint_of_slice() {
    // Shape, starts, steps, shape of the slice.
    let cases: [[&[usize]; 4]; 12] = [
        [&[], &[], &[], &[]],
        [&[7], &[2], &[2], &[3]],
        [&[7], &[2], &[2], &[0]],
        [&[4, 5], &[0, 0], &[1, 1], &[4, 5]],
        [&[4, 5], &[1, 0], &[1, 1], &[2, 5]],
        [&[4, 5], &[1, 2], &[1, 1], &[2, 3]],
        [&[400, 500], &[100, 0], &[1, 1], &[300, 500]],
        [&[400, 500], &[1, 3], &[3, 7], &[133, 71]],
        [&[9, 21, 23, 5], &[0, 0, 1, 0], &[1, 2, 2, 1], &[9, 11, 11, 5]],
        [&[9, 21, 23, 50], &[8, 1, 0, 0], &[1, 1, 1, 1], &[1, 19, 23, 50]],
        [&[2, 3, 1, 5, 6], &[1, 0, 0, 4, 1], &[1, 2, 1, 1, 4], &[1, 2, 1, 1, 2]],
        [&[0, 3], &[0, 0], &[1, 1], &[0, 2]],
    ];
    for [shape, starts, steps, y_shape] in cases {
        let x = random::<f64>(1, shape.iter().product());
        let g = random::<f64>(2, y_shape.iter().product());
        let [mut y, mut expected] = [vec![9.0; g.len()], vec![0.0; g.len()]];
        slice(&x, shape, starts, steps, y_shape, &mut y);
        naive::slice(&x, shape, starts, steps, y_shape, &mut expected);
        assert_eq!(y, expected, "{shape:?} {y_shape:?}");
        let [mut dx, mut expected] = [vec![9.0; x.len()], vec![0.0; x.len()]];
        embed(&g, y_shape, starts, steps, shape, &mut dx);
        naive::embed(&g, y_shape, starts, steps, shape, &mut expected);
        assert_eq!(dx, expected, "{shape:?} {y_shape:?}");
        assert_close(&[dot(&y, &g)], &[dot(&x, &dx)]);
    }
}

#[test]
#[should_panic(expected = "leave the shape")]
fn slice_refuses_to_leave_its_shape() {
    slice(&[0.0f32; 6], &[2, 3], &[0, 1], &[1, 2], &[2, 2], &mut [0.0; 4]);
}

#[test]
#[should_panic(expected = "does not permute")]
fn permute_refuses_a_repeated_axis() {
    permute(&[0.0f32; 6], &[2, 3], &[1, 1], &mut [0.0; 6]);
}
