//! Where a run's time went, of a run that was profiled.

use std::fs;

use serde::Deserialize;

use super::Run;
use crate::error::{Error, Result};
use crate::report::bars::{bars, bars_table};
use crate::report::page::Figure;

pub(super) const TEXT: &str =
    "Operations on tensors of a run that was trained with --profile, judging included.";

/// Bars at most; what is less is added up in one more.
const MOST: usize = 14;

/// `profile.json`, as far as it is drawn.
#[derive(Deserialize)]
struct Profile {
    ops: Vec<Op>,
}

#[derive(Deserialize)]
struct Op {
    op: String,
    seconds: f64,
}

/// Seconds of operations; nothing of a run that was not profiled.
pub(super) fn figure(run: &Run) -> Result<Option<(String, Figure)>> {
    let path = run.folder.profile();
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let Profile { mut ops } = serde_json::from_str(&text).map_err(|e| {
        Error::format(&path, format!("line {}", e.line()), "a run's profile", e.to_string())
    })?;
    ops.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let total: f64 = ops.iter().map(|op| op.seconds).sum();
    let row = |name: &str, seconds: f64| {
        let share = 100.0 * seconds / total.max(f64::MIN_POSITIVE);
        (name.to_string(), seconds, format!("{seconds:.1} s, {share:.0} %"))
    };
    let all: Vec<_> = ops.iter().map(|op| row(&op.op, op.seconds)).collect();
    let mut drawn: Vec<_> = all.iter().take(MOST).cloned().collect();
    if all.len() > MOST {
        drawn.push(row("others", all[MOST..].iter().map(|row| row.1).sum()));
    }
    let figure = Figure {
        name: String::new(),
        title: "Operations".into(),
        text: format!("{total:.1} s in all."),
        svg: bars(&drawn),
        data: bars_table("operation", "seconds", &all),
    };
    Ok(Some(("time".to_string(), figure)))
}
