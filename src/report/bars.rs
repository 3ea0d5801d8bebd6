//! Bars: how many values lie where, and named amounts.

use super::Table;
use super::chart::{Chart, Mark, Scale, Series};
use super::svg::{Svg, number, text_width};

/// A histogram of `values` in `bins` equal bins, as a chart of their outline, and as a table.
///
/// Values that are not finite are left out; with none there is nothing to see.
pub fn histogram(values: &[f64], bins: usize, x: &str, y: &str) -> Chart {
    let finite: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut points = Vec::new();
    if low <= high {
        let width = if high > low { (high - low) / bins as f64 } else { 1e-6 * low.abs().max(1.0) };
        let mut counts = vec![0usize; bins];
        for value in &finite {
            counts[(((value - low) / width) as usize).min(bins - 1)] += 1;
        }
        points.push([low, 0.0]);
        for (bin, &count) in counts.iter().enumerate() {
            let edge = |at: usize| low + width * at as f64;
            points.extend([bin, bin + 1].map(|at| [edge(at), count as f64]));
        }
        points.push([low + width * bins as f64, 0.0]);
    }
    let series = vec![Series::new("", Mark::Line, 0, points)];
    Chart { x: x.into(), y: y.into(), x_scale: Scale::Linear, y_scale: Scale::Linear, series }
}

const WIDTH: f64 = 380.0;
const LINE: f64 = 20.0;

/// A bar for each named amount, which is at least 0, with its text behind it.
pub fn bars(rows: &[(String, f64, String)]) -> Svg {
    let widest =
        |of: &dyn Fn(&(String, f64, String)) -> f64| rows.iter().map(of).fold(0.0, f64::max);
    let left = widest(&|row| text_width(&row.0)).min(WIDTH / 2.0) + 8.0;
    let room = WIDTH - left - widest(&|row| text_width(&row.2)) - 10.0;
    let most = widest(&|row| row.1).max(f64::MIN_POSITIVE);
    let mut svg = Svg::new(WIDTH, 4.0 + LINE * rows.len() as f64);
    for (i, (name, amount, text)) in rows.iter().enumerate() {
        let top = 2.0 + LINE * i as f64;
        let length = (room * amount / most).max(0.5);
        svg.text("end", [left - 6.0, top + 14.0], name);
        svg.rect("bar", [left, top + 3.0], [length, LINE - 6.0], &format!("{name}: {text}"));
        svg.text("soft", [left + length + 5.0, top + 14.0], text);
    }
    svg
}

/// A table of named amounts.
pub fn bars_table(what: &str, unit: &str, rows: &[(String, f64, String)]) -> Table {
    let mut table = Table::new(&[what, unit]);
    rows.iter()
        .for_each(|(name, amount, _)| table.push(vec![name.clone().into(), (*amount).into()]));
    table
}

/// Counts `[row][column]` as squares, darker where there are more of a row's, with the numbers
/// where there is room for them.
pub fn counts(counts: &[Vec<usize>], names: &[String], rows: &str, columns: &str) -> Svg {
    let classes = counts.len();
    let longest = names.iter().map(|name| text_width(name)).fold(0.0, f64::max).min(90.0);
    let named = classes <= 20;
    let left = if named { longest + 12.0 } else { 16.0 };
    let cell = (WIDTH - left - 2.0) / classes.max(1) as f64;
    let top = if named { 36.0 } else { 20.0 };
    // Letters of some fonts are wider than thought.
    let foot = if named { 1.1 * longest + 10.0 } else { 8.0 };
    let mut svg = Svg::new(WIDTH, top + cell * classes as f64 + foot);
    svg.text("soft", [left, 13.0], &format!("rows: {rows}; columns: {columns}"));
    for (i, row) in counts.iter().enumerate() {
        let total: usize = row.iter().sum();
        let y = top + cell * i as f64;
        if named {
            svg.text("end", [left - 5.0, y + cell / 2.0 + 4.0], &clipped(&names[i]));
            let (x, y) = (left + cell * (i as f64 + 0.5), top + cell * classes as f64 + 6.0);
            let name = super::svg::escape(&clipped(&names[i]));
            let [x, y] = [x + 4.0, y].map(super::svg::short);
            svg.add(&format!(
                "<text class=\"end\" transform=\"translate({x} {y}) rotate(-90)\">{name}</text>"
            ));
        }
        for (j, &count) in row.iter().enumerate() {
            let share = count as f64 / total.max(1) as f64;
            let [r, g, b] = super::picture::Colours::Sequential.at(share);
            let [x, y, side] = [left + cell * j as f64, y, cell - 0.5].map(super::svg::short);
            let title = format!("{} taken for {}: {count}", names[i], names[j]);
            svg.add(&format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"{side}\" height=\"{side}\" \
                 fill=\"#{r:02x}{g:02x}{b:02x}\"><title>{}</title></rect>",
                super::svg::escape(&title)
            ));
            let text = number(count as f64);
            if count > 0 && cell > text_width(&text) + 2.0 {
                let class = if share < 0.6 { "mid light" } else { "mid dark" };
                let (x, y) = (left + cell * (j as f64 + 0.5), top + cell * (i as f64 + 0.5) + 4.0);
                svg.text(class, [x, y], &text);
            }
        }
    }
    svg
}

fn clipped(name: &str) -> String {
    match name.chars().count() {
        0..=14 => name.to_string(),
        _ => name.chars().take(13).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_value_once() {
        let values: Vec<f64> = (0..1000).map(|i| (i % 37) as f64).chain([f64::NAN]).collect();
        let chart = histogram(&values, 10, "value", "count");
        let tops: Vec<f64> = chart.series[0].points.iter().map(|p| p[1]).collect();
        let total: f64 = tops[1..tops.len() - 1].iter().step_by(2).sum();
        assert_eq!(total, 1000.0);
        for few in [&[][..], &[2.5][..], &[0.0, 0.0][..]] {
            assert!(!histogram(few, 5, "x", "y").draw().inline("t").contains("NaN"), "{few:?}");
        }
    }

    #[test]
    fn bars_and_squares_name_what_they_count() {
        let rows = [("conv2d", 2.0), ("add", 0.0)].map(|(n, x)| (n.to_string(), x, number(x)));
        let text = bars(&rows).inline("t");
        assert!(text.contains("conv2d: 2") && text.contains(">add<"), "{text}");
        assert_eq!(
            bars_table("op", "seconds", &rows).to_csv(),
            "op,seconds\nconv2d,2.0\nadd,0.0\n"
        );
        let names = ["cat".to_string(), "a dog of a very long name".to_string()];
        let text = counts(&[vec![3, 1], vec![0, 0]], &names, "is", "taken for").inline("t");
        assert!(text.contains("cat taken for a dog of a very long name: 1"), "{text}");
        assert!(text.contains(">a dog of a ve…<"), "{text}");
        counts(&[], &[], "is", "taken for");
    }
}
