//! Learning rates over time.

/// The cosine schedule: `eta_min + (base - eta_min) (1 + cos(π t / total)) / 2`.
///
/// It starts at `base` for `t = 0` and reaches `eta_min` at `t = total`; MetaMask counts `t` in
/// epochs. Source: Loshchilov and Hutter 2016, arXiv 1608.03983, without restarts.
pub fn cosine(base: f64, eta_min: f64, t: usize, total: usize) -> f64 {
    let angle = std::f64::consts::PI * t as f64 / total as f64;
    eta_min + (base - eta_min) * (1.0 + angle.cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::cosine;

    #[test]
    fn cosine_starts_at_base_and_ends_at_the_minimum() {
        assert_eq!(cosine(0.4, 0.1, 0, 8), 0.4);
        assert!((cosine(0.4, 0.1, 4, 8) - 0.25).abs() < 1e-15);
        assert!((cosine(0.4, 0.1, 8, 8) - 0.1).abs() < 1e-15);
    }
}
