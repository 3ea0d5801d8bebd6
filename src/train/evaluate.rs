//! Judging a run's features: raw pixels, the untrained encoder, the trained one in its three forms.

use super::images::Images;
use super::{Observer, Stop};
use crate::autodiff::Var;
use crate::config::{Probes, RunConfig};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::eval::collapse::Spread;
use crate::eval::knn::knn;
use crate::eval::linear_probe::LinearProbe;
use crate::eval::{EvalSettings, Extent, KNN5, KNN200, Rows, Scores, evaluate};
use crate::nn::{Encode, Pass};
use crate::run::metrics::Judgement;
use crate::run::model::{self, State};
use crate::tensor::Tensor;
use std::cell::RefCell;

/// Images that go through the encoder at a time.
const BATCH: usize = 250;
/// Training images that neighbours are looked up in after every epoch.
///
/// Enough to tell epochs apart, at a small part of what an epoch costs.
pub const EPOCH_BANK: usize = 5000;

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

    /// All rows that the settings ask for; `best` is the state of the best epoch, if it is another
    /// than the last one's.
    ///
    /// # Errors
    /// `Interrupted` when `stop` asks; as [`evaluate`] if a feature is not finite.
    pub fn all(
        &self,
        state: &State,
        best: Option<&State>,
        observer: &mut dyn Observer,
        stop: &Stop,
    ) -> Result<Judgement> {
        let mut judgement = Judgement::default();
        if self.images.bank.labels.is_none() || self.images.test.is_empty() {
            observer.note("without labels the features are not judged");
            return Ok(judgement);
        }
        let mut judged = |name: &str, dimensions: usize, scores: &dyn Fn() -> Result<Scores>| {
            observer.note(&format!("judging {name}: {dimensions} features"));
            let scores = scores()?;
            match stop.requested() {
                Some(signal) => Err(Error::Interrupted { signal }),
                None => Ok(scores),
            }
        };
        if self.config.eval.baselines {
            let dimensions = self.images.bank.size().iter().product();
            judgement.raw = judged("raw pixels", dimensions, &|| self.raw_scores())?;
        }
        let mut row = |name: &str, features: &[Tensor; 2]| {
            judged(name, features[0].shape()[1], &|| self.scores(features.each_ref()))
        };
        if self.config.eval.baselines {
            let untrained = model::first_state(self.config, self.images.train.channels);
            judgement.untrained = row("the untrained encoder", &self.masked_features(&untrained)?)?;
        }
        let unmasked = self.unmasked_features(state)?;
        let features = unmasked.each_ref().map(|features| masked(features, state));
        judgement.trained = row("the trained encoder", &features)?;
        judgement.unmasked = match is_even(state.mask.factors().as_slice()) {
            false => row("the trained encoder without the mask", &unmasked)?,
            // Neighbours and standardised probes do not see a common factor.
            true if self.config.mask.enabled => judgement.trained,
            true => Scores::default(),
        };
        if let Some(best) = best {
            judgement.best = row("the best epoch", &self.masked_features(best)?)?;
        }
        Ok(judgement)
    }

    /// The scores of features of training and test images.
    ///
    /// # Errors
    /// As [`evaluate`] if a feature is not finite.
    pub fn scores<R: Rows>(&self, [train, test]: [&R; 2]) -> Result<Scores> {
        let (train_labels, test_labels) = (&self.images.bank.labels, &self.images.test.labels);
        let classes = self.images.bank.classes;
        let settings = self.settings();
        evaluate(train, train_labels.as_deref(), test, test_labels.as_deref(), classes, &settings)
    }

    /// Accuracies of kNN with (k = 5, t = 1) and (k = 200, t = 0.1) in percent, of the masked
    /// features of `queries` among those of `bank`, after `step` steps; none without labels.
    ///
    /// # Errors
    /// `Diverged` if a feature is not finite.
    pub fn knn(
        &self,
        state: &State,
        bank: &Dataset,
        queries: &Dataset,
        step: usize,
    ) -> Result<(Option<f64>, Option<f64>)> {
        let classes = bank.classes;
        let (Some(bank_labels), Some(labels)) = (&bank.labels, &queries.labels) else {
            return Ok((None, None));
        };
        let of = |set| Ok(masked(&self.features(state, set)?, state));
        let [bank, queries] = [of(bank)?, of(queries)?];
        if !bank.is_finite() || !queries.is_finite() {
            return Err(Error::Diverged { step, part: "a feature".into() });
        }
        let found = knn(&bank, bank_labels, &queries, classes, &[KNN5, KNN200]);
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
        let watched = head(&self.images.train, self.config.eval.watch_images);
        if watched.len() < 2 {
            return Ok(None);
        }
        let features = masked(&self.features(state, &watched)?, state);
        let projections = projections(&features, state);
        Ok(Some([&features, &projections].map(Spread::of)))
    }

    /// The first `count` images of the bank.
    pub fn bank_head(&self, count: usize) -> Dataset {
        head(&self.images.bank, count)
    }

    fn settings(&self) -> EvalSettings {
        let linear = LinearProbe { epochs: self.config.eval.linear_epochs, ..Default::default() };
        // A fixed seed: runs that differ in theirs are judged by the same draws.
        EvalSettings { linear, extent: extent(self.config.eval.probes), seed: 0 }
    }

    /// The scores of the normalised pixels of training and test images; of them all, only some
    /// thousands are floats at a time.
    ///
    /// # Errors
    /// `Io` if images cannot be read.
    pub fn raw_scores(&self) -> Result<Scores> {
        let failed = RefCell::new(None);
        let of = |set| RawPixels { images: self.images, set, failed: &failed };
        let scores = self.scores([&of(&self.images.bank), &of(&self.images.test)]);
        failed.take().map_or(scores, Err)
    }

    /// The features of training and test images under the mask, `[N, D]`.
    pub fn masked_features(&self, state: &State) -> Result<[Tensor; 2]> {
        Ok(self.unmasked_features(state)?.map(|features| masked(&features, state)))
    }

    /// The features of training and test images, `[N, D]`.
    ///
    /// # Errors
    /// `Io` if images cannot be read.
    pub fn unmasked_features(&self, state: &State) -> Result<[Tensor; 2]> {
        let of = |set| self.features(state, set);
        Ok([of(&self.images.bank)?, of(&self.images.test)?])
    }

    /// The encoder's features of a set of images, `[N, D]`, with batch-norm's running moments.
    ///
    /// # Errors
    /// `Io` if images cannot be read.
    pub fn features(&self, state: &State, set: &Dataset) -> Result<Tensor> {
        let all: Vec<usize> = (0..set.len()).collect();
        let mut features = Vec::with_capacity(set.len() * state.network.encoder.features());
        for batch in all.chunks(BATCH) {
            let x = self.images.evaluation(set, batch)?;
            features.extend_from_slice(encoded(state, x).as_slice());
        }
        Ok(Tensor::from_vec(features, &[set.len(), state.network.encoder.features()]))
    }

    /// The same of normalised images `[N, H, W, C]`, such as random views.
    pub fn features_of(&self, state: &State, images: &Tensor) -> Tensor {
        let (n, len) = (images.shape()[0], images.len() / images.shape()[0].max(1));
        let mut features = Vec::new();
        for batch in images.as_slice().chunks(BATCH * len) {
            let shape = [&[batch.len() / len], &images.shape()[1..]].concat();
            features
                .extend_from_slice(encoded(state, Tensor::from_slice(batch, &shape)).as_slice());
        }
        Tensor::from_vec(features, &[n, state.network.encoder.features()])
    }
}

/// One batch through the encoder.
fn encoded(state: &State, x: Tensor) -> Tensor {
    let mut pass = Pass::eval(&state.running);
    state.network.encoder.forward(&Var::constant(x), &mut pass).value().clone()
}

/// The normalised pixels of a set, `[N, H · W · C]`, made of its bytes when they are looked at.
struct RawPixels<'a> {
    images: &'a Images,
    set: &'a Dataset,
    /// Why images could not be read, the first time; they are zeros then.
    failed: &'a RefCell<Option<Error>>,
}

impl Rows for RawPixels<'_> {
    type Value = f32;

    fn size(&self, _what: &str) -> [usize; 2] {
        [self.set.len(), self.set.size().iter().product()]
    }

    fn rows(&self, indices: &[usize]) -> Tensor {
        let shape = [indices.len(), self.set.size().iter().product()];
        match self.images.evaluation(self.set, indices) {
            Ok(pixels) => pixels.reshape(&shape),
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error);
                Tensor::zeros(&shape)
            }
        }
    }
}

/// The probes in evaluation's own words.
pub(super) fn extent(probes: Probes) -> Extent {
    match probes {
        Probes::Quick => Extent::Quick,
        Probes::Full => Extent::Full,
    }
}

/// The first `count` images of a set.
fn head(set: &Dataset, count: usize) -> Dataset {
    set.subset(&(0..count.min(set.len())).collect::<Vec<_>>())
}

/// Whether a mask weighs all features alike, so that neighbours do not see it.
fn is_even(factors: &[f32]) -> bool {
    factors.iter().all(|&factor| factor == factors[0])
}

/// The base method's projections of masked features `[N, D]`, with batch-norm's running moments.
pub fn projections(masked: &Tensor, state: &State) -> Tensor {
    let pass = &mut Pass::eval(&state.running);
    state.network.heads.project(&Var::constant(masked.clone()), pass).z.value().clone()
}

/// Features `[N, D]` times the mask's factors.
pub fn masked(features: &Tensor, state: &State) -> Tensor {
    let factors = Var::constant(state.mask.factors());
    (&Var::constant(features.clone()) * &factors).value().clone()
}
