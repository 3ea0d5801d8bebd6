//! Which vector instructions the kernels use: found once, and entered at one place.
//!
//! A kernel is a small struct that holds its operands and one generic body (`Kernel::run`).
//! `run` calls the body inside the `#[target_feature]` shell of a level; everything that is
//! `#[inline(always)]` below it is compiled for that level. A loop that needs no vectors by hand
//! is a function of `wide!`, which makes the same shells around it. These shells are all the
//! `target_feature` code of the crate.

use std::sync::OnceLock;

use super::Real;
use super::arch::amx;
use super::vector::Vector;

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the compiler makes of plain loops for the target's smallest processor.
    Scalar,
    /// As `Scalar`, with products by the crate matrixmultiply: the level of every processor that
    /// no other one is written for.
    Portable,
    /// x86-64 with AVX2 and FMA: 256-bit registers.
    Avx2,
    /// x86-64 with AVX-512F: 512-bit registers.
    Avx512,
}

impl Level {
    /// All levels, the plainest first.
    pub const ALL: [Level; 4] = [Level::Scalar, Level::Portable, Level::Avx2, Level::Avx512];

    /// The name that `DIMASK_SIMD` takes.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    /// Whether this build has the level's kernels: those of AVX-512 need Rust 1.89.
    pub fn is_built(self) -> bool {
        match self {
            Level::Scalar | Level::Portable => true,
            Level::Avx2 => cfg!(target_arch = "x86_64"),
            Level::Avx512 => cfg!(avx512),
        }
    }

    /// The best level that is available.
    pub fn best() -> Level {
        let available = Level::ALL.into_iter().rev().find(|level| level.is_available());
        available.unwrap_or(Level::Portable)
    }

    /// Why the level is not available; nothing if it is.
    pub fn obstacle(self) -> Option<&'static str> {
        if self.is_available() {
            None
        } else if self.is_built() || !cfg!(target_arch = "x86_64") {
            Some("this processor lacks its instructions")
        } else {
            Some("this build lacks its kernels, which need Rust 1.89 or newer")
        }
    }

    /// Whether this build has the level's kernels and this processor their instructions.
    #[inline]
    pub fn is_available(self) -> bool {
        match self {
            Level::Scalar | Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(avx512)]
            Level::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(not(avx512))]
            _ => false,
        }
    }

    /// Whether products in bf16 go through tile registers (AMX), which this processor and its
    /// system may have beside the highest level.
    pub fn has_tiles(self) -> bool {
        self == Level::Avx512 && amx::is_available()
    }
}

/// The level that all kernels of this process use: the best available, or the one that the
/// environment variable `DIMASK_SIMD` names.
///
/// # Panics
/// If `DIMASK_SIMD` names no level, or one that this build or this processor lacks.
#[inline]
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| choose(std::env::var("DIMASK_SIMD").ok().as_deref()))
}

fn choose(forced: Option<&str>) -> Level {
    let Some(name) = forced.filter(|name| !name.is_empty()) else {
        return Level::best();
    };
    let level = Level::ALL.into_iter().find(|level| level.name() == name);
    let level = level.unwrap_or_else(|| {
        let names = Level::ALL.map(Level::name).join(", ");
        panic!("DIMASK_SIMD={name}: no such level ({names} are)")
    });
    match level.obstacle() {
        None => level,
        Some(obstacle) => panic!("DIMASK_SIMD={name}: {obstacle}"),
    }
}

/// Work that is written once over [`Vector`] and compiled for each level.
pub(crate) trait Kernel<T: Real> {
    /// What the work returns.
    type Output;

    /// Does the work; implementations are `#[inline(always)]`.
    ///
    /// # Safety
    /// Only from the shell of the level that `V` belongs to.
    unsafe fn run<V: Vector<Scalar = T>>(self) -> Self::Output;
}

/// Runs a kernel at a level.
///
/// # Panics
/// If this processor lacks the level.
#[inline]
pub(crate) fn run<T: Real, K: Kernel<T>>(level: Level, kernel: K) -> K::Output {
    assert!(level.is_available(), "{level:?} kernels cannot run on this processor");
    // SAFETY: each shell is entered only after the check above that its instructions exist.
    unsafe {
        match level {
            Level::Scalar | Level::Portable => scalar(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2(kernel),
            #[cfg(avx512)]
            Level::Avx512 => avx512(kernel),
            #[cfg(not(avx512))]
            _ => unreachable!("checked above"),
        }
    }
}

#[inline(never)]
unsafe fn scalar<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    // SAFETY: arrays need no special instructions.
    unsafe { kernel.run::<T::Scalar>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    // SAFETY: this is the shell of the level.
    unsafe { kernel.run::<T::Avx2>() }
}

#[cfg(avx512)]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<T: Real, K: Kernel<T>>(kernel: K) -> K::Output {
    // SAFETY: this is the shell of the level.
    unsafe { kernel.run::<T::Avx512>() }
}

/// Defines functions whose plain loops are compiled for each level, as wide as its registers are,
/// and run at the level of this process.
///
/// `fn name[generics](arguments) body`: brackets, because a macro cannot match angle ones. Closures
/// among the arguments have to be small, so that the compiler inlines them into the loop.
macro_rules! wide {
    ($(
        $(#[$meta:meta])*
        $vis:vis fn $name:ident[$($generics:tt)*]($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)?
        $body:block
    )*) => {$(
        $(#[$meta])*
        #[inline]
        $vis fn $name<$($generics)*>($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn body<$($generics)*>($($arg: $type),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2<$($generics)*>($($arg: $type),*) $(-> $out)? {
                body($($arg),*)
            }
            #[cfg(avx512)]
            #[target_feature(enable = "avx512f")]
            unsafe fn avx512<$($generics)*>($($arg: $type),*) $(-> $out)? {
                body($($arg),*)
            }
            #[cfg_attr(not(target_arch = "x86_64"), allow(unused_imports))]
            use $crate::kernels::dispatch::{Level, level};
            match level() {
                // SAFETY: `level` gives a level whose instructions this processor has.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(avx512)]
                Level::Avx512 => unsafe { avx512($($arg),*) },
                _ => body($($arg),*),
            }
        }
    )*};
}
pub(crate) use wide;

/// The sizes of the product tile of a level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TileShape {
    /// Floats in a register.
    pub(crate) lanes: usize,
    /// Most rows of a tile.
    pub(crate) rows: usize,
    /// Most registers in a row of a tile.
    pub(crate) vectors: usize,
}

impl TileShape {
    /// The shape that kernels of element type `T` use at `level`.
    #[inline]
    pub(crate) fn of<T: Real>(level: Level) -> Self {
        struct Ask;
        impl<T: Real> Kernel<T> for Ask {
            type Output = TileShape;
            #[inline(always)]
            unsafe fn run<V: Vector<Scalar = T>>(self) -> TileShape {
                TileShape { lanes: V::LANES, rows: V::TILE_ROWS, vectors: V::TILE_VECTORS }
            }
        }
        run::<T, Ask>(level, Ask)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The levels that tests run at: those available. The others are printed, and with
    /// `REQUIRE_LEVEL` set to the name of one of them that is a failure.
    pub(crate) fn levels() -> Vec<Level> {
        let (present, absent): (Vec<_>, Vec<_>) =
            Level::ALL.into_iter().partition(|level| level.is_available());
        let required = std::env::var("REQUIRE_LEVEL").unwrap_or_default();
        for level in absent {
            assert_ne!(level.name(), required, "this processor lacks a required level");
            println!("skipped: {level:?} is not available here");
        }
        present
    }

    #[test]
    fn names_choose_levels() {
        for level in levels() {
            assert_eq!(choose(Some(level.name())), level);
        }
        assert_eq!(Some(&choose(None)), levels().last());
        assert_eq!(choose(Some("")), choose(None));
        // Never chosen: a processor without a level of its own has `Portable`.
        assert!(choose(None) > Level::Scalar);
    }

    #[test]
    #[should_panic(expected = "no such level (scalar, portable, avx2, avx512 are)")]
    fn unknown_level_panics() {
        choose(Some("sse9"));
    }
}
