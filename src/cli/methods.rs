//! `dimask methods`: what can be trained, and what to expect of it.

use super::output;
use crate::config::{Layers, Method, PRESETS, RunConfig};
use crate::error::Result;
use crate::run::settings::objective;

/// Prints methods and presets.
pub(super) fn methods() -> Result<()> {
    let head = ["--method", "", "batch", "its loss, at the start", "with the mask", "source"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for method in Method::ALL {
        let plain = preset("small", method, false)?;
        let masked = preset("small", method, true)?;
        rows.push(vec![
            method.key().into(),
            method.to_string(),
            plain.batch_size.to_string(),
            at_start(&plain),
            format!("{} + {} L_drr", at_start(&masked), masked.loss.w_drr),
            source(method).into(),
        ]);
    }
    let mut text = output::table(&rows);
    text.push_str(
        "\nLosses as in the preset small, of projections that are random and unrelated;\n\
         L_drr, the redundancy loss, is about 1 in units of its dimensions.\n\
         Without the mask (--no-mask) a method is its own loss.\n\n",
    );
    for known in PRESETS {
        text.push_str(&format!("--preset {:<9} {}\n", known.name, known.summary()));
    }
    text.push_str("\nAll settings of a pair: dimask config --preset P --method M [--no-mask]\n");
    output::print(&text)
}

fn preset(name: &str, method: Method, masked: bool) -> Result<RunConfig> {
    let mut layers = Layers::preset(name)?;
    layers.set("method", method.key().into(), "--method")?;
    layers.set("mask.enabled", masked.into(), "--no-mask")?;
    layers.finish()
}

/// The base method's loss of random projections, times its weight in the joint loss.
fn at_start(config: &RunConfig) -> String {
    let width = config.model.contrastive_head.last().copied().unwrap_or(1);
    let loss = objective(config).base.at_start(config.batch_size, width);
    match (config.mask.enabled, config.loss.w_con) {
        (true, weight) if weight != 1.0 => format!("{weight} x {loss:.2}"),
        _ => format!("{loss:.2}"),
    }
}

/// Where the method was published.
fn source(method: Method) -> &'static str {
    match method {
        Method::BarlowTwins => "arXiv 2103.03230",
        Method::Simclr => "arXiv 2002.05709",
        Method::Byol => "arXiv 2006.07733",
        Method::Dcl => "arXiv 2007.00224",
        Method::Hcl => "arXiv 2010.04592",
        Method::Nnclr => "arXiv 2104.14548",
    }
}
