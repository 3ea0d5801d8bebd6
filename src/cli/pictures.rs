//! `dimask report` and `dimask mask`: what runs look like.

use std::path::{Path, PathBuf};

use clap::Args;

use super::output;
use super::progress::Progress;
use crate::error::{Error, Result};
use crate::eval::collapse::mask_entropy;
use crate::eval::dimensions::spearman;
use crate::figures::mask::{ablation, figures};
use crate::figures::{Extent, MOST_POINTS, Run, page, write, write_figures};
use crate::train::Observer;

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The runs' folders
    #[arg(required = true, value_name = "DIR")]
    pub dirs: Vec<PathBuf>,

    /// The page to write, with its figures in a folder beside it [default: report.html in the first
    /// DIR]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Test images of each run on the maps, at most 5000
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub points: usize,
}

/// Flags of `mask`.
#[derive(Debug, Args)]
pub struct MaskArgs {
    /// The run's folder
    pub dir: PathBuf,

    /// The folder for the figures [default: mask-figures in DIR]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Test images that are classified without each dimension
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub points: usize,
}

fn extent(points: usize) -> Result<Extent> {
    if !(10..=MOST_POINTS).contains(&points) {
        let reason = format!("is {points}, must be between 10 and {MOST_POINTS}");
        return Err(Error::usage("--points", reason));
    }
    Ok(Extent { points, ..Extent::default() })
}

/// Draws the page, and says where it is.
pub(super) fn report(args: &ReportArgs) -> Result<()> {
    let extent = extent(args.points)?;
    let dirs: Vec<&Path> = args.dirs.iter().map(AsRef::as_ref).collect();
    let out = args.out.clone().unwrap_or_else(|| args.dirs[0].join("report.html"));
    let page = page(&dirs, &extent, &mut Progress::new())?;
    write(&page, &out)?;
    output::print(&format!("page      {}\n", out.display()))
}

/// Prints what the mask is and what it does, and draws it.
pub(super) fn mask(args: &MaskArgs) -> Result<()> {
    let extent = extent(args.points)?;
    let mut progress = Progress::new();
    let run = Run::open(&args.dir, &mut progress)?;
    if !run.config.mask.enabled {
        let reason = format!("{} was trained without a mask", args.dir.display());
        return Err(Error::usage("DIR", reason));
    }
    let out = args.out.clone().unwrap_or_else(|| args.dir.join("mask-figures"));
    let mut drawn: Vec<_> =
        figures(&run).into_iter().map(|(name, figure)| run.figure(&name, 1, figure)).collect();
    if drawn.len() < 2 {
        progress.note("the run has no record of its mask's course, only the last one");
    }
    let factors = run.state.mask.factors();
    let factors = factors.as_slice();
    let found = ablation(&run, &extent, &mut progress)?;
    drawn.push(found.figure(factors));
    write_figures(drawn.iter(), &out)?;

    let ends = factors.iter().fold((f32::MAX, f32::MIN), |(l, h), &s| (l.min(s), h.max(s)));
    let mean = factors.iter().sum::<f32>() / factors.len() as f32;
    let wide: Vec<f64> = factors.iter().map(|&s| s.into()).collect();
    let best = (0..factors.len()).max_by(|&i, &j| found.changes[i].total_cmp(&found.changes[j]));
    let worst = (0..factors.len()).min_by(|&i, &j| found.changes[i].total_cmp(&found.changes[j]));
    let dropped = |at: Option<usize>| {
        at.map_or("-".to_string(), |i| {
            let (change, error) = (found.changes[i], found.errors[i]);
            format!("{change:+.2} ± {error:.2} points without dimension {i}, factor {:.4}", wide[i])
        })
    };
    let rows = [
        ("dimensions", factors.len().to_string()),
        ("factors", format!("{:.4} to {:.4}, mean {mean:.4}", ends.0, ends.1)),
        ("entropy", format!("{:.6} of 1", mask_entropy(factors))),
        ("kNN-200", format!("{:.2} % of {} images", found.accuracy, found.queries)),
        ("best drop", dropped(best)),
        ("worst drop", dropped(worst)),
        (
            "order",
            format!(
                "{:.3} rank correlation of a factor with the change without its dimension",
                spearman(&wide, &found.changes)
            ),
        ),
        ("figures", out.display().to_string()),
    ];
    output::print(&rows.map(|(what, text)| format!("{what:<11} {text}\n")).concat())
}
