//! Elementwise kernels and index kernels against plain loops and their adjoint laws.

use super::*;
use crate::kernels::elementwise::{
    axpy, map, map_inplace, update_pair, update_triple, zip, zip_broadcast, zip_inplace,
    zip_inplace2,
};
use crate::kernels::index::{put_add, take};
use crate::kernels::layout::strides;
use crate::kernels::naive;

fn maps_and_zips_are_their_definitions<T: Real>() {
    for len in LENGTHS {
        let (a, b) = (random::<T>(1, len), random::<T>(2, len));
        let [mut y, mut expected] = [vec![T::MAX; len], vec![T::ZERO; len]];
        let f = |x: T| x * x + T::ONE;
        naive::map(&a, &mut expected, f);
        map(&a, &mut y, f);
        assert_eq!(y, expected);
        y.copy_from_slice(&a);
        map_inplace(&mut y, f);
        assert_eq!(y, expected);

        let f = |a: T, b: T| a / (b + T::from_f64(2.0));
        naive::zip(&a, &b, &mut expected, f);
        zip(&a, &b, &mut y, f);
        assert_eq!(y, expected);
        y.copy_from_slice(&a);
        zip_inplace(&mut y, &b, f);
        assert_eq!(y, expected);

        let alpha = T::from_f64(0.3);
        expected.copy_from_slice(&b);
        naive::axpy(alpha, &a, &mut expected);
        y.copy_from_slice(&b);
        axpy(alpha, &a, &mut y);
        assert_eq!(y, expected);

        let c = random::<T>(3, len);
        let f = |y: T, a: T, b: T| y * a - b;
        let expected: Vec<T> = (0..len).map(|i| f(a[i], b[i], c[i])).collect();
        y.copy_from_slice(&a);
        zip_inplace2(&mut y, &b, &c, f);
        assert_eq!(y, expected);
        let mut z = b.clone();
        y.copy_from_slice(&a);
        update_pair(&mut y, &mut z, &c, |y, z, x| (f(y, z, x), y + x));
        assert_eq!(y, expected);
        assert_eq!(z, (0..len).map(|i| a[i] + c[i]).collect::<Vec<T>>());
        let [mut y, mut z, mut w] = [&a, &b, &c].map(Vec::clone);
        update_triple(&mut y, &mut z, &mut w, &a, |y, z, w, x| (f(y, z, w), w + x, z - x));
        assert_eq!(y, expected);
        assert_eq!(z, (0..len).map(|i| c[i] + a[i]).collect::<Vec<T>>());
        assert_eq!(w, (0..len).map(|i| b[i] - a[i]).collect::<Vec<T>>());
    }
}

#[test]
pub(super) fn maps_and_zips_are_their_definitions_in_both_types() {
    maps_and_zips_are_their_definitions::<f32>();
    maps_and_zips_are_their_definitions::<f64>();
}

/// The row-major strides of `shape`, 0 along the axes that `repeated` names.
fn broadcast_strides(shape: &[usize], repeated: &[usize]) -> Vec<usize> {
    let kept = |axis: usize| if repeated.contains(&axis) { 1 } else { shape[axis] };
    let lens: Vec<usize> = (0..shape.len()).map(kept).collect();
    let mut strides = strides(&lens);
    repeated.iter().for_each(|&axis| strides[axis] = 0);
    strides
}

#[test]
fn zip_broadcast_is_its_definition() {
    let cases: [(&[usize], &[usize], &[usize]); 16] = [
        (&[], &[], &[]),
        (&[0, 3], &[], &[0]),
        (&[1], &[], &[]),
        (&[7, 5], &[], &[]),
        (&[70, 5], &[], &[0]),
        (&[70, 5], &[0], &[]),
        (&[70, 500], &[], &[1]),
        (&[700, 130], &[0], &[]),
        (&[20_001, 3], &[], &[0]),
        (&[20_001, 3], &[0], &[]),
        (&[20_001, 3], &[1], &[]),
        (&[33_000], &[], &[0]),
        (&[40, 1000], &[0, 1], &[]),
        (&[40, 31], &[0], &[1]),
        (&[4, 5, 6, 7], &[1, 3], &[0, 2]),
        (&[8, 1, 64, 1, 80], &[2], &[0, 1]),
    ];
    for (shape, a_repeats, b_repeats) in cases {
        let len: usize = shape.iter().product();
        let (a, b) = (random::<f32>(3, len.max(1)), random::<f32>(4, len.max(1)));
        let a_strides = broadcast_strides(shape, a_repeats);
        let b_strides = broadcast_strides(shape, b_repeats);
        let [mut y, mut expected] = [vec![f32::MAX; len], vec![0.0; len]];
        let f = |a: f32, b: f32| a - 2.0 * b;
        naive::zip_broadcast(shape, &a, &a_strides, &b, &b_strides, &mut expected, f);
        zip_broadcast(shape, &a, &a_strides, &b, &b_strides, &mut y, f);
        assert_eq!(y, expected, "{shape:?} a repeats along {a_repeats:?}, b along {b_repeats:?}");
    }
}

#[test]
#[should_panic(expected = "reach elements")]
fn zip_broadcast_refuses_strides_that_leave_an_operand() {
    let x = [0.0f32; 6];
    zip_broadcast(&[2, 3], &x, &[3, 1], &x[..5], &[3, 1], &mut [0.0; 6], |a, b| a + b);
}

#[test]
fn put_add_is_the_adjoint_of_take() {
    for (x_len, y_len, blocks) in [(5, 8, 1), (10, 40, 2), (64_000, 9_000, 10), (7, 50_001, 1)] {
        let mut indices = random_indices(5, y_len, x_len / blocks);
        for (i, index) in indices.iter_mut().enumerate() {
            *index += (i / (y_len / blocks) * (x_len / blocks)) as u32;
        }
        let (x, g) = (random::<f64>(6, x_len), random::<f64>(7, y_len));
        let [mut y, mut expected] = [vec![0.0; y_len], vec![0.0; y_len]];
        take(&x, &indices, blocks, &mut y);
        naive::take(&x, &indices, blocks, &mut expected);
        assert_eq!(y, expected);
        let [mut dx, mut expected] = [vec![9.0; x_len], vec![0.0; x_len]];
        put_add(&g, &indices, blocks, &mut dx);
        naive::put_add(&g, &indices, blocks, &mut expected);
        assert_eq!(dx, expected);
        assert_close(&[dot(&y, &g)], &[dot(&x, &dx)]);
        assert_same_on_all_threads(|| {
            let mut dx = vec![0.0; x_len];
            put_add(&g, &indices, blocks, &mut dx);
            dx
        });
    }
}
