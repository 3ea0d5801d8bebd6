//! One dimension of a convolution: which source positions meet which taps at each target.
//!
//! Rows and columns of an image behave alike, and a convolution and its input gradient do too:
//! each target position sees a run of consecutive source positions, paired with a run of
//! consecutive taps once the taps are in the right order. All that is irregular about padding,
//! strides and their adjoints is in these tables; the loops that use them know none of it.

/// Source positions `source..source + len`, paired with taps `tap..tap + len` of the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) source: usize,
    pub(super) tap: usize,
    pub(super) len: usize,
}

/// The runs of all target positions of one dimension.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// The kernel's taps in the order that [`Run::tap`] counts.
    pub(super) order: Vec<usize>,
    /// One run for each target position; empty where all taps fall in the padding.
    pub(super) runs: Vec<Run>,
}

impl Axis {
    /// From `len` inputs to the outputs: output `t` sees input `t · stride + tap − padding`.
    pub(super) fn forward(
        len: usize,
        out: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Self {
        let run = |t: usize| {
            let first = padding.saturating_sub(t * stride).min(kernel);
            let end = (len + padding).saturating_sub(t * stride).min(kernel).max(first);
            if first == end {
                return Run::default();
            }
            Run { source: t * stride + first - padding, tap: first, len: end - first }
        };
        Self { order: (0..kernel).collect(), runs: (0..out).map(run).collect() }
    }

    /// From the outputs' gradients to `len` inputs: input `t` is seen by output
    /// `(t + padding − tap) / stride` for the taps where that is whole.
    ///
    /// These taps are one class modulo the stride, and a larger tap meets an earlier output: in
    /// the order "class by class, downwards", each input sees a run. No zeros are inserted.
    pub(super) fn adjoint(
        len: usize,
        out: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Self {
        let in_class = |class: usize| (kernel + stride - 1 - class) / stride;
        let class_start = |class: usize| (0..class).map(in_class).sum::<usize>();
        let order = (0..stride)
            .flat_map(|class| (0..in_class(class)).rev().map(move |i| class + i * stride))
            .collect();
        let run = |t: usize| {
            let (class, latest) = ((t + padding) % stride, (t + padding) / stride);
            // Tap `class + i · stride` meets output `latest − i`, for these `i`:
            let count = in_class(class);
            let (first, end) = ((latest + 1).saturating_sub(out), count.min(latest + 1));
            if first >= end {
                return Run::default();
            }
            let tap = class_start(class) + count - end;
            Run { source: latest + 1 - end, tap, len: end - first }
        };
        Self { order, runs: (0..len).map(run).collect() }
    }

    /// The source positions that targets `from..to` see, each once, in increasing order.
    pub(super) fn sources(&self, from: usize, to: usize) -> Vec<usize> {
        let runs = self.runs[from..to].iter();
        let mut seen: Vec<usize> = runs.flat_map(|r| r.source..r.source + r.len).collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    }
}

/// For each of `sources`, where it stands in that list; for other positions, nothing useful.
pub(super) fn slots(sources: &[usize]) -> Vec<usize> {
    let mut slots = vec![0; sources.iter().max().map_or(0, |last| last + 1)];
    for (slot, source) in sources.iter().enumerate() {
        slots[*source] = slot;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All `(target, source, tap)` of an axis.
    fn triples(axis: &Axis) -> Vec<(usize, usize, usize)> {
        let mut all = Vec::new();
        for (target, run) in axis.runs.iter().enumerate() {
            for i in 0..run.len {
                all.push((target, run.source + i, axis.order[run.tap + i]));
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn runs_are_the_terms_of_the_definition() {
        for len in 1..8 {
            for kernel in 1..6 {
                for stride in 1..5 {
                    for padding in 0..4 {
                        if len + 2 * padding < kernel {
                            continue;
                        }
                        let out = (len + 2 * padding - kernel) / stride + 1;
                        let mut terms = Vec::new();
                        for y in 0..out {
                            for tap in 0..kernel {
                                let x = y * stride + tap;
                                if x >= padding && x < len + padding {
                                    terms.push((y, x - padding, tap));
                                }
                            }
                        }
                        let forward = Axis::forward(len, out, kernel, stride, padding);
                        assert_eq!(triples(&forward), terms);
                        let mut turned: Vec<_> = terms.iter().map(|t| (t.1, t.0, t.2)).collect();
                        turned.sort_unstable();
                        let adjoint = Axis::adjoint(len, out, kernel, stride, padding);
                        assert_eq!(triples(&adjoint), turned);
                    }
                }
            }
        }
    }
}
