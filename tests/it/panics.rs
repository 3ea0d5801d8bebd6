//! Misuse of the maths panics with a message that names the operation and the shapes.

use dimask::autodiff::{CountPad, Keep, Reduction, Var, grad, grad_graph, hvp, pull, push};
use dimask::nn::{BatchNorm, Init, LayerMoments, Linear, Pass, RunningStats, with_params};
use dimask::optim::{Optimizer, Sgd, ema, warmup_cosine};
use dimask::ssl::{BarlowTwins, Queue, barlow_twins, byol, nt_xent};
use dimask::tensor::Tensor;

fn zeros(shape: &[usize]) -> Tensor<f64> {
    Tensor::zeros(shape)
}

fn var(shape: &[usize]) -> Var<f64> {
    Var::leaf(zeros(shape))
}

/// One test a line: its name, what the message must contain, the misuse.
macro_rules! panics {
    ($($name:ident, $expected:literal: $misuse:expr;)*) => {$(
        #[test]
        #[should_panic(expected = $expected)]
        fn $name() {
            let _ = $misuse;
        }
    )*};
}

panics! {
    a_vector_that_does_not_fill_its_shape, "5 values do not fill the shape [2, 3]":
        Tensor::from_vec(vec![0.0; 5], &[2, 3]);
    rows_of_unequal_length, "from_rows: rows differ in length":
        Tensor::from_rows(&[&[1.0f64, 2.0], &[3.0]]);
    too_many_axes, "[1, 1, 1, 1, 1, 1, 1] has more than 6 axes": zeros(&[1; 7]);
    item_of_many, "item: shape [2] has 2 elements": zeros(&[2]).item();

    add_of_unequal_shapes, "add: shapes [2, 3] and [2] do not broadcast":
        var(&[2, 3]) + var(&[2]);
    sub_of_unequal_shapes, "sub: shapes [2, 3] and [4, 3] do not broadcast":
        var(&[2, 3]) - var(&[4, 3]);
    mul_of_unequal_shapes, "mul: shapes [2] and [3] do not broadcast": var(&[2]) * var(&[3]);
    div_of_unequal_shapes, "div: shapes [2] and [3] do not broadcast": var(&[2]) / var(&[3]);

    reshape_to_another_size, "reshape: [2, 3] does not fit into [4]": var(&[2, 3]).reshape(&[4]);
    permute_with_a_repeat, "permute: [0, 0] does not permute the axes of [2, 3]":
        var(&[2, 3]).permute(&[0, 0]);
    transpose_past_the_axes, "transpose: 0 and 2 of shape [2, 3]": var(&[2, 3]).transpose(0, 2);
    broadcast_to_another_shape, "broadcast_to: [2, 3] does not broadcast to [2, 4]":
        var(&[2, 3]).broadcast_to(&[2, 4]);
    sum_to_another_shape, "sum_to: [4] does not broadcast to [2, 3]": var(&[2, 3]).sum_to(&[4]);
    slice_past_the_end, "slice: [0, 1]..[2, 4] step [1, 1] of [2, 3]":
        var(&[2, 3]).slice(&[0, 1], &[2, 4], &[1, 1]);
    slice_with_step_zero, "slice: [0]..[2] step [0] of [2]": var(&[2]).slice(&[0], &[2], &[0]);
    rows_past_the_end, "slice: [1, 0]..[3, 3]": var(&[2, 3]).rows(1..3);
    concat_of_unequal_shapes, "concat: [2, 3] and [2, 4] along axis 0":
        Var::concat(&[&var(&[2, 3]), &var(&[2, 4])], 0);
    concat_of_nothing, "concat: no operands": Var::<f64>::concat(&[], 0);
    index_past_the_axis, "index_select: index 3 is past an axis of 3":
        var(&[2, 3]).index_select(1, &[0, 3]);
    gather_past_the_axis, "gather: index 2 is past an axis of 2":
        var(&[2, 3]).gather(0, &[2, 0, 0], &[1, 3]);
    gather_of_another_shape, "gather: index [1, 2] does not fit [2, 3] along axis 0":
        var(&[2, 3]).gather(0, &[0, 0], &[1, 2]);

    sum_over_a_missing_axis, "sum_axes: shape [2, 3] has no axis Some(2)":
        var(&[2, 3]).sum_axes(&[2], Keep::Drop);
    max_over_an_empty_axis, "max_axis: axis 1 of [2, 0] is empty":
        var(&[2, 0]).max_axis(1, Keep::Drop);
    variance_of_one_value, "var_axes: 1 values with correction 1":
        var(&[1, 3]).var_axes(&[0], Keep::Drop, 1);
    log_softmax_past_the_axes, "log_softmax: axis 2 of shape [2, 3]": var(&[2, 3]).log_softmax(2);
    cross_entropy_of_too_few_targets, "cross_entropy: logits [2, 3], 1 targets":
        var(&[2, 3]).cross_entropy(&[0], Reduction::Mean);

    matmul_of_unequal_sizes, "inner sizes 3 and 4, shapes [2, 3] and [4, 5]":
        var(&[2, 3]).matmul(&var(&[4, 5]));
    matmul_nt_of_unequal_sizes, "matmul Nt: inner sizes 3 and 5, shapes [2, 3] and [4, 5]":
        var(&[2, 3]).matmul_nt(&var(&[4, 5]));
    matmul_of_a_vector, "matmul Nn: shapes [3] and [3, 4]": var(&[3]).matmul(&var(&[3, 4]));
    matmul_of_unequal_batches, "leading axes of [2, 3, 4] and [3, 4, 5] do not broadcast":
        var(&[2, 3, 4]).matmul(&var(&[3, 4, 5]));

    conv2d_of_other_channels,
        "conv2d: x has 3 channels, w expects 2; x [1, 4, 4, 3], w [3, 3, 2, 5]":
        var(&[1, 4, 4, 3]).conv2d(&var(&[3, 3, 2, 5]), [1, 1], [0, 0]);
    conv2d_of_a_large_window,
        "conv2d: w [5, 5, 3, 2] stride [1, 1] padding [0, 0] on x [1, 4, 4, 3]":
        var(&[1, 4, 4, 3]).conv2d(&var(&[5, 5, 3, 2]), [1, 1], [0, 0]);
    conv2d_with_stride_zero, "stride [0, 1]":
        var(&[1, 4, 4, 3]).conv2d(&var(&[3, 3, 3, 2]), [0, 1], [0, 0]);
    conv2d_of_a_matrix, "conv2d: expected":
        var(&[4, 4]).conv2d(&var(&[3, 3, 4, 2]), [1, 1], [0, 0]);
    max_pool2d_of_a_large_window, "max_pool2d: window [5, 5] stride [1, 1] padding [0, 0]":
        var(&[1, 4, 4, 3]).max_pool2d([5, 5], [1, 1], [0, 0]);
    avg_pool2d_of_a_matrix, "avg_pool2d: expected [N, H, W, C], got [4, 4]":
        var(&[4, 4]).avg_pool2d([2, 2], [2, 2], [0, 0], CountPad::Include);
    global_avg_pool2d_of_a_matrix, "global_avg_pool2d: expected [N, H, W, C], got [4, 4]":
        var(&[4, 4]).global_avg_pool2d();

    batch_norm_of_other_channels, "batch_norm: weight [2], bias [3], x [4, 3]":
        var(&[4, 3]).batch_norm(&var(&[2]), &var(&[3]), 1e-5, 1);
    batch_norm_of_uneven_groups, "batch_norm: 3 groups of shape [4, 3]":
        var(&[4, 3]).batch_norm(&var(&[3]), &var(&[3]), 1e-5, 3);

    gradient_of_many_numbers, "grad: a loss is one number, got [2]": {
        let x = var(&[2]);
        grad(&x * 2.0, &[&x])
    };
    recorded_gradient_of_many_numbers, "grad: a loss is one number, got [2]": {
        let x = var(&[2]);
        grad_graph(&(&x * 2.0), &[&x])
    };
    gradient_in_a_constant, "differentiation in a constant: make it a leaf": {
        let x = var(&[2]);
        grad(x.sum(), &[&x.detach()])
    };
    cotangent_of_another_shape, "pull: [2], cotangent [3]": {
        let x = var(&[2]);
        pull(vec![(&x * 2.0, zeros(&[3]))], &[&x])
    };
    tangent_of_another_shape, "push: input [2], tangent [3]": {
        let x = var(&[2]);
        push(&[&(&x * 2.0)], &[(&x, &zeros(&[3]))])
    };
    direction_of_another_shape, "pull: [2], cotangent [3]": {
        let x = var(&[2]);
        hvp(&x.square().sum(), &[&x], &[&zeros(&[3])])
    };

    linear_layer_of_other_width, "inner sizes 3 and 4":
        Linear::new("fc", 4, 2, &Init::new(0)).forward(&var(&[5, 3]));
    batch_norm_layer_of_one_value, "batch_norm bn1: one value a channel in [1, 3]":
        BatchNorm::new("bn1", 3).forward(&var(&[1, 3]), &mut Pass::train(1));
    batch_norm_layer_without_moments, "batch_norm bn2: no running moments": {
        let running = RunningStats::new(&BatchNorm::<f64>::new("bn1", 3));
        BatchNorm::new("bn2", 3).forward(&var(&[4, 3]), &mut Pass::eval(&running))
    };
    moments_of_an_unknown_layer, "running moments: no layer bn2": {
        let mut running = RunningStats::new(&BatchNorm::<f64>::new("bn1", 3));
        let (mean, var) = (zeros(&[1, 3]), zeros(&[1, 3]));
        running.update(&[LayerMoments { name: "bn2".into(), mean, var, count: 4 }], 0.1);
    };
    directions_of_another_number, "hvp: 0 directions for 1 variables": {
        let x = var(&[2]);
        hvp(&x.square().sum(), &[&x], &[])
    };
    two_tangents_for_one_input, "push: two tangents for": {
        let x = var(&[2]);
        push(&[&x.square()], &[(&x, &zeros(&[2])), (&x, &zeros(&[2]))])
    };
    too_few_parameters, "with_params: 1 given, 2 wanted":
        with_params(&BatchNorm::new("bn1", 3), vec![var(&[3])]);
    optimizer_of_another_shape, "optimizer: [3] for a parameter [2]": {
        let params = vec![zeros(&[2])];
        let rule = Optimizer::Sgd(Sgd::default());
        let state = rule.start(&params);
        rule.step(params, &[zeros(&[3])], state)
    };
    optimizer_of_another_number, "optimizer: [params, grads, slots..] are [1, 0, 1]": {
        let params = vec![zeros(&[2])];
        let rule = Optimizer::Sgd(Sgd::default());
        let state = rule.start(&params);
        rule.step(params, &[], state)
    };
    warm_up_without_end, "warmup_cosine: a rise of 5 in 5": warmup_cosine(0.1, 5, 5, 5, 0.0);
    ema_of_unequal_shapes, "ema: [target, online] are [[2], [3]]":
        ema(zeros(&[2]), &zeros(&[3]), 0.9);
    nt_xent_of_unequal_views, "nt_xent: [view 0, view 1] are [[4, 3], [5, 3]]":
        nt_xent(&var(&[4, 3]), &var(&[5, 3]), 0.5);
    byol_of_another_target, "byol: [prediction, target] are [[4, 3], [4, 2]]":
        byol(&var(&[4, 3]), &var(&[4, 3]), &zeros(&[4, 3]), &zeros(&[4, 2]));
    queue_of_another_width, "queue: [4, 3] into rows of 2":
        Queue::<f64>::new(5, 2, 1).enqueue(&zeros(&[4, 3]));
    barlow_twins_of_one_image, "barlow_twins: a batch of 1 has no variance":
        barlow_twins(&var(&[1, 3]), &var(&[1, 3]), &BarlowTwins::default());
}
