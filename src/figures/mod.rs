//! What runs look like: figures of run folders, and the page that holds them.
//!
//! [`page`] draws one page of one or more runs, [`write()`] puts it and its figures into files.
//! Each file of this module has the figures of one question. All of them look at a few thousand
//! images at most, the same for all runs of one set, and none changes a run.

pub mod book;
mod curves;
pub mod features;
mod images;
pub mod mask;
mod time;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::config::RunConfig;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::files::write_atomically;
use crate::report::Table;
use crate::report::page::{Figure, Page, Section};
use crate::run::folder::RunFolder;
use crate::run::metrics::{self, Record, StepRecord, Summary};
use crate::run::model::State;
use crate::train::evaluate::EPOCH_BANK;
use crate::train::images::Images;
use crate::train::{Observer, load};

/// A run that is looked at.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it is called beside others: the last name of its folder.
    pub name: String,
    /// Its folder.
    pub folder: RunFolder,
    /// Its settings.
    pub config: RunConfig,
    /// Its images.
    pub images: Images,
    /// Its networks and its mask, as they are in the last checkpoint.
    pub state: State,
    /// What it recorded.
    pub records: Vec<Record>,
    /// How it ended, if it has.
    pub summary: Option<Summary>,
}

impl Run {
    /// Reads the run in the folder `dir`, which may still be going on.
    ///
    /// # Errors
    /// As [`load`] and the readers of records and summaries.
    pub fn open(dir: &Path, observer: &mut dyn Observer) -> Result<Run> {
        let (config, images, state) = load(dir, Ok, observer)?;
        let folder = RunFolder::new(dir);
        let records = metrics::read(&folder.metrics())?;
        let summary = folder.is_finished().then(|| Summary::read(&folder)).transpose()?;
        let last = std::path::absolute(dir).ok();
        let last = last.as_deref().and_then(Path::file_name);
        let name = last.map_or(dir.display().to_string(), |name| name.to_string_lossy().into());
        Ok(Run { name, folder, config, images, state, records, summary })
    }

    /// The records of its steps.
    pub fn steps(&self) -> impl Iterator<Item = &StepRecord> {
        self.records.iter().filter_map(|record| match record {
            Record::Step(step) => Some(step),
            Record::Epoch(_) => None,
        })
    }

    /// The names of its classes; of classes without names, their numbers.
    pub fn class_names(&self) -> Vec<String> {
        let Dataset { classes, class_names, .. } = &self.images.bank;
        let name = |class: usize| class_names.get(class).cloned();
        (0..*classes).map(|class| name(class).unwrap_or(class.to_string())).collect()
    }

    /// A figure of this run; its files have the run's name where there are others.
    pub(crate) fn figure(&self, name: &str, runs: usize, figure: Figure) -> Figure {
        if runs == 1 {
            return Figure { name: name.to_string(), ..figure };
        }
        let title = format!("{}: {}", self.name, figure.title);
        // What a file and an address have no trouble with.
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let own: String = self.name.chars().map(plain).collect();
        Figure { name: format!("{name}-{own}"), title, ..figure }
    }
}

/// At most `count` images of a set, in proportion to its classes: the same ones every time.
///
/// # Errors
/// As [`Dataset::hold_out`].
pub fn some(set: &Dataset, count: usize) -> Result<Dataset> {
    if count >= set.len() {
        return Ok(set.clone());
    }
    Ok(set.subset(&set.hold_out(count, 0)?.1))
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Points of a map of all runs together, at most 5,000 of one run.
    pub points: usize,
    /// Images in which neighbours are looked up.
    pub bank: usize,
}

impl Default for Extent {
    /// 2,000 points, 5,000 images.
    fn default() -> Extent {
        Extent { points: 2000, bank: EPOCH_BANK }
    }
}

/// Points of one run's map at most: its time grows with their square.
pub const MOST_POINTS: usize = 5000;
/// Runs of one page at most: beyond it neither eye nor file has room.
pub const MOST_RUNS: usize = 8;
/// Bytes of a page at most.
pub const MOST_BYTES: usize = 2_000_000;

/// Draws the page of the runs in the folders `dirs`, side by side.
///
/// # Errors
/// `Usage` if there are no runs, more than [`MOST_RUNS`], or one twice; as [`Run::open`].
pub fn page(dirs: &[&Path], extent: &Extent, observer: &mut dyn Observer) -> Result<Page> {
    if !(1..=MOST_RUNS).contains(&dirs.len()) {
        let reason = format!("{} runs, must be between 1 and {MOST_RUNS}", dirs.len());
        return Err(Error::usage("DIR", reason));
    }
    let mut runs: Vec<Run> = Vec::new();
    for dir in dirs {
        observer.note(&format!("reading {}", dir.display()));
        let mut run = Run::open(dir, observer)?;
        if runs.iter().any(|other| other.folder.root() == run.folder.root()) {
            return Err(Error::usage("DIR", format!("{} is named twice", dir.display())));
        }
        if runs.iter().any(|other| other.name == run.name) {
            run.name = format!("{}-{}", run.name, runs.len() + 1);
        }
        runs.push(run);
    }
    let count = runs.len();
    // A page has room for so many points and pictures in all.
    let points = extent.points.min(MOST_POINTS).min(2 * MOST_POINTS / count);
    let extent = Extent { points, ..*extent };
    let section = |title: &str, text: &str, figures: Vec<Figure>| Section {
        title: title.into(),
        text: text.into(),
        figures,
    };
    let mut sections = vec![section("Curves", curves::TEXT, curves::figures(&runs))];
    let mut masks = Vec::new();
    for run in &runs {
        masks.extend(mask::figures(run).into_iter().map(|(name, f)| run.figure(&name, count, f)));
    }
    sections.push(section("The mask", mask::TEXT, masks));
    // Sections by question, figures by run.
    let mut by_run = Vec::new();
    for run in &runs {
        observer.note(&format!("looking at the features of {}", run.name));
        let looked = features::look(run, &extent)?;
        let mut figures = vec![vec![features::correlation(run)?], features::maps(run, &looked)];
        figures.push(features::neighbours(run, &looked, count)?.into_iter().collect());
        figures.push(features::confusion(run, &looked).into_iter().collect());
        figures.push(vec![images::views(run, count)?]);
        figures.push(time::figure(run)?.into_iter().collect());
        let named = |(name, figure): (String, Figure)| run.figure(&name, count, figure);
        let figures = figures.into_iter().map(|f| f.into_iter().map(named).collect::<Vec<_>>());
        by_run.push(figures.collect::<Vec<_>>());
    }
    let questions = [
        ("Do dimensions repeat each other?", features::CORRELATION),
        ("Where images lie", features::MAPS),
        ("Nearest neighbours", features::NEIGHBOURS),
        ("What is taken for what", features::CONFUSION),
        ("What the networks see", images::TEXT),
        ("Where the time goes", time::TEXT),
    ];
    let mut by_question: Vec<Vec<Figure>> = vec![Vec::new(); questions.len()];
    for figures in by_run {
        by_question.iter_mut().zip(figures).for_each(|(all, own)| all.extend(own));
    }
    for ((title, text), figures) in questions.into_iter().zip(by_question) {
        sections.push(section(title, text, figures));
    }
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    Ok(Page {
        title: names.join(", "),
        text: "What these runs learned, drawn from their folders. Every drawing is beside this \
               page as SVG, its numbers as CSV."
            .into(),
        tables: vec![("Results".into(), results(&runs)), ("Runs".into(), settings(&runs))],
        sections,
    })
}

/// Writes the page to `out` and its figures into a folder beside it, which has the page's name and
/// `-figures` behind it.
///
/// # Errors
/// `Io` if the system refuses; `Wrong` if the page is larger than [`MOST_BYTES`].
pub fn write(page: &Page, out: &Path) -> Result<()> {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}-figures");
    let folder = out.with_file_name(&name);
    let html = page.html(&name);
    if html.len() >= MOST_BYTES {
        let what = format!("the page would have {} bytes: show fewer runs or points", html.len());
        return Err(Error::Wrong { what });
    }
    write_figures(page.figures(), &folder)?;
    write_atomically(out, html.as_bytes())
}

/// Writes each figure as `NAME.svg` and `NAME.csv` into a folder.
///
/// # Errors
/// `Io` if the system refuses.
pub fn write_figures<'a>(figures: impl Iterator<Item = &'a Figure>, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    for Figure { name, title, svg, data, .. } in figures {
        write_atomically(&folder.join(format!("{name}.svg")), svg.file(title).as_bytes())?;
        write_atomically(&folder.join(format!("{name}.csv")), data.to_csv().as_bytes())?;
    }
    Ok(())
}

/// What the runs' features are worth, a row a run and kind of features.
fn results(runs: &[Run]) -> Table {
    let mut table =
        Table::new(&["run", "features", "kNN k=5", "kNN k=200", "linear", "1 % labels"]);
    for run in runs {
        let Some(summary) = &run.summary else { continue };
        let found = &summary.judgement;
        let rows = [
            ("raw pixels", found.raw),
            ("untrained encoder", found.untrained),
            ("trained", found.trained),
            ("trained, without the mask", found.unmasked),
            ("best epoch", found.best),
        ];
        for (name, scores) in rows {
            let figures = [scores.knn5, scores.knn200, scores.linear, scores.probe_1pct];
            if figures.iter().any(Option::is_some) {
                let words: [Value; 2] = [run.name.as_str().into(), name.into()];
                table.push(words.into_iter().chain(figures.map(Value::from)).collect());
            }
        }
    }
    table
}

/// What the runs were.
fn settings(runs: &[Run]) -> Table {
    let columns =
        ["run", "trained", "encoder", "images", "epochs", "batch", "seed", "steps", "minutes"];
    let mut table = Table::new(&columns);
    for run in runs {
        let config = &run.config;
        let steps = run.steps().last().map_or(0, |step| step.step);
        let minutes = run.records.last().map(|record| record.elapsed() / 60.0);
        table.push(vec![
            run.name.as_str().into(),
            config.title().into(),
            config.model.in_words().into(),
            format!("{} of {}", run.images.train.len(), config.data.name).into(),
            config.epochs.into(),
            config.batch_size.into(),
            config.seed.into(),
            steps.into(),
            minutes.into(),
        ]);
    }
    table
}
