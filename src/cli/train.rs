//! `dimask train`: a new run, the rest of an old one, or only the plan.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::args::TrainArgs;
use super::progress::Progress;
use super::{launch, output, profile, report};
use crate::comm::Ranks;
use crate::error::{Error, Result};
use crate::kernels;
use crate::run::folder::{RunFolder, free_folder, shell_path};
use crate::run::metrics::Summary;
use crate::train::estimate::estimate;
use crate::train::images::Images;
use crate::train::team::together;
use crate::train::{Observer, Outcome, Stop, first_state, last_state, resume_on, run_on};

/// Trains, on all ranks, and prints the table of the run, on the first.
pub(super) fn train(args: &TrainArgs, ranks: &Ranks) -> Result<()> {
    if args.dry_run {
        return dry_run(args);
    }
    let (mut progress, stop) = (Progress::new(), Stop::default());
    let observer: &mut dyn Observer = match ranks.is_first() {
        true => &mut progress,
        false => &mut (),
    };
    if args.profile {
        kernels::profile::start();
    }
    let (out, result) = match &args.resume {
        Some(dir) => {
            together(ranks, watch_signals(&stop))?;
            let result = resume_on(ranks, dir, observer, &stop).map(|outcome| match outcome {
                Outcome::Done(summary) => summary,
                Outcome::AlreadyFinished(summary) => {
                    launch::say(ranks, &format!("{} is finished already", dir.display()));
                    summary
                }
            });
            (dir.clone(), result)
        }
        None => {
            let config = together(ranks, args.settings.resolve())?;
            let free = || free_folder(args.settings.preset_name());
            let out = args.out.clone().unwrap_or_else(free);
            launch::say(ranks, &format!("{} in {}", report::method(&config), out.display()));
            together(ranks, watch_signals(&stop))?;
            let result = run_on(ranks, &config, &out, observer, &stop);
            (out, result)
        }
    };
    progress.clear();
    let costs = args.profile.then(kernels::profile::stop);
    if !ranks.is_first() {
        return result.map(drop);
    }
    let summary = result.inspect_err(|e| {
        let saved = match e {
            Error::Interrupted { .. } => "state saved",
            Error::Io { .. } if RunFolder::new(&out).checkpoint().exists() => {
                "the last state that was saved is kept"
            }
            _ => return,
        };
        let folder = shell_path(&out);
        output::progress(&format!("{saved}; resume with: dimask train --resume {folder}"));
    })?;
    print_summary(&summary, &out)?;
    match costs {
        Some(costs) => {
            profile::write(&RunFolder::new(out), &costs)?;
            output::print(&format!("\n{}", profile::report(&costs)))
        }
        None => Ok(()),
    }
}

fn print_summary(summary: &Summary, out: &Path) -> Result<()> {
    let config = RunFolder::new(out).read_config()?;
    output::print(&report::summary(&config, summary, out))
}

fn dry_run(args: &TrainArgs) -> Result<()> {
    let config = match &args.resume {
        Some(dir) => RunFolder::new(dir).read_config()?,
        None => args.settings.resolve()?,
    };
    let mut images = Images::load(&config)?;
    let mut progress = Progress::new();
    images.notes.iter().for_each(|note| progress.note(note));
    let last = match &args.resume {
        Some(dir) => last_state(&config, &mut images, &RunFolder::new(dir), &mut progress)?,
        None => None,
    };
    let done = match last {
        Some(start) => start.steps(),
        None => {
            // What is wrong with the file of first weights shows as it would in a run.
            first_state(&config, &images, &mut progress)?;
            0
        }
    };
    output::print(&report::plan(&config, &images, &estimate(&config, &images, done)?))
}

/// The first Ctrl-C or termination request asks the run to stop, the second ends the process.
pub(super) fn watch_signals(stop: &Stop) -> Result<()> {
    let refused = |e| Error::io("signal handlers", e);
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let second = flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&seen));
        second
            .and_then(|_| flag::register(signal, Arc::clone(&seen)))
            .and_then(|_| flag::register_usize(signal, stop.flag(), signal as usize))
            .map_err(refused)?;
    }
    // A limit on the size of files would end the process; handled, writing fails and is told.
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map_err(refused)?;
    Ok(())
}
