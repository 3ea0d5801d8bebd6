//! `dimask data check`: what lies at a path.

use std::path::{Path, PathBuf};

use super::args::{CheckArgs, DataArgs, DataCommand};
use super::report::grouped;
use super::{output, sheet};
use crate::data::check::{Found, Report};
use crate::data::{Dataset, Loading};
use crate::error::{Error, Result};
use crate::files::check_writable;

/// Classes that are listed one a line.
const LISTED: usize = 30;

/// Does what is asked about data.
pub(super) fn data(args: &DataArgs) -> Result<()> {
    match &args.command {
        DataCommand::Check(args) => check_data(args),
    }
}

/// Prints what was found and draws some of it; that something is wrong is an error at the end.
fn check_data(args: &CheckArgs) -> Result<()> {
    if args.size.is_some_and(|size| !(1..=1024).contains(&size)) {
        return Err(Error::usage("--size", "must be between 1 and 1024"));
    }
    let views = sheet::views(&args.augment)?;
    let found = Found::at(&args.data)?;
    let (sheet, moved) = place_of_sheet(args.sheet.as_deref(), &found)?;
    check_writable(&sheet)?;
    let report = found.check(&Loading { size: args.size, ..Loading::default() })?;
    output::print(&text(&report))?;
    if let Some(splits) = &report.splits {
        sheet::draw(&splits.train, &views, &sheet)?;
        output::print(&format!(
            "drawn in {}{moved}: images, each with two views beside it\n",
            sheet.display()
        ))?;
    }
    match report.problems.len() {
        0 => Ok(()),
        count => {
            let faults = output::count(count, "fault");
            let place = report.place.display();
            let origin = report.url.map(|url| format!("; the set can be had from {url}"));
            let origin = origin.unwrap_or_default();
            let unreadable = report.splits.as_ref().map_or(0, |splits| splits.unreadable);
            let advice = match unreadable {
                0 => "",
                _ => "; `dimask train --skip-bad` leaves out the images that cannot be read",
            };
            let what = format!("{place}: {faults}, marked `wrong` above{advice}{origin}");
            Err(Error::Wrong { what })
        }
    }
}

/// The file to draw in, and a remark if it is not where files without a name usually go: never
/// among the data.
fn place_of_sheet(asked: Option<&Path>, found: &Found) -> Result<(PathBuf, &'static str)> {
    let refused = |file: &Path| {
        let reason = format!("{} would lie among the data: give a file elsewhere", file.display());
        Err(Error::usage("--sheet", reason))
    };
    match asked {
        Some(file) if found.holds(file) => return refused(file),
        Some(file) => return Ok((file.to_path_buf(), "")),
        None => {}
    }
    let usual = Path::new("contact-sheet.png");
    if !found.holds(usual) {
        return Ok((usual.to_path_buf(), ""));
    }
    // With a number, so that it is nobody else's.
    let name = format!("contact-sheet-{}.png", std::process::id());
    let file = std::env::temp_dir().join(name);
    match found.holds(&file) {
        true => refused(usual),
        false => Ok((file, " (this folder is among the data)")),
    }
}

fn text(report: &Report) -> String {
    let kind = if report.place.is_dir() { "in the folder" } else { "in the archive" };
    let mut text = format!("{} {kind} {}\n", report.set, report.place.display());
    for (part, official) in report.parts() {
        let [height, width, channels] = part.size();
        let whole = match official {
            Some(whole) if whole == part.len() => " (all of the official ones)".to_string(),
            Some(whole) => format!(" (of {} official ones)", grouped(whole)),
            None => String::new(),
        };
        let place = if part.images.on_disk() { ", in a temporary file" } else { "" };
        text.push_str(&format!(
            "{}: {} images{whole}, {height}x{width}x{channels}{place}\n",
            part.name,
            grouped(part.len())
        ));
    }
    text.push_str(&classes(report));
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for problem in &report.problems {
        text.push_str(&format!("wrong: {problem}\n"));
    }
    text
}

/// The images of each class: in a table, or in a line where there are many classes.
fn classes(report: &Report) -> String {
    let parts: Vec<&Dataset> = report.parts().into_iter().map(|(part, _)| part).collect();
    let labelled: Vec<&Dataset> = parts.into_iter().filter(|part| part.labels.is_some()).collect();
    let Some(first) = labelled.first() else { return String::new() };
    let counts: Vec<Vec<usize>> = labelled.iter().map(|part| part.class_counts()).collect();
    if first.classes > LISTED {
        let line = |(part, counts): (&&Dataset, &Vec<usize>)| {
            let [least, most] = [counts.iter().min(), counts.iter().max()].map(|n| n.unwrap_or(&0));
            let empty = counts.iter().filter(|&&count| count == 0).count();
            format!(
                "{}: {} classes of {least} to {most} images, {empty} of them empty\n",
                part.name,
                counts.len()
            )
        };
        return labelled.iter().zip(&counts).map(line).collect();
    }
    let head = |part: &&Dataset| part.name.rsplit(' ').next().unwrap_or_default().to_string();
    let mut rows = vec![vec!["class".to_string(), String::new()]];
    rows[0].extend(labelled.iter().map(head));
    for class in 0..first.classes {
        let name = first.class_names.get(class).cloned().unwrap_or_default();
        let mut row = vec![class.to_string(), name];
        row.extend(counts.iter().map(|counts| counts[class].to_string()));
        rows.push(row);
    }
    output::table(&rows)
}
