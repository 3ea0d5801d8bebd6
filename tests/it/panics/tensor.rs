//! Misuse of shapes and tensors.

use dimask::tensor::{Geometry, Keep, Precision, Shape, Tensor, Trans, broadcast};

use super::{panics, zeros};

const HUGE: usize = usize::MAX;

panics! {
    shape_of_seven_axes, Shape::new, "Shape::new: [1, 1, 1, 1, 1, 1, 1] has more than 6 axes":
        Shape::new(&[1; 7]);
    shape_that_overflows, Shape::new, "Shape::new: [18446744073709551615, 2] has more than":
        Shape::new(&[HUGE, 2]);
    shape_from_a_long_slice, Shape::from, "Shape::from: [1, 1, 1, 1, 1, 1, 1] has more than 6":
        Shape::from(&[1usize; 7][..]);
    broadcast_of_seven_axes, broadcast, "broadcast: [2, 2, 2, 2, 2, 2, 2] and [1] have more than":
        broadcast(&[2; 7], &[1]);
    broadcast_that_overflows, broadcast, "broadcast: [18446744073709551615, 3] has more than":
        broadcast(&[HUGE, 1], &[1, 3]);

    vector_that_does_not_fill_its_shape, Tensor::from_vec,
        "from_vec: 5 values do not fill the shape [2, 3]":
        Tensor::from_vec(vec![0.0; 5], &[2, 3]);
    vector_of_seven_axes, Tensor::from_vec, "from_vec: [1, 1, 1, 1, 1, 1, 1] has more than 6 axes":
        Tensor::from_vec(vec![0.0], &[1; 7]);
    slice_that_does_not_fill_its_shape, Tensor::from_slice,
        "from_slice: 5 values do not fill the shape [2, 3]":
        Tensor::from_slice(&[0.0; 5], &[2, 3]);
    rows_of_unequal_length, Tensor::from_rows, "from_rows: rows differ in length":
        Tensor::from_rows(&[&[1.0f64, 2.0], &[3.0]]);
    zeros_of_seven_axes, Tensor::zeros, "zeros: [1, 1, 1, 1, 1, 1, 1] has more than 6 axes":
        Tensor::<f32>::zeros(&[1; 7]);
    zeros_without_end, Tensor::zeros, "zeros: [4294967296, 4294967296] has more than":
        Tensor::<f32>::zeros(&[1 << 32, 1 << 32]);
    full_of_seven_axes, Tensor::full, "full: [1, 1, 1, 1, 1, 1, 1] has more than 6 axes":
        Tensor::full(&[1; 7], 1.0f32);
    function_of_too_many_places, Tensor::from_fn, "from_fn: [18446744073709551615, 2] has more":
        Tensor::from_fn(&[HUGE, 2], |i| i as f64);
    item_of_many, Tensor::item, "item: shape [2] has 2 elements": zeros(&[2]).item();
    item_of_none, Tensor::item, "item: shape [0] has 0 elements": zeros(&[0]).item();

    add_of_unequal_shapes, Tensor::add, "add: shapes [2, 3] and [2] do not broadcast":
        &zeros(&[2, 3]) + &zeros(&[2]);
    sub_of_unequal_shapes, Tensor::sub, "sub: shapes [2, 3] and [4, 3] do not broadcast":
        &zeros(&[2, 3]) - &zeros(&[4, 3]);
    mul_of_unequal_shapes, Tensor::mul, "mul: shapes [2] and [3] do not broadcast":
        &zeros(&[2]) * &zeros(&[3]);
    div_of_unequal_shapes, Tensor::div, "div: shapes [2] and [3] do not broadcast":
        &zeros(&[2]) / &zeros(&[3]);
    add_assign_of_unequal_shapes, Tensor::add_assign, "add_assign: shapes [2] and [1] differ":
        zeros(&[2]).add_assign(&zeros(&[1]));
    add_scaled_of_unequal_shapes, Tensor::add_scaled, "add_scaled: shapes [2] and [3] differ":
        zeros(&[2]).add_scaled(2.0, &zeros(&[3]));
    dot_of_unequal_shapes, Tensor::dot, "dot: shapes [2, 3] and [3, 2] differ":
        zeros(&[2, 3]).dot(&zeros(&[3, 2]));

    reshape_to_another_size, Tensor::reshape, "reshape: [2, 3] does not fit into [4]":
        zeros(&[2, 3]).reshape(&[4]);
    reshape_to_seven_axes, Tensor::reshape, "reshape: [1, 1, 1, 1, 1, 1, 1] has more than 6 axes":
        zeros(&[1]).reshape(&[1; 7]);
    permute_with_a_repeat, Tensor::permute, "permute: [0, 0] does not permute the axes of [2, 3]":
        zeros(&[2, 3]).permute(&[0, 0]);
    permute_of_too_few_axes, Tensor::permute, "permute: [0] does not permute the axes of [2, 3]":
        zeros(&[2, 3]).permute(&[0]);
    broadcast_to_another_shape, Tensor::broadcast_to,
        "broadcast_to: [2, 3] does not broadcast to [2, 4]":
        zeros(&[2, 3]).broadcast_to(&[2, 4]);
    broadcast_to_seven_axes, Tensor::broadcast_to, "broadcast_to: [1] and [1, 1, 1, 1, 1, 1, 1]":
        zeros(&[1]).broadcast_to(&[1; 7]);
    broadcast_without_end, Tensor::broadcast_to, "broadcast_to: [18446744073709551615] has more":
        zeros(&[1]).broadcast_to(&[HUGE]);
    sum_to_another_shape, Tensor::sum_to, "sum_to: [4] does not broadcast to [2, 3]":
        zeros(&[2, 3]).sum_to(&[4]);
    slice_past_the_end, Tensor::slice, "slice: [0, 1]..[2, 4] step [1, 1] of [2, 3]":
        zeros(&[2, 3]).slice(&[0, 1], &[2, 4], &[1, 1]);
    slice_with_step_zero, Tensor::slice, "slice: [0]..[2] step [0] of [2]":
        zeros(&[2]).slice(&[0], &[2], &[0]);
    slice_of_another_rank, Tensor::slice, "slice: [0]..[2] step [1] of [2, 3]":
        zeros(&[2, 3]).slice(&[0], &[2], &[1]);
    embed_past_the_end, Tensor::embed, "embed: [2] at [3] step [1] of [4]":
        zeros(&[2]).embed(&[4], &[3], &[1]);
    embed_with_step_zero, Tensor::embed, "embed: [2] at [0] step [0] of [4]":
        zeros(&[2]).embed(&[4], &[0], &[0]);
    embed_that_overflows, Tensor::embed, "embed: [3] at [0] step [9223372036854775808] of [4]":
        zeros(&[3]).embed(&[4], &[0], &[1 << 63]);
    concat_of_unequal_shapes, Tensor::concat, "concat: [2, 3] and [2, 4] along axis 0":
        Tensor::concat(&[&zeros(&[2, 3]), &zeros(&[2, 4])], 0);
    concat_along_a_missing_axis, Tensor::concat, "concat: shape [2, 3] has no axis 2":
        Tensor::concat(&[&zeros(&[2, 3])], 2);
    concat_of_nothing, Tensor::concat, "concat: no operands": Tensor::<f64>::concat(&[], 0);
    sum_over_a_missing_axis, Tensor::sum_axes, "sum_axes: shape [2, 3] has no axis 2":
        zeros(&[2, 3]).sum_axes(&[2], Keep::Drop);
    sum_over_an_axis_twice, Tensor::sum_axes, "sum_axes: axis 1 is named twice in [1, 0, 1]":
        zeros(&[2, 3]).sum_axes(&[1, 0, 1], Keep::Keep);
    max_over_an_empty_axis, Tensor::max_axis, "max_axis: axis 1 of [2, 0] is empty":
        zeros(&[2, 0]).max_axis(1, Keep::Drop);
    max_over_a_missing_axis, Tensor::max_axis, "max_axis: shape [] has no axis 0":
        zeros(&[]).max_axis(0, Keep::Keep);

    matmul_of_unequal_sizes, Tensor::matmul,
        "matmul: inner sizes 3 and 4, shapes [2, 3] and [4, 5]":
        zeros(&[2, 3]).matmul(&zeros(&[4, 5]));
    matmul_of_unequal_batches, Tensor::matmul, "matmul: shapes [2, 3, 4] and [4, 5]":
        zeros(&[2, 3, 4]).matmul(&zeros(&[4, 5]));
    matmul_nt_of_unequal_sizes, Tensor::matmul_nt, "matmul_nt: inner sizes 3 and 5":
        zeros(&[2, 3]).matmul_nt(&zeros(&[4, 5]));
    matmul_tn_of_unequal_sizes, Tensor::matmul_tn, "matmul_tn: inner sizes 2 and 4":
        zeros(&[2, 3]).matmul_tn(&zeros(&[4, 5]));
    matmul_trans_of_a_vector, Tensor::matmul_trans, "matmul_trans: shapes [3] and [3, 4]":
        zeros(&[3]).matmul_trans(&zeros(&[3, 4]), Trans::Nn, Precision::Full);
    conv2d_of_another_image, Tensor::conv2d, "conv2d: x is [1, 2, 1, 1], not [1, 1, 1, 1]":
        zeros(&[1, 2, 1, 1]).conv2d(&zeros(&[1; 4]), &Geometry::ONE);
    conv2d_of_other_weights, Tensor::conv2d, "conv2d: w is [1, 1, 1, 2], not [1, 1, 1, 1]":
        zeros(&[1; 4]).conv2d(&zeros(&[1, 1, 1, 2]), &Geometry::ONE);
    conv2d_that_does_not_exist, Tensor::conv2d, "conv2d: window [3, 1] of Geometry":
        zeros(&[1; 4]).conv2d(&zeros(&[3, 1, 1, 1]), &Geometry { kh: 3, ..Geometry::ONE });
    conv2d_input_grad_of_another_shape, Tensor::conv2d_input_grad,
        "conv2d_input_grad: g is [1, 1, 1, 2], not [1, 1, 1, 1]":
        zeros(&[1; 4]).conv2d_input_grad(&zeros(&[1, 1, 1, 2]), &Geometry::ONE);
    conv2d_weight_grad_with_stride_zero, Tensor::conv2d_weight_grad,
        "conv2d_weight_grad: window [1, 1] of Geometry":
        zeros(&[1; 4])
            .conv2d_weight_grad(&zeros(&[1; 4]), &Geometry { stride: [0, 1], ..Geometry::ONE });
    max_pool2d_of_a_large_window, Tensor::max_pool2d,
        "max_pool2d: window [5, 5] stride [1, 1] padding [0, 0] on [4, 4]":
        zeros(&[1, 4, 4, 3]).max_pool2d([5, 5], [1, 1], [0, 0]);
    max_pool2d_of_huge_padding, Tensor::max_pool2d, "max_pool2d: window [2, 2] stride [1, 1]":
        zeros(&[1, 4, 4, 3]).max_pool2d([2, 2], [1, 1], [1 << 63, 0]);
}
