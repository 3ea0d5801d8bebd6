//! The walk over orders and modes: each derivative that has been checked is the next function.

use super::map::{Function, Map, flat, tensors};
use super::point::{Along, check};
use super::report::{CheckOptions, Mode, Modes, Report};
use crate::autodiff::{Var, pull_graph, push_graph};
use crate::tensor::Tensor;

/// Which function the check has come to, and how much is asked of it.
pub(super) struct Task<'a> {
    pub(super) options: &'a CheckOptions,
    pub(super) order: usize,
    /// How the function was derived from the one of an order less, and its value by the same
    /// derivation without recording.
    pub(super) over: Mode,
    pub(super) plain: Option<Vec<f64>>,
    /// What a pull is called.
    pub(super) pull: Mode,
    /// The entries of each input to compare one by one, and the directions.
    pub(super) entries: usize,
    pub(super) directions: usize,
}

/// Checks `f`, and its derivatives as functions, up to the order that is asked for.
pub(super) fn check_orders(
    f: &Function<'_>,
    inputs: &[Tensor<f64>],
    options: &CheckOptions,
    report: &mut Report,
) {
    let task = Task {
        options,
        order: 1,
        over: Mode::Reverse,
        plain: None,
        pull: Mode::Reverse,
        entries: options.entries,
        directions: options.directions,
    };
    check_order(f, inputs, task, report);
}

fn check_order(f: &Function<'_>, inputs: &[Tensor<f64>], task: Task<'_>, report: &mut Report) {
    let Task { options, order, over, .. } = task;
    if order > options.order {
        return;
    }
    let map = Map::of_graph(f, inputs);
    let Some(Along { u, v, pulled, pushed, outputs }) = check(&map, &flat(inputs), &task, report)
    else {
        return;
    };
    let constants = |flat: &[f64], shapes: &[Vec<usize>]| -> Vec<Var<f64>> {
        tensors(flat, shapes).into_iter().map(Var::constant).collect()
    };
    // Two chains of functions, one recorded by pulls and one by pushes. Where both are asked for,
    // the first gets all comparisons; the second shows the same rules on top of a push.
    let forward = order > 1 && over == Mode::Forward;
    if options.modes != Modes::Forward && !forward {
        let next = |x: &[Var<f64>]| {
            let (y, u) = (f(x), constants(&u, &outputs));
            pull_graph(&y.iter().zip(&u).collect::<Vec<_>>(), &x.iter().collect::<Vec<_>>())
        };
        let task = Task { order: order + 1, over: Mode::Reverse, plain: pulled, ..task };
        check_order(&next, inputs, task, report);
    }
    if options.modes != Modes::Reverse && (order == 1 || forward) {
        let next = |x: &[Var<f64>]| {
            let (y, v) = (f(x), constants(&v, &map.inputs));
            push_graph(&y.iter().collect::<Vec<_>>(), &x.iter().zip(&v).collect::<Vec<_>>())
        };
        let (entries, directions) = match options.modes {
            Modes::Both => (0, options.directions.min(1)),
            _ => (options.entries, options.directions),
        };
        let order = order + 1;
        let task = Task { order, over: Mode::Forward, plain: pushed, entries, directions, ..task };
        check_order(&next, inputs, task, report);
    }
}
