//! Pixels: heat maps and sheets of images, as PNG inside a drawing.

use super::svg::{Svg, number, text_width};

/// How numbers from 0 to 1 become colours that any colour vision puts in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// From dark blue by green to yellow (viridis).
    Sequential,
    /// From blue by white, which is the middle, to red.
    Diverging,
}

/// Viridis at nine places.
const SEQUENTIAL: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];
/// ColorBrewer's RdBu, from blue on.
const DIVERGING: [[u8; 3]; 9] = [
    [33, 102, 172],
    [67, 147, 195],
    [146, 197, 222],
    [209, 229, 240],
    [247, 247, 247],
    [253, 219, 199],
    [244, 165, 130],
    [214, 96, 77],
    [178, 24, 43],
];

impl Colours {
    /// The colour of a number, between the nearest of nine; below 0 and above 1 the ends.
    pub fn at(self, share: f64) -> [u8; 3] {
        let colours = match self {
            Colours::Sequential => SEQUENTIAL,
            Colours::Diverging => DIVERGING,
        };
        let place = share.clamp(0.0, 1.0) * 8.0;
        let low = (place as usize).min(7);
        let part = place - low as f64;
        [0, 1, 2].map(|c| {
            let [a, b] = [colours[low][c], colours[low + 1][c]].map(f64::from);
            (a + part * (b - a)).round() as u8
        })
    }
}

/// What lies between the pictures of a sheet: it glares neither on a light page nor on a dark one.
pub const BETWEEN: [u8; 3] = [124, 130, 136];

/// A picture of red, green and blue bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    bytes: Vec<u8>,
}

impl Picture {
    /// A picture of one colour.
    pub fn new(height: usize, width: usize, colour: [u8; 3]) -> Picture {
        Picture { height, width, bytes: colour.repeat(height * width) }
    }

    /// An image `[H, W, C]` of bytes; one channel is grey.
    ///
    /// # Panics
    /// If there are not as many bytes.
    #[track_caller]
    pub fn of(image: &[u8], [height, width, channels]: [usize; 3]) -> Picture {
        assert!(image.len() == height * width * channels, "picture: {} bytes", image.len());
        let channel = |pixel: &[u8], c: usize| pixel[c.min(channels - 1)];
        let pixels = image.chunks_exact(channels);
        let bytes = pixels.flat_map(|pixel| [0, 1, 2].map(|c| channel(pixel, c))).collect();
        Picture { height, width, bytes }
    }

    /// Colours one pixel.
    pub fn set(&mut self, y: usize, x: usize, colour: [u8; 3]) {
        self.bytes[3 * (y * self.width + x)..][..3].copy_from_slice(&colour);
    }

    /// Lays another picture over this one, which must have room for it.
    pub fn lay(&mut self, top: usize, left: usize, other: &Picture) {
        for (y, row) in other.bytes.chunks_exact(3 * other.width).enumerate() {
            let at = 3 * ((top + y) * self.width + left);
            self.bytes[at..][..row.len()].copy_from_slice(row);
        }
    }

    /// A frame of a colour around the picture, `thick` pixels wide.
    pub fn framed(&self, thick: usize, colour: [u8; 3]) -> Picture {
        let mut all = Picture::new(self.height + 2 * thick, self.width + 2 * thick, colour);
        all.lay(thick, thick, self);
        all
    }

    /// The picture with each pixel as a square of `by` pixels.
    pub fn magnified(&self, by: usize) -> Picture {
        let mut large = Picture::new(self.height * by, self.width * by, [0; 3]);
        for (at, pixel) in large.bytes.chunks_exact_mut(3).enumerate() {
            let (y, x) = (at / (self.width * by) / by, at % (self.width * by) / by);
            pixel.copy_from_slice(&self.bytes[3 * (y * self.width + x)..][..3]);
        }
        large
    }

    /// The picture with sides of at most `side`, by the mean of whole squares of pixels.
    pub fn shrunk(&self, side: usize) -> Picture {
        let by = self.height.max(self.width).div_ceil(side.max(1)).max(1);
        let mut small = Picture::new(self.height / by, self.width / by, [0; 3]);
        for y in 0..small.height {
            for x in 0..small.width {
                let mean = [0, 1, 2].map(|c| {
                    let square = (0..by * by).map(|i| {
                        let at = (y * by + i / by) * self.width + x * by + i % by;
                        usize::from(self.bytes[3 * at + c])
                    });
                    (square.sum::<usize>() / (by * by)) as u8
                });
                small.set(y, x, mean);
            }
        }
        small
    }

    /// The picture as a PNG file.
    pub fn png(&self) -> Vec<u8> {
        use image::ImageEncoder;
        use image::codecs::png::{CompressionType, FilterType, PngEncoder};
        let mut file = Vec::new();
        let encoder =
            PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive);
        let (width, height) = (self.width as u32, self.height as u32);
        let written =
            encoder.write_image(&self.bytes, width, height, image::ExtendedColorType::Rgb8);
        written.expect("memory takes a picture whose bytes are as many as its sizes say");
        file
    }

    /// The picture as an element of a drawing, its pixels as squares.
    pub fn element(&self, [x, y]: [f64; 2], [width, height]: [f64; 2]) -> String {
        let data = base64(&self.png());
        format!(
            "<image x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\" \
             href=\"data:image/png;base64,{data}\"/>"
        )
    }

    /// The picture as a drawing of its own, as wide as a chart.
    pub fn drawing(&self) -> Svg {
        let height = WIDTH * self.height as f64 / self.width.max(1) as f64;
        let mut svg = Svg::new(WIDTH, height);
        svg.add(&self.element([0.0, 0.0], [WIDTH, height]));
        svg
    }
}

/// RFC 4648's base 64.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |word, i| word << 8 | u32::from(*three.get(i).unwrap_or(&0)));
        for i in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= three.len() { letter as char } else { '=' });
        }
    }
    text
}

const WIDTH: f64 = 380.0;

/// Numbers `[row][column]` as colours, with what the axes count.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// The numbers, a row of columns after another.
    pub values: Vec<f64>,
    /// How many columns there are.
    pub columns: usize,
    /// What is drawn in the first colour and in the last one.
    pub range: [f64; 2],
    /// How numbers become colours.
    pub colours: Colours,
    /// What columns are, and the names of the first and the last.
    pub x: [String; 3],
    /// What rows are, and the names of the first and the last.
    pub y: [String; 3],
}

/// So many shades tell numbers apart well enough, and keep pictures of noise small.
const SHADES: f64 = 32.0;

impl Heat {
    /// The numbers as pixels; those that are not finite are grey.
    pub fn picture(&self) -> Picture {
        let rows = self.values.len() / self.columns.max(1);
        let mut picture = Picture::new(rows, self.columns, [128; 3]);
        let [low, high] = self.range;
        let span = if high > low { high - low } else { 1.0 };
        for (i, &value) in self.values.iter().enumerate().filter(|(_, x)| x.is_finite()) {
            let share = ((value - low) / span * SHADES).round() / SHADES;
            picture.set(i / self.columns, i % self.columns, self.colours.at(share));
        }
        picture
    }

    /// Draws the map, `height` high, with the scale of its colours below it.
    pub fn draw(&self, height: f64) -> Svg {
        let rows = [&self.y[1], &self.y[2]].map(|text| text_width(text));
        let left = rows[0].max(rows[1]).max(14.0) + 8.0;
        let (top, right) = (22.0, WIDTH - 4.0);
        let (bottom, width) = (top + height, right - left);
        let mut svg = Svg::new(WIDTH, bottom + 52.0);
        svg.text("soft", [4.0, 13.0], &self.y[0]);
        svg.add(&self.picture().element([left, top], [width, height]));
        svg.text("soft end", [left - 5.0, top + 10.0], &self.y[1]);
        svg.text("soft end", [left - 5.0, bottom], &self.y[2]);
        svg.text("soft", [left, bottom + 15.0], &self.x[1]);
        svg.text("soft mid", [left + width / 2.0, bottom + 15.0], &self.x[0]);
        svg.text("soft end", [right, bottom + 15.0], &self.x[2]);
        let mut scale = Picture::new(1, 33, [0; 3]);
        (0..33).for_each(|x| scale.set(0, x, self.colours.at(x as f64 / 32.0)));
        let ends = self.range.map(number);
        let from = left + text_width(&ends[0]) + 6.0;
        svg.text("soft", [left, bottom + 40.0], &ends[0]);
        svg.add(&scale.element([from, bottom + 30.0], [120.0, 12.0]));
        svg.text("soft", [from + 126.0, bottom + 40.0], &ends[1]);
        svg
    }
}

/// A square matrix `n x n` by the mean of whole blocks, so that at most `most` rows are left;
/// returns the entries and how many rows they are.
pub fn shrink(matrix: &[f64], n: usize, most: usize) -> (Vec<f64>, usize) {
    let by = n.div_ceil(most.max(1)).max(1);
    let small = n.div_ceil(by);
    let mut out = vec![0.0; small * small];
    for (i, out) in out.iter_mut().enumerate() {
        let end = |at: usize| ((at + 1) * by).min(n);
        let (rows, columns) = (i / small * by..end(i / small), i % small * by..end(i % small));
        let count = rows.len() * columns.len();
        let entries = rows.flat_map(|row| columns.clone().map(move |column| row * n + column));
        *out = entries.map(|at| matrix[at]).sum::<f64>() / count as f64;
    }
    (out, small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        cases.iter().for_each(|(text, code)| assert_eq!(base64(text.as_bytes()), *code));
    }

    #[test]
    fn a_picture_is_read_back_as_it_was_drawn() {
        let mut picture = Picture::new(3, 2, [9, 8, 7]);
        picture.set(2, 1, [1, 2, 3]);
        let read = image::load_from_memory(&picture.png()).unwrap().to_rgb8();
        assert_eq!((read.width(), read.height()), (2, 3));
        assert_eq!((read.get_pixel(1, 2).0, read.get_pixel(0, 0).0), ([1, 2, 3], [9, 8, 7]));
        let framed = Picture::of(&[5, 6], [1, 2, 1]).framed(1, [0; 3]);
        assert_eq!((framed.height, framed.width, &framed.bytes[15..18]), (3, 4, &[5, 5, 5][..]));
        let large = Picture::of(&[0, 4, 8, 12, 100, 100, 100, 100], [2, 4, 1]).shrunk(2);
        assert_eq!((large.height, large.width), (1, 2));
        assert_eq!(large.bytes, [51, 51, 51, 55, 55, 55]);
        let magnified = Picture::of(&[1, 2], [1, 2, 1]).magnified(2);
        assert_eq!(magnified.bytes, [[1; 6], [2; 6], [1; 6], [2; 6]].concat());
    }

    #[test]
    fn colours_run_from_end_to_end_and_shades_are_few() {
        assert_eq!(Colours::Diverging.at(0.5), [247; 3]);
        assert_eq!(Colours::Sequential.at(-1.0), SEQUENTIAL[0]);
        assert_eq!(Colours::Sequential.at(2.0), SEQUENTIAL[8]);
        let heat = Heat {
            values: (0..1000).map(|i| f64::from(i) / 999.0).chain([f64::NAN; 24]).collect(),
            columns: 32,
            range: [0.0, 1.0],
            colours: Colours::Sequential,
            x: ["step", "1", "9"].map(String::from),
            y: ["dimension", "1", "32"].map(String::from),
        };
        let mut shades: Vec<[u8; 3]> =
            heat.picture().bytes.chunks(3).map(|p| [p[0], p[1], p[2]]).collect();
        shades.sort_unstable();
        shades.dedup();
        assert_eq!(shades.len(), 34, "33 shades and the grey of what is no number");
        assert!(heat.draw(100.0).inline("t").contains("data:image/png;base64,"));
    }

    #[test]
    fn a_matrix_shrinks_by_means() {
        let matrix: Vec<f64> = (0..25).map(f64::from).collect();
        let (small, rows) = shrink(&matrix, 5, 3);
        assert_eq!(rows, 3);
        assert_eq!((small[0], small[2], small[8]), (3.0, 6.5, 24.0));
        assert_eq!(shrink(&matrix, 5, 5), (matrix, 5));
    }
}
