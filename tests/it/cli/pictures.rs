//! Pages and figures of runs, through the binary; their structure, without a browser.

use super::{Bench, run};
use std::fs;
use std::path::Path;

/// The values of an attribute, as in `href="..."`.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    html.split(&begin).skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect()
}

/// The text less the pixels in it, which as base64 may spell anything.
fn without_pixels(text: &str) -> String {
    let parts = text.split("base64,").map(|part| match part.find('"') {
        Some(end) if part.len() > 100 => &part[end..],
        _ => part,
    });
    parts.collect()
}

/// Fails unless the page asks for nothing, is small, and has all its figures beside it.
fn check_page(beside: &Path, folder: &str, html: &str) {
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    let foreign = ["http:", "https:", "//", "<script", "<iframe", "@import", "url(", "<object"];
    let no_data = without_pixels(html);
    for word in foreign {
        assert!(!no_data.contains(word), "{word} in the page");
    }
    assert!(values(html, "src").is_empty());
    for address in values(html, "href") {
        if address.starts_with('#') || address.starts_with("data:") {
            continue;
        }
        assert!(address.starts_with(&format!("{folder}/")), "the page asks for {address}");
        let text = fs::read_to_string(beside.join(address)).expect(address);
        assert!(text.len() > 20, "{address} is empty");
        assert!(
            !without_pixels(&text).contains("NaN"),
            "{address} has no number where one should be"
        );
    }
    for tag in ["figure", "section", "svg", "div", "table", "main", "figcaption", "text"] {
        let begun =
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(begun, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    for part in ["prefers-color-scheme:dark", "width=device-width", "<title>", "lang=\"en\""] {
        assert!(html.contains(part), "no {part}");
    }
}

#[test]
fn a_page_shows_runs_side_by_side_and_asks_for_nothing() {
    let bench = Bench::new("page");
    run(&bench.train("one", &["--profile", "--val-split", "4"])).ok();
    run(&bench.train("the other", &["--no-mask", "--set", "eval.every=1"])).ok();
    let [one, other, out] = ["one", "the other", "page.html"].map(|name| bench.text(name));
    let done = run(&["report", &one, &other, "--points", "20", "--out", &out]).ok();
    assert!(done.stdout.contains("page.html"), "{}", done.stdout);
    let html = bench.read("page.html");
    check_page(bench.folder.path(), "page-figures", &html);
    for part in [
        "Loss of the base method",
        "Gradient norms",
        "one: The mask over training",
        "one: Cross-correlation of two views",
        "the other: Cross-correlation of two views",
        "the other: t-SNE",
        "one: Principal components",
        "one: Images and their views",
        "one: Confusion",
        "one: Operations",
        "the other: Nearest neighbours",
        "untrained encoder",
        "SimCLR + MetaMask",
    ] {
        assert!(html.contains(part), "no {part} in the page");
    }
    assert!(!html.contains("the other: The mask"), "there is none");
    let files = fs::read_dir(bench.path("page-figures")).expect("there are figures").count();
    assert_eq!(files, 2 * html.matches("<figure>").count());
    // Ten steps, all recorded: a line for the names and one a step.
    let course = bench.read("page-figures/mask-course-one.csv");
    assert!(course.lines().count() >= 9 && course.starts_with("step,dimension 0,"), "{course}");

    run(&["report", &one, "--points", "20"]).ok();
    assert!(bench.path("one/report.html").exists() && bench.path("one/report-figures").exists());
}

#[test]
fn a_mask_is_looked_at_dimension_by_dimension() {
    let bench = Bench::new("mask");
    run(&bench.train("run", &[])).ok();
    let dir = bench.text("run");
    let text = run(&["mask", &dir, "--points", "20"]).ok().stdout;
    for part in ["dimensions  256", "entropy", "without dimension", "rank correlation"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let table = bench.read("run/mask-figures/mask-ablation.csv");
    assert_eq!(table.lines().count(), 1 + 256);
    for name in ["mask-course.svg", "mask-range.csv", "mask-histogram.svg"] {
        assert!(bench.path(&format!("run/mask-figures/{name}")).exists(), "{name}");
    }
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let bench = Bench::new("not-drawn");
    run(&bench.train("plain", &["--no-mask", "--epochs", "1"])).ok();
    let plain = bench.text("plain");
    run(&["mask", &plain]).fails(2, &["plain", "without a mask"]);
    run(&["report", &plain, &plain]).fails(2, &["named twice"]);
    run(&["report", &plain, "--points", "3"]).fails(2, &["--points", "between 10 and 5000"]);
    run(&["report", &bench.text("nothing")]).fails(2, &["nothing", "not the folder of a run"]);
    let metrics = bench.path("plain/metrics.jsonl");
    fs::write(&metrics, "{\"kind\":\"step\"}\n").expect("the file can be written");
    run(&["report", &plain]).fails(1, &["metrics.jsonl", "line 1", "a record of a step"]);
}

/// The words of an experiment on the bench's images, small enough for seconds.
fn words(bench: &Bench, name: &str, more: &[&str]) -> Vec<String> {
    let train = bench.train(name, &["--epochs", "1"]);
    let begin = ["experiment", name].map(String::from);
    begin
        .into_iter()
        .chain(train[1..].iter().cloned())
        .chain(more.iter().map(ToString::to_string))
        .collect()
}

#[test]
fn experiments_with_pictures_answer_their_questions() {
    let bench = Bench::new("pictured");
    let cases: [(&str, &[&str], &[&str]); 4] = [
        ("features", &[], &["effective rank", "Verdict: With MetaMask dimensions repeat"]),
        ("random-masks", &["--masks", "1"], &["its lead on the other half", "learned mask"]),
        ("dimensions", &["--widths", "8,16"], &["lambda x D fixed", "best at width"]),
        (
            "bound",
            &[],
            &["L_con", "ln(M/K)", "even mask", "the decomposition is exact", "interval"],
        ),
    ];
    for (name, more, parts) in cases {
        let words = words(&bench, name, more);
        let done = run(&words).ok();
        for part in parts {
            assert!(done.stdout.contains(part), "{name}: no {part} in\n{}", done.stdout);
        }
        assert!(done.stdout.contains(&format!("dimask experiment {name}")), "{}", done.stdout);
        let page = bench.read(&format!("{name}/{name}.html"));
        check_page(&bench.path(name), &format!("{name}-figures"), &page);
        let table = bench.read(&format!("{name}/{name}.csv"));
        assert!(table.lines().count() > 1, "{table}");
        // A second time finds the same runs.
        let again = run(&words).ok();
        let rows = |text: &str| {
            text.lines().filter(|l| l.starts_with('|')).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(rows(&again.stdout), rows(&done.stdout), "{name}");
    }
    run(&words(&bench, "dimensions", &["--widths", "8,x"])).fails(2, &["--widths", "\"x\""]);
    run(&words(&bench, "random-masks", &["--masks", "0"])).fails(2, &["--masks"]);
    run(&words(&bench, "bound", &["--theory-temperature", "0"]))
        .fails(2, &["--theory-temperature"]);
    run(&words(&bench, "features", &["--method", "simclr,byol"])).fails(2, &["--method"]);
}
