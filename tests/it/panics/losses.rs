//! Misuse of losses, of the mask and its gradient, and of the tables that check them.

use dimask::gradcheck::{Setting, Smooth, smooth};
use dimask::metamask::meta_gradient::{
    exact, finite_difference, first_order, reverse_over_reverse, unrolled,
};
use dimask::metamask::{
    HeadShapes, Heads, Mask, MaskForm, Memory, Meta, Mode, Network, Objective, Projections,
    Settings, State, Target, TrialStep, step,
};
use dimask::nn::{Init, Linear, Pass};
use dimask::optim::OptimizerState;
use dimask::ssl::{
    BarlowTwins, Dcl, Hcl, Loss, Queue, barlow_twins, byol, dcl, hcl, nnclr, nt_xent,
};

use super::{panics, var, zeros};

const NT_XENT: Loss = Loss::NtXent { temperature: 0.5 };

fn queue() -> Queue<f64> {
    Queue::new(5, 2, 1)
}

/// A small problem: batches `[12, 6]`, five features, projections of four dimensions.
fn setting(loss: Loss) -> Setting<Smooth> {
    smooth(loss, TrialStep::Joint)
}

/// The same with a mask of two dimensions.
fn narrow(loss: Loss) -> Setting<Smooth> {
    Setting { mask: Mask::new(2, MaskForm::Sigmoid), ..setting(loss) }
}

fn heads() -> Heads<f64> {
    setting(NT_XENT).network.heads
}

fn objective(base: Loss) -> Objective {
    Objective { base, ..Objective::default() }
}

fn settings(base: Loss) -> Settings {
    Settings { objective: objective(base), ..Settings::default() }
}

/// The first state of a small problem.
fn state(loss: Loss) -> State<f64, Smooth> {
    let Setting { network, mask, .. } = setting(loss);
    State::new(network, mask, &settings(loss))
}

fn small(name: &str, width: usize) -> Smooth {
    Smooth(Linear::new(name, 6, width, &Init::new(0)))
}

panics! {
    barlow_twins_of_one_image, barlow_twins, "barlow_twins: a batch of 1 has no variance":
        barlow_twins(&var(&[1, 3]), &var(&[1, 3]), &BarlowTwins::default());
    barlow_twins_of_unequal_views, barlow_twins, "barlow_twins: [view 0, view 1] are [[4, 3], [4":
        barlow_twins(&var(&[4, 3]), &var(&[4, 2]), &BarlowTwins::default());
    nt_xent_of_unequal_views, nt_xent, "nt_xent: [view 0, view 1] are [[4, 3], [5, 3]]":
        nt_xent(&var(&[4, 3]), &var(&[5, 3]), 0.5);
    nt_xent_of_nothing, nt_xent, "nt_xent: [view 0, view 1] are [[0, 3], [0, 3]]":
        nt_xent(&var(&[0, 3]), &var(&[0, 3]), 0.5);
    dcl_of_vectors, dcl, "dcl: [view 0, view 1] are [[4], [4]], should be the same [N, D]":
        dcl(&var(&[4]), &var(&[4]), &Dcl::default());
    hcl_of_unequal_views, hcl, "hcl: [view 0, view 1] are [[4, 3], [5, 3]]":
        hcl(&var(&[4, 3]), &var(&[5, 3]), &Hcl::default());
    byol_of_another_target, byol, "byol: [prediction, target] are [[4, 3], [4, 2]]":
        byol(&var(&[4, 3]), &var(&[4, 3]), &zeros(&[4, 3]), &zeros(&[4, 2]));
    byol_of_unequal_views, byol, "byol: [view 0, view 1] are [[4, 3], [1, 3]]":
        byol(&var(&[4, 3]), &var(&[1, 3]), &zeros(&[4, 3]), &zeros(&[4, 3]));
    nnclr_of_other_neighbours, nnclr, "nnclr: [predictions, neighbours] are [[4, 3], [2, 3]]":
        nnclr(&var(&[4, 3]), &var(&[4, 3]), &zeros(&[2, 3]), &zeros(&[4, 3]), 0.5);
    loss_without_its_anchors, Loss::value, "Loss::value: byol has no anchors to compare with":
        Loss::Byol.value(&var(&[4, 3]), &var(&[4, 3]), None);
    loss_with_foreign_anchors, Loss::value, "Loss::value: simclr compares the views, not anchors":
        NT_XENT.value(&var(&[4, 3]), &var(&[4, 3]), Some(&[zeros(&[4, 3]), zeros(&[4, 3])]));
    queue_of_no_width, Queue::new, "Queue::new: 5 rows of 0": Queue::<f64>::new(5, 0, 1);
    queue_of_another_width, Queue::enqueue, "enqueue: [4, 3] for a queue of [5, 2]":
        queue().enqueue(&zeros(&[4, 3]));
    nearest_rows_of_another_width, Queue::nearest_rows, "nearest_rows: [3] for a queue of [5, 2]":
        queue().nearest_rows(&zeros(&[3]));
    nearest_of_another_width, Queue::nearest, "nearest: [4, 3] for a queue of [5, 2]":
        queue().nearest(&zeros(&[4, 3]));

    mask_of_all, Mask::random, "Mask::random: 1 of 5 features": Mask::<f64>::random(5, 1.0, 0);
    mask_of_no_features, Mask::random, "Mask::random: 0.5 of 0 features":
        Mask::<f64>::random(0, 0.5, 0);
    network_without_projector, Network::new, "Network::new: a projector has at least one layer":
        Network::new(
            small("fc", 5), &HeadShapes { base: vec![], ..HeadShapes::default() }, &Init::new(0),
        );
    network_of_no_width, Network::new, "Network::new: HeadShapes":
        Network::new(
            small("fc", 5), &HeadShapes { base: vec![0], ..HeadShapes::default() }, &Init::new(0),
        );
    projections_of_other_features, Heads::project, "linear base.fc1: inner sizes 4 and 5":
        heads().project(&var(&[12, 4]), &mut Pass::train(2));
    contrastive_loss_of_other_features, Objective::contrastive, "linear base.fc1: inner sizes 4":
        objective(NT_XENT).contrastive(&heads(), &var(&[12, 4]), None, &mut Pass::train(2));
    contrastive_loss_of_odd_rows, Objective::contrastive,
        "contrastive: [11, 5] is not two stacked views [2N, D]":
        objective(NT_XENT).contrastive(&heads(), &var(&[11, 5]), None, &mut Pass::train(2));
    contrastive_loss_of_odd_projections, Objective::contrastive_of,
        "contrastive_of: [11, 5] is not two stacked views [2N, D]":
        objective(NT_XENT)
            .contrastive_of(&Projections { z: var(&[11, 5]), p: var(&[11, 5]) }, None);
    joint_loss_of_a_scalar, Objective::joint, "joint: [] is not two stacked views [2N, D]":
        objective(NT_XENT).joint(&heads(), &var(&[]), None, &mut Pass::train(2));
    joint_loss_of_other_features, Objective::joint_of, "linear redundancy.fc1: inner sizes 4":
        objective(NT_XENT).joint_of(var(&[]), &heads(), &var(&[12, 4]), &mut Pass::train(2));
    joint_loss_of_one_image, Objective::joint_of, "batch_norm redundancy.bn1: one value a channel":
        objective(NT_XENT).joint_of(var(&[]), &heads(), &var(&[2, 5]), &mut Pass::train(2));
    anchors_of_a_queue_of_another_width, Memory::anchors, "anchors: [12, 4] for a queue of [5, 2]":
        Memory::<f64, Smooth>::Queue(queue()).anchors(&zeros(&[12, 6]), None, &zeros(&[12, 4]));
    anchors_of_odd_projections, Memory::anchors, "anchors: projections [3, 2] are not two views":
        Memory::<f64, Smooth>::Queue(queue()).anchors(&zeros(&[12, 6]), None, &zeros(&[3, 2]));
    anchors_of_an_odd_batch, Memory::anchors, "anchors: a batch of [3, 6] is not two views":
        Memory::Target(Box::new(Target::of(&setting(Loss::Byol).network)))
            .anchors(&zeros(&[3, 6]), None, &zeros(&[3, 4]));
    anchors_under_another_mask, Memory::anchors, "anchors: factors [2] of features [12, 5]":
        Memory::Target(Box::new(Target::of(&setting(Loss::Byol).network)))
            .anchors(&zeros(&[12, 6]), Some(&zeros(&[2])), &zeros(&[12, 4]));

    exact_gradient_of_a_narrow_mask, exact, "exact: a mask of [2] on 5 features":
        exact(&narrow(NT_XENT).problem());
    exact_gradient_of_one_image, exact, "exact: a batch of [2, 6] is not two views of 2 images":
        exact(&Setting { x: zeros(&[2, 6]), ..setting(NT_XENT) }.problem());
    exact_gradient_of_other_images, exact, "linear fc: inner sizes 7 and 6":
        exact(&Setting { x: zeros(&[12, 7]), ..setting(NT_XENT) }.problem());
    exact_gradient_without_anchors, exact, "exact: byol has no anchors":
        exact(&Setting { anchors: None, ..setting(Loss::Byol) }.problem());
    exact_gradient_of_other_anchors, exact, "exact: anchors [[6, 3], [6, 4]] for predictions [6":
        exact(&Setting {
            anchors: Some([zeros(&[6, 3]), zeros(&[6, 4])]),
            ..setting(Loss::Byol)
        }.problem());
    exact_gradient_of_another_state, exact, "exact: [params, grads, slots..] are [":
        exact(&Setting {
            state: OptimizerState { slots: vec![vec![]], steps: 0 },
            ..setting(NT_XENT)
        }.problem());
    finite_difference_of_a_narrow_mask, finite_difference,
        "finite_difference: a mask of [2] on 5 features":
        finite_difference(&narrow(NT_XENT).problem(), 0.01);
    first_order_of_a_narrow_mask, first_order, "first_order: a mask of [2] on 5 features":
        first_order(&narrow(NT_XENT).problem());
    first_order_of_foreign_heads, first_order, "first_order: the heads do not fit 5 features": {
        let mut setting = setting(NT_XENT);
        let sizes = HeadShapes { redundancy: vec![], base: vec![4], ..HeadShapes::default() };
        setting.network.heads = Network::new(small("fc", 3), &sizes, &Init::new(0)).heads;
        first_order(&setting.problem())
    };
    reverse_over_reverse_of_a_narrow_mask, reverse_over_reverse,
        "reverse_over_reverse: a mask of [2] on 5 features":
        reverse_over_reverse(&narrow(NT_XENT).problem());
    unrolled_gradient_of_no_steps, unrolled, "unrolled: there is no trial step":
        unrolled(&setting(NT_XENT).problem(), 0);
    unrolled_gradient_of_other_images, unrolled, "linear fc: inner sizes 7 and 6":
        unrolled(&Setting { x: zeros(&[12, 7]), ..setting(NT_XENT) }.problem(), 2);
    unrolled_gradient_of_foreign_anchors, unrolled, "unrolled: simclr compares no anchors":
        unrolled(&Setting {
            anchors: Some([zeros(&[6, 4]), zeros(&[6, 4])]),
            ..setting(NT_XENT)
        }.problem(), 2);
    step_of_a_narrow_mask, step, "step: a mask of [2] on 5 features":
        step(
            State { mask: Mask::new(2, MaskForm::Sigmoid), ..state(NT_XENT) },
            &zeros(&[12, 6]), &settings(NT_XENT),
        );
    step_of_odd_rows, step, "step: a batch of [11, 6] is not two views of 2 images":
        step(state(NT_XENT), &zeros(&[11, 6]), &settings(NT_XENT));
    step_of_other_images, step, "linear fc: inner sizes 7 and 6":
        step(state(NT_XENT), &zeros(&[12, 7]), &settings(NT_XENT));
    step_without_memory, step, "step: the memory, empty, is not one of byol for 4 dimensions":
        step(state(Loss::Byol), &zeros(&[12, 6]), &settings(Loss::Byol));
    step_with_a_foreign_memory, step, "step: the memory, a queue, is not one of simclr for 4":
        step(
            State { memory: Memory::Queue(Queue::new(5, 4, 1)), ..state(NT_XENT) },
            &zeros(&[12, 6]), &settings(NT_XENT),
        );
    step_of_another_optimizer, step, "step: [params, grads, slots..] are [": {
        let mut state = state(NT_XENT);
        state.optimizer.slots = vec![];
        step(state, &zeros(&[12, 6]), &settings(NT_XENT))
    };
    step_of_foreign_moments, RunningStats::update, "RunningStats::update: no layer": {
        let mut state = state(NT_XENT);
        state.running = dimask::nn::RunningStats::new(&state.network.encoder);
        let x = dimask::Tensor::from_fn(&[12, 6], |i| (i as f64 * 0.7).sin());
        step(state, &x, &settings(NT_XENT))
    };
    step_of_no_trial_steps, step, "step: a mask gradient through 0 trial steps":
        step(
            state(NT_XENT), &zeros(&[12, 6]),
            &Settings { mode: Mode::MetaMask(Meta::Unrolled { steps: 0 }), ..settings(NT_XENT) },
        );

    differences_of_a_narrow_mask, Setting::differences, "differences: a mask of [2] on 5 features":
        narrow(NT_XENT).differences(1e-5);
    check_of_a_narrow_mask, Setting::check, "check: a mask of [2] on 5 features":
        narrow(NT_XENT).check();
}
