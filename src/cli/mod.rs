//! The command line: words to settings, settings to runs, results to standard output.
//!
//! Standard output is for results, standard error for progress and complaints. Exit codes: 0, 1 for
//! what the world got wrong, 2 for what the command line got wrong, 128 plus the signal for a run
//! that was stopped.

pub mod args;
mod config;
mod data;
mod eval;
mod experiment;
mod explain;
mod features;
mod gradcheck;
mod launch;
mod methods;
pub mod output;
mod pictured;
mod pictures;
mod profile;
mod progress;
mod replay;
mod report;
mod sheet;
mod train;

use std::error::Error as _;
use std::ffi::OsString;

use clap::Parser;

use crate::comm::Ranks;
use crate::error::{Error, Result};
use crate::kernels::conv::Choice;
use crate::kernels::dispatch::Level;
use crate::kernels::parallel::start_pool;
use crate::run::folder::free_folder;
use crate::train::team::together;
use args::{Cli, Command, TrainArgs};
use pictures::ReportArgs;

/// Runs the program with these arguments, the first of which is its name.
///
/// Returns the exit code, after the complaint about an error, in one line. Of several ranks the
/// first speaks, and its exit code is the run's.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let ranks = match launch::ranks() {
        Ok(ranks) => ranks,
        Err(e) => return complain(&e),
    };
    let cli = Cli::try_parse_from(arguments);
    // Help and version go to standard output and are no error; nor is a closed pipe.
    let said =
        cli.as_ref().map(|_| ()).map_err(|e| Error::usage("arguments", e.kind().to_string()));
    let cli = match (cli, together(&ranks, said)) {
        (Ok(cli), Ok(())) => cli,
        (Err(e), _) if ranks.is_first() => {
            let _ = e.print();
            return e.exit_code() as u8;
        }
        (_, Err(e)) if ranks.is_first() => return complain(&e),
        _ => return 0,
    };
    match dispatch(cli, &ranks) {
        Err(e) if ranks.is_first() => complain(&e),
        _ => 0,
    }
}

fn complain(error: &Error) -> u8 {
    output::progress(&format!("error: {}", chain(error)));
    error.exit_code()
}

fn dispatch(cli: Cli, ranks: &Ranks) -> Result<()> {
    together(ranks, prepare(&cli, ranks))?;
    match cli.command {
        None => demo(),
        Some(Command::Train(args)) => train::train(&args, ranks),
        Some(Command::Eval(args)) => eval::eval(&args),
        Some(Command::Features(args)) => features::features(&args),
        Some(Command::Report(args)) => pictures::report(&args),
        Some(Command::Mask(args)) => pictures::mask(&args),
        Some(Command::Config(args)) => config::config(&args),
        Some(Command::Data(args)) => data::data(&args),
        Some(Command::Experiment(command)) => experiment::experiment(&command),
        Some(Command::Tune(args)) => experiment::tune(&args),
        Some(Command::Gradcheck(args)) => gradcheck::gradcheck(&args),
        Some(Command::Explain(args)) => explain::explain(&args),
        Some(Command::Replay(args)) => replay::replay(&args),
        Some(Command::Methods) => methods::methods(),
    }
}

/// What can be wrong before a command begins.
fn prepare(cli: &Cli, ranks: &Ranks) -> Result<()> {
    let trains = matches!(&cli.command, Some(Command::Train(args)) if !args.dry_run);
    if ranks.size() > 1 && !trains {
        let reason = format!("has started {} processes; only train takes several", ranks.size());
        return Err(Error::usage("the launcher", reason));
    }
    set_threads(cli.threads)?;
    check_level()?;
    check_path()
}

/// The main job: a run, and the page of it.
fn demo() -> Result<()> {
    let out = free_folder("demo");
    let args = TrainArgs { out: Some(out.clone()), ..TrainArgs::default() };
    train::train(&args, &Ranks::alone())?;
    pictures::report(&ReportArgs { dirs: vec![out], out: None, points: 2000 })
}

/// Makes the thread pool of `--threads`, or else of `DIMASK_THREADS`; results do not depend on it.
fn set_threads(flag: Option<usize>) -> Result<()> {
    let (name, count) = match (flag, std::env::var("DIMASK_THREADS")) {
        (Some(count), _) => ("--threads", Some(count)),
        (None, Ok(text)) if !text.is_empty() => {
            let count = text.parse().map_err(|_| {
                Error::usage("DIMASK_THREADS", format!("{text:?} is not a number of threads"))
            })?;
            ("DIMASK_THREADS", Some(count))
        }
        _ => ("the pool of threads", None),
    };
    let most = 1024;
    if let Some(count) = count.filter(|count| !(1..=most).contains(count)) {
        return Err(Error::usage(name, format!("is {count}, must be between 1 and {most}")));
    }
    start_pool(count).map_err(|e| Error::usage(name, e.to_string()))
}

/// Complains about `DIMASK_SIMD` before a kernel does, which can only panic.
fn check_level() -> Result<()> {
    let Ok(name) = std::env::var("DIMASK_SIMD") else { return Ok(()) };
    let known = Level::ALL.into_iter().find(|level| level.name() == name);
    let obstacle = known.map_or(Some("there is no such level"), Level::obstacle);
    let Some(obstacle) = obstacle.filter(|_| !name.is_empty()) else { return Ok(()) };
    let usable = Level::ALL.into_iter().filter(|level| level.is_available()).map(Level::name);
    let usable = usable.collect::<Vec<_>>().join(", ");
    Err(Error::usage("DIMASK_SIMD", format!("{name:?}: {obstacle} (available: {usable})")))
}

/// Complains about `DIMASK_CONV` before a convolution does, which can only panic.
fn check_path() -> Result<()> {
    let name = std::env::var("DIMASK_CONV").unwrap_or_default();
    if Choice::ALL.into_iter().any(|choice| choice.name() == name) {
        return Ok(());
    }
    Err(Error::usage("DIMASK_CONV", format!("{name:?} is none of direct, winograd")))
}

/// An error and its causes in one line; a cause that is told already is not told again.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.replace('\n', "; ")
}
