//! The first value that is not finite, of all that a computation makes, in the order of making.
//!
//! For a step that has gone wrong and is taken once more: [`watch`] runs it, and every operation
//! of its forward passes, its reverse passes and its pushes shows what it has made. Nothing is
//! computed otherwise, so what is found is what happened. Only the thread that watches looks;
//! elsewhere an operation pays for one look at a flag of its own thread.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;

use super::Var;
use super::op::Node;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// Where a value came from that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The part of the computation, as [`enter`] named it.
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

/// What is known while a computation is watched.
#[derive(Default)]
struct Watch {
    part: &'static str,
    layer: String,
    /// The layers that recorded operations belong to, by their nodes.
    layers: HashMap<u64, String>,
    /// Derivatives of operations within each other.
    rules: Vec<(Direction, &'static str)>,
    found: Option<Finding>,
}

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static WATCH: RefCell<Watch> = RefCell::default();
}

/// Ends looking, also where a computation panics.
struct Off;

impl Drop for Off {
    fn drop(&mut self) {
        ON.set(false);
    }
}

/// Runs `work` on this thread; the first value in it that is not finite, if there is one.
///
/// ```
/// use dimask::{Tensor, Var, autodiff::watch::watch};
/// let x = Var::leaf(Tensor::<f32>::scalar(100.0));
/// let (_, found) = watch(|| x.exp() * &Var::scalar(0.0));
/// assert_eq!(found.unwrap().op, "exp");
/// ```
pub fn watch<R>(work: impl FnOnce() -> R) -> (R, Option<Finding>) {
    WATCH.take();
    let off = Off;
    ON.set(true);
    let result = work();
    drop(off);
    (result, WATCH.take().found)
}

/// A part of a computation begins, such as `the trial step`.
pub fn enter(part: &'static str) {
    if ON.get() {
        WATCH.with_borrow_mut(|watch| (watch.part, watch.layer) = (part, String::new()));
    }
}

/// What follows belongs to the layer `name`, until another one is named.
pub fn layer(name: &str) {
    if ON.get() {
        WATCH.with_borrow_mut(|watch| watch.layer = name.to_string());
    }
}

/// Whether this thread's values are watched.
#[inline]
pub(super) fn is_on() -> bool {
    ON.get()
}

/// The operation `op` has made `y`.
#[inline]
pub(super) fn see<T: Real>(op: &'static str, y: &Tensor<T>, inputs: &[&Var<T>]) {
    if is_on() {
        look(op, y, inputs);
    }
}

#[inline(never)]
fn look<T: Real>(op: &'static str, y: &Tensor<T>, inputs: &[&Var<T>]) {
    if y.is_finite() {
        return;
    }
    WATCH.with_borrow_mut(|watch| {
        watch.found.get_or_insert_with(|| Finding {
            part: watch.part.to_string(),
            layer: watch.layer.clone(),
            op,
            within: watch.rules.last().copied(),
            value: Statistics::of(y),
            inputs: inputs.iter().map(|x| Statistics::of(x.value())).collect(),
        });
    });
}

/// A node has been made.
#[inline]
pub(super) fn made(id: u64) {
    if ON.get() {
        WATCH.with_borrow_mut(|watch| drop(watch.layers.insert(id, watch.layer.clone())));
    }
}

/// The derivative of a node's operation is being taken, until this is dropped.
#[must_use]
pub(super) struct Rule {
    /// The layer that goes on afterwards; absent where nobody watches.
    after: Option<String>,
}

/// The derivative of `node` begins: what follows belongs to the layer of the node.
#[inline]
pub(super) fn rule<T: Real>(direction: Direction, node: &Node<T>) -> Rule {
    let begin = || {
        WATCH.with_borrow_mut(|watch| {
            watch.rules.push((direction, node.op.name()));
            let own = watch.layers.get(&node.id).cloned().unwrap_or_default();
            std::mem::replace(&mut watch.layer, own)
        })
    };
    Rule { after: ON.get().then(begin) }
}

impl Drop for Rule {
    fn drop(&mut self) {
        if let Some(layer) = self.after.take() {
            WATCH.with_borrow_mut(|watch| {
                watch.rules.pop();
                watch.layer = layer;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::{grad, push};

    /// `2 √x` at 0, whose values are finite and whose derivative is not; the root in layer `a`.
    fn twice_the_root() -> (Var<f64>, Var<f64>) {
        let x = Var::leaf(Tensor::scalar(0.0));
        enter("the part");
        layer("a");
        let y = x.sqrt();
        layer("b");
        (y * &Var::scalar(2.0), x)
    }

    #[test]
    fn a_derivative_is_of_the_layer_of_its_operation() {
        let (_, found) = watch(twice_the_root);
        assert_eq!(found, None, "all values are finite");
        let (_, backward) = watch(|| {
            let (z, x) = twice_the_root();
            grad(z, &[&x])
        });
        let (_, forward) = watch(|| {
            let (z, x) = twice_the_root();
            push(&[&z], &[(&x, &Tensor::scalar(1.0))])
        });
        for (found, direction) in [(backward, Direction::Backward), (forward, Direction::Forward)] {
            let found = found.expect("1 / 0 is infinite");
            assert_eq!((&*found.part, &*found.layer), ("the part", "a"), "{found:?}");
            assert_eq!(found.within, Some((direction, "sqrt")));
            assert_eq!((found.op, found.value.infinite), ("div", 1));
        }
    }

    #[test]
    fn only_what_is_watched_is_looked_at() {
        let overflow = || Var::leaf(Tensor::<f32>::scalar(100.0)).exp();
        overflow();
        assert_eq!(watch(|| ()).1, None, "what was before does not count");
        let panicked = std::panic::catch_unwind(|| watch(|| panic!("while it is watched")));
        assert!(panicked.is_err() && !ON.get());
        let first = watch(|| (overflow(), overflow().sqrt())).1;
        assert_eq!(first.expect("there are two").op, "exp");
    }
}
