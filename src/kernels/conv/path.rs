//! Which way a convolution is computed: the table by shape, and who may overrule it.

use std::sync::OnceLock;

use super::Geometry;
use super::axis::Axis;
use crate::kernels::Real;
use crate::kernels::arch::amx;
use crate::kernels::dispatch::Level;

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
    /// Sums over the taps: the rows of a register block are the same pixel of several images.
    Taps,
    /// Sums over the kernel rows: the rows of a register block are neighbouring pixels.
    Rows,
    /// Winograd's algorithm, for kernels of 3×3 and stride 1.
    Winograd,
    /// Products of patches that are copied out, by the crate matrixmultiply whatever the level.
    Patches,
    /// The tile registers of AMX, for f32: sums over the taps of what is rounded to bf16, in f32.
    /// Numbers below 2⁻¹²⁶ count as 0.
    Amx,
}

impl Path {
    /// All paths.
    pub const ALL: [Path; 6] =
        [Path::Product, Path::Taps, Path::Rows, Path::Winograd, Path::Patches, Path::Amx];

    /// Whether a convolution of this shape can be computed this way.
    pub fn is_possible(self, part: Part, geometry: &Geometry) -> bool {
        match self {
            Path::Product => {
                matches!(geometry, Geometry { kh: 1, kw: 1, stride: [1, 1], padding: [0, 0], .. })
            }
            Path::Taps | Path::Patches => true,
            Path::Rows => part != Part::InputGrad,
            Path::Winograd => matches!(geometry, Geometry { kh: 3, kw: 3, stride: [1, 1], .. }),
            Path::Amx => amx::is_available(),
        }
    }

    #[track_caller]
    pub(super) fn check(self, part: Part, geometry: &Geometry) {
        let possible = self.is_possible(part, geometry);
        assert!(possible, "conv2d: {self:?} cannot compute {part:?} of {geometry:?}");
    }
}

/// What the environment variable `DIMASK_CONV` says about Winograd's algorithm.
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
    /// All choices.
    pub const ALL: [Choice; 3] = [Choice::ByShape, Choice::Direct, Choice::Winograd];

    /// What `DIMASK_CONV` says for it.
    pub fn name(self) -> &'static str {
        match self {
            Choice::ByShape => "",
            Choice::Direct => "direct",
            Choice::Winograd => "winograd",
        }
    }

    /// The choice of this process.
    ///
    /// # Panics
    /// If `DIMASK_CONV` is neither empty nor `direct` nor `winograd`.
    pub fn of_process() -> Self {
        static CHOICE: OnceLock<Choice> = OnceLock::new();
        *CHOICE.get_or_init(|| Choice::named(std::env::var("DIMASK_CONV").ok().as_deref()))
    }

    fn named(name: Option<&str>) -> Self {
        let name = name.unwrap_or_default();
        let choice = Choice::ALL.into_iter().find(|choice| choice.name() == name);
        choice
            .unwrap_or_else(|| panic!("DIMASK_CONV={name}: no such path (direct and winograd are)"))
    }
}

/// The path of a part of a convolution in the float type `T`. The first that fits:
///
/// | shape | path |
/// |---|---|
/// | in bf16, from 16 images and channels on both sides, if `level` has AMX | [`Path::Amx`] |
/// | 1×1, stride 1, no padding | [`Path::Product`] |
/// | f32, 3×3, stride 1, from 16 channels on both sides, with enough to save | [`Path::Winograd`] |
/// | all other at level portable | [`Path::Patches`] |
/// | forward and weight gradient: fewer than 6 input channels | [`Path::Rows`] |
/// | forward: fewer than 4 images | [`Path::Rows`] |
/// | all other | [`Path::Taps`] |
///
/// [`Choice::Winograd`] takes the third row wherever the algorithm is possible and the first two do
/// not hold, and [`Choice::Direct`] never. f64 is for checks and references: it has the
/// definition's products.
pub fn choose<T: Real>(level: Level, choice: Choice, part: Part, geometry: &Geometry) -> Path {
    let single = size_of::<T>() == size_of::<f32>();
    let full = geometry.n.min(geometry.c).min(geometry.o) >= AMX_PAYS;
    if geometry.precision.rounds::<T>() && level.has_amx() && full {
        return Path::Amx;
    }
    if Path::Product.is_possible(part, geometry) {
        return Path::Product;
    }
    if single && Path::Winograd.is_possible(part, geometry) {
        let wanted = match choice {
            Choice::Direct => false,
            Choice::Winograd => true,
            Choice::ByShape => winograd_wins(part, geometry),
        };
        if wanted {
            return Path::Winograd;
        }
    }
    if level == Level::Portable {
        return Path::Patches;
    }
    let rows = match part {
        Part::Forward => geometry.c < FEW_CHANNELS || geometry.n < FEW_IMAGES,
        Part::WeightGrad => geometry.c < FEW_CHANNELS,
        Part::InputGrad => false,
    };
    if rows { Path::Rows } else { Path::Taps }
}

/// Input channels from which on those of one tap fill a register block.
const FEW_CHANNELS: usize = 6;
/// Images from which on the same pixel of all fills a register block.
const FEW_IMAGES: usize = 4;
/// Images and channels from which on tile registers are at least half full.
const AMX_PAYS: usize = 16;
/// Channels from which on Winograd's transforms cost less than they save.
const TRANSFORMED_CHANNELS: usize = 16;
/// Tiles whose products cost as much as the transform of the weights.
const WEIGHTS: usize = 8;
/// What a tile of 36 products costs with its transforms, in multiplications of the direct form.
const TILE_COST: usize = 57;

/// Whether Winograd's algorithm is the faster one, as measured: its products are counted against
/// the direct form's, which leaves out the taps in the padding.
fn winograd_wins(part: Part, geometry: &Geometry) -> bool {
    let Geometry { n, h, w, c, o, padding, .. } = *geometry;
    let out = [geometry.out_h(), geometry.out_w()];
    let tiled = if part == Part::InputGrad { [h, w] } else { out };
    let tiles = n * tiled[0].div_ceil(4) * tiled[1].div_ceil(4);
    let taps = |len: usize, out: usize, padding: usize| -> usize {
        Axis::forward(len, out, 3, 1, padding).runs.iter().map(|run| run.len).sum()
    };
    let direct = n * taps(h, out[0], padding[0]) * taps(w, out[1], padding[1]);
    c.min(o) >= TRANSFORMED_CHANNELS && TILE_COST * (tiles + WEIGHTS) < direct
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::bf16::Precision;

    #[test]
    fn names_choose() {
        assert_eq!(Choice::named(None), Choice::ByShape);
        for choice in Choice::ALL {
            assert_eq!(Choice::named(Some(choice.name())), choice);
        }
    }

    #[test]
    #[should_panic(expected = "DIMASK_CONV=fft: no such path")]
    fn an_unknown_name_panics() {
        Choice::named(Some("fft"));
    }

    /// A convolution of `k` × `k` with padding `k / 2`.
    fn square(n: usize, [c, o]: [usize; 2], side: usize, k: usize, stride: usize) -> Geometry {
        let (stride, padding) = ([stride; 2], [k / 2; 2]);
        Geometry { n, h: side, w: side, c, kh: k, kw: k, o, stride, padding, ..Geometry::ONE }
    }

    #[test]
    fn the_table_is_as_it_is_stated() {
        Level::ALL.into_iter().for_each(check_table);
    }

    fn check_table(level: Level) {
        let at = |geometry, part| choose::<f32>(level, Choice::ByShape, part, &geometry);
        let direct = |path| if level == Level::Portable { Path::Patches } else { path };
        let (taps, rows) = (direct(Path::Taps), direct(Path::Rows));
        for part in Part::ALL {
            assert_eq!(at(square(64, [64, 64], 8, 1, 1), part), Path::Product);
            assert_eq!(at(square(64, [64, 64], 8, 1, 2), part), taps);
            assert_eq!(at(square(64, [64, 64], 32, 3, 2), part), taps);
            for (channels, side) in [(64, 32), (128, 16), (256, 8), (512, 4)] {
                let layer = square(64, [channels; 2], side, 3, 1);
                assert_eq!(at(layer, part), Path::Winograd);
                assert_eq!(choose::<f32>(level, Choice::Direct, part, &layer), taps);
                assert_eq!(choose::<f64>(level, Choice::Winograd, part, &layer), taps);
                let rounded = Geometry { precision: Precision::Bf16, ..layer };
                let amx = if level.has_amx() { Path::Amx } else { Path::Winograd };
                assert_eq!(at(rounded, part), amx);
                assert_eq!(choose::<f64>(level, Choice::ByShape, part, &rounded), taps);
            }
            // Too few channels, too little of a tile in the image, weights for one image.
            assert_ne!(at(square(64, [8, 64], 32, 3, 1), part), Path::Winograd);
            assert_ne!(at(square(64, [64, 64], 2, 3, 1), part), Path::Winograd);
            assert_ne!(at(square(1, [512, 512], 4, 3, 1), part), Path::Winograd);
            // Tile registers that would be mostly empty.
            for few in [square(64, [8, 64], 32, 3, 1), square(1, [512, 512], 4, 3, 1)] {
                assert_ne!(at(Geometry { precision: Precision::Bf16, ..few }, part), Path::Amx);
            }
            let tiny = square(1, [1, 1], 2, 3, 1);
            assert_eq!(choose::<f32>(level, Choice::Winograd, part, &tiny), Path::Winograd);
        }
        assert_eq!(at(square(64, [3, 64], 32, 3, 1), Part::Forward), rows);
        assert_eq!(at(square(64, [3, 64], 32, 3, 1), Part::WeightGrad), rows);
        assert_eq!(at(square(64, [3, 64], 32, 3, 1), Part::InputGrad), taps);
        assert_eq!(at(square(2, [64, 64], 32, 3, 2), Part::Forward), rows);
    }
}
