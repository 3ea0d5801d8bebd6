//! Third-order derivatives of functions with every kind of op in them.

use super::Check;
use super::case::{Case, Results};
use super::layers::conv2d_nchw;
use dimask::Real;
use dimask::autodiff::{Keep, Var, grad_graph, hvp};

// Formula: reverse-4.
/// Hands in `h = sum(c f(x))`, `d1 = grad h`, `d2 = grad <v1, d1>`, `d3 = grad <v2, d2>`.
pub fn compute<T: Real>(case: &Case, out: &mut Results) -> Check {
    let f = function::<T>(case)?;
    let x = Var::leaf(case.tensor("x")?);
    let constant = |name: &str| Ok::<_, String>(Var::constant(case.tensor::<T>(name)?));
    let (c, v1, v2) = (constant("c")?, constant("v1")?, constant("v2")?);
    let h = (&f(&x) * &c).sum();
    out.put("h", h.value());
    let d1 = grad_graph(&h, &[&x]).remove(0);
    out.put("d1", d1.value());
    let d2 = grad_graph(&(&d1 * &v1).sum(), &[&x]).remove(0);
    out.put("d2", d2.value());
    let d3 = grad_graph(&(&d2 * &v2).sum(), &[&x]).remove(0);
    out.put("d3", d3.value());
    out.put("d2", &hvp(&h, &[&x], &[v1.value()])[0]);
    Ok(())
}

type Function<T> = Box<dyn Fn(&Var<T>) -> Var<T>>;

fn function<T: Real>(case: &Case) -> Check<Function<T>> {
    let name: String = case.attr("f")?;
    Ok(match name.as_str() {
        "exp" => Box::new(|x| x.exp()),
        "log" => Box::new(|x| x.ln()),
        "sqrt" => Box::new(|x| x.sqrt()),
        "tanh" => Box::new(|x| x.tanh()),
        "sigmoid" => Box::new(|x| x.sigmoid()),
        "pow_2p5" => Box::new(|x| x.powf(2.5)),
        "reciprocal" => Box::new(|x| x.recip()),
        "softmax_rows" => Box::new(|x| x.softmax(1)),
        "log_softmax_rows" => Box::new(|x| x.log_softmax(1)),
        "l2_normalize_rows" => Box::new(|x| x.l2_normalize(1, 1e-12)),
        "standardize_unbiased_axis0" => Box::new(|x| {
            let centred = x - &x.mean_axes(&[0], Keep::Keep);
            &centred / &x.std_axes(&[0], Keep::Keep, 1)
        }),
        "batch_norm_axis0" => Box::new(|x| x.standardize(1e-5, 1).y),
        "x_xt_x" => Box::new(|x| x.matmul_nt(x).matmul(x)),
        "conv_cube_conv" => {
            let w1 = Var::constant(case.tensor::<T>("w1")?);
            let w2 = Var::constant(case.tensor::<T>("w2")?);
            Box::new(move |x| {
                let y = conv2d_nchw(x, &w1, [1, 1], [1, 1]).powf(3.0);
                conv2d_nchw(&y, &w2, [1, 1], [1, 1])
            })
        }
        "linear_bn_tanh_linear" => {
            let w1 = Var::constant(case.tensor::<T>("w1")?);
            let w2 = Var::constant(case.tensor::<T>("w2")?);
            Box::new(move |x| {
                let y = x.matmul(&w1.transpose(0, 1)).standardize(1e-5, 1).y.tanh();
                y.matmul(&w2.transpose(0, 1))
            })
        }
        other => return Err(format!("unknown value `{other}` of attribute `f`")),
    })
}
