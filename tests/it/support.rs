//! What the integration tests share: tolerances, random tensors, temporary folders, thread pools.

use dimask::Real;
use dimask::tensor::Tensor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every tolerance of the integration tests that is not the reference values' own.
pub mod tolerance {
    /// Two exact formulas of one value, f64, relative to the larger magnitude.
    pub const LAW: f64 = 1e-12;
    /// A fused op against its definition at orders 0 to 2, f64.
    pub const FUSED: f64 = 1e-10;
    /// A few nested sums of hundreds of terms in f32 against f64.
    pub const SINGLE: f64 = 1e-5;
    /// `<push(v), g>` against `<v, pull(g)>`, f64.
    pub const ADJOINT: f64 = 1e-10;
    /// A random program's derivatives to order 2 against scalars, f64, relative to 1 or the largest
    /// entry. Numbers are below 10 and divisors above 0.1 there, some steps deep: rounding leaves
    /// some hundred units in the last place (1e-13 in 100,000 programs), a mistake is nearer to 1.
    pub const PROGRAM: f64 = 1e-11;
}

/// A generator of test data: SplitMix64, so that the numbers never change with a library.
#[derive(Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6469_6d61_736b)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Uniform in `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.bits() >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// An integer below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// A tensor of uniform entries in `[low, high)`.
    pub fn tensor<T: Real>(&mut self, shape: &[usize], low: f64, high: f64) -> Tensor<T> {
        Tensor::from_fn(shape, |_| T::from_f64(self.uniform(low, high)))
    }
}

/// The inner product, summed in order.
pub fn dot<T: Real>(a: &Tensor<T>, b: &Tensor<T>) -> f64 {
    assert_eq!(a.shape(), b.shape(), "inner product of unequal shapes");
    a.as_slice().iter().zip(b.as_slice()).map(|(x, y)| x.to_f64() * y.to_f64()).sum()
}

/// Fails unless `a` and `b` agree to `tolerance`, relative to 1 or the larger magnitude.
#[track_caller]
pub fn assert_close(what: &str, a: f64, b: f64, tolerance: f64) {
    let scale = a.abs().max(b.abs()).max(1.0);
    assert!((a - b).abs() <= tolerance * scale, "{what}: {a} and {b} differ by {}", a - b);
}

/// Fails unless the tensors agree to `tolerance`, relative to 1 or the largest magnitude.
#[track_caller]
pub fn assert_tensors_close<T: Real>(what: &str, a: &Tensor<T>, b: &Tensor<T>, tolerance: f64) {
    assert_eq!(a.shape(), b.shape(), "{what}: shapes");
    let pairs = || a.as_slice().iter().zip(b.as_slice()).map(|(x, y)| (x.to_f64(), y.to_f64()));
    let scale = pairs().fold(1.0, |scale: f64, (x, y)| scale.max(x.abs()).max(y.abs()));
    for (i, (x, y)) in pairs().enumerate() {
        let gap = (x - y).abs();
        assert!(gap <= tolerance * scale, "{what}: entry {i}: {x} and {y} differ by {gap}");
    }
}

/// A folder of its own, removed when the value goes.
pub struct TempDir(PathBuf);

impl TempDir {
    /// A fresh, empty folder.
    pub fn new(name: &str) -> TempDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let unique = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dimask-{}-{unique}-{name}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("the temporary folder can be written");
        TempDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A folder that cannot be removed is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `work` in a thread pool of its own with `threads` threads.
pub fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("a small thread pool can be built").install(work)
}
