//! `dimask eval`: judges the features of a run's checkpoint again.

use super::args::{EvalArgs, with_data};
use super::progress::Progress;
use super::{output, report};
use crate::error::Result;
use crate::train::evaluate::Judge;
use crate::train::{self, Stop};

/// Prints the table that the run ended with, of the checkpoint as it is now.
pub(super) fn eval(args: &EvalArgs) -> Result<()> {
    let change = |config| with_data(config, args.data.as_deref());
    let (config, images, state) = train::load(&args.dir, change)?;
    let judge = Judge::new(&images, &config);
    let judgement = judge.all(&state, &mut Progress::new(), &Stop::default())?;
    output::print(&report::judgement(&config, &judgement))
}
