//! `dimask train --profile`: where the time of a run went, as a table and in the run's folder.

use serde_json::{Value, json};

use super::output::table;
use crate::error::Result;
use crate::files::write_atomically;
use crate::kernels::profile::Cost;
use crate::run::folder::RunFolder;

/// Billions a second; absent where there is nothing of the kind.
fn rate(amount: f64, cost: &Cost) -> Option<f64> {
    (amount > 0.0).then(|| amount / cost.seconds / 1e9)
}

/// The table of a profile.
pub(super) fn report(costs: &[(&'static str, Cost)]) -> String {
    let total: f64 = costs.iter().map(|(_, cost)| cost.seconds).sum();
    let head = ["operation", "calls", "seconds", "%", "GFLOP/s", "GB/s"];
    let figure = |rate: Option<f64>| rate.map_or("-".into(), |rate| format!("{rate:.1}"));
    let row = |(name, cost): &(&'static str, Cost)| {
        let share = 100.0 * cost.seconds / total;
        vec![
            name.to_string(),
            cost.calls.to_string(),
            format!("{:.3}", cost.seconds),
            format!("{share:.1}"),
            figure(rate(cost.flop, cost)),
            figure(rate(cost.bytes, cost)),
        ]
    };
    let head = head.map(String::from).to_vec();
    let rows: Vec<_> = [head].into_iter().chain(costs.iter().map(row)).collect();
    format!("{}\n{total:.3} s in operations on tensors\n", table(&rows))
}

/// Writes `profile.json`, the same figures, into the folder of the run.
///
/// # Errors
/// `Io` if the system refuses.
pub(super) fn write(folder: &RunFolder, costs: &[(&'static str, Cost)]) -> Result<()> {
    let op = |(name, cost): &(&'static str, Cost)| {
        json!({
            "op": name,
            "calls": cost.calls,
            "seconds": cost.seconds,
            "gflop_per_s": rate(cost.flop, cost),
            "gb_per_s": rate(cost.bytes, cost),
        })
    };
    let ops: Vec<Value> = costs.iter().map(op).collect();
    let text = format!("{:#}\n", json!({ "ops": ops }));
    write_atomically(&folder.profile(), text.as_bytes())
}
