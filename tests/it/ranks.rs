//! Derivatives across ranks: collectives and batch-norm over all ranks are what they are on one.

use dimask::autodiff::check::check_grads;
use dimask::autodiff::{Norm, Stats, Tail, grad, grad_graph, hvp, pull, push};
use dimask::comm::{BUCKET, Comm, Number, Ranks, Slice, SliceMut, Transport};
use dimask::{Real, Tensor, Var};

use crate::support::Numbers;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Runs `work` on one, two and four ranks.
fn on_ranks(work: impl Fn(&Comm<f64>) + Sync) {
    for size in [1, 2, 4] {
        Ranks::on_threads(size, |ranks| work(&ranks.comm()));
    }
}

/// This rank's rows of both views of a common batch, view 0 first.
fn part<T: Real>(x: &Var<T>, comm: &Comm<T>) -> Var<T> {
    let (shape, size) = (x.shape().to_vec(), comm.size());
    let row: usize = shape[1..].iter().product();
    let n = shape[0] / 2 / size;
    let by_rank = x.reshape(&[2, size, n * row]).transpose(0, 1).reshape(&[2 * size, n * row]);
    let mut own = shape;
    own[0] = 2 * n;
    by_rank.shard(comm).reshape(&own)
}

/// The common batch of which each rank has a [`part`].
fn whole<T: Real>(x: &Var<T>, comm: &Comm<T>) -> Var<T> {
    let (shape, size) = (x.shape().to_vec(), comm.size());
    let row: usize = shape[1..].iter().product();
    let n = shape[0] / 2;
    let by_rank = x.reshape(&[2, n * row]).all_gather(comm);
    let mut all = shape;
    all[0] *= size;
    by_rank.reshape(&[size, 2, n * row]).transpose(0, 1).reshape(&all)
}

#[test]
fn derivatives_through_collectives_equal_finite_differences_to_the_third_order() {
    on_ranks(|comm| {
        let mut numbers = Numbers::new(1);
        let x = numbers.tensor(&[4, 3], -1.0, 1.0);
        let w = numbers.tensor(&[3, 2], -1.0, 1.0);
        let f = |v: &[Var<f64>]| {
            let own = v[0].shard(comm).matmul(&v[1].replicate(comm)).tanh();
            let norm = own.square().sum().all_reduce_sum(comm);
            own.all_gather(comm) / (norm + 1.0)
        };
        check_grads(f, &[x.clone(), w.clone()], 3).unwrap();
        // And the function is the one that has no ranks in it.
        let alone = |v: &[Var<f64>]| {
            let own = v[0].matmul(&v[1]).tanh();
            &own / &(own.square().sum() + 1.0)
        };
        let (x, w) = (Var::leaf(x), Var::leaf(w));
        let (found, expected) = (f(&[x.clone(), w.clone()]), alone(&[x, w]));
        for (found, expected) in found.value().as_slice().iter().zip(expected.value().as_slice()) {
            assert!((found - expected).abs() < 1e-14);
        }
    });
}

/// A sum of what each rank contributes.
fn total(comm: &Comm<f64>, own: f64) -> f64 {
    let mut sum = [own];
    comm.all_reduce_sum(&mut sum);
    sum[0]
}

#[test]
fn each_collective_is_adjoint_to_its_derivative() {
    on_ranks(|comm| {
        // Common numbers are drawn from one seed, a rank's own from its own.
        let mut common = Numbers::new(2);
        let mut own = Numbers::new(3 + comm.rank() as u64);
        let (size, n) = (comm.size(), 3);
        let pair = |x: &Tensor<f64>, y: &Tensor<f64>| x.dot(y);
        let split = own.tensor(&[n, 2], -1.0, 1.0);
        let all = common.tensor(&[size * n, 2], -1.0, 1.0);
        let vector = common.tensor(&[5], -1.0, 1.0);
        let mine = own.tensor(&[5], -1.0, 1.0);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        // <gather x, g> with common g is what the ranks' <x, gather* g> add up to, and so on;
        // forward mode is the operation itself.
        let check = |f: &dyn Fn(&Var<f64>) -> Var<f64>, x: &Tensor<f64>, g: &Tensor<f64>| {
            let leaf = Var::leaf(x.clone());
            let y = f(&leaf);
            let tangent = push(&[&y], &[(&leaf, x)]).remove(0);
            assert_eq!(&tangent, y.value());
            let dx = pull(vec![(y, g.clone())], &[&leaf]).remove(0);
            (pair(&tangent, g), pair(x, &dx))
        };
        let (left, right) = check(&|x| x.all_gather(comm), &split, &all);
        close(left, total(comm, right));
        let (left, right) = check(&|x| x.shard(comm), &all, &split);
        close(total(comm, left), right);
        let (left, right) = check(&|x| x.all_reduce_sum(comm), &mine, &vector);
        close(left, total(comm, right));
        let (left, right) = check(&|x| x.replicate(comm), &vector, &mine);
        close(total(comm, left), right);
    });
}

/// Batch-norm with one of its tails, of `[x, weight, bias, shortcut]`, over ranks or, without, in
/// one piece.
fn batch_norm<T: Real>(v: &[Var<T>], tail: usize, comm: Option<&Comm<T>>) -> Var<T> {
    let run = |x: &Var<T>, weight: &Var<T>, bias: &Var<T>, s: &Var<T>| {
        let tail = [Tail::Nothing, Tail::Relu, Tail::AddRelu(s), Tail::MaxPoolRelu][tail];
        let stats = Stats::Batch { groups: 2, comm };
        x.batch_norm(Norm { weight, bias, eps: 1e-3, stats, tail }).y
    };
    match comm {
        None => run(&v[0], &v[1], &v[2], &v[3]),
        Some(comm) => {
            let [w, b] = [1, 2].map(|i| v[i].replicate(comm));
            whole(&run(&part(&v[0], comm), &w, &b, &part(&v[3], comm)), comm)
        }
    }
}

fn inputs<T: Real>(seed: u64) -> Vec<Tensor<T>> {
    let mut numbers = Numbers::new(seed);
    [&[16, 2, 3, 2][..], &[2], &[2], &[16, 2, 3, 2]]
        .map(|shape| numbers.tensor(shape, -1.5, 1.5))
        .to_vec()
}

/// The largest difference between tensors, over the largest number.
fn error<T: Real>(found: &[Tensor<T>], expected: &[Tensor<T>]) -> f64 {
    let pairs = found.iter().zip(expected);
    let numbers = pairs.flat_map(|(f, e)| f.as_slice().iter().zip(e.as_slice()));
    let (worst, scale) = numbers.fold((0f64, 1f64), |(worst, scale), (f, e)| {
        let (f, e) = (f.to_f64(), e.to_f64());
        (worst.max((f - e).abs()), scale.max(e.abs()))
    });
    worst / scale
}

fn batch_norm_over_ranks_is_batch_norm<T: Number>(tolerance: f64) {
    for tail in 0..4 {
        let x = inputs::<T>(5);
        let all = |comm: Option<&Comm<T>>| {
            let leaves: Vec<_> = x.iter().cloned().map(Var::leaf).collect();
            let wrt: Vec<_> = leaves.iter().take(if tail == 2 { 4 } else { 3 }).collect();
            let y = batch_norm(&leaves, tail, comm);
            let tangents: Vec<_> = wrt.iter().map(|&v| (v, v.value())).collect();
            let mut found = vec![y.value().clone()];
            found.extend(push(&[&y], &tangents));
            let loss = y.square().sum().square();
            found.extend(hvp(&loss, &wrt, &wrt.iter().map(|v| v.value()).collect::<Vec<_>>()));
            found.extend(grad_graph(&loss, &wrt).into_iter().map(Var::into_value));
            drop(y);
            found.extend(grad(loss, &wrt));
            found
        };
        let expected = all(None);
        for size in [1, 2, 4] {
            for found in Ranks::on_threads(size, |ranks| all(Some(&ranks.comm()))) {
                let error = error(&found, &expected);
                assert!(error < tolerance, "tail {tail} on {size}: {error:e}");
            }
        }
    }
}

#[test]
fn batch_norm_over_ranks_is_batch_norm_to_second_order() {
    batch_norm_over_ranks_is_batch_norm::<f64>(1e-12);
    batch_norm_over_ranks_is_batch_norm::<f32>(1e-4);
}

#[test]
fn batch_norm_over_ranks_has_the_derivatives_of_finite_differences() {
    // Without a kink the differences reach the third order.
    let x: Vec<Tensor<f64>> = inputs::<f64>(6);
    let x: Vec<_> =
        x.iter().map(|x| x.slice(&vec![0; x.rank()], &shrunk(x), &vec![1; x.rank()])).collect();
    for size in [1, 2] {
        Ranks::on_threads(size, |ranks| {
            let comm = ranks.comm();
            check_grads(|v| batch_norm(v, 0, Some(&comm)), &x, 3).unwrap();
        });
    }
}

/// The first rows and columns of images; vectors as they are.
fn shrunk(x: &Tensor<f64>) -> Vec<usize> {
    if x.rank() == 1 { x.shape().to_vec() } else { vec![4, 1, 2, 2] }
}

/// One of two ranks, of which the other says the same. The way in front tells of each exchange of
/// the walk, the one behind begins none before it has been told of one.
enum Echo {
    Front(Mutex<Sender<()>>, Arc<AtomicBool>),
    Behind(Mutex<Receiver<()>>),
}

impl Transport for Echo {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        2
    }
    fn all_gather(&self, mine: Slice<'_>, all: SliceMut<'_>) {
        match self {
            Echo::Front(tell, walking) => {
                let walking = walking.load(Ordering::Relaxed);
                let told = walking.then(|| tell.lock().unwrap().send(()));
                told.unwrap_or(Ok(())).expect("the other way is open");
            }
            Echo::Behind(told) => {
                told.lock().unwrap().recv_timeout(Duration::from_secs(20)).expect("a hint");
            }
        }
        let (Slice::F32(mine), SliceMut::F32(all)) = (mine, all) else { unreachable!() };
        all.chunks_exact_mut(mine.len()).for_each(|piece| piece.copy_from_slice(mine));
    }
    fn all_to_all(&self, _: Slice<'_>, _: SliceMut<'_>) {
        unreachable!("two ranks sum in one exchange")
    }
    fn wait(&self) {}
}

#[test]
fn a_walk_goes_on_while_a_gradient_is_exchanged() {
    let ((tell, told), walking) = (channel(), Arc::default());
    let ranks = Ranks::new(Echo::Front(Mutex::new(tell), Arc::clone(&walking)));
    let comm: Comm<f32> = ranks.with_background(|| Echo::Behind(Mutex::new(told))).comm();
    let (rows, columns) = (4, 64);
    let first = Var::leaf(Tensor::from_fn(&[2 * rows, columns], |i| (i as f32).sin()));
    let last = Var::leaf(Tensor::from_fn(&[columns, BUCKET / columns], |i| (i as f32).cos()));
    // The gradient of `last` is whole before that of `first` has passed the other ranks' part.
    let own = first.shard(&comm);
    let y = own.matmul(&last.replicate(&comm));
    let loss = y.square().sum().all_reduce_sum(&comm);
    walking.store(true, Ordering::Relaxed);
    let gradients = grad(loss, &[&first, &last]);

    let own = Var::leaf(own.into_value());
    let expected = grad(own.matmul(&last).square().sum(), &[&own, &last]);
    assert_eq!(gradients[0].as_slice(), expected[0].as_slice().repeat(2));
    let twice: Vec<f32> = expected[1].as_slice().iter().map(|g| 2.0 * g).collect();
    assert_eq!(gradients[1].as_slice(), twice);
}

#[test]
fn replicated_variables_may_have_several_readers_and_be_replicated_again() {
    let mut numbers = Numbers::new(9);
    let [x, w] = [numbers.tensor(&[4, 3], -1.0, 1.0), numbers.tensor(&[3], -1.0, 1.0)];
    let f = |x: &Var<f64>, w: &Var<f64>, comm: Option<&Comm<f64>>| {
        let own = |v: &Var<f64>| comm.map_or(v.clone(), |comm| v.replicate(comm));
        let rows = comm.map_or(x.clone(), |comm| x.shard(comm));
        let (w, early) = (own(w), &rows * &own(w));
        let late = (&early * &w).tanh() + &w;
        let sum = (&late * &w).square().sum();
        comm.map_or(sum.clone(), |comm| sum.all_reduce_sum(comm))
    };
    let all = |comm: Option<&Comm<f64>>| {
        let [x, w] = [&x, &w].map(|v| Var::leaf(v.clone()));
        grad(f(&x, &w, comm), &[&x, &w])
    };
    let expected = all(None);
    for size in [1, 2, 4] {
        for found in Ranks::on_threads(size, |ranks| all(Some(&ranks.comm()))) {
            assert!(error(&found, &expected) < 1e-14);
        }
    }
    // On one rank replication is the identity, however often.
    let (comm, w) = (Ranks::alone().comm(), Var::leaf(w.clone()));
    let once = w.replicate(&comm);
    let again = (&once.exp() + &once.replicate(&comm).square()).sum();
    let found = grad(again, &[&once, &w]);
    let slope = w.value().map(|w| w.exp() + 2.0 * w);
    assert!(
        found.iter().all(|g| error(std::slice::from_ref(g), std::slice::from_ref(&slope)) < 1e-15)
    );
}
