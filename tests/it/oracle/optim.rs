//! Optimisers and schedules.

use super::Check;
use super::case::{Case, Results};
use dimask::Real;
use dimask::optim::{self, Sgd, SgdState};

/// Several steps of SGD over several parameters.
pub fn sgd<T: Real>(case: &Case, out: &mut Results) -> Check {
    let steps: usize = case.attr("steps")?;
    let (momentum, weight_decay) = (case.attr("momentum")?, case.attr("weight_decay")?);
    let nesterov = case.attr("nesterov")?;
    let rates = case.tensor::<f64>("lr")?;
    if rates.len() != steps {
        return Err(format!("{steps} steps, {} learning rates", rates.len()));
    }
    let count = (0..).take_while(|i| case.has(&format!("p{i}"))).count();
    let mut params = Vec::new();
    for i in 0..count {
        params.push(case.tensor::<T>(&format!("p{i}"))?);
    }
    let mut state = SgdState::new(&params);
    for (step, &lr) in (1..).zip(rates.as_slice()) {
        let mut grads = Vec::new();
        for i in 0..count {
            grads.push(case.tensor::<T>(&format!("g{i}_{step}"))?);
        }
        let rule = Sgd { lr, momentum, weight_decay, nesterov };
        (params, state) = rule.step(params, &grads, state);
        for (i, param) in params.iter().enumerate() {
            out.put(format!("p{i}_{step}"), param);
        }
    }
    Ok(())
}

/// The cosine schedule, one value a step.
pub fn cosine(case: &Case, out: &mut Results) -> Check {
    let (base, eta_min) = (case.attr("base_lr")?, case.attr("eta_min")?);
    let (total, count): (usize, usize) = (case.attr("total")?, case.attr("count")?);
    out.put_list("value", (0..count).map(|t| optim::cosine(base, eta_min, t, total)).collect());
    Ok(())
}
