//! The laws of ranks where the ranks are processes: `mpirun -n N TEST_BINARY`.
//!
//! The test binary is its own program, because a process enters an MPI library once. Every rank
//! checks; a failed check ends all of them. Run alone it is one rank.

use dimask::comm::{Pending, Ranks, mpi, traffic_of_gather, traffic_of_sum};
use dimask::config::{Layers, Method, RunConfig};
use dimask::metamask;
use dimask::nn::{Encoder, params};
use dimask::run::model::{State, first_state};
use dimask::run::settings::settings;
use dimask::tensor::Tensor;
use dimask::train::team::{Team, together};
use dimask::train::traffic::of_step;
use dimask::{Error, Real, kernels};

/// What every rank checks.
type Check = fn(&Ranks);

fn main() {
    // As the program: this thread is one of the pool's.
    kernels::parallel::start_pool(Some(1)).expect("the first pool");
    let ranks = mpi::start();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        mpi::abort(101)
    }));
    let checks: [(&str, Check); 5] = [
        ("sums are taken in the order of ranks", sums),
        ("sums in the background are those sums", background),
        ("words come to all, and errors with their rank", words),
        ("a step is that of one process and exchanges what its model says", steps),
        ("waiting ends when all have come", waits),
    ];
    for (name, check) in checks {
        check(&ranks);
        if ranks.is_first() {
            println!("{name}: ok on {} ranks", ranks.size());
        }
    }
    if ranks.is_first() {
        println!("{} passed, 0 failed", checks.len());
    }
}

fn numbers(rank: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 31 + rank * 17) % 101) as f32 * 10f32.powi(rank as i32 - 2)).collect()
}

fn sums(ranks: &Ranks) {
    let size = ranks.size();
    for len in [1, 7, 1000, 70_001] {
        let before = ranks.traffic();
        let mut found = numbers(ranks.rank(), len);
        ranks.comm::<f32>().all_reduce_sum(&mut found);
        let after = ranks.traffic();
        assert_eq!(after.bytes - before.bytes, traffic_of_sum(len, 4, size).bytes);
        let mut expected = numbers(0, len);
        for rank in 1..size {
            expected.iter_mut().zip(numbers(rank, len)).for_each(|(sum, x)| *sum += x);
        }
        assert_eq!(found, expected, "{len} on {size}");

        let mine: Vec<f64> = numbers(ranks.rank(), len).into_iter().map(f64::from).collect();
        let mut all = vec![0.0; size * len];
        ranks.comm::<f64>().all_gather(&mine, &mut all);
        let expected = (0..size).flat_map(|rank| numbers(rank, len)).map(f64::from);
        assert!(all.into_iter().eq(expected));
        let gathered = ranks.traffic().bytes - after.bytes;
        assert_eq!(gathered, traffic_of_gather(len, 8, size).bytes);
    }
}

/// Sums that go on while other collectives come.
fn background(ranks: &Ranks) {
    let comm = ranks.comm::<f32>();
    let lens = [1, 70_001, 300, 400_000];
    let begun = lens.map(|len| comm.start_sum(numbers(ranks.rank(), len)));
    let mut now = lens.map(|len| numbers(ranks.rank(), len));
    now.iter_mut().for_each(|values| comm.all_reduce_sum(values));
    assert_eq!(begun.map(Pending::wait), now);
}

fn words(ranks: &Ranks) {
    let said = "x".repeat(3 * ranks.rank());
    let all = ranks.gather_bytes(said.as_bytes());
    assert!(all.iter().enumerate().all(|(rank, word)| word.len() == 3 * rank));
    let last = ranks.size() - 1;
    let mine = match ranks.rank() == last {
        true => Err(Error::usage("a setting", "is wrong")),
        false => Ok(()),
    };
    let error = together(ranks, mine).unwrap_err().to_string();
    assert!(error.ends_with("a setting: is wrong"), "{error}");
    assert!(ranks.rank() == last || error.starts_with(&format!("rank {last}: ")), "{error}");
}

fn config(method: Method) -> RunConfig {
    let mut layers = Layers::preset("small").expect("a preset");
    let (predicts, method) = (method.predicts(), format!("method={}", method.key()));
    let predictor = if predicts { "model.predictor_head=[16, 12]" } else { "seed=1" };
    for setting in [
        &method,
        predictor,
        "model.encoder=resnet18",
        "model.width=2",
        "model.contrastive_head=[24, 12]",
        "model.redundancy_head=[24, 16]",
        "batch_size=16",
        "optimizer.lr=0.002",
    ] {
        layers.set_text(setting).expect("a setting");
    }
    layers.finish().expect("the settings of a run")
}

/// The batch's images of a rank, both views, of `whole`.
fn part<T: Real>(whole: &Tensor<T>, ranks: &Ranks) -> Tensor<T> {
    let (batch, row) = (whole.shape()[0] / 2, 8 * 8 * 3);
    let own = batch / ranks.size();
    let rows = |from: usize| &whole.as_slice()[from * row..(from + own) * row];
    let at = ranks.rank() * own;
    Tensor::from_vec([rows(at), rows(batch + at)].concat(), &[2 * own, 8, 8, 3])
}

/// Steps of MetaMask over every method, in double precision; each rank takes them alone as well.
/// Then one in single precision, whose bytes are counted.
fn steps(ranks: &Ranks) {
    let batch = 16;
    for method in Method::ALL {
        let config = config(method);
        let (team, alone) = (Team::new(ranks, &config), Team::new(&Ranks::alone(), &config));
        let mut state: metamask::State<f64, Encoder<f64>> = first_state(&config, 3);
        let mut expected = state.clone();
        for step in 0..3 {
            let wave = |i: usize| (0.37 * ((i + 7 * step) as f64).powf(1.3)).sin();
            let x = Tensor::from_fn(&[2 * batch, 8, 8, 3], wave);
            let settings = settings(&config, step, 10);
            (state, _) = team.step(state, &part(&x, ranks), &settings);
            (expected, _) = alone.step(expected, &x, &settings);
        }
        let numbers = |state: &metamask::State<f64, Encoder<f64>>| -> Vec<f64> {
            let mut all: Vec<f64> = state.mask.factors().to_vec();
            params(&state.network).iter().for_each(|p| all.extend(p.value().as_slice()));
            all
        };
        let (found, expected) = (numbers(&state), numbers(&expected));
        let square = |x: f64| x * x;
        let off: f64 = found.iter().zip(&expected).map(|(a, b)| square(a - b)).sum();
        let error = (off / expected.iter().map(|&x| square(x)).sum::<f64>()).sqrt();
        assert!(error <= 1e-10, "{method} on {ranks:?}: {error:e}");
        let bits = |x: &f64| x.to_le_bytes();
        let all = ranks.gather_bytes(&found.iter().flat_map(bits).collect::<Vec<u8>>());
        assert!(all.iter().all(|other| *other == all[0]), "{method}: ranks differ");

        let state: State = first_state(&config, 3);
        let x = Tensor::from_fn(&[2 * batch, 8, 8, 3], |i| (0.37 * (i as f32).powf(1.3)).sin());
        let settings = settings(&config, 0, 10);
        let own = batch / ranks.size();
        let said = of_step(&state, &settings, team.batch_norm, own, ranks.size());
        let before = ranks.traffic();
        team.step(state, &part(&x, ranks), &settings);
        let (said, after) = (said.expect("a model of this step"), ranks.traffic());
        assert_eq!(after.bytes - before.bytes, said.bytes, "{method}");
        assert_eq!(after.exchanges - before.exchanges, said.exchanges, "{method}");
    }
}

fn waits(ranks: &Ranks) {
    // The first comes last; nobody has left before it.
    if ranks.is_first() {
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    let begun = std::time::Instant::now();
    ranks.wait();
    let waited = begun.elapsed().as_millis();
    assert!(ranks.is_first() || waited > 30, "waited {waited} ms only");
}
