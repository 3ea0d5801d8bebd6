//! Many runs in one folder: each trained once, however often the sweep is started.

use std::path::{Path, PathBuf};

use crate::config::{RunConfig, difference};
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::run::folder::RunFolder;
use crate::run::metrics::Summary;
use crate::train::{Observer, Outcome, Stop, init_sha256, resume, run};

/// Where an experiment trains and writes, and what it reports to.
pub struct Campaign<'a> {
    /// The command line that repeats the experiment.
    pub command: &'a str,
    /// The folder for runs and results.
    pub out: &'a Path,
    /// Receives progress events.
    pub observer: &'a mut dyn Observer,
    /// The request to stop.
    pub stop: &'a Stop,
}

impl Campaign<'_> {
    /// Reports a remark.
    pub fn note(&mut self, text: &str) {
        self.observer.note(text);
    }

    /// Writes files of results into the folder, by name.
    ///
    /// # Errors
    /// `Io` if the system refuses.
    pub fn write<const N: usize>(&self, files: [(&str, String); N]) -> Result<()> {
        let write =
            |(name, text): (&str, String)| write_atomically(&self.out.join(name), text.as_bytes());
        files.into_iter().try_for_each(write)
    }
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The name of its folder.
    pub name: String,
    /// Its settings.
    pub config: RunConfig,
}

/// How a cell came to its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With a judgement.
    Finished(Box<Summary>),
    /// It left the finite numbers; in words.
    Diverged(String),
}

impl Ended {
    /// The judgement, if there is one.
    pub fn summary(&self) -> Option<&Summary> {
        match self {
            Ended::Finished(summary) => Some(summary),
            Ended::Diverged(_) => None,
        }
    }
}

/// The folder of a cell's run in the sweep's folder `out`.
pub fn folder(out: &Path, cell: &Cell) -> PathBuf {
    out.join("runs").join(&cell.name)
}

/// The judgement of a cell that has been trained already.
///
/// # Errors
/// `Usage` if the folder has a run of other settings or from other first weights; as the readers of
/// settings, summaries and first weights.
pub fn finished(out: &Path, cell: &Cell) -> Result<Option<Summary>> {
    let folder = RunFolder::new(folder(out, cell));
    if !folder.config().exists() {
        return Ok(None);
    }
    let found = folder.read_config()?;
    if let Some([own, other]) = differing(&cell.config, &found) {
        let reason = format!(
            "{} has a run of other settings ({other} instead of {own}); choose another folder",
            folder.root().display()
        );
        return Err(Error::usage("--out", reason));
    }
    if !folder.is_finished() {
        return Ok(None);
    }
    let summary = Summary::read(&folder)?;
    check_init(cell, &summary, folder.root())?;
    Ok(Some(summary))
}

/// That a run started from what is in the file of first weights now, which settings only name.
fn check_init(cell: &Cell, summary: &Summary, root: &Path) -> Result<()> {
    if summary.init_sha256 == init_sha256(&cell.config)? {
        return Ok(());
    }
    let (root, init) = (root.display(), &cell.config.init);
    let reason =
        format!("{root} has a run that started from another {init}; choose another folder");
    Err(Error::usage("--out", reason))
}

/// Trains a cell or resumes it, unless it is finished.
///
/// # Errors
/// Those of [`finished`], [`run`] and [`resume`]; a run that diverges is a result, not an error.
pub fn run_cell(cell: &Cell, campaign: &mut Campaign) -> Result<Ended> {
    let Campaign { out, observer, stop, .. } = campaign;
    if let Some(summary) = finished(out, cell)? {
        return Ok(Ended::Finished(Box::new(summary)));
    }
    let folder = folder(out, cell);
    let result = match RunFolder::new(&folder).config().exists() {
        true => resume(&folder, *observer, stop).and_then(|outcome| match outcome {
            Outcome::Done(summary) | Outcome::AlreadyFinished(summary) => {
                check_init(cell, &summary, &folder).map(|()| summary)
            }
        }),
        false => run(&cell.config, &folder, *observer, stop),
    };
    match result {
        Ok(summary) => Ok(Ended::Finished(Box::new(summary))),
        Err(e @ Error::Diverged { .. }) => Ok(Ended::Diverged(e.to_string())),
        Err(e) => Err(e),
    }
}

/// The first line in which the settings of a cell and of a run differ, but for what does not change
/// the training: whether baselines are judged too, and a queue that the run has cut to its images.
fn differing(cell: &RunConfig, found: &RunConfig) -> Option<[String; 2]> {
    let mut cell = cell.clone();
    cell.eval.baselines = found.eval.baselines;
    cell.loss.queue = cell.loss.queue.min(found.loss.queue);
    difference(&cell.canonical(), &found.canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;
    use crate::run::tests::{TempDir, write_cifar};

    fn cell(dir: &TempDir, lr: f64) -> Cell {
        let mut layers = Layers::preset("small").unwrap();
        let path = dir.path().display().to_string();
        layers.set("data.path", path.into(), "test").unwrap();
        layers.set("optimizer.lr", lr.into(), "test").unwrap();
        for setting in ["batch_size=8", "epochs=2", "mask.enabled=false", "eval.linear_epochs=2"] {
            layers.set_text(setting).unwrap();
        }
        Cell { name: "cell".into(), config: layers.finish().unwrap() }
    }

    /// Counts steps.
    struct Steps(usize, Option<(usize, Stop)>);

    impl Observer for Steps {
        fn step(&mut self, _: &crate::run::metrics::StepRecord) {
            self.0 += 1;
            match &self.1 {
                Some((at, stop)) if *at == self.0 => stop.request(2),
                _ => {}
            }
        }
    }

    fn train(cell: &Cell, out: &Path, observer: &mut dyn Observer, stop: &Stop) -> Result<Ended> {
        run_cell(cell, &mut Campaign { command: "again", out, observer, stop })
    }

    #[test]
    fn a_cell_is_trained_once_and_goes_on_after_a_stop() {
        let dir = TempDir::new("sweep");
        write_cifar(dir.path());
        let (out, cell) = (dir.path().join("out"), cell(&dir, 0.01));
        let stop = Stop::default();
        let mut first = Steps(0, Some((4, stop.clone())));
        let stopped = train(&cell, &out, &mut first, &stop);
        assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
        let mut second = Steps(0, None);
        let ended = train(&cell, &out, &mut second, &Stop::default()).unwrap();
        assert_eq!((first.0, second.0), (4, 8), "twelve steps in all");
        let mut third = Steps(0, None);
        assert_eq!(train(&cell, &out, &mut third, &Stop::default()).unwrap(), ended);
        assert_eq!(third.0, 0);

        let mut other = cell.clone();
        other.config.eval.baselines = false;
        assert!(finished(&out, &other).unwrap().is_some());
        other.config.epochs = 3;
        let error = finished(&out, &other).unwrap_err().to_string();
        assert!(error.contains("epochs = 2 instead of epochs = 3"), "{error}");
    }

    #[test]
    fn a_finished_run_from_other_first_weights_is_refused() {
        let dir = TempDir::new("sweep-init");
        write_cifar(dir.path());
        let mut cell = cell(&dir, 0.01);
        train(&cell, &dir.path().join("first"), &mut (), &Stop::default()).unwrap();
        let of = |out: &str| RunFolder::new(folder(&dir.path().join(out), &cell)).checkpoint();
        let init = dir.path().join("init.safetensors");
        std::fs::copy(of("first"), &init).unwrap();
        cell.config.init = init.display().to_string();
        let out = dir.path().join("second");
        let ended = train(&cell, &out, &mut (), &Stop::default()).unwrap();
        assert_eq!(train(&cell, &out, &mut (), &Stop::default()).unwrap(), ended);

        let trained = RunFolder::new(folder(&out, &cell)).checkpoint();
        std::fs::copy(trained, &init).unwrap();
        let error = finished(&out, &cell).unwrap_err().to_string();
        assert!(error.contains("started from another"), "{error}");
    }

    #[test]
    fn a_run_that_diverges_is_a_result() {
        let dir = TempDir::new("sweep-diverges");
        write_cifar(dir.path());
        let ended = train(&cell(&dir, 1e30), dir.path(), &mut (), &Stop::default()).unwrap();
        assert!(
            matches!(&ended, Ended::Diverged(words) if words.contains("diverged")),
            "{ended:?}"
        );
    }
}
