//! `dimask gradcheck`: derivatives against differences, in both modes, with the worst of each.

use super::args::GradcheckArgs;
use super::output;
use crate::autodiff::OP_NAMES;
use crate::autodiff::check::{Report, Verdict, check_grads};
use crate::config::Method;
use crate::error::{Error, Result};
use crate::gradcheck::{Row, losses, operations, smooth};
use crate::metamask::TrialStep;
use crate::ssl::{BarlowTwins, Dcl, Hcl, Loss};

/// Checks what the flags name, or everything, and prints a line each.
///
/// # Errors
/// `Usage` if a name is not known; `Wrong` if a derivative is.
pub(super) fn gradcheck(args: &GradcheckArgs) -> Result<()> {
    if !(1..=4).contains(&args.order) {
        let reason = format!("is {}, must be between 1 and 4", args.order);
        return Err(Error::usage("--order", reason));
    }
    let all = args.op.is_none() && args.loss.is_none() && args.method.is_none();
    // Every name before the first check, which may take its time.
    let mut groups = Vec::new();
    if all || args.op.is_some() {
        let known = operations().iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        groups.push(("operations", chosen(operations(), args.op.as_deref(), "--op", &known)?));
    }
    let known = Method::ALL.map(Method::key);
    if all || args.loss.is_some() {
        let rows = chosen(losses(), args.loss.as_deref(), "--loss", &known.join(", "))?;
        groups.push(("losses", rows));
    }
    if let Some(name) = args.method.as_deref().filter(|name| !known.contains(name)) {
        let reason = format!("{name:?} is none of {}", known.join(", "));
        return Err(Error::usage("--method", reason));
    }
    let mut checked = Checked::default();
    for (what, rows) in groups {
        checked.rows(&format!("{what}, to order {}", args.order), &rows, args.order)?;
    }
    if all || args.method.is_some() {
        checked.methods(args.method.as_deref())?;
    }
    match checked.failed {
        0 => output::print(&format!("all {} derivatives are right\n", checked.right)),
        failed => Err(Error::Wrong { what: format!("{failed} derivatives are not right") }),
    }
}

/// The rows called `name` or of the operation `name`; all of them without one.
fn chosen(rows: Vec<Row>, name: Option<&str>, flag: &str, known: &str) -> Result<Vec<Row>> {
    let Some(name) = name else { return Ok(rows) };
    let fits =
        |row: &Row| row.name == name || row.op == name || row.name.split(' ').next() == Some(name);
    let rows: Vec<Row> = rows.into_iter().filter(fits).collect();
    if rows.is_empty() {
        let inside = OP_NAMES.contains(&name);
        let reason = match inside {
            true => format!("{name} is recorded inside other operations only"),
            false => format!("{name:?} is none of {known}"),
        };
        return Err(Error::usage(flag, reason));
    }
    Ok(rows)
}

/// What has been found.
#[derive(Default)]
struct Checked {
    right: usize,
    failed: usize,
}

impl Checked {
    fn count(&mut self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Right => self.right += 1,
            _ => self.failed += 1,
        }
        match verdict {
            Verdict::Right => "ok",
            Verdict::Wrong => "WRONG",
            Verdict::CannotTell => "CANNOT TELL",
            Verdict::Kink => "A KINK",
            Verdict::NotFinite => "NOT FINITE",
        }
    }

    /// A line for each row; below the table, what failed.
    fn rows(&mut self, title: &str, rows: &[Row], order: usize) -> Result<()> {
        let mut table =
            vec![[title, "", "entries", "worst error", "at"].map(String::from).to_vec()];
        let mut failures = String::new();
        for row in rows {
            let found = check_grads(&row.f, &row.inputs, order);
            if let Err(report) = &found {
                failures += &format!("{}: {report}\n", row.name);
            }
            let (Ok(report) | Err(report)) = found;
            // Where nothing was compared, nothing is right.
            let verdict = report.worst.as_ref().map_or(Verdict::CannotTell, |worst| worst.verdict);
            table.push(line(row.name, self.count(verdict), &report));
        }
        output::print(&format!("{}\n{failures}", output::table(&table)))
    }

    /// The mask's gradient of one method or of all, through every trial step.
    fn methods(&mut self, name: Option<&str>) -> Result<()> {
        let head = ["mask gradient", "trial step", "", "error against the other ways to get it"];
        let mut table = vec![head.map(String::from).to_vec()];
        for method in Method::ALL.into_iter().filter(|m| name.is_none_or(|name| m.key() == name)) {
            for (trial, step) in
                [(TrialStep::Contrastive, "contrastive"), (TrialStep::Joint, "joint")]
            {
                let check = smooth(loss(method), trial).check();
                let word = self.count(if check.holds() { Verdict::Right } else { Verdict::Wrong });
                let line = [method.key(), step, word, &check.to_string()];
                table.push(line.map(String::from).to_vec());
            }
        }
        output::print(&format!("{}\n", output::table(&table)))
    }
}

fn line(name: &str, word: &str, report: &Report) -> Vec<String> {
    let mut cells = vec![name.to_string(), word.into(), report.entries.to_string()];
    match &report.worst {
        Some(worst) => cells.extend([format!("{:.1e}", worst.error()), worst.at()]),
        None => cells.extend(["-".into(), "nothing was compared".into()]),
    }
    cells
}

/// A method's loss at its authors' settings.
fn loss(method: Method) -> Loss {
    match method {
        Method::BarlowTwins => Loss::BarlowTwins(BarlowTwins::default()),
        Method::Simclr => Loss::NtXent { temperature: 0.5 },
        Method::Byol => Loss::Byol,
        Method::Dcl => Loss::Dcl(Dcl::default()),
        Method::Hcl => Loss::Hcl(Hcl::default()),
        Method::Nnclr => Loss::Nnclr { temperature: 0.1 },
    }
}
