//! One output element from one element of each input: maps, zips, axpy.
//!
//! Moving elements without arithmetic is in [`layout`](super::layout) and [`index`](super::index);
//! their kernels are re-exported here.

use super::Real;
use super::dispatch::wide;
use super::layout::{Walk, coalesce2};
use super::parallel::{for_each_chunk, for_each_chunk2, for_each_chunk3, grain};

/// Rows up to this long are not worth a loop of their own.
const SHORT_ROW: usize = 64;

pub use super::index::{put_add, take};
pub use super::layout::{broadcast_to, embed, permute, slice};

/// `y[i] = f(x[i])`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn map<T: Real>(x: &[T], y: &mut [T], f: impl Fn(T) -> T + Sync + Copy) {
    assert_eq!(x.len(), y.len(), "map: x has {} elements, y {}", x.len(), y.len());
    let chunk = grain(y.len());
    for_each_chunk(y, chunk, |i, y| {
        map_piece(&x[i * chunk..][..y.len()], y, f);
    });
}

/// `y[i] = f(y[i])`.
pub fn map_inplace<T: Real>(y: &mut [T], f: impl Fn(T) -> T + Sync + Copy) {
    let chunk = grain(y.len());
    for_each_chunk(y, chunk, |_, y| map_inplace_piece(y, f));
}

/// `y[i] = f(a[i], b[i])`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn zip<T: Real>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Sync + Copy) {
    assert!(
        a.len() == y.len() && b.len() == y.len(),
        "zip: a has {} elements, b {}, y {}",
        a.len(),
        b.len(),
        y.len()
    );
    let chunk = grain(y.len());
    for_each_chunk(y, chunk, |i, y| {
        zip_piece(&a[i * chunk..][..y.len()], &b[i * chunk..][..y.len()], y, f);
    });
}

/// `y[i] = f(y[i], x[i])`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn zip_inplace<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T, T) -> T + Sync + Copy) {
    assert_eq!(x.len(), y.len(), "zip_inplace: x has {} elements, y {}", x.len(), y.len());
    let chunk = grain(y.len());
    for_each_chunk(y, chunk, |i, y| {
        zip_inplace_piece(y, &x[i * chunk..][..y.len()], f);
    });
}

/// `y[i] = f(y[i], a[i], b[i])`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn zip_inplace2<T: Real>(
    y: &mut [T],
    a: &[T],
    b: &[T],
    f: impl Fn(T, T, T) -> T + Sync + Copy,
) {
    let lens = [y.len(), a.len(), b.len()];
    assert!(lens[1..].iter().all(|&len| len == lens[0]), "zip_inplace2: lengths {lens:?}");
    let chunk = grain(y.len());
    for_each_chunk(y, chunk, |i, y| {
        zip_inplace2_piece(y, &a[i * chunk..][..y.len()], &b[i * chunk..][..y.len()], f);
    });
}

/// `(y[i], z[i]) = f(y[i], z[i], x[i])`: an optimiser's step is one pass.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn update_pair<T: Real>(
    y: &mut [T],
    z: &mut [T],
    x: &[T],
    f: impl Fn(T, T, T) -> (T, T) + Sync + Copy,
) {
    let lens = [y.len(), z.len(), x.len()];
    assert!(lens[1..].iter().all(|&len| len == lens[0]), "update_pair: lengths {lens:?}");
    let chunk = grain(y.len());
    for_each_chunk2(y, chunk, z, chunk, |i, y, z| {
        update_pair_piece(y, z, &x[i * chunk..][..y.len()], f);
    });
}

/// `(y[i], z[i], w[i]) = f(y[i], z[i], w[i], x[i])`: as [`update_pair`], for rules that remember
/// two arrays.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn update_triple<T: Real>(
    y: &mut [T],
    z: &mut [T],
    w: &mut [T],
    x: &[T],
    f: impl Fn(T, T, T, T) -> (T, T, T) + Sync + Copy,
) {
    let lens = [y.len(), z.len(), w.len(), x.len()];
    assert!(lens[1..].iter().all(|&len| len == lens[0]), "update_triple: lengths {lens:?}");
    let chunk = grain(y.len());
    for_each_chunk3([y, z, w], chunk, |i, [y, z, w]| {
        update_triple_piece(y, z, w, &x[i * chunk..][..y.len()], f);
    });
}

/// `y += alpha x`.
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn axpy<T: Real>(alpha: T, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "axpy: x has {} elements, y {}", x.len(), y.len());
    zip_inplace(y, x, move |y, x| y + alpha * x);
}

/// `y[i, j, ..] = f(a[i, j, ..], b[i, j, ..])` where `a` and `b` repeat along their axes of stride
/// 0.
///
/// `shape` is the shape of `y` (contiguous); `a_strides` and `b_strides` say how many elements one
/// step along each axis moves in `a` and `b`. The same shape, a trailing row vector `[C]`, a
/// scalar and a column all reduce, after merging axes, to rows along which each operand is
/// contiguous or constant.
///
/// # Panics
/// If the ranks differ, `y` has not the length of `shape`, or a stride leads outside `a` or `b`.
#[track_caller]
pub fn zip_broadcast<T: Real>(
    shape: &[usize],
    a: &[T],
    a_strides: &[usize],
    b: &[T],
    b_strides: &[usize],
    y: &mut [T],
    f: impl Fn(T, T) -> T + Sync + Copy,
) {
    assert!(
        shape.len() == a_strides.len() && shape.len() == b_strides.len(),
        "zip_broadcast: shape {shape:?}, strides {a_strides:?} and {b_strides:?}"
    );
    let len: usize = shape.iter().product();
    assert_eq!(y.len(), len, "zip_broadcast: y has {} elements, shape {shape:?}", y.len());
    if len == 0 {
        return;
    }
    let axes = coalesce2(shape, a_strides, b_strides);
    let last = axes.iter().fold([0, 0], |l, axis| {
        [l[0] + (axis.len - 1) * axis.strides[0], l[1] + (axis.len - 1) * axis.strides[1]]
    });
    assert!(
        last[0] < a.len() && last[1] < b.len(),
        "zip_broadcast: shape {shape:?}, strides {a_strides:?} and {b_strides:?} reach elements \
         {last:?} of {} and {}",
        a.len(),
        b.len()
    );
    // Short rows that one operand repeats: repeat them in a longer row first.
    if let [rows, row] = axes[..] {
        let (c, short) = (row.len, row.len <= SHORT_ROW);
        let whole = |strides: [usize; 2], i: usize| strides[i] == 1 && rows.strides[i] == c;
        let repeated = |i: usize| row.strides[i] == 1 && rows.strides[i] == 0;
        if short && whole(row.strides, 0) && repeated(1) {
            return zip_repeated(&a[..len], &b[..c], y, f);
        }
        if short && whole(row.strides, 1) && repeated(0) {
            return zip_repeated(&b[..len], &a[..c], y, move |b, a| f(a, b));
        }
    }
    let chunk = grain(len);
    for_each_chunk(y, chunk, |i, y| {
        Walk::new(&axes, i * chunk).rows(y, |[a_at, b_at], [a_step, b_step], y| {
            let n = y.len();
            match (a_step, b_step) {
                (1, 1) => zip_piece(&a[a_at..][..n], &b[b_at..][..n], y, f),
                (1, 0) => {
                    let b = b[b_at];
                    map_piece(&a[a_at..][..n], y, move |a| f(a, b));
                }
                (0, 1) => {
                    let a = a[a_at];
                    map_piece(&b[b_at..][..n], y, move |b| f(a, b));
                }
                _ => {
                    for (i, y) in y.iter_mut().enumerate() {
                        *y = f(a[a_at + i * a_step], b[b_at + i * b_step]);
                    }
                }
            }
        });
    });
}

/// `y[r, j] = f(x[r, j], row[j])` for rows too short to loop over one by one.
fn zip_repeated<T: Real>(x: &[T], row: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Sync + Copy) {
    let rows = row.repeat(256usize.div_ceil(row.len()));
    let chunk = grain(y.len()).next_multiple_of(rows.len());
    for_each_chunk(y, chunk, |i, y| {
        let x = &x[i * chunk..][..y.len()];
        for (y, x) in y.chunks_mut(rows.len()).zip(x.chunks(rows.len())) {
            zip_piece(x, &rows[..x.len()], y, f);
        }
    });
}

wide! {
    fn map_piece[T: Real, F: Fn(T) -> T + Copy](x: &[T], y: &mut [T], f: F) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(x);
        }
    }

    fn map_inplace_piece[T: Real, F: Fn(T) -> T + Copy](y: &mut [T], f: F) {
        for y in y {
            *y = f(*y);
        }
    }

    fn zip_piece[T: Real, F: Fn(T, T) -> T + Copy](a: &[T], b: &[T], y: &mut [T], f: F) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f(a, b);
        }
    }

    fn zip_inplace2_piece[T: Real, F: Fn(T, T, T) -> T + Copy](
        y: &mut [T], a: &[T], b: &[T], f: F,
    ) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = f(*y, a, b);
        }
    }

    fn update_pair_piece[T: Real, F: Fn(T, T, T) -> (T, T) + Copy](
        y: &mut [T], z: &mut [T], x: &[T], f: F,
    ) {
        for ((y, z), &x) in y.iter_mut().zip(z).zip(x) {
            (*y, *z) = f(*y, *z, x);
        }
    }

    fn update_triple_piece[T: Real, F: Fn(T, T, T, T) -> (T, T, T) + Copy](
        y: &mut [T], z: &mut [T], w: &mut [T], x: &[T], f: F,
    ) {
        for (((y, z), w), &x) in y.iter_mut().zip(z).zip(w).zip(x) {
            (*y, *z, *w) = f(*y, *z, *w, x);
        }
    }

    fn zip_inplace_piece[T: Real, F: Fn(T, T) -> T + Copy](y: &mut [T], x: &[T], f: F) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = f(*y, x);
        }
    }
}
