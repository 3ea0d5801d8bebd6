//! The self-supervised losses.

use super::Check;
use super::case::{Case, Results};
use super::driver::differentiate;
use dimask::Real;
use dimask::autodiff::{Keep, Var};
use dimask::ssl::{self, Normalization};

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
