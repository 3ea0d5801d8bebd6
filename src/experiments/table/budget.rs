//! A table in a given time: how many seeds, epochs and images fit.
//!
//! The first steps of every side of the table are measured on the images themselves, and so are
//! the parts of a judgement; from these follow epochs and images such that four seeds (or three,
//! two, one) take the budget. After every seed the time that seeds really took decides whether
//! another one brings the end closer to the budget, so that a machine that becomes slower costs
//! seeds, not time.

use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Request, Rounds, Variant};
use crate::config::{self, Amount};
use crate::error::{Error, Result};
use crate::experiments::sweep::Campaign;
use crate::files::write_atomically;
use crate::metamask::step;
use crate::run::model;
use crate::run::settings::settings;
use crate::train::estimate::Judging;
use crate::train::images::Images;
use crate::train::{Observer, Stop};

/// What the user has decided; the plan decides the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Seeds.
    pub seeds: Option<usize>,
    /// Epochs.
    pub epochs: Option<usize>,
    /// Training images.
    pub images: Option<usize>,
}

/// The size of a table that fits a budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Seeds, as foreseen.
    pub seeds: usize,
    /// Epochs of every run.
    pub epochs: usize,
    /// Training images of every run.
    pub images: usize,
    /// Images that epochs are compared on.
    pub val_split: usize,
    /// Images that features are judged on.
    pub test_images: usize,
    /// About how long it takes, in seconds.
    pub seconds: f64,
}

/// A budget in use, kept in the table's folder so that a killed sweep goes on under its plan.
#[derive(Debug)]
pub struct Budget {
    path: PathBuf,
    kept: Kept,
    began: Instant,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// What was asked for: another question needs another folder.
    request: String,
    /// In seconds.
    budget: f64,
    /// Whether the number of seeds may not change.
    seeds_fixed: bool,
    plan: Plan,
    /// Seconds that measuring took.
    measuring: f64,
    /// Seconds spent so far, measuring included.
    spent: f64,
    /// Seeds whose runs are all done, and the seconds that they took.
    completed: usize,
    completed_seconds: f64,
}

impl Budget {
    /// The plan in the folder `out`, or a new one, made by measuring.
    ///
    /// # Errors
    /// `Usage` if the folder has the plan of another request, or if the budget is too short for
    /// this one; as the readers of images.
    pub fn open(
        request: &Request,
        fixed: Fixed,
        seconds: f64,
        campaign: &mut Campaign,
    ) -> Result<Budget> {
        let began = Instant::now();
        let out = campaign.out;
        let path = out.join("budget.json");
        let asked = describe(request, fixed)?;
        if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
            let kept: Kept = serde_json::from_str(&text)
                .map_err(|e| Error::format(&path, "contents", "a plan", e.to_string()))?;
            if kept.request != asked || kept.budget != seconds {
                let reason = format!(
                    "{} has the plan of another table or budget; choose another folder",
                    out.display()
                );
                return Err(Error::usage("--out", reason));
            }
            return Ok(Budget { path, kept, began });
        }
        campaign.note("measuring the first steps of every side");
        let costs = Costs::measure(request, seconds, campaign.stop)?;
        let measuring = began.elapsed().as_secs_f64();
        let plan = solve(&costs, fixed, seconds - measuring)?;
        let seeds_fixed = fixed.seeds.is_some();
        let plan = Plan { seconds: plan.seconds + measuring, ..plan };
        let kept = Kept {
            request: asked,
            budget: seconds,
            seeds_fixed,
            plan,
            measuring,
            spent: 0.0,
            completed: 0,
            completed_seconds: 0.0,
        };
        std::fs::create_dir_all(out).map_err(|e| Error::io(out, e))?;
        let budget = Budget { path, kept, began };
        budget.save(budget.spent())?;
        Ok(budget)
    }

    /// The plan.
    pub fn plan(&self) -> Plan {
        self.kept.plan
    }

    /// The request under the plan.
    ///
    /// # Errors
    /// As the layers of settings.
    pub fn apply(&self, request: &mut Request) -> Result<()> {
        let Plan { epochs, images, val_split, test_images, .. } = self.kept.plan;
        let sizes = [
            ("epochs", epochs),
            ("data.images", images),
            ("data.val_split", val_split),
            ("data.test_images", test_images),
        ];
        for (key, value) in sizes {
            request.layers.set(key, (value as i64).into(), "--budget")?;
        }
        Ok(())
    }

    fn spent(&self) -> f64 {
        self.kept.spent + self.began.elapsed().as_secs_f64()
    }

    fn save(&self, spent: f64) -> Result<()> {
        let kept = Kept { spent, ..self.kept.clone() };
        let text = serde_json::to_string_pretty(&kept).expect("numbers are JSON");
        write_atomically(&self.path, (text + "\n").as_bytes())
    }
}

impl Rounds for Budget {
    fn more(&mut self, done: usize, observer: &mut dyn Observer) -> Result<bool> {
        let (spent, budget) = (self.spent(), self.kept.budget);
        if done > self.kept.completed {
            self.kept.completed = done;
            self.kept.completed_seconds = spent - self.kept.measuring;
        }
        self.save(spent)?;
        if self.kept.seeds_fixed || done < self.kept.completed.max(1) {
            return Ok(done < self.kept.plan.seeds || done < self.kept.completed);
        }
        let round = self.kept.completed_seconds / done as f64;
        let more = another(spent, round, budget);
        observer.note(&format!(
            "{done} seeds in {:.1} of {:.1} minutes: {}",
            spent / 60.0,
            budget / 60.0,
            if more { "one more" } else { "enough" }
        ));
        Ok(more)
    }

    fn tick(&mut self) -> Result<()> {
        self.save(self.spent())
    }
}

/// Whether one more round ends closer to the budget than none.
fn another(spent: f64, round: f64, budget: f64) -> bool {
    spent + round / 2.0 <= budget
}

/// What a plan depends on, as text.
fn describe(request: &Request, fixed: Fixed) -> Result<String> {
    let mut text = format!("{fixed:?}\n");
    for &method in &request.methods {
        for &variant in &request.variants {
            text.push_str(&request.config(method, variant, 1)?.sha256());
            text.push('\n');
        }
    }
    Ok(text)
}

/// What the parts of a round cost, in seconds.
#[derive(Clone, Debug, PartialEq)]
struct Costs {
    /// A step of each side.
    steps: Vec<f64>,
    /// How many sides have a mask, and are judged without it too.
    masked: usize,
    /// The parts of a judgement.
    judging: Judging,
    /// Reading the images.
    load: f64,
    /// Images a step.
    batch: usize,
    /// Images there are to learn from, and to judge on.
    available: [usize; 2],
}

/// Least images that features are judged on, if there are that many.
const LEAST_TEST: usize = 1000;

impl Costs {
    fn measure(request: &Request, budget: f64, stop: &Stop) -> Result<Costs> {
        let first = request.config(request.methods[0], Variant::Plain, 1)?;
        let mut whole = first.clone();
        (whole.data.images, whole.data.val_split) = (Amount::All, 0);
        whole.data.test_images = Amount::All;
        let clock = Instant::now();
        let images = Images::load(&whole)?;
        let load = clock.elapsed().as_secs_f64();
        let available = [images.bank.len(), images.test.len()];

        let mut steps = Vec::new();
        for &method in &request.methods {
            for &variant in &request.variants {
                let config = request.config(method, variant, 1)?;
                let batch: Vec<usize> = (0..config.batch_size.min(images.train.len())).collect();
                let mut state = model::first_state(&config, images.train.channels);
                let mut times = Vec::new();
                // The first step takes its memory from the system and is not like the others; of
                // those a second one is taken where it costs little.
                while times.len() < 2 || (times.len() < 3 && times[0] < budget / 500.0) {
                    if let Some(signal) = stop.requested() {
                        return Err(Error::Interrupted { signal });
                    }
                    let clock = Instant::now();
                    let views = images.pair(&batch, 0, config.seed)?;
                    (state, _) = step(state, &views, &settings(&config, 0, 1));
                    times.push(clock.elapsed().as_secs_f64());
                }
                steps.push(times[1..].iter().sum::<f64>() / (times.len() - 1) as f64);
            }
        }

        Ok(Costs {
            masked: request.methods.len() * (request.variants.len() - 1),
            steps,
            judging: Judging::measure(&first, &images)?,
            load,
            batch: first.batch_size,
            available,
        })
    }

    /// The sizes of a table of runs of `epochs` epochs of `batches` batches.
    fn sizes(&self, batches: usize) -> [usize; 3] {
        let images = batches * self.batch;
        let val = (images / 10).clamp(100, 2000).min(self.available[0] / 10).max(1);
        let test = images.max(LEAST_TEST).min(self.available[1]);
        [images, val, test]
    }

    /// Most batches an epoch that there are images for.
    fn most_batches(&self) -> usize {
        (self.available[0] - self.sizes(self.available[0] / self.batch)[1]) / self.batch
    }

    /// Seconds of the runs of one seed.
    fn round(&self, epochs: usize, batches: usize) -> f64 {
        let [images, val, test] = self.sizes(batches);
        let steps = (epochs * batches) as f64;
        // A checkpoint is written and synced.
        let an_epoch = self.judging.epoch(images, val) + 0.1;
        // The last epoch and, mostly, another that was best.
        let a_side = epochs as f64 * an_epoch + self.judging.rows(2, images, test) + self.load;
        let unmasked = self.judging.probe * (self.masked * images) as f64;
        steps * self.steps.iter().sum::<f64>()
            + self.steps.len() as f64 * a_side
            + unmasked
            + self.judging.baselines(images, test)
    }
}

/// The plan whose time is closest to `seconds`.
fn solve(costs: &Costs, fixed: Fixed, seconds: f64) -> Result<Plan> {
    /// Fewer steps an epoch teach nothing; only where nothing else fits, there are.
    const FEW_BATCHES: usize = 8;
    const EPOCHS: usize = 5;
    let most = costs.most_batches();
    let asked = fixed.images.map(|images| (images / costs.batch).max(1));
    let shapes: &[(usize, usize)] = &[(4, FEW_BATCHES), (3, FEW_BATCHES), (2, 2), (1, 1)];
    for &(seeds, least) in shapes {
        let seeds = fixed.seeds.unwrap_or(seeds);
        let a_round = seconds / seeds as f64;
        let fits = |epochs, batches| costs.round(epochs, batches) <= a_round;
        let found = match (fixed.epochs, asked) {
            (Some(epochs), Some(batches)) => {
                let seeds = (seconds / costs.round(epochs, batches)).round() as usize;
                let seeds = fixed.seeds.unwrap_or(seeds);
                return match seeds {
                    0 => Err(too_short(costs, costs.round(epochs, batches))),
                    _ => Ok(plan(costs, fixed, seeds, epochs, batches)),
                };
            }
            (None, Some(batches)) => {
                let epochs = (1..100_000).take_while(|&epochs| fits(epochs, batches)).last();
                epochs.map(|epochs| (epochs, batches))
            }
            (epochs, None) => {
                let fill = |epochs| {
                    let found = (1..=most).take_while(|&batches| fits(epochs, batches)).last();
                    found.filter(|&batches| batches >= least.min(most)).map(|found| (epochs, found))
                };
                match epochs {
                    Some(epochs) => fill(epochs),
                    // Where all images fit, more epochs; where few do, fewer.
                    None if fits(EPOCHS, most) => {
                        let whole = (EPOCHS..100_000).take_while(|&e| fits(e, most)).last();
                        whole.and_then(|epochs| fill(epochs + 1).or(Some((epochs, most))))
                    }
                    None => (1..=EPOCHS).rev().find_map(fill),
                }
            }
        };
        if let Some((epochs, batches)) = found {
            return Ok(plan(costs, fixed, seeds, epochs, batches));
        }
    }
    Err(too_short(costs, costs.round(1, 1)))
}

fn plan(costs: &Costs, fixed: Fixed, seeds: usize, epochs: usize, batches: usize) -> Plan {
    let [images, val_split, test_images] = costs.sizes(batches);
    let images = fixed.images.unwrap_or(images);
    let seconds = seeds as f64 * costs.round(epochs, batches);
    Plan { seeds, epochs, images, val_split, test_images, seconds }
}

fn too_short(costs: &Costs, least: f64) -> Error {
    let reason = format!(
        "is too short: the least that {} runs a seed take is about {:.0} minutes; name fewer \
         --methods, or a smaller --encoder or --batch-size",
        costs.steps.len(),
        (least / 60.0).ceil()
    );
    Error::usage("--budget", reason)
}

/// The seconds of a time like `20m`, `1h30m`, `300s`.
///
/// # Errors
/// `Usage` (of the flag `--budget`) if it is none, or not above 0.
pub fn parse(text: &str) -> Result<f64> {
    let wrong = || Error::usage("--budget", format!("{text:?} is no time like 20m, 1h30m or 300s"));
    config::seconds(text).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sides, one masked, at about the speed of conv4 on two cores.
    fn costs() -> Costs {
        Costs {
            steps: vec![0.35, 1.1],
            masked: 1,
            judging: Judging { feature: 4e-4, probe: 3e-4, raw_probe: 2e-3, watch: 0.3 },
            load: 0.3,
            batch: 256,
            available: [60_000, 10_000],
        }
    }

    #[test]
    fn a_plan_takes_nearly_its_budget() {
        let with = |seeds, epochs, images| Fixed { seeds, epochs, images };
        let all = [
            with(None, None, None),
            with(Some(5), None, None),
            with(None, Some(3), None),
            with(None, None, Some(1024)),
            with(Some(3), Some(2), None),
        ];
        for fixed in all {
            for minutes in [5.0, 7.0, 20.0, 60.0, 480.0, 2000.0] {
                let plan = solve(&costs(), fixed, minutes * 60.0).unwrap();
                let share = plan.seconds / (minutes * 60.0);
                // A given number of epochs ends where the images do.
                let capped = plan.images / 256 == costs().most_batches() && fixed.epochs.is_some();
                assert!(share <= 1.0 && (share > 0.85 || capped), "{fixed:?} {minutes}: {plan:?}");
                assert_eq!(plan.seeds, fixed.seeds.unwrap_or(4), "{fixed:?} {minutes}");
                assert_eq!(plan.epochs, fixed.epochs.unwrap_or(plan.epochs));
                assert!(plan.images + plan.val_split <= 60_000 && plan.test_images <= 10_000);
            }
        }
        let long = solve(&costs(), Fixed::default(), 8.0 * 3600.0).unwrap();
        assert!(long.images > 50_000 && long.epochs > 5, "{long:?}");
    }

    #[test]
    fn few_minutes_cost_seeds_and_fewer_are_refused() {
        // Six methods, twelve runs a seed.
        let six = Costs { steps: [0.35, 1.1].repeat(6), masked: 6, ..costs() };
        let plan = solve(&six, Fixed::default(), 270.0).unwrap();
        assert!((2..4).contains(&plan.seeds) && plan.seconds > 0.8 * 270.0, "{plan:?}");
        let error = solve(&six, Fixed::default(), 20.0).unwrap_err();
        assert!(error.to_string().contains("--budget: is too short"), "{error}");
        let fixed = Fixed { epochs: Some(2), images: Some(2560), ..Fixed::default() };
        let plan = solve(&costs(), fixed, 600.0).unwrap();
        assert!((plan.seconds / 600.0 - 1.0).abs() < 0.2, "{plan:?}");
    }

    #[test]
    fn a_slower_machine_costs_seeds_and_not_time() {
        // Four seeds were foreseen; the machine is slower or faster by these factors.
        for factor in [0.75, 0.9, 1.0, 1.1, 1.25, 1.5] {
            let (budget, measuring, round) = (1000.0, 20.0, 245.0 * factor);
            let mut spent = measuring + round;
            while another(spent, round, budget) {
                spent += round;
            }
            assert!((spent / budget - 1.0).abs() < 0.2, "{factor}: {spent}");
        }
    }

    #[test]
    fn a_budget_goes_on_with_the_time_that_its_seeds_took() {
        let dir = crate::run::tests::TempDir::new("budget");
        let path = dir.path().join("budget.json");
        let plan = solve(&costs(), Fixed::default(), 1000.0).unwrap();
        let kept = Kept {
            request: String::new(),
            budget: 1000.0,
            seeds_fixed: false,
            plan,
            measuring: 20.0,
            // Two seeds of 300 s, and half of a third one before it was killed.
            spent: 770.0,
            completed: 2,
            completed_seconds: 600.0,
        };
        let mut budget = Budget { path, kept, began: Instant::now() };
        let mut more = |done| budget.more(done, &mut ()).unwrap();
        assert!(more(0) && more(1), "what is done is read again, whatever it took");
        assert!(more(2), "half a seed more ends nearer");
        budget.kept.spent = 920.0;
        assert!(!budget.more(3, &mut ()).unwrap(), "another 300 s would end at 1220");
        assert_eq!(budget.kept.completed, 3);
        budget.kept.seeds_fixed = true;
        assert!(budget.more(3, &mut ()).unwrap() == (3 < plan.seeds));
    }

    #[test]
    fn times_are_read() {
        let times = [("20m", 1200.0), ("1h30m", 5400.0), ("300s", 300.0), ("0.5h", 1800.0)];
        times.iter().for_each(|(text, seconds)| assert_eq!(parse(text).unwrap(), *seconds));
        for wrong in ["", "20", "m", "5x", "0m", "1m-5s", "µ"] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
