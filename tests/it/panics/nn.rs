//! Misuse of layers and update rules.

use dimask::autodiff::Tail;
use dimask::comm::Ranks;
use dimask::nn::{
    Architecture, BatchNorm, Conv2d, Conv4, DataParallel, Encode, Encoder, Init, LayerMoments,
    Layout, Linear, Mlp, MlpEnd, Pass, ResNet18, RunningStats, Stem, with_params,
};
use dimask::optim::{
    Adam, AdamDecay, Optimizer, OptimizerState, Scope, Sgd, cosine, ema, ema_cosine, warmup_cosine,
};
use dimask::tensor::Tensor;

use super::{panics, var, zeros};

fn init() -> Init {
    Init::new(0)
}

/// Running moments of a layer `bn1` of three channels.
fn running() -> RunningStats<f64> {
    RunningStats::new(&BatchNorm::<f64>::new("bn1", 3))
}

fn moments(name: &str, shape: &[usize]) -> LayerMoments<f64> {
    LayerMoments { name: name.into(), mean: zeros(shape), var: zeros(shape), count: 4 }
}

fn sgd() -> Optimizer {
    Optimizer::Sgd(Sgd::default())
}

fn adam() -> Optimizer {
    Optimizer::Adam(Adam {
        lr: 0.1,
        betas: [0.9, 0.99],
        eps: 1e-8,
        weight_decay: 0.0,
        decay: AdamDecay::L2,
        scope: Scope::All,
    })
}

/// One parameter `[2]` with the state of a rule.
fn at_start(rule: Optimizer) -> (Vec<Tensor<f64>>, OptimizerState<f64>) {
    let params = vec![zeros(&[2])];
    let state = rule.start(&params);
    (params, state)
}

panics! {
    linear_layer_of_no_inputs, Linear::new, "linear fc: 0 inputs and 2 outputs":
        Linear::<f64>::new("fc", 0, 2, &init());
    linear_layer_of_a_vector, Linear::unbiased, "linear fc: weight [3]":
        Linear::unbiased("fc", var(&[3]));
    linear_layer_of_another_width, Linear::forward,
        "linear fc: inner sizes 3 and 4, shapes [5, 3] and [4, 2]":
        Linear::new("fc", 4, 2, &init()).forward(&var(&[5, 3]));
    linear_layer_with_another_bias, Linear::forward, "linear fc: bias [3], weight [4, 2]": {
        let bias = Some(var(&[3]));
        Linear { bias, ..Linear::new("fc", 4, 2, &init()) }.forward(&var(&[5, 4]))
    };
    convolution_of_no_channels, Conv2d::new, "conv2d conv1: 3 inputs, 0 outputs, side 3, stride 1":
        Conv2d::<f64>::new("conv1", [3, 0], 3, 1, &init());
    convolution_of_other_channels, Conv2d::forward,
        "conv2d conv1: x has 2 channels, w expects 3; x [1, 4, 4, 2], w [3, 3, 3, 5]":
        Conv2d::new("conv1", [3, 5], 3, 1, &init()).forward(&var(&[1, 4, 4, 2]));
    convolution_of_a_matrix, Conv2d::forward, "conv2d conv1: expected [N, H, W, C], got [4, 3]":
        Conv2d::new("conv1", [3, 5], 3, 1, &init()).forward(&var(&[4, 3]));
    batch_norm_layer_of_no_channels, BatchNorm::new, "batch_norm bn1: no channels":
        BatchNorm::<f64>::new("bn1", 0);
    batch_norm_layer_of_one_value, BatchNorm::forward,
        "batch_norm bn1: one value a channel in [1, 3]":
        BatchNorm::new("bn1", 3).forward(&var(&[1, 3]), &mut Pass::train(1));
    batch_norm_layer_of_other_channels, BatchNorm::forward,
        "batch_norm bn1: weight [3], bias [3], x [8, 2]":
        BatchNorm::new("bn1", 3).forward(&var(&[8, 2]), &mut Pass::train(1));
    batch_norm_layer_of_uneven_views, BatchNorm::forward,
        "batch_norm bn1: 2 groups of shape [5, 3]":
        BatchNorm::new("bn1", 3).forward(&var(&[5, 3]), &mut Pass::train(2));
    batch_norm_layer_without_moments, BatchNorm::forward, "batch_norm bn2: no running moments":
        BatchNorm::new("bn2", 3).forward(&var(&[4, 3]), &mut Pass::eval(&running()));
    batch_norm_layer_with_other_moments, BatchNorm::forward_then,
        "batch_norm bn1: mean [2], var [2], x [4, 3]": {
        let mut running = running();
        running.set("bn1", zeros(&[2]), zeros(&[2]));
        BatchNorm::new("bn1", 3).forward_then(&var(&[4, 3]), Tail::Relu, &mut Pass::eval(&running))
    };
    batch_norm_layer_then_another_shape, BatchNorm::forward_then,
        "batch_norm bn1: x [4, 3], shortcut [2, 3]":
        BatchNorm::new("bn1", 3)
            .forward_then(&var(&[4, 3]), Tail::AddRelu(&var(&[2, 3])), &mut Pass::train(1));
    head_of_no_layer, Mlp::new, "mlp base: [5] are not the sizes of one layer or more":
        Mlp::<f64>::new("base", &[5], MlpEnd::Linear, &init());
    head_of_no_width, Mlp::new, "mlp base: [5, 0, 2] are not the sizes":
        Mlp::<f64>::new("base", &[5, 0, 2], MlpEnd::Linear, &init());
    head_of_another_width, Mlp::forward, "linear base.fc1: inner sizes 4 and 5":
        Mlp::new("base", &[5, 2], MlpEnd::Linear, &init())
            .forward(&var(&[4, 4]), &mut Pass::train(2));
    head_of_one_image, Mlp::forward, "batch_norm base.bn1: one value a channel in [2, 3]":
        Mlp::new("base", &[5, 3, 2], MlpEnd::Linear, &init())
            .forward(&var(&[2, 5]), &mut Pass::train(2));
    weights_of_no_inputs, Init::uniform, "uniform: fc.weight of shape [0, 2] has no inputs":
        init().uniform::<f64>("fc.weight", &[0, 2], 0);

    conv4_of_no_channels, Conv4::new, "conv4: images of no channels":
        Conv4::<f64>::new(0, &init());
    conv4_of_other_channels, Conv4::forward, "conv2d 0: x has 1 channels, w expects 3":
        Conv4::new(3, &init()).forward(&var(&[2, 16, 16, 1]), &mut Pass::train(1));
    conv4_of_small_images, Conv4::forward, "conv2d 12: w [3, 3, 128, 256] stride [1, 1]":
        Conv4::new(1, &init()).forward(&var(&[2, 4, 4, 1]), &mut Pass::train(1));
    resnet_of_no_width, ResNet18::new, "ResNet18::new: images of 3 channels, width 0":
        ResNet18::<f64>::new(3, 0, Stem::Relu, &init());
    maps_of_other_channels, ResNet18::maps, "conv2d conv1: x has 1 channels, w expects 3":
        ResNet18::new(3, 1, Stem::Relu, &init()).maps(&var(&[2, 8, 8, 1]), &mut Pass::train(1));
    resnet_of_one_small_image, ResNet18::forward,
        "batch_norm layer4.0.bn1: one value a channel in [1, 1, 1, 8]":
        ResNet18::new(3, 1, Stem::Relu, &init()).forward(&var(&[1, 8, 8, 3]), &mut Pass::train(1));
    encoder_of_no_width, Encoder::new,
        "Encoder::new: ResNet18 { width: 0, stem: Relu } of images of 3":
        Encoder::<f64>::new(
            Architecture::ResNet18 { width: 0, stem: Stem::Relu }, 3, &init(),
        );
    encoder_of_a_matrix, Encoder::forward, "conv2d 0: expected [N, H, W, C], got [4, 3]":
        Encoder::new(Architecture::Conv4, 3, &init())
            .forward(&var(&[4, 3]), &mut Pass::train(1));
    ranks_of_uneven_views, DataParallel::forward, "data_parallel: 2 views of shape [3, 8, 8, 1]": {
        let (encoder, comm) = (Conv4::new(1, &init()), Ranks::alone().comm());
        DataParallel { encoder, comm, batch_norm: Default::default() }
            .forward(&var(&[3, 8, 8, 1]), &mut Pass::train(2))
    };

    pass_of_no_views, Pass::train, "Pass::train: a batch of no views": Pass::<f64>::train(0);
    moments_of_an_unknown_layer, RunningStats::update, "RunningStats::update: no layer bn2":
        running().update(&[moments("bn2", &[1, 3])], 0.1);
    moments_of_other_channels, RunningStats::update,
        "RunningStats::update: moments [[1, 2], [1, 2]] of bn1, 3 channels":
        running().update(&[moments("bn1", &[1, 2])], 0.1);
    moments_that_are_vectors, RunningStats::update,
        "RunningStats::update: moments [[3], [3]] of bn1, 3 channels":
        running().update(&[moments("bn1", &[3])], 0.1);
    too_few_parameters, with_params, "with_params: 1 given, 2 wanted":
        with_params(&BatchNorm::new("bn1", 3), vec![var(&[3])]);
    layout_of_another_rank, Layout::to_torch,
        "to_torch: [2, 3] for the layout Conv of 4 axes":
        Layout::Conv.to_torch(&zeros(&[2, 3]));
    layout_from_another_rank, Layout::from_torch,
        "from_torch: [2] for the layout Linear of 2 axes":
        Layout::Linear.from_torch(&zeros(&[2]));

    update_of_another_shape, Optimizer::update,
        "update: a gradient and [\"momentum\"] are [[3], [2]], the parameter [2]":
        sgd().update(&var(&[2]), &var(&[3]), &[var(&[2])], 1);
    update_without_slots, Optimizer::update,
        "update: a gradient and [\"mean\", \"square\"] are [[2], [2]], the parameter [2]":
        adam().update(&var(&[2]), &var(&[2]), &[var(&[2])], 1);
    step_of_another_shape, Optimizer::step, "step: [3] for a parameter [2]": {
        let (params, state) = at_start(sgd());
        sgd().step(params, &[zeros(&[3])], state)
    };
    step_of_another_number, Optimizer::step, "step: [params, grads, slots..] are [1, 0, 1]": {
        let (params, state) = at_start(sgd());
        sgd().step(params, &[], state)
    };
    step_of_another_rules_state, Optimizer::step,
        "step: [params, grads, slots..] are [1, 1, 1]": {
        let (params, state) = at_start(sgd());
        adam().step(params, &[zeros(&[2])], state)
    };
    trial_of_another_shape, Optimizer::trial, "trial: [3] for a parameter [2]": {
        let (params, state) = at_start(adam());
        adam().trial(&params, vec![zeros(&[3])], &state)
    };
    trial_vjp_of_another_number, Optimizer::trial_vjp,
        "trial_vjp: 0 directions for 1 parameters": {
        let (params, state) = at_start(sgd());
        sgd().trial_vjp(&params, &[], &state, vec![])
    };
    trial_vjp_of_another_shape, Optimizer::trial_vjp,
        "trial_vjp: a direction [3] for a parameter [2]": {
        let (params, state) = at_start(sgd());
        sgd().trial_vjp(&params, &[], &state, vec![zeros(&[3])])
    };
    trial_vjp_without_gradients, Optimizer::trial_vjp,
        "trial_vjp: [params, grads, slots..] are [1, 0, 1, 1]": {
        let (params, state) = at_start(adam());
        adam().trial_vjp(&params, &[], &state, vec![zeros(&[2])])
    };
    ema_of_unequal_shapes, ema, "ema: [target, online] are [[2], [3]]":
        ema(zeros(&[2]), &zeros(&[3]), 0.9);
    cosine_of_no_steps, cosine, "cosine: a schedule of 0 steps": cosine(0.1, 0.0, 0, 0);
    ema_cosine_of_no_steps, ema_cosine, "ema_cosine: a schedule of 0 steps":
        ema_cosine(0.99, 0, 0);
    warm_up_without_end, warmup_cosine, "warmup_cosine: a rise of 5 in 5":
        warmup_cosine(0.1, 5, 5, 5, 0.0);
}
