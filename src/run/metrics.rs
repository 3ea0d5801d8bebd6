//! The records of a run: one line of JSON per step and per epoch, and the summary at the end.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use crate::error::{Error, Result};
use crate::eval::Scores;
use crate::files::write_atomically;

/// A line of `metrics.jsonl`, told apart by its key `kind`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// The figures of a step.
    Step(StepRecord),
    /// The summary of an epoch.
    Epoch(EpochRecord),
}

impl Record {
    fn step(&self) -> usize {
        match self {
            Record::Step(record) => record.step,
            Record::Epoch(record) => record.step,
        }
    }

    /// Training time so far, in seconds.
    pub fn elapsed(&self) -> f64 {
        match self {
            Record::Step(record) => record.elapsed,
            Record::Epoch(record) => record.elapsed,
        }
    }
}

/// The figures of a step. Absent figures are `null`: a plain method has no mask gradient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Steps done, this one included.
    pub step: usize,
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The loss that the networks descended.
    pub loss: f64,
    /// The base method's loss, unweighted.
    pub loss_con: f64,
    /// The redundancy loss, unweighted, in the configuration's unit.
    pub loss_drr: Option<f64>,
    /// The networks' learning rate.
    pub lr: f64,
    /// Euclidean norm of the networks' gradient.
    pub grad_norm: f64,
    /// The mask's learning rate.
    pub mask_lr: Option<f64>,
    /// The outer loss: the base method's loss at the trial weights.
    pub outer_loss: Option<f64>,
    /// Euclidean norm of the mask logits' gradient.
    pub mask_grad_norm: Option<f64>,
    /// Euclidean norm of that gradient's second-order part.
    pub second_order_norm: Option<f64>,
    /// Cosine between the mask's gradient and its finite difference, on the steps that compare.
    pub meta_cosine: Option<f64>,
    /// Length of their difference over that of the gradient.
    pub meta_error: Option<f64>,
    /// Cosine between the second-order parts alone.
    pub second_order_cosine: Option<f64>,
    /// Length of their difference over that of the second-order part.
    pub second_order_error: Option<f64>,
    /// The mask's factors after the step, on [`MASKS`] steps of a run at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<Vec<f32>>,
    /// Training time so far, in seconds.
    pub elapsed: f64,
}

/// How many times a run records its mask: at even distances and at the end.
pub const MASKS: usize = 200;

/// Whether the mask is recorded after step `step` of `steps` in all.
///
/// It depends on nothing else, so that a resumed run records the same steps.
pub fn records_mask(step: usize, steps: usize) -> bool {
    step == steps || step % steps.div_ceil(MASKS) == 0
}

/// The summary of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Steps done.
    pub step: usize,
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The mean of its steps' losses.
    pub loss: f64,
    /// The mean of its steps' losses of the base method.
    pub loss_con: f64,
    /// The mean of its steps' redundancy losses.
    pub loss_drr: Option<f64>,
    /// The least entry of the mask.
    pub mask_min: Option<f64>,
    /// The mean of the mask.
    pub mask_mean: Option<f64>,
    /// The greatest entry of the mask.
    pub mask_max: Option<f64>,
    /// The entropy of the mask, 1 where all features count the same.
    pub mask_entropy: Option<f64>,
    /// The spread of features of length 1, times the root of their number; 0 is a collapse.
    pub feature_std: Option<f64>,
    /// The number of dimensions that the features use.
    pub effective_rank: Option<f64>,
    /// The mean absolute correlation between two different dimensions.
    pub feature_correlation: Option<f64>,
    /// The spread of the base method's projections of length 1, as that of the features.
    pub projection_std: Option<f64>,
    /// The number of dimensions that the projections use.
    pub projection_rank: Option<f64>,
    /// Accuracy of kNN with k = 5 and t = 1, in percent, where the epoch was judged.
    pub knn5: Option<f64>,
    /// Accuracy of kNN with k = 200 and t = 0.1, in percent, where the epoch was judged.
    pub knn200: Option<f64>,
    /// The same of the images held out to choose the best epoch, if any.
    #[serde(default)]
    pub val_knn5: Option<f64>,
    /// The same with k = 200; the best epoch is the first with the greatest figure here.
    #[serde(default)]
    pub val_knn200: Option<f64>,
    /// Training images per second; each makes two views.
    pub images_per_second: f64,
    /// Training time of the epoch, in seconds.
    pub seconds: f64,
    /// Training time so far, in seconds.
    pub elapsed: f64,
}

/// The final figures.
///
/// In the file the scores of a row have its prefix, as in `raw_knn5`: accuracies in percent, `null`
/// where they are not known. Accuracies are rounded to two places, times to milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The accuracies of the features.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// The epoch that was best on the images held out for it; absent if there are none.
    #[serde(default)]
    pub best_epoch: Option<usize>,
    /// Training time, in seconds, without evaluation.
    pub seconds: f64,
    /// Time of the last judgement, in seconds; absent in old files.
    #[serde(default)]
    pub judging_seconds: f64,
    /// Training images per second; each makes two views.
    pub images_per_second: f64,
    /// The most memory the process has held; `null` where the system does not say.
    pub peak_memory_bytes: Option<u64>,
    /// The run's seed.
    pub seed: u64,
    /// SHA-256 of the final weights.
    pub weights_sha256: String,
    /// SHA-256 of the settings' canonical form.
    pub config_sha256: String,
    /// SHA-256 of the file that the first weights came from, if they came from one: with the
    /// settings' the same, so are the runs.
    #[serde(default)]
    pub init_sha256: Option<String>,
}

/// A figure rounded to a number of decimal places.
pub(crate) fn rounded(figure: f64, places: i32) -> f64 {
    let unit = 10f64.powi(places);
    (figure * unit).round() / unit
}

/// The accuracies that a run reports, in rows; a row that was not requested is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Of the normalised pixels themselves.
    pub raw: Scores,
    /// Of the encoder with the weights drawn from the run's seed.
    pub untrained: Scores,
    /// Of the trained encoder's features without the mask, where there is one.
    pub unmasked: Scores,
    /// Of the masked features after the epoch that was best on the images held out for it.
    pub best: Scores,
    /// Of the trained encoder's masked features.
    pub trained: Scores,
}

impl Judgement {
    /// The rows, each with the prefix of its scores in files.
    pub fn rows(&self) -> [(&'static str, Scores); 5] {
        [
            ("", self.trained),
            ("raw_", self.raw),
            ("untrained_", self.untrained),
            ("unmasked_", self.unmasked),
            ("best_", self.best),
        ]
    }

    /// The same in percent of two places.
    pub(crate) fn rounded(self) -> Judgement {
        let row = |scores: Scores| {
            let named = BTreeMap::from(scores.named());
            Scores::from_named(|name| named[name].map(|score| rounded(score, 2)))
        };
        Judgement {
            raw: row(self.raw),
            untrained: row(self.untrained),
            unmasked: row(self.unmasked),
            best: row(self.best),
            trained: row(self.trained),
        }
    }
}

impl Serialize for Judgement {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (prefix, scores) in self.rows() {
            for (name, score) in scores.named() {
                map.serialize_entry(&format!("{prefix}{name}"), &score)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Judgement {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let figures = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
        let row = |prefix: &str| {
            Scores::from_named(|name| figures.get(&format!("{prefix}{name}"))?.as_f64())
        };
        Ok(Judgement {
            trained: row(""),
            raw: row("raw_"),
            untrained: row("untrained_"),
            unmasked: row("unmasked_"),
            best: row("best_"),
        })
    }
}

impl Summary {
    /// Writes `summary.json`.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub fn write(&self, folder: &RunFolder) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("numbers and text are JSON");
        write_atomically(&folder.summary(), (text + "\n").as_bytes())
    }

    /// Reads `summary.json`.
    ///
    /// # Errors
    /// `Io` if it cannot be read, `Format` if it is not a summary.
    pub fn read(folder: &RunFolder) -> Result<Summary> {
        let path = folder.summary();
        let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        serde_json::from_str(&text).map_err(|e| {
            Error::format(&path, format!("line {}", e.line()), "a run's summary", e.to_string())
        })
    }
}

/// The epoch with the greatest accuracy on the images held out for it, the first of several.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Its accuracy.
    pub score: f64,
}

impl Best {
    /// The better of what was best so far and another epoch.
    pub fn or(best: Option<Best>, record: &EpochRecord) -> Option<Best> {
        let Some(score) = record.val_knn200 else { return best };
        match best {
            Some(best) if best.score >= score => Some(best),
            _ => Some(Best { epoch: record.epoch, score }),
        }
    }
}

/// The file of records, open for adding.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Metrics {
    /// Opens the file, drops every record after `step` and returns those that stay.
    ///
    /// A line that is no record, as a crash may leave, ends the file.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub fn open(path: &Path, step: usize) -> Result<(Metrics, Vec<Record>)> {
        let refused = |e| Error::io(path, e);
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(refused(e)),
        };
        let (mut kept, mut len) = (Vec::new(), 0);
        for line in text.split_inclusive('\n') {
            match serde_json::from_str::<Record>(line) {
                Ok(record) if line.ends_with('\n') && record.step() <= step => kept.push(record),
                _ => break,
            }
            len += line.len();
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(path).map_err(refused)?;
        file.set_len(len as u64).map_err(refused)?;
        Ok((Metrics { path: path.to_path_buf(), file: BufWriter::new(file) }, kept))
    }

    /// Adds a record; at the latest after an epoch's it can be read in the file.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub fn add(&mut self, record: &Record) -> Result<()> {
        let line = serde_json::to_string(record).expect("numbers are JSON");
        let written = writeln!(self.file, "{line}").and_then(|()| self.file.flush());
        written.map_err(|e| Error::io(&self.path, e))
    }

    /// Makes what was added safe against a crash of the machine.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub fn sync(&mut self) -> Result<()> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|e| Error::io(&self.path, e))
    }
}

/// Reads the records of a run, which may still be in progress.
///
/// # Errors
/// `Io` if the file cannot be read; `Format` naming the line that is no record, unless it is the
/// last one and unfinished.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let text = fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let record = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| {
            let place = format!("line {}", number + 1);
            Error::format(path, place, "a record of a step or an epoch", e.to_string())
        })
    };
    whole.enumerate().map(record).collect()
}

/// The most memory this process has held, in bytes, where the system says.
pub fn peak_memory_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// The memory of this process now, in bytes, where the system says so.
pub fn memory_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::TempDir;

    fn step(step: usize) -> Record {
        Record::Step(StepRecord { step, epoch: 1, loss: 0.1 + step as f64, ..Default::default() })
    }

    #[test]
    fn reopening_drops_what_came_after_the_checkpoint() {
        let dir = TempDir::new("metrics");
        let path = dir.path().join("metrics.jsonl");
        let (mut metrics, kept) = Metrics::open(&path, 0).unwrap();
        assert!(kept.is_empty());
        let epoch = Record::Epoch(EpochRecord { step: 2, epoch: 1, ..Default::default() });
        for record in [step(1), step(2), epoch.clone(), step(3)] {
            metrics.add(&record).unwrap();
        }
        drop(metrics);
        let mut text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"kind\":\"step\",\"step\":1,\"epoch\":1,\"loss\":1.1,"));
        text.push_str("{\"kind\":\"step\",\"st"); // As a kill in the middle of a write leaves it.
        fs::write(&path, text).unwrap();

        assert_eq!(read(&path).unwrap().len(), 4, "a run that goes on can be read");
        let (mut metrics, kept) = Metrics::open(&path, 2).unwrap();
        assert_eq!(kept, [step(1), step(2), epoch]);
        metrics.add(&step(3)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 4);
        fs::write(&path, "{}\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("line 1: expected a record"), "{error}");
    }

    #[test]
    fn a_run_records_its_mask_often_enough_and_not_too_often() {
        for steps in [1, 7, 199, 200, 201, 780, 77_600] {
            let count = (1..=steps).filter(|&step| records_mask(step, steps)).count();
            assert!((steps.min(MASKS / 2)..=MASKS).contains(&count), "{steps} steps: {count}");
            assert!(records_mask(steps, steps));
        }
    }

    #[test]
    fn figures_of_a_summary_have_no_noise() {
        let noisy = 100.0 * 0.433; // 43.300000000000004
        let scores = Scores { knn5: Some(noisy), linear: Some(200.0 / 3.0), ..Scores::default() };
        let judgement = Judgement { best: scores, ..Judgement::default() }.rounded();
        let found = [judgement.best.knn5, judgement.best.linear, judgement.best.knn200];
        assert_eq!(found, [Some(43.3), Some(66.67), None]);
        assert_eq!(rounded(12.345_678_9, 3).to_string(), "12.346");
    }

    #[test]
    fn peak_memory_is_known_on_linux() {
        assert_eq!(peak_memory_bytes().is_some(), cfg!(target_os = "linux"));
    }
}
