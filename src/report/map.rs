//! A map: points in the plane, by class.

use super::Table;
use super::svg::{COLOURS, Dots, Svg, escape, path};

const SIDE: f64 = 380.0;
const EDGE: f64 = 8.0;

/// Points of the plane, a colour a class, each class named at the middle of its points.
///
/// Both axes have one scale; without classes all points have one colour. With more classes than
/// colours they come again, so names stand where there are at most twenty.
///
/// # Panics
/// If there are classes, but not one for each point.
#[track_caller]
pub fn map(points: &[[f64; 2]], classes: Option<&[u32]>, names: &[String]) -> Svg {
    let count = |of: Option<&[u32]>| of.map_or(points.len(), <[u32]>::len);
    assert!(count(classes) == points.len(), "map: {} classes", count(classes));
    let mut svg = Svg::new(SIDE, SIDE);
    let ends = [0, 1].map(|axis| {
        let values = || points.iter().map(|p| p[axis]).filter(|x| x.is_finite());
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    });
    let span = ends.iter().map(|(low, high)| high - low).fold(0.0, f64::max);
    let scale = if span > 0.0 && span.is_finite() { (SIDE - 2.0 * EDGE) / span } else { 0.0 };
    let place = |p: &[f64; 2]| {
        let middle = ends.map(|(low, high)| 0.5 * (low + high));
        [SIDE / 2.0 + (p[0] - middle[0]) * scale, SIDE / 2.0 - (p[1] - middle[1]) * scale]
    };
    svg.rect("frame", [0.5, 0.5], [SIDE - 1.0, SIDE - 1.0], "");
    let mut labels = Vec::new();
    for class in 0..classes.map_or(1, |_| names.len()) {
        let own = |i: usize| classes.is_none_or(|classes| classes[i] as usize == class);
        let places: Vec<[f64; 2]> =
            (0..points.len()).filter(|&i| own(i)).map(|i| place(&points[i])).collect();
        if places.is_empty() {
            continue;
        }
        let name = names.get(class).map_or(String::new(), |name| escape(name));
        let (colour, dots) = (class % COLOURS, path(&places, Dots::Yes));
        svg.add(&format!(
            "<path class=\"dots s{colour}\" d=\"{dots}\"><title>{name}</title></path>"
        ));
        labels.push((class, [0, 1].map(|axis| median(places.iter().map(|p| p[axis]).collect()))));
    }
    if classes.is_some() && names.len() <= 20 {
        for (class, [x, y]) in labels {
            svg.text(&format!("mid halo f{}", class % COLOURS), [x, y], &names[class]);
        }
    }
    svg
}

/// The points as a table: x, y, class.
pub fn table(points: &[[f64; 2]], classes: Option<&[u32]>, names: &[String]) -> Table {
    let mut table = Table::new(&["x", "y", "class"]);
    for (i, point) in points.iter().enumerate() {
        let class = classes.map(|classes| names[classes[i] as usize].clone());
        table.push(vec![point[0].into(), point[1].into(), class.into()]);
    }
    table
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_a_dot_and_every_class_is_named() {
        let points: Vec<[f64; 2]> = (0..30).map(|i| [f64::from(i % 7), f64::from(i)]).collect();
        let classes: Vec<u32> = (0..30).map(|i| i % 3).collect();
        let names = ["cat", "dog", "a & b"].map(String::from);
        let text = map(&points, Some(&classes), &names).inline("t");
        assert_eq!(text.matches("h0").count(), 30);
        assert!(text.contains(">dog</text>") && text.contains("a &amp; b"), "{text}");
        assert_eq!(table(&points, Some(&classes), &names).rows[2][2], "a & b");
        for few in [vec![], vec![[1.0, 1.0]], vec![[0.0, 0.0]; 3]] {
            let text = map(&few, None, &[]).inline("t");
            assert!(!text.contains("NaN") && text.matches("h0").count() == few.len(), "{text}");
        }
    }
}
