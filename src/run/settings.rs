//! From a run's settings to those of a step.

use crate::config::{
    BtMode, Curve, DecayScope, DrrUnit, LarsForm, MetaMode, Method, OptimizerKind, Per, Precision,
    RunConfig, TrialStep,
};
use crate::kernels::dispatch::level;
use crate::metamask::{self, Meta, Mode, Objective, Settings};
use crate::optim::{
    self, Adam, AdamDecay, Clip, Lars, Optimizer, Scope, Sgd, ema_cosine, warmup_cosine,
};
use crate::ssl::{BarlowTwins, Dcl, Hcl, Loss, Normalization};

/// The instruction set that a run computes with: sums round differently with another one.
pub fn instructions(config: &RunConfig) -> String {
    let tiles = config.model.precision == Precision::Bf16 && level().has_amx();
    format!("{}{}", level().name(), if tiles { " with tiles" } else { "" })
}

/// A warning about this machine before a run, if any.
pub fn caution(config: &RunConfig) -> Option<&'static str> {
    let slow = config.model.precision == Precision::Bf16 && !level().has_amx();
    slow.then_some("note: bf16 takes longer than f32 here: it is fast with AMX, under Linux")
}

/// The settings of the step after `step` steps, in epochs of `steps_per_epoch`.
pub fn settings(config: &RunConfig, step: usize, steps_per_epoch: usize) -> Settings {
    let mask = &config.mask;
    let mode = match (mask.enabled, mask.meta) {
        (false, _) => Mode::Plain,
        (true, MetaMode::Off | MetaMode::Random) => Mode::Joint,
        (true, MetaMode::Regular) => Mode::Regular,
        (true, MetaMode::Exact) if mask.unroll > 1 => {
            Mode::MetaMask(Meta::Unrolled { steps: mask.unroll })
        }
        (true, MetaMode::Exact) => Mode::MetaMask(Meta::Exact),
        (true, MetaMode::FirstOrder) => Mode::MetaMask(Meta::FirstOrder),
        (true, MetaMode::FiniteDifference) => {
            Mode::MetaMask(Meta::FiniteDifference { r: mask.radius })
        }
    };
    let compares = mask.compare_every > 0 && (step + 1) % mask.compare_every == 0;
    let rate = |base: f64| rate(config, base, step, steps_per_epoch);
    Settings {
        mode,
        objective: objective(config),
        trial: match mask.trial {
            TrialStep::Contrastive => metamask::TrialStep::Contrastive,
            TrialStep::Joint => metamask::TrialStep::Joint,
            TrialStep::JointShared => metamask::TrialStep::JointShared,
        },
        optimizer: optimizer(config).with_lr(rate(config.optimizer.lr)),
        mask_optimizer: Optimizer::Sgd(Sgd {
            lr: rate(mask.lr),
            momentum: mask.momentum,
            weight_decay: mask.weight_decay,
            nesterov: false,
            scope: Scope::All,
        }),
        target_momentum: ema_cosine(
            config.loss.target_momentum,
            step,
            config.epochs * steps_per_epoch,
        ),
        compare: compares.then_some(mask.radius),
        ..Settings::default()
    }
}

/// The learning rate that the schedule makes of `base`.
fn rate(config: &RunConfig, base: f64, step: usize, steps_per_epoch: usize) -> f64 {
    let schedule = &config.schedule;
    let (t, unit) = match schedule.per {
        Per::Epoch => (step / steps_per_epoch, 1),
        Per::Step => (step, steps_per_epoch),
    };
    let (warmup, total) = (schedule.warmup_epochs * unit, config.epochs * unit);
    match schedule.curve {
        Curve::Cosine => warmup_cosine(base, t, warmup, total, schedule.final_fraction),
        Curve::Constant if t < warmup => base * t as f64 / warmup as f64,
        Curve::Constant => base,
    }
}

/// The networks' optimiser at its first learning rate.
fn optimizer(config: &RunConfig) -> Optimizer {
    let own = &config.optimizer;
    let (lr, momentum, weight_decay) = (own.lr, own.momentum, own.weight_decay);
    let scope = match own.decay_scope {
        DecayScope::All => Scope::All,
        DecayScope::Matrices => Scope::Matrices,
    };
    let sgd = Sgd { lr, momentum, weight_decay, nesterov: false, scope };
    let adam = |decay: AdamDecay| {
        let (betas, eps) = (own.adam_betas, own.adam_eps);
        Optimizer::Adam(Adam { lr, betas, eps, weight_decay, decay, scope })
    };
    match own.kind {
        OptimizerKind::Sgd => Optimizer::Sgd(sgd),
        OptimizerKind::Nesterov => Optimizer::Sgd(Sgd { nesterov: true, ..sgd }),
        OptimizerKind::Adam => adam(AdamDecay::L2),
        OptimizerKind::Adamw => adam(AdamDecay::Decoupled),
        OptimizerKind::Lars => {
            let clipped = |clip: Clip| optim::LarsForm::Clipped { eps: 1e-8, clip };
            let form = match own.lars_form {
                LarsForm::Outside => optim::LarsForm::Outside,
                LarsForm::Inside => optim::LarsForm::Inside,
                LarsForm::Clipped => clipped(Clip::On),
                LarsForm::Unclipped => clipped(Clip::Off),
            };
            Optimizer::Lars(Lars { lr, momentum, weight_decay, eta: own.lars_eta, form, scope })
        }
    }
}

/// The losses and their weights.
pub fn objective(config: &RunConfig) -> Objective {
    let loss = &config.loss;
    let barlow_twins = |head: &[usize], normalization| {
        let dimensions = head.last().copied().unwrap_or(1);
        let scale = match loss.drr_unit {
            DrrUnit::Raw => 1.0,
            DrrUnit::PerDimension => 1.0 / dimensions as f64,
        };
        BarlowTwins { lambda: loss.lambda, normalization, scale }
    };
    let temperature = loss.temperature;
    let base = match config.method {
        Method::BarlowTwins if config.mask.enabled && loss.bt_mode == BtMode::NtXent => {
            Loss::NtXent { temperature }
        }
        // The method's authors standardise by batch norm; MetaMask's code, below, does not.
        Method::BarlowTwins => Loss::BarlowTwins(barlow_twins(
            &config.model.contrastive_head,
            Normalization::BatchNorm { eps: 1e-5 },
        )),
        Method::Simclr => Loss::NtXent { temperature },
        Method::Byol => Loss::Byol,
        Method::Dcl => Loss::Dcl(Dcl { temperature, tau_plus: loss.tau_plus }),
        Method::Hcl => Loss::Hcl(Hcl { temperature, tau_plus: loss.tau_plus, beta: loss.beta }),
        Method::Nnclr => Loss::Nnclr { temperature },
    };
    let redundancy = barlow_twins(&config.model.redundancy_head, Normalization::Unbiased);
    Objective { base, redundancy, w_con: loss.w_con, w_drr: loss.w_drr }
}
