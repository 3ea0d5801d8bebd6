//! Numbers in shapes, and what needs no loops over them: places, groups, functions of one element.

use super::scalar::Scalar;
use super::step::Step;
use dimask::autodiff::Keep;

/// How near to a kink an element may come.
pub const GAP: f64 = 0.02;
/// The least that logarithms, roots and divisions are given.
pub const LEAST: f64 = 0.3;

/// Numbers in a shape, row-major.
#[derive(Clone, Debug)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<Scalar>,
}

/// All places of a shape, row-major.
pub fn places(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![Vec::new()], |places, &len| {
        places.iter().flat_map(|place| (0..len).map(|i| [&place[..], &[i]].concat())).collect()
    })
}

/// A place's position.
pub fn flat(place: &[usize], shape: &[usize]) -> usize {
    place.iter().zip(shape).fold(0, |at, (&i, &len)| at * len + i)
}

/// The common shape of two operands, aligned at their ends.
pub fn common(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let len = |shape: &[usize], axis: usize| match (axis + shape.len()).checked_sub(rank) {
        Some(own) => shape[own],
        None => 1,
    };
    (0..rank).map(|axis| len(a, axis).max(len(b, axis))).collect()
}

impl Array {
    /// The element at a place.
    pub fn at(&self, place: &[usize]) -> Scalar {
        self.data[flat(place, &self.shape)]
    }

    /// The element that repeats at a place of a shape that this one broadcasts to.
    pub fn repeated(&self, place: &[usize]) -> Scalar {
        let own = &place[place.len() - self.shape.len()..];
        let own: Vec<usize> =
            own.iter().zip(&self.shape).map(|(&i, &len)| i.min(len - 1)).collect();
        self.at(&own)
    }

    /// The elements that fall together when some axes do, with the shape that keeps these at 1.
    pub fn groups(&self, axes: &[usize]) -> (Vec<usize>, Vec<Vec<Scalar>>) {
        let mut kept = self.shape.clone();
        axes.iter().for_each(|&axis| kept[axis] = 1);
        let mut groups = vec![Vec::new(); kept.iter().product()];
        for (place, &x) in places(&self.shape).iter().zip(&self.data) {
            let own: Vec<usize> =
                place.iter().zip(&kept).map(|(&i, &len)| i.min(len - 1)).collect();
            groups[flat(&own, &kept)].push(x);
        }
        (kept, groups)
    }
}

/// The array whose elements `of` makes, if it makes all of them.
pub fn built(shape: &[usize], mut of: impl FnMut(&[usize]) -> Option<Scalar>) -> Option<Array> {
    let data: Option<Vec<Scalar>> = places(shape).iter().map(|place| of(place)).collect();
    Some(Array { shape: shape.to_vec(), data: data? })
}

/// Without the axes, which have length 1, if they are to be dropped.
pub fn dropped(mut array: Array, axes: &[usize], keep: Keep) -> Array {
    if keep == Keep::Drop {
        let shape = array.shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        array.shape = shape.map(|(_, &len)| len).collect();
    }
    array
}

/// `f` and its first two derivatives at `x`.
pub fn elementwise(step: &Step, x: f64) -> Option<[f64; 3]> {
    let power = |p: f64| {
        let term = |factor: f64, p: f64| if factor == 0.0 { 0.0 } else { factor * x.powf(p) };
        [term(1.0, p), term(p, p - 1.0), term(p * (p - 1.0), p - 2.0)]
    };
    let line = |slope: f64, y: f64| [y, slope, 0.0];
    let (fits, found) = match step {
        Step::Neg => (true, line(-1.0, -x)),
        Step::Scale(factor) => (true, line(*factor, factor * x)),
        Step::Shift(term) => (true, line(1.0, x + term)),
        Step::Exp => (x < 2.0, [x.exp(); 3]),
        Step::Ln => (x > LEAST, [x.ln(), 1.0 / x, -1.0 / (x * x)]),
        Step::Sqrt => (x > LEAST, power(0.5)),
        Step::Square => (true, [x * x, 2.0 * x, 2.0]),
        Step::Recip => (x.abs() > LEAST, [1.0 / x, -1.0 / (x * x), 2.0 / (x * x * x)]),
        Step::Tanh => {
            let y = x.tanh();
            (true, [y, 1.0 - y * y, -2.0 * y * (1.0 - y * y)])
        }
        Step::Sigmoid => {
            let y = 1.0 / (1.0 + (-x).exp());
            (true, [y, y * (1.0 - y), y * (1.0 - y) * (1.0 - 2.0 * y)])
        }
        Step::Abs => (x.abs() > GAP, line(x.signum(), x.abs())),
        Step::Relu => (x.abs() > GAP, if x > 0.0 { line(1.0, x) } else { [0.0; 3] }),
        Step::Clamp(low, high) => {
            let fits = (x - low).abs().min((x - high).abs()) > GAP;
            (
                fits,
                if *low < x && x < *high { line(1.0, x) } else { line(0.0, x.clamp(*low, *high)) },
            )
        }
        Step::Powf(p) => (x > LEAST || (p.fract() == 0.0 && *p >= 0.0), power(*p)),
        _ => return None,
    };
    fits.then_some(found)
}

/// The greatest of some numbers, if it is clearly that.
pub fn greatest(numbers: &[Scalar]) -> Option<Scalar> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(|a, b| b.dual.value.total_cmp(&a.dual.value));
    let clear = sorted.get(1).is_none_or(|second| sorted[0].dual.value - second.dual.value > GAP);
    sorted.first().copied().filter(|_| clear)
}
