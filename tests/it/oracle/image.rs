//! The image operations, on `image / 255` and rounded to 8 bits again.
//!
//! The files hold `[n, 3, H, W]`; one image at a time goes through as `[H, W, 3]`.

use super::Check;
use super::case::{Case, Results};
use dimask::Real;
use dimask::augment::ops;
use dimask::tensor::Tensor;

/// An operation on one image `[h, w, c]`.
type Operation<T> = Box<dyn Fn(&[T], [usize; 3]) -> Vec<T>>;

/// Computes a case of these ops.
pub fn compute<T: Real>(case: &Case, out: &mut Results) -> Check {
    if case.info.op != "image_normalize" {
        // How far the 8-bit reference lies from the float one: nothing to compute with.
        case.remark("u8_vs_y_max_levels");
        case.remark("u8_vs_y_mean_levels");
    }
    let shape = &case.raw("image")?.shape;
    let &[n, c, h, w] = &shape[..] else { return Err(format!("images of shape {shape:?}")) };
    let mut size = [h, w];
    let operation: Operation<T> = match case.info.op.as_str() {
        "image_resized_crop" => {
            case.only("interpolation", "bilinear")?;
            case.only("antialias", true)?;
            let (top, left) = (case.attr("top")?, case.attr("left")?);
            let (height, width) = (case.attr("height")?, case.attr("width")?);
            size = case.attr("size")?;
            Box::new(move |x, [h, w, c]| {
                ops::resized_crop(x, h, w, c, top, left, height, width, size[0], size[1])
            })
        }
        "image_hflip" => Box::new(|x, [h, w, c]| ops::hflip(x, h, w, c)),
        "image_brightness" => by_factor(case, ops::brightness)?,
        "image_contrast" => by_factor(case, ops::contrast)?,
        "image_saturation" => by_factor(case, ops::saturation)?,
        "image_hue" => by_factor(case, ops::hue)?,
        "image_grayscale" => {
            case.only("channels", c)?;
            Box::new(|x, [h, w, c]| ops::grayscale(x, h, w, c))
        }
        "image_gaussian_blur" => {
            let (kernel, sigma) = (case.attr("kernel")?, case.attr("sigma")?);
            Box::new(move |x, [h, w, c]| ops::gaussian_blur(x, h, w, c, kernel, sigma))
        }
        "image_normalize" => {
            let (mean, std): (Vec<f64>, Vec<f64>) = (case.attr("mean")?, case.attr("std")?);
            Box::new(move |x, [h, w, c]| ops::normalize(x, h, w, c, &mean, &std))
        }
        op => return Err(format!("unknown op `{op}`")),
    };

    let images = case.bytes("image")?;
    let mut y = Vec::new();
    for image in images.chunks_exact(c * h * w) {
        let pixels: Vec<T> = permuted(image, c, h * w)
            .into_iter()
            .map(|x| T::from_f64(f64::from(x) / 255.0))
            .collect();
        y.extend(permuted(&operation(&pixels, [h, w, c]), size[0] * size[1], c));
    }
    let shape = [n, c, size[0], size[1]];
    let level = |x: &T| (x.to_f64().clamp(0.0, 1.0) * 255.0).round() as u8;
    out.put_bytes("y_u8", &shape, y.iter().map(level).collect());
    out.put("y", &Tensor::from_vec(y, &shape));
    Ok(())
}

fn by_factor<T: Real>(
    case: &Case,
    operation: fn(&[T], usize, usize, usize, f64) -> Vec<T>,
) -> Check<Operation<T>> {
    let factor = case.attr("factor")?;
    Ok(Box::new(move |x, [h, w, c]| operation(x, h, w, c, factor)))
}

/// `[rows, columns]` to `[columns, rows]`.
fn permuted<X: Copy>(x: &[X], rows: usize, columns: usize) -> Vec<X> {
    (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect()
}
