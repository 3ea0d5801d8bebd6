//! What the runs of a table say together: means, paired differences, intervals.

use serde_json::{Value, json};

use super::Variant;
use super::published::{DATA, TABLE};
use crate::config::{Method, RunConfig};
use crate::eval::Scores;
use crate::eval::interval::Interval;
use crate::experiments::sweep::Ended;
use crate::report::Table;
use crate::run::metrics::Summary;

/// Which run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The base method.
    pub method: Method,
    /// What was done to it.
    pub variant: Variant,
    /// The seed.
    pub seed: u64,
}

/// Which of a run's features a figure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Masked, after the last epoch.
    Last,
    /// Masked, after the epoch that was best on held-out training images.
    Best,
    /// After the last epoch, without the mask.
    Unmasked,
}

impl Column {
    /// All of them.
    pub const ALL: [Column; 3] = [Column::Last, Column::Best, Column::Unmasked];

    /// The name in files.
    pub fn key(self) -> &'static str {
        match self {
            Column::Last => "last",
            Column::Best => "best",
            Column::Unmasked => "unmasked",
        }
    }

    fn of(self, summary: &Summary) -> Scores {
        match self {
            Column::Last => summary.judgement.trained,
            Column::Best => summary.judgement.best,
            Column::Unmasked => summary.judgement.unmasked,
        }
    }
}

/// The runs so far.
#[derive(Clone, Debug)]
pub struct Results {
    /// The settings that the runs share: those of the first.
    pub config: RunConfig,
    /// The command that repeats them.
    pub command: String,
    /// The runs.
    pub runs: Vec<(Row, Ended)>,
}

impl Results {
    /// No runs yet.
    pub fn new(config: RunConfig, command: &str) -> Results {
        Results { config, command: command.to_string(), runs: Vec::new() }
    }

    /// Adds a run.
    pub fn add(&mut self, row: Row, ended: Ended) {
        self.runs.push((row, ended));
    }

    /// The methods and variants, in the order of the runs.
    pub fn sides(&self) -> Vec<(Method, Variant)> {
        let mut sides = Vec::new();
        for (row, _) in &self.runs {
            if !sides.contains(&(row.method, row.variant)) {
                sides.push((row.method, row.variant));
            }
        }
        sides
    }

    /// The seeds, in order.
    pub fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.runs.iter().map(|(row, _)| row.seed).collect();
        seeds.dedup();
        seeds
    }

    /// The names of the scores that some run has.
    pub fn scores(&self) -> Vec<&'static str> {
        let names = Scores::default().named().map(|(name, _)| name);
        let has = |name: &&str| {
            self.summaries().any(|(_, s)| score(&s.judgement.trained, name).is_some())
        };
        names.into_iter().filter(has).collect()
    }

    fn summaries(&self) -> impl Iterator<Item = (&Row, &Summary)> {
        self.runs.iter().filter_map(|(row, ended)| ended.summary().map(|summary| (row, summary)))
    }

    /// A figure of a side's runs, by seed.
    fn figures(
        &self,
        side: (Method, Variant),
        of: &dyn Fn(&Summary) -> Option<f64>,
    ) -> Vec<(u64, f64)> {
        let own = self.summaries().filter(|(row, _)| (row.method, row.variant) == side);
        own.filter_map(|(row, summary)| of(summary).map(|x| (row.seed, x))).collect()
    }

    /// The mean of a figure over a side's seeds.
    pub fn mean(
        &self,
        side: (Method, Variant),
        of: &dyn Fn(&Summary) -> Option<f64>,
    ) -> Option<Interval> {
        let values: Vec<f64> = self.figures(side, of).into_iter().map(|(_, x)| x).collect();
        Interval::of(&values)
    }

    /// The mean of a side's figure less its base method's at the same seed.
    pub fn difference(
        &self,
        side: (Method, Variant),
        of: &dyn Fn(&Summary) -> Option<f64>,
    ) -> Option<Interval> {
        let base = self.figures((side.0, Variant::Plain), of);
        let own = self.figures(side, of);
        let pair = |(seed, x): &(u64, f64)| {
            let other = base.iter().find(|(other, _)| other == seed);
            other.map(|(_, base)| x - base)
        };
        Interval::of(&own.iter().filter_map(pair).collect::<Vec<_>>())
    }

    /// The figure `name` of a column.
    pub fn score<'a>(column: Column, name: &'a str) -> impl Fn(&Summary) -> Option<f64> + use<'a> {
        move |summary| score(&column.of(summary), name)
    }

    /// The mean over seeds of a figure that raw pixels or the untrained encoder reach.
    pub fn baseline(&self, name: &str, of: &dyn Fn(&Summary) -> Scores) -> Option<Interval> {
        let found = self.summaries().filter_map(|(_, summary)| score(&of(summary), name));
        Interval::of(&found.collect::<Vec<_>>())
    }

    /// Training and judging time of all runs, in seconds.
    pub fn seconds(&self) -> f64 {
        self.summaries().map(|(_, summary)| summary.seconds + summary.judging_seconds).sum()
    }

    /// Every mean and every difference, a row each.
    pub fn table(&self) -> Table {
        let mut table = Table::new(&[
            "method",
            "variant",
            "score",
            "column",
            "seeds",
            "mean",
            "half_interval",
            "difference",
            "difference_half_interval",
            "difference_seeds",
        ]);
        let mut add = |side: (Method, Variant),
                       name: &str,
                       column: &str,
                       of: &dyn Fn(&Summary) -> Option<f64>| {
            let Some(mean) = self.mean(side, of) else { return };
            let difference = match side.1 {
                Variant::Plain => None,
                _ => self.difference(side, of),
            };
            let mut row: Vec<Value> = vec![side.0.key().into(), side.1.key().into()];
            row.extend([name.into(), column.into(), mean.n.into(), mean.mean.into()]);
            row.push(mean.half.into());
            row.push(difference.map(|d| d.mean).into());
            row.push(difference.map(|d| d.half).into());
            row.push(difference.map(|d| d.n).into());
            table.push(row);
        };
        for side in self.sides() {
            for name in self.scores() {
                for column in Column::ALL {
                    add(side, name, column.key(), &Results::score(column, name));
                }
            }
            add(side, "seconds", "last", &|summary| Some(summary.seconds));
        }
        table
    }

    /// Every run, a row each.
    pub fn runs(&self) -> Table {
        let names = self.scores();
        let mut columns = vec!["method".to_string(), "variant".into(), "seed".into()];
        for column in Column::ALL {
            columns.extend(names.iter().map(|name| format!("{}_{name}", column.key())));
        }
        columns.extend(["best_epoch", "seconds", "judging_seconds", "diverged"].map(String::from));
        let mut table = Table { columns, rows: Vec::new() };
        for (row, ended) in &self.runs {
            let mut cells: Vec<Value> =
                vec![row.method.key().into(), row.variant.key().into(), row.seed.into()];
            let summary = ended.summary();
            for column in Column::ALL {
                let figure =
                    |name: &&str| summary.and_then(|summary| score(&column.of(summary), name));
                cells.extend(names.iter().map(|name| Value::from(figure(name))));
            }
            cells.push(summary.and_then(|s| s.best_epoch).into());
            cells.push(summary.map(|s| s.seconds).into());
            cells.push(summary.map(|s| s.judging_seconds).into());
            cells.push(match ended {
                Ended::Diverged(words) => words.clone().into(),
                Ended::Finished(_) => Value::Null,
            });
            table.push(cells);
        }
        table
    }

    /// Everything, for programs.
    pub fn to_json(&self) -> Value {
        let published = TABLE.iter().map(|row| {
            let by_data = |values: [f64; 4]| -> Value {
                DATA.iter().zip(values).map(|(name, x)| (name.to_string(), json!(x))).collect()
            };
            json!({
                "method": row.method.key(),
                "base": by_data(row.base),
                "metamask": by_data(row.masked),
                "printed_gain": by_data(row.printed_gain),
                "error": row.error,
            })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "command": self.command,
            "settings": self.config,
            "seeds": self.seeds(),
            "seconds": self.seconds(),
            "table": self.table().to_json(),
            "runs": self.runs().to_json(),
            "published": published.collect::<Vec<_>>(),
        })
    }
}

/// The score called `name`.
fn score(scores: &Scores, name: &str) -> Option<f64> {
    scores.named().into_iter().find(|(known, _)| *known == name).and_then(|(_, score)| score)
}
