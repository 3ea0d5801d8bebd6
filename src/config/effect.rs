//! Settings that others leave without effect: a run with them is the run without.
//!
//! A preset or a run's own file holds every key, so that is nothing wrong in itself; but whoever
//! writes such a setting on purpose expects something of it, and should hear that it does nothing.

use super::{BtMode, Curve, MetaMode, Method, OptimizerKind, RunConfig};

/// Keys, whether a run with these settings looks at them, and if not, why not.
type Row = (&'static [&'static str], fn(&RunConfig) -> bool, &'static str);

/// A key may be in several rows; the first that does not hold is told.
const ROWS: &[Row] = &[
    (
        &[
            "mask.meta",
            "mask.trial",
            "mask.unroll",
            "mask.random_rate",
            "mask.radius",
            "mask.squash",
            "mask.lr",
            "mask.momentum",
            "mask.weight_decay",
            "mask.compare_every",
            "loss.w_con",
            "loss.w_drr",
            "model.redundancy_head",
        ],
        |c| c.mask.enabled,
        "the run has no mask",
    ),
    (
        &["loss.bt_mode"],
        |c| c.mask.enabled && c.method == Method::BarlowTwins,
        "only barlow-twins with the mask looks at it",
    ),
    (
        &["mask.trial", "mask.compare_every"],
        takes_trial_step,
        "only meta = \"exact\", \"finite-difference\" or \"first-order\" takes a trial step",
    ),
    (
        &["mask.unroll"],
        |c| c.mask.meta == MetaMode::Exact,
        "only meta = \"exact\" has more than one trial step",
    ),
    (
        &["mask.random_rate"],
        |c| c.mask.meta == MetaMode::Random,
        "only meta = \"random\" looks at it",
    ),
    (
        &["mask.radius"],
        |c| {
            c.mask.meta == MetaMode::FiniteDifference
                || takes_trial_step(c) && c.mask.compare_every > 0
        },
        "only meta = \"finite-difference\" and the comparisons of mask.compare_every look at it",
    ),
    (
        &["mask.squash", "mask.lr", "mask.momentum", "mask.weight_decay"],
        |c| !matches!(c.mask.meta, MetaMode::Off | MetaMode::Random),
        "the mask does not learn with meta = \"off\" or \"random\"",
    ),
    (
        &["loss.w_drr"],
        |c| !one_head(c),
        "with bt_mode = \"one-head\" there is no other redundancy loss",
    ),
    (&["model.redundancy_head"], RunConfig::has_redundancy, "the run has no redundancy loss"),
    (
        &["loss.lambda", "loss.drr_unit"],
        |c| c.has_redundancy() || barlow_twins(c),
        "neither the method nor a redundancy loss is Barlow Twins",
    ),
    (
        &["loss.temperature"],
        |c| match c.method {
            Method::Simclr | Method::Dcl | Method::Hcl | Method::Nnclr => true,
            Method::BarlowTwins => !barlow_twins(c),
            Method::Byol => false,
        },
        "the method's loss has no temperature",
    ),
    (
        &["loss.tau_plus"],
        |c| matches!(c.method, Method::Dcl | Method::Hcl),
        "only dcl and hcl look at it",
    ),
    (&["loss.beta"], |c| c.method == Method::Hcl, "only hcl looks at it"),
    (&["loss.queue"], |c| c.method == Method::Nnclr, "only nnclr has a queue"),
    (&["loss.target_momentum"], |c| c.method == Method::Byol, "only byol has a target"),
    (&["model.predictor_head"], |c| c.method.predicts(), "only byol and nnclr have a predictor"),
    (&["optimizer.momentum"], |c| !adam(c), "adam and adamw look at optimizer.adam_betas instead"),
    (
        &["optimizer.lars_form", "optimizer.lars_eta"],
        |c| c.optimizer.kind == OptimizerKind::Lars,
        "only lars looks at it",
    ),
    (&["optimizer.adam_betas", "optimizer.adam_eps"], adam, "only adam and adamw look at it"),
    (
        &["schedule.final_fraction"],
        |c| c.schedule.curve == Curve::Cosine,
        "only a cosine looks at it",
    ),
    (
        &["schedule.per"],
        |c| c.schedule.curve == Curve::Cosine || c.schedule.warmup_epochs > 0,
        "a constant rate does not move",
    ),
    (
        &["augment.rotation_degrees"],
        |c| c.augment.rotation_probability.0 != [0.0; 2],
        "augment.rotation_probability is 0",
    ),
    (
        &["augment.brightness", "augment.contrast", "augment.saturation", "augment.hue"],
        |c| c.augment.jitter_probability.0 != [0.0; 2],
        "augment.jitter_probability is 0",
    ),
    (
        &["augment.blur_kernel", "augment.blur_sigma"],
        |c| c.augment.blur_probability.0 != [0.0; 2],
        "augment.blur_probability is 0",
    ),
];

fn takes_trial_step(config: &RunConfig) -> bool {
    !matches!(config.mask.meta, MetaMode::Off | MetaMode::Random | MetaMode::Regular)
}

fn one_head(config: &RunConfig) -> bool {
    config.method == Method::BarlowTwins && config.loss.bt_mode == BtMode::OneHead
}

/// Whether the base method's loss is Barlow Twins.
fn barlow_twins(config: &RunConfig) -> bool {
    let replaced = config.mask.enabled && config.loss.bt_mode == BtMode::NtXent;
    config.method == Method::BarlowTwins && !replaced
}

fn adam(config: &RunConfig) -> bool {
    matches!(config.optimizer.kind, OptimizerKind::Adam | OptimizerKind::Adamw)
}

impl RunConfig {
    /// Whether the run has a redundancy loss beside the base method's.
    pub fn has_redundancy(&self) -> bool {
        self.mask.enabled && self.loss.w_drr > 0.0 && !one_head(self)
    }

    /// The keys that may have no effect.
    #[cfg(test)]
    pub(crate) fn may_be_idle() -> impl Iterator<Item = &'static str> {
        ROWS.iter().flat_map(|(keys, ..)| keys.iter().copied())
    }

    /// Why `key` has no effect under these settings, if it has none.
    pub fn idle(&self, key: &str) -> Option<&'static str> {
        let of_key = ROWS.iter().filter(|(keys, ..)| keys.contains(&key));
        of_key.filter(|(_, used, _)| !used(self)).map(|(.., reason)| *reason).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    #[test]
    fn every_key_of_the_table_is_a_setting() {
        let mut layers = Layers::preset("demo").unwrap();
        for key in RunConfig::may_be_idle() {
            let error = layers.set(key, toml::Value::Boolean(true), "test").unwrap_err();
            assert!(!error.to_string().contains("unknown"), "{error}");
        }
    }
}
