//! What stands for the tile registers where there is no AVX-512, beside which they are used.

use std::convert::Infallible;

use crate::kernels::bf16::Bf16;

/// Never.
pub(crate) fn is_available() -> bool {
    false
}

/// Tile registers, which this build lacks: no value exists.
pub(crate) struct TileRegisters(Infallible);

impl TileRegisters {
    /// # Panics
    /// Always.
    pub(crate) fn new() -> Self {
        panic!("this processor has no tile registers")
    }

    pub(crate) fn clear(&mut self) {
        match self.0 {}
    }

    pub(crate) unsafe fn load(&mut self, _from: *const f32, _stride: usize) {
        match self.0 {}
    }

    pub(crate) unsafe fn store(&mut self, _to: *mut f32, _stride: usize) {
        match self.0 {}
    }

    pub(crate) unsafe fn add_product(&mut self, _a: *const Bf16, _b: *const Bf16) {
        match self.0 {}
    }
}
