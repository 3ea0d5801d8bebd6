//! The theorem, measured: every term of the bound on trained runs, the masked one beside the plain.
//!
//! The theory has temperature 1, whatever the training had. That the mask makes the interval
//! narrower is a statement about two trained models; the same weights with an even mask are shown
//! too, but were not trained like that.

use super::answer::Answer;
use super::pair::{Trained, only_method, with_and_without};
use super::sweep::Campaign;
use super::table::Request;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::eval::bound::{Bound, BoundSettings, TERMS, bound};
use crate::eval::linear_probe::{LinearProbe, linear_probe};
use crate::figures::{Run, some};
use crate::report::Table;
use crate::report::chart::{Chart, Mark, Series};
use crate::report::page::Figure;
use crate::tensor::Tensor;
use crate::train::evaluate::{Judge, projections};

/// Test images whose views are embedded, and training images that the probe learns from.
const TEST: usize = 2000;
const TRAIN: usize = 5000;

/// One model's bound, and the cross-entropy of a trained linear probe on its embeddings.
struct Measured {
    name: String,
    bound: Bound,
    probe: f64,
}

/// Trains the base method alone and with MetaMask, measures both, and writes `bound.md`, `.csv` and
/// `.html` into `out`.
///
/// # Errors
/// As [`with_and_without`]; `Usage` if the images have no labels.
pub fn bounds(
    request: &Request,
    settings: &BoundSettings,
    campaign: &mut Campaign,
) -> Result<Answer> {
    let method = only_method(request)?;
    let mut answer = Answer::new(
        "bound",
        format!("The bound on the supervised loss, {method} and with MetaMask"),
        format!(
            "Two views of {TEST} test images, temperature {}, {} negatives in {} draws; the base \
             head's unit projections. Errors by {} resamplings of the images, class means and \
             negatives held.",
            settings.temperature, settings.negatives, settings.draws, settings.resamplings
        ),
        &[],
    );
    let mut measured = Vec::new();
    with_and_without(request, &mut answer, campaign, |_, trained, campaign| {
        let Trained { name, run, .. } = trained;
        campaign.note(&format!("measuring {name}"));
        let factors = run.state.mask.factors().to_vec();
        measured.push(measure(&run, name.clone(), &factors, settings)?);
        if run.config.mask.enabled {
            let mean = factors.iter().sum::<f32>() / factors.len() as f32;
            let even = vec![mean; factors.len()];
            measured.push(measure(&run, format!("{name}, even mask"), &even, settings)?);
        }
        Ok(())
    })?;
    answer.verdicts.extend(measured.iter().map(verdict));
    answer.verdicts.extend(narrower(&measured));
    answer.table = table(&measured);
    answer.figures.push(figure(&measured));
    answer.write(campaign)?;
    Ok(answer)
}

/// The two views' embeddings of a set under a mask, in f64.
fn embeddings(run: &Run, set: &Dataset, factors: &[f32]) -> Result<[Tensor<f64>; 2]> {
    let all: Vec<usize> = (0..set.len()).collect();
    let judge = Judge::new(&run.images, &run.config);
    // An epoch that no training has seen: the draws are addressed by it.
    let views = run.images.pair_of(set, &all, u64::from(u32::MAX), run.config.seed)?;
    let mut h = judge.features_of(&run.state, &views);
    let d = factors.len();
    h.make_mut().iter_mut().enumerate().for_each(|(i, x)| *x *= factors[i % d]);
    let z = projections(&h, &run.state).cast::<f64>();
    let (n, width) = (set.len(), z.shape()[1]);
    let view =
        |at: usize| Tensor::from_slice(&z.as_slice()[at * n * width..][..n * width], &[n, width]);
    Ok([view(0), view(1)])
}

fn measure(run: &Run, name: String, factors: &[f32], settings: &BoundSettings) -> Result<Measured> {
    let (train, test) = (some(&run.images.bank, TRAIN)?, some(&run.images.test, TEST)?);
    let (Some(train_labels), Some(labels)) = (&train.labels, &test.labels) else {
        return Err(Error::usage("--data", "the images have no labels to bound a loss of"));
    };
    let [u, positive] = embeddings(run, &test, factors)?;
    let found = bound(&u, &positive, labels, test.classes, settings);
    let [of_train, _] = embeddings(run, &train, factors)?;
    let unit = |x: &Tensor<f64>| {
        let (d, mut x) = (x.shape()[1], x.clone());
        for row in x.make_mut().chunks_mut(d) {
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
            row.iter_mut().for_each(|x| *x /= length);
        }
        x
    };
    let probe =
        linear_probe(&unit(&of_train), train_labels, train.classes, &LinearProbe::default(), 0);
    let probe = cross_entropy(&probe.scores(&unit(&u)), labels);
    Ok(Measured { name, bound: found, probe })
}

/// The mean of `-ln softmax(scores)` at the labels.
fn cross_entropy(scores: &Tensor<f64>, labels: &[u32]) -> f64 {
    let rows = scores.as_slice().chunks(scores.shape()[1]).zip(labels);
    let losses = rows.map(|(row, &label)| {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + row.iter().map(|x| (x - most).exp()).sum::<f64>().ln() - row[label as usize]
    });
    losses.sum::<f64>() / labels.len() as f64
}

/// A row a term, a column a model and its error.
fn table(measured: &[Measured]) -> Table {
    let mut columns = vec!["term".to_string()];
    for Measured { name, .. } in measured {
        columns.extend([name.clone(), "± ".to_string()]);
    }
    let mut table = Table { columns, rows: Vec::new() };
    for (at, term) in TERMS.iter().enumerate() {
        let values = measured.iter().flat_map(|m| [m.bound.values[at], m.bound.errors[at]]);
        let rounded = values.map(|x| if *term == "identity" { x } else { (x * 1e5).round() / 1e5 });
        table.push([(*term).into()].into_iter().chain(rounded.map(Into::into)).collect());
    }
    let own = |words: &str, of: &dyn Fn(&Measured) -> f64| {
        let values = measured.iter().flat_map(|m| [of(m).into(), serde_json::Value::Null]);
        [words.into()].into_iter().chain(values).collect()
    };
    table.push(own("L_CE of a trained probe", &|m| m.probe));
    table.push(own("bound of |C|", &|m| m.bound.slack));
    table
}

fn verdict(Measured { name, bound, .. }: &Measured) -> String {
    let word = |holds: bool| if holds { "holds" } else { "FAILS" };
    let [lower, upper] = bound.holds();
    let [lower_slack, upper_slack] = bound.holds_with_slack();
    format!(
        "{name}: the lower inequality {} (with its term of order 1/√M: {}), the upper one {} \
         ({}); the decomposition is exact to {:.0e}.",
        word(lower),
        word(lower_slack),
        word(upper),
        word(upper_slack),
        bound.value("identity").abs().max(1e-17)
    )
}

/// Whether the masked model's interval is narrower than the plain one's.
fn narrower(measured: &[Measured]) -> Option<String> {
    let [plain, masked, ..] = measured else { return None };
    let width = TERMS.iter().position(|term| *term == "width")?;
    let of = |m: &Measured| (m.bound.values[width], m.bound.errors[width]);
    let ((plain, plain_error), (masked, masked_error)) = (of(plain), of(masked));
    let error = plain_error.hypot(masked_error);
    let words = match masked - plain {
        gap if gap < -2.0 * error => "narrower with the mask",
        gap if gap > 2.0 * error => "WIDER with the mask",
        _ => "not told apart",
    };
    Some(format!(
        "The interval is {words}: {masked:.4} ± {masked_error:.4} against {plain:.4} ± \
         {plain_error:.4}. Errors are over images, not over trainings: one seed."
    ))
}

/// Each interval as a line with its middle.
fn figure(measured: &[Measured]) -> Figure {
    let mut series = Vec::new();
    for (i, Measured { name, bound, .. }) in measured.iter().enumerate() {
        let at = |term: &str| [bound.value(term), (measured.len() - i) as f64];
        series.push(Series::new(name, Mark::Line, i, vec![at("lower"), at("upper")]));
        series.push(Series::new("", Mark::Star, i, vec![at("middle")]));
    }
    let (x, y) = ("loss".to_string(), "model, the first on top".to_string());
    let chart = Chart { x, y, series, ..Chart::default() };
    Figure {
        name: "bound".into(),
        title: "The interval, and where the supervised loss is in it".into(),
        text: "A line from lower to upper bound, a star at L_CE + ln(M/K).".into(),
        svg: chart.draw(),
        data: chart.table(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_by_hand() {
        let scores = Tensor::from_rows(&[&[0.0, 0.0], &[1000.0, 0.0]]);
        assert!((cross_entropy(&scores, &[0, 0]) - 0.5 * 2f64.ln()).abs() < 1e-12);
    }
}
