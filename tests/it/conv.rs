//! Every path of the convolution in f32 against f64, whose sums are the definition's: the value
//! and the derivatives to the third order.

use crate::support::{Numbers, assert_tensors_close, tolerance};
use dimask::Real;
use dimask::autodiff::{Var, grad, grad_graph};
use dimask::kernels::conv::{Choice, Geometry, Part, Path, choose};
use dimask::kernels::dispatch::{Level, level};
use dimask::tensor::Tensor;

/// The value of `Σ y³` with `y = conv2d(x, w)`, and its derivatives along random directions.
fn derivatives<T: Real>(x: &[usize], w: &[usize], geometry: &Geometry) -> Vec<Tensor<T>> {
    let mut numbers = Numbers::new(11);
    let mut leaf = |shape: &[usize]| Var::leaf(numbers.tensor::<T>(shape, -0.2, 0.2));
    let (x, w) = (leaf(x), leaf(w));
    let y = x.conv2d(&w, geometry.stride, geometry.padding);
    let mut all = vec![y.value().clone()];
    let mut value = (&(&y * &y) * &y).sum();
    for order in 1..=3 {
        let gradients = grad_graph(&value, &[&x, &w]);
        all.extend(gradients.iter().map(|g| g.value().clone()));
        let mut along = Var::constant(Tensor::zeros(&[]));
        for (i, g) in gradients.iter().enumerate() {
            let direction = Numbers::new(20 + 2 * order + i as u64).tensor(g.shape(), -1.0, 1.0);
            along = along + (g * &Var::constant(direction)).sum();
        }
        value = along;
    }
    all.extend(grad(value, &[&x, &w]));
    all
}

#[test]
fn all_derivatives_agree_along_every_path() {
    let base =
        Geometry { n: 7, h: 8, w: 8, c: 17, kh: 3, kw: 3, o: 18, padding: [1, 1], ..Geometry::ONE };
    // At level portable one path takes the place of two.
    let portable = level() == Level::Portable;
    let direct = |path| if portable { Path::Patches } else { path };
    let unused: &[Path] = if portable { &[Path::Taps, Path::Rows] } else { &[Path::Patches] };
    let cases = [
        (base, Path::Winograd),
        (Geometry { padding: [0, 2], ..base }, Path::Winograd),
        (Geometry { stride: [2, 2], ..base }, direct(Path::Taps)),
        (Geometry { c: 3, ..base }, direct(Path::Rows)),
        (Geometry { n: 1, kh: 2, ..base }, direct(Path::Rows)),
        (Geometry { kh: 1, kw: 1, padding: [0, 0], ..base }, Path::Product),
    ];
    // AMX rounds its operands: it has tests of its own.
    for path in Path::ALL.into_iter().filter(|path| *path != Path::Amx && !unused.contains(path)) {
        assert!(cases.iter().any(|case| case.1 == path), "no case for {path:?}");
    }
    for (geometry, path) in cases {
        let part = Part::Forward;
        assert_eq!(choose::<f32>(level(), Choice::ByShape, part, &geometry), path);
        assert_ne!(choose::<f64>(level(), Choice::Winograd, part, &geometry), Path::Winograd);
        let Geometry { n, h, w, c, kh, kw, o, .. } = geometry;
        let single = derivatives::<f32>(&[n, h, w, c], &[kh, kw, c, o], &geometry);
        let double = derivatives::<f64>(&[n, h, w, c], &[kh, kw, c, o], &geometry);
        for (i, (single, double)) in single.iter().zip(&double).enumerate() {
            let double = Tensor::from_fn(double.shape(), |j| double.as_slice()[j] as f32);
            assert_tensors_close(&format!("{path:?} {i}"), single, &double, tolerance::SINGLE);
        }
    }
}
