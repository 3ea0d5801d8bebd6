//! Laws of the operations, and independence of every draw from its surroundings.

use super::*;
use proptest::prelude::*;

/// An image of `[h, w, c]` bytes with some structure and some noise.
fn image(h: usize, w: usize, c: usize, seed: u64) -> Vec<u8> {
    use rand::Rng;
    let mut rng = Stream::new(seed, "image").at(&[]);
    (0..h * w * c).map(|i| (i as u8).wrapping_mul(3) ^ (rng.random::<u8>() >> 3)).collect()
}

fn unit(bytes: &[u8]) -> Vec<f64> {
    bytes.iter().map(|&byte| f64::from(byte) / 255.0).collect()
}

#[track_caller]
fn check(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (i, (x, y)) in got.iter().zip(expected).enumerate() {
        assert!((x - y).abs() < 1e-12, "entry {i}: {x} and {y}");
    }
}

prop_compose! {
    fn images()(h in 1..13usize, w in 1..13usize, gray in any::<bool>(), seed in any::<u64>())
        -> (Vec<f64>, usize, usize, usize) {
        let c = if gray { 1 } else { 3 };
        (unit(&image(h, w, c, seed)), h, w, c)
    }
}

/// Everything that can happen, happens often; but what jumps: solarising has its own test, and a
/// hue that is not quite zero may turn anywhere.
fn everything(preset: Augment) -> Augment {
    Augment {
        rotation_probability: 0.5,
        rotation_degrees: [-60.0, 90.0],
        vertical_flip_probability: 0.5,
        grayscale_probability: 0.3,
        blur_probability: 0.5,
        hue: 0.0,
        ..preset
    }
}

/// A view by the operations one at a time, in double precision.
fn composed(
    augment: &Augment,
    bytes: &[u8],
    [h, w, c]: [usize; 3],
    rng: &mut ChaCha8Rng,
) -> Vec<f64> {
    let mut steps = Vec::new();
    let crop = augment.draw([h, w, c], rng, &mut steps);
    let (top, left, height, width) = (crop.top, crop.left, crop.height, crop.width);
    let mut x = ops::resized_crop(&unit(bytes), h, w, c, top, left, height, width, h, w);
    if crop.hflip {
        x = ops::hflip(&x, h, w, c);
    }
    if crop.vflip {
        x = ops::vflip(&x, h, w, c);
    }
    for step in steps {
        x = match step {
            Step::Rotate(degrees) => ops::rotate(&x, h, w, c, degrees),
            Step::Brightness(factor) => ops::brightness(&x, h, w, c, factor),
            Step::Contrast(factor) => ops::contrast(&x, h, w, c, factor),
            Step::Saturation(factor) => ops::saturation(&x, h, w, c, factor),
            Step::Hue(turn) => ops::hue(&x, h, w, c, turn),
            Step::Grayscale => ops::grayscale(&x, h, w, c),
            Step::Blur { kernel, sigma } => ops::gaussian_blur(&x, h, w, c, kernel, sigma),
            Step::Solarize => ops::solarize(&x, h, w, c),
        };
    }
    ops::normalize(&x, h, w, c, &augment.mean, &augment.std)
}

proptest! {
    #[test]
    fn a_full_crop_at_the_same_size_is_the_identity((x, h, w, c) in images()) {
        prop_assert_eq!(&ops::resized_crop(&x, h, w, c, 0, 0, h, w, h, w), &x);
    }

    #[test]
    fn a_crop_of_one_colour_keeps_it((_, h, w, c) in images(), out in 1..20usize) {
        let x = vec![0.25; h * w * c];
        let y = ops::resized_crop(&x, h, w, c, h / 3, w / 2, h - h / 3, w - w / 2, out, out + 1);
        check(&y, &vec![0.25; out * (out + 1) * c]);
    }

    #[test]
    fn a_resize_commutes_with_a_flip((x, h, w, c) in images(), out in 1..20usize) {
        let resize = |x: &[f64]| ops::resized_crop(x, h, w, c, 0, 0, h, w, out, out);
        check(&resize(&ops::hflip(&x, h, w, c)), &ops::hflip(&resize(&x), out, out, c));
    }

    #[test]
    fn two_flips_are_the_identity((x, h, w, c) in images()) {
        prop_assert_eq!(ops::hflip(&ops::hflip(&x, h, w, c), h, w, c), x);
    }

    #[test]
    fn turns_and_flips_are_a_group((x, h, w, c) in images(), degrees in -400.0..400.0f64) {
        let rotate = |x: &[f64], degrees| ops::rotate(x, h, w, c, degrees);
        let hflip = |x: &[f64]| ops::hflip(x, h, w, c);
        let vflip = |x: &[f64]| ops::vflip(x, h, w, c);
        prop_assert_eq!(&vflip(&vflip(&x)), &x);
        prop_assert_eq!(&vflip(&hflip(&x)), &rotate(&x, 180.0));
        prop_assert_eq!(&rotate(&x, -360.0), &x);
        // A turn before a flip is the turn the other way round behind it.
        check(&hflip(&rotate(&x, degrees)), &rotate(&hflip(&x), -degrees));
        check(&vflip(&rotate(&x, degrees)), &rotate(&vflip(&x), -degrees));
    }

    #[test]
    fn solarising_inverts_what_is_bright((x, h, w, c) in images()) {
        for (y, x) in ops::solarize(&x, h, w, c).into_iter().zip(x) {
            prop_assert_eq!(y, if x < 0.5 { x } else { 1.0 - x });
        }
    }

    #[test]
    fn a_view_is_its_operations_one_after_the_other_at_every_level(
        h in 4..40usize, w in 4..40usize, gray in any::<bool>(), seed in any::<u64>(),
    ) {
        let c = if gray { 1 } else { 3 };
        let (size, bytes) = ([h, w, c], image(h, w, c, seed));
        let augment = everything(if gray { Augment::gray() } else { Augment::official() });
        let rng = || Stream::new(seed, "view").at(&[]);
        let expected = composed(&augment, &bytes, size, &mut rng());
        let mut first: Option<Vec<f32>> = None;
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            let mut out = vec![f32::NAN; h * w * c];
            augment.draw_view(level, &bytes, size, &mut rng(), &mut out, &mut Desk::default());
            for (i, (&x, y)) in out.iter().zip(&expected).enumerate() {
                prop_assert!((f64::from(x) - y).abs() < 1e-3, "{level:?}, entry {i}: {x} and {y}");
            }
            prop_assert_eq!(first.get_or_insert(out.clone()), &out, "{:?}", level);
        }
    }

    #[test]
    fn factors_of_one_and_whole_turns_are_the_identity((x, h, w, c) in images()) {
        check(&ops::brightness(&x, h, w, c, 1.0), &x);
        check(&ops::contrast(&x, h, w, c, 1.0), &x);
        check(&ops::saturation(&x, h, w, c, 1.0), &x);
        check(&ops::hue(&x, h, w, c, 1.0), &x);
        check(&ops::hue(&ops::hue(&x, h, w, c, 0.3), h, w, c, -0.3), &x);
    }

    #[test]
    fn no_saturation_is_grayscale((x, h, w, c) in images()) {
        let gray = ops::grayscale(&x, h, w, c);
        check(&ops::saturation(&x, h, w, c, 0.0), &gray);
        check(&ops::hue(&gray, h, w, c, 0.4), &gray);
    }

    #[test]
    fn a_view_stays_within_the_range_of_its_normalisation(
        h in 2..40usize, w in 2..40usize, gray in any::<bool>(), seed in any::<u64>(),
    ) {
        let (c, preset) = if gray { (1, Augment::gray()) } else { (3, Augment::official()) };
        let augment = Augment { blur_probability: 0.5, ..preset };
        let mut out = vec![f32::NAN; h * w * c];
        let rng = &mut Stream::new(seed, "view").at(&[]);
        augment.view(&image(h, w, c, seed), h, w, c, rng, &mut out);
        for (i, &x) in out.iter().enumerate() {
            let (mean, std) = (augment.mean[i % c] as f32, augment.std[i % c] as f32);
            prop_assert!((-1e-5..=1.0 + 1e-5).contains(&(x * std + mean)), "entry {}: {}", i, x);
        }
    }

    #[test]
    fn a_crop_is_within_the_image_and_its_ranges(
        h in 1..100usize, w in 1..100usize, seed in any::<u64>(),
    ) {
        let augment = Augment { crop_area: [0.2, 0.6], ..Augment::official() };
        let crop = augment.draw_crop(h, w, &mut Stream::new(seed, "crop").at(&[]));
        prop_assert!(crop.height > 0 && crop.top + crop.height <= h);
        prop_assert!(crop.width > 0 && crop.left + crop.width <= w);
        // Sides are whole pixels: on small images areas and ratios are only roughly in range.
        if h.min(w) >= 20 && h.max(w) <= 40 {
            let area = (crop.height * crop.width) as f64 / (h * w) as f64;
            let aspect = crop.width as f64 / crop.height as f64;
            prop_assert!((0.15..0.7).contains(&area), "area {}", area);
            prop_assert!((0.6..1.6).contains(&aspect), "aspect {}", aspect);
        }
    }
}

#[test]
fn a_quarter_turn_moves_pixels_counterclockwise() {
    let image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
    let turned = [3.0, 6.0, 9.0, 2.0, 5.0, 8.0, 1.0, 4.0, 7.0];
    assert_eq!(ops::rotate(&image, 3, 3, 1, 90.0), turned);
    // Half of an eighth: the corners come from outside.
    let eighth = ops::rotate(&image, 3, 3, 1, 45.0);
    assert!(eighth[4] == 5.0 && eighth[0] < 5.0 && eighth[8] < eighth[4]);
}

#[test]
fn the_second_view_has_its_own_settings() {
    let first = Augment { flip_probability: 0.0, ..still() };
    let second = Augment { flip_probability: 1.0, solarize_probability: 1.0, ..still() };
    let images = image(9 * 2, 9, 3, 4);
    let views = pair([&first, &second], &images, [9, 9, 3], &[0, 1], 0, 0);
    let expected = |at: usize, view: &Augment| {
        let x = unit(&images[at * 243..][..243]);
        let x = match view.solarize_probability {
            0.0 => x,
            _ => ops::solarize(&ops::hflip(&x, 9, 9, 3), 9, 9, 3),
        };
        ops::normalize(&x, 9, 9, 3, &view.mean, &view.std)
    };
    let expected =
        [expected(0, &first), expected(1, &first), expected(0, &second), expected(1, &second)];
    for (&x, y) in views.as_slice().iter().zip(expected.concat()) {
        assert!((f64::from(x) - y).abs() < 1e-5, "{x} and {y}");
    }
}

#[test]
fn what_cannot_happen_draws_nothing() {
    // Settings that came later must not move the draws of runs that do not use them.
    let draws = |augment: &Augment| {
        let rng = &mut Stream::new(3, "view").at(&[]);
        let mut steps = Vec::new();
        let crop = augment.draw([32, 32, 3], rng, &mut steps);
        (crop, steps)
    };
    let (crop, steps) = draws(&Augment::official());
    let turned = Augment { rotation_probability: 1.0, ..Augment::official() };
    assert_ne!(draws(&turned).1, steps);
    let degrees = Augment { rotation_degrees: [1.0, 2.0], ..Augment::official() };
    assert_eq!(draws(&degrees), (crop, steps));
}

#[test]
fn a_view_depends_on_seed_epoch_index_and_view_only() {
    let augment = Augment::official();
    let size = [8, 8, 3];
    let images = image(8 * 5, 8, 3, 1);
    let batch = |indices: &[usize]| {
        let some = indices.iter().flat_map(|&i| images[i * 192..][..192].to_vec());
        augment.views(&some.collect::<Vec<_>>(), size, indices, 4, 9)
    };
    let part = |views: &Tensor<f32>, i: usize| views.as_slice()[i * 192..][..192].to_vec();
    let (all, some) = (batch(&[0, 1, 2, 3, 4]), batch(&[3, 1]));
    assert_eq!(all.shape(), [10, 8, 8, 3]);
    assert_eq!(part(&all, 3), part(&some, 0));
    assert_eq!(part(&all, 5 + 3), part(&some, 2));
    assert_eq!(part(&all, 5 + 1), part(&some, 3));
    assert_ne!(part(&all, 3), part(&all, 5 + 3));
    assert_ne!(all.as_slice(), augment.views(&images, size, &[0, 1, 2, 3, 4], 5, 9).as_slice());
    assert_ne!(all.as_slice(), augment.views(&images, size, &[0, 1, 2, 3, 4], 4, 8).as_slice());
    let mut out = vec![0.0; 192];
    let rng = &mut Stream::new(9, "augment").at(&[4, 3, 1]);
    augment.view(&images[3 * 192..4 * 192], 8, 8, 3, rng, &mut out);
    assert_eq!(out, part(&all, 5 + 3));
}

#[test]
fn views_have_the_same_bits_at_any_thread_count() {
    let images = image(32 * 50, 32, 3, 2);
    let indices: Vec<usize> = (0..50).rev().collect();
    let views = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let views = || Augment::official().views(&images, [32, 32, 3], &indices, 0, 1);
        pool.install(views).as_slice().iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
    };
    let one = views(1);
    assert!([2, 3, 7].into_iter().all(|threads| views(threads) == one));
}

#[test]
fn evaluation_only_normalises() {
    let augment = Augment::official();
    let images = image(4 * 3, 4, 3, 3);
    let got = augment.evaluation(&images, [4, 4, 3]);
    assert_eq!(got.shape(), [3, 4, 4, 3]);
    let expected = |at: usize| {
        ops::normalize(&unit(&images[at * 48..][..48]), 4, 4, 3, &augment.mean, &augment.std)
    };
    let expected = [expected(0), expected(1), expected(2)].concat();
    for (&x, y) in got.as_slice().iter().zip(expected) {
        assert!((f64::from(x) - y).abs() < 1e-6);
    }
}

/// Settings by which nothing happens to a square image.
fn still() -> Augment {
    Augment {
        crop_area: [1.0, 1.0],
        crop_aspect: [1.0, 1.0],
        flip_probability: 0.0,
        jitter_probability: 0.0,
        grayscale_probability: 0.0,
        ..Augment::official()
    }
}

#[test]
fn nothing_happens_when_nothing_may() {
    let still = still();
    let images = image(9 * 2, 9, 3, 4);
    let views = still.views(&images, [9, 9, 3], &[0, 1], 0, 0);
    let twice = still.evaluation(&[&images[..], &images].concat(), [9, 9, 3]);
    for (x, y) in views.as_slice().iter().zip(twice.as_slice()) {
        assert!((x - y).abs() < 1e-5);
    }
}

#[test]
fn impossible_settings_are_named() {
    let base = Augment::official;
    let size = [32, 32, 3];
    assert_eq!(base().check(size), Ok(()));
    assert_eq!(Augment::gray().check([28, 28, 1]), Ok(()));
    for (augment, name) in [
        (Augment { crop_area: [0.5, 0.2], ..base() }, "crop_area"),
        (Augment { crop_area: [0.5, 1.2], ..base() }, "crop_area"),
        (Augment { crop_aspect: [0.0, 1.0], ..base() }, "crop_aspect"),
        (Augment { flip_probability: 1.5, ..base() }, "flip_probability"),
        (Augment { jitter_probability: f64::NAN, ..base() }, "jitter_probability"),
        (Augment { brightness: -1.0, ..base() }, "brightness"),
        (Augment { hue: 0.6, ..base() }, "hue"),
        (Augment { mean: vec![0.5], ..base() }, "mean"),
        (Augment { std: vec![0.5, 0.0, 1.0], ..base() }, "std"),
        (Augment { blur_kernel: 4, ..base() }, "blur_kernel"),
        (Augment { rotation_degrees: [2.0, 1.0], ..base() }, "rotation_degrees"),
        (Augment { solarize_probability: 2.0, ..base() }, "solarize_probability"),
        (Augment { blur_probability: 0.1, blur_kernel: 65, ..base() }, "blur_kernel"),
    ] {
        let reason = augment.check(size).unwrap_err();
        assert!(reason.starts_with(name), "{reason}");
    }
    assert!(Augment::gray().check(size).unwrap_err().contains("3 channels"));
}
