//! Rates over time.

use std::f64::consts::PI;

/// The cosine schedule: `eta_min + (base - eta_min) (1 + cos(π t / total)) / 2`.
///
/// It starts at `base` for `t = 0` and reaches `eta_min` at `t = total`; MetaMask counts `t` in
/// epochs. Source: Loshchilov and Hutter 2016, arXiv 1608.03983, without restarts.
///
/// Formula: schedule-1.
///
/// # Panics
/// If `total` is 0.
#[track_caller]
pub fn cosine(base: f64, eta_min: f64, t: usize, total: usize) -> f64 {
    assert!(total > 0, "cosine: a schedule of 0 steps");
    eta_min + (base - eta_min) * half_cosine(t, total)
}

/// The cosine schedule after a linear rise: `base · t / warmup` while `t < warmup`, then the cosine
/// from `base` at `t = warmup` to `final_fraction · base` at `t = total`.
///
/// Formula: schedule-2.
///
/// Source: Barlow Twins' code, arXiv 2103.03230, with `final_fraction` 0.001; others end at 0.
///
/// # Panics
/// If the rise is not over before `total`.
#[track_caller]
pub fn warmup_cosine(base: f64, t: usize, warmup: usize, total: usize, final_fraction: f64) -> f64 {
    assert!(warmup < total, "warmup_cosine: a rise of {warmup} in {total}");
    if t < warmup {
        return base * t as f64 / warmup as f64;
    }
    let q = half_cosine(t - warmup, total - warmup);
    base * (q + final_fraction * (1.0 - q))
}

/// How much of itself a target keeps: `1 - (1 - base) (1 + cos(π t / total)) / 2`, from `base` up
/// to 1.
///
/// Formula: byol-3.
///
/// Source: Grill et al. 2020 (BYOL), arXiv 2006.07733, section 3.2.
///
/// # Panics
/// If `total` is 0.
#[track_caller]
pub fn ema_cosine(base: f64, t: usize, total: usize) -> f64 {
    assert!(total > 0, "ema_cosine: a schedule of 0 steps");
    1.0 - (1.0 - base) * half_cosine(t, total)
}

/// From 1 at `t = 0` to 0 at `t = total`.
fn half_cosine(t: usize, total: usize) -> f64 {
    (1.0 + (PI * t as f64 / total as f64).cos()) / 2.0
}
