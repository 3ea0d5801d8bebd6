//! The paper's Fig. 2: random masks over one fixed representation, with a control.
//!
//! Some random masks beat the features without a mask. Whether that says anything about masks, or
//! only that the best of a thousand was picked by the images that it is reported on, the control
//! tells: it picks on one half of the test images and reports on the other.

use super::answer::Answer;
use super::pair::{only_method, with_and_without};
use super::sweep::Campaign;
use super::table::{Request, Variant};
use crate::error::{Error, Result};
use crate::eval::interval::Interval;
use crate::eval::knn::knn;
use crate::eval::selection::control;
use crate::eval::{KNN5, KNN200};
use crate::figures::{Run, some};
use crate::metamask::Mask;
use crate::report::chart::{Chart, Mark, Series};
use crate::report::page::Figure;
use crate::tensor::Tensor;
use crate::train::evaluate::Judge;

/// How much is drawn and looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// Masks of each rate.
    pub masks: usize,
    /// Images in which neighbours are looked up.
    pub bank: usize,
    /// Test images.
    pub queries: usize,
}

impl Default for Draws {
    /// 50 masks of each rate, 5,000 images against 5,000.
    fn default() -> Draws {
        Draws { masks: 50, bank: 5000, queries: 5000 }
    }
}

/// The shares of dimensions that are switched off, in percent.
const RATES: std::ops::RangeInclusive<usize> = 1..=19;
const STEP: f64 = 0.05;
/// Random halvings of the control.
const HALVINGS: usize = 20;
/// The votes, and what they are called.
const VOTES: [(&str, crate::eval::knn::Vote); 2] = [("kNN k=5", KNN5), ("kNN k=200", KNN200)];

/// Who is right under what.
struct Found {
    /// Without a mask, by vote.
    whole: [Vec<bool>; 2],
    /// Under the mask that was learned, if one was.
    learned: Option<[Vec<bool>; 2]>,
    /// Under each random mask: its rate, and who is right by vote.
    random: Vec<(f64, [Vec<bool>; 2])>,
}

/// Trains the base method alone and with MetaMask, draws masks over the features of each without
/// their own mask, and writes `random-masks.md`, `.csv` and `.html` into `out`.
///
/// # Errors
/// As [`with_and_without`]; `Usage` if the images have no labels.
pub fn random_masks(request: &Request, draws: &Draws, campaign: &mut Campaign) -> Result<Answer> {
    let method = only_method(request)?;
    let mut answer = Answer::new(
        "random-masks",
        format!("Random masks over features of {method}"),
        format!(
            "{} masks of each rate from 5 to 95 % over the features of one run, judged on {} test \
             images with {} training images to compare. Control: the best mask is chosen on one \
             half of the test images and reported on the other, {HALVINGS} halvings both ways.",
            draws.masks, draws.queries, draws.bank
        ),
        &[
            "features",
            "judge",
            "without a mask",
            "learned mask",
            "best random mask",
            "its rate",
            "its lead where it was chosen",
            "its lead on the other half",
            "deviation of that lead",
            "masks above the line, %",
        ],
    );
    with_and_without(request, &mut answer, campaign, |answer, trained, campaign| {
        let found = look(&trained.run, draws, campaign)?;
        for (vote, (judge, _)) in VOTES.iter().enumerate() {
            judged(answer, &found, vote, judge, &trained.name, trained.variant);
        }
        Ok(())
    })?;
    answer.write(campaign)?;
    Ok(answer)
}

/// Lets neighbours classify under every mask.
fn look(run: &Run, draws: &Draws, campaign: &mut Campaign) -> Result<Found> {
    let judge = Judge::new(&run.images, &run.config);
    let (bank, test) =
        (some(&run.images.bank, draws.bank)?, some(&run.images.test, draws.queries)?);
    let (Some(bank_labels), Some(labels)) = (&bank.labels, &test.labels) else {
        return Err(Error::usage("--data", "the images have no labels to judge masks by"));
    };
    let (h_bank, h_test) = (judge.features(&run.state, &bank)?, judge.features(&run.state, &test)?);
    let votes = VOTES.map(|(_, vote)| vote);
    let right = |factors: &[f32]| -> [Vec<bool>; 2] {
        let [bank, test] = [&h_bank, &h_test].map(|x| scaled(x, factors));
        let found = knn(&bank, bank_labels, &test, run.images.bank.classes, &votes);
        [0, 1].map(|vote| found[vote].correct(labels, 1))
    };
    let d = h_test.shape()[1];
    let factors = run.state.mask.factors();
    let mut random = Vec::new();
    for number in RATES {
        let rate = number as f64 * STEP;
        campaign.note(&format!("masks that switch {:.0} % off", 100.0 * rate));
        for draw in 0..draws.masks {
            if let Some(signal) = campaign.stop.requested() {
                return Err(Error::Interrupted { signal });
            }
            let mask = Mask::<f32>::random(d, rate, (number * 100_000 + draw) as u64);
            random.push((rate, right(mask.factors().as_slice())));
        }
    }
    let learned = run.config.mask.enabled.then(|| right(factors.as_slice()));
    Ok(Found { whole: right(&vec![1.0; d]), learned, random })
}

/// The columns of `x` whose factor is not 0, times their factors.
fn scaled(x: &Tensor, factors: &[f32]) -> Tensor {
    let kept: Vec<usize> = (0..factors.len()).filter(|&i| factors[i] != 0.0).collect();
    let rows = x.as_slice().chunks(factors.len());
    let values = rows.flat_map(|row| kept.iter().map(|&i| row[i] * factors[i])).collect();
    Tensor::from_vec(values, &[x.shape()[0], kept.len()])
}

fn percent(right: &[bool]) -> f64 {
    100.0 * right.iter().filter(|&&right| right).count() as f64 / right.len() as f64
}

/// Adds a row, a verdict and a picture of one kind of features under one vote.
fn judged(
    answer: &mut Answer,
    found: &Found,
    vote: usize,
    judge: &str,
    name: &str,
    variant: Variant,
) {
    let whole = percent(&found.whole[vote]);
    let learned = found.learned.as_ref().map(|learned| percent(&learned[vote]));
    let points: Vec<[f64; 2]> =
        found.random.iter().map(|(rate, right)| [100.0 * rate, percent(&right[vote])]).collect();
    let candidates: Vec<Vec<bool>> =
        found.random.iter().map(|(_, right)| right[vote].clone()).collect();
    let best = (0..points.len()).fold(0, |b, i| if points[i][1] > points[b][1] { i } else { b });
    let above = points.iter().filter(|point| point[1] > whole).count();
    let choices = control(&candidates, &found.whole[vote], HALVINGS, 0);
    let leads: Vec<f64> = choices.iter().map(|choice| 100.0 * choice.unseen).collect();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let seen = mean(&choices.iter().map(|choice| 100.0 * choice.seen).collect::<Vec<_>>());
    let unseen = mean(&leads);
    let deviation = mean(&leads.iter().map(|x| (x - unseen).powi(2)).collect::<Vec<_>>()).sqrt();
    answer.table.push(vec![
        name.into(),
        judge.into(),
        whole.into(),
        learned.into(),
        points[best][1].into(),
        points[best][0].into(),
        seen.into(),
        unseen.into(),
        deviation.into(),
        (100.0 * above as f64 / points.len() as f64).into(),
    ]);
    answer.verdicts.push(format!(
        "{name}, {judge}: {above} of {} random masks beat the features without a mask; the best by \
         {:.2} points where it was found. A best mask that is chosen on one half leads there by \
         {seen:.2}, and on the other half by {unseen:.2} (deviation {deviation:.2}): {}",
        points.len(),
        points[best][1] - whole,
        match (unseen > 2.0 * deviation, unseen < 0.5 * seen) {
            (true, _) => "the lead is real.",
            (false, true) => "most of the lead is the choice itself.",
            (false, false) => "not decided.",
        }
    ));
    let ends = [RATES.start(), RATES.end()].map(|&number| 100.0 * STEP * number as f64);
    let line = |y: f64| ends.map(|x| [x, y]).to_vec();
    let means: Vec<[f64; 2]> = RATES
        .map(|number| {
            let rate = number as f64 * STEP;
            let own = found.random.iter().zip(&points).filter(|((r, _), _)| *r == rate);
            let own: Vec<f64> = own.map(|(_, point)| point[1]).collect();
            [100.0 * rate, Interval::of(&own).map_or(f64::NAN, |found| found.mean)]
        })
        .collect();
    let mut series = vec![
        Series::new("a random mask", Mark::Dots, 0, points),
        Series::new("mean of a rate", Mark::Line, 3, means),
        Series::new("without a mask", Mark::Dashed, 4, line(whole)),
    ];
    if let Some(learned) = learned {
        series.push(Series::new("learned mask", Mark::Star, 1, vec![[0.0, learned]]));
    }
    let (x, y) = ("dimensions switched off, %".to_string(), format!("{judge}, % right"));
    let chart = Chart { x, y, series, ..Chart::default() };
    answer.figures.push(Figure {
        name: format!("random-masks-{}-{}", variant.key(), ["knn5", "knn200"][vote]),
        title: format!("{name}, {judge}"),
        text: format!(
            "Lead of the best mask where it was chosen {seen:.2} points, on the other half \
             {unseen:.2}."
        ),
        svg: chart.draw(),
        data: chart.table(),
    });
}
