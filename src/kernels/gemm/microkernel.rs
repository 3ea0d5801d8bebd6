//! The micro-kernel, the one inner loop of all products: it holds a register block of the output.
//!
//! ```text
//! C[i, j] (+)= Σ over segments s, Σ over t < s.len: A[s.a + t, i] · B[s.b + t, j]
//! ```
//!
//! `A` is read one value at a time, from any two steps (packed `[steps, rows]`, or plain rows),
//! `B` is packed `[steps, columns]` and read by vectors. A matrix product has one segment; a
//! convolution has one for each kernel row that lies in the image, so that padding costs nothing
//! and no patch is ever copied out.

use std::marker::PhantomData;

use crate::kernels::Real;
use crate::kernels::dispatch::Kernel;
use crate::kernels::vector::Vector;

/// A run of steps that are consecutive in both packed operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernels) struct Segment {
    /// First step in `A`.
    pub(in crate::kernels) a: usize,
    /// First step in `B`.
    pub(in crate::kernels) b: usize,
    /// Number of steps.
    pub(in crate::kernels) len: usize,
}

/// What a product does with the old contents of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernels) enum Store {
    /// Overwrites them.
    Set,
    /// Adds to them.
    Add,
}

/// An output that several threads write at once, each its own elements.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: the memory is borrowed mutably for `'a`; who reaches into it (`window`, `slice`)
// promises that no other thread touches the same elements meanwhile.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    #[inline]
    pub(in crate::kernels) fn new(out: &'a mut [T]) -> Self {
        Self { start: out.as_mut_ptr(), len: out.len(), borrow: PhantomData }
    }

    /// The first element.
    #[inline]
    pub(in crate::kernels) fn start(&self) -> *mut T {
        self.start
    }

    /// Number of elements.
    #[inline]
    pub(in crate::kernels) fn len(&self) -> usize {
        self.len
    }

    /// The window of `rows × cols` elements from `offset` on, with `stride` between rows.
    ///
    /// # Safety
    /// Nobody else touches these elements while the window is in use.
    #[inline]
    pub(in crate::kernels) unsafe fn window(
        &self,
        offset: usize,
        rows: usize,
        cols: usize,
        stride: usize,
    ) -> Window<'a, T> {
        assert!(rows > 0 && offset + (rows - 1) * stride + cols <= self.len, "window too large");
        // SAFETY: `offset <= len` by the assertion.
        Window { start: unsafe { self.start.add(offset) }, rows, cols, stride, borrow: PhantomData }
    }

    /// The elements `offset..offset + len`.
    ///
    /// # Safety
    /// Nobody else touches these elements while the slice is in use.
    #[inline]
    pub(in crate::kernels) unsafe fn slice(&self, offset: usize, len: usize) -> &'a mut [T] {
        assert!(offset + len <= self.len, "slice too long");
        // SAFETY: in bounds by the assertion, and exclusive by the promise of the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), len) }
    }
}

/// A rectangle of an output that its holder alone may write.
pub(in crate::kernels) struct Window<'a, T> {
    pub(super) start: *mut T,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) stride: usize,
    borrow: PhantomData<&'a mut [T]>,
}

/// One register block of a product: see the module.
pub(in crate::kernels) struct MicroKernel<'a, T> {
    /// Registers in a row: the columns of the window fill all but the last.
    pub(in crate::kernels) vectors: usize,
    /// The other operand, with the rows of the window.
    pub(in crate::kernels) a: &'a [T],
    /// Elements of `a` from one row to the next, and from one step to the next.
    pub(in crate::kernels) a_strides: [usize; 2],
    /// `[steps, b_stride]`, of which the first `vectors` registers are read.
    pub(in crate::kernels) b: &'a [T],
    /// Elements from one step of `b` to the next.
    pub(in crate::kernels) b_stride: usize,
    /// Which steps are summed.
    pub(in crate::kernels) segments: &'a [Segment],
    /// Where the sums go.
    pub(in crate::kernels) c: Window<'a, T>,
    /// How they go there.
    pub(in crate::kernels) store: Store,
}

impl<T: Real> Kernel<T> for MicroKernel<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>>(self) {
        macro_rules! sizes {
            ($(($rows:literal $vectors:literal))*) => {
                match (self.c.rows, self.vectors) {
                    // SAFETY: this is the shell of `V`.
                    $(($rows, $vectors) => unsafe { register_block::<V, $rows, $vectors>(self) },)*
                    (rows, vectors) => panic!("no block of {rows} rows by {vectors} vectors"),
                }
            };
        }
        sizes!(
            (1 1)(2 1)(3 1)(4 1)(5 1)(6 1)(7 1)(8 1)
            (1 2)(2 2)(3 2)(4 2)(5 2)(6 2)(7 2)(8 2)
            (1 3)(2 3)(3 3)(4 3)(5 3)(6 3)(7 3)(8 3)
        )
    }
}

/// [`MicroKernel`] for one size.
///
/// # Safety
/// Only inside the shell of `V`.
#[inline(always)]
unsafe fn register_block<V: Vector, const M: usize, const W: usize>(
    kernel: MicroKernel<'_, V::Scalar>,
) {
    // Known to the compiler: sizes that the level does not use leave no code.
    if M > V::BLOCK_ROWS || W > V::BLOCK_VECTORS {
        panic!("a register block larger than the registers of this level");
    }
    let MicroKernel { a, a_strides: [a_row, a_stride], b, b_stride, segments, c, store, .. } =
        kernel;
    let width = W * V::LANES;
    assert!(c.cols <= width, "a window wider than its register block");
    // SAFETY: the shell of `V` is the caller's promise. Reads: the assertion at the head of each
    // segment bounds its last step in both operands. Writes: the window is `M` rows of `c.cols`
    // elements that this call alone may write, and full registers are written only when the window
    // is as wide as they are.
    unsafe {
        // The output is needed last: its lines arrive while the sums are made.
        for i in 0..M {
            for v in 0..W {
                V::prefetch(c.start.wrapping_add(i * c.stride + v * V::LANES));
            }
        }
        let mut sums = [[V::splat(V::Scalar::ZERO); W]; M];
        for segment in segments {
            let Segment { a: a_step, b: b_step, len } = *segment;
            if len == 0 {
                continue;
            }
            let last = (a_step + len - 1) * a_stride + (M - 1) * a_row;
            assert!(last < a.len(), "a segment beyond A");
            assert!((b_step + len - 1) * b_stride + width <= b.len(), "a segment beyond B");
            let mut a = a.as_ptr().add(a_step * a_stride);
            let mut b = b.as_ptr().add(b_step * b_stride);
            for _ in 0..len {
                let mut row = [V::splat(V::Scalar::ZERO); W];
                for v in 0..W {
                    row[v] = V::load(b.add(v * V::LANES));
                }
                for i in 0..M {
                    let x = V::splat(*a.add(i * a_row));
                    for v in 0..W {
                        sums[i][v] = x.mul_add(row[v], sums[i][v]);
                    }
                }
                a = a.add(a_stride);
                b = b.add(b_stride);
            }
        }
        if c.cols == width {
            for i in 0..M {
                for v in 0..W {
                    let to = c.start.add(i * c.stride + v * V::LANES);
                    let sum = match store {
                        Store::Set => sums[i][v],
                        Store::Add => V::load(to).add(sums[i][v]),
                    };
                    sum.store(to);
                }
            }
        } else {
            // A ragged last panel goes through an array, whose sums beyond the window are lost.
            let mut line = [V::Scalar::ZERO; MAX_WIDTH];
            for i in 0..M {
                for v in 0..W {
                    sums[i][v].store(line.as_mut_ptr().add(v * V::LANES));
                }
                for j in 0..c.cols {
                    let to = c.start.add(i * c.stride + j);
                    match store {
                        Store::Set => *to = line[j],
                        Store::Add => *to += line[j],
                    }
                }
            }
        }
    }
}

/// At least the width of every register block, in elements.
const MAX_WIDTH: usize = 48;
