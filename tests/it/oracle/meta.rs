//! The mask's gradient and whole iterations, by the crate's own functions on the small networks.

use super::Check;
use super::case::{Case, Results};
use super::tiny::{self, TinyEncoder};
use dimask::Real;
use dimask::autodiff::{Var, grad, grad_graph, hvp};
use dimask::metamask::meta_gradient::{exact as exact_gradient, reverse_over_reverse};
use dimask::metamask::{
    Heads, Mask, MaskForm, Memory, Meta, MetaGradient, Mode, Network, Objective, Problem, Settings,
    State, TrialStep, meta_gradient, step as metamask_step,
};
use dimask::nn::{Encode, Layout, Linear, Mlp, MlpLayer, Module, Pass, RunningStats, params};
use dimask::optim::{Optimizer, OptimizerState, Sgd};
use dimask::ssl::{BarlowTwins, Loss, Normalization};
use dimask::tensor::Tensor;

type Tiny<T> = Network<T, TinyEncoder<T>>;

/// What all cases on the small network share.
struct Setup<T: Real> {
    network: Tiny<T>,
    mask: Mask<T>,
    objective: Objective,
    x: Tensor<T>,
}

impl<T: Real> Setup<T> {
    fn read(case: &Case) -> Check<Setup<T>> {
        let (encoder, redundancy, base) = tiny::network(case)?;
        let heads = Heads { redundancy: Some(redundancy), base, predictor: None };
        let network = Network { encoder, heads };
        let objective = Objective {
            base: Loss::NtXent { temperature: case.attr("temperature")? },
            redundancy: BarlowTwins {
                lambda: case.attr("lambda")?,
                normalization: Normalization::Unbiased,
                scale: 1.0,
            },
            w_con: case.attr("weight_cl")?,
            w_drr: 1.0,
        };
        let mask = Mask { logits: case.tensor("mask")?, form: MaskForm::Sigmoid };
        Ok(Setup { network, mask, objective, x: views(case, "x0", "x1")? })
    }
}

/// Two views stacked, as the crate takes them.
fn views<T: Real>(case: &Case, x0: &str, x1: &str) -> Check<Tensor<T>> {
    Ok(Tensor::concat(&[&tiny::images(case, x0)?, &tiny::images(case, x1)?], 0))
}

/// Rows of view `view`, 0 or 1.
fn view<T: Real>(stacked: &Var<T>, view: usize) -> Tensor<T> {
    let n = stacked.shape()[0] / 2;
    stacked.rows(view * n..(view + 1) * n).value().clone()
}

/// Hands in one tensor a parameter, as `PREFIX NAME` in the files' layout.
fn put_parameters<T: Real>(
    out: &mut Results,
    prefix: &str,
    module: &impl Module<T>,
    tensors: &[Tensor<T>],
) {
    let mut tensors = tensors.iter();
    module.visit(&mut |name, _, layout| {
        let tensor = tensors.next().expect("one tensor a parameter");
        out.put(format!("{prefix}{name}"), &layout.to_torch(tensor));
    });
}

fn values<T: Real>(vars: &[Var<T>]) -> Vec<Tensor<T>> {
    vars.iter().map(|var| var.value().clone()).collect()
}

/// Features, projections, losses and all their derivatives at one point.
pub fn forward<T: Real>(case: &Case, out: &mut Results) -> Check {
    let Setup { network, mask, objective, x } = Setup::<T>::read(case)?;
    let logits = Var::leaf(mask.logits.clone());
    let x = Var::constant(x);
    let omega = params(&network);
    let wrt: Vec<&Var<T>> = omega.iter().chain([&logits]).collect();
    let masked = || {
        let features = network.encoder.forward(&x, &mut Pass::train(2));
        let masked = &features * &mask.form.factors(&logits);
        (features, masked)
    };
    let joint = || objective.joint(&network.heads, &masked().1, None, &mut Pass::train(2));

    let (features, hidden) = masked();
    let heads = &network.heads;
    let redundancy = heads.redundancy.as_ref().ok_or("there is no redundancy head")?;
    let zb = redundancy.forward(&hidden, &mut Pass::train(2));
    let zc = heads.base.forward(&hidden, &mut Pass::train(2));
    for (name, value) in [("f", &features), ("h", &hidden), ("zb", &zb), ("zc", &zc)] {
        out.put(format!("{name}0"), &view(value, 0));
        out.put(format!("{name}1"), &view(value, 1));
    }
    let losses = joint();
    out.put("loss", losses.total.value());
    let drr = losses.drr.as_ref().ok_or("there is no redundancy loss")?;
    out.put("loss_bt", drr.value());
    out.put("loss_cl", losses.con.value());

    let mut put = |prefix: &str, mask_name: &str, tensors: &[Tensor<T>]| {
        put_parameters(out, prefix, &network, tensors);
        out.put(mask_name, &tensors[omega.len()]);
    };
    put("grad/", "grad_mask", &values(&grad_graph(&losses.total, &wrt)));
    put("grad/", "grad_mask", &grad(joint().total, &wrt));
    put("grad_cl/", "grad_cl_mask", &values(&grad_graph(&losses.con, &wrt)));
    put("grad_cl/", "grad_cl_mask", &grad(joint().con, &wrt));
    let mut directions = tiny::per_parameter(case, "v/", &network)?;
    directions.push(case.tensor("v_mask")?);
    let directions: Vec<&Tensor<T>> = directions.iter().collect();
    put("hvp/", "hvp_mask", &hvp(&losses.total, &wrt, &directions));
    Ok(())
}

/// The settings of a trial step and of the mask's step, and the buffers before them.
struct MetaSetup<T: Real> {
    base: Setup<T>,
    state: OptimizerState<T>,
    optimizer: Optimizer,
    mask_optimizer: Optimizer,
    mask_buffer: Tensor<T>,
    trial: TrialStep,
}

impl<T: Real> MetaSetup<T> {
    fn read(case: &Case) -> Check<MetaSetup<T>> {
        let base = Setup::read(case)?;
        let rule = |prefix: &str| -> Check<Sgd> {
            Ok(Sgd {
                lr: case.attr(&format!("{prefix}lr"))?,
                momentum: case.attr(&format!("{prefix}momentum"))?,
                weight_decay: case.attr(&format!("{prefix}weight_decay"))?,
                ..Sgd::default()
            })
        };
        let virtual_loss: String = case.attr("virtual_loss")?;
        let trial = match virtual_loss.as_str() {
            "contrastive" => TrialStep::Contrastive,
            "joint" => TrialStep::Joint,
            other => return Err(format!("unknown value `{other}` of attribute `virtual_loss`")),
        };
        let sgd = rule("")?;
        let mask_sgd = rule("mask_")?;
        // Without momentum there are no buffers, and none are stored.
        let stored = sgd.momentum != 0.0 || !case.names_under("buf/").is_empty();
        let optimizer = Optimizer::Sgd(sgd);
        let state = match stored {
            true => momentum(tiny::per_parameter(case, "buf/", &base.network)?),
            false => optimizer.start(&values(&params(&base.network))),
        };
        let mask_buffer = match mask_sgd.momentum != 0.0 || case.has("mask_buf") {
            true => case.tensor("mask_buf")?,
            false => Tensor::zeros(base.mask.logits.shape()),
        };
        let mask_optimizer = Optimizer::Sgd(mask_sgd);
        Ok(MetaSetup { state, base, optimizer, mask_optimizer, mask_buffer, trial })
    }

    fn problem(&self) -> Problem<'_, T, TinyEncoder<T>> {
        Problem {
            network: &self.base.network,
            state: &self.state,
            optimizer: &self.optimizer,
            mask: &self.base.mask,
            objective: &self.base.objective,
            anchors: None,
            trial: self.trial,
            x: &self.base.x,
        }
    }

    /// Hands in the gradient called `name`, its parts, and the mask's step along it.
    fn put(&self, out: &mut Results, name: &str, mixed: &str, meta: &MetaGradient<T>) {
        out.put(name, &meta.gradient);
        out.put("meta_grad_first_order", &meta.first_order);
        out.put(mixed, &mixed_term(meta, &self.optimizer));
        out.put_scalar("outer_loss", meta.outer_loss.to_f64());
        let state = momentum(vec![self.mask_buffer.clone()]);
        let logits = vec![self.base.mask.logits.clone()];
        let gradient = std::slice::from_ref(&meta.gradient);
        let (logits, state) = self.mask_optimizer.step(logits, gradient, state);
        out.put("mask_after", &logits[0]);
        out.put("mask_buf_after", &state.slots[0][0]);
    }

    /// Hands in the weights after the trial step.
    fn put_virtual(&self, out: &mut Results) {
        let Setup { network, mask, objective, x } = &self.base;
        let mut pass = Pass::train(2);
        let features = network.encoder.forward(&Var::constant(x.clone()), &mut pass);
        let masked = &features * &Var::constant(mask.factors());
        let loss = match self.trial {
            TrialStep::Contrastive => {
                objective.contrastive(&network.heads, &masked, None, &mut pass)
            }
            _ => objective.joint(&network.heads, &masked, None, &mut pass).total,
        };
        let omega = params(network);
        let gradients = grad(loss, &omega.iter().collect::<Vec<_>>());
        let moved = self.optimizer.trial(&values(&omega), gradients, &self.state);
        put_parameters(out, "virtual/", network, &moved);
    }
}

/// The state of SGD after a step, with these buffers.
fn momentum<T: Real>(buffers: Vec<Tensor<T>>) -> OptimizerState<T> {
    OptimizerState { slots: vec![buffers], steps: 1 }
}

/// The second-order part before SGD's factor `-lr`, as the files have it.
fn mixed_term<T: Real>(meta: &MetaGradient<T>, optimizer: &Optimizer) -> Tensor<T> {
    meta.second_order.scale(T::from_f64(-1.0 / optimizer.lr()))
}

/// The exact gradient, and its twin that derives nothing by hand.
pub fn exact<T: Real>(case: &Case, out: &mut Results) -> Check {
    let setup = MetaSetup::<T>::read(case)?;
    setup.put_virtual(out);
    setup.put(out, "meta_grad", "mixed_exact", &exact_gradient(&setup.problem()));
    if size_of::<T>() == 8 {
        // The twin gets its mixed term by a difference, which only f64 has the digits for.
        setup.put(out, "meta_grad", "mixed_twin", &reverse_over_reverse(&setup.problem()));
    }
    Ok(())
}

/// The published approximation.
pub fn finite_difference<T: Real>(case: &Case, out: &mut Results) -> Check {
    let setup = MetaSetup::<T>::read(case)?;
    let r: f64 = case.attr("r")?;
    let meta = meta_gradient::finite_difference(&setup.problem(), r);
    let length = meta.direction_norm.ok_or("the direction has no length")?;
    out.put_scalar("R", r / length);
    setup.put_virtual(out);
    setup.put(out, "meta_grad", "mixed_fd", &meta);
    Ok(())
}

/// The first term alone.
pub fn first_order<T: Real>(case: &Case, out: &mut Results) -> Check {
    let setup = MetaSetup::<T>::read(case)?;
    let meta = meta_gradient::first_order(&setup.problem());
    setup.put_virtual(out);
    setup.put(out, "meta_grad_first_order", "mixed_none", &meta);
    Ok(())
}

/// Two whole iterations, and the first one with the approximate gradient.
pub fn step<T: Real>(case: &Case, out: &mut Results) -> Check {
    let setup = MetaSetup::<T>::read(case)?;
    let (r, running_momentum): (f64, f64) = (case.attr("r")?, case.attr("bn_momentum")?);
    let settings = |meta: Meta| Settings {
        mode: Mode::MetaMask(meta),
        objective: setup.base.objective,
        trial: setup.trial,
        optimizer: setup.optimizer,
        mask_optimizer: setup.mask_optimizer,
        running_momentum,
        ..Settings::default()
    };
    let start = State {
        running: RunningStats::new(&setup.base.network),
        network: setup.base.network.clone(),
        optimizer: setup.state.clone(),
        mask: setup.base.mask.clone(),
        mask_optimizer: momentum(vec![setup.mask_buffer.clone()]),
        memory: Memory::Empty,
    };

    let difference = settings(Meta::FiniteDifference { r });
    let (fd, report) = metamask_step(start.clone(), &setup.base.x, &difference);
    out.put("mask_1_fd", &fd.mask.logits);
    let meta = report.mask.and_then(|mask| mask.meta).ok_or("the mask made no step")?;
    out.put("meta_grad_1_fd", &meta.gradient);

    let mut state = start;
    for (batch, x) in [(1, setup.base.x.clone()), (2, views(case, "x0_b", "x1_b")?)] {
        let report;
        (state, report) = metamask_step(state, &x, &settings(Meta::Exact));
        let weights = values(&params(&state.network));
        put_parameters(out, &format!("w_{batch}/"), &state.network, &weights);
        put_parameters(out, &format!("buf_{batch}/"), &state.network, &state.optimizer.slots[0]);
        out.put(format!("mask_{batch}"), &state.mask.logits);
        out.put(format!("mask_buf_{batch}"), &state.mask_optimizer.slots[0][0]);
        let meta = report.mask.and_then(|mask| mask.meta).ok_or("the mask made no step")?;
        out.put(format!("meta_grad_{batch}"), &meta.gradient);
        out.put_scalar(format!("loss_{batch}"), report.loss);
        out.put_scalar(format!("loss_cl_{batch}"), report.loss_con);
        let drr = report.loss_drr.ok_or("the step has no redundancy loss")?;
        out.put_scalar(format!("loss_bt_{batch}"), drr);
        if batch == 1 {
            put_running(out, "regular", &state.running);
            put_running(out, "official", &official_running(&state, &setup.base, running_momentum)?);
        }
    }
    Ok(())
}

/// The running moments if the trial step's forward pass, at the new weights and the old mask,
/// updates them as well.
fn official_running<T: Real>(
    state: &State<T, TinyEncoder<T>>,
    start: &Setup<T>,
    momentum: f64,
) -> Check<RunningStats<T>> {
    let mut pass = Pass::train(2);
    let network = &state.network;
    let features = network.encoder.forward(&Var::constant(start.x.clone()), &mut pass);
    let masked = &features * &Var::constant(start.mask.factors());
    start.objective.joint(&network.heads, &masked, None, &mut pass);
    let mut running = state.running.clone();
    running.update(&pass.into_moments(), momentum);
    Ok(running)
}

fn put_running<T: Real>(out: &mut Results, variant: &str, running: &RunningStats<T>) {
    for (layer, mean, var) in running.iter() {
        out.put(format!("running_mean_{variant}/{layer}"), mean);
        out.put(format!("running_var_{variant}/{layer}"), var);
    }
}

/// `tanh(x w0)`: the encoder of the smooth cases, where finite differences converge.
#[derive(Clone)]
struct Tanh<T: Real>(Linear<T>);

impl<T: Real> Module<T> for Tanh<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        Tanh(self.0.map_params(f))
    }
}

impl<T: Real> Encode<T> for Tanh<T> {
    fn features(&self) -> usize {
        self.0.weight.shape()[1]
    }

    fn forward(&self, x: &Var<T>, _: &mut Pass<'_, T>) -> Var<T> {
        self.0.forward(x).tanh()
    }
}

/// All forms of the gradient on a network without kinks.
pub fn smooth<T: Real>(case: &Case, out: &mut Results) -> Check {
    let linear = |name: &str| -> Check<Linear<T>> {
        // These files hold the weights as `[in, out]`, which is the crate's own layout.
        let weight = Var::leaf(case.tensor(name)?);
        Ok(Linear::unbiased(name, weight))
    };
    let base = Mlp { layers: vec![MlpLayer { linear: linear("w1")?, norm: None }] };
    let heads = Heads { redundancy: None, base, predictor: None };
    let network = Network { encoder: Tanh(linear("w0")?), heads };
    let objective = Objective {
        base: Loss::NtXent { temperature: case.attr("temperature")? },
        ..Objective::default()
    };
    let sgd = Sgd {
        lr: case.attr("lr")?,
        momentum: case.attr("momentum")?,
        weight_decay: case.attr("weight_decay")?,
        ..Sgd::default()
    };
    let optimizer = Optimizer::Sgd(sgd);
    let mask = Mask { logits: case.tensor("mask")?, form: MaskForm::Sigmoid };
    let x = Tensor::concat(&[&case.tensor("x0")?, &case.tensor("x1")?], 0);
    let state = momentum(vec![case.tensor("buf0")?, case.tensor("buf1")?]);
    let problem = Problem {
        network: &network,
        state: &state,
        optimizer: &optimizer,
        mask: &mask,
        objective: &objective,
        anchors: None,
        trial: TrialStep::Contrastive,
        x: &x,
    };
    let meta = exact_gradient(&problem);
    out.put("meta_grad", &meta.gradient);
    out.put("mixed_exact", &mixed_term(&meta, &optimizer));
    out.put("meta_grad_first_order", &meta.first_order);
    out.put_scalar("outer_loss", meta.outer_loss.to_f64());
    out.put("meta_grad", &reverse_over_reverse(&problem).gradient);
    out.put("meta_grad_first_order", &meta_gradient::first_order(&problem).gradient);
    for (k, r) in case.attr::<Vec<f64>>("r")?.into_iter().enumerate() {
        let meta = meta_gradient::finite_difference(&problem, r);
        out.put(format!("meta_grad_fd_{k}"), &meta.gradient);
    }

    let features = network.encoder.forward(&Var::constant(x.clone()), &mut Pass::train(2));
    let masked = &features * &Var::constant(mask.factors());
    let loss = objective.contrastive(&network.heads, &masked, None, &mut Pass::train(2));
    out.put("inner_loss", loss.value());
    let omega = params(&network);
    let gradients = grad(loss, &omega.iter().collect::<Vec<_>>());
    let moved = optimizer.trial(&values(&omega), gradients, &state);
    out.put("virtual_w0", &moved[0]);
    out.put("virtual_w1", &moved[1]);
    Ok(())
}
