//! What the strategies draw, where they can be used, and what a failure prints.

use std::fmt::Debug;

use proptest::strategy::Union;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use super::*;
use crate::autodiff::Var;

proptest! {
    #[test]
    fn broadcastable_shapes_do_broadcast((a, b, common) in broadcastable(0..=4, 1..=4)) {
        let x = Tensor::<f32>::zeros(&a);
        let sum = &x + &Tensor::zeros(&b);
        prop_assert_eq!(sum.shape(), &common[..]);
    }

    #[test]
    fn values_stay_in_their_ranges(
        x in values::<f64>(&[2, 3], -0.5, 2.0),
        y in values_off_zero::<f32>(&[4], 0.25, 1.0),
        z in values_off::<f64>(&[5], 0.0, 3.0, &[1.0, 2.5, 1.2], 0.25),
        t in tensors::<f64>(1..=3, 2..=4, 5.0, 6.0),
    ) {
        prop_assert!(x.as_slice().iter().all(|x| (-0.5..=2.0).contains(x)));
        prop_assert!(y.as_slice().iter().all(|y| (0.25..=1.0).contains(&y.abs())));
        let off = |z: &f64| [1.0, 2.5, 1.2].iter().all(|kink| (z - kink).abs() >= 0.25);
        prop_assert!(z.as_slice().iter().all(|z| (0.0..=3.0).contains(z) && off(z)), "{:?}", z);
        prop_assert!(t.as_slice().iter().all(|t| (5.0..=6.0).contains(t)));
        prop_assert!((1..=3).contains(&t.rank()) && t.shape().iter().all(|n| (2..=4).contains(n)));
    }

    #[test]
    fn pairs_fit(
        (a, b) in broadcasting_pairs::<f64>(0..=3, 1..=4, -1.0, 1.0),
        (c, d) in multiplying_pairs::<f64>(0..=2, 1..=3, -1.0, 1.0),
    ) {
        prop_assert!((&a + &b).len() >= a.len().max(b.len()));
        let product = Var::constant(c).matmul(&Var::constant(d.clone()));
        prop_assert_eq!(product.shape().last(), d.shape().last());
    }

    #[test]
    fn distinct_values_are_apart(x in distinct::<f64>(&[3, 5], 0.1)) {
        let mut all = x.to_vec();
        all.sort_by(f64::total_cmp);
        prop_assert!(all.windows(2).all(|pair| pair[1] - pair[0] >= 0.1 - 1e-12), "{:?}", all);
    }

    #[test]
    fn orthogonal_matrices_keep_lengths(q in orthogonal::<f64>(0..=6)) {
        let n = q.shape()[0];
        let gram = q.matmul_tn(&q);
        for (at, x) in gram.as_slice().iter().enumerate() {
            let expected = if at % (n + 1) == 0 { 1.0 } else { 0.0 };
            prop_assert!((x - expected).abs() < 1e-14);
        }
    }

    #[test]
    fn positive_definite_matrices_are(
        a in positive_definite::<f64>(1..=5, 0.25, 4.0),
        x in values::<f64>(&[5, 1], -1.0, 1.0),
    ) {
        prop_assert_eq!(&a, &a.permute(&[1, 0]));
        let x = x.slice(&[0, 0], &[a.shape()[0], 1], &[1, 1]);
        let form = x.matmul_tn(&a.matmul(&x)).item();
        let square = x.matmul_tn(&x).item();
        prop_assert!(form >= 0.25 * square - 1e-14 && form <= 4.0 * square + 1e-14);
    }
}

/// What is drawn differs in all that may differ.
#[test]
fn draws_vary() {
    let mut runner = TestRunner::deterministic();
    let mut draw = || {
        let tree = orthogonal::<f64>(2..=2).new_tree(&mut runner).unwrap();
        proptest::strategy::ValueTree::current(&tree)
    };
    let drawn: Vec<Tensor<f64>> = (0..40).map(|_| draw()).collect();
    let determinant = |q: &Tensor<f64>| {
        let q = q.as_slice();
        q[0] * q[3] - q[1] * q[2]
    };
    assert!(
        drawn.iter().any(|q| determinant(q) > 0.5) && drawn.iter().any(|q| determinant(q) < -0.5)
    );
}

/// Strategies own what they need: they can be returned, boxed, cloned, joined.
#[test]
fn strategies_fit_every_combinator() {
    let mapped = shapes(1..=2, 1..=3).prop_flat_map(|shape| {
        let first = values::<f64>(&shape, -1.0, 1.0);
        let kinks = [0.0];
        let second = values_off::<f64>(&shape, -1.0, 1.0, &kinks, 0.1);
        (
            first.clone(),
            first,
            second,
            values_off_zero::<f32>(&shape, 0.1, 1.0),
            distinct::<f64>(&shape, 0.5),
        )
    });
    fn boxed(shape: &[usize]) -> BoxedStrategy<Tensor<f64>> {
        values(shape, 0.0, 1.0).boxed()
    }
    let either = prop_oneof![boxed(&[2]), distinct(&[3], 1.0), orthogonal(2..=2)];
    let same = Union::new([values::<f64>(&[2], 0.0, 1.0), values(&[3], 5.0, 6.0)]);
    let chosen = vec(tensors::<f64>(0..=1, 1..=2, 0.0, 1.0), 0..3)
        .prop_filter("not empty", |all| !all.is_empty())
        .prop_perturb(|all, _| all);
    let dependent = tensors::<f64>(1..=2, 1..=3, -1.0, 1.0)
        .prop_ind_flat_map2(|x| values::<f64>(x.shape(), 0.0, 1.0));
    let matrices = positive_definite::<f64>(1..=3, 1.0, 2.0).prop_map(|a| a.len());
    let all = (mapped, either, same, chosen, dependent, matrices);
    let run = TestRunner::deterministic().run(&all, |(mapped, .., (x, y), _)| {
        assert_eq!(mapped.0.shape(), mapped.4.shape());
        assert_eq!(x.shape(), y.shape());
        Ok(())
    });
    run.unwrap();
}

/// The minimal case of a law that fails, as it is printed.
fn printed<S: Strategy>(strategy: S, law: impl Fn(&S::Value) -> bool) -> String
where
    S::Value: Debug,
{
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let error = TestRunner::new_with_rng(config, rng).run(&strategy, |x| {
        prop_assert!(law(&x), "the law");
        Ok(())
    });
    match error.expect_err("the law fails") {
        TestError::Fail(_, case) => format!("{case:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn failures_shrink_to_small_shapes_and_round_values() {
    let of = |x: Tensor<f64>| format!("{x:?}");
    let vector = |x: &[f64]| Tensor::from_vec(x.to_vec(), &[x.len()]);
    // One element is too large: it alone is left, at the first round value that is.
    let small = |x: &Tensor<f64>| x.as_slice().iter().all(|x| x.abs() < 2.5);
    let found = printed(tensors::<f64>(1..=3, 1..=5, 0.0, 10.0), small);
    assert_eq!(found, of(vector(&[4.0])));
    // Two columns, of which any entry counts.
    let found = printed(tensors::<f64>(2..=2, 1..=5, -1.0, 1.0), |x| x.shape()[1] < 2);
    assert_eq!(found, of(Tensor::zeros(&[1, 2])));
    // A shape from elsewhere.
    let mapped = shapes(1..=3, 1..=4).prop_flat_map(|shape| values::<f64>(&shape, -3.0, -0.5));
    assert_eq!(printed(mapped, |_| false), of(vector(&[-0.5])));
    // A half or 1, whichever is nearer to what was drawn.
    let found = printed(values::<f64>(&[1], 0.0, 1.0), |x| x.as_slice()[0] < 0.3);
    assert!([0.5, 1.0].iter().any(|x| found == of(vector(&[*x]))), "{found}");
    // Pairs.
    let unequal = |(a, b): &(Tensor<f64>, Tensor<f64>)| a.shape() == b.shape();
    let found = printed(broadcasting_pairs::<f64>(0..=3, 1..=4, -1.0, 1.0), unequal);
    let ones = (Tensor::<f64>::zeros(&[1]), Tensor::<f64>::zeros(&[]));
    let two = (Tensor::<f64>::zeros(&[2]), Tensor::<f64>::zeros(&[1]));
    assert!([format!("{ones:?}"), format!("{two:?}")].contains(&found), "{found}");
    let found = printed(multiplying_pairs::<f64>(0..=2, 1..=4, -1.0, 1.0), |_| false);
    let ones = (Tensor::<f64>::zeros(&[1, 1]), Tensor::<f64>::zeros(&[1, 1]));
    assert_eq!(found, format!("{ones:?}"));
    // A quarter turn is the roundest that is no identity.
    let identity = |q: &Tensor<f64>| q.as_slice()[1].abs() < 0.1;
    let found = printed(orthogonal::<f64>(2..=4), identity);
    assert!(!found.contains("0.00") && found.contains("[2, 2]"), "{found}");
    let found = printed(positive_definite::<f64>(1..=3, 0.5, 2.0), |_| false);
    assert_eq!(found, of(Tensor::from_rows(&[&[0.5]])));
    // Ascending but for what has to be otherwise.
    let ascending = |x: &Tensor<f64>| x.as_slice().is_sorted();
    let found = printed(distinct::<f64>(&[3], 0.5), ascending);
    let all = [[0.0, -0.5, 0.5], [-0.5, 0.5, 0.0], [0.0, 0.5, -0.5], [0.5, -0.5, 0.0]];
    assert!(all.iter().any(|x| found == of(vector(x))), "{found}");
}

#[test]
#[should_panic(expected = "nothing between 0 and 1 is 2 away from all kinks")]
fn a_range_without_numbers_is_refused() {
    let _ = values_off::<f64>(&[2], 0.0, 1.0, &[0.5], 2.0);
}
