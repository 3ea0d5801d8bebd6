//! Charts: series of points over two axes.

use serde_json::Value;

use super::Table;
use super::svg::{COLOURS, Dots, Svg, number, path, text_width};

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A line through its points.
    Line,
    /// The same, thin and pale: one of many.
    Thin,
    /// The same, broken: something to compare with.
    Dashed,
    /// A dot at each point.
    Dots,
    /// A star at each point.
    Star,
}

/// Points under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the legend calls it; not there if empty.
    pub name: String,
    /// Its points, `[x, y]`; one that is not finite parts a line.
    pub points: Vec<[f64; 2]>,
    /// How it is drawn.
    pub mark: Mark,
    /// Its colour, counted from 0.
    pub colour: usize,
}

impl Series {
    /// A series of points.
    pub fn new(name: &str, mark: Mark, colour: usize, points: Vec<[f64; 2]>) -> Series {
        Series { name: name.to_string(), points, mark, colour }
    }
}

/// How numbers lie along an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// Equal factors are equally long, marked at powers of 2.
    Log2,
    /// Equal factors are equally long, marked at powers of 10, and between them where they are few.
    Log10,
}

impl Scale {
    fn place(self, x: f64) -> f64 {
        match self {
            Scale::Linear => x,
            Scale::Log2 => x.log2(),
            Scale::Log10 => x.log10(),
        }
    }

    fn value(self, place: f64) -> f64 {
        match self {
            Scale::Linear => place,
            Scale::Log2 => place.exp2(),
            Scale::Log10 => 10f64.powf(place),
        }
    }
}

/// Series over two axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// What the horizontal axis counts.
    pub x: String,
    /// What the vertical axis counts.
    pub y: String,
    /// How numbers lie along the horizontal axis.
    pub x_scale: Scale,
    /// How numbers lie along the vertical axis.
    pub y_scale: Scale,
    /// What is drawn, the last on top.
    pub series: Vec<Series>,
}

const WIDTH: f64 = 380.0;
/// Room for the plot itself, and around it.
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 36.0;
const LEGEND_LINE: f64 = 18.0;

/// One direction of a chart.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    step: f64,
    /// In the drawing, of `low` and of `high`.
    ends: [f64; 2],
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64>, ticks: f64, ends: [f64; 2]) -> Axis {
        let places = values.map(|x| scale.place(x)).filter(|x| x.is_finite());
        let (low, high) =
            places.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        let (low, high) = match low < high {
            true => (low, high),
            false if low.is_finite() => {
                let room = if low == 0.0 { 1.0 } else { 0.1 * low.abs() };
                (low - room, low + room)
            }
            false => (0.0, 1.0),
        };
        let step = step((high - low) / ticks);
        let step = if scale == Scale::Linear { step } else { step.max(1.0).ceil() };
        let pad = 0.03 * (high - low);
        Axis { scale, low: low - pad, high: high + pad, step, ends }
    }

    fn at(&self, x: f64) -> f64 {
        let share = (self.scale.place(x) - self.low) / (self.high - self.low);
        self.ends[0] + share * (self.ends[1] - self.ends[0])
    }

    /// Where numbers stand, and what they are.
    fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.low / self.step).ceil() as i64;
        let last = (self.high / self.step).floor() as i64;
        let decimals = (-self.step.log10()).ceil().clamp(0.0, 9.0) as usize;
        let places: Vec<f64> = match self.scale {
            Scale::Log10 if self.high - self.low < 2.0 => (first - 1..=last)
                .flat_map(|power| [1f64, 2.0, 5.0].map(|factor| power as f64 + factor.log10()))
                .filter(|place| (self.low..=self.high).contains(place))
                .collect(),
            _ => (first..=last).map(|i| i as f64 * self.step).collect(),
        };
        let tick = |place: f64| {
            let value = self.scale.value(place);
            let large = self.scale == Scale::Linear && (decimals > 5 || value.abs() >= 1e6);
            let text = match self.scale {
                _ if large => format!("{value:.1e}"),
                Scale::Linear => format!("{value:.decimals$}"),
                _ => number(value),
            };
            (self.at(value), text)
        };
        places.into_iter().map(tick).collect()
    }
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * power >= least * 0.999);
    factor.unwrap_or(10.0) * power
}

impl Chart {
    /// Draws the chart.
    pub fn draw(&self) -> Svg {
        let points = || self.series.iter().flat_map(|series| series.points.iter());
        let (bottom, right) = (TOP + HEIGHT, WIDTH - RIGHT);
        let x = Axis::new(self.x_scale, points().map(|p| p[0]), 6.0, [LEFT, right]);
        let y = Axis::new(self.y_scale, points().map(|p| p[1]), 5.0, [bottom, TOP]);
        let legend = self.legend();
        let lines = legend.last().map_or(0.0, |(at, ..)| at[1] + LEGEND_LINE);
        let mut svg = Svg::new(WIDTH, bottom + BOTTOM + lines);
        svg.text("soft", [4.0, 13.0], &self.y);
        svg.text("soft end", [right, bottom + 30.0], &self.x);
        for (at, text) in y.ticks() {
            svg.line("grid", [LEFT, at], [right, at]);
            svg.text("soft end", [LEFT - 6.0, at + 4.0], &text);
        }
        for (at, text) in x.ticks() {
            svg.line("axis", [at, bottom], [at, bottom + 4.0]);
            svg.text("soft mid", [at, bottom + 16.0], &text);
        }
        svg.line("axis", [LEFT, bottom], [right, bottom]);
        for series in &self.series {
            let places: Vec<[f64; 2]> =
                series.points.iter().map(|p| [x.at(p[0]), y.at(p[1])]).collect();
            mark(&mut svg, series, &places);
        }
        for ([left, top], series) in legend {
            let [left, top] = [LEFT + left, bottom + BOTTOM + top + 8.0];
            let sample = match series.mark {
                Mark::Dots | Mark::Star => vec![[left + 8.0, top]],
                _ => vec![[left, top], [left + 16.0, top]],
            };
            mark(&mut svg, series, &sample);
            svg.text("", [left + 21.0, top + 4.0], &series.name);
        }
        svg
    }

    /// Where the names of the series stand below the chart, beginning at 0.
    fn legend(&self) -> Vec<([f64; 2], &Series)> {
        let named = self.series.iter().filter(|series| !series.name.is_empty());
        let (mut left, mut top) = (0.0, 0.0);
        let mut places = Vec::new();
        for series in named {
            let width = 36.0 + text_width(&series.name);
            if left > 0.0 && left + width > WIDTH - LEFT {
                (left, top) = (0.0, top + LEGEND_LINE);
            }
            places.push(([left, top], series));
            left += width;
        }
        places
    }

    /// The points as a table: series, x, y.
    pub fn table(&self) -> Table {
        let mut table = Table::new(&["series", &self.x, &self.y]);
        for series in &self.series {
            for point in &series.points {
                table.push(vec![
                    series.name.clone().into(),
                    point[0].into(),
                    Value::from(point[1]),
                ]);
            }
        }
        table
    }
}

fn mark(svg: &mut Svg, series: &Series, places: &[[f64; 2]]) {
    let colour = series.colour % COLOURS;
    let class = match series.mark {
        Mark::Line => "line",
        Mark::Thin => "thin",
        Mark::Dashed => "dash",
        Mark::Dots => "dots",
        Mark::Star => {
            for &[x, y] in places.iter().filter(|at| at.iter().all(|x| x.is_finite())) {
                let corner = |i: usize| {
                    let angle = std::f64::consts::PI * (i as f64 / 5.0 - 0.5);
                    let radius = if i % 2 == 0 { 8.0 } else { 3.4 };
                    [x + radius * angle.cos(), y + radius * angle.sin()]
                };
                let star: Vec<[f64; 2]> = (0..10).map(corner).collect();
                let path = path(&star, Dots::No);
                svg.add(&format!("<path class=\"star f{colour} axis\" d=\"{path}Z\"/>"));
            }
            return;
        }
    };
    let dots = if series.mark == Mark::Dots { Dots::Yes } else { Dots::No };
    for part in places.split(|at| !at.iter().all(|x| x.is_finite())) {
        match (part, dots) {
            ([], _) => {}
            // A line of one point would not be seen.
            ([_], Dots::No) => {
                svg.add(&format!(
                    "<path class=\"dots s{colour}\" d=\"{}\"/>",
                    path(part, Dots::Yes)
                ));
            }
            _ => {
                svg.add(&format!("<path class=\"{class} s{colour}\" d=\"{}\"/>", path(part, dots)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(chart: &Chart) -> String {
        let svg = chart.draw();
        assert!(svg.width == WIDTH && svg.height.is_finite());
        let text = svg.inline("a chart");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        text
    }

    #[test]
    fn every_point_is_drawn_inside_and_every_name_told() {
        let points: Vec<[f64; 2]> = (0..50).map(|i| [i as f64, (i as f64 * 0.3).sin()]).collect();
        let mut series = vec![Series::new("sine", Mark::Line, 0, points.clone())];
        series.push(Series::new(
            "one of a long name that takes room",
            Mark::Star,
            11,
            vec![[3.0, 0.5]],
        ));
        series.push(Series::new("the other one", Mark::Dots, 2, points));
        let chart = Chart { x: "step".into(), y: "height".into(), series, ..Chart::default() };
        let text = drawn(&chart);
        for part in ["line s0", "star f1", "dots s2", ">sine<", ">the other one<", ">-0.5<", ">40<"]
        {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert_eq!(chart.table().rows.len(), 101);
    }

    #[test]
    fn gaps_logarithms_and_nothing_can_be_drawn() {
        let gap = vec![[32.0, 1.0], [64.0, f64::NAN], [128.0, 10.0], [2048.0, 1000.0]];
        let series = vec![Series::new("", Mark::Line, 0, gap)];
        let (x_scale, y_scale) = (Scale::Log2, Scale::Log10);
        let text = drawn(&Chart { series, x_scale, y_scale, ..Chart::default() });
        assert!(
            text.contains(">64<") && text.contains(">1024<") && text.contains(">100<"),
            "{text}"
        );
        let series = vec![Series::new("", Mark::Line, 0, vec![[0.0, 0.6], [1.0, 7.0]])];
        let text = drawn(&Chart { series, y_scale, ..Chart::default() });
        assert!([">1<", ">2<", ">5<"].iter().all(|tick| text.contains(tick)), "{text}");
        drawn(&Chart::default());
        for y in [0.0, 0.5, -3.0, 1e-12, 1e9] {
            let series = vec![Series::new("flat", Mark::Thin, 0, vec![[0.0, y], [1.0, y]])];
            drawn(&Chart { series, ..Chart::default() });
        }
        assert_eq!([0.7, 1.0, 13.0, 0.021].map(step), [1.0, 1.0, 20.0, 0.05]);
    }
}
