//! A setting that is said to have no effect has none, and one that is not has one.

use crate::config::RunConfig;
use crate::metamask::step;
use crate::run::model;
use crate::run::settings::settings;
use crate::run::tests::{TempDir, small, write_cifar};
use crate::train::images::Images;

/// What three steps see and leave.
fn trace(config: &RunConfig) -> String {
    let images = Images::load(config).unwrap();
    let mut state = model::first_state(config, 3);
    let mut trace = String::new();
    for at in 0..3 {
        let views = images.pair(&[at, at + 7, at + 21, at + 4], 0, config.seed).unwrap();
        let report;
        (state, report) = step(state, &views, &settings(config, at, 2));
        trace += &format!("{} {:?}", report.loss, report.mask);
    }
    trace + &model::weights_sha256(config, &state, 3)
}

/// A key, another value than the preset's, settings where it has no effect and where it has one.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const PLAIN: &[&str] = &["mask.enabled=false"];
const OFF: &[&str] = &["mask.meta=off"];
const BARLOW: &[&str] = &["method=barlow-twins"];
const ONE_HEAD: &[&str] = &["method=barlow-twins", "loss.bt_mode=one-head"];

const ROWS: &[Row] = &[
    ("mask.meta", "regular", PLAIN, &[]),
    ("mask.trial", "joint", PLAIN, &[]),
    ("mask.trial", "joint", &["mask.meta=regular"], &["mask.meta=first-order"]),
    ("mask.unroll", "2", PLAIN, &[]),
    ("mask.random_rate", "0.25", PLAIN, &["mask.meta=random"]),
    ("mask.random_rate", "0.25", &[], &["mask.meta=random"]),
    ("mask.radius", "0.5", PLAIN, &["mask.meta=finite-difference"]),
    ("mask.radius", "0.5", &[], &["mask.compare_every=1"]),
    ("mask.squash", "none", PLAIN, &["mask.meta=regular"]),
    ("mask.squash", "none", OFF, &[]),
    ("mask.lr", "0.5", OFF, &[]),
    ("mask.lr", "0.5", PLAIN, &["mask.meta=regular"]),
    ("mask.momentum", "0.5", OFF, &[]),
    ("mask.weight_decay", "0.5", &["mask.meta=random"], &[]),
    ("mask.compare_every", "1", OFF, &[]),
    ("loss.w_con", "3", PLAIN, OFF),
    ("loss.w_drr", "3", PLAIN, OFF),
    ("loss.w_drr", "3", ONE_HEAD, BARLOW),
    ("model.redundancy_head", "[8, 8]", PLAIN, &[]),
    ("model.redundancy_head", "[8, 8]", &["loss.w_drr=0"], BARLOW),
    ("model.redundancy_head", "[8, 8]", ONE_HEAD, BARLOW),
    ("loss.bt_mode", "nt-xent", &[], BARLOW),
    ("loss.bt_mode", "nt-xent", &["method=barlow-twins", "mask.enabled=false"], BARLOW),
    ("loss.lambda", "0.5", PLAIN, &[]),
    ("loss.lambda", "0.5", &["loss.w_drr=0"], ONE_HEAD),
    ("loss.drr_unit", "raw", PLAIN, &["mask.enabled=false", "method=barlow-twins"]),
    ("loss.temperature", "0.9", &["method=byol"], &["method=nnclr"]),
    ("loss.temperature", "0.9", BARLOW, &["method=barlow-twins", "loss.bt_mode=nt-xent"]),
    ("loss.tau_plus", "0.4", &[], &["method=dcl"]),
    ("loss.beta", "3", &["method=dcl"], &["method=hcl"]),
    ("loss.queue", "8", &["method=byol"], &["method=nnclr"]),
    ("loss.target_momentum", "0.5", &["method=nnclr"], &["method=byol"]),
    ("model.predictor_head", "[12, 4]", &[], &["method=nnclr"]),
    ("optimizer.momentum", "0.1", &["optimizer.kind=adam"], &["optimizer.kind=lars"]),
    ("optimizer.lars_form", "inside", &[], &["optimizer.kind=lars"]),
    ("optimizer.lars_eta", "0.5", &["optimizer.kind=adamw"], &["optimizer.kind=lars"]),
    ("optimizer.adam_betas", "[0.5, 0.5]", &[], &["optimizer.kind=adam"]),
    ("optimizer.adam_eps", "0.1", &["optimizer.kind=lars"], &["optimizer.kind=adamw"]),
    ("schedule.final_fraction", "0.5", &["schedule.curve=constant"], &[]),
    ("schedule.per", "epoch", &["schedule.curve=constant"], &[]),
    ("augment.rotation_degrees", "[10, 20]", &[], &["augment.rotation_probability=1"]),
    ("augment.brightness", "0.9", &["augment.jitter_probability=0"], &[]),
    ("augment.contrast", "0.9", &["augment.jitter_probability=0"], &[]),
    ("augment.saturation", "0.9", &["augment.jitter_probability=0"], &[]),
    ("augment.hue", "0.4", &["augment.jitter_probability=0"], &[]),
    ("augment.blur_kernel", "5", &["augment.blur_probability=0"], &["augment.blur_probability=1"]),
    (
        "augment.blur_sigma",
        "[3, 4]",
        &["augment.blur_probability=0"],
        &["augment.blur_probability=1"],
    ),
];

#[test]
fn settings_without_effect_have_none_and_the_others_have_one() {
    let dir = TempDir::new("effect");
    write_cifar(dir.path());
    let config = |settings: &[&str]| {
        let base = [
            "model.contrastive_head=[8, 4]",
            "model.predictor_head=[8, 4]",
            "model.redundancy_head=[8, 4]",
            "batch_size=4",
            "loss.queue=16",
            "epochs=4",
            "schedule.warmup_epochs=0",
            "schedule.per=step",
        ];
        small(dir.path(), &[&base, settings]).finish().unwrap()
    };
    for (key, other, idle, used) in ROWS {
        let change = format!("{key}={other}");
        for (settings, is_idle) in [(idle, true), (used, false)] {
            let before = config(settings);
            let after = config(&[settings, &[&*change][..]].concat());
            assert_eq!(before.idle(key).is_some(), is_idle, "{change} with {settings:?}");
            assert_ne!(before, after, "{change} is no change");
            let same = trace(&before) == trace(&after);
            assert_eq!(same, is_idle, "{change} with {settings:?}: the steps are the same: {same}");
        }
    }
    for key in RunConfig::may_be_idle() {
        assert!(ROWS.iter().any(|(known, ..)| *known == key), "no row for {key}");
    }
}
