//! `dimask replay`: a kept step once more, with a look at every value.

use super::args::ReplayArgs;
use super::output;
use crate::error::{Error, Result};
use crate::kernels::NUMERICS;
use crate::kernels::dispatch::level;
use crate::run::settings::instructions;
use crate::train::diverged::Dump;

/// Prints the first value of the step that is not finite.
///
/// # Errors
/// As the reader of the file; `Wrong` if the step does not come to what was found when it was kept.
pub(super) fn replay(args: &ReplayArgs) -> Result<()> {
    let dump = Dump::read(&args.dump)?;
    let batch = format!("{} images, two views each", dump.images.len());
    output::progress(&format!("step {}: {batch}, {}", dump.step + 1, dump.config.title()));
    let cause = dump.cause();
    let text: String = cause.iter().map(|line| format!("{line}\n")).collect();
    output::print(&text)?;
    if cause == dump.told {
        return Ok(());
    }
    let then = dump.told.first().map_or("nothing", String::as_str);
    let (own, then_with) = (instructions(&dump.config), &dump.instructions);
    let why = match *then_with == own {
        _ if dump.numerics != NUMERICS => format!(
            "; it was computed with numerics version {} and now with {NUMERICS}",
            dump.numerics
        ),
        true => String::new(),
        false => format!(
            "; it was computed with {then_with} and now with {own}: rounding differs{}",
            advice(then_with.trim_end_matches(" with tiles"))
        ),
    };
    Err(Error::Wrong { what: format!("when the step was kept, this was found: {then}{why}") })
}

/// How to compute with the instructions of `kept`; tiles cannot be had or left out by a variable.
fn advice(kept: &str) -> String {
    if kept == level().name() { String::new() } else { format!(", try DIMASK_SIMD={kept}") }
}
