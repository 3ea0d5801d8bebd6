//! Laws over random shapes and values, without finite differences: adjoint pairs, bilinear triples,
//! inverses.

use crate::support::{Numbers, assert_close, assert_tensors_close, dot, tolerance};
use dimask::autodiff::{CountPad, Keep, Var, pull};
use dimask::tensor::Tensor;
use proptest::prelude::*;

/// `<L x, g> = <x, L* g>` for a linear `L` whose adjoint is its reverse rule.
fn check_adjoint(what: &str, x: &Tensor<f64>, seed: u64, l: impl Fn(&Var<f64>) -> Var<f64>) {
    let leaf = Var::leaf(x.clone());
    let y = l(&leaf);
    let g = Numbers::new(seed ^ 0xad).tensor(y.shape(), -1.0, 1.0);
    let left = dot(y.value(), &g);
    let pulled = pull(vec![(y, g)], &[&leaf]).remove(0);
    assert_close(what, left, dot(x, &pulled), tolerance::LAW);
}

/// The three values of `F(x, w, g) = <B(x, w), g>` by its three partial derivatives.
fn check_triple(
    what: &str,
    x: &Tensor<f64>,
    w: &Tensor<f64>,
    seed: u64,
    b: impl Fn(&Var<f64>, &Var<f64>) -> Var<f64>,
) {
    let (vx, vw) = (Var::leaf(x.clone()), Var::leaf(w.clone()));
    let y = b(&vx, &vw);
    let g = Numbers::new(seed ^ 0xb1).tensor(y.shape(), -1.0, 1.0);
    let by_value = dot(y.value(), &g);
    let gradients = pull(vec![(y, g)], &[&vx, &vw]);
    assert_close(what, by_value, dot(x, &gradients[0]), tolerance::LAW);
    assert_close(what, by_value, dot(w, &gradients[1]), tolerance::LAW);
}

fn shape(rank: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1usize..5, rank)
}

fn random(shape: &[usize], seed: u64) -> Tensor<f64> {
    Numbers::new(seed).tensor(shape, -1.0, 1.0)
}

/// A permutation of `0..n` that depends on the seed.
fn permutation(n: usize, seed: u64) -> Vec<usize> {
    let mut numbers = Numbers::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, numbers.below(i + 1));
    }
    order
}

proptest! {
    // Formula: product-1.
    #[test]
    fn matrix_products_are_bilinear_triples(
        (m, k, n) in (1usize..9, 1usize..9, 1usize..9), lead in shape(0..=2), seed: u64,
    ) {
        let of = |a: usize, b: usize| [&lead[..], &[a, b]].concat();
        let (a, at) = (random(&of(m, k), seed), random(&of(k, m), seed));
        let (b, bt) = (random(&of(k, n), seed ^ 1), random(&of(n, k), seed ^ 1));
        check_triple("matmul", &a, &b, seed, |a, b| a.matmul(b));
        check_triple("matmul_nt", &a, &bt, seed, |a, b| a.matmul_nt(b));
        check_triple("matmul_tn", &at, &b, seed, |a, b| a.matmul_tn(b));
    }

    #[test]
    fn transposed_products_equal_products_of_transposes(
        (m, k, n) in (1usize..9, 1usize..9, 1usize..9), seed: u64,
    ) {
        let (a, b) = (Var::constant(random(&[m, k], seed)), Var::constant(random(&[k, n], !seed)));
        let y = a.matmul(&b);
        let (at, bt) = (a.transpose(0, 1), b.transpose(0, 1));
        assert_tensors_close("nt", y.value(), a.matmul_nt(&bt).value(), tolerance::LAW);
        assert_tensors_close("tn", y.value(), at.matmul_tn(&b).value(), tolerance::LAW);
    }

    #[test]
    fn convolution_is_a_trilinear_form(
        (n, c, o) in (1usize..3, 1usize..4, 1usize..4),
        (kh, kw) in (1usize..5, 1usize..5),
        (extra_h, extra_w) in (0usize..6, 0usize..6),
        stride in [1usize..4, 1usize..4],
        padding in [0usize..3, 0usize..3],
        seed: u64,
    ) {
        // Large enough for one window without padding.
        let (h, w) = (kh + extra_h, kw + extra_w);
        let x = random(&[n, h, w, c], seed);
        let weight = random(&[kh, kw, c, o], seed ^ 1);
        check_triple("conv2d", &x, &weight, seed, |x, w| x.conv2d(w, stride, padding));
    }

    #[test]
    fn a_convolution_with_a_one_by_one_kernel_is_a_matrix_product(
        (n, h, w) in (1usize..3, 1usize..5, 1usize..5), (c, o) in (1usize..9, 1usize..9), seed: u64,
    ) {
        let x = Var::constant(random(&[n, h, w, c], seed));
        let weight = Var::constant(random(&[1, 1, c, o], seed ^ 1));
        let product = x.reshape(&[n * h * w, c]).matmul(&weight.reshape(&[c, o]));
        let conv = x.conv2d(&weight, [1, 1], [0, 0]).reshape(&[n * h * w, o]);
        assert_tensors_close("1x1", conv.value(), product.value(), tolerance::LAW);
    }

    #[test]
    fn a_convolution_equals_its_definition(
        (c, o) in (1usize..4, 1usize..4), (kh, kw) in (1usize..4, 1usize..4),
        (extra_h, extra_w) in (0usize..5, 0usize..5),
        stride in [1usize..4, 1usize..4], padding in [0usize..3, 0usize..3], seed: u64,
    ) {
        let (h, w) = (kh + extra_h, kw + extra_w);
        let (x, weight) = (random(&[2, h, w, c], seed), random(&[kh, kw, c, o], seed ^ 1));
        let y = Var::constant(x.clone()).conv2d(&Var::constant(weight.clone()), stride, padding);
        let [_, oh, ow, _] = y.shape() else { panic!("four axes") };
        let at = |n: usize, i: usize, j: usize, q: usize| {
            let mut sum = 0.0;
            for (u, v, p) in (0..kh * kw * c).map(|f| (f / c / kw, f / c % kw, f % c)) {
                let (row, column) = (i * stride[0] + u, j * stride[1] + v);
                let inside = |at: usize, pad: usize, len: usize| at >= pad && at - pad < len;
                if inside(row, padding[0], h) && inside(column, padding[1], w) {
                    let from = ((n * h + row - padding[0]) * w + column - padding[1]) * c + p;
                    sum += x.as_slice()[from] * weight.as_slice()[((u * kw + v) * c + p) * o + q];
                }
            }
            sum
        };
        let expected = Tensor::from_fn(y.shape(), |f| {
            at(f / o / ow / oh, f / o / ow % oh, f / o % ow, f % o)
        });
        assert_tensors_close("conv2d", y.value(), &expected, tolerance::LAW);
    }

    #[test]
    fn summing_a_broadcast_multiplies_by_the_repeats(
        full in shape(1..=4), drop in 0usize..3, ones: u8, seed: u64,
    ) {
        let small: Vec<usize> = full.iter().enumerate().skip(drop.min(full.len()))
            .map(|(i, &len)| if ones >> i & 1 == 1 { 1 } else { len }).collect();
        let x = random(&small, seed);
        let repeats = full.iter().product::<usize>() / x.len();
        let back = Var::constant(x.clone()).broadcast_to(&full).sum_to(&small);
        let expected = x.map(|x| x * repeats as f64);
        assert_tensors_close("sum_to", back.value(), &expected, tolerance::LAW);
        check_adjoint("broadcast_to", &x, seed, |x| x.broadcast_to(&full));
        let y = random(&full, seed ^ 1);
        check_adjoint("sum_to", &y, seed, |y| y.sum_to(&small));
    }

    #[test]
    fn permutations_have_inverses(dims in shape(1..=5), seed: u64) {
        let x = random(&dims, seed);
        let axes = permutation(dims.len(), seed ^ 7);
        let mut inverse = vec![0; axes.len()];
        for (i, &axis) in axes.iter().enumerate() {
            inverse[axis] = i;
        }
        let there = Var::constant(x.clone()).permute(&axes);
        let back = there.permute(&inverse);
        prop_assert_eq!(back.value().to_vec(), x.to_vec());
        prop_assert_eq!(back.shape(), x.shape());
        check_adjoint("permute", &x, seed, |x| x.permute(&axes));
        check_adjoint("reshape", &x, seed, |x| x.reshape(&[x.value().len()]));
    }

    #[test]
    fn slices_of_a_concatenation_are_its_parts(
        dims in shape(1..=4), lens in proptest::collection::vec(1usize..4, 1..4), axis: usize,
        seed: u64,
    ) {
        let axis = axis % dims.len();
        let parts: Vec<Tensor<f64>> = lens.iter().enumerate().map(|(i, &len)| {
            let mut dims = dims.clone();
            dims[axis] = len;
            random(&dims, seed ^ i as u64)
        }).collect();
        let vars: Vec<Var<f64>> = parts.iter().cloned().map(Var::constant).collect();
        let whole = Var::concat(&vars.iter().collect::<Vec<_>>(), axis);
        let mut start = 0;
        for (part, len) in parts.iter().zip(lens) {
            let (mut starts, mut ends) = (vec![0; dims.len()], whole.shape().to_vec());
            (starts[axis], ends[axis]) = (start, start + len);
            let slice = whole.slice(&starts, &ends, &vec![1; dims.len()]);
            prop_assert_eq!(slice.value().to_vec(), part.to_vec());
            start += len;
        }
    }

    #[test]
    fn selections_are_adjoint_to_scatters(
        dims in shape(1..=4), axis: usize, count in 1usize..6, seed: u64,
    ) {
        let axis = axis % dims.len();
        let x = random(&dims, seed);
        let mut numbers = Numbers::new(seed ^ 3);
        let mut index = |n: usize| -> Vec<u32> {
            (0..n).map(|_| numbers.below(dims[axis]) as u32).collect()
        };
        let rows = index(count);
        check_adjoint("index_select", &x, seed, |x| x.index_select(axis, &rows));
        let mut shape = dims.clone();
        shape[axis] = count;
        let index = index(shape.iter().product());
        check_adjoint("gather", &x, seed, |x| x.gather(axis, &index, &shape));
        let (starts, steps) = (vec![0; dims.len()], vec![2; dims.len()]);
        check_adjoint("slice", &x, seed, |x| x.slice(&starts, &dims, &steps));
    }

    #[test]
    fn pools_are_adjoint_to_unpools(
        (h, w, c) in (3usize..7, 3usize..7, 1usize..4),
        kernel in [1usize..4, 1usize..4], stride in [1usize..3, 1usize..3], pad in 0usize..2,
        seed: u64,
    ) {
        let x = random(&[2, h, w, c], seed);
        let padding = [pad.min(kernel[0] / 2), pad.min(kernel[1] / 2)];
        for count in [CountPad::Include, CountPad::Exclude] {
            check_adjoint("avg_pool2d", &x, seed, |x| x.avg_pool2d(kernel, stride, padding, count));
        }
        // With its choice of maxima fixed, max-pooling is linear.
        check_adjoint("max_pool2d", &x, seed, |x| x.max_pool2d(kernel, stride, padding));
        check_adjoint("max_axis", &x, seed, |x| x.max_axis(1, Keep::Keep));
    }
}
