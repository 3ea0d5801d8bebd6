//! The figures of the book: small worlds, drawn from the library's own numbers.

use crate::autodiff::{Var, grad};
use crate::report::bars::bars;
use crate::report::chart::{Chart, Mark, Series};
use crate::report::picture::Colours;
use crate::report::svg::Svg;
use crate::tensor::Tensor;

/// A figure of the book.
pub struct Drawing {
    /// Its file, without the ending.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The picture.
    pub svg: Svg,
}

/// All figures of the book, in its order.
pub fn drawings() -> Vec<Drawing> {
    let drawing = |name, title, svg| Drawing { name, title, svg };
    vec![
        drawing("idea", "From an image to two losses", idea()),
        drawing("step", "One iteration of MetaMask", step()),
        drawing("graph", "The graph of L = (w m)², values and cotangents", graph()),
        drawing("triple", "Three operations, each the derivative of the other two", triple()),
        drawing("barlow", "The cross-correlation of A and B", barlow()),
        drawing("simclr", "The cosines of all rows of A and B", simclr()),
        drawing("byol", "The trained network predicts the target of the other view", byol()),
        drawing("dcl", "The estimate of the negatives, by the cosine of the positive", dcl()),
        drawing("hcl", "What a negative weighs, by its cosine", hcl()),
        drawing("nnclr", "A queue, two views and their neighbours", nnclr()),
        drawing("slope", "J(m) of the example with two numbers, and its slopes", slope()),
        drawing("blocks", "A block of C is a sum of products of blocks", blocks()),
        drawing("winograd", "Multiplications for an output of a 3x3 convolution", winograd()),
    ]
}

/// Draws a box with lines of text around its middle.
fn node(svg: &mut Svg, colour: usize, [x, y]: [f64; 2], [w, h]: [f64; 2], text: &[&str]) {
    svg.rect(&format!("line s{colour}"), [x - w / 2.0, y - h / 2.0], [w, h], "");
    for (i, line) in text.iter().enumerate() {
        let below = 15.0 * (i as f64 - (text.len() as f64 - 1.0) / 2.0);
        svg.text(if i == 0 { "mid" } else { "soft mid" }, [x, y + 4.0 + below], line);
    }
}

/// Draws an arrow, full or broken.
fn arrow(svg: &mut Svg, class: &str, colour: usize, from: [f64; 2], to: [f64; 2]) {
    svg.line(&format!("{class} s{colour}"), from, to);
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let length = (dx * dx + dy * dy).sqrt();
    let (ux, uy) = (7.0 * dx / length, 7.0 * dy / length);
    for side in [-0.5, 0.5] {
        svg.line(&format!("line s{colour}"), [to[0] - ux - side * uy, to[1] - uy + side * ux], to);
    }
}

fn idea() -> Svg {
    let mut svg = Svg::new(760.0, 190.0);
    node(&mut svg, 3, [45.0, 95.0], [74.0, 40.0], &["image"]);
    for (y, name) in [(50.0, "view 0"), (140.0, "view 1")] {
        node(&mut svg, 0, [150.0, y], [74.0, 40.0], &[name]);
        arrow(&mut svg, "line", 3, [82.0, 95.0], [113.0, y]);
        arrow(&mut svg, "line", 0, [187.0, y], [228.0, 95.0]);
    }
    node(&mut svg, 0, [275.0, 95.0], [94.0, 50.0], &["encoder", "weights θ"]);
    arrow(&mut svg, "line", 0, [322.0, 95.0], [352.0, 95.0]);
    svg.text("mid", [337.0, 86.0], "h");
    node(&mut svg, 1, [400.0, 95.0], [94.0, 50.0], &["mask", "s = σ(a)"]);
    for (y, head, loss) in [
        (50.0, ["base head", "weights in φ"], "L_con"),
        (140.0, ["redundancy head", "weights in φ"], "L_drr"),
    ] {
        arrow(&mut svg, "line", 1, [447.0, 95.0], [493.0, y]);
        node(&mut svg, 0, [555.0, y], [122.0, 44.0], &head);
        arrow(&mut svg, "line", 0, [616.0, y], [658.0, y]);
        node(&mut svg, 2, [700.0, y], [82.0, 40.0], &[loss]);
    }
    svg.text("mid", [468.0, 98.0], "s h");
    svg
}

fn step() -> Svg {
    let mut svg = Svg::new(760.0, 210.0);
    let points = [([80.0, 150.0], "weights before"), ([300.0, 110.0], "ω"), ([540.0, 50.0], "ω'")];
    for (at, name) in points {
        svg.rect("f0", [at[0] - 4.0, at[1] - 4.0], [8.0, 8.0], "");
        svg.text("mid", [at[0], at[1] + 22.0], name);
    }
    arrow(&mut svg, "line", 0, [88.0, 148.0], [292.0, 112.0]);
    svg.text("mid", [180.0, 112.0], "1. regular step, taken");
    svg.text("soft mid", [180.0, 97.0], "down w_drr L_drr + w_con L_con");
    arrow(&mut svg, "dash", 1, [308.0, 107.0], [531.0, 53.0]);
    svg.text("mid", [400.0, 62.0], "2. trial step, not taken");
    svg.text("soft mid", [400.0, 47.0], "down L_con, under the mask a");
    node(&mut svg, 2, [670.0, 50.0], [120.0, 40.0], &["3. J = L_con(ω', a)"]);
    arrow(&mut svg, "line", 2, [548.0, 50.0], [608.0, 50.0]);
    node(&mut svg, 1, [670.0, 170.0], [120.0, 44.0], &["4. mask step", "down dJ/da"]);
    arrow(&mut svg, "line", 1, [690.0, 70.0], [690.0, 147.0]);
    svg.text("soft end", [684.0, 112.0], "directly, at ω'");
    arrow(&mut svg, "dash", 1, [533.0, 60.0], [312.0, 122.0]);
    arrow(&mut svg, "dash", 1, [306.0, 126.0], [609.0, 172.0]);
    svg.text("soft mid", [420.0, 182.0], "through the trial step: second derivatives at ω");
    svg
}

fn graph() -> Svg {
    // The numbers are the engine's.
    let w = Var::leaf(Tensor::scalar(3.0f64));
    let m = Var::constant(Tensor::scalar(0.5));
    let p = Var::leaf((&w * &m).into_value());
    let of_p = grad(p.square(), &[&p])[0].item();
    let whole = (&w * &m).square();
    let value = whole.item();
    let found = grad(whole, &[&w]);
    let mut svg = Svg::new(560.0, 170.0);
    node(&mut svg, 0, [50.0, 45.0], [80.0, 40.0], &["w = 3"]);
    node(&mut svg, 1, [50.0, 125.0], [80.0, 44.0], &["m = 0.5", "a constant"]);
    node(&mut svg, 0, [270.0, 85.0], [130.0, 50.0], &["p = w m", "saves w, m"]);
    node(&mut svg, 2, [480.0, 85.0], [120.0, 50.0], &["L = p²", "saves p"]);
    arrow(&mut svg, "line", 3, [90.0, 45.0], [204.0, 75.0]);
    arrow(&mut svg, "line", 3, [90.0, 125.0], [204.0, 95.0]);
    arrow(&mut svg, "line", 3, [335.0, 85.0], [419.0, 85.0]);
    svg.text("mid", [377.0, 76.0], &format!("{}", p.item()));
    svg.text("mid", [480.0, 50.0], &format!("{value}"));
    let back = |svg: &mut Svg, at: [f64; 2], text: String| svg.text("mid halo f4", at, &text);
    back(&mut svg, [480.0, 130.0], "1".to_string());
    back(&mut svg, [377.0, 106.0], format!("{of_p}"));
    back(&mut svg, [150.0, 82.0], format!("{}", found[0].item()));
    svg.text("soft mid", [377.0, 160.0], "black: values, forward; red: cotangents, backward");
    svg
}

fn triple() -> Svg {
    let mut svg = Svg::new(560.0, 230.0);
    let corners = [[280.0, 40.0], [110.0, 185.0], [450.0, 185.0]];
    for (i, j, from, to) in [
        (0, 1, [225.0, 65.0], [125.0, 158.0]),
        (1, 2, [205.0, 185.0], [354.0, 185.0]),
        (2, 0, [435.0, 158.0], [335.0, 65.0]),
    ] {
        arrow(&mut svg, "line", i, from, to);
        arrow(&mut svg, "line", j, to, from);
    }
    node(&mut svg, 0, corners[0], [210.0, 48.0], &["∂F/∂g: conv2d(x, w)", "conv-1"]);
    node(&mut svg, 1, corners[1], [190.0, 50.0], &["∂F/∂x: input_grad(w, g)", "conv-2"]);
    node(&mut svg, 2, corners[2], [190.0, 50.0], &["∂F/∂w: weight_grad(x, g)", "conv-3"]);
    svg.text("mid", [280.0, 130.0], "F(x, w, g) = Σ x w g");
    svg
}

/// The book's two views: six rows of four.
fn views() -> [Var<f64>; 2] {
    let wave = |p: f64| {
        Tensor::from_fn(&[6, 4], |at| {
            let (i, j) = ((at / 4) as f64, (at % 4) as f64);
            (1.3 * i + 0.7 * j + p).sin() + 0.5 * (0.9 * i * j + p).cos()
        })
    };
    let (a, b) = (wave(0.1), wave(2.0));
    let second = &a + &b.scale(0.3);
    [a, second].map(Var::constant)
}

/// Squares coloured by numbers from -1 to 1, with their values where there is room.
fn squares(x: &Tensor<f64>, names: [&str; 2]) -> Svg {
    let side = x.shape()[0];
    let cell = 330.0 / side as f64;
    let mut svg = Svg::new(380.0, 366.0);
    svg.text("soft", [30.0, 13.0], &format!("rows: {}; columns: {}", names[0], names[1]));
    for (at, &value) in x.as_slice().iter().enumerate() {
        let [left, top] = [30.0 + cell * (at % side) as f64, 24.0 + cell * (at / side) as f64];
        let [r, g, b] = Colours::Diverging.at(0.5 + 0.5 * value);
        svg.add(&format!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
             fill=\"#{r:02x}{g:02x}{b:02x}\"><title>{value:.3}</title></rect>",
            cell - 1.0,
            cell - 1.0
        ));
        if cell > 40.0 {
            let class = if value.abs() < 0.6 { "mid dark" } else { "mid light" };
            svg.text(class, [left + cell / 2.0, top + cell / 2.0 + 4.0], &format!("{value:.2}"));
        }
    }
    svg
}

fn barlow() -> Svg {
    let [a, b] = views().map(|x| x.standardize(0.0, 1).y);
    let c = a.matmul_tn(&b).scale(1.0 / 6.0);
    squares(c.value(), ["dimensions of view 0", "of view 1"])
}

fn simclr() -> Svg {
    let [a, b] = views();
    let u = Var::concat(&[&a, &b], 0).l2_normalize(1, 1e-12);
    squares(u.matmul_nt(&u).value(), ["the 12 rows of both views", "the same"])
}

fn byol() -> Svg {
    let mut svg = Svg::new(760.0, 180.0);
    for (y, colour, view, names) in [
        (50.0, 0, "view 0", ["encoder", "projector", "predictor"]),
        (130.0, 3, "view 1", ["target encoder", "target projector", ""]),
    ] {
        node(&mut svg, colour, [50.0, y], [80.0, 40.0], &[view]);
        for (i, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let x = 185.0 + 150.0 * i as f64;
            arrow(&mut svg, "line", colour, [x - 95.0, y], [x - 62.0, y]);
            node(&mut svg, colour, [x, y], [122.0, 40.0], &[name]);
        }
    }
    node(&mut svg, 2, [680.0, 90.0], [120.0, 44.0], &["|n(p) - n(t)|²"]);
    arrow(&mut svg, "line", 0, [546.0, 50.0], [618.0, 82.0]);
    arrow(&mut svg, "dash", 3, [396.0, 130.0], [618.0, 98.0]);
    svg.text("soft mid", [520.0, 142.0], "detached: no gradient");
    arrow(&mut svg, "dash", 3, [185.0, 71.0], [185.0, 109.0]);
    svg.text("soft", [192.0, 94.0], "follows, after each step");
    svg
}

/// A curve over cosines from -1 to 1.
fn curve(f: impl Fn(f64) -> f64) -> Vec<[f64; 2]> {
    (0..=80).map(|i| -1.0 + i as f64 / 40.0).map(|x| [x, f(x)]).collect()
}

fn chart(x: &str, y: &str, series: Vec<Series>) -> Svg {
    Chart { x: x.into(), y: y.into(), series, ..Chart::default() }.draw()
}

fn dcl() -> Svg {
    // Ten negatives at right angles, temperature 1/2: S = 10.
    let estimate = |share: f64| {
        move |cosine: f64| {
            let p = (2.0 * cosine).exp();
            ((10.0 - share * 10.0 * p) / (1.0 - share)).max(10.0 * (-2f64).exp())
        }
    };
    let series = [0.0, 0.1, 0.2].into_iter().enumerate().map(|(i, share)| {
        Series::new(&format!("tau_plus = {share}"), Mark::Line, i, curve(estimate(share)))
    });
    chart("cosine of the positive", "N_g of ten negatives at right angles", series.collect())
}

fn hcl() -> Svg {
    let weight = |beta: f64| move |cosine: f64| (beta * cosine / 0.5).exp();
    let series = [0.0, 0.5, 1.0].into_iter().enumerate().map(|(i, beta)| {
        Series::new(&format!("beta = {beta}"), Mark::Line, i, curve(weight(beta)))
    });
    let name = "weight, before it is normalised";
    chart("cosine of the negative, temperature 0.5", name, series.collect())
}

fn nnclr() -> Svg {
    let mut svg = Svg::new(380.0, 380.0);
    let at = |angle: f64, radius: f64| {
        let [x, y] = [angle.cos(), angle.sin()].map(|c| 160.0 * radius * c);
        [190.0 + x, 190.0 - y]
    };
    let circle: Vec<[f64; 2]> =
        (0..=72).map(|i| at(f64::from(i) * std::f64::consts::TAU / 72.0, 1.0)).collect();
    circle.windows(2).for_each(|pair| svg.line("grid", pair[0], pair[1]));
    let queue = [0.15, 0.75, 1.5, 2.2, 2.9, 3.6, 4.4, 5.1, 5.8];
    let dot = |svg: &mut Svg, colour: usize, [x, y]: [f64; 2]| {
        svg.rect(&format!("f{colour}"), [x - 4.0, y - 4.0], [8.0, 8.0], "");
    };
    queue.iter().for_each(|&angle| dot(&mut svg, 3, at(angle, 1.0)));
    for (view, angle) in [(0, 0.93), (1, 1.28)] {
        let gap = |q: &f64| (q - angle).abs();
        let nearest = queue.iter().copied().min_by(|a, b| gap(a).total_cmp(&gap(b)));
        let nearest = nearest.expect("the queue has rows");
        let place = at(angle, 0.8);
        dot(&mut svg, view, place);
        svg.text("", [place[0] + 6.0, place[1] + 16.0], &format!("z{view}"));
        arrow(&mut svg, "line", view, place, at(nearest, 0.97));
        let name = at(nearest, 1.1);
        svg.text("mid", name, &format!("k{view}"));
    }
    svg.text("soft mid", [190.0, 190.0], "grey: the queue, unit rows");
    svg
}

fn slope() -> Svg {
    let j = |m: f64| m * m * (1.0 - 0.2 * m * m).powi(2);
    let points = |f: &dyn Fn(f64) -> f64| -> Vec<[f64; 2]> {
        (0..=60).map(|i| 0.2 + f64::from(i) * 0.01).map(|m| [m, f(m)]).collect()
    };
    let line = |slope: f64| move |m: f64| j(0.5) + slope * (m - 0.5);
    let (whole, first) = (line(0.8075), line(0.9025));
    let series = vec![
        Series::new("J(m)", Mark::Line, 0, points(&j)),
        Series::new("with dJ/dm = 0.8075", Mark::Dashed, 2, points(&whole)),
        Series::new("with the first-order part, 0.9025", Mark::Dashed, 1, points(&first)),
    ];
    chart("m", "the loss after the trial step", series)
}

fn blocks() -> Svg {
    let mut svg = Svg::new(560.0, 170.0);
    for (x, name, w) in [(90.0, "C", 120.0), (270.0, "A", 120.0), (450.0, "B", 120.0)] {
        svg.rect("line s3", [x - w / 2.0, 20.0], [w, 120.0], "");
        svg.text("mid", [x, 160.0], name);
    }
    svg.text("mid", [180.0, 84.0], "=");
    svg.text("mid", [360.0, 84.0], "·");
    svg.rect("f0", [70.0, 60.0], [40.0, 40.0], "C_IJ");
    for k in 0..3 {
        let along = 40.0 * f64::from(k);
        svg.rect(&format!("f{}", k + 1), [211.0 + along, 60.0], [38.0, 40.0], "A_IK");
        svg.rect(&format!("f{}", k + 1), [430.0, 21.0 + along], [40.0, 38.0], "B_KJ");
    }
    svg
}

fn winograd() -> Svg {
    let rows = [("by definition", 9.0), ("F(2x2, 3x3)", 4.0), ("F(4x4, 3x3), here", 2.25)];
    bars(&rows.map(|(name, count)| (name.to_string(), count, format!("{count}"))))
}
