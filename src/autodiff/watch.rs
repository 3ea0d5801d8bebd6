//! The first value that is not finite, of all that a computation makes, in the order of making.
//!
//! A [`Watch`] belongs to its caller, who puts variables under it ([`Var::watched`]); all that is
//! computed from them, derivatives included, inherits it and is seen by it. The values are the same
//! as without it. An operation on other variables pays for one look at its operands.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Var;
use super::op::Node;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// Where a value came from that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The part of the computation that was entered last.
    pub part: String,
    /// The layer that was entered last.
    pub layer: String,
    /// The operation that made the value.
    pub op: &'static str,
    /// Whose derivative that operation was a part of, if it was in a derivative.
    pub within: Option<(Direction, &'static str)>,
    /// The value.
    pub value: Statistics,
    /// What the operation worked on.
    pub inputs: Vec<Statistics>,
}

/// The two kinds of derivatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Reverse mode: what a gradient is made of.
    Backward,
    /// Forward mode: a tangent that is pushed.
    Forward,
}

/// What is in a tensor, at a glance.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Its shape.
    pub shape: Vec<usize>,
    /// How many entries are NaN.
    pub nan: usize,
    /// How many entries are infinite.
    pub infinite: usize,
    /// The least, the mean and the greatest of the finite entries, if there are any.
    pub finite: Option<[f64; 3]>,
}

impl Statistics {
    /// Those of a tensor.
    pub fn of<T: Real>(x: &Tensor<T>) -> Statistics {
        let (mut nan, mut infinite, mut count) = (0, 0, 0);
        let [mut min, mut sum, mut max] = [f64::INFINITY, 0.0, f64::NEG_INFINITY];
        for x in x.as_slice().iter().map(|x| x.to_f64()) {
            match x {
                x if x.is_nan() => nan += 1,
                x if x.is_infinite() => infinite += 1,
                x => {
                    (count, min, max) = (count + 1, min.min(x), max.max(x));
                    sum += x;
                }
            }
        }
        let finite = (count > 0).then(|| [min, sum / count as f64, max]);
        Statistics { shape: x.shape().to_vec(), nan, infinite, finite }
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: ", self.shape)?;
        let of = self.shape.iter().product::<usize>();
        for (count, what) in [(self.nan, "NaN"), (self.infinite, "infinite")] {
            if count > 0 {
                write!(f, "{count} of {of} {what}, ")?;
            }
        }
        match self.finite {
            Some([min, mean, max]) => write!(f, "{min:.3e} to {max:.3e}, mean {mean:.3e}"),
            None => write!(f, "none finite"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.op)?;
        match self.within {
            Some((Direction::Backward, op)) if op == self.op => write!(f, ", backward,")?,
            Some((Direction::Forward, op)) if op == self.op => write!(f, ", pushed,")?,
            Some((Direction::Backward, op)) => write!(f, " in the backward pass of {op}")?,
            Some((Direction::Forward, op)) => write!(f, " in the push of {op}")?,
            None => {}
        }
        if !self.layer.is_empty() {
            write!(f, " at the layer {}", self.layer)?;
        }
        if self.part.is_empty() { Ok(()) } else { write!(f, " ({})", self.part) }
    }
}

/// What a watch knows.
#[derive(Debug, Default)]
struct Seen {
    part: &'static str,
    layer: String,
    /// The layers that recorded operations belong to, by their nodes.
    layers: HashMap<u64, String>,
    /// Derivatives of operations within each other.
    rules: Vec<(Direction, &'static str)>,
    found: Option<Finding>,
}

/// Keeps the first value that is not finite; cloning shares it.
///
/// ```
/// use dimask::{Tensor, Var, autodiff::watch::Watch};
/// let watch = Watch::default();
/// let x = Var::leaf(Tensor::<f32>::scalar(100.0)).watched(&watch);
/// let y = x.exp() * &Var::scalar(0.0);
/// assert!(y.item().is_nan());
/// assert_eq!(watch.found().unwrap().op, "exp");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    /// The first value that was not finite, if there has been one.
    pub fn found(&self) -> Option<Finding> {
        self.seen().found.clone()
    }

    /// A part of the computation begins, such as `the trial step`.
    pub fn enter(&self, part: &'static str) {
        let mut seen = self.seen();
        (seen.part, seen.layer) = (part, String::new());
    }

    /// What follows belongs to the layer `name`, until another one is named.
    pub fn layer(&self, name: &str) {
        self.seen().layer = name.to_string();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operation `op` has made `y`.
    #[inline(never)]
    pub(super) fn see<T: Real>(&self, op: &'static str, y: &Tensor<T>, inputs: &[&Var<T>]) {
        if y.is_finite() {
            return;
        }
        let mut seen = self.seen();
        let Seen { part, layer, rules, found, .. } = &mut *seen;
        found.get_or_insert_with(|| Finding {
            part: part.to_string(),
            layer: layer.clone(),
            op,
            within: rules.last().copied(),
            value: Statistics::of(y),
            inputs: inputs.iter().map(|x| Statistics::of(x.value())).collect(),
        });
    }

    /// A node has been made.
    pub(super) fn note(&self, id: u64) {
        let mut seen = self.seen();
        let layer = seen.layer.clone();
        seen.layers.insert(id, layer);
    }

    /// The derivative of `node` begins, until the result is dropped: what follows belongs to the
    /// layer of the node.
    pub(super) fn rule<T: Real>(&self, direction: Direction, node: &Node<T>) -> Rule {
        let mut seen = self.seen();
        seen.rules.push((direction, node.op.name()));
        let own = seen.layers.get(&node.id).cloned().unwrap_or_default();
        let after = std::mem::replace(&mut seen.layer, own);
        Rule { watch: self.clone(), after }
    }
}

/// The derivative of a node's operation is being taken, until this is dropped.
#[must_use]
pub(super) struct Rule {
    watch: Watch,
    /// The layer that continues afterwards.
    after: String,
}

impl Drop for Rule {
    fn drop(&mut self) {
        let mut seen = self.watch.seen();
        seen.rules.pop();
        seen.layer = std::mem::take(&mut self.after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::{grad, push};

    /// `2 √x` at 0, whose values are finite and whose derivative is not; the root in layer `a`.
    fn twice_the_root(watch: &Watch) -> (Var<f64>, Var<f64>) {
        let x = Var::leaf(Tensor::scalar(0.0)).watched(watch);
        watch.enter("the part");
        watch.layer("a");
        let y = x.sqrt();
        watch.layer("b");
        (y * &Var::scalar(2.0), x)
    }

    #[test]
    fn a_derivative_is_of_the_layer_of_its_operation() {
        let [values, backward, forward] = [(); 3].map(|()| Watch::default());
        twice_the_root(&values);
        assert_eq!(values.found(), None, "all values are finite");
        let (z, x) = twice_the_root(&backward);
        grad(z, &[&x]);
        let (z, x) = twice_the_root(&forward);
        push(&[&z], &[(&x, &Tensor::scalar(1.0))]);
        for (watch, direction) in [(backward, Direction::Backward), (forward, Direction::Forward)] {
            let found = watch.found().expect("1 / 0 is infinite");
            assert_eq!((&*found.part, &*found.layer), ("the part", "a"), "{found:?}");
            assert_eq!(found.within, Some((direction, "sqrt")));
            assert_eq!((found.op, found.value.infinite), ("div", 1));
        }
    }

    #[test]
    fn only_what_is_watched_is_looked_at() {
        let overflow = |x: Var<f32>| x.exp();
        let x = || Var::leaf(Tensor::<f32>::scalar(100.0));
        let (watch, other) = (Watch::default(), Watch::default());
        overflow(x());
        overflow(x().watched(&other));
        assert_eq!(watch.found(), None, "neither of them is under this watch");
        let y = overflow(x().watched(&watch)).detach().as_leaf();
        y.sqrt();
        assert_eq!(watch.found().expect("there are two").op, "exp");
        let late = Watch::default();
        (Var::scalar(0.0) * &overflow(x()).watched(&late)).square();
        assert_eq!(late.found().expect("0 · ∞").op, "mul");
    }
}
