//! How runs went: losses, accuracy, rank, gradients, over their steps.

use super::Run;
use crate::report::chart::{Chart, Mark, Scale, Series};
use crate::report::page::Figure;
use crate::run::metrics::{EpochRecord, Record, StepRecord};

/// How to read the curves.
pub(super) const TEXT: &str =
    "Over training steps, a colour a run; where steps are many, a point is the mean of a few.";

/// Points of a curve at most.
const POINTS: usize = 160;

/// One chart: its file, its title, its caption, its vertical axis, and its lines.
struct Plan {
    name: &'static str,
    title: &'static str,
    text: &'static str,
    y: &'static str,
    scale: Scale,
    lines: &'static [(&'static str, Mark, Of)],
}

/// What a line shows.
enum Of {
    Step(fn(&StepRecord) -> Option<f64>),
    Epoch(fn(&EpochRecord) -> Option<f64>),
}

const PLANS: [Plan; 8] = [
    Plan {
        name: "loss-base",
        title: "Loss of the base method",
        text: "What the mask descends on, and the networks with it.",
        y: "loss",
        scale: Scale::Linear,
        lines: &[("", Mark::Line, Of::Step(|r| Some(r.loss_con)))],
    },
    Plan {
        name: "loss-redundancy",
        title: "Redundancy loss",
        text: "How far the two views' cross-correlation is from the identity.",
        y: "loss",
        scale: Scale::Linear,
        lines: &[("", Mark::Line, Of::Step(|r| r.loss_drr))],
    },
    Plan {
        name: "loss-joint",
        title: "Joint loss",
        text: "What the networks descend on.",
        y: "loss",
        scale: Scale::Linear,
        lines: &[("", Mark::Line, Of::Step(|r| r.loss_drr.map(|_| r.loss)))],
    },
    Plan {
        name: "accuracy",
        title: "Nearest neighbours",
        text: "Of 200 neighbours, where epochs were judged (eval.every, --val-split).",
        y: "% right",
        scale: Scale::Linear,
        lines: &[
            ("test", Mark::Line, Of::Epoch(|r| r.knn200)),
            ("held-out training images", Mark::Dashed, Of::Epoch(|r| r.val_knn200)),
        ],
    },
    Plan {
        name: "rank",
        title: "Effective rank",
        text: "How many dimensions are in use; a fall towards 1 is a collapse.",
        y: "dimensions",
        scale: Scale::Linear,
        lines: &[
            ("features", Mark::Line, Of::Epoch(|r| r.effective_rank)),
            ("projections", Mark::Dashed, Of::Epoch(|r| r.projection_rank)),
        ],
    },
    Plan {
        name: "spread",
        title: "Spread of features of length 1",
        text: "1 is a round cloud, 0 a point: a collapse.",
        y: "√D times the deviation",
        scale: Scale::Linear,
        lines: &[
            ("features", Mark::Line, Of::Epoch(|r| r.feature_std)),
            ("projections", Mark::Dashed, Of::Epoch(|r| r.projection_std)),
        ],
    },
    Plan {
        name: "gradients",
        title: "Gradient norms",
        text: "A spike before a loss that is no number says where to look.",
        y: "norm",
        scale: Scale::Log10,
        lines: &[
            ("networks", Mark::Line, Of::Step(|r| Some(r.grad_norm))),
            ("mask", Mark::Dashed, Of::Step(|r| r.mask_grad_norm)),
        ],
    },
    Plan {
        name: "second-order",
        title: "Second-order part of the mask's gradient",
        text: "Its length over that of the whole: what a first-order method leaves out.",
        y: "share",
        scale: Scale::Linear,
        lines: &[(
            "",
            Mark::Line,
            Of::Step(|r| Some(r.second_order_norm? / r.mask_grad_norm.filter(|&x| x > 0.0)?)),
        )],
    },
];

/// The charts that have anything to show.
pub(super) fn figures(runs: &[Run]) -> Vec<Figure> {
    PLANS.iter().filter_map(|plan| figure(plan, runs)).collect()
}

fn figure(plan: &Plan, runs: &[Run]) -> Option<Figure> {
    let mut series = Vec::new();
    for (colour, run) in runs.iter().enumerate() {
        for (what, mark, of) in plan.lines {
            let points = points(&run.records, of);
            let name = match (runs.len(), *what) {
                (1, what) => what.to_string(),
                (_, "") => run.name.clone(),
                (_, what) => format!("{}, {what}", run.name),
            };
            if !points.is_empty() {
                series.push(Series { name, points, mark: *mark, colour });
            }
        }
    }
    let chart = Chart {
        x: "step".into(),
        y: plan.y.into(),
        y_scale: plan.scale,
        series,
        ..Chart::default()
    };
    (!chart.series.is_empty()).then(|| Figure {
        name: plan.name.into(),
        title: plan.title.into(),
        text: plan.text.into(),
        svg: chart.draw(),
        data: chart.table(),
    })
}

fn points(records: &[Record], of: &Of) -> Vec<[f64; 2]> {
    let point = |record: &Record| match (record, of) {
        (Record::Step(r), Of::Step(of)) => of(r).map(|y| [r.step as f64, y]),
        (Record::Epoch(r), Of::Epoch(of)) => of(r).map(|y| [r.step as f64, y]),
        _ => None,
    };
    means(&records.iter().filter_map(point).collect::<Vec<_>>(), POINTS)
}

/// At most `most` points: the means of as many neighbours as it takes.
fn means(points: &[[f64; 2]], most: usize) -> Vec<[f64; 2]> {
    let mean = |some: &[[f64; 2]]| {
        [0, 1].map(|axis| some.iter().map(|p| p[axis]).sum::<f64>() / some.len() as f64)
    };
    points.chunks(points.len().div_ceil(most).max(1)).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_keep_short_curves_and_the_mean_of_long_ones() {
        let points: Vec<[f64; 2]> = (0..1000).map(|i| [f64::from(i), f64::from(i * i)]).collect();
        assert_eq!(means(&points[..100], 100), points[..100]);
        let few = means(&points, 100);
        assert_eq!((few.len(), few[0]), (100, [4.5, 28.5]));
        assert!(means(&[], 100).is_empty());
    }
}
