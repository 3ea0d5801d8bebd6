//! The ranks that train one model together: who does what, and on what they must agree.
//!
//! Every rank makes the views of its part of each batch and runs the encoder on them; whatever
//! follows the features is computed by all ([`DataParallel`]), so that all ranks have the same
//! state after every step, to the bit. Rank 0 alone writes the run's folder and judges features.
//! The folder and the images are read by every rank, at the same paths.
//!
//! What can go wrong on one rank is told to all before they go on, so that the run ends everywhere
//! with one error, which names the rank. A rank that dies is the launcher's to notice.

use super::Observer;
use crate::comm::{Number, Ranks, Traffic};
use crate::config::{BatchNormOver, RunConfig, difference};
use crate::error::{Error, Result};
use crate::kernels::NUMERICS;
use crate::metamask::{self, Settings, StepReport, step};
use crate::nn::{self, DataParallel, Encode};
use crate::run::metrics::Summary;
use crate::run::model::{State, weights_sha256};
use crate::run::settings::instructions;
use crate::tensor::Tensor;

/// The ranks of a run; one that trains alone exchanges nothing and has its step as it is.
#[derive(Clone, Debug)]
pub struct Team {
    /// The ranks.
    pub ranks: Ranks,
    /// Where the encoder's batch-norm has its statistics from.
    pub batch_norm: nn::BatchNormOver,
}

impl Team {
    /// The team that trains with these settings.
    pub fn new(ranks: &Ranks, config: &RunConfig) -> Team {
        let batch_norm = match config.model.batch_norm {
            BatchNormOver::AllRanks => nn::BatchNormOver::AllRanks,
            BatchNormOver::EachRank => nn::BatchNormOver::EachRank,
        };
        Team { ranks: ranks.clone(), batch_norm }
    }

    /// Whether there is no other rank.
    pub fn is_alone(&self) -> bool {
        self.ranks.size() == 1
    }

    /// [`metamask::step`] on the batch of which each rank has a part, `x`: both views of its
    /// images, `[2n, H, W, C]`, view 0 first.
    ///
    /// The state is the same on all ranks, before and after.
    pub fn step<T, E>(
        &self,
        state: metamask::State<T, E>,
        x: &Tensor<T>,
        settings: &Settings,
    ) -> (metamask::State<T, E>, StepReport<T>)
    where
        T: Number,
        E: Encode<T>,
    {
        if self.is_alone() {
            return step(state, x, settings);
        }
        let (comm, batch_norm) = (self.ranks.comm::<T>(), self.batch_norm);
        let state = state.map_encoder(|encoder| {
            let comm = comm.clone();
            DataParallel { encoder, comm, batch_norm }
        });
        let (state, report) = step(state, x, settings);
        (state.map_encoder(|parallel| parallel.encoder), report)
    }

    /// [`together`] of this team.
    ///
    /// # Errors
    /// As there.
    pub fn all<R>(&self, mine: Result<R>) -> Result<R> {
        together(&self.ranks, mine)
    }

    /// What rank 0 does for all, while the others wait; none of their results on the others.
    ///
    /// # Errors
    /// As `work`, on every rank.
    pub fn first<R>(&self, work: impl FnOnce() -> Result<R>) -> Result<Option<R>> {
        let done = if self.ranks.is_first() { work().map(Some) } else { Ok(None) };
        if !self.is_alone() {
            self.ranks.wait();
        }
        self.all(done)
    }

    /// Rank 0's summary, for every rank.
    ///
    /// # Panics
    /// If rank 0 has none.
    pub fn share(&self, summary: Option<Summary>) -> Result<Summary> {
        if let (true, Some(summary)) = (self.is_alone(), &summary) {
            return Ok(summary.clone());
        }
        let text = summary.map(|summary| serde_json::to_vec(&summary));
        let text = text.transpose().expect("numbers and text are JSON").unwrap_or_default();
        let text = self.ranks.from_first(&text);
        Ok(serde_json::from_slice(&text).expect("rank 0 has a summary"))
    }

    /// Tells what the ranks have exchanged in so many steps.
    pub fn tell(&self, steps: usize, observer: &mut dyn Observer) {
        let Traffic { bytes, exchanges } = self.ranks.traffic();
        if !self.is_alone() && steps > 0 {
            let (steps, size) = (steps as f64, self.ranks.size());
            observer.note(&format!(
                "each of {size} ranks received {:.1} MB a step, in {:.0} exchanges",
                bytes as f64 / 1e6 / steps,
                exchanges as f64 / steps
            ));
        }
    }

    /// Whether rank 0 says so, and the first signal that any rank has seen.
    pub fn agree(&self, due: bool, signal: Option<i32>) -> (bool, Option<i32>) {
        if self.is_alone() {
            return (due, signal);
        }
        let signal = signal.and_then(|signal| u8::try_from(signal).ok()).unwrap_or(0);
        let all = self.ranks.gather_alike([u8::from(due), signal]);
        let signal = all.iter().map(|said| said[1]).find(|&signal| signal > 0);
        (all[0][0] > 0, signal.map(i32::from))
    }

    /// Refuses ranks that would not train the same model: of other settings, another version, or
    /// with other instructions, which round otherwise.
    ///
    /// # Errors
    /// `Usage`, naming the rank and the first difference, on every rank.
    pub fn check_settings(&self, config: &RunConfig) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let size = self.ranks.size();
        let path = std::env::var("DIMASK_CONV").unwrap_or_default();
        let own = format!(
            "{}version = {}\nnumerics = {NUMERICS}\nvector instructions = {}\n\
             DIMASK_CONV = {path:?}\n",
            config.canonical(),
            env!("CARGO_PKG_VERSION"),
            instructions(config)
        );
        let all = self.ranks.gather_bytes(own.as_bytes());
        let lines = |rank: usize| String::from_utf8_lossy(&all[rank]).into_owned();
        let first = lines(0);
        for rank in 1..size {
            let other = lines(rank);
            if let Some([a, b]) = difference(&first, &other) {
                let reason =
                    format!("rank {rank} has {b}, rank 0 has {a}: they cannot train one model");
                return Err(Error::usage("the ranks", reason));
            }
        }
        if config.batch_size % size != 0 {
            let reason =
                format!("is {}, which {size} ranks cannot share evenly", config.batch_size);
            return Err(Error::usage("batch_size", reason));
        }
        let own = config.batch_size / size;
        if own < 2 {
            let reason = format!("is {}, too few for {size} ranks", config.batch_size);
            return Err(Error::usage("batch_size", reason));
        }
        Ok(())
    }

    /// Refuses to go on where ranks have not the same weights, or not the same images.
    ///
    /// # Errors
    /// `Wrong`, naming the rank, on every rank.
    pub fn check_same(
        &self,
        config: &RunConfig,
        state: &State,
        step: usize,
        images: usize,
    ) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let own = format!(
            "{images} images, weights {} after step {step}",
            weights_sha256(config, state, step)
        );
        let all = self.ranks.gather_bytes(own.as_bytes());
        match (1..all.len()).find(|&rank| all[rank] != all[0]) {
            None => Ok(()),
            Some(rank) => {
                let [other, first] = [rank, 0].map(|rank| String::from_utf8_lossy(&all[rank]));
                let what = format!(
                    "rank {rank} has {other}, rank 0 has {first}: they no longer train one model"
                );
                Err(Error::Wrong { what })
            }
        }
    }
}

/// `mine`, if no rank has an error; else the error of the first rank that has one, on every rank.
///
/// # Errors
/// As `mine`; as `Wrong`, naming the rank, where it is another's.
pub fn together<R>(ranks: &Ranks, mine: Result<R>) -> Result<R> {
    if ranks.size() == 1 {
        return mine;
    }
    let said = mine.as_ref().map_or_else(|error| error.to_string(), |_| String::new());
    let said = ranks.gather_bytes(said.as_bytes());
    match said.iter().position(|error| !error.is_empty()) {
        Some(rank) if rank != ranks.rank() => {
            let what = format!("rank {rank}: {}", String::from_utf8_lossy(&said[rank]));
            Err(Error::Wrong { what })
        }
        _ => mine,
    }
}
