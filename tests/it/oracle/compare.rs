//! The comparison rule of the reference values.

use super::Check;
use super::store::{Info, Numbers, Raw, Spec, Tolerance};
use dimask::Real;

/// Compares one computed tensor with its reference in the float type `T`.
///
/// Returns the relative error: the largest difference over `max |ref| + atol / rtol`, so that a
/// tensor passes exactly when its relative error is at most `rtol`. Exact tensors and 8-bit levels
/// have none. Fails with a message that names got and allowed error.
pub fn compare<T: Real>(
    info: &Info,
    spec: &Spec,
    reference: &Raw,
    got: &Raw,
) -> Check<Option<f64>> {
    if got.shape != reference.shape {
        return Err(format!("got shape {:?}, reference {:?}", got.shape, reference.shape));
    }
    match (&got.numbers, &reference.numbers) {
        (got, reference) if spec.exact => match got == reference {
            true => Ok(None),
            false => Err(format!("got {got:?}, only {reference:?} is allowed")),
        },
        (Numbers::Bytes(got), Numbers::Bytes(reference)) => {
            let Some(allowed) = &spec.tol.levels else {
                return Err("an 8-bit tensor needs `exact` or `levels`".to_string());
            };
            let worst = got.iter().zip(reference).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
            if worst <= allowed.max {
                return Ok(None);
            }
            Err(format!("error {worst} levels, allowed {}", allowed.max))
        }
        (Numbers::Floats(got), Numbers::Floats(reference)) => {
            let Tolerance { rtol, atol } = tolerance::<T>(info, spec)?;
            let scale = reference.iter().fold(0.0, |scale: f64, x| scale.max(x.abs()));
            let allowed = atol + rtol * scale;
            let mut worst: f64 = 0.0;
            for (i, (a, b)) in got.iter().zip(reference).enumerate() {
                // A NaN compares false with everything, so it must be looked for.
                if !a.is_finite() && a != b {
                    return Err(format!("entry {i} is {a}, reference {b}"));
                }
                worst = worst.max((a - b).abs());
            }
            if worst > allowed {
                return Err(format!("error {worst:e}, allowed {allowed:e}"));
            }
            Ok(Some(if worst == 0.0 { 0.0 } else { worst / (scale + atol / rtol) }))
        }
        _ => Err(format!("got {}, reference {}", kind(got), kind(reference))),
    }
}

/// The tensor's own tolerance for `T`, else the case's.
fn tolerance<T: Real>(info: &Info, spec: &Spec) -> Check<Tolerance> {
    let chosen = match size_of::<T>() {
        8 => spec.tol.f64.or(info.tol.f64),
        _ => spec.tol.f32.or(info.tol.f32),
    };
    chosen.ok_or_else(|| "the index gives no tolerance".to_string())
}

fn kind(raw: &Raw) -> &'static str {
    match raw.numbers {
        Numbers::Floats(_) => "floats",
        Numbers::Integers(_) => "integers",
        Numbers::Bytes(_) => "bytes",
    }
}
