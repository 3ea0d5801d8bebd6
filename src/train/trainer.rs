//! The training loop: epochs of steps, records, checkpoints, and the evaluation at the end.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::diverged::{self, Dump};
use super::evaluate::{EPOCH_BANK, Judge};
use super::images::Images;
use super::prefetch::{Course, Prefetch};
use super::start::{INIT_KEY, Start, first_state, last_state};
use super::team::{Team, together};
use super::{Observer, Plan, Stop};
use crate::comm::Ranks;
use crate::config::{Every, Method, RunConfig};
use crate::error::{Error, Result};
use crate::eval::collapse::mask_entropy;
use crate::files::check_writable;
use crate::metamask::{Moved, Settings, StepReport};
use crate::optim::norm;
use crate::run::folder::{Lock, RunFolder, shell_path};
use crate::run::metrics::{
    Best, EpochRecord, Metrics, Record, StepRecord, Summary, peak_memory_bytes, records_mask,
    rounded,
};
use crate::run::model::{self, State};
use crate::run::settings::settings;
use crate::tensor::Tensor;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The run was trained to its end and evaluated.
    Done(Summary),
    /// The run had already finished: nothing was left to do.
    AlreadyFinished(Summary),
}

/// Trains a new run in the folder `out` and evaluates it, on all `ranks` together.
///
/// It writes `config.toml` and a first checkpoint before the first step, then a checkpoint at the
/// end of each epoch and as often as `checkpoint_every` says, and keeps the last two.
///
/// # Errors
/// `Usage` if the settings make no sense or the folder has a run; the errors of the readers of
/// images and weights; `Diverged` when a loss or the state is not finite (the last good checkpoint
/// stays); `Interrupted` when `stop` requests it (the state is saved); `Io` if a file cannot be
/// written. All ranks return the error of the rank that failed.
pub fn run_on(
    ranks: &Ranks,
    config: &RunConfig,
    out: &Path,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<Summary> {
    config.check()?;
    let team = Team::new(ranks, config);
    team.check_settings(config)?;
    let mut config = config.clone();
    for path in [&mut config.data.path, &mut config.init] {
        // An absolute path: the run can resume from any working folder.
        if !path.is_empty() {
            let absolute = std::path::absolute(&*path).map_err(|e| Error::io(&*path, e))?;
            *path = absolute.display().to_string();
        }
    }
    // All checks come before the folder is touched.
    let images = team.all(Images::load(&config))?;
    images.notes.iter().for_each(|note| observer.note(note));
    if config.method == Method::Nnclr && config.loss.queue > images.train.len() {
        let (queue, images) = (config.loss.queue, images.train.len());
        observer.note(&format!(
            "warning: loss.queue is {queue}, more than the {images} training images; cut to \
             {images}"
        ));
        config.loss.queue = images;
    }
    let start = team.all(first_state(&config, &images, observer))?;
    let folder = RunFolder::new(out);
    let lock = team.first(|| folder.create(&config))?;
    Run::open(team, config, folder, lock, images, start)?.train(observer, stop)
}

/// Resumes the run in the folder `dir` from its checkpoint, or from the start if there is none, on
/// all `ranks` together; their number may differ from before.
///
/// # Errors
/// Those of [`run_on`]; `Format` if the checkpoint is damaged or belongs to other settings; `Io`
/// before the first step if no checkpoint can be written.
pub fn resume_on(
    ranks: &Ranks,
    dir: &Path,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<Outcome> {
    let folder = RunFolder::new(dir);
    let config = together(ranks, folder.read_config())?;
    let team = Team::new(ranks, &config);
    team.check_settings(&config)?;
    let lock = team.first(|| folder.lock())?;
    if folder.is_finished() {
        return Ok(Outcome::AlreadyFinished(Summary::read(&folder)?));
    }
    // A read-only folder fails now, not after the steps to the next checkpoint.
    team.first(|| check_writable(&folder.checkpoint()))?;
    let mut images = team.all(Images::load(&config))?;
    let last = team.all(last_state(&config, &mut images, &folder, observer))?;
    let start = match last {
        Some(start) => start,
        None => team.all(first_state(&config, &images, observer))?,
    };
    team.first(|| start.put_aside(&folder))?;
    Run::open(team, config, folder, lock, images, start)?.train(observer, stop).map(Outcome::Done)
}

/// Loads the settings, images and weights of the run in `dir`, after `change` is applied to its
/// settings; notes that a run has not reached its last epoch.
///
/// # Errors
/// Those of the readers of settings, images and checkpoints.
pub fn load(
    dir: &Path,
    change: impl FnOnce(RunConfig) -> Result<RunConfig>,
    observer: &mut dyn Observer,
) -> Result<(RunConfig, Images, State)> {
    let folder = RunFolder::new(dir);
    let own = folder.read_config()?;
    let config = change(own.clone())?;
    let mut images = Images::load(&config)?;
    let Some(start) = last_state(&own, &mut images, &folder, observer)? else {
        return Err(Error::io(folder.checkpoint(), ErrorKind::NotFound.into()));
    };
    let Start { state, step, epoch, .. } = start;
    if epoch < own.epochs {
        let epochs = own.epochs;
        observer.note(&format!(
            "the run is not finished: this is epoch {epoch} of {epochs}, step {step}"
        ));
    }
    Ok((config, images, state))
}

/// A run in progress.
struct Run {
    team: Team,
    config: RunConfig,
    folder: RunFolder,
    images: Arc<Images>,
    /// Present on rank 0 only.
    metrics: Option<Metrics>,
    /// Absent only during a step.
    state: Option<State>,
    /// Steps done.
    step: usize,
    /// Records of the epoch in progress.
    epoch_records: Vec<StepRecord>,
    /// Training time when the epoch in progress began, in seconds.
    epoch_start: f64,
    /// The best epoch so far, if images are held out for that choice.
    best: Option<Best>,
    /// SHA-256 of the file that the first weights came from.
    init_sha256: Option<String>,
    clock: Clock,
    /// When the state was last saved or read.
    saved: Instant,
    /// Present on rank 0 only.
    _lock: Option<Lock>,
}

impl Run {
    fn open(
        team: Team,
        config: RunConfig,
        folder: RunFolder,
        lock: Option<Lock>,
        images: Images,
        Start { state, step, init_sha256, .. }: Start,
    ) -> Result<Run> {
        team.check_same(&config, &state, step, images.train.len())?;
        let records = team.first(|| Metrics::open(&folder.metrics(), step))?;
        let (metrics, kept) = records.map_or((None, Vec::new()), |(m, kept)| (Some(m), kept));
        let epoch = step / images.steps_per_epoch(&config) + 1;
        let clock = Clock::after(kept.last().map_or(0.0, Record::elapsed));
        let (mut epoch_records, mut epoch_start, mut best) = (Vec::new(), 0.0, None);
        for record in kept {
            if let Record::Epoch(record) = &record {
                best = Best::or(best, record);
            }
            match record {
                Record::Step(record) if record.epoch == epoch => epoch_records.push(record),
                earlier => epoch_start = earlier.elapsed(),
            }
        }
        let state = Some(state);
        Ok(Run {
            team,
            config,
            folder,
            images: Arc::new(images),
            metrics,
            state,
            step,
            epoch_records,
            epoch_start,
            best,
            init_sha256,
            clock,
            saved: Instant::now(),
            _lock: lock,
        })
    }

    fn state(&self) -> &State {
        self.state.as_ref().expect("every step hands the state back")
    }

    fn train(mut self, observer: &mut dyn Observer, stop: &Stop) -> Result<Summary> {
        let steps_per_epoch = self.images.steps_per_epoch(&self.config);
        let (epochs, batch_size) = (self.config.epochs, self.config.batch_size);
        observer.begin(&Plan {
            parameters: model::parameter_count(&self.config, self.state()),
            images: self.images.train.len(),
            batch_size,
            epochs,
            steps_per_epoch,
            steps_done: self.step,
        });
        if self.step == 0 {
            self.save()?;
        }
        let team = self.team.clone();
        self.clock.restart();
        let (seed, from, steps) = (self.config.seed, self.step, epochs * steps_per_epoch);
        let part = [team.ranks.rank(), team.ranks.size()];
        let course = Course { seed, batch_size, part, from, steps };
        let mut views = team.all(Prefetch::new(Arc::clone(&self.images), course))?;
        while self.step < steps {
            let epoch = self.step / steps_per_epoch;
            let views = team.all(views.take())?;
            team.all(self.take_step(&views, epoch, steps_per_epoch, observer))?;
            let ended = self.step % steps_per_epoch == 0;
            let due = match self.config.checkpoint_every {
                Every::Steps(count) => count > 0 && self.step % count == 0,
                Every::Seconds(seconds) => self.saved.elapsed() >= Duration::from_secs(seconds),
            };
            let (due, signal) = team.agree(due, stop.requested());
            let saves = ended || due || signal.is_some();
            if saves {
                // Checked before the epoch's evaluation, which needs finite features.
                team.all(self.check_finite(observer))?;
            }
            if ended {
                team.first(|| self.end_epoch(epoch, observer))?;
                self.epoch_records.clear();
            }
            if saves {
                self.save()?;
            }
            if let Some(signal) = signal {
                return Err(Error::Interrupted { signal });
            }
        }
        drop(views);
        team.tell(steps - from, observer);
        let summary = team.first(|| self.finish(observer, stop))?;
        team.share(summary)
    }

    fn take_step(
        &mut self,
        views: &Tensor,
        epoch: usize,
        steps_per_epoch: usize,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let settings = settings(&self.config, self.step, steps_per_epoch);
        let state = self.state.take().expect("every step hands the state back");
        let (state, report) = self.team.step(state, views, &settings);
        self.state = Some(state);
        self.step += 1;
        if let Some(place) = &report.non_finite {
            let layer = match &place.layer {
                Some(layer) => format!("first in the layer {layer}"),
                None => "the weights of all layers are finite".to_string(),
            };
            let part = format!("{} ({layer})", place.part);
            return Err(self.diverged(part, place.moved, observer));
        }
        let record = self.record(&report, epoch, &settings);
        self.metrics.as_mut().map_or(Ok(()), |m| m.add(&Record::Step(record.clone())))?;
        observer.step(&record);
        self.epoch_records.push(record);
        Ok(())
    }

    fn record(&self, report: &StepReport<f32>, epoch: usize, settings: &Settings) -> StepRecord {
        let mask = report.mask.as_ref();
        let meta = mask.and_then(|mask| mask.meta.as_ref());
        let agreement = mask.and_then(|mask| mask.agreement);
        let steps = self.config.epochs * self.images.steps_per_epoch(&self.config);
        StepRecord {
            step: self.step,
            epoch: epoch + 1,
            loss: report.loss,
            loss_con: report.loss_con,
            loss_drr: report.loss_drr,
            lr: settings.optimizer.lr(),
            grad_norm: report.gradient_norm,
            mask_lr: mask.map(|_| settings.mask_optimizer.lr()),
            outer_loss: meta.map(|meta| f64::from(meta.outer_loss)),
            mask_grad_norm: mask.map(|mask| mask.gradient_norm),
            second_order_norm: meta.map(|meta| norm(std::slice::from_ref(&meta.second_order))),
            meta_cosine: agreement.map(|found| found.gradient),
            meta_error: agreement.map(|found| found.gradient_error),
            second_order_cosine: agreement.map(|found| found.second_order),
            second_order_error: agreement.map(|found| found.second_order_error),
            mask: mask
                .filter(|_| records_mask(self.step, steps))
                .map(|_| self.state().mask.factors().to_vec()),
            elapsed: self.clock.elapsed(),
        }
    }

    fn end_epoch(&mut self, epoch: usize, observer: &mut dyn Observer) -> Result<()> {
        let records = std::mem::take(&mut self.epoch_records);
        let count = records.len() as f64;
        let mean = |of: &dyn Fn(&StepRecord) -> Option<f64>| -> Option<f64> {
            let values: Option<Vec<f64>> = records.iter().map(of).collect();
            values.map(|values| values.iter().sum::<f64>() / count)
        };
        let elapsed = self.clock.elapsed();
        let seconds = elapsed - self.epoch_start;
        let mask = self.config.mask.enabled.then(|| self.state().mask.factors().to_vec());
        let mask_of = |f: &dyn Fn(&[f32]) -> f32| mask.as_deref().map(|mask| f64::from(f(mask)));
        let judge = Judge::new(&self.images, &self.config);
        let (knn5, knn200) = match self.config.eval.every {
            every if every > 0 && (epoch + 1) % every == 0 => {
                judge.knn(self.state(), &self.images.bank, &self.images.test, self.step)?
            }
            _ => (None, None),
        };
        let (val_knn5, val_knn200) = match &self.images.val {
            Some(val) => judge.knn(self.state(), &judge.bank_head(EPOCH_BANK), val, self.step)?,
            None => (None, None),
        };
        let [features, projections] =
            judge.spread(self.state())?.map_or([None; 2], |spreads| spreads.map(Some));
        for (what, spread) in [("features", features), ("projections", projections)] {
            if let Some(words) = spread.and_then(|spread| spread.collapse()) {
                observer.note(&format!("warning: the {what} have collapsed: {words}"));
            }
        }
        let record = EpochRecord {
            step: self.step,
            epoch: epoch + 1,
            loss: mean(&|r| Some(r.loss)).unwrap_or(f64::NAN),
            loss_con: mean(&|r| Some(r.loss_con)).unwrap_or(f64::NAN),
            loss_drr: mean(&|r| r.loss_drr),
            mask_min: mask_of(&|m| m.iter().copied().fold(f32::INFINITY, f32::min)),
            mask_mean: mask_of(&|m| m.iter().sum::<f32>() / m.len() as f32),
            mask_max: mask_of(&|m| m.iter().copied().fold(f32::NEG_INFINITY, f32::max)),
            mask_entropy: mask.as_deref().map(mask_entropy),
            feature_std: features.map(|spread| spread.std),
            effective_rank: features.map(|spread| spread.rank),
            feature_correlation: features.map(|spread| spread.correlation),
            projection_std: projections.map(|spread| spread.std),
            projection_rank: projections.map(|spread| spread.rank),
            knn5,
            knn200,
            val_knn5,
            val_knn200,
            images_per_second: count * self.config.batch_size as f64 / seconds,
            seconds,
            elapsed,
        };
        // Evaluation does not count as training time.
        self.clock = Clock::after(elapsed);
        self.epoch_start = elapsed;
        let best = Best::or(self.best, &record);
        if best != self.best {
            // Written before its record: a run killed in between repeats this step.
            self.best = best;
            let checkpoint = model::checkpoint(&self.config, self.state(), self.step, epoch + 1);
            checkpoint.write(&self.folder.best())?;
        }
        self.metrics.as_mut().map_or(Ok(()), |m| m.add(&Record::Epoch(record.clone())))?;
        observer.epoch(&record);
        Ok(())
    }

    /// Refuses a state that is not finite: a run could not resume from it.
    fn check_finite(&self, observer: &mut dyn Observer) -> Result<()> {
        match self.state().first_non_finite() {
            Some(place) => {
                Err(self.diverged(format!("the state ({place})"), Moved::Networks, observer))
            }
            None => Ok(()),
        }
    }

    /// Ends a run in which `part` is not finite: finds, saves and reports the bad step.
    fn diverged(&self, part: String, moved: Moved, observer: &mut dyn Observer) -> Error {
        if !self.team.ranks.is_first() {
            return Error::Diverged { step: self.step, part };
        }
        observer.note(&format!("{part} is not finite: looking for the first value that is not"));
        let kept = self.folder.checkpoint();
        let last = format!("the last good state is kept in {}", kept.display());
        let dump = match moved {
            Moved::Nothing if self.state().first_non_finite().is_none() => {
                Dump::new(&self.config, &self.images, self.state().clone(), self.step - 1).map(Some)
            }
            _ => diverged::find(&self.config, &self.images, &self.folder, self.step),
        };
        let error = match dump {
            Ok(Some(mut dump)) => {
                dump.told = dump.cause();
                dump.told.iter().for_each(|line| observer.note(line));
                let path = self.folder.diverged();
                observer.note(&match dump.write(&path) {
                    Ok(()) => {
                        let path = shell_path(&path);
                        format!("the step is kept; look at it: dimask replay {path}")
                    }
                    Err(error) => format!("the step could not be kept: {error}"),
                });
                let part = dump.told.first().cloned().unwrap_or(part);
                Error::Diverged { step: dump.step + 1, part }
            }
            Ok(None) => Error::Diverged { step: self.step, part },
            Err(error) => {
                observer.note(&format!("the step could not be taken again: {error}"));
                Error::Diverged { step: self.step, part }
            }
        };
        observer.note(&last);
        error
    }

    /// Writes the checkpoint; the state is finite, and the same on all ranks.
    fn save(&mut self) -> Result<()> {
        let (team, images) = (self.team.clone(), self.images.train.len());
        team.check_same(&self.config, self.state(), self.step, images)?;
        team.first(|| self.write_checkpoint())?;
        Ok(())
    }

    fn write_checkpoint(&mut self) -> Result<()> {
        // Records go first: no checkpoint is ahead of them.
        self.metrics.as_mut().map_or(Ok(()), Metrics::sync)?;
        let epoch = self.step / self.images.steps_per_epoch(&self.config);
        let mut checkpoint = model::checkpoint(&self.config, self.state(), self.step, epoch);
        model::store_normalization(&mut checkpoint, self.images.normalization());
        if let Some(sha256) = &self.init_sha256 {
            checkpoint.meta.insert(INIT_KEY.into(), sha256.as_str().into());
        }
        checkpoint.write_keeping(&self.folder.checkpoint(), &self.folder.previous())?;
        self.saved = Instant::now();
        Ok(())
    }

    fn finish(self, observer: &mut dyn Observer, stop: &Stop) -> Result<Summary> {
        let began = Instant::now();
        let judge = Judge::new(&self.images, &self.config);
        let earlier = self.best.filter(|best| best.epoch < self.config.epochs);
        let best = match earlier {
            Some(_) => {
                let channels = self.images.train.channels;
                let path = self.folder.best();
                Some(model::read_checkpoint(&self.config, channels, &path)?.0)
            }
            None => None,
        };
        let mut judgement = judge.all(self.state(), best.as_ref(), observer, stop)?;
        if self.best.is_some() && earlier.is_none() {
            judgement.best = judgement.trained;
        }
        let images = self.step * self.config.batch_size;
        let seconds = self.epoch_start; // Set at the end of the last epoch.
        let summary = Summary {
            judgement: judgement.rounded(),
            best_epoch: self.best.map(|best| best.epoch),
            judging_seconds: rounded(began.elapsed().as_secs_f64(), 3),
            seconds: rounded(seconds, 3),
            images_per_second: rounded(images as f64 / seconds, 1),
            peak_memory_bytes: peak_memory_bytes(),
            seed: self.config.seed,
            weights_sha256: model::weights_sha256(&self.config, self.state(), self.step),
            config_sha256: self.config.sha256(),
            init_sha256: self.init_sha256,
        };
        summary.write(&self.folder)?;
        Ok(summary)
    }
}
