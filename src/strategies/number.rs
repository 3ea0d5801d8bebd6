//! Tensors as functions of a shape and of numbers that shrink to round ones.
//!
//! A range of proptest's shrinks to 0 or not at all. Numbers here shrink along a list of their own:
//! 0, small powers of two, then the number itself with more and more digits.

use std::fmt;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::TestRunner;

/// Numbers in a range, outside of gaps.
#[derive(Clone, Debug)]
pub(super) struct Number {
    /// The intervals that are left of the range, ascending, ends included.
    intervals: Vec<[f64; 2]>,
}

impl Number {
    /// Numbers in `[low, high]` that are at least `gap` away from each of `kinks`.
    #[track_caller]
    pub(super) fn new(low: f64, high: f64, kinks: &[f64], gap: f64) -> Number {
        assert!(
            low <= high && low.is_finite() && high.is_finite(),
            "strategies: there is no number between {low} and {high}"
        );
        let mut kinks = kinks.to_vec();
        kinks.sort_by(f64::total_cmp);
        let (mut intervals, mut start) = (Vec::new(), low);
        for kink in kinks {
            if kink - gap >= start {
                intervals.push([start, f64::min(kink - gap, high)]);
            }
            start = start.max(kink + gap);
        }
        intervals.push([start, high]);
        intervals.retain(|[low, high]| low <= high);
        assert!(
            !intervals.is_empty(),
            "strategies: nothing between {low} and {high} is {gap} away from all kinks"
        );
        Number { intervals }
    }

    fn has(&self, x: f64) -> bool {
        self.intervals.iter().any(|[low, high]| (*low..=*high).contains(&x))
    }

    /// The number of least size.
    fn simplest(&self) -> f64 {
        let nearest = |[low, high]: &[f64; 2]| 0f64.clamp(*low, *high);
        let all = self.intervals.iter().map(nearest);
        all.min_by(|a, b| a.abs().total_cmp(&b.abs())).expect("there is an interval")
    }

    fn draw(&self, runner: &mut TestRunner) -> f64 {
        let length = |[low, high]: &[f64; 2]| high - low;
        let total: f64 = self.intervals.iter().map(length).sum();
        let mut at = total * (runner.rng().next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        for interval in &self.intervals {
            if at <= length(interval) {
                return (interval[0] + at).min(interval[1]);
            }
            at -= length(interval);
        }
        self.intervals[self.intervals.len() - 1][1]
    }

    /// The numbers that `x` shrinks to, simplest first, `x` last.
    fn simpler(&self, x: f64) -> Vec<f64> {
        let mut all = vec![self.simplest()];
        all.extend(
            (0..10).map(|power| f64::from(1 << power).copysign(x)).filter(|p| p.abs() < x.abs()),
        );
        all.extend([1.0, 2.0, 4.0, 10.0, 100.0].map(|digits| (x * digits).round() / digits));
        all.push(x);
        all.retain(|&x| self.has(x));
        all.dedup();
        all
    }
}

/// One number, on its way to a simpler one.
#[derive(Debug)]
struct NumberTree {
    /// Simplest first.
    steps: Vec<f64>,
    /// Where it stands; those before `low` are known not to fail.
    at: usize,
    low: usize,
}

impl NumberTree {
    fn simplify(&mut self) -> bool {
        let simpler = self.low < self.at;
        self.at = self.at.min(self.low);
        simpler
    }

    fn complicate(&mut self) -> bool {
        self.low = self.at + 1;
        self.at = self.low.min(self.steps.len() - 1);
        self.low < self.steps.len()
    }
}

/// Makes a value from a key and its numbers.
pub(super) type Build<K, V> = Arc<dyn Fn(K, &[f64]) -> V + Send + Sync>;

/// What is made from a key, such as a shape, and as many numbers as that takes.
pub(super) struct Filled<S: Strategy, V> {
    pub(super) keys: S,
    pub(super) number: Number,
    /// How many numbers a key takes.
    pub(super) count: fn(&S::Value) -> usize,
    pub(super) build: Build<S::Value, V>,
}

impl<S: Strategy + Clone, V> Clone for Filled<S, V> {
    fn clone(&self) -> Self {
        let (keys, number) = (self.keys.clone(), self.number.clone());
        Filled { keys, number, count: self.count, build: Arc::clone(&self.build) }
    }
}

impl<S: Strategy, V> fmt::Debug for Filled<S, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filled").field("keys", &self.keys).field("number", &self.number).finish()
    }
}

impl<S: Strategy, V: fmt::Debug> Strategy for Filled<S, V> {
    type Tree = FilledTree<S, V>;
    type Value = V;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let key = self.keys.new_tree(runner)?;
        let tree = |x: f64| {
            let steps = self.number.simpler(x);
            NumberTree { at: steps.len() - 1, low: 0, steps }
        };
        let count = (self.count)(&key.current());
        let numbers = (0..count).map(|_| tree(self.number.draw(runner))).collect();
        let (spare, count, build) = (self.number.simplest(), self.count, Arc::clone(&self.build));
        Ok(FilledTree { key, numbers, shrinks: Some(0), spare, count, build })
    }
}

/// First the key shrinks, with the same numbers as far as they are needed; then each number does.
pub(super) struct FilledTree<S: Strategy, V> {
    key: S::Tree,
    numbers: Vec<NumberTree>,
    /// The key, at 0, or the number that shrinks now, from 1; none before the first step.
    shrinks: Option<usize>,
    /// In the place of numbers that were not drawn.
    spare: f64,
    count: fn(&S::Value) -> usize,
    build: Build<S::Value, V>,
}

impl<S: Strategy, V: fmt::Debug> ValueTree for FilledTree<S, V> {
    type Value = V;

    fn current(&self) -> V {
        let key = self.key.current();
        let number = |i: usize| self.numbers.get(i).map_or(self.spare, |tree| tree.steps[tree.at]);
        let numbers: Vec<f64> = (0..(self.count)(&key)).map(number).collect();
        (self.build)(key, &numbers)
    }

    fn simplify(&mut self) -> bool {
        let used = (self.count)(&self.key.current()).min(self.numbers.len());
        while let Some(at) = self.shrinks {
            let simpler = match at {
                0 => self.key.simplify(),
                _ => self.numbers[at - 1].simplify(),
            };
            if simpler {
                return true;
            }
            self.shrinks = (at < used).then_some(at + 1);
        }
        false
    }

    fn complicate(&mut self) -> bool {
        match self.shrinks {
            Some(0) => self.key.complicate(),
            Some(at) => self.numbers[at - 1].complicate(),
            None => false,
        }
    }
}
