//! `dimask eval`: judges the features of a run's checkpoint again, and in more ways.

use super::args::{EvalArgs, with_data};
use super::progress::Progress;
use super::train::watch_signals;
use super::{output, report};
use crate::config::{Probes, RunConfig};
use crate::error::{Error, Result};
use crate::eval::KNN200;
use crate::eval::knn::{Vote, knn};
use crate::eval::statistics::confusion;
use crate::run::folder::RunFolder;
use crate::run::model::{self, State};
use crate::tensor::Tensor;
use crate::train::evaluate::{Judge, masked};
use crate::train::fine_tune::{FineTune, fine_tune};
use crate::train::images::Images;
use crate::train::{self, Observer, Stop};

/// Prints the table that the run ended with, of the checkpoint as it is now, and what else was
/// asked for.
pub(super) fn eval(args: &EvalArgs) -> Result<()> {
    let votes = args.knn.as_deref().map(votes).transpose()?.unwrap_or_default();
    let fine_tuning = fine_tuning(args)?;
    let change = |config| with_data(config, args.data.as_deref());
    let (mut progress, stop) = (Progress::new(), Stop::default());
    let (mut config, images, state) = train::load(&args.dir, change, &mut progress)?;
    config.eval.baselines = true;
    if args.full {
        config.eval.probes = Probes::Full;
    }
    watch_signals(&stop)?;
    let best = best_state(args, &images)?;
    let judge = Judge::new(&images, &config);
    let judgement = judge.all(&state, best.as_ref(), &mut progress, &stop)?;
    output::print(&report::judgement(&config, &judgement))?;
    if !votes.is_empty() || args.confusion {
        output::print(&neighbours(&judge, &images, &state, &votes, args.confusion)?)?;
    }
    if let Some(settings) = fine_tuning {
        let first = model::first_state(&config, images.train.channels);
        let rows = [("from first weights", &first), ("from the run's weights", &state)];
        let mut text = vec![["fine-tuned, % right", "top 1", "top 5"].map(String::from).to_vec()];
        for (name, state) in rows {
            progress.note(name);
            let [top1, top5] = fine_tune(&config, &images, state, &settings, &mut progress, &stop)?;
            text.push(vec![name.into(), format!("{top1:.2}"), format!("{top5:.2}")]);
        }
        output::print(&format!("\n{}", output::table(&text)))?;
    }
    Ok(())
}

fn fine_tuning(args: &EvalArgs) -> Result<Option<FineTune>> {
    let EvalArgs { labels, lr, .. } = *args;
    let Some(epochs) = args.fine_tune else { return Ok(None) };
    if epochs == 0 {
        return Err(Error::usage("--fine-tune", "is 0, must be at least 1"));
    }
    if !(labels > 0.0 && labels <= 1.0) {
        return Err(Error::usage("--labels", format!("is {labels}, must be above 0, at most 1")));
    }
    if !(lr > 0.0 && lr.is_finite()) {
        return Err(Error::usage("--lr", format!("is {lr}, must be above 0")));
    }
    Ok(Some(FineTune { epochs, labels, lr }))
}

/// The state after the best epoch of a run that has held images out to tell it.
fn best_state(args: &EvalArgs, images: &Images) -> Result<Option<State>> {
    let folder = RunFolder::new(&args.dir);
    if !folder.best().exists() {
        return Ok(None);
    }
    let own: RunConfig = folder.read_config()?;
    model::read_checkpoint(&own, images.train.channels, &folder.best())
        .map(|(state, _)| Some(state))
}

/// The votes in a list like `20:0.07,1:1`.
fn votes(list: &str) -> Result<Vec<Vote>> {
    let vote = |word: &str| {
        let (k, temperature) = word.trim().split_once(':')?;
        let vote = Vote { k: k.parse().ok()?, temperature: temperature.parse().ok()? };
        vote.is_sound().then_some(vote)
    };
    let wrong = |word: &str| {
        let reason = format!("{word:?} is not K:T, neighbours and a temperature, as in 20:0.07");
        Error::usage("--knn", reason)
    };
    list.split(',').map(|word| vote(word).ok_or_else(|| wrong(word))).collect()
}

/// More votes of neighbours, with and without the mask, and who is taken for whom.
fn neighbours(
    judge: &Judge<'_>,
    images: &Images,
    state: &State,
    votes: &[Vote],
    with_confusion: bool,
) -> Result<String> {
    let (train, test) = (&images.bank, &images.test);
    let (Some(bank_labels), Some(labels)) = (&train.labels, &test.labels) else {
        return Err(Error::usage("--data", "the images have no labels"));
    };
    let votes: Vec<Vote> = votes.iter().copied().chain([KNN200]).collect();
    let unmasked = judge.unmasked_features(state)?;
    let found =
        |[bank, queries]: [&Tensor; 2]| knn(bank, bank_labels, queries, train.classes, &votes);
    let with_mask = unmasked.each_ref().map(|features| masked(features, state));
    let [own, bare] = [found(with_mask.each_ref()), found(unmasked.each_ref())];
    let head = ["% right", "top 1", "top 5", "top 1, no mask", "top 5, no mask"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for (at, vote) in votes.iter().enumerate().take(votes.len() - 1) {
        let mut row = vec![format!("kNN k={} t={}", vote.k, vote.temperature)];
        for side in [&own, &bare] {
            let figure = |top| format!("{:.2}", 100.0 * side[at].accuracy(labels, top));
            row.extend([1, 5].map(figure));
        }
        rows.push(row);
    }
    let mut text = String::new();
    if rows.len() > 1 {
        text = format!("\n{}", output::table(&rows));
    }
    if with_confusion {
        let last = own.last().expect("there is a vote");
        let name = |class: usize| match test.class_names.get(class) {
            Some(name) => name.clone(),
            None => class.to_string(),
        };
        let mut rows = vec![vec!["is \\ taken for".to_string()]];
        rows[0].extend((0..test.classes).map(name));
        for (class, counts) in confusion(&last.scores, labels).iter().enumerate() {
            rows.push(
                std::iter::once(name(class))
                    .chain(counts.iter().map(ToString::to_string))
                    .collect(),
            );
        }
        text.push_str(&format!("\n{}", output::table(&rows)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_are_read() {
        let expected = [Vote { k: 20, temperature: 0.07 }, Vote { k: 1, temperature: 1.0 }];
        assert_eq!(votes("20:0.07, 1:1").unwrap(), expected);
        for wrong in ["20", "x:1", "0:1", "5:0", "5:1e-9", "5:1,", "5:nan"] {
            assert_eq!(votes(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
