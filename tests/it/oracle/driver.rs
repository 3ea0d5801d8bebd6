//! The protocol of the groups `ops` and `losses`: value, first and second derivatives.

use super::Check;
use super::case::{Case, Results};
use dimask::Real;
use dimask::autodiff::{Var, grad, grad_graph, pull};
use dimask::tensor::Tensor;

/// Hands in a function's value and derivatives.
///
/// `names` are its float inputs; those without a `grad_` tensor are constants. With the upstream
/// gradient `g` (for a loss there is none, and it is one): `grad_i` are the gradients of `<g, y>`,
/// `gg_i` those of `S = sum <v_i, grad_i>`, a function of the inputs and of `g`. First derivatives
/// are computed twice: by the walk that frees and may use fused kernels, and by the recorded one.
pub fn differentiate<T: Real>(
    case: &Case,
    out: &mut Results,
    names: &[&str],
    output: &str,
    f: impl Fn(&[Var<T>]) -> Var<T>,
) -> Check {
    let mut inputs = Vec::new();
    for name in names {
        let value = case.tensor::<T>(name)?;
        inputs.push(match case.has(&format!("grad_{name}")) {
            true => Var::leaf(value),
            false => Var::constant(value),
        });
    }
    let chosen: Vec<usize> =
        (0..names.len()).filter(|&i| case.has(&format!("grad_{}", names[i]))).collect();
    let leaves: Vec<&Var<T>> = chosen.iter().map(|&i| &inputs[i]).collect();

    let y = f(&inputs);
    out.put(output, y.value());
    let upstream = match case.has("g") {
        true => case.tensor::<T>("g")?,
        false => Tensor::full(y.shape(), T::ONE),
    };
    let plain = pull(vec![(f(&inputs), upstream.clone())], &leaves);
    for (&i, gradient) in chosen.iter().zip(&plain) {
        out.put(format!("grad_{}", names[i]), gradient);
    }

    let g = Var::leaf(upstream);
    let recorded = grad_graph(&(&y * &g).sum(), &leaves);
    let mut s = Var::constant(Tensor::zeros(&[]));
    for (&i, gradient) in chosen.iter().zip(&recorded) {
        let name = names[i];
        out.put(format!("grad_{name}"), gradient.value());
        if case.has(&format!("v_{name}")) {
            let direction = Var::constant(case.tensor::<T>(&format!("v_{name}"))?);
            s = s + (gradient * &direction).sum();
        }
    }
    let mut wrt = leaves.clone();
    wrt.push(&g);
    let second = grad(s, &wrt);
    for (name, gradient) in chosen.iter().map(|&i| names[i]).chain(["g"]).zip(&second) {
        out.put(format!("gg_{name}"), gradient);
    }
    Ok(())
}
