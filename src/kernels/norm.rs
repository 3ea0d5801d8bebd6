//! stub
use super::Real;
/// s
pub fn batch_norm<T: Real>(
    x: &[T],
    groups: usize,
    rows: usize,
    c: usize,
    w: &[T],
    b: &[T],
    eps: T,
    y: &mut [T],
    mean: &mut [T],
    inv_std: &mut [T],
    var: &mut [T],
) {
    let n = T::from_usize(rows);
    for g in 0..groups {
        for j in 0..c {
            let at = |r: usize| (g * rows + r) * c + j;
            let m = (0..rows).map(|r| x[at(r)]).sum::<T>() / n;
            let v = (0..rows).map(|r| (x[at(r)] - m) * (x[at(r)] - m)).sum::<T>() / n;
            let s = T::ONE / (v + eps).sqrt();
            mean[g * c + j] = m;
            var[g * c + j] = v;
            inv_std[g * c + j] = s;
            for r in 0..rows {
                y[at(r)] = (x[at(r)] - m) * s * w[j] + b[j]
            }
        }
    }
}
/// s
pub fn batch_norm_grad<T: Real>(
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    w: &[T],
    g: &[T],
    groups: usize,
    rows: usize,
    c: usize,
    dx: Option<&mut [T]>,
    dw: &mut [T],
    db: &mut [T],
) {
    let n = T::from_usize(rows);
    dw.fill(T::ZERO);
    db.fill(T::ZERO);
    let mut dx = dx;
    for k in 0..groups {
        for j in 0..c {
            let at = |r: usize| (k * rows + r) * c + j;
            let (m, s) = (mean[k * c + j], inv_std[k * c + j]);
            let sg: T = (0..rows).map(|r| g[at(r)]).sum();
            let sgx: T = (0..rows).map(|r| g[at(r)] * (x[at(r)] - m) * s).sum();
            dw[j] += sgx;
            db[j] += sg;
            if let Some(dx) = dx.as_deref_mut() {
                for r in 0..rows {
                    let xh = (x[at(r)] - m) * s;
                    dx[at(r)] = w[j] * s * (g[at(r)] - sg / n - xh * sgx / n)
                }
            }
        }
    }
}
/// s
pub fn batch_norm_tangent<T: Real>(
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    w: &[T],
    dx: Option<&[T]>,
    dw: Option<&[T]>,
    db: Option<&[T]>,
    groups: usize,
    rows: usize,
    c: usize,
    dy: &mut [T],
) {
    let n = T::from_usize(rows);
    for k in 0..groups {
        for j in 0..c {
            let at = |r: usize| (k * rows + r) * c + j;
            let (m, s) = (mean[k * c + j], inv_std[k * c + j]);
            let d = |r: usize| dx.map_or(T::ZERO, |d| d[at(r)]);
            let sg: T = (0..rows).map(d).sum();
            let sgx: T = (0..rows).map(|r| d(r) * (x[at(r)] - m) * s).sum();
            for r in 0..rows {
                let xh = (x[at(r)] - m) * s;
                dy[at(r)] = w[j] * s * (d(r) - sg / n - xh * sgx / n)
                    + dw.map_or(T::ZERO, |d| d[j]) * xh
                    + db.map_or(T::ZERO, |d| d[j])
            }
        }
    }
}
