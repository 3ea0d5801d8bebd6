//! What a report says of each kind of failure, and what the options do.

use std::cell::Cell;
use std::slice::from_ref;

use super::*;

/// The verdict of the worst failure, and the report's text.
#[track_caller]
fn failure(found: Result<Report, Report>) -> (Verdict, String) {
    let report = found.expect_err("it fails");
    (report.failures[0].verdict, report.to_string())
}

#[test]
fn failing_entries_are_named_worst_first() {
    let x = numbers(&[4, 18], 1);
    let wrong = |x: &[Var<f64>]| {
        let a = wrong_by(&x[0], 0.01, &mask(&[4, 18], |i| i == 3 * 18 + 17));
        wrong_by(&a, 0.5, &mask(&[4, 18], |i| i == 7)).square().sum()
    };
    let options = CheckOptions { entries: 100, order: 1, ..CheckOptions::default() };
    let report = check_grads_with(wrong, from_ref(&x), &options).unwrap_err();
    let named = |input, index| Place::Entry { input, index };
    let places: Vec<&Place> = report.failures.iter().map(|c| &c.place).collect();
    // In both modes.
    let expected = [vec![0, 7], vec![0, 7], vec![3, 17], vec![3, 17]].map(|at| named(0, at));
    assert_eq!(places, expected.iter().collect::<Vec<_>>());
    let text = report.to_string();
    assert!(text.contains("4 wrong") && text.contains("order 1, reverse, input 0 at [3, 17]"));
    assert_eq!(format!("{report:?}"), text, "an unwrap shows the same");
    // Small derivatives of a large input.
    let large = numbers(&[400, 512], 7);
    let report = check_grads(|x| (&x[0] * &x[0].detach()).mean(), &[large], 1).unwrap_err();
    let half = |c: &Comparison| c.verdict == Verdict::Wrong && (c.error() - 0.5).abs() < 1e-3;
    assert!(report.failures.len() > 60 && report.failures.iter().all(half), "{report}");
    // The second input of two, and more failures than are shown.
    let wrong = |x: &[Var<f64>]| &x[0] * &x[1].detach();
    let text = failure(check_grads(wrong, &[numbers(&[9], 2), numbers(&[9], 3)], 1)).1;
    assert!(text.contains("input 1 at [") && text.contains("more"), "{text}");
}

#[test]
fn a_kink_is_called_one() {
    let zero = || Tensor::from_vec(vec![0.0, 0.7], &[2]);
    let tie = Tensor::from_vec(vec![0.5, 0.5, 0.1], &[1, 3]);
    let at = |f: fn(&[Var<f64>]) -> Var<f64>, x: Tensor<f64>| failure(check_grads(f, &[x], 1));
    // Of the absolute value the difference is 0, as the derivative says.
    for (verdict, text) in [
        at(|x| x[0].relu(), zero()),
        at(|x| x[0].abs(), zero()),
        at(|x| x[0].abs().sum() * 1e-9, zero()),
        at(|x| x[0].max_axis(1, crate::tensor::Keep::Drop), tie),
    ] {
        assert_eq!(verdict, Verdict::Kink, "{text}");
        assert!(text.contains("a kink"), "{text}");
    }
    // Among many entries, by a direction that is traced to it.
    let many = numbers(&[50, 40], 4);
    let many = Tensor::from_fn(&[50, 40], |i| if i == 777 { 0.0 } else { many.as_slice()[i] });
    let (verdict, text) = failure(check_grads(|x| x[0].relu().sum(), &[many], 1));
    assert_eq!(verdict, Verdict::Kink, "{text}");
    assert!(text.contains("input 0 at [19, 17]"), "{text}");
    // Beside a kink there is none.
    let near = Tensor::from_vec(vec![1e-5, -1e-9, 3.0], &[3]);
    check_grads(|x| x[0].relu(), &[near], 1).unwrap();
    check_grads(|x| (&x[0] - 1.0).abs(), &[Tensor::full(&[2], 1.0001)], 1).unwrap();
}

#[test]
fn what_is_not_finite_is_called_so() {
    let x = Tensor::from_vec(vec![0.0, 2.0], &[2]);
    let (verdict, text) = failure(check_grads(|x| x[0].sqrt(), from_ref(&x), 1));
    assert!(verdict == Verdict::NotFinite && text.contains("input 0 at [0]"), "{text}");
    let (verdict, text) = failure(check_grads(|x| (&x[0] - 1.0).ln(), from_ref(&x), 1));
    assert!(verdict == Verdict::NotFinite && text.contains("the value, output 0 at [0]"), "{text}");
    // A large step that leaves the domain is not taken.
    check_grads(|x| x[0].ln(), &[Tensor::from_vec(vec![1e-4, 1.0, 30.0], &[3])], 2).unwrap();
    // Nothing is compared with nothing.
    let report = check_grads(|x| x[0].sqrt(), &[x], 0).unwrap_err();
    assert_eq!(report.to_string(), "nothing was compared");
}

#[test]
fn what_rounding_hides_cannot_be_told() {
    // The digits end above what the derivative adds, be it right or wrong.
    let x = || [Tensor::from_vec(vec![0.7, 1.9], &[2])];
    for f in [(|x| x[0].square() * 1e-7 + 1e9) as fn(&[Var<f64>]) -> Var<f64>, |x| {
        &x[0] * &x[0].detach() * 1e-7 + 1e9
    }] {
        let (verdict, text) = failure(check_grads(f, &x(), 1));
        assert_eq!(verdict, Verdict::CannotTell, "{text}");
        assert!(text.contains("cannot tell (no step"), "{text}");
    }
    // Rounding that the value does not show: it is subtracted again.
    let (verdict, text) = failure(check_grads(|x| (x[0].square() * 1e-6 + 1e9) - 1e9, &x(), 1));
    assert_eq!(verdict, Verdict::CannotTell, "{text}");
    // As long as some digits are left, they decide.
    check_grads(|x| (x[0].square() + 1e7) - 1e7, &x(), 1).unwrap();
    let (verdict, _) = failure(check_grads(|x| &x[0] * &x[0].detach() + 1e9, &x(), 1));
    assert_eq!(verdict, Verdict::Wrong);
}

#[test]
fn steps_follow_the_function() {
    let options = CheckOptions::default();
    // Far larger than its own length, and far smaller than anything that moves it.
    for x in [1e7, 3e4, 1.0, 1e-4, 1e-13, 0.0] {
        let wave = |x: &[f64]| x[0].sin();
        check_gradient(wave, |x| vec![x[0].cos()], &[x], &options).unwrap();
        check_gradient(wave, |x| vec![1.001 * x[0].cos()], &[x], &options).unwrap_err();
    }
    for x in [-1e7, 1e7] {
        check_gradient(|x| x[0] * x[0], |x| vec![2.0 * x[0]], &[x], &options).unwrap();
    }
}

#[test]
fn one_seed_gives_one_report_and_a_large_input_few_evaluations() {
    let x = numbers(&[300], 5);
    let x = x.as_slice();
    let evaluated = Cell::new(0);
    let f = |x: &[f64]| {
        evaluated.set(evaluated.get() + 1);
        x.iter().map(|x| x.tanh()).sum()
    };
    let g = |x: &[f64]| x.iter().map(|x| 1.0 - x.tanh().powi(2)).collect::<Vec<_>>();
    let check = |seed| {
        let options = CheckOptions { seed, ..CheckOptions::default() };
        check_gradient(f, g, x, &options).unwrap().to_string()
    };
    assert_eq!(check(1), check(1));
    assert_ne!(check(1), check(2), "other entries are chosen");
    assert!(evaluated.get() / 4 < 300, "{} evaluations", evaluated.get() / 4);
}

#[test]
fn a_recorded_derivative_is_compared_with_the_plain_one() {
    let x = numbers(&[3], 6);
    let plain = x.as_slice().iter().map(|x| 2.0 * x).collect::<Vec<_>>();
    let double = |x: &[Var<f64>]| vec![&x[0] * 2.0];
    let options = CheckOptions::default();
    for (by, fails) in [(0.0, false), (1e-6, true)] {
        let mut plain = plain.clone();
        plain[1] *= 1.0 + by;
        let task = walk::Task {
            options: &options,
            order: 2,
            over: Mode::Reverse,
            plain: Some(plain),
            pull: Mode::Reverse,
            entries: 3,
            directions: 1,
        };
        let mut report = Report::default();
        let inputs = [x.clone()];
        point::check(&Map::of_graph(&double, &inputs), x.as_slice(), &task, &mut report);
        let found = report.finish();
        assert_eq!(found.is_err(), fails, "{found:?}");
        if let Err(report) = found {
            let text = report.to_string();
            assert!(text.contains("order 1, recorded, the value, output 0 at [1]"), "{text}");
        }
    }
}

#[test]
fn the_modes_that_are_asked_for_are_checked() {
    let x = numbers(&[5], 8);
    for (modes, mode) in [(Modes::Reverse, Mode::Reverse), (Modes::Forward, Mode::Forward)] {
        let options = CheckOptions { order: 3, modes, ..CheckOptions::default() };
        let right = check_grads_with(|x| x[0].tanh(), from_ref(&x), &options).unwrap();
        assert_eq!(right.entries, 15, "five entries at each order");
        let wrong = |x: &[Var<f64>]| &x[0] * &x[0].detach();
        let report = check_grads_with(wrong, from_ref(&x), &options).unwrap_err();
        assert!(report.failures.iter().all(|c| c.mode == mode), "{report}");
        assert_eq!(report.failures.iter().filter(|c| c.order == 1).count(), 5);
    }
}
