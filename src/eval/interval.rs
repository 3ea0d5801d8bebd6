//! What a few runs say about all runs: a mean and how far it can be trusted.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// The mean of a few values with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// How many values there are.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// The interval reaches this far on both sides; NaN for a single value, which says nothing
    /// about its spread.
    pub half: f64,
}

impl Interval {
    /// Student's interval: `mean ± t · s / √n`, with the deviation `s` of the sample (`n - 1`) and
    /// the 95 % point `t` of Student's distribution of `n - 1` degrees of freedom.
    ///
    /// Of paired values, give their differences. Absent if there are no values.
    ///
    /// Formula: interval-1.
    ///
    /// Source: Student 1908, The probable error of a mean.
    ///
    /// # Example
    /// ```
    /// # use dimask::eval::interval::Interval;
    /// let found = Interval::of(&[1.0, 2.0, 3.0]).unwrap();
    /// assert_eq!(found.mean, 2.0);
    /// assert!((found.half - 4.3027 / 3f64.sqrt()).abs() < 1e-4); // s = 1
    /// ```
    pub fn of(values: &[f64]) -> Option<Interval> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let square = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n as f64 - 1.0);
        let half = match n {
            0 => return None,
            1 => f64::NAN,
            _ => student_point(n - 1, 0.95) * (square / n as f64).sqrt(),
        };
        Some(Interval { n, mean, half })
    }

    /// Which side of zero the whole interval is on; neither if zero is inside, or if there is no
    /// interval.
    pub fn sign(&self) -> Option<Sign> {
        match (self.mean - self.half > 0.0, self.mean + self.half < 0.0) {
            (true, _) => Some(Sign::Above),
            (_, true) => Some(Sign::Below),
            _ => None,
        }
    }
}

/// A side of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Greater.
    Above,
    /// Smaller.
    Below,
}

/// The `t` with `P(|T| ≤ t) = share` of Student's distribution, by bisection.
fn student_point(freedom: usize, share: f64) -> f64 {
    // In the angle `atan(t / √freedom)` the axis is finite.
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if within(freedom, middle) < share { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).tan() * (freedom as f64).sqrt()
}

/// `P(|T| ≤ t)` of Student's distribution with whole degrees of freedom, `angle = atan(t / √n)`.
///
/// Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
fn within(freedom: usize, angle: f64) -> f64 {
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // sin · (1 + 1/2 cos² + 1·3/(2·4) cos⁴ ...), or sin · (cos + 2/3 cos³ + 2·4/(3·5) cos⁵ ...).
    let mut term = if odd { cos } else { 1.0 };
    let (mut sum, mut power) = (0.0, if odd { 1 } else { 0 });
    while power + 2 <= freedom {
        sum += term;
        power += 2;
        term *= cos * cos * (power as f64 - 1.0) / power as f64;
    }
    if odd { FRAC_2_PI * (angle + sin * sum) } else { sin * sum }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_points_are_those_of_the_tables() {
        let table = [
            (1, 12.7062),
            (2, 4.3027),
            (3, 3.1824),
            (4, 2.7764),
            (5, 2.5706),
            (9, 2.2622),
            (10, 2.2281),
            (30, 2.0423),
            (120, 1.9799),
        ];
        for (freedom, expected) in table {
            let got = student_point(freedom, 0.95);
            assert!((got - expected).abs() < 1e-4, "{freedom}: {got} {expected}");
        }
    }

    // Formula: interval-1.
    #[test]
    fn intervals_by_hand() {
        // s = √((4 + 1 + 1 + 4) / 3) = 1.8257, half = 3.1824 · s / 2.
        let found = Interval::of(&[1.0, 2.0, 4.0, 5.0]).unwrap();
        assert!((found.mean - 3.0).abs() < 1e-12 && (found.half - 2.9051).abs() < 1e-3);
        assert_eq!(found.sign(), Some(Sign::Above));
        assert_eq!(Interval::of(&[-1.0, -1.1, -0.9]).unwrap().sign(), Some(Sign::Below));
        assert_eq!(Interval::of(&[-1.0, 1.1]).unwrap().sign(), None);
        let one = Interval::of(&[5.0]).unwrap();
        assert!(one.half.is_nan() && one.sign().is_none());
        assert_eq!(Interval::of(&[]), None);
    }
}
