//! Judging a run's features: raw pixels, the untrained encoder, the trained one.

use super::images::Images;
use super::model::{self, State};
use super::{Observer, Stop};
use crate::autodiff::Var;
use crate::config::RunConfig;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::eval::collapse::Spread;
use crate::eval::knn::knn;
use crate::eval::linear_probe::LinearProbe;
use crate::eval::{EvalSettings, KNN5, KNN200, Scores, evaluate};
use crate::nn::{Encode, Pass};
use crate::tensor::Tensor;

/// Images that go through the encoder at a time.
const BATCH: usize = 250;

/// The accuracies of the three rows that a run is reported in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Of the normalised pixels themselves.
    pub raw: Scores,
    /// Of the encoder with the weights drawn from the run's seed.
    pub untrained: Scores,
    /// Of the trained encoder's masked features.
    pub trained: Scores,
}

/// Judges features of a run's images, always by the same draws.
#[derive(Debug)]
pub struct Judge<'a> {
    images: &'a Images,
    config: &'a RunConfig,
}

impl<'a> Judge<'a> {
    /// A judge for these images under these settings.
    pub fn new(images: &'a Images, config: &'a RunConfig) -> Judge<'a> {
        Judge { images, config }
    }

    /// The three rows.
    ///
    /// # Errors
    /// `Interrupted` when `stop` asks; as [`evaluate`] if a feature is not finite.
    pub fn all(
        &self,
        state: &State,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Judgement> {
        if self.images.bank.labels.is_none() || self.images.test.is_empty() {
            observer.note("without labels the features are not judged");
            let none = Scores { knn5: None, knn200: None, linear: None, probe_1pct: None };
            return Ok(Judgement { raw: none, untrained: none, trained: none });
        }
        let mut row = |name: &str, [train, test]: [Tensor; 2]| {
            observer.note(&format!("judging {name}: {} features", train.shape()[1]));
            let (train_labels, test_labels) = (&self.images.bank.labels, &self.images.test.labels);
            let classes = self.images.bank.classes;
            let settings = self.settings();
            let scores = evaluate(
                &train,
                train_labels.as_deref(),
                &test,
                test_labels.as_deref(),
                classes,
                &settings,
            )?;
            match stop.requested() {
                Some(signal) => Err(Error::Interrupted { signal }),
                None => Ok(scores),
            }
        };
        let untrained = model::first_state(self.config, self.images.train.channels);
        Ok(Judgement {
            raw: row("raw pixels", self.pixels()?)?,
            untrained: row("the untrained encoder", self.masked_features(&untrained)?)?,
            trained: row("the trained encoder", self.masked_features(state)?)?,
        })
    }

    /// Accuracies of kNN with (k = 5, t = 1) and (k = 200, t = 0.1) in percent, of the masked
    /// features after `step` steps; none without labels.
    ///
    /// # Errors
    /// `Diverged` if a feature is not finite.
    pub fn knn(&self, state: &State, step: usize) -> Result<(Option<f64>, Option<f64>)> {
        let (train, test) = (&self.images.bank, &self.images.test);
        let (Some(bank_labels), Some(labels)) = (&train.labels, &test.labels) else {
            return Ok((None, None));
        };
        let [bank, queries] = self.masked_features(state)?;
        if !bank.is_finite() || !queries.is_finite() {
            return Err(Error::Diverged { step, part: "a feature".into() });
        }
        let found = knn(&bank, bank_labels, &queries, train.classes, &[KNN5, KNN200]);
        let percent = |vote: usize| Some(100.0 * found[vote].accuracy(labels, 1));
        Ok((percent(0), percent(1)))
    }

    /// How the masked features of the first `eval.watch_images` training images spread, and how the
    /// base method's projections of them do; absent if there are too few images.
    ///
    /// A collapse begins in the projections, which the loss looks at: behind them the features may
    /// keep their spread and still have lost what told the images apart.
    ///
    /// # Errors
    /// `Io` if images cannot be read.
    pub fn spread(&self, state: &State) -> Result<Option<[Spread; 2]>> {
        let train = &self.images.train;
        let watched = self.config.eval.watch_images.min(train.len());
        let watched = train.subset(&(0..watched).collect::<Vec<_>>());
        if watched.len() < 2 {
            return Ok(None);
        }
        let features = masked(&self.features(state, &watched)?, state);
        let pass = &mut Pass::eval(&state.running);
        let projections = state.network.heads.project(&Var::constant(features.clone()), pass).z;
        Ok(Some([&features, projections.value()].map(Spread::of)))
    }

    fn settings(&self) -> EvalSettings {
        let linear = LinearProbe { epochs: self.config.eval.linear_epochs, ..Default::default() };
        // A fixed seed: runs that differ in theirs are judged by the same draws.
        EvalSettings { linear, seed: 0 }
    }

    /// The normalised pixels of training and test images, `[N, H · W · C]`.
    fn pixels(&self) -> Result<[Tensor; 2]> {
        let of = |set: &Dataset| {
            let all: Vec<usize> = (0..set.len()).collect();
            let pixels = self.images.evaluation(set, &all)?;
            Ok(pixels.reshape(&[set.len(), set.height * set.width * set.channels]))
        };
        Ok([of(&self.images.bank)?, of(&self.images.test)?])
    }

    /// The features of training and test images under the mask, `[N, D]`.
    fn masked_features(&self, state: &State) -> Result<[Tensor; 2]> {
        let of = |set| Ok(masked(&self.features(state, set)?, state));
        Ok([of(&self.images.bank)?, of(&self.images.test)?])
    }

    /// The encoder's features of a set of images, `[N, D]`, with batch-norm's running moments.
    ///
    /// # Errors
    /// `Io` if images cannot be read.
    pub fn features(&self, state: &State, set: &Dataset) -> Result<Tensor> {
        let all: Vec<usize> = (0..set.len()).collect();
        let mut features = Vec::new();
        for batch in all.chunks(BATCH) {
            let x = self.images.evaluation(set, batch)?;
            let mut pass = Pass::eval(&state.running);
            let h = state.network.encoder.forward(&Var::constant(x), &mut pass);
            features.extend_from_slice(h.value().as_slice());
        }
        Ok(Tensor::from_vec(features, &[set.len(), state.network.encoder.features()]))
    }
}

/// Features `[N, D]` times the mask's factors.
pub fn masked(features: &Tensor, state: &State) -> Tensor {
    let factors = Var::constant(state.mask.factors());
    (&Var::constant(features.clone()) * &factors).value().clone()
}
