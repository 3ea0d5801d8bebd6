//! A table of a few runs on a few images, and its laws.

use std::fs;
use std::path::Path;

use super::results::Column;
use super::*;
use crate::eval::Scores;
use crate::run::metrics::{Judgement, Summary};
use crate::run::tests::{TempDir, small, write_cifar};
use crate::train::Stop;

fn request(dir: &Path, methods: &[Method], variants: &[Variant]) -> Request {
    let settings = [
        "data.images=30",
        "data.val_split=10",
        "batch_size=10",
        "epochs=2",
        "model.redundancy_head=[16, 12]",
        "eval.linear_epochs=2",
    ];
    let layers = small(dir, &[&settings]);
    Request { layers, methods: methods.to_vec(), variants: variants.to_vec(), tuned: None }
}

/// Remembers what is noted, and asks for a stop when a note begins like this.
struct Notes<'a>(Vec<String>, &'a str, Stop);

impl Observer for Notes<'_> {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_string());
        if !self.1.is_empty() && text.starts_with(self.1) {
            self.2.request(15);
        }
    }
}

#[test]
fn a_stopped_table_goes_on_and_comes_to_the_same_figures() {
    let dir = TempDir::new("table");
    write_cifar(dir.path());
    let sides = [Variant::Plain, Variant::Masked];
    let request = request(dir.path(), &[Method::Simclr, Method::Nnclr], &sides);
    let run = |out: &str, stop_at: &str| {
        let mut notes = Notes(Vec::new(), stop_at, Stop::default());
        let (out, stop) = (dir.path().join(out), notes.2.clone());
        let mut campaign =
            Campaign { command: "the command", out: &out, observer: &mut notes, stop: &stop };
        let results = table(&request, &mut 2usize, &mut campaign);
        (results, notes.0)
    };
    let (whole, notes) = run("whole", "");
    let whole = whole.unwrap();
    assert_eq!(notes.iter().filter(|note| note.starts_with("seed ")).count(), 8);
    let raw = notes.iter().filter(|note| note.starts_with("judging raw pixels")).count();
    assert_eq!(raw, 2, "once a seed");
    assert_eq!((whole.runs.len(), whole.seeds()), (8, vec![1, 2]));

    let (stopped, _) = run("part", "seed 1, run 3 of 4");
    assert!(matches!(stopped, Err(Error::Interrupted { signal: 15 })), "{stopped:?}");
    let (again, _) = run("part", "");
    let again = again.unwrap();
    for (a, b) in whole.runs.iter().zip(&again.runs) {
        let [a, b] = [a, b].map(|run| run.1.summary().unwrap());
        assert_eq!(a.judgement, b.judgement);
        assert_eq!(a.best_epoch, b.best_epoch);
    }
    for name in ["table.md", "table.csv", "table.json", "runs.csv"] {
        assert!(dir.path().join("part").join(name).exists(), "{name}");
    }
    let text = fs::read_to_string(dir.path().join("part/table.md")).unwrap();
    for part in ["the command", "NNCLR [!]", "SimCLR + MetaMask", "Raw pixels", "best epoch"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }

    // A third time, nothing is trained, and one more seed is all that three seeds need.
    let (_, notes) = run("part", "");
    assert!(!notes.iter().any(|note| note.starts_with("judging")), "{notes:?}");
}

/// Results with the given kNN-5 accuracies of SimCLR, plain and masked, by seed.
fn results(figures: &[(f64, Option<f64>)]) -> Results {
    let mut results = Results::new(RunConfig::preset("small").unwrap(), "");
    for (seed, (plain, masked)) in (1..).zip(figures) {
        for (variant, figure) in [(Variant::Plain, Some(*plain)), (Variant::Masked, *masked)] {
            let scores = Scores { knn5: figure, ..Default::default() };
            let judgement = Judgement { trained: scores, ..Default::default() };
            let summary = Summary {
                judgement,
                best_epoch: None,
                seconds: 1.0,
                judging_seconds: 0.0,
                images_per_second: 1.0,
                peak_memory_bytes: None,
                seed,
                weights_sha256: String::new(),
                config_sha256: String::new(),
                init_sha256: None,
            };
            let ended = match figure {
                Some(_) => Ended::Finished(Box::new(summary)),
                None => Ended::Diverged("it diverged".into()),
            };
            results.add(Row { method: Method::Simclr, variant, seed }, ended);
        }
    }
    results
}

#[test]
fn differences_are_paired_by_seed() {
    // The seeds differ by ten points, the pairs by one: pairing sees it, unpaired noise would not.
    let found = results(&[(40.0, Some(41.1)), (50.0, Some(50.9)), (60.0, Some(61.0))]);
    let side = (Method::Simclr, Variant::Masked);
    let knn5 = Results::score(Column::Last, "knn5");
    let difference = found.difference(side, &knn5).unwrap();
    assert!((difference.mean - 1.0).abs() < 1e-9 && difference.half < 0.3, "{difference:?}");
    let text = markdown(&found);
    assert!(text.contains("+1.00 ± 0.25 | better"), "{text}");

    // A seed without a partner is left out, and said to be.
    let found = results(&[(40.0, Some(41.0)), (50.0, None), (60.0, Some(59.0))]);
    assert_eq!(found.difference(side, &knn5).unwrap().n, 2);
    assert_eq!(found.mean((Method::Simclr, Variant::Plain), &knn5).unwrap().n, 3);
    let text = markdown(&found);
    assert!(text.contains("left out: SimCLR + MetaMask (seed 2)") && text.contains("not decided"));
    assert!(found.runs().to_csv().contains("simclr,metamask,2,,,,,,,it diverged"));
}

#[test]
fn words_become_methods_and_variants() {
    assert_eq!(methods("all").unwrap(), Method::ALL);
    assert_eq!(methods("byol, simclr,byol").unwrap(), [Method::Byol, Method::Simclr]);
    assert!(methods("moco").unwrap_err().to_string().starts_with("--methods: \"moco\" is none"));
    assert_eq!(Variant::ablations("all").unwrap(), Variant::ABLATIONS);
    assert_eq!(Variant::ablations("random").unwrap(), [Variant::Random]);
    assert!(Variant::ablations("x").unwrap_err().to_string().contains("none of joint"));
    let dir = TempDir::new("table-words");
    let request = request(dir.path(), &Method::ALL, &Variant::ABLATIONS);
    for (row, cell) in request.round(7).unwrap() {
        assert_eq!((cell.config.method, cell.config.seed), (row.method, 7), "{}", cell.name);
        assert!(cell.config.mask.enabled && cell.config.loss.queue <= 30);
    }
}

#[test]
fn tuned_settings_are_each_sides_own() {
    let dir = TempDir::new("table-tuned");
    let text = |lr: f64| format!("[optimizer]\nlr = {lr}\n");
    fs::write(dir.path().join("simclr-plain.toml"), text(0.5)).unwrap();
    fs::write(dir.path().join("simclr-metamask.toml"), text(0.25)).unwrap();
    let mut request = request(dir.path(), &[Method::Simclr], &[Variant::Plain]);
    request.tuned = Some(dir.path().to_path_buf());
    let lr = |method, variant| request.config(method, variant, 1).unwrap().optimizer.lr;
    assert_eq!(lr(Method::Simclr, Variant::Plain), 0.5);
    assert_eq!(lr(Method::Simclr, Variant::Masked), 0.25);
    assert_eq!(lr(Method::Simclr, Variant::Random), 0.25);
    // Not tuned: the preset's, which is another.
    let mut preset = Layers::preset("small").unwrap();
    preset.set("method", "byol".into(), "--method").unwrap();
    let own = preset.finish().unwrap().optimizer.lr;
    assert_eq!(lr(Method::Byol, Variant::Plain), own);
    assert!(own != 0.5 && own != 0.25);
}
