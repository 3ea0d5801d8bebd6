//! What a check is asked to do, and what it found.

use std::fmt;

/// What [`check_grads_with`](super::check_grads_with) compares, and how strictly.
///
/// ```
/// use dimask::autodiff::check::{CheckOptions, Modes, check_grads_with};
/// use dimask::Tensor;
/// let options = CheckOptions { order: 3, modes: Modes::Reverse, ..CheckOptions::default() };
/// let x = Tensor::from_vec(vec![0.3, -1.2], &[2]);
/// check_grads_with(|x| x[0].tanh().square(), &[x], &options).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CheckOptions {
    /// The highest order of derivative, from 1. Default: 2.
    pub order: usize,
    /// The modes to check. Default: both, and that they are adjoint to each other.
    pub modes: Modes,
    /// The largest relative difference of a right derivative from a numeric one. A numeric
    /// derivative that is less certain than this decides nothing ([`Verdict::CannotTell`]).
    /// Default: 1e-5.
    pub tolerance: f64,
    /// The largest relative difference of `<u, J v>` from `<Jᵀ u, v>`, and of a recorded
    /// derivative's value from the plain one's. Default: 1e-8.
    pub exactness: f64,
    /// The number of entries of each input that are compared one by one: all where an input has no
    /// more, otherwise its corners, its largest and smallest entries, and a random choice.
    /// Default: 32.
    pub entries: usize,
    /// The number of random directions that stand in for the remaining entries, if there are any.
    /// A direction moves all entries at once, and what fails along it is traced to its entries.
    /// Default: 4.
    pub directions: usize,
    /// The seed of all random choices. Default: 0.
    pub seed: u64,
}

impl Default for CheckOptions {
    fn default() -> Self {
        CheckOptions {
            order: 2,
            modes: Modes::Both,
            tolerance: 1e-5,
            exactness: 1e-8,
            entries: 32,
            directions: 4,
            seed: 0,
        }
    }
}

/// The modes of differentiation that a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// [`pull`](crate::autodiff::pull), and higher orders by `pull_graph`.
    Reverse,
    /// [`push`](crate::autodiff::push), and higher orders by `push_graph`.
    Forward,
    /// Both, on top of either, and that they are adjoint.
    Both,
}

/// How the exact side of a comparison was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By `pull`: an entry of `Jᵀ u`, or `<Jᵀ u, v>` for a direction `v`. Where the function is
    /// one number, `u` is 1.
    Reverse,
    /// By `push`: an output of `J v`.
    Forward,
    /// `<Jᵀ u, v>`, against `<u, J v>` in the place of a numeric derivative.
    Adjoint,
    /// By `pull_graph` or `push_graph`, against `pull` or `push`.
    Recorded,
    /// By a caller's own function.
    Claimed,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Reverse => "reverse",
            Mode::Forward => "forward",
            Mode::Adjoint => "adjoint",
            Mode::Recorded => "recorded",
            Mode::Claimed => "claimed gradient",
        })
    }
}

/// What the inputs of a comparison moved along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One entry.
    Entry {
        /// Which input.
        input: usize,
        /// Which entry of it, an index for each axis.
        index: Vec<usize>,
    },
    /// A random direction in which this many entries move.
    Direction {
        /// How many entries.
        entries: usize,
    },
    /// Nothing: the function's value itself.
    Value,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Entry { input, index } => write!(f, "input {input} at {index:?}"),
            Place::Direction { entries } => write!(f, "a direction over {entries} entries"),
            Place::Value => f.write_str("the value"),
        }
    }
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Both sides agree.
    Right,
    /// The numeric derivative is not certain enough to decide: at every step, rounding or the
    /// function's curvature leaves more than the tolerance.
    CannotTell,
    /// The slopes to the two sides differ however small the step: there is no derivative here, or
    /// a kink is nearer than the steps can see.
    Kink,
    /// A value or a derivative is infinite or NaN.
    NotFinite,
    /// The numeric derivative is certain, and the exact one differs from it.
    Wrong,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Right => "right",
            Verdict::CannotTell => "cannot tell",
            Verdict::Kink => "a kink",
            Verdict::NotFinite => "not finite",
            Verdict::Wrong => "wrong",
        })
    }
}

/// One derivative from both sides.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The order of the derivative, from 1.
    pub order: usize,
    /// How this derivative was taken.
    pub mode: Mode,
    /// How the derivative of one order less was taken, which is the function here.
    pub over: Mode,
    /// What the inputs moved along.
    pub place: Place,
    /// Which output, by number and an index for each axis; `None` for a sum of all.
    pub output: Option<(usize, Vec<usize>)>,
    /// By differentiation.
    pub exact: f64,
    /// By differences, or by the other way that [`Mode`] names.
    pub numeric: f64,
    /// How far `numeric` may be off, by its own estimate.
    pub uncertainty: f64,
    /// What [`Comparison::error`] is relative to: the larger of the two sizes, or what rounding
    /// leaves of a derivative that is negligible beside the others.
    pub scale: f64,
    /// What the comparison says.
    pub verdict: Verdict,
}

impl Comparison {
    /// `|exact - numeric|` relative to [`Comparison::scale`]; infinite where one is not a number.
    pub fn error(&self) -> f64 {
        if self.exact == self.numeric {
            return 0.0;
        }
        let error = (self.exact - self.numeric).abs() / self.scale;
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

impl Comparison {
    /// Which derivative this is, in words.
    pub fn at(&self) -> String {
        let over = match self.order {
            1 => String::new(),
            _ => format!(" over {}", self.over),
        };
        let output = self.output.as_ref();
        let output =
            output.map_or(String::new(), |(y, index)| format!(", output {y} at {index:?}"));
        format!("order {}, {}{over}, {}{output}", self.order, self.mode, self.place)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { exact, numeric, uncertainty, verdict, .. } = self;
        write!(f, "{}: ", self.at())?;
        match (self.mode, &self.place) {
            (Mode::Recorded, _) => write!(f, "recorded {exact:.10e}, plain {numeric:.10e}")?,
            (_, Place::Value) => write!(f, "{exact}")?,
            (Mode::Adjoint, _) => write!(f, "<Jᵀ u, v> {exact:.10e}, <u, J v> {numeric:.10e}")?,
            _ => write!(f, "exact {exact:.10e}, numeric {numeric:.10e} ± {uncertainty:.1e}")?,
        }
        write!(f, ": {verdict}")?;
        match verdict {
            Verdict::CannotTell => f.write_str(" (no step gives a difference that is certain)"),
            Verdict::Kink => f.write_str(" (the slopes to its two sides differ)"),
            Verdict::NotFinite => Ok(()),
            Verdict::Right | Verdict::Wrong => write!(f, ", relative error {:.1e}", self.error()),
        }
    }
}

/// What a check compared, and what failed.
#[derive(Clone, Default)]
pub struct Report {
    /// The number of entries compared one by one, over all orders.
    pub entries: usize,
    /// The number of directions compared, over all orders.
    pub directions: usize,
    /// Every comparison that failed, wrong ones first and the worst first among these.
    pub failures: Vec<Comparison>,
    /// The comparison with the largest error; `None` if nothing was compared.
    pub worst: Option<Box<Comparison>>,
}

/// How many failures a report shows; its list has all of them.
const SHOWN: usize = 6;

impl Report {
    pub(super) fn add(&mut self, comparison: Comparison) {
        let worse = |worst: &Comparison| {
            (comparison.verdict, comparison.error()) > (worst.verdict, worst.error())
        };
        if self.worst.as_deref().is_none_or(worse) {
            self.worst = Some(Box::new(comparison.clone()));
        }
        if comparison.verdict == Verdict::Right {
            return;
        }
        let same = |other: &Comparison| {
            (other.order, other.mode, other.over)
                == (comparison.order, comparison.mode, comparison.over)
                && other.place == comparison.place
                && other.output == comparison.output
        };
        if matches!(comparison.place, Place::Direction { .. }) || !self.failures.iter().any(same) {
            self.failures.push(comparison);
        }
    }

    /// The report, `Ok` if something was compared and nothing failed.
    pub(super) fn finish(mut self) -> Result<Report, Report> {
        self.failures
            .sort_by(|a, b| b.verdict.cmp(&a.verdict).then(b.error().total_cmp(&a.error())));
        match self.failures.is_empty() && self.worst.is_some() {
            true => Ok(self),
            false => Err(self),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(worst) = &self.worst else {
            return write!(f, "nothing was compared");
        };
        write!(f, "{} entries and {} directions compared", self.entries, self.directions)?;
        if self.failures.is_empty() {
            return write!(
                f,
                ", all right; the largest error is {:.1e}, at {worst}",
                worst.error()
            );
        }
        let kinds = [Verdict::Wrong, Verdict::NotFinite, Verdict::Kink, Verdict::CannotTell];
        let count = |kind| self.failures.iter().filter(|c| c.verdict == kind).count();
        let counts = kinds.map(|kind| (count(kind), kind)).into_iter().filter(|(n, _)| *n > 0);
        let counts: Vec<String> = counts.map(|(n, kind)| format!("{n} {kind}")).collect();
        write!(f, "; failures: {}", counts.join(", "))?;
        for failure in self.failures.iter().take(SHOWN) {
            write!(f, "\n  {failure}")?;
        }
        match self.failures.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

/// The text of [`Display`](fmt::Display): most reports are seen where an `unwrap` fails.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
