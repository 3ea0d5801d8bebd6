//! The paper's Fig. 1b: accuracy against the width of the projector that redundancy is reduced in.
//!
//! The paper's explanation of a fall is that wide projectors let confounders in. A plainer one is
//! that the weight of the off-diagonal terms, of which there are as many as the width squared,
//! grows with the width: so the sweep is also made with `lambda · D` held fixed.

use super::answer::Answer;
use super::sweep::{Campaign, Cell, run_cell};
use super::table::{Request, Variant};
use crate::config::{Method, RunConfig};
use crate::error::{Error, Result};
use crate::eval::interval::{Interval, Sign};
use crate::report::chart::{Chart, Mark, Scale, Series};
use crate::report::page::Figure;

/// What is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Barlow Twins' projector, `lambda` as it is.
    Fixed,
    /// Barlow Twins' projector, `lambda` over the width.
    Scaled,
    /// The redundancy head of MetaMask over Barlow Twins, `lambda` as it is.
    Masked,
}

impl Sweep {
    /// All of them.
    pub const ALL: [Sweep; 3] = [Sweep::Fixed, Sweep::Scaled, Sweep::Masked];

    /// The name in folders and files.
    pub fn key(self) -> &'static str {
        match self {
            Sweep::Fixed => "fixed",
            Sweep::Scaled => "scaled",
            Sweep::Masked => "metamask",
        }
    }

    /// The name for people.
    pub fn words(self) -> &'static str {
        match self {
            Sweep::Fixed => "Barlow Twins, lambda fixed",
            Sweep::Scaled => "Barlow Twins, lambda x D fixed",
            Sweep::Masked => "Barlow Twins + MetaMask",
        }
    }

    /// The settings of a run with a projector of `width`.
    fn config(self, request: &Request, width: usize, seed: u64) -> Result<RunConfig> {
        let variant = if self == Sweep::Masked { Variant::Masked } else { Variant::Plain };
        let mut config = request.config(Method::BarlowTwins, variant, seed)?;
        config.eval.baselines = false;
        // The rank of wide projections is found in the cube of the images that are watched.
        config.eval.watch_images = config.eval.watch_images.min(256);
        let head = match self {
            Sweep::Masked => &mut config.model.redundancy_head,
            _ => &mut config.model.contrastive_head,
        };
        let usual = head.last().copied().unwrap_or(width);
        head.iter_mut().for_each(|layer| *layer = width);
        if self == Sweep::Scaled {
            config.loss.lambda *= usual as f64 / width as f64;
        }
        config.check()?;
        Ok(config)
    }
}

/// The widths in a list like `32,64`.
///
/// # Errors
/// `Usage` naming the word that is no width from 2 to 65536.
pub fn widths(list: &str) -> Result<Vec<usize>> {
    let width = |word: &str| {
        let width = word.trim().parse().ok().filter(|width| (2..=65_536).contains(width));
        let reason = format!("{word:?} is no width from 2 to 65536");
        width.ok_or_else(|| Error::usage("--widths", reason))
    };
    let mut found: Vec<usize> = list.split(',').map(width).collect::<Result<_>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// One run's end: its sweep, width, seed, and kNN with k = 200 and k = 5; none if it diverged.
struct Run {
    sweep: Sweep,
    width: usize,
    scores: Option<[f64; 2]>,
}

/// Trains a run for each sweep, width and seed, and writes `dimensions.md`, `.csv` and `.html` into
/// `out`, again after every seed.
///
/// # Errors
/// As [`run_cell`]; `Usage` if a width makes no sense.
pub fn dimensions(
    request: &Request,
    widths: &[usize],
    seeds: usize,
    campaign: &mut Campaign,
) -> Result<Answer> {
    for sweep in Sweep::ALL {
        widths.iter().try_for_each(|&width| sweep.config(request, width, 1).map(|_| ()))?;
    }
    let (mut runs, mut seconds) = (Vec::new(), 0.0);
    let mut last = None;
    for seed in 1..=seeds as u64 {
        for sweep in Sweep::ALL {
            for &width in widths {
                let config = sweep.config(request, width, seed)?;
                let cell =
                    Cell { name: format!("{}-width{width}-seed{seed}", sweep.key()), config };
                campaign.note(&cell.name);
                let ended = run_cell(&cell, campaign)?;
                let scores = ended.summary().and_then(|summary| {
                    seconds += summary.seconds + summary.judging_seconds;
                    let found = summary.judgement.trained;
                    Some([found.knn200?, found.knn5?])
                });
                runs.push(Run { sweep, width, scores });
            }
        }
        let answer = answer(&runs, widths, seed as usize, seconds);
        answer.write(campaign)?;
        last = Some(answer);
    }
    last.ok_or_else(|| Error::usage("--seeds", "is 0, must be at least 1"))
}

/// The scores of a sweep at a width, seed after seed.
fn scores(runs: &[Run], sweep: Sweep, width: usize, at: usize) -> Vec<f64> {
    let own = runs.iter().filter(|run| (run.sweep, run.width) == (sweep, width));
    own.map(|run| run.scores.map_or(f64::NAN, |scores| scores[at])).collect()
}

fn answer(runs: &[Run], widths: &[usize], seeds: usize, seconds: f64) -> Answer {
    let mut answer = Answer::new(
        "dimensions",
        "Barlow Twins and the width of its projector".into(),
        format!(
            "{seeds} seeds. All layers of the projector have the width; with MetaMask those of the \
             redundancy head only. Judged on the encoder's features, with the mask where there is \
             one. Intervals are 95 % (Student)."
        ),
        &["sweep", "width", "kNN k=200", "its interval", "kNN k=5", "seeds"],
    );
    answer.seconds = seconds;
    let mut series = Vec::new();
    for (colour, sweep) in Sweep::ALL.into_iter().enumerate() {
        let mean = |width: usize, at: usize| {
            let all = scores(runs, sweep, width, at);
            Interval::of(&all.into_iter().filter(|x| x.is_finite()).collect::<Vec<_>>())
        };
        let mut line = Vec::new();
        for &width in widths {
            let (found, five) = (mean(width, 0), mean(width, 1));
            answer.table.push(vec![
                sweep.words().into(),
                width.into(),
                found.map(|found| found.mean).into(),
                found.map(|found| found.half).into(),
                five.map(|found| found.mean).into(),
                found.map_or(0, |found| found.n).into(),
            ]);
            line.push([width as f64, found.map_or(f64::NAN, |found| found.mean)]);
        }
        if seeds > 1 {
            for seed in 0..seeds {
                let at = |&width: &usize| {
                    let of_seed = scores(runs, sweep, width, 0).get(seed).copied();
                    [width as f64, of_seed.unwrap_or(f64::NAN)]
                };
                let points = widths.iter().map(at).collect();
                series.push(Series::new("", Mark::Thin, colour, points));
            }
        }
        answer.verdicts.push(verdict(runs, sweep, &line, seeds));
        series.push(Series::new(sweep.words(), Mark::Line, colour, line));
    }
    let (x, y) = ("width of the projector".to_string(), "kNN k=200, % right".to_string());
    let chart = Chart { x, y, x_scale: Scale::Log2, series, ..Chart::default() };
    answer.figures.push(Figure {
        name: "dimensions".into(),
        title: "Accuracy against projector width".into(),
        text: "Thick: mean over seeds; thin: each seed.".into(),
        svg: chart.draw(),
        data: chart.table(),
    });
    answer
}

/// Whether the widest projector is worse than the best one.
fn verdict(runs: &[Run], sweep: Sweep, line: &[[f64; 2]], seeds: usize) -> String {
    let finite = line.iter().filter(|point| point[1].is_finite());
    let best = finite.max_by(|a, b| a[1].total_cmp(&b[1]));
    let (Some(best), Some(last)) = (best, line.last()) else {
        return format!("{}: every run diverged.", sweep.words());
    };
    let [at_best, at_last] = [best[0], last[0]].map(|width| scores(runs, sweep, width as usize, 0));
    let pairs: Vec<f64> = at_last.iter().zip(&at_best).map(|(last, best)| last - best).collect();
    let fall = Interval::of(&pairs.into_iter().filter(|x| x.is_finite()).collect::<Vec<_>>());
    let words = match fall {
        _ if best[0] == last[0] => "the widest is the best: no fall is seen".to_string(),
        None => "the widest diverged".to_string(),
        Some(found) => {
            let decided = match found.sign() {
                Some(Sign::Below) => "a fall",
                _ if seeds == 1 => "one seed decides nothing",
                _ => "not decided",
            };
            format!("the widest, {}, is {:.2} points from it: {decided}", last[0], found.mean)
        }
    };
    format!("{}: best at width {} ({:.2} %); {words}.", sweep.words(), best[0], best[1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn lambda_times_the_width_is_held_and_only_the_swept_head_changes() {
        let layers = Layers::preset("small").unwrap();
        let request = Request { layers, methods: vec![], variants: vec![], tuned: None };
        let of = |sweep: Sweep, width| sweep.config(&request, width, 1).unwrap();
        let (narrow, wide) = (of(Sweep::Scaled, 32), of(Sweep::Scaled, 2048));
        let product = |config: &RunConfig, width: f64| config.loss.lambda * width;
        assert!((product(&narrow, 32.0) - product(&wide, 2048.0)).abs() < 1e-12);
        assert_eq!(of(Sweep::Fixed, 32).loss.lambda, of(Sweep::Fixed, 2048).loss.lambda);
        let (masked, other) = (of(Sweep::Masked, 64), of(Sweep::Masked, 128));
        assert_eq!(masked.model.contrastive_head, other.model.contrastive_head);
        assert!(masked.model.redundancy_head.iter().all(|&layer| layer == 64));
        assert!(narrow.model.contrastive_head.iter().all(|&layer| layer == 32));
        assert_eq!(widths("64, 32,64").unwrap(), [32, 64]);
        assert!(widths("32,x").is_err() && widths("1").is_err());
    }

    #[test]
    fn verdicts_tell_a_fall_from_noise() {
        let runs = |ends: [f64; 3]| -> Vec<Run> {
            let run = |width, score| Run { sweep: Sweep::Fixed, width, scores: Some([score, 0.0]) };
            (0..3).flat_map(|seed| [run(32, 50.0 + seed as f64), run(64, ends[seed])]).collect()
        };
        let said = |ends: [f64; 3]| answer(&runs(ends), &[32, 64], 3, 60.0).verdicts;
        assert!(said([45.0, 46.1, 46.9])[0].contains("points from it: a fall"));
        assert!(said([45.0, 55.0, 49.0])[0].contains("not decided"));
        assert!(said([55.0, 56.0, 57.0])[0].contains("no fall is seen"));
        assert!(said([55.0, 56.0, 57.0])[1].contains("every run diverged"));
        let text = answer(&runs([45.0, 46.1, 46.9]), &[32, 64], 3, 60.0).markdown("again");
        assert!(text.contains("    again\n\n1.0 minutes."), "{text}");
    }
}
