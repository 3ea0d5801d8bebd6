//! Which way a convolution is computed: the table by shape, and who may overrule it.

use std::sync::OnceLock;

use super::Geometry;
use crate::kernels::Real;

/// One of the three partial maps of the trilinear form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// [`super::conv2d`].
    Forward,
    /// [`super::conv2d_input_grad`].
    InputGrad,
    /// [`super::conv2d_weight_grad`].
    WeightGrad,
}

impl Part {
    /// All parts.
    pub const ALL: [Part; 3] = [Part::Forward, Part::InputGrad, Part::WeightGrad];
}

/// How a part is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Each pixel alone: one matrix product.
    Product,
    /// Sums over the taps, whose tiles are the same pixel of several images.
    Taps,
    /// Sums over the kernel rows, whose tiles are neighbouring pixels.
    Rows,
    /// Winograd's algorithm, for kernels of 3×3 and stride 1.
    Winograd,
}

impl Path {
    /// All paths.
    pub const ALL: [Path; 4] = [Path::Product, Path::Taps, Path::Rows, Path::Winograd];

    /// Whether a convolution of this shape can be computed this way.
    pub fn is_possible(self, part: Part, geometry: &Geometry) -> bool {
        match self {
            Path::Product => {
                matches!(geometry, Geometry { kh: 1, kw: 1, stride: [1, 1], padding: [0, 0], .. })
            }
            Path::Taps => true,
            Path::Rows => part != Part::InputGrad,
            Path::Winograd => matches!(geometry, Geometry { kh: 3, kw: 3, stride: [1, 1], .. }),
        }
    }

    #[track_caller]
    pub(super) fn check(self, part: Part, geometry: &Geometry) {
        let possible = self.is_possible(part, geometry);
        assert!(possible, "conv2d: {self:?} cannot compute {part:?} of {geometry:?}");
    }
}

/// What the environment variable `DIMASK_CONV` says about Winograd's algorithm in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By the table: unset or empty.
    ByShape,
    /// Never: `direct`.
    Direct,
    /// Wherever it is possible, faster or not: `winograd`.
    Winograd,
}

impl Choice {
    /// The choice of this process.
    ///
    /// # Panics
    /// If `DIMASK_CONV` is neither empty nor `direct` nor `winograd`.
    pub fn of_process() -> Self {
        static CHOICE: OnceLock<Choice> = OnceLock::new();
        *CHOICE.get_or_init(|| Choice::named(std::env::var("DIMASK_CONV").ok().as_deref()))
    }

    fn named(name: Option<&str>) -> Self {
        match name.unwrap_or_default() {
            "" => Choice::ByShape,
            "direct" => Choice::Direct,
            "winograd" => Choice::Winograd,
            name => panic!("DIMASK_CONV={name}: no such path (direct and winograd are)"),
        }
    }
}

/// The path of a part of a convolution in the float type `T`.
///
/// | shape | path |
/// |---|---|
/// | 1×1, stride 1, no padding | [`Path::Product`] |
/// | f32, 3×3, stride 1, from 16 channels on both sides, while its 36 products for each tile of 4×4 outputs are fewer than the direct form's inside the image | [`Path::Winograd`] |
/// | all other | [`Path::Taps`] |
///
/// f64 is for checks and references, and has the definition's rounding always.
pub fn choose<T: Real>(choice: Choice, part: Part, geometry: &Geometry) -> Path {
    if Path::Product.is_possible(part, geometry) {
        return Path::Product;
    }
    let single = size_of::<T>() == size_of::<f32>();
    let winograd = match choice {
        Choice::Direct => false,
        Choice::Winograd => true,
        Choice::ByShape => winograd_wins(geometry),
    };
    if single && winograd && Path::Winograd.is_possible(part, geometry) {
        return Path::Winograd;
    }
    let few = match part {
        Part::Forward => geometry.c < FEW || geometry.n < FEW,
        Part::WeightGrad => geometry.c < FEW,
        Part::InputGrad => false,
    };
    if few { Path::Rows } else { Path::Taps }
}

/// Channels or images that do not fill the tiles of [`Path::Taps`].
const FEW: usize = 6;

/// Whether Winograd's algorithm is the faster one, as measured.
fn winograd_wins(geometry: &Geometry) -> bool {
    geometry.c >= 16 && geometry.o >= 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose() {
        assert_eq!(Choice::named(None), Choice::ByShape);
        assert_eq!(Choice::named(Some("")), Choice::ByShape);
        assert_eq!(Choice::named(Some("direct")), Choice::Direct);
        assert_eq!(Choice::named(Some("winograd")), Choice::Winograd);
    }

    #[test]
    #[should_panic(expected = "DIMASK_CONV=fft: no such path")]
    fn an_unknown_name_panics() {
        Choice::named(Some("fft"));
    }
}
