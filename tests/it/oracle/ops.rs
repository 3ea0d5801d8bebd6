//! The elementwise, reducing, indexing and layout ops.

use super::Check;
use super::case::{Case, Results};
use super::driver::differentiate;
use dimask::Real;
use dimask::autodiff::{Keep, Reduction, Var};

/// Computes a case of these ops.
pub fn compute<T: Real>(case: &Case, out: &mut Results) -> Check {
    match case.info.op.as_str() {
        "matmul" | "add" | "sub" | "mul" | "div" | "pow_tensor" => binary::<T>(case, out),
        "sum" | "mean" | "var" | "std" | "max_axis" | "logsumexp" => reduction::<T>(case, out),
        "gather" | "index_select" | "concat" | "transpose" | "permute" | "reshape"
        | "transpose_reshape" | "slice" | "broadcast_to" => layout::<T>(case, out),
        "cross_entropy" => cross_entropy::<T>(case, out),
        _ => unary::<T>(case, out),
    }
}

fn binary<T: Real>(case: &Case, out: &mut Results) -> Check {
    let f: fn(&Var<T>, &Var<T>) -> Var<T> = match case.info.op.as_str() {
        "matmul" => |a, b| a.matmul(b),
        "add" => |a, b| a + b,
        "sub" => |a, b| a - b,
        "mul" => |a, b| a * b,
        "div" => |a, b| a / b,
        _ => |a, b| a.pow(b),
    };
    differentiate(case, out, &["a", "b"], "y", |v| f(&v[0], &v[1]))
}

type Unary<T> = Box<dyn Fn(&Var<T>) -> Var<T>>;

fn unary<T: Real>(case: &Case, out: &mut Results) -> Check {
    let f: Unary<T> = match case.info.op.as_str() {
        "relu" => Box::new(|x| x.relu()),
        "sigmoid" => Box::new(|x| x.sigmoid()),
        "tanh" => Box::new(|x| x.tanh()),
        "exp" => Box::new(|x| x.exp()),
        "log" => Box::new(|x| x.ln()),
        "sqrt" => Box::new(|x| x.sqrt()),
        "abs" => Box::new(|x| x.abs()),
        "neg" => Box::new(|x| -x),
        "square" => Box::new(|x| x.square()),
        "clamp" => {
            let (min, max) = (case.attr("min")?, case.attr("max")?);
            Box::new(move |x| x.clamp(min, max))
        }
        "pow_scalar" => {
            let exponent = case.attr("exponent")?;
            Box::new(move |x| x.powf(exponent))
        }
        "softmax" => {
            let axis = case.attr("axis")?;
            Box::new(move |x| x.softmax(axis))
        }
        "log_softmax" => {
            let axis = case.attr("axis")?;
            Box::new(move |x| x.log_softmax(axis))
        }
        "l2_normalize" => {
            let (axis, eps) = (case.attr("axis")?, case.attr("eps")?);
            Box::new(move |x| x.l2_normalize(axis, eps))
        }
        op => return Err(format!("unknown op `{op}`")),
    };
    differentiate(case, out, &["x"], "y", |v| f(&v[0]))
}

fn reduction<T: Real>(case: &Case, out: &mut Results) -> Check {
    let keep = keep(case)?;
    let op = case.info.op.as_str();
    if op == "max_axis" || op == "logsumexp" {
        let axis: usize = case.attr("axis")?;
        let max = op == "max_axis";
        if max {
            argmax::<T>(case, out, axis)?;
        }
        return differentiate(case, out, &["x"], "y", |v: &[Var<T>]| match max {
            true => v[0].max_axis(axis, keep),
            false => v[0].logsumexp(axis, keep),
        });
    }
    let axes: Vec<usize> = case.attr("axes")?;
    let correction: usize = if op == "var" || op == "std" { case.attr("correction")? } else { 0 };
    differentiate(case, out, &["x"], "y", |v: &[Var<T>]| match op {
        "sum" => v[0].sum_axes(&axes, keep),
        "mean" => v[0].mean_axes(&axes, keep),
        "var" => v[0].var_axes(&axes, keep, correction),
        _ => v[0].std_axes(&axes, keep, correction),
    })
}

/// The index of each maximum along `axis`.
fn argmax<T: Real>(case: &Case, out: &mut Results, axis: usize) -> Check {
    let x = case.tensor::<T>("x")?;
    let (maxima, flat) = x.max_axis(axis, keep(case)?);
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let along = |&at: &u32| at / inner as u32 % x.shape()[axis] as u32;
    out.put_indices("argmax", maxima.shape(), &flat.flat().iter().map(along).collect::<Vec<_>>());
    Ok(())
}

fn keep(case: &Case) -> Check<Keep> {
    Ok(if case.attr("keepdim")? { Keep::Keep } else { Keep::Drop })
}

fn layout<T: Real>(case: &Case, out: &mut Results) -> Check {
    let op = case.info.op.as_str();
    match op {
        "gather" | "index_select" => {
            let axis: usize = case.attr("axis")?;
            let (index, shape) = (case.indices("index")?, &case.raw("index")?.shape);
            differentiate(case, out, &["x"], "y", |v: &[Var<T>]| match op {
                "gather" => v[0].gather(axis, &index, shape),
                _ => v[0].index_select(axis, &index),
            })
        }
        "concat" => {
            let axis: usize = case.attr("axis")?;
            let count = (0..).take_while(|i| case.has(&format!("x{i}"))).count();
            let names: Vec<String> = (0..count).map(|i| format!("x{i}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            differentiate(case, out, &names, "y", |v: &[Var<T>]| {
                Var::concat(&v.iter().collect::<Vec<_>>(), axis)
            })
        }
        "transpose" => {
            let (a, b) = (case.attr("axis0")?, case.attr("axis1")?);
            differentiate(case, out, &["x"], "y", |v: &[Var<T>]| v[0].transpose(a, b))
        }
        "permute" => {
            let dims: Vec<usize> = case.attr("dims")?;
            differentiate(case, out, &["x"], "y", |v: &[Var<T>]| v[0].permute(&dims))
        }
        "reshape" => {
            let shape: Vec<usize> = case.attr("shape")?;
            differentiate(case, out, &["x"], "y", |v: &[Var<T>]| v[0].reshape(&shape))
        }
        "transpose_reshape" => {
            let (a, b) = (case.attr("axis0")?, case.attr("axis1")?);
            let shape: Vec<usize> = case.attr("shape")?;
            differentiate(case, out, &["x"], "y", |v: &[Var<T>]| {
                v[0].transpose(a, b).reshape(&shape)
            })
        }
        "slice" => {
            let starts: Vec<usize> = case.attr("starts")?;
            let (ends, steps): (Vec<usize>, Vec<usize>) = (case.attr("ends")?, case.attr("steps")?);
            differentiate(case, out, &["x"], "y", |v: &[Var<T>]| v[0].slice(&starts, &ends, &steps))
        }
        _ => {
            let shape: Vec<usize> = case.attr("shape")?;
            differentiate(case, out, &["x"], "y", |v: &[Var<T>]| v[0].broadcast_to(&shape))
        }
    }
}

fn cross_entropy<T: Real>(case: &Case, out: &mut Results) -> Check {
    let target = case.indices("target")?;
    let name: String = case.attr("reduction")?;
    let reduction = match name.as_str() {
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        other => return Err(format!("unknown value `{other}` of attribute `reduction`")),
    };
    differentiate(case, out, &["logits"], "y", |v: &[Var<T>]| {
        v[0].cross_entropy(&target, reduction)
    })
}
