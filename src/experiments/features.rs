//! The paper's Fig. 1a: features as a picture, what dimensions say about classes, how much they
//! repeat each other; the base method beside MetaMask over it.
//!
//! The paper gives no formula for its picture: here a pixel is the standardised value of a
//! dimension for an image.

use super::answer::Answer;
use super::pair::{Trained, only_method, with_and_without};
use super::sweep::Campaign;
use super::table::{Request, Variant};
use crate::error::{Error, Result};
use crate::eval::linear_probe::{LinearProbe, linear_probe};
use crate::eval::statistics::{correlation, effective_rank, mean_abs_correlation, standardized};
use crate::figures::features::by_likeness;
use crate::figures::{Run, some};
use crate::report::Table;
use crate::report::page::Figure;
use crate::report::picture::{Colours, Heat, shrink};
use crate::report::svg::Svg;
use crate::train::evaluate::{Judge, masked};

/// Test images that are looked at, and those of them that the picture shows.
const LOOKED_AT: usize = 2000;
const SHOWN: usize = 300;
/// Training images that the classifier learns from.
const LEARNED_FROM: usize = 5000;

/// Trains each variant, looks at its masked features, and writes `features.md`, `.csv` and `.html`
/// into `out`.
///
/// # Errors
/// As [`with_and_without`]; `Usage` if the images have no labels.
pub fn features(request: &Request, campaign: &mut Campaign) -> Result<Answer> {
    let method = only_method(request)?;
    let mut answer = Answer::new(
        "features",
        format!("Features of {method} as a picture, and with MetaMask"),
        format!(
            "{LOOKED_AT} test images. Dimensions stand in the order of their loadings on two \
             principal components, so that those which repeat each other are neighbours: blocks of \
             one colour are redundancy. Contributions are of a linear probe on {LEARNED_FROM} \
             training images."
        ),
        &[
            "features",
            "kNN k=200",
            "linear",
            "mean size of correlation",
            "effective rank",
            "dimensions",
        ],
    );
    let mut found: Vec<[f64; 2]> = Vec::new();
    with_and_without(request, &mut answer, campaign, |answer, trained, _| {
        let Trained { variant, name, run, scores } = trained;
        let ([correlation, rank], figures) = look(&run, &name, variant)?;
        let dimensions = run.state.mask.factors().as_slice().len();
        answer.table.push(vec![
            name.into(),
            scores.knn200.into(),
            scores.linear.into(),
            correlation.into(),
            rank.into(),
            dimensions.into(),
        ]);
        answer.figures.extend(figures);
        found.push([correlation, rank]);
        Ok(())
    })?;
    if let [plain, masked] = found[..] {
        answer.verdicts.push(format!(
            "With MetaMask dimensions repeat each other {} (mean size of correlation {:.3} against \
             {:.3}) and {} are in use (effective rank {:.1} against {:.1}). One seed.",
            if masked[0] < plain[0] { "less" } else { "no less" },
            masked[0],
            plain[0],
            if masked[1] > plain[1] { "more" } else { "no more" },
            masked[1],
            plain[1]
        ));
    }
    answer.write(campaign)?;
    Ok(answer)
}

/// The scalars and the pictures of one run's features.
fn look(run: &Run, name: &str, variant: Variant) -> Result<([f64; 2], Vec<Figure>)> {
    let judge = Judge::new(&run.images, &run.config);
    let (bank, test) = (some(&run.images.bank, LEARNED_FROM)?, some(&run.images.test, LOOKED_AT)?);
    let (Some(bank_labels), Some(labels)) = (&bank.labels, &test.labels) else {
        return Err(Error::usage("--data", "the images have no labels to sort them by"));
    };
    let x = masked(&judge.features(&run.state, &test)?, &run.state);
    let h_bank = masked(&judge.features(&run.state, &bank)?, &run.state);
    let (order, d) = (by_likeness(&x), x.shape()[1]);
    let probe = linear_probe(&h_bank, bank_labels, bank.classes, &LinearProbe::default(), 0);
    let contributions = probe.contributions(&x, labels);
    let names = run.class_names();
    let last = |names: &[String]| names.last().cloned().unwrap_or_default();
    let first = names.first().cloned().unwrap_or_default();
    let dimensions = ["dimension, by likeness".to_string(), "1".into(), d.to_string()];

    let rows = sorted_by_class(labels, SHOWN);
    let standard = standardized(&x);
    let at = |i: usize| standard.as_slice()[rows[i / d] * d + order[i % d]];
    let picture = Heat {
        values: (0..rows.len() * d).map(at).collect(),
        columns: d,
        range: [-2.5, 2.5],
        colours: Colours::Diverging,
        x: dimensions.clone(),
        y: ["test images, by class".into(), first.clone(), last(&names)],
    };
    let at = |i: usize| contributions.as_slice()[i / d * d + order[i % d]];
    let values: Vec<f64> = (0..names.len() * d).map(at).collect();
    let most = values.iter().fold(1e-12f64, |most, x| most.max(x.abs()));
    let share = Heat {
        values,
        columns: d,
        range: [-most, most],
        colours: Colours::Diverging,
        x: dimensions.clone(),
        y: ["class".into(), first, last(&names)],
    };
    let c = correlation(&x, &x);
    let at = |i: usize| c.as_slice()[order[i / d] * d + order[i % d]].abs();
    let (values, columns) = shrink(&(0..d * d).map(at).collect::<Vec<_>>(), d, 256);
    let repeats = Heat {
        values,
        columns,
        range: [0.0, 1.0],
        colours: Colours::Sequential,
        y: dimensions.clone(),
        x: dimensions,
    };
    let figure = |kind: &str, title: &str, text: &str, svg: Svg, heat: &Heat| Figure {
        name: format!("features-{kind}-{}", variant.key()),
        title: format!("{name}: {title}"),
        text: text.to_string(),
        svg,
        data: numbers(heat),
    };
    let figures = vec![
        figure("picture", "features", "Standardised values.", picture.draw(300.0), &picture),
        figure(
            "classes",
            "what dimensions say for each class",
            "Mean over a class's images of weight times feature.",
            share.draw(160.0),
            &share,
        ),
        figure("likeness", "correlation", "Its size.", repeats.draw(330.0), &repeats),
    ];
    Ok(([mean_abs_correlation(&x), effective_rank(&x)], figures))
}

/// At most `most` rows evenly apart, class after class.
fn sorted_by_class(labels: &[u32], most: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..labels.len()).collect();
    rows.sort_by_key(|&row| (labels[row], row));
    let shown = most.min(rows.len());
    (0..shown).map(|i| rows[i * rows.len() / shown]).collect()
}

/// The numbers of a picture, a row a line.
fn numbers(heat: &Heat) -> Table {
    let columns = (0..heat.columns).map(|i| format!("column {i}")).collect();
    let rounded = |x: &f64| ((x * 1e4).round() / 1e4).into();
    let rows = heat.values.chunks(heat.columns).map(|row| row.iter().map(rounded).collect());
    Table { columns, rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_class_after_class() {
        let labels = [2, 0, 1, 0, 2, 1];
        assert_eq!(sorted_by_class(&labels, 10), [1, 3, 2, 5, 0, 4]);
        assert_eq!(sorted_by_class(&labels, 3), [1, 2, 0]);
    }
}
