//! What moves slices between ranks, and the transport of a rank that is alone.

use crate::kernels::Real;

/// Numbers to be sent.
#[derive(Clone, Copy, Debug)]
pub enum Slice<'a> {
    /// Of single precision.
    F32(&'a [f32]),
    /// Of double precision.
    F64(&'a [f64]),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// A place for numbers of the same type as those sent.
#[derive(Debug)]
pub enum SliceMut<'a> {
    /// Of single precision.
    F32(&'a mut [f32]),
    /// Of double precision.
    F64(&'a mut [f64]),
    /// Bytes.
    Bytes(&'a mut [u8]),
}

/// A number that ranks exchange.
pub trait Number: Real {
    /// Numbers to be sent.
    fn slice(x: &[Self]) -> Slice<'_>;
    /// A place for them.
    fn slice_mut(x: &mut [Self]) -> SliceMut<'_>;
}

macro_rules! number {
    ($t:ty, $variant:ident) => {
        impl Number for $t {
            fn slice(x: &[Self]) -> Slice<'_> {
                Slice::$variant(x)
            }
            fn slice_mut(x: &mut [Self]) -> SliceMut<'_> {
                SliceMut::$variant(x)
            }
        }
    };
}
number!(f32, F32);
number!(f64, F64);

impl Slice<'_> {
    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        match self {
            Slice::F32(x) => size_of_val(*x),
            Slice::F64(x) => size_of_val(*x),
            Slice::Bytes(x) => x.len(),
        }
    }
}

/// Moves slices between ranks: every rank calls the same function, with slices of the same lengths
/// and the same type.
pub trait Transport {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Everybody's slice, one rank after the other.
    fn all_gather(&self, mine: Slice<'_>, all: SliceMut<'_>);

    /// Piece r of `mine` goes to rank r; `theirs` is this rank's piece of everybody's, one rank
    /// after the other.
    fn all_to_all(&self, mine: Slice<'_>, theirs: SliceMut<'_>);

    /// Returns when every rank has called it; until then it leaves the processor to others.
    fn wait(&self);
}

/// One rank and no others.
pub(super) struct Alone;

impl Transport for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_gather(&self, mine: Slice<'_>, all: SliceMut<'_>) {
        match (mine, all) {
            (Slice::F32(mine), SliceMut::F32(all)) => all.copy_from_slice(mine),
            (Slice::F64(mine), SliceMut::F64(all)) => all.copy_from_slice(mine),
            (Slice::Bytes(mine), SliceMut::Bytes(all)) => all.copy_from_slice(mine),
            _ => panic!("all_gather: sent and received are of different types"),
        }
    }

    fn all_to_all(&self, mine: Slice<'_>, theirs: SliceMut<'_>) {
        self.all_gather(mine, theirs);
    }

    fn wait(&self) {}
}
