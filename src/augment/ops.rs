//! The image operations one at a time: an image `[H, W, C]` in, a new image out.
//!
//! Values are in [0, 1], definitions are torchvision's on float images. The pipeline of
//! [`Augment`](super::Augment) runs the same loops in place, on planes; this is the form for tests,
//! for looking at single operations, and for other pipelines.

use crate::kernels::Real;
use crate::kernels::pixels::planes;
use crate::kernels::pixels::resize::{Crop, Resizer};

/// Crops `height x width` pixels at (`top`, `left`) and resizes them to `out_h x out_w`.
///
/// Bilinear with antialiasing: output `i` is the average of inputs `j` with the triangle weights
/// `max(0, 1 - |j + 0.5 - (i + 0.5) s| / max(1, s))`, `s = in / out`, normalised to sum 1, along
/// each axis in turn. Shapes: `[h, w, c]` -> `[out_h, out_w, c]`.
///
/// # Panics
/// If `image` is not `h * w * c` long, a side of the crop or of the result is 0, or the crop
/// leaves the image.
#[track_caller]
pub fn resized_crop<T: Real>(
    image: &[T],
    h: usize,
    w: usize,
    c: usize,
    top: usize,
    left: usize,
    height: usize,
    width: usize,
    out_h: usize,
    out_w: usize,
) -> Vec<T> {
    check("resized_crop", image, h, w, c);
    // Without the sum, which may overflow.
    let inside = |start: usize, len: usize, side: usize| len <= side && start <= side - len;
    assert!(
        height > 0 && width > 0 && inside(top, height, h) && inside(left, width, w),
        "resized_crop: a crop of {height}x{width} at ({top}, {left}) leaves an image of {h}x{w}",
    );
    assert!(out_h > 0 && out_w > 0, "resized_crop: no pixels in a result of {out_h}x{out_w}");
    let crop = Crop { top, left, height, width, ..Crop::default() };
    let mut planes = vec![T::ZERO; out_h * out_w * c];
    let mut resizer = Resizer::default();
    resizer.resized_crop(image, [w, c], crop, [out_h, out_w], |x| x, &mut planes);
    from_planes(&planes, [out_h, out_w, c])
}

/// Reverses the columns.
///
/// # Panics
/// If `image` is not `h * w * c` long.
#[track_caller]
pub fn hflip<T: Real>(image: &[T], h: usize, w: usize, c: usize) -> Vec<T> {
    check("hflip", image, h, w, c);
    let rows = image.chunks_exact(w * c);
    rows.flat_map(|row| row.chunks_exact(c).rev().flatten().copied()).collect()
}

/// Reverses the rows.
///
/// # Panics
/// If `image` is not `h * w * c` long.
#[track_caller]
pub fn vflip<T: Real>(image: &[T], h: usize, w: usize, c: usize) -> Vec<T> {
    check("vflip", image, h, w, c);
    image.chunks_exact(w * c).rev().flatten().copied().collect()
}

/// Turns the image by `degrees` counterclockwise about its centre, without changing its size.
///
/// The value at `(x, y)`, seen from the centre and `y` pointing down, is the bilinear one of the
/// source at `(x cos - y sin, x sin + y cos)`, with zeros beyond the borders. Quarter turns of a
/// square only move pixels.
///
/// # Panics
/// If `image` is not `h * w * c` long.
#[track_caller]
pub fn rotate<T: Real>(image: &[T], h: usize, w: usize, c: usize, degrees: f64) -> Vec<T> {
    check("rotate", image, h, w, c);
    // Among planes, rows are columns: the other way round.
    on_planes(image, [h, w, c], |planes| planes::rotate(planes, [w, h], -degrees, &mut Vec::new()))
}

/// Inverts what is bright: `1 - x` where `x >= 1/2`, each channel for itself.
///
/// # Panics
/// If `image` is not `h * w * c` long.
#[track_caller]
pub fn solarize<T: Real>(image: &[T], h: usize, w: usize, c: usize) -> Vec<T> {
    check("solarize", image, h, w, c);
    on_planes(image, [h, w, c], planes::solarize)
}

/// Makes darker or brighter: `clamp(factor x, 0, 1)`.
///
/// # Panics
/// If `image` is not `h * w * c` long.
#[track_caller]
pub fn brightness<T: Real>(image: &[T], h: usize, w: usize, c: usize, factor: f64) -> Vec<T> {
    check("brightness", image, h, w, c);
    on_planes(image, [h, w, c], |planes| planes::brightness(planes, T::from_f64(factor)))
}

/// Moves every value away from or towards the mean gray `m` of the image:
/// `clamp(factor x + (1 - factor) m, 0, 1)`.
///
/// `m` is the mean over pixels of 0.2989 R + 0.587 G + 0.114 B, or of the only channel.
///
/// # Panics
/// If `image` is not `h * w * c` long.
#[track_caller]
pub fn contrast<T: Real>(image: &[T], h: usize, w: usize, c: usize, factor: f64) -> Vec<T> {
    check("contrast", image, h, w, c);
    on_planes(image, [h, w, c], |planes| planes::contrast(planes, c, T::from_f64(factor)))
}

/// Moves every pixel away from or towards its own gray:
/// `clamp(factor x + (1 - factor) gray, 0, 1)`, `gray` = 0.2989 R + 0.587 G + 0.114 B.
///
/// An image of one channel stays as it is.
///
/// # Panics
/// If `image` is not `h * w * c` long.
#[track_caller]
pub fn saturation<T: Real>(image: &[T], h: usize, w: usize, c: usize, factor: f64) -> Vec<T> {
    check("saturation", image, h, w, c);
    on_planes(image, [h, w, c], |planes| planes::saturation(planes, c, T::from_f64(factor)))
}

/// Turns the hue by `turn` of the colour circle: RGB -> HSV, `h = (h + turn) mod 1`, HSV -> RGB.
///
/// An image of one channel stays as it is.
///
/// # Panics
/// If `image` is not `h * w * c` long.
#[track_caller]
pub fn hue<T: Real>(image: &[T], h: usize, w: usize, c: usize, turn: f64) -> Vec<T> {
    check("hue", image, h, w, c);
    on_planes(image, [h, w, c], |planes| planes::hue(planes, c, turn))
}

/// Takes the colour away: 0.2989 R + 0.587 G + 0.114 B in all three channels.
///
/// An image of one channel stays as it is.
///
/// # Panics
/// If `image` is not `h * w * c` long.
#[track_caller]
pub fn grayscale<T: Real>(image: &[T], h: usize, w: usize, c: usize) -> Vec<T> {
    check("grayscale", image, h, w, c);
    on_planes(image, [h, w, c], |planes| planes::grayscale(planes, c))
}

/// Blurs with a separable Gaussian of `kernel` taps along each axis.
///
/// Weights `exp(-x^2 / (2 sigma^2))` at the integer offsets, normalised to sum 1; borders are
/// mirrored without repeating the edge pixel.
///
/// # Panics
/// If `image` is not `h * w * c` long, `kernel` is even or does not fit (`kernel / 2` must be less
/// than both sides), or `sigma` is not positive.
#[track_caller]
pub fn gaussian_blur<T: Real>(
    image: &[T],
    h: usize,
    w: usize,
    c: usize,
    kernel: usize,
    sigma: f64,
) -> Vec<T> {
    check("gaussian_blur", image, h, w, c);
    assert!(
        kernel % 2 == 1 && kernel / 2 < h.min(w) && sigma > 0.0,
        "gaussian_blur: {kernel} taps, sigma {sigma} on an image of {h}x{w}",
    );
    on_planes(image, [h, w, c], |planes| {
        planes::gaussian_blur(planes, [w, h], kernel, sigma, &mut Vec::new());
    })
}

/// Shifts and scales every channel: `(x - mean_c) / std_c`.
///
/// # Panics
/// If `image` is not `h * w * c` long, or `mean` and `std` are not one value per channel.
#[track_caller]
pub fn normalize<T: Real>(
    image: &[T],
    h: usize,
    w: usize,
    c: usize,
    mean: &[f64],
    std: &[f64],
) -> Vec<T> {
    check("normalize", image, h, w, c);
    assert!(
        mean.len() == c && std.len() == c,
        "normalize: {} means and {} deviations for {c} channels",
        mean.len(),
        std.len(),
    );
    let mut out = vec![T::ZERO; image.len()];
    planes::normalize_into(&to_planes(image, [h, w, c]), h, mean, std, &mut out);
    out
}

#[track_caller]
fn check<T>(op: &str, image: &[T], h: usize, w: usize, c: usize) {
    assert!(
        !image.is_empty() && image.len() == h * w * c,
        "{op}: {} values are not an image of [{h}, {w}, {c}]",
        image.len(),
    );
}

fn on_planes<T: Real>(image: &[T], size: [usize; 3], op: impl FnOnce(&mut [T])) -> Vec<T> {
    let mut planes = to_planes(image, size);
    op(&mut planes);
    from_planes(&planes, size)
}

/// `[H, W, C]` to `[C, W, H]`.
fn to_planes<T: Real>(image: &[T], [h, w, c]: [usize; 3]) -> Vec<T> {
    (0..h * w * c).map(|i| image[(i % h * w + i / h % w) * c + i / (h * w)]).collect()
}

/// `[C, W, H]` to `[H, W, C]`.
fn from_planes<T: Real>(planes: &[T], [h, w, c]: [usize; 3]) -> Vec<T> {
    (0..h * w * c).map(|i| planes[(i % c * w + i / c % w) * h + i / (c * w)]).collect()
}
