//! The mask as an object: how it came about, how it ended, what each of its dimensions is worth.

use super::{Extent, Run, some};
use crate::error::{Error, Result};
use crate::eval::KNN200;
use crate::eval::knn::knn;
use crate::report::Table;
use crate::report::bars::histogram;
use crate::report::chart::{Chart, Mark, Series};
use crate::report::page::Figure;
use crate::report::picture::{Colours, Heat};
use crate::report::svg::number;
use crate::tensor::Tensor;
use crate::train::Observer;
use crate::train::evaluate::{Judge, masked};

/// How to read the figures of a mask.
pub(super) const TEXT: &str = "\
    One factor for each feature dimension, the same for all images, learned by differentiating \
    the base method's loss through a training step. Only the ratios of factors matter to \
    neighbours.";

/// The course of the mask, its range over the steps and its last histogram, with the names of
/// their files; nothing of a run without a mask.
pub fn figures(run: &Run) -> Vec<(String, Figure)> {
    let course = course(run);
    if !run.config.mask.enabled {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut add = |name: &str, figure| found.push((name.to_string(), figure));
    if !course.is_empty() {
        add("mask-course", heat_map(&course));
        add("mask-range", range(&course));
    }
    add("mask-histogram", last(run));
    found
}

fn figure(title: &str, text: String, svg: crate::report::svg::Svg, data: Table) -> Figure {
    Figure { name: String::new(), title: title.into(), text, svg, data }
}

/// The recorded masks with their steps.
fn course(run: &Run) -> Vec<(usize, &[f32])> {
    run.steps().filter_map(|step| Some((step.step, step.mask.as_deref()?))).collect()
}

/// Steps from left to right, dimensions from top to bottom, those that end large first.
fn heat_map(course: &[(usize, &[f32])]) -> Figure {
    let (steps, last) = (course.len(), course[course.len() - 1].1);
    let mut order: Vec<usize> = (0..last.len()).collect();
    order.sort_by(|&i, &j| last[j].total_cmp(&last[i]).then(i.cmp(&j)));
    let value = |at: usize| f64::from(course[at % steps].1[order[at / steps]]);
    let values: Vec<f64> = (0..order.len() * steps).map(value).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let heat = Heat {
        values,
        columns: steps,
        range: [low, high],
        colours: Colours::Sequential,
        x: ["step".into(), course[0].0.to_string(), course[steps - 1].0.to_string()],
        y: ["dimension, by its last factor".into(), "1".into(), order.len().to_string()],
    };
    let columns: Vec<String> = ["step".to_string()]
        .into_iter()
        .chain((0..last.len()).map(|i| format!("dimension {i}")))
        .collect();
    let rows = course.iter().map(|(step, mask)| {
        [(*step).into()].into_iter().chain(mask.iter().map(|&s| f64::from(s).into())).collect()
    });
    let rows = rows.collect();
    let text = format!("Each row is a dimension, from {} to {}.", number(low), number(high));
    figure("The mask over training", text, heat.draw(256.0), Table { columns, rows })
}

/// The greatest, the mean and the least factor over the steps.
fn range(course: &[(usize, &[f32])]) -> Figure {
    let line = |name: &str, mark, of: &dyn Fn(&[f32]) -> f32| {
        let points = course.iter().map(|(step, mask)| [*step as f64, f64::from(of(mask))]);
        Series::new(name, mark, 0, points.collect())
    };
    let mean = |mask: &[f32]| mask.iter().sum::<f32>() / mask.len() as f32;
    let series = vec![
        line("greatest and least", Mark::Dashed, &|m| m.iter().copied().fold(f32::MIN, f32::max)),
        line("", Mark::Dashed, &|m| m.iter().copied().fold(f32::MAX, f32::min)),
        line("mean", Mark::Line, &mean),
    ];
    let chart = Chart { x: "step".into(), y: "factor".into(), series, ..Chart::default() };
    let text = "How far the factors have parted.".to_string();
    figure("Its range", text, chart.draw(), chart.table())
}

/// The histogram of the factors as they are.
fn last(run: &Run) -> Figure {
    let factors: Vec<f64> = run.state.mask.factors().as_slice().iter().map(|&s| s.into()).collect();
    let chart = histogram(&factors, 30, "factor", "dimensions");
    let mut data = Table::new(&["dimension", "factor"]);
    factors.iter().enumerate().for_each(|(i, &s)| data.push(vec![i.into(), s.into()]));
    let entropy = crate::eval::collapse::mask_entropy(run.state.mask.factors().as_slice());
    let text = format!(
        "{} dimensions; entropy {entropy:.5} of 1, which says that all count the same.",
        factors.len()
    );
    figure("The mask at the end", text, chart.draw(), data)
}

/// What the features lose without one of their dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Ablation {
    /// Images that were classified.
    pub queries: usize,
    /// Accuracy of kNN with k = 200 under the mask, in percent.
    pub accuracy: f64,
    /// The change of accuracy, in points, when a dimension is set to 0.
    pub changes: Vec<f64>,
    /// The standard error of each: of the mean over queries of right after less right before.
    pub errors: Vec<f64>,
}

/// Drops one dimension after the other from the masked features, and lets neighbours classify.
///
/// # Errors
/// `Usage` without labels or test images; as the readers of images.
pub fn ablation(run: &Run, extent: &Extent, observer: &mut dyn Observer) -> Result<Ablation> {
    let judge = Judge::new(&run.images, &run.config);
    let (bank, test) =
        (some(&run.images.bank, extent.bank)?, some(&run.images.test, extent.points)?);
    let (Some(bank_labels), Some(labels)) = (&bank.labels, &test.labels) else {
        return Err(Error::usage("DIR", "the run's images have no labels to judge a mask by"));
    };
    let of = |set| Ok::<_, Error>(masked(&judge.features(&run.state, set)?, &run.state));
    let (bank_features, features) = (of(&bank)?, of(&test)?);
    let right = |bank_features: &Tensor, features: &Tensor| {
        knn(bank_features, bank_labels, features, bank.classes, &[KNN200])[0].correct(labels, 1)
    };
    let whole = right(&bank_features, &features);
    let (n, d) = (labels.len(), features.shape()[1]);
    let (mut changes, mut errors) = (Vec::new(), Vec::new());
    for dimension in 0..d {
        if dimension % 32 == 0 {
            observer.note(&format!("dropping dimension {dimension} of {d}"));
        }
        let without = right(&dropped(&bank_features, dimension), &dropped(&features, dimension));
        let (gained, lost) = whole.iter().zip(&without).fold((0, 0), |(gained, lost), pair| {
            (
                gained + usize::from(pair == (&false, &true)),
                lost + usize::from(pair == (&true, &false)),
            )
        });
        let mean = (gained as f64 - lost as f64) / n as f64;
        let square = (gained + lost) as f64 / n as f64;
        changes.push(100.0 * mean);
        errors.push(100.0 * ((square - mean * mean).max(0.0) / n as f64).sqrt());
    }
    let accuracy = 100.0 * whole.iter().filter(|&&right| right).count() as f64 / n as f64;
    Ok(Ablation { queries: n, accuracy, changes, errors })
}

/// Features with one column of zeros.
fn dropped(x: &Tensor, dimension: usize) -> Tensor {
    let d = x.shape()[1];
    let mut x = x.clone();
    x.make_mut().chunks_mut(d).for_each(|row| row[dimension] = 0.0);
    x
}

impl Ablation {
    /// The changes over the factors of the mask, as a drawing.
    pub fn figure(&self, factors: &[f32]) -> Figure {
        let points = factors.iter().zip(&self.changes).map(|(&s, &change)| [s.into(), change]);
        let series = vec![Series::new("", Mark::Dots, 0, points.collect())];
        let (x, y) = ("factor of the mask".into(), "points gained without the dimension".into());
        let chart = Chart { x, y, series, ..Chart::default() };
        let mut data = Table::new(&["dimension", "factor", "change", "standard_error"]);
        for (i, (&factor, &change)) in factors.iter().zip(&self.changes).enumerate() {
            data.push(vec![
                i.into(),
                f64::from(factor).into(),
                change.into(),
                self.errors[i].into(),
            ]);
        }
        let text = format!(
            "A dot is a dimension; above 0 the features are better without it. kNN-200 of {} \
             images, {:.2} % right with all; one image is {:.2} points, the standard error of a \
             dot {:.2}.",
            self.queries,
            self.accuracy,
            100.0 / self.queries as f64,
            self.errors.iter().sum::<f64>() / self.errors.len().max(1) as f64
        );
        Figure {
            name: "mask-ablation".into(),
            ..figure("Without one dimension", text, chart.draw(), data)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_has_the_dimensions_that_end_large_first() {
        let masks: [(usize, &[f32]); 2] = [(4, &[0.5, 0.5, 0.5]), (8, &[0.4, 0.6, 0.5])];
        let found = heat_map(&masks);
        assert_eq!(found.data.columns[3], "dimension 2");
        assert_eq!(found.data.rows[1][0], 8);
        let text = found.svg.inline("t");
        assert!(text.contains(">0.4<") && text.contains(">0.6<") && text.contains(">8<"), "{text}");
        assert_eq!(range(&masks).data.rows.len(), 6);
    }

    #[test]
    fn a_dropped_dimension_is_zero_and_no_other() {
        let x = dropped(&Tensor::full(&[2, 3], 7.0), 1);
        assert_eq!(x.as_slice(), [7.0, 0.0, 7.0, 7.0, 0.0, 7.0]);
    }
}
