//! Measuring, shared by the benches: best and median of repeated calls, the machine's limit, and
//! what the definition takes.
#![allow(dead_code)] // Each bench compiles this file and uses a part of it.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use dimask::kernels::parallel::start_pool;
use dimask::kernels::{Real, dispatch, limit};
use rayon::prelude::*;

/// What the command line asked for.
pub(crate) struct Bench {
    only: Option<String>,
    json: bool,
    variants: bool,
    budget: Duration,
    limit: OnceLock<f64>,
}

/// How often the arithmetic is tried that no kernel can beat.
const LIMIT_TRIES: usize = 40;

impl Bench {
    /// Reads `--only NAME`, `--json`, `--variants` and `--budget SECONDS`; ignores what cargo adds.
    /// Loops run as in the program, on a pool that this thread is part of.
    pub(crate) fn from_args() -> Self {
        start_pool(None).expect("the first pool of this process");
        let args: Vec<String> = std::env::args().collect();
        let value = |name: &str| {
            args.iter().position(|arg| arg == name).and_then(|i| args.get(i + 1)).cloned()
        };
        let seconds = value("--budget").map_or(0.4, |s| s.parse().expect("--budget SECONDS"));
        Self {
            only: value("--only"),
            json: args.iter().any(|arg| arg == "--json"),
            variants: args.iter().any(|arg| arg == "--variants"),
            budget: Duration::from_secs_f64(seconds),
            limit: OnceLock::new(),
        }
    }

    /// Whether a workload is to be run: `--only` takes a part of its name.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|only| name.contains(only))
    }

    /// Whether to print JSON lines.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether to run other ways to compute the same, under other names.
    pub(crate) fn variants(&self) -> bool {
        self.variants
    }

    /// GFLOP/s of `f32` multiply-adds on all threads, in this run.
    fn limit(&self) -> f64 {
        *self.limit.get_or_init(|| {
            let threads = rayon::current_num_threads();
            let once = || {
                let start = Instant::now();
                let one = |_| limit::multiply_adds::<f32>(dispatch::level(), 400_000);
                let flop: usize = (0..threads).into_par_iter().with_max_len(1).map(one).sum();
                flop as f64 / start.elapsed().as_secs_f64() / 1e9
            };
            (0..LIMIT_TRIES).map(|_| once()).fold(0.0, f64::max)
        })
    }

    /// Best and median seconds of `f`, called for `budget` and at least `least` times; the first
    /// call, which warms caches and pools, is not counted.
    pub(crate) fn seconds(least: usize, budget: Duration, mut f: impl FnMut()) -> (f64, f64) {
        f();
        let (begin, mut seconds) = (Instant::now(), Vec::new());
        while seconds.len() < least || (begin.elapsed() < budget && seconds.len() < 2000) {
            let start = Instant::now();
            f();
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        (seconds[0], seconds[seconds.len() / 2])
    }

    /// Runs `f` for the time budget, at least five times, and prints one line.
    pub(crate) fn measure(&self, name: &str, count: Count, f: impl FnMut()) {
        let (best, median) = Bench::seconds(5, self.budget, f);
        self.print(name, count, best, median, "");
    }

    /// As [`Bench::measure`], beside the definition, which does a part of the work and returns how
    /// large a part.
    pub(crate) fn measure_beside(
        &self,
        name: &str,
        count: Count,
        f: impl FnMut(),
        definition: impl FnOnce() -> f64,
    ) {
        let (best, median) = Bench::seconds(5, self.budget, f);
        let mut times = String::new();
        if !self.json {
            let start = Instant::now();
            let part = definition();
            times = format!(
                ", {:.0} times the definition",
                start.elapsed().as_secs_f64() / part / best
            );
        }
        self.print(name, count, best, median, &times);
    }

    fn print(&self, name: &str, count: Count, best: f64, median: f64, more: &str) {
        let (Count::Flop(amount) | Count::Bytes(amount)) = count;
        let rate = amount as f64 / best / 1e9;
        if self.json {
            let threads = rayon::current_num_threads();
            let key = match count {
                Count::Flop(_) => "gflops",
                Count::Bytes(_) => "gb_per_second",
            };
            println!(
                "{{\"peer\":\"dimask\",\"name\":\"{name}\",\"threads\":{threads},\
                 \"seconds_best\":{best:.7},\"seconds_median\":{median:.7},\
                 \"{key}\":{rate:.2}}}"
            );
            return;
        }
        let rate = match count {
            Count::Flop(_) => {
                let share = rate / self.limit() * 100.0;
                format!("{rate:6.1} GFLOP/s, {share:3.0} % of the limit")
            }
            Count::Bytes(_) => format!("{rate:6.1} GB/s"),
        };
        let (best, median) = (best * 1e3, median * 1e3);
        println!("{name:36} best {best:9.3} ms, median {median:9.3} ms, {rate}{more}");
    }
}

/// What a run does once, in which its speed is told.
#[derive(Clone, Copy)]
pub(crate) enum Count {
    /// `f32` operations.
    Flop(usize),
    /// Bytes read and written.
    Bytes(usize),
}

/// Numbers in (-1, 1).
pub(crate) fn noise<T: Real>(len: usize) -> Vec<T> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        T::from_f64((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}
