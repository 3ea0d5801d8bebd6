//! One function at one point: its claimed derivatives against differences along entries and
//! directions, and against each other.

use std::cell::Cell;

use super::difference::{Aim, Found, Line, Quantity};
use super::map::{Linear, Map, locate};
use super::report::{Comparison, Mode, Modes, Place, Report, Verdict};
use super::scales;
use super::walk::Task;
use crate::rng::Stream;

/// An uncertainty that is smaller than this, relative to the other derivatives, is good enough; and
/// one that is, after every step has been tried.
const NEGLIGIBLE: f64 = 1e-8;
const LOST: f64 = 1e-7;
/// The least relative difference that a direction over many entries looks for.
const FINEST: f64 = 1e-10;
/// The largest step, relative to the size of an input.
const LARGEST_STEP: f64 = 1.0;
/// How many failing entries are traced from one comparison, along how many lines from all
/// comparisons, and how many entries those lines have in all where the inputs are large.
const TRACED: usize = 8;
const TRACES: [usize; 2] = [48, 200];
const TRACED_OVER: usize = 20_000_000;
/// How many outputs may fail along one line before the others are passed over.
const OUTPUTS: usize = 64;
/// Of more outputs than this, those that agree at the first steps are looked at no further.
const MANY: usize = 1024;

/// Along which outputs and inputs the next order is taken, and this order's derivatives there.
pub(super) struct Along {
    pub(super) u: Vec<f64>,
    pub(super) v: Vec<f64>,
    pub(super) pulled: Option<Vec<f64>>,
    pub(super) pushed: Option<Vec<f64>>,
    pub(super) outputs: Vec<Vec<usize>>,
}

/// The entries that move, and how far.
type Moving = Vec<(usize, f64)>;

struct Point<'a> {
    map: &'a Map<'a>,
    task: &'a Task<'a>,
    x: &'a [f64],
    here: &'a [f64],
    outputs: &'a [Vec<usize>],
    noise: Vec<f64>,
    /// The size of each entry, and what bounds its steps.
    sizes: Vec<f64>,
    bounds: Vec<f64>,
    /// How steep each output is along a random direction, and the steepest of all.
    steepest: Vec<f64>,
    most: f64,
    /// How many more lines failures may be traced along.
    traces: Cell<usize>,
}

/// Checks the claims about a function's derivative at a point; `None` if there is nothing to
/// derive further.
#[track_caller]
pub(super) fn check(
    map: &Map<'_>,
    x: &[f64],
    task: &Task<'_>,
    report: &mut Report,
) -> Option<Along> {
    let claim = (map.claim)(x);
    let (here, outputs) = (&claim.value[..], &claim.outputs[..]);
    let (sizes, bounds) = scales::sizes(x, &map.inputs);
    let mut rng = Stream::new(task.options.seed, "check").at(&[task.order as u64]);
    let v = scales::direction(&mut rng, 0, &sizes, None);
    let (noise, steepest, most) = (vec![0.0; here.len()], Vec::new(), 0.0);
    let traces = Cell::new((TRACED_OVER / x.len().max(1)).clamp(TRACES[0], TRACES[1]));
    let mut point =
        Point { map, task, x, here, outputs, noise, sizes, bounds, steepest, most, traces };
    if !point.value_is_finite(report) || x.is_empty() {
        return None;
    }
    point.compare_with_plain(report);
    point.survey(&v);

    let modes = task.options.modes;
    let pull = claim.pull.as_ref().filter(|_| modes != Modes::Forward);
    let push = claim.push.as_ref().filter(|_| modes != Modes::Reverse);
    let u = scales::weights(&mut rng, &point.steepest, &point.noise);
    let pulled = pull.map(|pull| pull(&u));
    if let Some(pulled) = &pulled {
        let (n, m) = (x.len(), pulled.len());
        assert!(m == n, "check_gradient: {n} inputs, and a gradient of {m} entries");
    }
    let gradient = pulled.as_deref();

    let (mut start, mut all) = (0, true);
    for shape in &map.inputs {
        let own = start..start + shape.iter().product::<usize>();
        start = own.end;
        all &= own.len() <= task.entries;
        let part = gradient.map(|g| &g[own.clone()]);
        for i in scales::entries(&mut rng, shape, &x[own.clone()], part, task.entries) {
            let i = own.start + i;
            report.entries += 1;
            let mut line = point.line(vec![(i, point.sizes[i])]);
            point.compare(&mut line, gradient.map(|g| (&u[..], g)), push, report);
        }
    }
    // Where all entries have been compared, one direction is left, for the adjoint only.
    for number in 0..if all { 1 } else { task.directions.max(1) } {
        report.directions += 1;
        let (d, w) = match number {
            0 => (v.clone(), u.clone()),
            // Each direction has weights of its own.
            _ => (
                scales::direction(&mut rng, number, &point.sizes, gradient),
                scales::weights(&mut rng, &point.steepest, &point.noise),
            ),
        };
        let g = pull.map(|pull| pull(&w));
        if !all {
            let moving = d.iter().copied().enumerate().filter(|(_, d)| *d != 0.0).collect();
            let pulled = g.as_deref().map(|g| (&w[..], g));
            point.compare(&mut point.line(moving), pulled, push, report);
        }
        if let (Some(g), Some(push)) = (&g, push) {
            point.compare_adjoints(&d, g, &w, &push(&d), report);
        }
    }
    let pushed = push.map(|push| push(&v));
    Some(Along { u, v, pulled, pushed, outputs: claim.outputs })
}

impl<'a> Point<'a> {
    /// What all comparisons at this point have in common.
    fn comparison(&self, mode: Mode, place: Place, output: Option<usize>) -> Comparison {
        Comparison {
            order: self.task.order,
            mode,
            over: self.task.over,
            place,
            output: output.map(|k| locate(self.outputs, k)),
            exact: 0.0,
            numeric: 0.0,
            uncertainty: 0.0,
            scale: 0.0,
            verdict: Verdict::Right,
        }
    }

    fn value_is_finite(&self, report: &mut Report) -> bool {
        let infinite = |(k, &y): (usize, &f64)| (!y.is_finite()).then_some((k, y));
        for (k, exact) in self.here.iter().enumerate().filter_map(infinite).take(OUTPUTS) {
            let comparison = self.comparison(self.task.pull, Place::Value, Some(k));
            let verdict = Verdict::NotFinite;
            report.add(Comparison { exact, numeric: exact, verdict, ..comparison });
        }
        self.here.iter().all(|y| y.is_finite())
    }

    /// The value is a recorded derivative: it is what the plain one was.
    fn compare_with_plain(&self, report: &mut Report) {
        let Some(plain) = &self.task.plain else { return };
        let scale = plain.iter().fold(0.0, |max: f64, y| max.max(y.abs()));
        for (k, (&exact, &numeric)) in self.here.iter().zip(plain).enumerate() {
            let mut comparison = Comparison {
                exact,
                numeric,
                scale,
                ..self.comparison(Mode::Recorded, Place::Value, Some(k))
            };
            comparison.order -= 1;
            if comparison.error() > self.task.options.exactness {
                report.add(Comparison { verdict: Verdict::Wrong, ..comparison });
            }
        }
    }

    /// Measures how steep the outputs are along a direction, and their rounding errors.
    fn survey(&mut self, v: &[f64]) {
        let mut line = self.line(v.iter().copied().enumerate().collect());
        [-3, -10].into_iter().for_each(|exponent| line.ensure(exponent));
        let (steepest, stairs) = (line.steepest(), line.changes());
        self.most = steepest.iter().copied().fold(0.0, f64::max);
        self.noise = scales::rounding(&*self.map.value, self.x, self.here, v, &stairs);
        self.steepest = steepest;
    }

    fn line(&self, moving: Moving) -> Line<'_> {
        Line::new(&*self.map.value, self.x, self.here, &self.noise, moving)
    }

    /// How far a line may go, relative to its direction.
    fn room(&self, moving: &[(usize, f64)]) -> f64 {
        let room = |&(i, d): &(usize, f64)| self.bounds[i] / d.abs();
        moving.iter().map(room).fold(f64::INFINITY, f64::min)
    }

    /// How certain the derivative along a line with this room must be, and how certain that of
    /// something about as steep as this.
    fn aim(&self, line: &Line<'_>, room: f64, steep: f64, last: f64) -> Aim {
        let tolerance = self.task.options.tolerance;
        let moving = line.moving().len();
        // Beside the largest entries, a step of a small one is a small step.
        let share = if moving == 1 { (1.0 / room).min(1.0) } else { 1.0 };
        Aim {
            tolerance,
            fine: (tolerance / moving as f64).max(FINEST).min(tolerance),
            floor: NEGLIGIBLE * steep * share,
            last_floor: LOST * last,
            top: (room * LARGEST_STEP).log2().floor().clamp(-2.0, 900.0) as i32,
        }
    }

    /// The derivative of `<u, f>` along a line.
    fn sum(&self, line: &mut Line<'_>, u: &[f64], exact: f64) -> Comparison {
        let parts = u.iter().zip(&self.steepest).map(|(u, s)| (u * s).powi(2));
        let steep = parts.sum::<f64>().sqrt();
        let aim = self.aim(line, self.room(line.moving()), steep, steep);
        let found = line.judge(&Quantity::Sum(u), exact, &aim);
        self.judged(self.task.pull, None, line.moving(), exact, found)
    }

    /// The derivative of one output along a line.
    fn output(&self, line: &mut Line<'_>, room: f64, k: usize, exact: f64) -> Comparison {
        let aim = self.aim(line, room, self.steepest[k], self.most);
        let found = line.judge(&Quantity::Output(k), exact, &aim);
        self.judged(Mode::Forward, Some(k), line.moving(), exact, found)
    }

    fn judged(
        &self,
        mode: Mode,
        output: Option<usize>,
        moving: &[(usize, f64)],
        exact: f64,
        found: Found,
    ) -> Comparison {
        // Of an entry, the derivative in it; of a direction, the derivative along it.
        let (place, unit) = match moving {
            &[(i, d)] => {
                let (input, index) = locate(&self.map.inputs, i);
                (Place::Entry { input, index }, d)
            }
            _ => (Place::Direction { entries: moving.len() }, 1.0),
        };
        Comparison {
            exact: exact / unit,
            numeric: found.numeric / unit,
            uncertainty: found.uncertainty / unit.abs(),
            scale: found.scale / unit.abs(),
            verdict: found.verdict,
            ..self.comparison(mode, place, output)
        }
    }

    /// Compares what pull and push say about a line with differences; what fails along a direction
    /// is traced to its entries.
    fn compare(
        &self,
        line: &mut Line<'_>,
        pulled: Option<(&[f64], &[f64])>,
        push: Option<&Linear>,
        report: &mut Report,
    ) {
        if let Some((u, gradient)) = pulled {
            let exact =
                |moving: &[(usize, f64)]| moving.iter().map(|&(i, d)| gradient[i] * d).sum::<f64>();
            let sum = |line: &mut Line<'_>| {
                let exact = exact(line.moving());
                self.sum(line, u, exact)
            };
            self.report(sum(line), line, &sum, report);
        }
        let Some(push) = push else { return };
        let pushed = |moving: &[(usize, f64)]| {
            let mut v = vec![0.0; self.x.len()];
            moving.iter().for_each(|&(i, d)| v[i] = d);
            push(&v)
        };
        let claims = pushed(line.moving());
        let mut failed = 0;
        let room = self.room(line.moving());
        for (k, &exact) in claims.iter().enumerate() {
            let aim = self.aim(line, room, self.steepest[k], self.most);
            if claims.len() > MANY && line.agrees_at_once(k, exact, &aim) {
                continue;
            }
            let found = self.output(line, room, k, exact);
            failed += usize::from(found.verdict != Verdict::Right);
            let output = |line: &mut Line<'_>| {
                let (exact, room) = (pushed(line.moving())[k], self.room(line.moving()));
                self.output(line, room, k, exact)
            };
            self.report(found, line, &output, report);
            if failed == OUTPUTS {
                break;
            }
        }
    }

    /// Reports a comparison along a line, or those of the entries that make it fail.
    fn report(
        &self,
        found: Comparison,
        line: &Line<'_>,
        judge: &dyn Fn(&mut Line<'_>) -> Comparison,
        report: &mut Report,
    ) {
        let mut traced = 0;
        if found.verdict != Verdict::Right && line.moving().len() > 1 {
            let mut parts: Vec<Moving> = vec![line.moving().to_vec()];
            while let Some(part) = parts.pop().filter(|_| traced < TRACED && self.traces.get() > 0)
            {
                for half in part.chunks(part.len().div_ceil(2)) {
                    self.traces.set(self.traces.get().saturating_sub(1));
                    let mut line = self.line(half.to_vec());
                    let found = judge(&mut line);
                    match (found.verdict, half.len()) {
                        (Verdict::Right, _) => {}
                        (_, 1) => {
                            traced += 1;
                            report.add(found);
                        }
                        _ => parts.push(half.to_vec()),
                    }
                }
            }
        }
        if traced == 0 {
            report.add(found);
        }
    }

    /// `<u, J v>` against `<Jᵀ u, v>`: two sums of the same numbers, so equal but for rounding.
    fn compare_adjoints(&self, v: &[f64], g: &[f64], u: &[f64], p: &[f64], report: &mut Report) {
        let dot = |a: &[f64], b: &[f64]| {
            let terms = a.iter().zip(b).map(|(a, b)| a * b);
            terms.fold((0.0, 0.0), |(sum, squares): (f64, f64), t| (sum + t, squares + t * t))
        };
        let ((exact, left), (numeric, right)) = (dot(g, v), dot(u, p));
        let entries = v.iter().filter(|v| **v != 0.0).count();
        let mut comparison = Comparison {
            exact,
            numeric,
            scale: left.sqrt() + right.sqrt(),
            ..self.comparison(Mode::Adjoint, Place::Direction { entries }, None)
        };
        // What is not finite is reported by itself.
        if comparison.error().is_finite() && comparison.error() > self.task.options.exactness {
            comparison.verdict = Verdict::Wrong;
            report.add(comparison);
        }
    }
}
