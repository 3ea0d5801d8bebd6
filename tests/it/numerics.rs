//! Laws of rounding: what must hold of the numbers themselves, in both float types and at every
//! level of vector instructions.
//!
//! The laws are ordinary tests, at the level of this process; one more test runs all of them again
//! in a process for each other level that the processor has.

use crate::support::Numbers;
use dimask::autodiff::{
    CountPad, Keep, Norm, Reduction, Tail, Var, grad_graph, pull, push, push_graph,
};
use dimask::kernels::dispatch::{Level, level};
use dimask::{Real, Tensor, grad};
use std::process::Command;

/// Runs a law in both float types.
macro_rules! laws {
    ($($name:ident => $law:ident;)*) => {$(
        #[test]
        fn $name() {
            $law::<f32>();
            $law::<f64>();
        }
    )*};
}

laws! {
    a_shift_changes_no_bit_of_a_softmax => shift_changes_nothing;
    kernel_recorded_graph_and_forward_mode_agree => the_three_ways_agree;
    small_probabilities_keep_their_digits => small_probabilities;
    a_deviation_of_equal_values_has_derivatives_of_zero => deviation_of_equal_values;
    a_deviation_does_not_depend_on_the_mean => deviation_of_shifted_values;
    a_quotient_is_rounded_once => quotients;
    a_clamp_is_its_formula => clamps;
    a_function_of_small_numbers_keeps_their_digits => small_numbers;
}

fn is_single<T: Real>() -> bool {
    size_of::<T>() == size_of::<f32>()
}

/// The tolerance between two ways to compute the same numbers, relative to the largest of them.
fn agreement<T: Real>() -> f64 {
    if is_single::<T>() { 1e-6 } else { 1e-13 }
}

fn bits<T: Real>(x: &Tensor<T>) -> Vec<u64> {
    x.as_slice().iter().map(|x| x.to_f64().to_bits()).collect()
}

type Function<T> = Box<dyn Fn(&Var<T>) -> Var<T>>;

/// A function of one variable, under its name.
fn named<T: Real>(name: &str, f: impl Fn(&Var<T>) -> Var<T> + 'static) -> (String, Function<T>) {
    (name.to_string(), Box::new(f))
}

/// A fixed direction, nowhere near zero.
fn direction<T: Real>(shape: &[usize]) -> Tensor<T> {
    Tensor::from_fn(shape, |i| T::from_f64(if i % 3 == 0 { -0.75 } else { 0.5 + (i % 5) as f64 }))
}

/// Value, gradient by the kernels, recorded gradient, its gradient, tangent, recorded tangent.
fn derivatives<T: Real>(f: &Function<T>, x: &Tensor<T>) -> [Tensor<T>; 6] {
    let leaf = Var::leaf(x.clone());
    let y = f(&leaf);
    let (u, v) = (direction(y.shape()), direction(x.shape()));
    let recorded = grad_graph(&y.dot_constant(&u), &[&leaf]).remove(0);
    let second = grad(recorded.dot_constant(&v), &[&leaf]).remove(0);
    let tangent = push(&[&y], &[(&leaf, &v)]).remove(0);
    let pushed = push_graph(&[&y], &[(&leaf, &Var::constant(v))]).remove(0);
    let value = y.value().clone();
    let gradient = pull(vec![(y, u)], &[&leaf]).remove(0);
    [value, gradient, recorded.into_value(), second, tangent, pushed.into_value()]
}

fn shift_changes_nothing<T: Real>() {
    for shape in [&[5][..], &[4, 7], &[3, 4, 5], &[2, 3, 40], &[2, 300]] {
        let mut functions = Vec::new();
        for axis in 0..shape.len() {
            functions.push(named(&format!("softmax({axis})"), move |x| x.softmax(axis)));
            functions.push(named(&format!("log_softmax({axis})"), move |x| x.log_softmax(axis)));
        }
        if let [rows, cols] = *shape {
            let right: Vec<u32> = (0..rows).map(|row| (3 * row % cols) as u32).collect();
            let out: Vec<u32> = (0..rows).map(|row| ((3 * row + 1) % cols) as u32).collect();
            let own = right.clone();
            functions.push(named("cross_entropy", move |x| x.cross_entropy(&own, Reduction::None)));
            functions.push(named("cross_entropy_without", move |x| {
                x.cross_entropy_without(&right, &out, Reduction::None)
            }));
        }
        // Eighths, to which these shifts can be added without rounding.
        let mut numbers = Numbers::new(shape.len() as u64);
        let x =
            numbers.tensor::<T>(shape, -40.0, 40.0).map(|x| T::from_f64(x.to_f64().round() / 8.0));
        let large = if is_single::<T>() { 2f64.powi(20) } else { 2f64.powi(49) };
        for (name, f) in functions {
            let expected = derivatives(&f, &x).each_ref().map(bits);
            for shift in [0.125, -3.0, 1024.0, large, -large] {
                let moved = x.map(|x| x + T::from_f64(shift));
                let exact = moved.map(|moved| moved - T::from_f64(shift));
                assert_eq!(exact, x, "the shift is exact");
                let found = derivatives(&f, &moved).each_ref().map(bits);
                assert_eq!(found, expected, "{name} of {shape:?} and a shift of {shift}");
            }
        }
    }
}

/// Fails unless the numbers agree, relative to the largest.
#[track_caller]
fn assert_agree<T: Real>(what: &str, a: &Tensor<T>, b: &Tensor<T>) {
    assert_eq!(a.shape(), b.shape(), "{what}: shapes");
    let pairs = || a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| (a.to_f64(), b.to_f64()));
    let scale = pairs().fold(0.0, |scale: f64, (a, b)| scale.max(a.abs()).max(b.abs()));
    for (i, (a, b)) in pairs().enumerate() {
        let close = (a - b).abs() <= agreement::<T>() * scale;
        assert!(close, "{what}: entry {i}: {a:e} and {b:e}, of {scale:e} at most");
    }
}

fn the_three_ways_agree<T: Real>() {
    const COLS: usize = 11;
    let rows = 6;
    let right: Vec<u32> = (0..rows as u32).map(|row| 2 * row % 11).collect();
    let out: Vec<u32> = (0..rows as u32).map(|row| (2 * row + 3) % 11).collect();
    let own = right.clone();
    let weight = || Var::constant(Tensor::from_fn(&[COLS], |i| T::from_f64(0.5 + 0.1 * i as f64)));
    let bias = || Var::constant(Tensor::from_fn(&[COLS], |i| T::from_f64(0.3 - 0.1 * i as f64)));
    let functions = [
        named("cross_entropy", move |x| x.cross_entropy(&own, Reduction::None)),
        named("cross_entropy_without", move |x| {
            x.cross_entropy_without(&right, &out, Reduction::None)
        }),
        named("softmax(0)", |x| x.softmax(0)),
        named("softmax(1)", |x| x.softmax(1)),
        named("log_softmax(0)", |x| x.log_softmax(0)),
        named("log_softmax(1)", |x| x.log_softmax(1)),
        named("logsumexp(0)", |x| x.logsumexp(0, Keep::Drop)),
        named("logsumexp(1)", |x| x.logsumexp(1, Keep::Keep)),
        named("l2_normalize(1)", |x| x.l2_normalize(1, 1e-12)),
        named("std_axes(0)", |x| x.std_axes(&[0], Keep::Drop, 1)),
    ];
    let normalisations = [
        named("batch_norm", move |x| x.batch_norm(Norm::new(&weight(), &bias(), 1e-5, 2)).y),
        named("batch_norm, relu", move |x| {
            x.batch_norm(Norm { tail: Tail::Relu, ..Norm::new(&weight(), &bias(), 1e-5, 1) }).y
        }),
    ];
    // Usual scores, sharp ones, and scores at which a sum of scores rounds.
    let ulp = if is_single::<T>() { 64.0 } else { 2f64.powi(-23) };
    let inputs = [
        ("usual", 2.0, 0.0, 0.0),
        ("sharp", 30.0, 0.0, 0.0),
        ("near 1e9", 4.0 * ulp, 1e9, ulp),
        ("near -1e9", 4.0 * ulp, -1e9, ulp),
        ("of size 1e9", 1e9, 0.0, 0.0),
    ];
    let check = |name: &str, f: &Function<T>, kind: &str, x: &Tensor<T>| {
        let [_, kernel, recorded, _, tangent, pushed] = derivatives(f, x);
        let what = |way: &str| format!("{name}, {kind} scores, {way}");
        assert_agree(&what("kernel and recorded graph"), &kernel, &recorded);
        assert_agree(&what("forward mode and recorded graph"), &tangent, &pushed);
        // The law between the modes, with the size of what is added up as the scale.
        let sum = |a: &Tensor<T>, b: &Tensor<T>| {
            let products = a.as_slice().iter().zip(b.as_slice());
            products.fold([0.0; 2], |[sum, size], (a, b)| {
                let product = a.to_f64() * b.to_f64();
                [sum + product, size + product.abs()]
            })
        };
        let (by_forward, by_kernel) =
            (sum(&tangent, &direction(tangent.shape())), sum(&kernel, &direction(kernel.shape())));
        let gap = (by_forward[0] - by_kernel[0]).abs();
        let scale = by_forward[1].max(by_kernel[1]);
        assert!(gap <= 2.0 * agreement::<T>() * scale, "{}: {gap:e} of {scale:e}", what("modes"));
    };
    for (kind, spread, centre, grid) in inputs {
        let mut numbers = Numbers::new(3);
        let x = numbers.tensor::<T>(&[rows, COLS], -spread, spread).map(|x| {
            let x = x.to_f64();
            T::from_f64(centre + if grid > 0.0 { (x / grid).round() * grid } else { x })
        });
        for (name, f) in &functions {
            check(name, f, kind, &x);
        }
        if centre == 0.0 {
            for (name, f) in &normalisations {
                check(name, f, kind, &x);
            }
        }
    }
}

/// One score far above the others: what is left for these is tiny, and none of it may be lost.
fn small_probabilities<T: Real>() {
    for gap in [10.0, 20.0, 40.0, 60.0] {
        let x = Tensor::from_rows(&[&[T::ZERO, T::from_f64(-gap), T::from_f64(-gap - 1.0)]]);
        let others = (-gap).exp() + (-gap - 1.0).exp();
        let close = |what: &str, found: f64, expected: f64| {
            let error = (found / expected - 1.0).abs();
            assert!(error < 4.0 * agreement::<T>(), "{what}, gap {gap}: {found:e}, {expected:e}");
        };
        let leaf = || Var::leaf(x.clone());
        let x = leaf();
        close("logsumexp", x.logsumexp(1, Keep::Drop).item(), others.ln_1p());
        close("log_softmax", -x.log_softmax(1).value().as_slice()[0].to_f64(), others.ln_1p());
        let loss = x.cross_entropy(&[0], Reduction::Sum);
        close("cross_entropy", loss.item(), others.ln_1p());
        let slope = -others / (1.0 + others);
        let recorded = grad_graph(&loss, &[&x]).remove(0);
        close("recorded slope", recorded.value().as_slice()[0].to_f64(), slope);
        close("slope", grad(loss, &[&x])[0].as_slice()[0].to_f64(), slope);
    }
}

fn deviation_of_equal_values<T: Real>() {
    for value in [0.0, 0.1, -1.0 / 3.0, 1e6 + 0.1] {
        for (shape, axes) in
            [(&[3][..], &[0][..]), (&[2, 49], &[1]), (&[10, 3], &[0]), (&[2, 3, 1000], &[0, 2])]
        {
            for correction in [0, 1] {
                let x = Var::leaf(Tensor::full(shape, T::from_f64(value)));
                let std = x.std_axes(axes, Keep::Drop, correction);
                let what = format!("{value} of {shape:?} over {axes:?}");
                let all_zero = |x: &Tensor<T>| x.as_slice().iter().all(|&x| x == T::ZERO);
                assert!(all_zero(std.value()), "{what}");
                let v = direction(shape);
                assert!(all_zero(&push(&[&std], &[(&x, &v)])[0]), "{what}, forward");
                let g = grad_graph(&std.dot_constant(&direction(std.shape())), &[&x]).remove(0);
                assert!(all_zero(g.value()), "{what}, order 1");
                let h = grad_graph(&g.dot_constant(&v), &[&x]).remove(0);
                assert!(all_zero(h.value()), "{what}, order 2");
            }
        }
    }
    // A row of equal values does not disturb its neighbours, and a NaN is not taken for 0.
    let rows: [&[T]; 3] =
        [&[T::ONE, T::ONE], &[T::ONE, T::from_f64(3.0)], &[T::ONE, T::from_f64(f64::NAN)]];
    let x = Var::leaf(Tensor::from_rows(&rows));
    let std = x.std_axes(&[1], Keep::Drop, 0);
    assert_eq!(std.value().as_slice()[..2], [T::ZERO, T::ONE]);
    assert!(std.value().as_slice()[2].is_nan());
    let g = grad(std.rows(0..2).sum(), &[&x]).remove(0);
    let half = T::from_f64(0.5);
    assert_eq!(g.as_slice()[..4], [T::ZERO, T::ZERO, -half, half]);
}

fn deviation_of_shifted_values<T: Real>() {
    let large = if is_single::<T>() { 2f64.powi(20) } else { 2f64.powi(49) };
    let x = Numbers::new(5).tensor::<T>(&[4, 50], -20.0, 20.0);
    let x = x.map(|x| T::from_f64(x.to_f64().round() / 8.0));
    let f = named("std", |x: &Var<T>| x.std_axes(&[1], Keep::Drop, 1)).1;
    let shifted = derivatives(&f, &x.map(|x| x + T::from_f64(large)));
    for (found, expected) in shifted.iter().zip(&derivatives(&f, &x)) {
        assert_eq!(bits(found), bits(expected));
    }
}

fn quotients<T: Real>() {
    let mut numbers = Numbers::new(7);
    let x: Tensor<T> = Tensor::from_fn(&[400], |i| match i {
        0 => T::from_f64(1e-39),
        1..50 => T::from_usize(i),
        _ => T::from_f64(numbers.uniform(-1e3, 1e3)),
    });
    for &c in x.as_slice() {
        let [by_number, by_tensor] =
            [Var::leaf(x.clone()) / c, { Var::leaf(x.clone()) / Var::constant(Tensor::scalar(c)) }];
        let expected: Vec<u64> = x.as_slice().iter().map(|&x| (x / c).to_f64().to_bits()).collect();
        assert_eq!(bits(by_number.value()), expected, "over {c}");
        assert_eq!(bits(by_tensor.value()), expected, "over {c}");
    }
    // A mean is a quotient: of n times the same whole number it is that number.
    for n in [3usize, 7, 49, 103] {
        let x = Var::leaf(Tensor::full(&[n, n, 1, 1], T::from_f64(5.0)));
        let five =
            |mean: Var<T>| assert!(mean.value().as_slice().iter().all(|&x| x.to_f64() == 5.0));
        five(x.mean());
        five(x.mean_axes(&[1], Keep::Drop));
        five(x.reshape(&[1, n, n, 1]).global_avg_pool2d());
        let windows = x.reshape(&[1, n, n, 1]);
        for count in [CountPad::Include, CountPad::Exclude] {
            five(windows.avg_pool2d([3, 3], [1, 1], [0, 0], count));
        }
        five(windows.avg_pool2d([3, 3], [1, 1], [1, 1], CountPad::Exclude));
    }
}

fn clamps<T: Real>() {
    let x = Tensor::from_fn(&[9], |i| T::from_f64(i as f64 - 4.0));
    let bounds = [None, Some(-2.0), Some(0.0), Some(1.5), Some(2.0)];
    for (low, high) in bounds.iter().flat_map(|&low| bounds.map(|high| (low, high))) {
        let leaf = Var::leaf(x.clone());
        let y = leaf.clamp(low, high);
        let [l, h] = [low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY)];
        let expected = x.map(|x| T::from_f64(x.to_f64().max(l).min(h)));
        assert_eq!(*y.value(), expected, "clamp({low:?}, {high:?})");
        let inside = x.map(|x| T::from_usize(usize::from(l < x.to_f64() && x.to_f64() < h)));
        assert_eq!(grad(y.sum(), &[&leaf])[0], inside, "clamp({low:?}, {high:?})");
    }
}

/// `ln(1 + x)`, and softplus made of it, of numbers that vanish beside 1.
fn small_numbers<T: Real>() {
    for exponent in 1..37 {
        let small = 10f64.powi(-exponent);
        let x = Var::constant(Tensor::from_vec(vec![T::from_f64(small)], &[1]));
        let close = |found: f64, expected: f64| {
            assert!((found / expected - 1.0).abs() < 4.0 * agreement::<T>(), "{found} {expected}");
        };
        close(x.ln_1p().item(), small.ln_1p());
        let x = Tensor::from_rows(&[&[T::from_f64(small.ln()), T::ZERO]]);
        let expected = x.as_slice()[0].to_f64().exp().ln_1p();
        close(Var::constant(x).logsumexp(1, Keep::Drop).item(), expected);
    }
}

/// Ten million equal numbers, summed over every set of axes of several shapes.
#[test]
fn sums_and_means_of_ten_million_equal_numbers_are_right() {
    const N: usize = 10_000_000;
    let shapes: [&[usize]; 8] = [
        &[N],
        &[2, N / 2],
        &[N / 2, 2],
        &[N / 20, 20],
        &[3162, 3163],
        &[N / 100_000, 100_000],
        &[10, N / 1000, 100],
        &[100, 10, 10, N / 10_000],
    ];
    for (number, shape) in shapes.into_iter().enumerate() {
        let value = [0.1f32, 1.0 / 3.0, 0.7, 1.1e-3][number % 4];
        let x = Var::constant(Tensor::full(shape, value));
        for set in 1..1usize << shape.len() {
            let axes: Vec<usize> = (0..shape.len()).filter(|axis| set >> axis & 1 == 1).collect();
            let count: usize = axes.iter().map(|&axis| shape[axis]).product();
            let right = |what: &str, found: &Var<f32>, expected: f64| {
                let errors = found.value().as_slice().iter();
                let worst = errors
                    .fold(0.0, |worst: f64, &x| worst.max((f64::from(x) / expected - 1.0).abs()));
                assert!(worst < 1e-6, "{what} of {value} over {axes:?} of {shape:?}: {worst:e}");
            };
            let value = f64::from(value);
            right("sum", &x.sum_axes(&axes, Keep::Drop), count as f64 * value);
            right("mean", &x.mean_axes(&axes, Keep::Keep), value);
        }
        assert_eq!(x.sum().value(), x.sum_to(&[]).value());
    }
    let image = Var::constant(Tensor::full(&[2, 1000, 1000, 5], 0.1f32));
    for &mean in image.global_avg_pool2d().value().as_slice() {
        assert!((mean / 0.1 - 1.0).abs() < 1e-6, "global_avg_pool2d: {mean}");
    }
}

#[test]
fn the_laws_hold_at_every_level() {
    for other in Level::ALL {
        if other == level() {
            continue;
        }
        if let Some(obstacle) = other.obstacle() {
            println!("NOT CHECKED: {}; {obstacle}", other.name());
            continue;
        }
        let this = std::env::current_exe().expect("a test knows its own path");
        let run = Command::new(this)
            .args(["numerics::", "--skip", "the_laws_hold_at_every_level"])
            .env("DIMASK_SIMD", other.name())
            .output()
            .expect("the test binary can be started");
        let text = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success(), "{}:\n{text}", other.name());
        // Nothing that was left out passes for a success.
        assert!(text.contains("test result: ok. 9 passed"), "{}:\n{text}", other.name());
    }
}
