//! Random programs over all operations: the crate's derivatives, to the second order and in both
//! modes, against numbers that differentiate themselves one at a time.
//!
//! Some thousand here; many with
//!     DIMASK_PROGRAMS=100000 cargo test --release --test it programs -- --ignored --nocapture

mod array;
mod draw;
mod program;
mod reference;
mod scalar;
mod step;

use crate::support::tolerance;
use dimask::autodiff::{Var, grad, grad_graph, pull, push, push_graph};
use dimask::tensor::Tensor;
use program::{Found, Program, STEPS};
use scalar::Mistake;
use std::collections::BTreeMap;
use std::time::Instant;

/// What the crate finds of a program: each figure by its name, as often as there are ways to it.
struct Answers {
    loss: f64,
    slope: f64,
    /// Gradients: without and with a graph.
    gradients: [Vec<Tensor<f64>>; 2],
    /// The Hessian's product: in reverse over reverse, and in one of the mixed modes.
    products: [Vec<Tensor<f64>>; 2],
}

fn answers(seed: u64, program: &Program) -> Answers {
    let (leaves, directions, loss) = program.run();
    let wrt: Vec<&Var<f64>> = leaves.iter().collect();
    let moves: Vec<(&Var<f64>, &Tensor<f64>)> = leaves.iter().zip(&directions).collect();
    let slope = push(&[&loss], &moves).remove(0).item();
    let graph = grad_graph(&loss, &wrt);
    let values = graph.iter().map(|g| g.value().clone()).collect();
    let mixed = match seed % 2 == 0 {
        true => push(&graph.iter().collect::<Vec<_>>(), &moves),
        false => {
            let still: Vec<Var<f64>> = directions.iter().cloned().map(Var::constant).collect();
            let moves: Vec<(&Var<f64>, &Var<f64>)> = leaves.iter().zip(&still).collect();
            grad(push_graph(&[&loss], &moves).remove(0), &wrt)
        }
    };
    let twice = pull(graph.into_iter().zip(directions.iter().cloned()).collect(), &wrt);
    let value = loss.item();
    let gradient = grad(loss.clone(), &wrt);
    Answers { loss: value, slope, gradients: [gradient, values], products: [twice, mixed] }
}

/// The largest difference, of all figures, relative to the largest entry of its kind; and where.
fn difference(found: &Found, answers: &Answers) -> (f64, &'static str) {
    let number = |a: f64, b: f64| (a - b).abs() / a.abs().max(1.0);
    let arrays = |order: usize, given: &[Tensor<f64>]| {
        let expected = || found.gradients.iter().flat_map(|both| &both[order]);
        let scale = expected().fold(1.0, |scale: f64, x| scale.max(x.abs()));
        let given = given.iter().flat_map(|tensor| tensor.as_slice());
        // A NaN is as far away as can be.
        let gap = |(a, b): (&f64, &f64)| if b.is_nan() { f64::INFINITY } else { (a - b).abs() };
        expected().zip(given).map(gap).fold(0.0, f64::max) / scale
    };
    let [plain, recorded] = &answers.gradients;
    let [twice, mixed] = &answers.products;
    let all = [
        (number(found.loss, answers.loss), "the loss"),
        (number(found.slope, answers.slope), "the pushed tangent"),
        (arrays(0, plain), "the gradient"),
        (arrays(0, recorded), "the recorded gradient"),
        (arrays(1, twice), "the Hessian's product"),
        (arrays(1, mixed), "the Hessian's product in mixed modes"),
    ];
    all.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).expect("there are six")
}

/// Compares programs; how often each step was met.
fn compare(seeds: std::ops::Range<u64>) -> BTreeMap<String, usize> {
    let (began, count) = (Instant::now(), seeds.end - seeds.start);
    let (mut met, mut worst) = (BTreeMap::new(), 0.0);
    for seed in seeds {
        let program = Program::random(seed);
        let (gap, what) = difference(&program.define(None), &answers(seed, &program));
        assert!(gap <= tolerance::PROGRAM, "program {seed}: {what} differs by {gap:e}\n{program}");
        worst = gap.max(worst);
        program.names().for_each(|name| *met.entry(name).or_insert(0) += 1);
    }
    let (steps, seconds) = (met.values().sum::<usize>(), began.elapsed().as_secs_f64());
    println!("{count} programs, {steps} steps, {seconds:.1} s, at most {worst:.1e} apart");
    met
}

#[test]
fn random_programs_have_the_derivatives_of_their_numbers() {
    let met = compare(0..3_000);
    for name in STEPS {
        assert!(met.get(name).is_some_and(|count| *count >= 20), "{name}: {:?}", met.get(name));
    }
}

#[test]
#[ignore = "minutes: DIMASK_PROGRAMS says how many"]
fn many_random_programs_have_the_derivatives_of_their_numbers() {
    let count = std::env::var("DIMASK_PROGRAMS");
    let count = count.map_or(100_000, |text| text.parse().expect("a number"));
    println!("{:?}", compare(1_000_000..1_000_000 + count));
}

/// Whether a step is made wrong by a mistake: what has no curve may be called constant, and where
/// every element is read once the last time is the only one.
fn is_wrong(name: &str, mistake: Mistake) -> bool {
    let straight = "\
        Neg Scale Shift Abs Relu Clamp Add Sub Reshape Permute BroadcastTo SumTo Slice Embed \
        Concat Select Gather Put MaxAxis SumAxes MeanAxes MaxPool AvgPool GlobalAvgPool";
    let read_once = "\
        Neg Scale Shift Exp Ln Sqrt Tanh Sigmoid Square Recip Abs Relu Clamp Powf Reshape \
        Permute SumTo Slice Embed Put MaxAxis SumAxes MeanAxes LogSumExp GlobalAvgPool";
    // To the first order a variance does not depend on the mean that it is taken around.
    let still = "VarAxes StdAxes";
    let is_one_of = |names: &str| names.split(' ').any(|one| one == name);
    match mistake {
        Mistake::Constant => !is_one_of(straight),
        Mistake::Last => !is_one_of(read_once) && !is_one_of(still),
        Mistake::Double | Mistake::Neighbour => true,
    }
}

#[test]
fn a_mistake_in_any_step_is_found() {
    const PROGRAMS: u64 = 2_000;
    let programs: Vec<(Program, Answers)> = (0..PROGRAMS)
        .map(|seed| {
            let program = Program::random(seed);
            let answers = answers(seed, &program);
            (program, answers)
        })
        .collect();
    let (mut count, mut latest, mut missed) = (0, (0, String::new()), Vec::new());
    for name in STEPS {
        let with: Vec<usize> = (0..programs.len())
            .filter(|&number| programs[number].0.names().any(|own| own == name))
            .collect();
        for mistake in [Mistake::Double, Mistake::Constant, Mistake::Neighbour, Mistake::Last] {
            if !is_wrong(name, mistake) {
                continue;
            }
            let found = with.iter().find(|&&number| {
                let (program, answers) = &programs[number];
                difference(&program.define(Some((name, mistake))), answers).0 > tolerance::PROGRAM
            });
            count += 1;
            match found {
                Some(&number) => latest = latest.max((number, format!("{mistake:?} in {name}"))),
                None => missed.push(format!("{mistake:?} in {name}")),
            }
        }
    }
    println!("{count} mistakes, the last one to be found ({}) by program {}", latest.1, latest.0);
    assert!(missed.is_empty() && count > 2 * STEPS.len(), "of {count} missed: {missed:?}");
}
