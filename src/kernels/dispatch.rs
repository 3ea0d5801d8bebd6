//! Which vector instructions the kernels use: the module detects them once and enters them here.
//!
//! A kernel is a small struct that holds its operands and one generic body (`Kernel::run`).
//! `run` calls the body inside the `#[target_feature]` shell of a level; everything that is
//! `#[inline(always)]` below it is compiled for that level. A loop that needs no vectors by hand
//! is a function of `wide!`, which makes the same shells around it. These shells hold all the
//! `target_feature` code of the kernels; outside of them, `arch/amx.rs` alone enables one feature,
//! to ask the system for tile registers.
//!
//! Each `match` on a level names every level, so that a new one does not compile until all
//! kernels have it.

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
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 => false,
            #[cfg(not(avx512))]
            Level::Avx512 => false,
        }
    }

    /// Whether products in bf16 use the tile registers of AMX, which this processor and its
    /// system may have beside the highest level.
    pub fn has_amx(self) -> bool {
        match self {
            Level::Scalar | Level::Portable | Level::Avx2 => false,
            Level::Avx512 => amx::is_available(),
        }
    }
}

/// The level that all kernels of this process use: the best available, or the one that the
/// environment variable `DIMASK_SIMD` names.
///
/// # Panics
/// If `DIMASK_SIMD` names no level, or one that this build or this processor lacks.
#[inline]
pub fn level() -> Level {
    #[cfg(test)]
    if let Some(level) = tests::FORCED.get() {
        return level;
    }
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
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 => unreachable!("checked above"),
            #[cfg(not(avx512))]
            Level::Avx512 => unreachable!("checked above"),
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
/// and run at the level of this process. The bits are the same at every level, which
/// `tests/levels.rs` checks for each function.
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
            use $crate::kernels::dispatch::{Level, level};
            #[cfg(test)]
            $crate::kernels::dispatch::tests::record(file!(), stringify!($name));
            match level() {
                Level::Scalar | Level::Portable => body($($arg),*),
                // SAFETY: `level` gives a level whose instructions this processor has.
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(avx512)]
                Level::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(not(target_arch = "x86_64"))]
                Level::Avx2 => unreachable!("not built"),
                #[cfg(not(avx512))]
                Level::Avx512 => unreachable!("not built"),
            }
        }
    )*};
}
pub(crate) use wide;

/// The sizes of the product register block of a level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegisterBlock {
    /// Floats in a register.
    pub(crate) lanes: usize,
    /// Most rows of a register block.
    pub(crate) rows: usize,
    /// Most registers in a row of a register block.
    pub(crate) vectors: usize,
}

impl RegisterBlock {
    /// The shape that kernels of element type `T` use at `level`.
    #[inline]
    pub(crate) fn of<T: Real>(level: Level) -> Self {
        struct Ask;
        impl<T: Real> Kernel<T> for Ask {
            type Output = RegisterBlock;
            #[inline(always)]
            unsafe fn run<V: Vector<Scalar = T>>(self) -> RegisterBlock {
                RegisterBlock { lanes: V::LANES, rows: V::BLOCK_ROWS, vectors: V::BLOCK_VECTORS }
            }
        }
        run::<T, Ask>(level, Ask)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use rayon::ThreadPoolBuilder;

    use super::*;

    thread_local! {
        /// The level of this thread, if [`at`] chose it.
        pub(super) static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
    }

    /// A file with `wide!`, the name of a function in it, and a level that [`at`] ran it at.
    type Run = (&'static str, &'static str, Level);

    static RUNS: Mutex<BTreeSet<Run>> = Mutex::new(BTreeSet::new());

    /// Records that a function of `wide!` runs, if [`at`] chose the level.
    pub(crate) fn record(file: &'static str, name: &'static str) {
        if let Some(level) = FORCED.get() {
            RUNS.lock().unwrap().insert((file, name, level));
        }
    }

    /// What the functions of `wide!` ran at so far.
    pub(in crate::kernels) fn runs() -> BTreeSet<Run> {
        RUNS.lock().unwrap().clone()
    }

    /// The result of `f` at a level, on a number of threads.
    pub(in crate::kernels) fn at<R: Send>(
        level: Level,
        threads: usize,
        f: impl FnOnce() -> R + Send,
    ) -> R {
        let pool = ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.start_handler(move |_| FORCED.set(Some(level))).build();
        pool.expect("a few threads can be started").install(f)
    }

    /// The levels that tests run at: those available. It prints the others, and fails if
    /// `REQUIRE_LEVEL` names one of them.
    pub(crate) fn levels() -> Vec<Level> {
        let required = std::env::var("REQUIRE_LEVEL").unwrap_or_default();
        let is_present = |level: &Level| {
            let Some(obstacle) = level.obstacle() else { return true };
            assert_ne!(level.name(), required, "this processor lacks a required level");
            println!("NOT CHECKED: {}; {obstacle}", level.name());
            false
        };
        Level::ALL.into_iter().filter(is_present).collect()
    }

    /// Whether tests can use the tile registers of AMX; otherwise it prints that they do not.
    pub(in crate::kernels) fn has_amx() -> bool {
        if !amx::is_available() {
            println!("NOT CHECKED: AMX; this processor or its system lacks tile registers");
        }
        amx::is_available()
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
