//! Names, layouts, first weights, views in one batch, running moments.

use super::*;
use crate::autodiff::Keep;

fn images(n: usize, side: usize, channels: usize) -> Var<f64> {
    Var::constant(Tensor::from_fn(&[n, side, side, channels], |i| (0.7 * i as f64).sin()))
}

#[track_caller]
fn check_close(a: &Tensor<f64>, b: &Tensor<f64>, tolerance: f64) {
    assert_eq!(a.shape(), b.shape());
    let worst = (a - b).as_slice().iter().fold(0.0f64, |worst, d| worst.max(d.abs()));
    assert!(worst <= tolerance, "differ by {worst:e}");
}

#[test]
fn encoders_have_torchs_names_and_sizes() {
    let init = Init::new(1);
    let count = |net: &Encoder<f32>| params(net).iter().map(|p| p.value().len()).sum::<usize>();
    let conv4 = Encoder::new(Architecture::Conv4, 3, &init);
    assert_eq!((count(&conv4), conv4.features()), (388_896, 256));
    let names: Vec<_> = named_params(&conv4).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..4], ["0.weight", "1.weight", "1.bias", "4.weight"]);
    assert_eq!(names[11], "13.bias");

    let resnet = Architecture::ResNet18 { width: 64, stem: Stem::Relu };
    let resnet = Encoder::new(resnet, 3, &init);
    assert_eq!((count(&resnet), resnet.features()), (11_168_832, 512));
    let names: Vec<_> = named_params(&resnet).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 60);
    assert_eq!(names[0], "conv1.weight");
    assert_eq!(names[15], "layer2.0.conv1.weight");
    assert_eq!(names[21], "layer2.0.downsample.0.weight");
    assert_eq!(names[22], "layer2.0.downsample.1.weight");
    assert_eq!(names[59], "layer4.1.bn2.bias");
}

#[test]
fn first_weights_fill_their_range_and_depend_on_name_and_seed() {
    let layer = |name, seed| Linear::<f64>::new(name, 100, 50, &Init::new(seed)).weight;
    let weight = layer("fc1", 3);
    let largest = weight.value().as_slice().iter().fold(0.0f64, |max, w| max.max(w.abs()));
    assert!(largest <= 0.1 && largest > 0.099, "{largest}");
    let deviation = weight.var_axes(&[0, 1], Keep::Drop, 0).value().item();
    assert!((deviation / (0.01 / 3.0) - 1.0).abs() < 0.05, "{deviation}");
    assert_eq!(weight.value(), layer("fc1", 3).value());
    assert_ne!(weight.value(), layer("fc2", 3).value());
    assert_ne!(weight.value(), layer("fc1", 4).value());
}

#[test]
fn layouts_go_to_torch_and_back() {
    let weight = Tensor::from_fn(&[3, 3, 2, 5], |i| i as f64);
    let torch = Layout::Conv.to_torch(&weight);
    assert_eq!(torch.shape(), [5, 2, 3, 3]);
    // [o, c, k, l] = [4, 1, 2, 0] there is [k, l, c, o] = [2, 0, 1, 4] here.
    assert_eq!(torch.as_slice()[((4 * 2 + 1) * 3 + 2) * 3], 69.0);
    assert_eq!(Layout::Conv.from_torch(&torch), weight);
    let weight = Tensor::from_fn(&[2, 5], |i| i as f64);
    assert_eq!(Layout::Linear.to_torch(&weight).shape(), [5, 2]);
    assert_eq!(Layout::Linear.from_torch(&Layout::Linear.to_torch(&weight)), weight);
}

#[test]
fn two_views_in_one_batch_are_as_two_batches() {
    let init = Init::new(7);
    let net = Encoder::<f64>::new(Architecture::ResNet18 { width: 2, stem: Stem::Relu }, 3, &init);
    let x = images(6, 8, 3);
    let mut both = Pass::train(2);
    let y = net.forward(&x, &mut both);
    let mut running = RunningStats::new(&net);
    running.update(&both.into_moments(), 0.1);
    let mut expected = RunningStats::new(&net);
    for view in 0..2 {
        let mut alone = Pass::train(1);
        let rows = 3 * view..3 * view + 3;
        let z = net.forward(&x.rows(rows.clone()), &mut alone);
        check_close(y.rows(rows).value(), z.value(), 1e-12);
        expected.update(&alone.into_moments(), 0.1);
    }
    for ((_, mean, var), (name, m, v)) in running.iter().zip(expected.iter()) {
        check_close(mean, m, 1e-12);
        check_close(var, v, 1e-12);
        assert!(var.as_slice().iter().all(|&v| v < 1.0), "{name} did not move");
    }
}

// Formula: batchnorm-3.
#[test]
fn running_moments_by_hand() {
    let norm = BatchNorm::<f64>::new("bn1", 1);
    let mut running = RunningStats::new(&norm);
    let x = Var::constant(Tensor::from_rows(&[&[1.0], &[3.0], &[5.0], &[9.0]]));
    let mut pass = Pass::train(2);
    let y = norm.forward(&x, &mut pass);
    // Views (1, 3) and (5, 9): means 2 and 7, biased variances 1 and 4, unbiased 2 and 8.
    let unit = |var: f64| 1.0 / (1.0 + 1e-5 / var).sqrt();
    let expected = [-unit(1.0), unit(1.0), -unit(4.0), unit(4.0)];
    check_close(y.value(), &Tensor::from_slice(&expected, &[4, 1]), 1e-12);
    running.update(&pass.into_moments(), 0.1);
    let (mean, var) = running.get("bn1").unwrap();
    assert!((mean.item() - (0.9 * 0.2 + 0.7)).abs() < 1e-15);
    assert!((var.item() - (0.9 * (0.9 + 0.2) + 0.8)).abs() < 1e-15);
    // An evaluation normalises with these.
    let y = norm.forward(&x, &mut Pass::eval(&running));
    let expected = (9.0 - 0.88) / (1.79f64 + 1e-5).sqrt();
    assert!((y.value().as_slice()[3] - expected).abs() < 1e-12);
}

#[test]
fn conv4_takes_grey_and_colour() {
    for (side, channels) in [(28, 1), (32, 3)] {
        let net = Conv4::<f64>::new(channels, &Init::new(1));
        let running = RunningStats::new(&net);
        let y = net.forward(&images(2, side, channels), &mut Pass::eval(&running));
        assert_eq!(y.shape(), [2, 256]);
        assert!(y.value().is_finite());
    }
}

#[test]
fn a_head_ends_as_it_is_told() {
    for (end, parameters) in [(MlpEnd::BatchNorm, 8), (MlpEnd::Linear, 6)] {
        let net = Mlp::<f64>::new("base", &[3, 4, 2], end, &Init::new(1));
        assert_eq!(params(&net).len(), parameters, "{end:?}");
    }
}

#[test]
fn a_hollow_module_takes_its_parameters_back() {
    let net = Mlp::<f64>::new("base", &[3, 4, 2], MlpEnd::BatchNorm, &Init::new(1));
    let before: Vec<_> = params(&net).iter().map(|p| p.value().clone()).collect();
    let (hollow, taken) = into_params(net);
    assert_eq!(taken, before);
    let net = with_params(&hollow, taken.into_iter().map(Var::constant).collect());
    let names: Vec<_> = named_params(&net).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names[..4],
        ["base.fc1.weight", "base.fc1.bias", "base.bn1.weight", "base.bn1.bias"]
    );
    assert_eq!(
        net.forward(&Var::constant(Tensor::zeros(&[4, 3])), &mut Pass::train(2)).shape(),
        [4, 2]
    );
}
