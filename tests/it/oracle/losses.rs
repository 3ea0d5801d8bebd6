//! The self-supervised losses.

use super::Check;
use super::case::{Case, Results};
use super::driver::differentiate;
use dimask::Real;
use dimask::autodiff::{Keep, Var};
use dimask::ssl::{self, Normalization};
use dimask::tensor::Tensor;

/// Value, derivatives and correlation matrix of Barlow Twins.
pub fn barlow_twins<T: Real>(case: &Case, out: &mut Results) -> Check {
    let name: String = case.attr("normalization")?;
    let normalization = match name.as_str() {
        "unbiased" => {
            case.only("eps", 0.0)?;
            Normalization::Unbiased
        }
        "biased" => Normalization::BatchNorm { eps: case.attr("eps")? },
        other => return Err(format!("unknown value `{other}` of attribute `normalization`")),
    };
    let (lambda, scale) = (case.attr("lambda")?, case.attr("scale")?);
    let settings = ssl::BarlowTwins { lambda, normalization, scale };

    // The loss does not hand out its correlation matrix, so this is the formula itself.
    let standardised = |name: &str| -> Check<Var<T>> {
        let z = Var::constant(case.tensor::<T>(name)?);
        let centred = &z - &z.mean_axes(&[0], Keep::Keep);
        Ok(match normalization {
            Normalization::Unbiased => &centred / &z.std_axes(&[0], Keep::Keep, 1),
            Normalization::BatchNorm { eps } => {
                let var = z.var_axes(&[0], Keep::Keep, 0);
                &centred / &(var + T::from_f64(eps)).sqrt()
            }
        })
    };
    let (a, b) = (standardised("z1")?, standardised("z2")?);
    let c = a.matmul_tn(&b) / T::from_usize(a.shape()[0]);
    out.put("c", c.value());

    differentiate(case, out, &["z1", "z2"], "loss", |v: &[Var<T>]| {
        ssl::barlow_twins(&v[0], &v[1], &settings)
    })
}

/// Value and derivatives of NT-Xent.
pub fn nt_xent<T: Real>(case: &Case, out: &mut Results) -> Check {
    case.only("normalize", true)?;
    let temperature = case.attr("temperature")?;
    differentiate(case, out, &["z1", "z2"], "loss", |v: &[Var<T>]| {
        ssl::nt_xent(&v[0], &v[1], temperature)
    })
}

/// Value and derivatives of BYOL, whose targets are values.
pub fn byol<T: Real>(case: &Case, out: &mut Results) -> Check {
    case.only("symmetric", true)?;
    case.only("reduction", "mean over N of the SUM of both directions")?;
    let f = |v: &[Var<T>]| ssl::byol(&v[0], &v[1], v[2].value(), v[3].value());
    let names = ["p1", "p2", "z1", "z2"];
    let values = names.map(|name| case.tensor::<T>(name));
    let [p0, p1, target0, target1] = values.map(|value| value.map(Var::constant));
    let inputs = [p0?, p1?, target0?, target1?];
    let n = inputs[0].shape()[0];
    let one = |i: usize| f(&inputs.each_ref().map(|z| z.rows(i..i + 1))).item();
    out.put_list("per_sample", (0..n).map(one).collect());
    differentiate(case, out, &names, "loss", f)
}

/// Value, derivatives and the estimate of the negatives of DCL and HCL.
pub fn debiased<T: Real>(case: &Case, out: &mut Results) -> Check {
    case.only("normalize", true)?;
    case.only("clamp", "min = M*exp(-1/temperature)")?;
    case.remark("clamp_state");
    let (temperature, tau_plus): (f64, f64) = (case.attr("temperature")?, case.attr("tau_plus")?);
    let beta: Option<f64> = match case.info.op.as_str() {
        "hcl" => Some(case.attr("beta")?),
        _ => None,
    };

    // The loss does not hand out its parts, so this is the formula itself.
    let (z1, z2) = (case.tensor::<T>("z1")?, case.tensor::<T>("z2")?);
    let rows = 2 * z1.shape()[0];
    let u = Var::constant(Tensor::concat(&[&z1, &z2], 0)).l2_normalize(1, 1e-12);
    let similarity = u.matmul_nt(&u);
    let of = |i: usize, j: usize| {
        (similarity.value().as_slice()[i * rows + j].to_f64() / temperature).exp()
    };
    let count = (rows - 2) as f64;
    let least = count * (-1.0 / temperature).exp();
    let (mut raw, mut clamped, mut active, mut losses) = (vec![], vec![], vec![], vec![]);
    for i in 0..rows {
        let partner = (i + rows / 2) % rows;
        let p = of(i, partner);
        let negatives: Vec<f64> =
            (0..rows).filter(|&j| j != i && j != partner).map(|j| of(i, j)).collect();
        let weight = |negative: &f64| negative.powf(beta.unwrap_or(0.0));
        let weights: f64 = negatives.iter().map(weight).sum();
        let sum: f64 = negatives.iter().map(|negative| weight(negative) * negative).sum();
        let estimate = (count * sum / weights - tau_plus * count * p) / (1.0 - tau_plus);
        raw.push(estimate);
        clamped.push(estimate.max(least));
        active.push(u8::from(estimate < least));
        losses.push(-(p / (p + estimate.max(least))).ln());
    }
    out.put_list("ng_raw", raw);
    out.put_list("ng", clamped);
    out.put_bytes("clamp_active", &[rows], active);
    out.put_list("per_anchor", losses);

    differentiate(case, out, &["z1", "z2"], "loss", |v: &[Var<T>]| match beta {
        Some(beta) => ssl::hcl(&v[0], &v[1], &ssl::Hcl { temperature, tau_plus, beta }),
        None => ssl::dcl(&v[0], &v[1], &ssl::Dcl { temperature, tau_plus }),
    })
}

/// Value, derivatives and queue of NNCLR, whose neighbours are values.
pub fn nnclr<T: Real>(case: &Case, out: &mut Results) -> Check {
    case.only("symmetric", true)?;
    let temperature: f64 = case.attr("temperature")?;
    let (next, after): (usize, usize) = (case.attr("queue_ptr")?, case.attr("queue_ptr_after")?);
    let queue = ssl::Queue { rows: case.tensor::<T>("support")?, next };
    let [z0, z1] = [case.tensor::<T>("z1")?, case.tensor::<T>("z2")?];
    let n = z0.shape()[0];
    out.put_indices("nn1_index", &[n], &queue.nearest_rows(&z0));
    out.put_indices("nn2_index", &[n], &queue.nearest_rows(&z1));
    let [k0, k1] = [&z0, &z1].map(|z| queue.nearest(z));
    // A direction alone: both halves of the loss are that one.
    let [p0, p1] = [case.tensor::<T>("p1")?, case.tensor::<T>("p2")?].map(Var::constant);
    out.put("loss_12", ssl::nnclr(&p1, &p1, &k0, &k0, temperature).value());
    out.put("loss_21", ssl::nnclr(&p0, &p0, &k1, &k1, temperature).value());

    differentiate(case, out, &["p1", "p2", "z1", "z2"], "loss", |v: &[Var<T>]| {
        let [k0, k1] = [&v[2], &v[3]].map(|z| queue.nearest(z.value()));
        ssl::nnclr(&v[0], &v[1], &k0, &k1, temperature)
    })?;
    let queue = queue.enqueue(&z0);
    if queue.next != after {
        return Err(format!("the queue is at {}, not {after}", queue.next));
    }
    out.put("support_after", &queue.rows);
    Ok(())
}
