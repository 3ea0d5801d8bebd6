//! Equal to an independent reference: every case of a directory of reference values, computed with
//! this crate in both float types and compared tensor by tensor.
//!
//! What is computed depends on a case's `op` and `attrs` only, never on its name, its shapes or its
//! numbers, so any directory of the same format will do: `DIMASK_ORACLE` names another one. An op,
//! an attribute or an attribute's value that is not known here is a failure, as is a tensor that
//! nothing was computed for.

mod case;
mod compare;
mod driver;
mod image;
mod knn;
mod layers;
mod losses;
mod meta;
mod nested;
mod ops;
mod optim;
mod resnet;
mod self_test;
mod store;
mod tiny;

use case::{Case, Results};
use dimask::Real;
use dimask::kernels::conv::Choice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use store::Info;

/// The result of a step of the harness; the error is a sentence for the reader.
pub type Check<R = ()> = Result<R, String>;

/// The ops that this version of the crate does not have: none.
const EXCEPTED: &[&str] = &[];

/// The tensors that must be computed and compared.
const COMPARED: &[&str] = &["output", "grad", "second", "third"];

/// What came out for a directory.
#[derive(Default)]
pub struct Report {
    checked: usize,
    excepted: usize,
    tensors: usize,
    /// Worst relative error in f64 and in f32.
    worst: [f64; 2],
    /// Optional tensors of checked cases, which are not compared.
    optional: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    /// The one line that sums it up.
    fn line(&self) -> String {
        format!(
            "{} cases checked, {} excepted, {} tensors, \
             worst relative error f64 {:.1e}, f32 {:.1e}",
            self.checked, self.excepted, self.tensors, self.worst[0], self.worst[1]
        )
    }
}

/// Checks every case of `directory`; fails only if there is nothing to check.
fn check_directory(directory: &Path) -> Check<Report> {
    let index = store::read_index(directory)?;
    let mut report = Report::default();
    for info in &index.cases {
        if EXCEPTED.contains(&info.op.as_str()) {
            report.excepted += 1;
            continue;
        }
        report.checked += 1;
        let compared = info.tensors.values().filter(|spec| COMPARED.contains(&spec.role.as_str()));
        report.tensors += compared.count();
        for (name, spec) in &info.tensors {
            match spec.role.as_str() {
                "optional" => report.optional.push(format!("{}: {name}", info.name)),
                "input" | "cotangent" | "direction" => {}
                role if COMPARED.contains(&role) => {}
                role => report.failures.push(format!("{}: unknown role `{role}`", info.name)),
            }
        }
        check_case::<f64>(directory, info, &mut report, 0);
        check_case::<f32>(directory, info, &mut report, 1);
    }
    match report.checked {
        0 => Err(format!("{}: the index has no case to check", directory.display())),
        _ => Ok(report),
    }
}

/// Computes and compares one case in one float type.
fn check_case<T: Real>(directory: &Path, info: &Info, report: &mut Report, float: usize) {
    let place = format!("{} ({}, {})", info.name, info.op, std::any::type_name::<T>());
    let mut work = || -> Check<Vec<Check<Option<f64>>>> {
        let case = Case::read(directory, info)?;
        let mut results = Results::default();
        compute::<T>(&case, &mut results)?;
        case.check_attributes()?;
        let mut outcomes = Vec::new();
        for (name, spec) in &info.tensors {
            if !COMPARED.contains(&spec.role.as_str()) {
                continue;
            }
            let reference = case.raw(name)?;
            match results.values.get(name) {
                None => outcomes.push(Err(format!("nothing is computed for `{name}`"))),
                Some(values) => outcomes.extend(values.iter().map(|got| {
                    compare::compare::<T>(info, spec, reference, got)
                        .map_err(|error| format!("`{name}`: {error}"))
                })),
            }
        }
        Ok(outcomes)
    };
    // The engine panics on misuse; one bad case must not hide the others.
    let outcomes = match catch_unwind(AssertUnwindSafe(&mut work)) {
        Ok(Ok(outcomes)) => outcomes,
        Ok(Err(error)) => vec![Err(error)],
        Err(panic) => vec![Err(format!("panicked: {}", panic_text(&*panic)))],
    };
    for outcome in outcomes {
        match outcome {
            Ok(Some(error)) => report.worst[float] = report.worst[float].max(error),
            Ok(None) => {}
            Err(error) => report.failures.push(format!("{place}: {error}")),
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// Computes a case: the one place that knows all ops.
fn compute<T: Real>(case: &Case, out: &mut Results) -> Check {
    match case.info.op.as_str() {
        "conv2d" | "linear" | "batch_norm_train" | "batch_norm_eval" | "max_pool2d"
        | "avg_pool2d" | "global_avg_pool2d" => layers::compute::<T>(case, out),
        "nested_grad" => nested::compute::<T>(case, out),
        "barlow_twins" => losses::barlow_twins::<T>(case, out),
        "nt_xent" => losses::nt_xent::<T>(case, out),
        "byol" => losses::byol::<T>(case, out),
        "dcl" | "hcl" => losses::debiased::<T>(case, out),
        "nnclr" => losses::nnclr::<T>(case, out),
        "meta_grad_smooth" => meta::smooth::<T>(case, out),
        "tiny_forward" => meta::forward::<T>(case, out),
        "meta_grad_exact" => meta::exact::<T>(case, out),
        "meta_grad_finite_difference" => meta::finite_difference::<T>(case, out),
        "meta_grad_first_order" => meta::first_order::<T>(case, out),
        "metamask_step" => meta::step::<T>(case, out),
        "sgd" | "lars" | "lars_clipped" | "adam" => optim::steps::<T>(case, out),
        "ema_update" => optim::ema::<T>(case, out),
        "knn" => knn::knn::<T>(case, out),
        "topk_accuracy" => knn::topk_accuracy::<T>(case, out),
        "resnet18_cifar" => resnet::compute::<T>(case, out),
        op if op.starts_with("schedule_") => optim::schedule(case, out),
        op if op.starts_with("image_") => image::compute::<T>(case, out),
        _ => ops::compute::<T>(case, out),
    }
}

/// The directory under test.
fn directory() -> PathBuf {
    match std::env::var_os("DIMASK_ORACLE") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle"),
    }
}

#[test]
fn every_reference_value_is_met() {
    let directory = directory();
    let report = check_directory(&directory).unwrap_or_else(|error| panic!("{error}"));
    for name in &report.optional {
        println!("optional, not compared: {name}");
    }
    println!("{}", report.line());
    println!("convolutions in f32: {:?}", Choice::of_process());
    assert!(
        report.failures.is_empty(),
        "{} comparisons failed:\n{}",
        report.failures.len(),
        report.failures.join("\n")
    );
}
