//! Every formula by its id: what it says, which function computes it, where the book derives it,
//! and a small example, computed twice.
//!
//! An example is worked by plain loops over numbers, written from the formula alone, and by the
//! function that the rest of the crate calls; a test asks both for the same numbers.
//! The tables are one file a chapter of the book. Nothing here prints, and nothing is trained.

mod by_hand;
mod engine;
mod judges;
mod kernels;
mod losses;
mod mask;
mod optimisers;

/// A formula of the book.
#[derive(Clone, Copy, Debug)]
pub struct Formula {
    /// Its id, a word and a number: `meta-3`.
    pub id: &'static str,
    /// What it says, in words.
    pub title: &'static str,
    /// The formula, for a terminal.
    pub plain: &'static str,
    /// The formula, as the book has it.
    pub latex: &'static str,
    /// The book's page that derives it, from the repository's root.
    pub page: &'static str,
    /// The file of the function that computes it, from the repository's root.
    pub file: &'static str,
    /// The function's name in that file.
    pub function: &'static str,
    /// The example.
    pub example: fn() -> Example,
}

/// A formula worked on small numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// What is given.
    pub given: String,
    /// What follows.
    pub lines: Vec<Line>,
    /// How far the two ways may lie apart, relative to the larger of 1 and the value: rounding, and
    /// where the formula is an approximation that is tested, its error.
    pub tolerance: f64,
}

/// A number, found twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub what: String,
    /// By the formula, in plain loops.
    pub by_formula: f64,
    /// By the function.
    pub by_code: f64,
}

impl Line {
    /// Whether both ways agree within `tolerance`.
    pub fn agrees(&self, tolerance: f64) -> bool {
        (self.by_formula - self.by_code).abs() <= tolerance * self.by_code.abs().max(1.0)
    }
}

/// Starts an example in double precision.
fn given(what: impl Into<String>) -> Example {
    Example { given: what.into(), lines: Vec::new(), tolerance: 1e-10 }
}

impl Example {
    /// Adds one number.
    fn number(mut self, what: &str, by_formula: f64, by_code: f64) -> Example {
        self.lines.push(Line { what: what.to_string(), by_formula, by_code });
        self
    }

    /// Adds numbers that are counted from 1.
    ///
    /// # Panics
    /// If the two ways found different counts of them.
    #[track_caller]
    fn numbers(self, what: &str, by_formula: &[f64], by_code: &[f64]) -> Example {
        assert_eq!(by_formula.len(), by_code.len(), "{what}: one number each");
        let pairs = by_formula.iter().zip(by_code).enumerate();
        pairs.fold(self, |example, (i, (&f, &c))| {
            example.number(&format!("{what}[{}]", i + 1), f, c)
        })
    }

    fn within(mut self, tolerance: f64) -> Example {
        self.tolerance = tolerance;
        self
    }
}

/// All formulas, in the order of the book.
pub fn formulas() -> impl Iterator<Item = &'static Formula> {
    let chapters = [
        engine::TABLE,
        losses::TABLE,
        mask::TABLE,
        optimisers::TABLE,
        kernels::TABLE,
        judges::TABLE,
    ];
    chapters.into_iter().flatten()
}

/// The formula with this id.
pub fn find(id: &str) -> Option<&'static Formula> {
    formulas().find(|formula| formula.id == id)
}

/// Ids that somebody who wrote `id` may have meant: those that share the longest beginning with it.
pub fn near(id: &str) -> Vec<&'static str> {
    let id = id.to_lowercase();
    let shared = |known: &str| known.chars().zip(id.chars()).take_while(|(a, b)| a == b).count();
    let most = formulas().map(|formula| shared(formula.id)).max().unwrap_or(0);
    let known = formulas().map(|formula| formula.id);
    known.filter(|known| most > 0 && shared(known) == most).collect()
}

#[cfg(test)]
mod tests;
