//! The numeric side: differences along a line at several steps, and what they say about a claim.
//!
//! A step that is too large leaves curvature, one that is too small leaves rounding; which of the
//! two it is shows in how differences at several steps agree. No verdict rests on one step.

use std::collections::BTreeMap;

use super::report::Verdict;

/// Steps are powers of two, relative to the direction: the first two, and two more for directions
/// that many entries share, where one wrong entry is a small part of the whole.
const FIRST: [i32; 2] = [-10, -11];
const SHARPER: [i32; 2] = [-9, -8];
/// Smaller steps, tried while curvature dominates.
const DOWN: [i32; 7] = [-14, -18, -22, -24, -26, -28, -30];
/// The step at which a kink must still show.
const KINK: i32 = -18;
/// The largest number of differences that are extrapolated together.
const WINDOW: usize = 4;
/// How many standard deviations of rounding are allowed for.
const ROUNDING: f64 = 3.0;

/// How far above the tolerance an uncertainty may stay after every step has been tried.
const SHORT: f64 = 10.0;

/// The value of a function of flat numbers.
pub(super) type Value<'a> = dyn Fn(&[f64]) -> Vec<f64> + 'a;

/// The function's values on a line through a point.
pub(super) struct Line<'a> {
    value: &'a Value<'a>,
    x: &'a [f64],
    here: &'a [f64],
    /// The rounding error of each output.
    noise: &'a [f64],
    /// The entries that move, and how far for a step of 1.
    direction: Vec<(usize, f64)>,
    /// By the step's binary exponent.
    steps: BTreeMap<i32, Step>,
}

struct Step {
    plus: Vec<f64>,
    minus: Vec<f64>,
    /// The steps that were really taken, after rounding.
    up: f64,
    down: f64,
}

/// A number made from the outputs, linearly.
pub(super) enum Quantity<'a> {
    /// `<u, f>`.
    Sum(&'a [f64]),
    /// One output.
    Output(usize),
}

/// A quantity's differences at one step.
#[derive(Clone, Copy)]
struct Sample {
    exponent: i32,
    step: f64,
    slope: f64,
    /// How much the slopes to the two sides differ, and the larger of them.
    jump: f64,
    steepest: f64,
    /// What rounding adds to the slope, from the outputs that moved and from those that did not.
    noise: f64,
    still: f64,
}

/// A slope extrapolated to a step of 0.
#[derive(Clone, Copy)]
struct Estimate {
    slope: f64,
    curvature: f64,
    noise: f64,
    still: f64,
}

impl Estimate {
    fn uncertainty(&self) -> f64 {
        self.curvature + ROUNDING * self.noise
    }

    /// With what outputs may hide that did not move.
    fn doubt(&self) -> f64 {
        self.uncertainty() + ROUNDING * self.still
    }
}

/// How certain a numeric derivative must be.
#[derive(Clone, Copy)]
pub(super) struct Aim {
    /// Relative to the derivative.
    pub(super) tolerance: f64,
    /// The relative difference that is looked for where the numeric derivative allows it.
    pub(super) fine: f64,
    /// A derivative below this is negligible beside the others.
    pub(super) floor: f64,
    /// The same, after every step has been tried.
    pub(super) last_floor: f64,
    /// The exponent of the largest step.
    pub(super) top: i32,
}

/// What a comparison found.
pub(super) struct Found {
    pub(super) numeric: f64,
    pub(super) uncertainty: f64,
    pub(super) scale: f64,
    pub(super) verdict: Verdict,
}

/// What to try next.
enum Next {
    Settled(Verdict),
    Smaller,
    Larger(f64),
    Nearer,
}

impl<'a> Line<'a> {
    pub(super) fn new(
        value: &'a Value<'a>,
        x: &'a [f64],
        here: &'a [f64],
        noise: &'a [f64],
        direction: Vec<(usize, f64)>,
    ) -> Line<'a> {
        Line { value, x, here, noise, direction, steps: BTreeMap::new() }
    }

    /// The entries that move, and how far.
    pub(super) fn moving(&self) -> &[(usize, f64)] {
        &self.direction
    }

    /// Whether an output's claimed slope is right already at the first steps.
    pub(super) fn agrees_at_once(&mut self, k: usize, exact: f64, aim: &Aim) -> bool {
        FIRST.into_iter().for_each(|e| self.ensure(e));
        let output = Quantity::Output(k);
        let [first, second] = FIRST.map(|e| self.sample(e, &self.steps[&e], &output));
        let (Some(first), Some(second)) = (first, second) else { return false };
        let aim = Aim { fine: aim.tolerance, ..*aim };
        matches!(look(&[first, second], exact, &aim), Next::Settled(Verdict::Right))
    }

    /// Evaluates the function at a step to either side, once.
    pub(super) fn ensure(&mut self, exponent: i32) {
        if self.steps.contains_key(&exponent) {
            return;
        }
        let h = 2f64.powi(exponent);
        let moved = |h: f64| {
            let mut x = self.x.to_vec();
            self.direction.iter().for_each(|&(i, d)| x[i] += h * d);
            x
        };
        let (plus, minus) = (moved(h), moved(-h));
        // Of one entry, the steps are known exactly.
        let (up, down) = match self.direction[..] {
            [(i, d)] => ((plus[i] - self.x[i]) / d, (self.x[i] - minus[i]) / d),
            _ => (h, h),
        };
        let step = Step { plus: (self.value)(&plus), minus: (self.value)(&minus), up, down };
        self.steps.insert(exponent, step);
    }

    /// The steepest slope of each output to either side, over the steps taken so far.
    pub(super) fn steepest(&self) -> Vec<f64> {
        let slope = |k: usize, step: &Step| {
            let sides = [(step.plus[k], step.up), (step.minus[k], step.down)];
            let slopes = sides.map(|(y, h)| ((y - self.here[k]) / h).abs());
            slopes.into_iter().filter(|s| s.is_finite()).fold(0.0, f64::max)
        };
        let largest = |k| self.steps.values().map(|step| slope(k, step)).fold(0.0, f64::max);
        (0..self.here.len()).map(largest).collect()
    }

    /// The least change of each output over the steps taken so far, of those that change it to both
    /// sides; 0 if none does.
    pub(super) fn changes(&self) -> Vec<f64> {
        let change = |k: usize, step: &Step| {
            let least = |y: &Vec<f64>| (y[k] - self.here[k]).abs();
            least(&step.plus).min(least(&step.minus))
        };
        let least = |k| {
            let changes = self.steps.values().map(|step| change(k, step));
            changes.filter(|c| *c > 0.0 && c.is_finite()).fold(f64::INFINITY, f64::min)
        };
        let some = |k| Some(least(k)).filter(|c| c.is_finite()).unwrap_or(0.0);
        (0..self.here.len()).map(some).collect()
    }

    /// Whether an output has the same value at all steps taken so far.
    fn is_still(&self, k: usize) -> bool {
        let here = self.here[k];
        self.steps.values().all(|step| step.plus[k] == here && step.minus[k] == here)
    }

    fn sample(&self, exponent: i32, step: &Step, quantity: &Quantity<'_>) -> Option<Sample> {
        let (mut slope, mut right, mut left) = (0.0, 0.0, 0.0);
        let (mut moved, mut still) = (0.0, 0.0);
        let mut add = |k: usize, u: f64| {
            let (plus, minus, here) = (step.plus[k], step.minus[k], self.here[k]);
            let noise = (u * self.noise[k]).powi(2);
            if plus == here && minus == here {
                still += noise;
                return;
            }
            moved += noise;
            slope += u * ((plus - minus) / (step.up + step.down));
            right += u * ((plus - here) / step.up);
            left += u * ((here - minus) / step.down);
        };
        match quantity {
            Quantity::Sum(u) => u.iter().enumerate().for_each(|(k, &u)| add(k, u)),
            Quantity::Output(k) => add(*k, 1.0),
        }
        let taken = step.up > 0.0 && step.down > 0.0;
        if !(taken && slope.is_finite() && (right - left).is_finite()) {
            return None;
        }
        let h = (step.up + step.down) / 2.0;
        let steepest = f64::max(right.abs(), left.abs());
        // The point moved to is rounded too, by a share of the step.
        let rounded = (f64::EPSILON + (step.up - step.down).abs()) / h * steepest;
        let noise = f64::sqrt(moved) / h + rounded;
        let jump = (right - left).abs();
        Some(Sample { exponent, step: h, slope, jump, steepest, noise, still: still.sqrt() / h })
    }

    /// A quantity's differences, those at large steps first.
    fn samples(&self, quantity: &Quantity<'_>) -> Vec<Sample> {
        let samples = self.steps.iter().rev();
        samples.filter_map(|(&e, step)| self.sample(e, step, quantity)).collect()
    }

    /// Compares a claimed slope with differences, at as many steps as it takes.
    pub(super) fn judge(&mut self, quantity: &Quantity<'_>, exact: f64, aim: &Aim) -> Found {
        FIRST.into_iter().for_each(|e| self.ensure(e));
        let still = |k: usize| self.here[k].is_finite() && self.is_still(k);
        if exact == 0.0 && matches!(*quantity, Quantity::Output(k) if still(k)) {
            return Found { numeric: 0.0, uncertainty: 0.0, scale: 0.0, verdict: Verdict::Right };
        }
        if aim.fine < aim.tolerance {
            SHARPER.into_iter().for_each(|e| self.ensure(e));
        }
        let (mut down, mut top) = (DOWN.into_iter(), FIRST[0]);
        loop {
            let samples = self.samples(quantity);
            let next = match exact.is_finite() {
                true => look(&samples, exact, aim),
                false => Next::Settled(Verdict::NotFinite),
            };
            let tried = match next {
                Next::Settled(verdict) => return found(&samples, exact, verdict, aim),
                Next::Nearer => down.next().map(|e| vec![e]),
                Next::Smaller => {
                    down.next().map(|e| vec![e]).or_else(|| larger(&mut top, 8.0, aim))
                }
                Next::Larger(by) => {
                    larger(&mut top, by, aim).or_else(|| down.next().map(|e| vec![e]))
                }
            };
            match tried {
                Some(exponents) => exponents.into_iter().for_each(|e| self.ensure(e)),
                None => {
                    let verdict = last_word(&samples, exact, aim);
                    return found(&samples, exact, verdict, aim);
                }
            }
        }
    }
}

/// Steps larger than those so far by about a factor; none beyond the aim's largest.
fn larger(top: &mut i32, by: f64, aim: &Aim) -> Option<Vec<i32>> {
    if *top >= aim.top {
        return None;
    }
    let jump = by.log2().ceil().clamp(3.0, 60.0) as i32;
    *top = (*top + jump).min(aim.top);
    Some(vec![*top, *top - 1])
}

/// The best of all extrapolations of neighbouring differences, by its own estimate of its error.
fn best(samples: &[Sample]) -> Option<Estimate> {
    let last = samples.len();
    let windows = || {
        let ranges = (2..=WINDOW).flat_map(|size| (size..=last).map(move |end| (end - size, end)));
        ranges.map(|(start, end)| {
            let window = &samples[start..end];
            let estimate = estimate(window);
            let credible = is_local(window) && agrees(&estimate, window, &samples[end..]);
            (credible, estimate)
        })
    };
    // Those that are not credible count if there is no other.
    let order = |(a, x): &(bool, Estimate), (b, y): &(bool, Estimate)| {
        b.cmp(a).then(x.doubt().total_cmp(&y.doubt()))
    };
    windows().min_by(order).map(|(_, estimate)| estimate)
}

fn estimate(window: &[Sample]) -> Estimate {
    let all = extrapolate(window);
    let parts = [&window[1..], &window[..window.len() - 1]].map(|part| extrapolate(part).slope);
    let curvature = parts.into_iter().map(|part| (all.slope - part).abs()).fold(0.0, f64::max);
    Estimate { curvature, ..all }
}

/// Whether differences at smaller steps, which have less of the same curvature, are near enough.
fn agrees(estimate: &Estimate, window: &[Sample], smaller: &[Sample]) -> bool {
    let nearest = window[window.len() - 1];
    smaller.iter().all(|s| {
        let rounding = 2.0 * ROUNDING * (s.noise + s.still);
        let curvature = (nearest.slope - estimate.slope).abs() * (s.step / nearest.step).powi(2);
        (s.slope - estimate.slope).abs() <= estimate.doubt() + rounding + 2.0 * curvature
    })
}

/// Whether steps are so small that the slopes to the two sides part as the step grows. Differences
/// may agree beyond that, for example where a function has come to its limits on both sides.
fn is_local(window: &[Sample]) -> bool {
    window.windows(2).all(|pair| {
        let [large, small] = [pair[0], pair[1]];
        let noise = 16.0 * (small.noise + small.still);
        small.jump <= noise || large.jump > 1.2 * small.jump
    })
}

/// The polynomial in the square of the step through all differences, at a step of 0.
fn extrapolate(window: &[Sample]) -> Estimate {
    let mut sum = Estimate { slope: 0.0, curvature: 0.0, noise: 0.0, still: 0.0 };
    for (j, sample) in window.iter().enumerate() {
        let others = window.iter().enumerate().filter(|(i, _)| *i != j);
        let factor =
            |(_, other): (usize, &Sample)| 1.0 / (1.0 - (sample.step / other.step).powi(2));
        let weight: f64 = others.map(factor).product();
        sum.slope += weight * sample.slope;
        sum.noise += weight.abs() * sample.noise;
        sum.still += weight.abs() * sample.still;
    }
    sum
}

fn look(samples: &[Sample], exact: f64, aim: &Aim) -> Next {
    let Some(best) = best(samples) else { return Next::Smaller };
    match kink(samples, aim) {
        Kink::Perhaps => return Next::Nearer,
        Kink::Yes => return Next::Settled(Verdict::Kink),
        Kink::No => {}
    }
    let scale = exact.abs().max(best.slope.abs());
    let enough = (aim.tolerance * scale).max(aim.floor);
    let difference = (exact - best.slope).abs();
    let uncertainty = best.uncertainty();
    if uncertainty <= enough && difference <= aim.fine * scale + uncertainty {
        return Next::Settled(Verdict::Right);
    }
    let doubt = best.doubt();
    if doubt <= enough && difference > aim.fine * scale + doubt {
        // A second opinion from steps apart from the first ones.
        return match samples.last().is_some_and(|s| s.exponent <= DOWN[0]) {
            true => Next::Settled(Verdict::Wrong),
            false => Next::Nearer,
        };
    }
    let rounding = ROUNDING * (best.noise + best.still);
    // Where nothing moves, a step has no meaning yet, and may be too small by any factor.
    let by = if best.noise == 0.0 { rounding / enough } else { 8.0 };
    match rounding > best.curvature {
        true => Next::Larger(by),
        false => Next::Smaller,
    }
}

/// The verdict when there are no more steps to take.
fn last_word(samples: &[Sample], exact: f64, aim: &Aim) -> Verdict {
    let Some(best) = best(samples) else { return Verdict::NotFinite };
    let scale = exact.abs().max(best.slope.abs());
    let difference = (exact - best.slope).abs();
    let doubt = best.doubt();
    if difference > aim.tolerance * scale + doubt {
        return Verdict::Wrong;
    }
    // Short of the tolerance, but enough to tell a mistake; and what the value's own rounding
    // hides: an exact zero, and differences that show none either.
    let enough = (SHORT * aim.tolerance * scale).max(aim.last_floor);
    let unit = samples.iter().map(|s| (s.noise + s.still) * s.step).fold(f64::INFINITY, f64::min);
    match doubt <= enough || exact.abs() <= unit / 4.0 {
        true => Verdict::Right,
        false => Verdict::CannotTell,
    }
}

fn found(samples: &[Sample], exact: f64, verdict: Verdict, aim: &Aim) -> Found {
    let Some(best) = best(samples) else {
        let numeric = f64::NAN;
        return Found { numeric, uncertainty: f64::INFINITY, scale: exact.abs(), verdict };
    };
    let uncertainty = best.doubt();
    let mut scale = exact.abs().max(best.slope.abs());
    if verdict == Verdict::Right {
        scale = scale.max(aim.floor / aim.tolerance).max(uncertainty / aim.tolerance);
    }
    Found { numeric: best.slope, uncertainty, scale, verdict }
}

enum Kink {
    No,
    Perhaps,
    Yes,
}

/// Of a smooth function, the slopes to the two sides come together as the step shrinks; at a kink
/// they stay as far apart.
fn kink(samples: &[Sample], aim: &Aim) -> Kink {
    let shows = |s: &Sample| {
        s.jump > 10.0 * aim.tolerance * s.steepest && s.jump > 16.0 * (s.noise + s.still)
    };
    let near: Vec<&Sample> = samples.iter().filter(|s| s.exponent <= FIRST[0]).collect();
    let [first, .., last] = near[..] else { return Kink::No };
    let stays = |share: f64| {
        let same = |s: &Sample| s.jump > share * first.jump && s.jump * share < first.jump;
        near.iter().all(|s| shows(s) && same(s))
    };
    match last.exponent <= KINK {
        true if stays(0.5) => Kink::Yes,
        false if stays(0.75) => Kink::Perhaps,
        _ => Kink::No,
    }
}
