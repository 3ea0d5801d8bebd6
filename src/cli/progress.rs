//! How a run goes on, on standard error: a bar an epoch on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{output, report};
use crate::run::metrics::{EpochRecord, StepRecord};
use crate::train::{Observer, Plan};

/// Time between the plain lines of a long epoch.
const BETWEEN_LINES: Duration = Duration::from_secs(30);

/// Tells a run's progress to standard error.
pub(super) struct Progress {
    is_terminal: bool,
    plan: Option<Plan>,
    bar: Option<ProgressBar>,
    /// When training began, here.
    began: Instant,
    last_line: Instant,
}

impl Progress {
    /// Bars if standard error is a terminal, else lines.
    pub(super) fn new() -> Progress {
        let (is_terminal, now) = (std::io::stderr().is_terminal(), Instant::now());
        Progress { is_terminal, plan: None, bar: None, began: now, last_line: now }
    }

    /// Takes an unfinished bar off the screen.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Images a second and the time left, after `step` steps.
    fn pace(&self, plan: &Plan, step: usize) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let done = (step - plan.steps_done) as f64;
        let left = (plan.epochs * plan.steps_per_epoch - step) as f64 * seconds / done;
        let rate = done * plan.batch_size as f64 / seconds;
        format!("{rate:.0} images/s, {} left", report::duration(left))
    }
}

impl Observer for Progress {
    fn begin(&mut self, plan: &Plan) {
        self.began = Instant::now();
        self.last_line = self.began;
        let Plan { parameters, images, batch_size, epochs, steps_per_epoch, steps_done } = plan;
        let (epochs, steps) =
            (output::count(*epochs, "epoch"), output::count(*steps_per_epoch, "step"));
        output::progress(&format!(
            "{parameters} parameters, {images} images, {epochs} of {steps} of {batch_size}"
        ));
        if *steps_done > 0 {
            output::progress(&format!("going on after step {steps_done}"));
        }
        self.plan = Some(plan.clone());
    }

    fn step(&mut self, record: &StepRecord) {
        let Some(plan) = &self.plan else { return };
        let in_epoch = (record.step - 1) % plan.steps_per_epoch + 1;
        let text = format!("loss {:.4}, {}", record.loss, self.pace(plan, record.step));
        if self.is_terminal {
            let bar = self.bar.get_or_insert_with(|| {
                let target = ProgressDrawTarget::stderr();
                let style = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len}  {msg}");
                ProgressBar::with_draw_target(Some(plan.steps_per_epoch as u64), target)
                    .with_style(style.expect("the template is sound").progress_chars("=> "))
                    .with_prefix(format!("epoch {}/{}", record.epoch, plan.epochs))
            });
            bar.set_position(in_epoch as u64);
            bar.set_message(text);
        } else if self.last_line.elapsed() >= BETWEEN_LINES {
            self.last_line = Instant::now();
            let steps = plan.steps_per_epoch;
            output::progress(&format!("epoch {} step {in_epoch}/{steps}: {text}", record.epoch));
        }
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.clear();
        self.last_line = Instant::now();
        let mut text = format!("loss {:.4}", record.loss);
        let mut add = |name: &str, value: Option<f64>, digits: usize| {
            if let Some(value) = value {
                text.push_str(&format!(", {name} {value:.digits$}"));
            }
        };
        if record.loss_drr.is_some() {
            add("contrastive", Some(record.loss_con), 4);
        }
        add("redundancy", record.loss_drr, 4);
        add("kNN-5", record.knn5, 2);
        add("kNN-200", record.knn200, 2);
        add("rank", record.effective_rank, 1);
        if let (Some(min), Some(max)) = (record.mask_min, record.mask_max) {
            text.push_str(&format!(", mask {min:.3} to {max:.3}"));
        }
        let epochs = self.plan.as_ref().map_or(0, |plan| plan.epochs);
        output::progress(&format!(
            "epoch {}/{epochs}: {text}, {:.0} images/s, {}",
            record.epoch,
            record.images_per_second,
            report::duration(record.seconds)
        ));
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => output::progress(text),
        }
    }
}
