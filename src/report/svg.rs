//! A drawing: SVG elements whose colours are classes, so that one style serves light and dark.

use std::fmt::Write;

/// The style of drawings and pages: colours by name, light and dark.
///
/// The series' colours are Petroff's ten, made to be told apart with any colour vision.
///
/// Source: Petroff 2021, arXiv 2107.02270.
pub const STYLE: &str = "
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2126;--soft:#5a636c;--rule:#dde1e6;\
--c0:#3f90da;--c1:#e76300;--c2:#832db6;--c3:#717581;--c4:#bd1f01;--c5:#b08a00;--c6:#a96b59;\
--c7:#00868b;--c8:#94a4a2;--c9:#5b8c2a}
@media (prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e4e8ec;--soft:#9aa5b0;\
--rule:#333b43;--c0:#62a9ec;--c1:#ff8a3c;--c2:#b98ae6;--c3:#a3a9b6;--c4:#f0664c;--c5:#dcb73c;\
--c6:#c99583;--c7:#3fb9bd;--c8:#c3cfcd;--c9:#93c55e}}
svg text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:var(--ink)}
svg text.soft{fill:var(--soft);font-size:11px}svg text.end{text-anchor:end}
svg text.mid{text-anchor:middle}svg text.light{fill:#fff}svg text.dark{fill:#111}
svg text.halo{font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:3px;\
stroke-linejoin:round}
.axis{stroke:var(--soft)}.grid{stroke:var(--rule)}.bar{fill:var(--c0)}.frame{fill:none;\
stroke:var(--rule)}
.line{fill:none;stroke-width:1.7;stroke-linejoin:round}.thin{fill:none;stroke-width:.8;opacity:.45}
.dash{fill:none;stroke-width:1.4;stroke-dasharray:6 4}
.dots{fill:none;stroke-width:3.2;stroke-linecap:round;opacity:.75}.star{stroke-width:1}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}\
.s4{stroke:var(--c4)}.s5{stroke:var(--c5)}.s6{stroke:var(--c6)}.s7{stroke:var(--c7)}\
.s8{stroke:var(--c8)}.s9{stroke:var(--c9)}
.f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}\
.f5{fill:var(--c5)}.f6{fill:var(--c6)}.f7{fill:var(--c7)}.f8{fill:var(--c8)}.f9{fill:var(--c9)}
";

/// How many colours series have; beyond it they come again.
pub const COLOURS: usize = 10;

/// A drawing of a width and a height in CSS pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Svg {
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
    body: String,
}

impl Svg {
    /// An empty drawing.
    pub fn new(width: f64, height: f64) -> Svg {
        Svg { width, height, body: String::new() }
    }

    /// Adds an element as it is.
    pub fn add(&mut self, element: &str) {
        self.body.push_str(element);
    }

    /// Adds a line between two points.
    pub fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(short);
        let line = format!("<path class=\"{class}\" d=\"M{x1} {y1}L{x2} {y2}\"/>");
        self.add(&line);
    }

    /// Adds a text that begins, ends or has its middle at a point, as its class says.
    pub fn text(&mut self, class: &str, [x, y]: [f64; 2], text: &str) {
        let (x, y, text) = (short(x), short(y), escape(text));
        self.add(&format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"));
    }

    /// Adds a rectangle, with a text that is shown when it is pointed at, if there is one.
    pub fn rect(&mut self, class: &str, [x, y]: [f64; 2], [w, h]: [f64; 2], title: &str) {
        let [x, y, w, h] = [x, y, w, h].map(short);
        let rect =
            format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"");
        self.add(&match title {
            "" => format!("{rect}/>"),
            title => format!("{rect}><title>{}</title></rect>", escape(title)),
        });
    }

    /// The drawing as an element of a page that has the [`STYLE`].
    pub fn inline(&self, title: &str) -> String {
        let attributes = format!("role=\"img\" aria-label=\"{}\"", escape(title));
        format!("<svg {} {attributes}>{}</svg>", self.frame(), self.body)
    }

    /// The drawing as a file of its own.
    pub fn file(&self, title: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" {}><title>{}</title><style>{STYLE}svg{{\
             background:var(--paper)}}</style>{}</svg>\n",
            self.frame(),
            escape(title),
            self.body
        )
    }

    fn frame(&self) -> String {
        let [width, height] = [self.width, self.height].map(short);
        format!("viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\"")
    }
}

/// A text as XML and HTML have it between and inside tags.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A coordinate with one decimal at most.
pub(super) fn short(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map_or(text.clone(), String::from)
}

/// A path through points: a line, or with `Dots` a dot at each.
pub(super) fn path(points: &[[f64; 2]], dots: Dots) -> String {
    let mut text = String::new();
    let mut pen = 'M';
    for &[x, y] in points {
        let (x, y) = (short(x), short(y));
        // A string takes every text. A stroke of no length with round ends is a dot.
        let _ = match dots {
            Dots::Yes => write!(text, "M{x} {y}h0"),
            Dots::No => write!(text, "{pen}{x} {y}"),
        };
        pen = 'L';
    }
    text
}

/// Whether points are drawn one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dots {
    Yes,
    No,
}

/// About how wide a text is, in CSS pixels, at the size of the style.
pub(super) fn text_width(text: &str) -> f64 {
    6.4 * text.chars().count() as f64
}

/// A number with as many digits as tell it apart.
pub fn number(x: f64) -> String {
    let size = x.abs();
    let text = match size {
        _ if !x.is_finite() => return "-".to_string(),
        _ if size >= 1e6 || (size > 0.0 && size < 1e-4) => return format!("{x:.1e}"),
        _ if size >= 1000.0 => format!("{x:.0}"),
        _ if size >= 100.0 => format!("{x:.1}"),
        _ if size >= 1.0 => format!("{x:.2}"),
        _ => format!("{x:.4}"),
    };
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_and_a_part_has_no_address() {
        let mut svg = Svg::new(20.0, 10.0);
        svg.text("soft", [1.0, 2.26], "a < b & \"c\"");
        svg.rect("bar", [0.0, 0.0], [3.0, 4.0], "one");
        let part = svg.inline("x");
        assert!(part.starts_with("<svg viewBox=\"0 0 20 10\"") && !part.contains("http"), "{part}");
        assert!(part.contains("y=\"2.3\">a &lt; b &amp; &quot;c&quot;</text>"), "{part}");
        let file = svg.file("x");
        assert!(file.contains("xmlns=") && file.contains("prefers-color-scheme:dark"), "{file}");
    }

    #[test]
    fn numbers_are_short() {
        let cases =
            [(0.0, "0"), (1.5, "1.5"), (0.25, "0.25"), (12345.6, "12346"), (1e-7, "1.0e-7")];
        cases.iter().for_each(|&(x, expected)| assert_eq!(number(x), expected));
        assert_eq!((number(f64::NAN), number(-0.5)), ("-".to_string(), "-0.5".to_string()));
        assert_eq!(path(&[[0.0, 1.0], [2.0, 3.5]], Dots::No), "M0 1L2 3.5");
        assert_eq!(path(&[[0.0, 1.0], [2.0, 3.5]], Dots::Yes), "M0 1h0M2 3.5h0");
    }
}
