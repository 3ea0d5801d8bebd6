//! Misuse of variables and of the engines that differentiate.

use dimask::autodiff::check::{CheckOptions, check_gradient};
use dimask::autodiff::{
    CountPad, Keep, Norm, Reduction, Stats, Tail, Var, grad, grad_graph, hvp, pull, pull_graph,
    push, push_graph,
};
use dimask::comm::Ranks;
use dimask::tensor::Precision;

use super::{panics, var, zeros};

panics! {
    add_of_unequal_shapes, Var::add, "add: shapes [2, 3] and [2] do not broadcast":
        var(&[2, 3]) + var(&[2]);
    sub_of_unequal_shapes, Var::sub, "sub: shapes [2, 3] and [4, 3] do not broadcast":
        &var(&[2, 3]) - var(&[4, 3]);
    mul_of_unequal_shapes, Var::mul, "mul: shapes [2] and [3] do not broadcast":
        var(&[2]) * &var(&[3]);
    div_of_unequal_shapes, Var::div, "div: shapes [2] and [3] do not broadcast":
        &var(&[2]) / &var(&[3]);
    pow_of_unequal_shapes, Var::pow, "pow: shapes [2] and [3] do not broadcast":
        var(&[2]).pow(&var(&[3]));
    clamp_to_nan, Var::clamp, "clamp: a bound is NaN": var(&[2]).clamp(Some(f64::NAN), None);
    item_of_many, Var::item, "item: shape [2] has 2 elements": var(&[2]).item();

    reshape_to_another_size, Var::reshape, "reshape: [2, 3] does not fit into [4]":
        var(&[2, 3]).reshape(&[4]);
    permute_with_a_repeat, Var::permute, "permute: [0, 0] does not permute the axes of [2, 3]":
        var(&[2, 3]).permute(&[0, 0]);
    transpose_past_the_axes, Var::transpose, "transpose: 0 and 2 of shape [2, 3]":
        var(&[2, 3]).transpose(0, 2);
    broadcast_to_another_shape, Var::broadcast_to,
        "broadcast_to: [2, 3] does not broadcast to [2, 4]":
        var(&[2, 3]).broadcast_to(&[2, 4]);
    sum_to_another_shape, Var::sum_to, "sum_to: [4] does not broadcast to [2, 3]":
        var(&[2, 3]).sum_to(&[4]);
    slice_past_the_end, Var::slice, "slice: [0, 1]..[2, 4] step [1, 1] of [2, 3]":
        var(&[2, 3]).slice(&[0, 1], &[2, 4], &[1, 1]);
    embed_past_the_end, Var::embed, "embed: [2] at [3] step [1] of [4]":
        var(&[2]).embed(&[4], &[3], &[1]);
    narrow_past_the_end, Var::narrow, "narrow: 2..4 of axis 1 of [2, 3]":
        var(&[2, 3]).narrow(1, 2..4);
    narrow_of_a_missing_axis, Var::narrow, "narrow: shape [2, 3] has no axis 2":
        var(&[2, 3]).narrow(2, 0..1);
    rows_past_the_end, Var::rows, "rows: 1..3 of axis 0 of [2, 3]": var(&[2, 3]).rows(1..3);
    rows_of_a_scalar, Var::rows, "rows: shape [] has no axis 0": var(&[]).rows(0..0);
    concat_of_unequal_shapes, Var::concat, "concat: [2, 3] and [2, 4] along axis 0":
        Var::concat(&[&var(&[2, 3]), &var(&[2, 4])], 0);
    concat_of_nothing, Var::concat, "concat: no operands": Var::<f64>::concat(&[], 0);
    index_past_the_axis, Var::index_select, "index_select: index 3 is past an axis of 3":
        var(&[2, 3]).index_select(1, &[0, 3]);
    index_of_a_missing_axis, Var::index_select, "index_select: shape [2, 3] has no axis 2":
        var(&[2, 3]).index_select(2, &[0]);
    gather_past_the_axis, Var::gather, "gather: index 2 is past an axis of 2":
        var(&[2, 3]).gather(0, &[2, 0, 0], &[1, 3]);
    gather_of_another_shape, Var::gather, "gather: index [1, 2] does not fit [2, 3] along axis 0":
        var(&[2, 3]).gather(0, &[0, 0], &[1, 2]);
    max_over_an_empty_axis, Var::max_axis, "max_axis: axis 1 of [2, 0] is empty":
        var(&[2, 0]).max_axis(1, Keep::Drop);

    sum_over_a_missing_axis, Var::sum_axes, "sum_axes: shape [2, 3] has no axis 2":
        var(&[2, 3]).sum_axes(&[2], Keep::Drop);
    mean_over_an_axis_twice, Var::mean_axes, "mean_axes: axis 1 is named twice in [1, 1]":
        var(&[2, 3]).mean_axes(&[1, 1], Keep::Drop);
    variance_of_one_value, Var::var_axes, "var_axes: 1 values with correction 1":
        var(&[1, 3]).var_axes(&[0], Keep::Drop, 1);
    deviation_over_a_missing_axis, Var::std_axes, "std_axes: shape [1, 3] has no axis 2":
        var(&[1, 3]).std_axes(&[2], Keep::Drop, 0);
    logsumexp_of_nothing, Var::logsumexp, "logsumexp: axis 1 of shape [2, 0]":
        var(&[2, 0]).logsumexp(1, Keep::Drop);
    softmax_past_the_axes, Var::softmax, "softmax: axis 2 of shape [2, 3]":
        var(&[2, 3]).softmax(2);
    log_softmax_past_the_axes, Var::log_softmax, "log_softmax: axis 2 of shape [2, 3]":
        var(&[2, 3]).log_softmax(2);
    cross_entropy_of_too_few_targets, Var::cross_entropy,
        "cross_entropy: logits [2, 3], 1 targets":
        var(&[2, 3]).cross_entropy(&[0], Reduction::Mean);
    cross_entropy_of_a_foreign_target, Var::cross_entropy,
        "cross_entropy: target 3 of row 1 is not below 3 columns":
        var(&[2, 3]).cross_entropy(&[0, 3], Reduction::None);
    cross_entropy_without_a_foreign_column, Var::cross_entropy_without,
        "cross_entropy_without: column 3, left out of row 0, is not below 3 columns":
        var(&[2, 3]).cross_entropy_without(&[0, 1], &[3, 0], Reduction::Sum);
    cross_entropy_without_its_target, Var::cross_entropy_without,
        "cross_entropy_without: column 1, left out of row 1, is its target":
        var(&[2, 3]).cross_entropy_without(&[0, 1], &[1, 1], Reduction::Sum);
    cross_entropy_without_too_few, Var::cross_entropy_without,
        "cross_entropy_without: 1 columns left out of 2 rows":
        var(&[2, 3]).cross_entropy_without(&[0, 1], &[1], Reduction::Sum);
    cross_entropy_without_a_foreign_target, Var::cross_entropy_without,
        "cross_entropy_without: target 7 of row 0 is not below 3 columns":
        var(&[2, 3]).cross_entropy_without(&[7, 1], &[1, 0], Reduction::Sum);
    l2_normalize_past_the_axes, Var::l2_normalize, "l2_normalize: shape [2, 3] has no axis 2":
        var(&[2, 3]).l2_normalize(2, 1e-12);
    l2_normalize_to_past_the_axes, Var::l2_normalize_to, "l2_normalize_to: shape [] has no axis 0":
        var(&[]).l2_normalize_to(2.0, 0, 1e-12);
    dot_of_unequal_shapes, Var::dot, "dot: shapes [2] and [3] differ": var(&[2]).dot(&var(&[3]));
    dot_constant_of_unequal_shapes, Var::dot_constant, "dot_constant: shapes [2] and [3] differ":
        var(&[2]).dot_constant(&zeros(&[3]));

    matmul_of_unequal_sizes, Var::matmul, "matmul: inner sizes 3 and 4, shapes [2, 3] and [4, 5]":
        var(&[2, 3]).matmul(&var(&[4, 5]));
    matmul_of_a_vector, Var::matmul, "matmul: shapes [3] and [3, 4]":
        var(&[3]).matmul(&var(&[3, 4]));
    matmul_of_unequal_batches, Var::matmul,
        "matmul: leading axes of [2, 3, 4] and [3, 4, 5] do not broadcast":
        var(&[2, 3, 4]).matmul(&var(&[3, 4, 5]));
    matmul_with_unequal_sizes, Var::matmul_with, "matmul_with: inner sizes 3 and 4":
        var(&[2, 3]).matmul_with(&var(&[4, 5]), Precision::Bf16);
    matmul_nt_of_unequal_sizes, Var::matmul_nt,
        "matmul_nt: inner sizes 3 and 5, shapes [2, 3] and [4, 5]":
        var(&[2, 3]).matmul_nt(&var(&[4, 5]));
    matmul_tn_of_unequal_sizes, Var::matmul_tn, "matmul_tn: inner sizes 2 and 4":
        var(&[7, 2, 3]).matmul_tn(&var(&[4, 5]));
    conv2d_of_other_channels, Var::conv2d,
        "conv2d: x has 3 channels, w expects 2; x [1, 4, 4, 3], w [3, 3, 2, 5]":
        var(&[1, 4, 4, 3]).conv2d(&var(&[3, 3, 2, 5]), [1, 1], [0, 0]);
    conv2d_of_a_large_window, Var::conv2d,
        "conv2d: w [5, 5, 3, 2] stride [1, 1] padding [0, 0] on x [1, 4, 4, 3]":
        var(&[1, 4, 4, 3]).conv2d(&var(&[5, 5, 3, 2]), [1, 1], [0, 0]);
    conv2d_with_stride_zero, Var::conv2d, "conv2d: w [3, 3, 3, 2] stride [0, 1]":
        var(&[1, 4, 4, 3]).conv2d(&var(&[3, 3, 3, 2]), [0, 1], [0, 0]);
    conv2d_of_a_matrix, Var::conv2d, "conv2d: expected [N, H, W, C], got [4, 4]":
        var(&[4, 4]).conv2d(&var(&[3, 3, 4, 2]), [1, 1], [0, 0]);
    conv2d_by_a_matrix, Var::conv2d, "conv2d: expected w [KH, KW, C, O], got [3, 2]":
        var(&[1, 4, 4, 3]).conv2d(&var(&[3, 2]), [1, 1], [0, 0]);
    conv2d_with_huge_padding, Var::conv2d_with, "conv2d_with: w [3, 3, 3, 2] stride [1, 1]":
        var(&[1, 4, 4, 3]).conv2d_with(
            &var(&[3, 3, 3, 2]), [1, 1], [1 << 63, 0], Precision::Full,
        );
    max_pool2d_of_a_large_window, Var::max_pool2d,
        "max_pool2d: window [5, 5] stride [1, 1] padding [0, 0]":
        var(&[1, 4, 4, 3]).max_pool2d([5, 5], [1, 1], [0, 0]);
    avg_pool2d_of_a_matrix, Var::avg_pool2d, "avg_pool2d: expected [N, H, W, C], got [4, 4]":
        var(&[4, 4]).avg_pool2d([2, 2], [2, 2], [0, 0], CountPad::Include);
    avg_pool2d_of_much_padding, Var::avg_pool2d, "avg_pool2d: window [2, 2] stride [2, 2]":
        var(&[1, 4, 4, 1]).avg_pool2d([2, 2], [2, 2], [2, 0], CountPad::Exclude);
    global_avg_pool2d_of_a_matrix, Var::global_avg_pool2d,
        "global_avg_pool2d: expected [N, H, W, C], got [4, 4]":
        var(&[4, 4]).global_avg_pool2d();

    batch_norm_of_other_channels, Var::batch_norm, "batch_norm: weight [2], bias [3], x [4, 3]":
        var(&[4, 3]).batch_norm(Norm::new(&var(&[2]), &var(&[3]), 1e-5, 1));
    batch_norm_of_uneven_groups, Var::batch_norm, "batch_norm: 3 groups of shape [4, 3]":
        var(&[4, 3]).batch_norm(Norm::new(&var(&[3]), &var(&[3]), 1e-5, 3));
    batch_norm_then_another_shape, Var::batch_norm, "batch_norm: x [4, 3], shortcut [4, 1]": {
        let shortcut = var(&[4, 1]);
        let tail = Tail::AddRelu(&shortcut);
        var(&[4, 3]).batch_norm(Norm { tail, ..Norm::new(&var(&[3]), &var(&[3]), 1e-5, 1) })
    };
    batch_norm_then_pooling_of_a_matrix, Var::batch_norm,
        "batch_norm: expected [N, H, W, C], got [4, 3]": {
        let tail = Tail::MaxPoolRelu;
        var(&[4, 3]).batch_norm(Norm { tail, ..Norm::new(&var(&[3]), &var(&[3]), 1e-5, 1) })
    };
    batch_norm_of_a_vector, Var::batch_norm, "batch_norm: 1 groups of shape [3]":
        var(&[3]).batch_norm(Norm::new(&var(&[3]), &var(&[3]), 1e-5, 1));
    batch_norm_by_other_moments, Var::batch_norm, "batch_norm: mean [3], var [1], x [4, 3]": {
        let stats = Stats::Given { mean: &zeros(&[3]), var: &zeros(&[1]) };
        var(&[4, 3]).batch_norm(Norm { stats, ..Norm::new(&var(&[3]), &var(&[3]), 1e-5, 1) })
    };
    batch_norm_by_moments_of_other_channels, Var::batch_norm,
        "batch_norm: weight [2], bias [2], x [4, 3]": {
        let stats = Stats::Given { mean: &zeros(&[2]), var: &zeros(&[2]) };
        let own = var(&[2]).detach();
        var(&[4, 3]).detach().batch_norm(Norm { stats, ..Norm::new(&own, &own, 1e-5, 1) })
    };
    standardize_of_uneven_groups, Var::standardize, "standardize: 3 groups of shape [4, 3]":
        var(&[4, 3]).standardize(1e-5, 3);

    all_gather_of_a_scalar, Var::all_gather, "all_gather: a scalar has no rows":
        var(&[]).all_gather(&Ranks::alone().comm());
    shard_of_a_scalar, Var::shard, "shard: [] between 1 ranks":
        var(&[]).shard(&Ranks::alone().comm());

    gradient_of_many_numbers, grad, "grad: a loss is one number, got [2]": {
        let x = var(&[2]);
        grad(&x * 2.0, &[&x])
    };
    gradient_in_a_constant, grad, "grad: variable 1 is a constant, [2]: make it a leaf": {
        let x = var(&[2]);
        grad(x.sum(), &[&x, &x.detach()])
    };
    gradient_of_a_constant_in_one, grad, "grad: variable 0 is a constant, []: make it a leaf":
        grad(Var::<f64>::scalar(1.0), &[&Var::scalar(2.0)]);
    recorded_gradient_of_many_numbers, grad_graph, "grad_graph: a loss is one number, got [2]": {
        let x = var(&[2]);
        grad_graph(&(&x * 2.0), &[&x])
    };
    recorded_gradient_in_a_constant, grad_graph, "grad_graph: variable 0 is a constant, [2]": {
        let x = var(&[2]);
        grad_graph(&x.sum(), &[&x.detach()])
    };
    cotangent_of_another_shape, pull, "pull: [2], cotangent [3]": {
        let x = var(&[2]);
        pull(vec![(&x * 2.0, zeros(&[3]))], &[&x])
    };
    pull_to_a_constant, pull, "pull: variable 0 is a constant, [2]: make it a leaf": {
        let x = var(&[2]);
        pull(vec![(&x * 2.0, zeros(&[2]))], &[&x.detach()])
    };
    recorded_cotangent_of_another_shape, pull_graph, "pull_graph: [2], cotangent [3]": {
        let x = var(&[2]);
        pull_graph(&[(&(&x * 2.0), &var(&[3]))], &[&x])
    };
    tangent_of_another_shape, push, "push: input [2], tangent [3]": {
        let x = var(&[2]);
        push(&[&(&x * 2.0)], &[(&x, &zeros(&[3]))])
    };
    two_tangents_for_one_input, push, "push: two tangents for": {
        let x = var(&[2]);
        push(&[&x.square()], &[(&x, &zeros(&[2])), (&x, &zeros(&[2]))])
    };
    push_from_a_constant, push, "push: variable 0 is a constant, [2]: make it a leaf": {
        let x = var(&[2]);
        push(&[&x.square()], &[(&x.detach(), &zeros(&[2]))])
    };
    recorded_tangent_of_another_shape, push_graph, "push_graph: input [2], tangent [3]": {
        let x = var(&[2]);
        push_graph(&[&(&x * 2.0)], &[(&x, &var(&[3]))])
    };
    direction_of_another_shape, hvp, "hvp: [2], cotangent [3]": {
        let x = var(&[2]);
        hvp(&x.square().sum(), &[&x], &[&zeros(&[3])])
    };
    directions_of_another_number, hvp, "hvp: 0 directions for 1 variables": {
        let x = var(&[2]);
        hvp(&x.square().sum(), &[&x], &[])
    };
    curvature_of_many_numbers, hvp, "hvp: a loss is one number, got [2]": {
        let x = var(&[2]);
        hvp(&x.square(), &[&x], &[&zeros(&[2])])
    };
    gradient_of_another_length, check_gradient,
        "check_gradient: 2 inputs, and a gradient of 3 entries":
        check_gradient(|x| x[0], |_| vec![0.0; 3], &[1.0, 2.0], &CheckOptions::default());
}
