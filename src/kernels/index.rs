//! Elements picked by a list of positions, and the adjoint that adds them back.

use super::Real;
use super::parallel::{SERIAL, for_each_chunk, grain};

/// `y[i] = x[indices[i]]`.
///
/// `x` and `y` are cut in `blocks` equal contiguous pieces, and the positions of one piece of `y`
/// lie in the same piece of `x`, though they count from the start of the whole `x`; [`put_add`],
/// the adjoint, relies on it.
///
/// # Panics
/// If the lengths differ, `blocks` does not divide them, or a position is outside `x`.
#[track_caller]
pub fn take<T: Real>(x: &[T], indices: &[u32], blocks: usize, y: &mut [T]) {
    check("take", x.len(), indices.len(), blocks);
    assert_eq!(indices.len(), y.len(), "take: {} positions, y has {}", indices.len(), y.len());
    let chunk = grain(y.len());
    for_each_chunk(y, chunk, |i, y| {
        for (y, &at) in y.iter_mut().zip(&indices[i * chunk..]) {
            *y = x[at as usize];
        }
    });
}

/// `dx = 0`, then `dx[indices[i]] += g[i]`: the adjoint of [`take`].
///
/// Sums are in the order of `g`: one block is one thread's work.
///
/// # Panics
/// If the lengths differ, `blocks` does not divide them, or a position is outside its block of
/// `dx`.
#[track_caller]
pub fn put_add<T: Real>(g: &[T], indices: &[u32], blocks: usize, dx: &mut [T]) {
    check("put_add", dx.len(), indices.len(), blocks);
    assert_eq!(indices.len(), g.len(), "put_add: {} positions, g has {}", indices.len(), g.len());
    if dx.is_empty() {
        return;
    }
    let (x_len, g_len) = (dx.len() / blocks, g.len() / blocks);
    let block = |i: usize, dx: &mut [T]| {
        dx.fill(T::ZERO);
        let picked = i * g_len..(i + 1) * g_len;
        for (&g, &at) in g[picked.clone()].iter().zip(&indices[picked]) {
            dx[(at as usize).wrapping_sub(i * x_len)] += g;
        }
    };
    if g.len() + dx.len() < SERIAL {
        dx.chunks_mut(x_len).enumerate().for_each(|(i, dx)| block(i, dx));
    } else {
        for_each_chunk(dx, x_len, block);
    }
}

#[track_caller]
fn check(op: &str, x_len: usize, n_indices: usize, blocks: usize) {
    assert!(
        blocks > 0 && x_len % blocks == 0 && n_indices % blocks == 0,
        "{op}: {x_len} elements and {n_indices} positions do not divide into {blocks} blocks"
    );
    assert!(n_indices == 0 || x_len > 0, "{op}: {n_indices} positions in an array of 0 elements");
}
