//! One base method trained twice, alone and with MetaMask, for whoever looks at both.

use std::time::Instant;

use super::answer::Answer;
use super::sweep::{Campaign, Cell, folder, run_cell};
use super::table::{Request, Variant};
use crate::config::Method;
use crate::error::{Error, Result};
use crate::eval::Scores;
use crate::figures::Run;

/// One of the two, trained and judged.
pub struct Trained {
    /// Alone or with MetaMask.
    pub variant: Variant,
    /// The method's name, and MetaMask's.
    pub name: String,
    /// The run, to look at.
    pub run: Run,
    /// What its features were worth.
    pub scores: Scores,
}

/// The one base method that is asked for.
///
/// # Errors
/// `Usage` if there are more.
pub fn only_method(request: &Request) -> Result<Method> {
    match request.methods[..] {
        [method] => Ok(method),
        _ => Err(Error::usage("--method", "takes one base method")),
    }
}

/// Trains both in folders below `out`, unless they are there already, and looks at each; the
/// answer is told the seconds, and in a verdict if a run diverged.
///
/// # Errors
/// As [`only_method`], [`run_cell`] and `look`.
pub fn with_and_without(
    request: &Request,
    answer: &mut Answer,
    campaign: &mut Campaign,
    mut look: impl FnMut(&mut Answer, Trained, &mut Campaign) -> Result<()>,
) -> Result<()> {
    let method = only_method(request)?;
    for variant in [Variant::Plain, Variant::Masked] {
        let mut config = request.config(method, variant, 1)?;
        config.eval.baselines = false;
        let cell = Cell { name: format!("{}-{}-seed1", method.key(), variant.key()), config };
        let ended = run_cell(&cell, campaign)?;
        let name = format!("{method}{}", variant.words());
        let Some(summary) = ended.summary() else {
            answer.verdicts.push(format!("{name}: the run diverged."));
            continue;
        };
        let clock = Instant::now();
        let run = Run::open(&folder(campaign.out, &cell), campaign.observer)?;
        let scores = summary.judgement.trained;
        look(answer, Trained { variant, name, run, scores }, campaign)?;
        answer.seconds += summary.seconds + summary.judging_seconds + clock.elapsed().as_secs_f64();
    }
    Ok(())
}
