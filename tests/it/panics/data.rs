//! Misuse of images, of their views, and of ranks.

use std::sync::mpsc::channel;

use dimask::augment::{Augment, ops, pair};
use dimask::comm::{Communicator, Pending, Ranks, traffic_of_gather, traffic_of_sum};
use dimask::data::confounder::plant;
use dimask::data::{Budget, Collector, Dataset, Loading, Pixels, batches, stratified_fraction};
use dimask::rng::Stream;

use super::panics;

/// An image of 4 x 4 pixels of a channel.
const IMAGE: [f32; 16] = [0.5; 16];

/// Three gray images of 2 x 2 pixels, of two classes.
fn dataset() -> Dataset {
    Dataset {
        name: "three".into(),
        images: Pixels::from_vec(vec![0; 12], 4),
        height: 2,
        width: 2,
        channels: 1,
        labels: Some(vec![0, 1, 0]),
        classes: 2,
        class_names: Vec::new(),
    }
}

fn gray() -> Augment {
    Augment::gray()
}

/// What a test does with an empty collector.
fn collected<R>(work: impl FnOnce(Collector<'_>) -> R) -> R {
    work(Collector::new(&Loading::default(), &Budget::new(1 << 20)))
}

/// A result that no rank will ever send.
fn abandoned() -> Pending<u8> {
    Pending::UnderWay(channel().1)
}

panics! {
    pixels_that_are_no_images, Pixels::from_vec, "Pixels::from_vec: 5 bytes are not images of 4":
        Pixels::from_vec(vec![0; 5], 4);
    pixels_that_are_not_there, Pixels::read, "Pixels::read: image 3 of 3":
        dataset().images.read(&[0, 3]).is_ok();
    subset_of_pixels_that_are_not_there, Pixels::subset, "Pixels::subset: image 3 of 3":
        dataset().images.subset(&[0, 3]);
    images_that_are_not_there, Dataset::read, "Dataset::read: image 7 of 3":
        dataset().read(&[7]).is_ok();
    subset_of_images_that_are_not_there, Dataset::subset, "Dataset::subset: image 3 of 3":
        dataset().subset(&[0, 3]);
    counts_of_a_foreign_label, Dataset::class_counts,
        "class_counts: label 1 is not below 1 classes":
        Dataset { classes: 1, ..dataset() }.class_counts();
    collector_of_nothing, Collector::finish, "Collector::finish: no images":
        collected(|collector| collector.finish().is_ok());
    collector_of_another_size, Collector::push,
        "Collector::push: an image of [1, 4, 1] after those of [2, 2, 1]":
        collected(|mut collector| {
            collector.push(&[0; 4], [2, 2, 1]).expect("there is memory");
            collector.push(&[0; 4], [1, 4, 1]).is_ok()
        });
    collector_of_other_bytes, Collector::push, "Collector::push: 3 bytes are no image of [2, 2, 1]":
        collected(|mut collector| collector.push(&[0; 3], [2, 2, 1]).is_ok());
    batches_of_nothing, batches, "batches: a batch of 0 images": batches(&[0, 1], 0);
    fraction_above_one, stratified_fraction, "stratified_fraction: 1.5 is no fraction":
        stratified_fraction(&[0, 1], 1.5, 0);
    texture_of_negative_strength, plant, "plant: a strength of -0.5":
        plant(&dataset(), -0.5, "train").is_ok();

    view_of_impossible_settings, Augment::view, "view: std: 1 values for images of 3 channels":
        Augment { mean: vec![0.0; 3], ..gray() }
            .view(&[0; 12], 2, 2, 3, &mut Stream::new(0, "x").at(&[]), &mut [0.0; 12]);
    view_of_another_size, Augment::view, "view: 3 bytes and 4 values are not images of [2, 2, 1]":
        gray().view(&[0; 3], 2, 2, 1, &mut Stream::new(0, "x").at(&[]), &mut [0.0; 4]);
    views_of_too_few_images, Augment::views, "views: 4 bytes are not 2 images of [2, 2, 1]":
        gray().views(&[0; 4], [2, 2, 1], &[0, 1], 0, 0);
    views_of_impossible_settings, Augment::views, "views: hue: 0.7 is not a strength":
        Augment { hue: 0.7, ..gray() }.views(&[0; 4], [2, 2, 1], &[0], 0, 0);
    pair_of_too_few_images, pair, "pair: 4 bytes are not 2 images of [2, 2, 1]":
        pair([&gray(), &gray()], &[0; 4], [2, 2, 1], &[0, 1], 0, 0);
    pair_of_impossible_settings, pair, "pair: mean: 1 values for images of 3 channels":
        pair([&Augment::official(), &gray()], &[0; 12], [2, 2, 3], &[0], 0, 0);
    evaluation_of_half_an_image, Augment::evaluation,
        "evaluation: 6 bytes are not images of [2, 2, 1]":
        gray().evaluation(&[0; 6], [2, 2, 1]);
    crop_that_leaves_the_image, ops::resized_crop,
        "resized_crop: a crop of 3x3 at (2, 0) leaves an image of 4x4":
        ops::resized_crop(&IMAGE, 4, 4, 1, 2, 0, 3, 3, 2, 2);
    crop_that_overflows, ops::resized_crop, "resized_crop: a crop of 1x1 at (18446744073709551615":
        ops::resized_crop(&IMAGE, 4, 4, 1, usize::MAX, 0, 1, 1, 2, 2);
    crop_of_no_pixels, ops::resized_crop, "resized_crop: no pixels in a result of 0x2":
        ops::resized_crop(&IMAGE, 4, 4, 1, 0, 0, 3, 3, 0, 2);
    hflip_of_another_size, ops::hflip, "hflip: 16 values are not an image of [4, 4, 3]":
        ops::hflip(&IMAGE, 4, 4, 3);
    vflip_of_nothing, ops::vflip, "vflip: 0 values are not an image of [0, 4, 3]":
        ops::vflip(&[0.0f32; 0], 0, 4, 3);
    rotate_of_another_size, ops::rotate, "rotate: 16 values are not an image of [4, 4, 3]":
        ops::rotate(&IMAGE, 4, 4, 3, 90.0);
    solarize_of_another_size, ops::solarize, "solarize: 16 values are not an image of [4, 4, 3]":
        ops::solarize(&IMAGE, 4, 4, 3);
    brightness_of_another_size, ops::brightness, "brightness: 16 values are not an image":
        ops::brightness(&IMAGE, 4, 4, 3, 1.0);
    contrast_of_another_size, ops::contrast, "contrast: 16 values are not an image":
        ops::contrast(&IMAGE, 4, 4, 3, 1.0);
    saturation_of_another_size, ops::saturation, "saturation: 16 values are not an image":
        ops::saturation(&IMAGE, 4, 4, 3, 1.0);
    hue_of_another_size, ops::hue, "hue: 16 values are not an image":
        ops::hue(&IMAGE, 4, 4, 3, 0.5);
    grayscale_of_another_size, ops::grayscale, "grayscale: 16 values are not an image":
        ops::grayscale(&IMAGE, 4, 4, 3);
    blur_of_even_taps, ops::gaussian_blur, "gaussian_blur: 4 taps, sigma 1 on an image of 4x4":
        ops::gaussian_blur(&IMAGE, 4, 4, 1, 4, 1.0);
    normalize_by_too_few_means, ops::normalize,
        "normalize: 0 means and 1 deviations for 1 channels":
        ops::normalize(&IMAGE, 4, 4, 1, &[], &[1.0]);

    sum_of_a_rank_that_has_ended, Pending::wait,
        "wait: another rank has ended while this one waits for a sum":
        abandoned().wait();
    traffic_of_no_ranks, traffic_of_gather, "traffic_of_gather: there are no ranks":
        traffic_of_gather(1, 4, 0);
    traffic_of_a_sum_of_no_ranks, traffic_of_sum, "traffic_of_sum: there are no ranks":
        traffic_of_sum(1, 4, 0);
    gather_into_too_little, Ranks::all_gather,
        "all_gather: 2 numbers of each of 1 ranks into 1":
        Ranks::alone().all_gather(&[1.0f32, 2.0], &mut [0.0f32]);
}
