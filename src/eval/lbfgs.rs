//! L-BFGS: the minimum of a smooth convex function from its value and gradient.

/// Steps that are remembered.
const MEMORY: usize = 10;
/// Vectors of the length of `x` that are held at a time, about: two a step, and those at hand.
pub(super) const VECTORS: usize = 2 * MEMORY + 8;

/// The minimum of a smooth convex function from its value and gradient, by L-BFGS.
///
/// ```text
/// repeat until the gradient is below the tolerance everywhere, or no step goes down:
///     direction = - (inverse Hessian of the last 10 steps) · gradient
///     halve the step from 1 until the value falls by 1e-4 of what the slope promises
/// ```
///
/// Source: Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5.
pub(super) fn minimize(
    mut x: Vec<f64>,
    tolerance: f64,
    f: impl Fn(&[f64]) -> (f64, Vec<f64>),
) -> Vec<f64> {
    const MOST_STEPS: usize = 500;
    const MOST_HALVINGS: usize = 30;
    let mut history: Vec<Pair> = Vec::new();
    let (mut value, mut gradient) = f(&x);
    for _ in 0..MOST_STEPS {
        if gradient.iter().all(|g| g.abs() < tolerance) {
            break;
        }
        let direction = quasi_newton(&gradient, &history);
        let slope = dot(&direction, &gradient);
        let trial = |halvings: usize| {
            let step = 0.5f64.powi(halvings as i32);
            let next: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
            let (next_value, next_gradient) = f(&next);
            let falls = next_value <= value + 1e-4 * step * slope;
            falls.then_some((next, next_value, next_gradient))
        };
        // Rounding has the last word: when no step goes down, this is the minimum.
        let Some((next, next_value, next_gradient)) = (0..=MOST_HALVINGS).find_map(trial) else {
            break;
        };
        let moved = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let turned = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        history.extend(Pair::new(moved, turned));
        if history.len() > MEMORY {
            history.remove(0);
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// What one step taught about the curvature: how far it moved, how much the gradient turned.
struct Pair {
    moved: Vec<f64>,
    turned: Vec<f64>,
    inv_product: f64,
}

impl Pair {
    /// None if the curvature along the step is not positive beyond rounding.
    fn new(moved: Vec<f64>, turned: Vec<f64>) -> Option<Pair> {
        let product = dot(&moved, &turned);
        let inv_product = 1.0 / product;
        (product > 1e-14 * dot(&turned, &turned)).then_some(Pair { moved, turned, inv_product })
    }
}

/// Minus the inverse Hessian, as the pairs know it, times the gradient: the two-loop recursion.
fn quasi_newton(gradient: &[f64], history: &[Pair]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let alpha = pair.inv_product * dot(&pair.moved, &direction);
        add(&mut direction, -alpha, &pair.turned);
        alphas.push(alpha);
    }
    // The last pair says how long the inverse Hessian is.
    if let Some(last) = history.last() {
        let scale = 1.0 / (last.inv_product * dot(&last.turned, &last.turned));
        direction.iter_mut().for_each(|x| *x *= scale);
    }
    for (pair, alpha) in history.iter().zip(alphas.into_iter().rev()) {
        let beta = pair.inv_product * dot(&pair.turned, &direction);
        add(&mut direction, alpha - beta, &pair.moved);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_a_narrow_valley_is_found() {
        // A quadratic bowl with axes 1 to 1,000, turned by a shear.
        let f = |x: &[f64]| {
            let y = [x[0] - 3.0, x[1] + x[0], x[2] - x[1]];
            let value = 0.5 * (y[0] * y[0] + 30.0 * y[1] * y[1] + 1000.0 * y[2] * y[2]);
            let g = [y[0], 30.0 * y[1], 1000.0 * y[2]];
            (value, vec![g[0] + g[1], g[1] - g[2], g[2]])
        };
        for (got, expected) in minimize(vec![0.0; 3], 1e-6, f).iter().zip([3.0, -3.0, -3.0]) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
    }
}
