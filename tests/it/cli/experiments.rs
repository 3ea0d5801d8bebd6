//! Experiments through the binary: killed anywhere, they go on and end the same.

use super::runs::{kill, start, wait_for_steps};
use super::{Bench, run};
use std::fs;

/// The words of an experiment on the bench's images, small enough for seconds.
fn words(bench: &Bench, command: &[&str], out: &str, more: &[&str]) -> Vec<String> {
    let train = bench.train(out, &["--images", "30"]);
    let own = train[1..].iter().cloned();
    command
        .iter()
        .map(ToString::to_string)
        .chain(own)
        .chain(more.iter().map(ToString::to_string))
        .collect()
}

#[test]
fn a_killed_table_goes_on_without_repeating_a_run() {
    let bench = Bench::new("table");
    let more = ["--methods", "simclr,barlow-twins", "--seeds", "2", "--val-split", "10"];
    let table = |out: &str| words(&bench, &["experiment", "table"], out, &more);
    let whole = run(&table("whole")).ok();
    for part in ["SimCLR + MetaMask", "Barlow Twins", "±", "Published", "best epoch"] {
        assert!(whole.stdout.contains(part), "no {part} in\n{}", whole.stdout);
    }
    let child = start(&table("part"));
    wait_for_steps(&bench, "part/runs/simclr-metamask-seed1", 2);
    kill(child);
    let first = "part/runs/simclr-plain-seed1/summary.json";
    let before = bench.read(first);
    run(&table("part")).ok();
    assert_eq!(bench.read(first), before, "a finished run is not repeated");
    // But for the times, which are the machine's.
    let figures = |out: &str| {
        let rows = bench.json(&format!("{out}/table.json"))["table"].clone();
        let rows = rows.as_array().expect("rows").clone();
        rows.into_iter().filter(|row| row["score"] != "seconds").collect::<Vec<_>>()
    };
    assert_eq!(figures("part"), figures("whole"));
    assert!(!figures("whole").is_empty());
    for name in ["table.md", "table.csv", "runs.csv"] {
        assert!(!bench.read(&format!("part/{name}")).is_empty());
    }
    assert_eq!(bench.read("part/runs.csv").lines().count(), 1 + 8);

    let mut other = table("part");
    other.extend(["--lr", "0.5"].map(String::from));
    run(&other).fails(2, &["--out", "other settings", "lr = "]);
}

#[test]
fn tuned_settings_are_files_that_a_run_takes() {
    let bench = Bench::new("tune");
    let more = ["--methods", "simclr", "--trials", "2", "--validation", "10"];
    let done = run(&words(&bench, &["tune"], "tuned", &more)).ok();
    assert!(done.stdout.contains("metamask") && done.stdout.contains('*'), "{}", done.stdout);
    for side in ["plain", "metamask"] {
        let file = bench.text(&format!("tuned/simclr-{side}.toml"));
        let settings = run(&["config", "--preset", "small", "--config", &file]).ok().stdout;
        assert!(settings.contains(&format!("enabled = {}", side == "metamask")), "{settings}");
    }
    let kept = bench.read("tuned/runs/simclr-plain-trial1-seed1/config.toml");
    assert!(kept.contains("validation = 10"), "tuning looks at no test image");
}

#[test]
fn a_confounder_is_planted_and_measured() {
    let bench = Bench::new("confounder");
    let more = ["--strengths", "0.5", "--seeds", "1", "--method", "simclr"];
    let done = run(&words(&bench, &["experiment", "confounder"], "out", &more)).ok();
    assert!(done.stdout.contains("Verdict: "), "{}", done.stdout);
    assert_eq!(bench.read("out/confounder.csv").lines().count(), 1 + 3);
    let strengths = words(&bench, &["experiment", "confounder"], "x", &["--strengths", "0.5,2"]);
    run(&strengths).fails(2, &["--strengths", "\"2\""]);
}

#[test]
fn a_run_is_judged_in_every_way() {
    let bench = Bench::new("every-way");
    run(&bench.train("run", &["--images", "30", "--val-split", "10"])).ok();
    let summary = bench.json("run/summary.json");
    for figure in ["unmasked_knn5", "best_knn200", "knn200_top5", "linear_top5", "best_epoch"] {
        assert!(summary[figure].is_number(), "{figure} in {summary}");
    }
    let every = ["--full", "--knn", "3:0.5", "--confusion", "--fine-tune", "1"];
    let dir = bench.text("run");
    let words = ["eval", &dir].into_iter().chain(every).collect::<Vec<_>>();
    let text = run(&words).ok().stdout;
    for part in ["logistic", "10 % labels", "kNN k=3 t=0.5", "taken for", "from first weights"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    run(&["eval", &dir, "--knn", "5"]).fails(2, &["--knn", "\"5\""]);
}

#[test]
fn what_an_experiment_cannot_do_is_said_before_it_begins() {
    let bench = Bench::new("experiment-errors");
    let table = |more: &[&str]| run(&words(&bench, &["experiment", "table"], "out", more));
    table(&["--methods", "moco"]).fails(2, &["--methods", "moco", "simclr"]);
    table(&["--ablations", "none"]).fails(2, &["--ablations", "first-order"]);
    table(&["--budget", "soon"]).fails(2, &["--budget", "20m"]);
    table(&["--seed", "3"]).fails(2, &["--seed"]);
    table(&["--seeds", "0"]).fails(2, &["--seeds"]);
    assert!(fs::metadata(bench.path("out")).is_err(), "nothing was begun");
}
