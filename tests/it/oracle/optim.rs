//! Optimisers and schedules.

use super::Check;
use super::case::{Case, Results};
use dimask::Real;
use dimask::optim::{
    self, Adam, AdamDecay, Clip, Lars, LarsForm, Optimizer, Scope, Sgd, ema_cosine, warmup_cosine,
};

/// The rule that the attributes describe; every step brings its own learning rate.
fn rule(case: &Case) -> Check<Optimizer> {
    let lr = f64::NAN;
    let weight_decay = case.attr("weight_decay")?;
    let scope = || -> Check<Scope> {
        let excludes: bool = case.attr("exclude_1d")?;
        Ok(if excludes { Scope::Matrices } else { Scope::All })
    };
    let lars = |form: LarsForm| -> Check<Optimizer> {
        let (momentum, eta, scope) = (case.attr("momentum")?, case.attr("eta")?, scope()?);
        Ok(Optimizer::Lars(Lars { lr, momentum, weight_decay, eta, form, scope }))
    };
    match case.info.op.as_str() {
        "sgd" => {
            let (momentum, nesterov) = (case.attr("momentum")?, case.attr("nesterov")?);
            Ok(Optimizer::Sgd(Sgd { lr, momentum, weight_decay, nesterov, scope: Scope::All }))
        }
        "lars" => {
            let inside: bool = case.attr("lr_inside_momentum")?;
            lars(if inside { LarsForm::Inside } else { LarsForm::Outside })
        }
        "lars_clipped" => {
            let clip: bool = case.attr("clip_lr")?;
            let clip = if clip { Clip::On } else { Clip::Off };
            lars(LarsForm::Clipped { eps: case.attr("eps")?, clip })
        }
        "adam" => {
            let decoupled: bool = case.attr("decoupled")?;
            let decay = if decoupled { AdamDecay::Decoupled } else { AdamDecay::L2 };
            let (betas, eps, scope) = (case.attr("betas")?, case.attr("eps")?, Scope::All);
            Ok(Optimizer::Adam(Adam { lr, betas, eps, weight_decay, decay, scope }))
        }
        other => Err(format!("unknown op `{other}`")),
    }
}

/// Several steps over several parameters.
pub fn steps<T: Real>(case: &Case, out: &mut Results) -> Check {
    let steps: usize = case.attr("steps")?;
    let rule = rule(case)?;
    let rates = case.tensor::<f64>("lr")?;
    if rates.len() != steps {
        return Err(format!("{steps} steps, {} learning rates", rates.len()));
    }
    let count = (0..).take_while(|i| case.has(&format!("p{i}"))).count();
    let mut params = Vec::new();
    for i in 0..count {
        params.push(case.tensor::<T>(&format!("p{i}"))?);
    }
    let mut state = rule.start(&params);
    for (step, &lr) in (1..).zip(rates.as_slice()) {
        let mut grads = Vec::new();
        for i in 0..count {
            grads.push(case.tensor::<T>(&format!("g{i}_{step}"))?);
        }
        (params, state) = rule.with_lr(lr).step(params, &grads, state);
        for (i, param) in params.iter().enumerate() {
            out.put(format!("p{i}_{step}"), param);
        }
    }
    Ok(())
}

/// A schedule, one value a step.
pub fn schedule(case: &Case, out: &mut Results) -> Check {
    let (total, count): (usize, usize) = (case.attr("total")?, case.attr("count")?);
    let mut put = |value: &dyn Fn(usize) -> f64| {
        out.put_list("value", (0..count).map(value).collect());
    };
    match case.info.op.as_str() {
        "schedule_cosine" => {
            let (base, eta_min) = (case.attr("base_lr")?, case.attr("eta_min")?);
            put(&|t| optim::cosine(base, eta_min, t, total));
        }
        "schedule_warmup_cosine" => {
            let (base, warmup) = (case.attr("base_lr")?, case.attr("warmup")?);
            let last = case.attr("final_fraction")?;
            put(&|t| warmup_cosine(base, t, warmup, total, last));
        }
        "schedule_ema_cosine" => {
            let base = case.attr("base_tau")?;
            put(&|t| ema_cosine(base, t, total));
        }
        other => return Err(format!("unknown op `{other}`")),
    }
    Ok(())
}

/// One update of a moving average.
pub fn ema<T: Real>(case: &Case, out: &mut Results) -> Check {
    let (target, online) = (case.tensor::<T>("target")?, case.tensor::<T>("online")?);
    out.put("target_after", &optim::ema(target, &online, case.attr("tau")?));
    Ok(())
}
