//! Random programs: values made of earlier values, each accepted only if its definition has small
//! numbers and stays away from kinks.

use super::array::{Array, common};
use super::scalar::{Mistake, Scalar, Tape};
use super::step::Step;
use crate::support::Numbers;
use dimask::autodiff::{Keep, Reduction, Var};
use dimask::tensor::Tensor;
use std::fmt;

/// The names of all steps, as [`Step::name`] says them.
pub const STEPS: [&str; 54] = [
    "Neg",
    "Scale",
    "Shift",
    "Exp",
    "Ln",
    "Sqrt",
    "Tanh",
    "Sigmoid",
    "Square",
    "Recip",
    "Abs",
    "Relu",
    "Clamp",
    "Powf",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Dot",
    "Reshape",
    "Permute",
    "BroadcastTo",
    "SumTo",
    "Slice",
    "Embed",
    "Concat",
    "Select",
    "Gather",
    "Put",
    "MaxAxis",
    "SumAxes",
    "MeanAxes",
    "VarAxes",
    "StdAxes",
    "LogSumExp",
    "Softmax",
    "LogSoftmax",
    "CrossEntropy",
    "L2Normalize",
    "Matmul",
    "MatmulNt",
    "MatmulTn",
    "Conv2d",
    "ConvInputGrad",
    "ConvWeightGrad",
    "MaxPool",
    "AvgPool",
    "GlobalAvgPool",
    "BatchNorm",
    "BatchNormRelu",
    "BatchNormAddRelu",
    "BatchNormMaxPoolRelu",
    "Standardize",
];

/// The most elements of a value, and the greatest magnitude of one.
const ELEMENTS: usize = 48;
const MAGNITUDE: f64 = 6.0;

/// Where a value comes from.
#[derive(Clone)]
enum Source {
    /// A variable: its shape, its elements and how they move.
    Leaf(Vec<usize>, Vec<f64>, Vec<f64>),
    /// A step on earlier values.
    Step(Step, Vec<usize>),
}

/// Values, and how the loss is made: of some of them, each times weights of its own, `s`, the sum
/// of it all, and from that `s + s² / 2`, so that no second derivative is 0 for want of a curve.
pub struct Program {
    sources: Vec<Source>,
    outputs: Vec<(usize, Vec<f64>)>,
}

/// What a program's definition comes to.
pub struct Found {
    pub loss: f64,
    /// The loss's derivative along the leaves' directions.
    pub slope: f64,
    /// For each leaf the gradient, and the Hessian's product with the directions.
    pub gradients: Vec<[Vec<f64>; 2]>,
}

impl Program {
    /// The program that belongs to a number.
    pub fn random(seed: u64) -> Program {
        let mut maker = Maker {
            numbers: Numbers::new(seed),
            sources: Vec::new(),
            arrays: Vec::new(),
            tape: Tape::default(),
        };
        for _ in 0..1 + maker.numbers.below(2) {
            let shape = maker.shape(0, 4);
            maker.leaf(&shape, -1.5, 1.5);
        }
        for _ in 0..3 + maker.numbers.below(6) {
            // A few tries: not every step fits to every program.
            (0..20).find(|_| maker.grow());
        }
        maker.finish()
    }

    /// The names of its steps.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.sources.iter().filter_map(|source| match source {
            Source::Leaf(..) => None,
            Source::Step(step, _) => Some(step.name()),
        })
    }

    /// The loss by definition, with its derivatives; all steps of a kind with a mistake, if one is
    /// given.
    pub fn define(&self, mistake: Option<(&str, Mistake)>) -> Found {
        let (mut tape, mut arrays) = (Tape::default(), Vec::new());
        for source in &self.sources {
            let before = tape.len();
            arrays.push(define(source, &mut tape, &arrays).expect("it was defined before"));
            let (Source::Step(step, operands), Some((name, mistake))) = (source, mistake) else {
                continue;
            };
            if step.name() == name {
                let operands: Vec<&[Scalar]> =
                    operands.iter().map(|&operand| &arrays[operand].data[..]).collect();
                tape.spoil(before..tape.len(), &operands, mistake);
            }
        }
        let terms = self.outputs.iter().flat_map(|(value, weights)| {
            arrays[*value].data.iter().copied().zip(weights.iter().copied())
        });
        let terms: Vec<Scalar> = terms.map(|(x, weight)| tape.scale(x, weight)).collect();
        let sum = tape.sum(terms);
        let square = tape.mul(sum, sum);
        let half = tape.scale(square, 0.5);
        let loss = tape.add(sum, half);
        let gradient = tape.gradient(loss);
        let leaves = self.sources.iter().zip(&arrays);
        let leaves = leaves.filter(|(source, _)| matches!(source, Source::Leaf(..)));
        let gradients = leaves.map(|(_, leaf)| {
            let entries = leaf.data.iter().map(|x| x.of(&gradient));
            [entries.clone().map(|g| g.value).collect(), entries.map(|g| g.slope).collect()]
        });
        Found { loss: loss.dual.value, slope: loss.dual.slope, gradients: gradients.collect() }
    }

    /// The crate's leaves, their directions, and its loss.
    pub fn run(&self) -> (Vec<Var<f64>>, Vec<Tensor<f64>>, Var<f64>) {
        let (mut values, mut leaves, mut directions): (Vec<Var<f64>>, Vec<_>, Vec<_>) =
            Default::default();
        for source in &self.sources {
            values.push(match source {
                Source::Leaf(shape, data, slopes) => {
                    leaves.push(Var::leaf(Tensor::from_vec(data.clone(), shape)));
                    directions.push(Tensor::from_vec(slopes.clone(), shape));
                    leaves.last().expect("just pushed").clone()
                }
                Source::Step(step, operands) => {
                    step.take(&operands.iter().map(|&operand| &values[operand]).collect::<Vec<_>>())
                }
            });
        }
        let terms = self.outputs.iter().map(|(value, weights)| {
            let weights = Tensor::from_vec(weights.clone(), values[*value].shape());
            values[*value].dot_constant(&weights)
        });
        let sum = terms.reduce(|a, b| a + b).expect("a program has an output");
        let loss = &sum + &sum.square().scale(0.5);
        (leaves, directions, loss)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, source) in self.sources.iter().enumerate() {
            match source {
                Source::Leaf(shape, data, _) => writeln!(f, "v{number} = {shape:?} {data:?}")?,
                Source::Step(step, operands) => {
                    writeln!(f, "v{number} = {step:?} of {operands:?}")?
                }
            }
        }
        write!(f, "out {:?}", self.outputs.iter().map(|(value, _)| value).collect::<Vec<_>>())
    }
}

/// A value by definition.
fn define(source: &Source, tape: &mut Tape, arrays: &[Array]) -> Option<Array> {
    match source {
        Source::Leaf(shape, data, slopes) => {
            let data = data.iter().zip(slopes).map(|(&value, &slope)| tape.leaf(value, slope));
            Some(Array { shape: shape.clone(), data: data.collect() })
        }
        Source::Step(step, operands) => {
            let operands: Vec<&Array> = operands.iter().map(|&operand| &arrays[operand]).collect();
            step.define(tape, &operands)
        }
    }
}

/// A program in the making, with all values by definition.
pub struct Maker {
    numbers: Numbers,
    sources: Vec<Source>,
    arrays: Vec<Array>,
    tape: Tape,
}

impl Maker {
    /// The program, whose outputs are the values that nothing was made of.
    fn finish(mut self) -> Program {
        let used: Vec<usize> = self
            .sources
            .iter()
            .flat_map(|source| match source {
                Source::Leaf(..) => Vec::new(),
                Source::Step(_, operands) => operands.clone(),
            })
            .collect();
        let open = (0..self.sources.len()).filter(|value| !used.contains(value));
        let mut outputs = Vec::new();
        for value in open.collect::<Vec<_>>() {
            let (len, most) = (self.len(value), 1.0 / (self.len(value) as f64).sqrt());
            let weights = (0..len).map(|_| self.numbers.uniform(-most, most)).collect();
            outputs.push((value, weights));
        }
        Program { sources: self.sources, outputs }
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.numbers.below(bound)
    }

    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub(super) fn one_of<X: Copy>(&mut self, choices: &[X]) -> X {
        choices[self.below(choices.len())]
    }

    pub(super) fn shape(&mut self, least: usize, most: usize) -> Vec<usize> {
        let rank = self.between(least, most);
        (0..rank).map(|_| self.one_of(&[1, 2, 2, 3, 3, 4])).collect()
    }

    /// A new variable.
    fn leaf(&mut self, shape: &[usize], low: f64, high: f64) -> usize {
        let len = shape.iter().product();
        let mut draw = |low, high| (0..len).map(|_| self.numbers.uniform(low, high)).collect();
        let source = Source::Leaf(shape.to_vec(), draw(low, high), draw(-1.0, 1.0));
        self.arrays.push(define(&source, &mut self.tape, &self.arrays).expect("a leaf is itself"));
        self.sources.push(source);
        self.sources.len() - 1
    }

    /// A new value, if the step has a result here.
    pub(super) fn step(&mut self, step: Step, operands: &[usize]) -> Option<usize> {
        let source = Source::Step(step, operands.to_vec());
        let array = define(&source, &mut self.tape, &self.arrays)?;
        let small =
            |x: &Scalar| x.dual.value.abs() <= MAGNITUDE && x.dual.slope.abs() <= 10.0 * MAGNITUDE;
        let fits = (1..=ELEMENTS).contains(&array.data.len()) && array.data.iter().all(small);
        self.arrays.push(array);
        self.sources.push(source);
        fits.then_some(self.sources.len() - 1)
    }

    /// Adds a random step with what it needs, or nothing.
    fn grow(&mut self) -> bool {
        let (sources, tape) = (self.sources.len(), self.tape.len());
        let name = self.one_of(&STEPS);
        let done = self.propose(name).is_some();
        if !done {
            self.sources.truncate(sources);
            self.arrays.truncate(sources);
            self.tape.truncate(tape);
        }
        done
    }

    /// A value that is there, more often a late one.
    pub(super) fn any(&mut self) -> usize {
        let count = self.sources.len();
        let from = if self.below(2) == 0 { count.saturating_sub(3) } else { 0 };
        self.between(from, count - 1)
    }

    pub(super) fn len(&self, value: usize) -> usize {
        self.arrays[value].data.len()
    }

    pub(super) fn dims(&self, value: usize) -> Vec<usize> {
        self.arrays[value].shape.clone()
    }

    /// A value of at least `least` axes.
    pub(super) fn ranked(&mut self, least: usize) -> Option<usize> {
        let few = [(); 4].map(|()| self.any());
        let value = few.into_iter().find(|&value| self.dims(value).len() >= least);
        match value {
            Some(value) => Some(value),
            None => {
                let shape = self.shape(least, 4);
                self.fitted(&shape)
            }
        }
    }

    /// A value of this shape: a new variable, or elements of one that is there.
    pub(super) fn fitted(&mut self, shape: &[usize]) -> Option<usize> {
        if self.below(2) == 0 {
            return Some(self.leaf(shape, -1.5, 1.5));
        }
        let mut value = self.any();
        let (own, len) = (self.len(value), shape.iter().product::<usize>());
        if self.dims(value) == shape {
            return Some(value);
        }
        if own != len {
            value = self.step(Step::Reshape(vec![own]), &[value])?;
            let index = (0..len).map(|_| self.below(own) as u32).collect();
            value = self.step(Step::Select(0, index), &[value])?;
        }
        self.step(Step::Reshape(shape.to_vec()), &[value])
    }

    /// A value above one half that depends on `value`.
    fn positive(&mut self, value: usize) -> Option<usize> {
        if self.arrays[value].data.iter().all(|x| x.dual.value > 0.5) {
            return Some(value);
        }
        let square = self.step(Step::Square, &[value])?;
        self.step(Step::Shift(0.5), &[square])
    }

    fn axes(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).filter(|_| self.below(2) == 0).collect()
    }

    pub(super) fn shuffled(&mut self, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..count).collect();
        (1..count).for_each(|i| all.swap(i, self.below(i + 1)));
        all
    }

    pub(super) fn index(&mut self, count: usize, bound: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(bound) as u32).collect()
    }

    /// The shape with some axes of length 1 in place of others, and some leading ones gone.
    pub(super) fn narrower(&mut self, shape: &[usize]) -> Vec<usize> {
        let skip = self.between(0, shape.len());
        shape[skip..].iter().map(|&len| if self.below(3) == 0 { 1 } else { len }).collect()
    }

    /// `[N, H, W, C]` in small.
    pub(super) fn images(&mut self) -> Vec<usize> {
        vec![self.between(1, 2), self.between(2, 4), self.between(2, 3), self.between(1, 2)]
    }

    /// The step called `name` on values that fit.
    fn propose(&mut self, name: &str) -> Option<usize> {
        let keep = self.one_of(&[Keep::Keep, Keep::Drop]);
        match name {
            "Neg" | "Exp" | "Tanh" | "Sigmoid" | "Square" | "Abs" | "Relu" | "Scale" | "Shift"
            | "Clamp" => {
                let x = self.any();
                let number = self.numbers.uniform(0.3, 1.5);
                let step = match name {
                    "Neg" => Step::Neg,
                    "Exp" => Step::Exp,
                    "Tanh" => Step::Tanh,
                    "Sigmoid" => Step::Sigmoid,
                    "Square" => Step::Square,
                    "Abs" => Step::Abs,
                    "Relu" => Step::Relu,
                    "Scale" => Step::Scale(-number),
                    "Shift" => Step::Shift(number - 0.9),
                    _ => Step::Clamp(-number, 1.6 - number),
                };
                self.step(step, &[x])
            }
            "Ln" | "Sqrt" | "Recip" => {
                let x = self.any();
                let x = self.positive(x)?;
                let step = match name {
                    "Ln" => Step::Ln,
                    "Sqrt" => Step::Sqrt,
                    _ => Step::Recip,
                };
                self.step(step, &[x])
            }
            "Powf" => {
                let exponent = self.one_of(&[2.5, -1.5, 0.5, -2.0, 0.0, 1.0, 2.0, 3.0]);
                let mut x = self.any();
                if exponent < 0.0 || exponent % 1.0 != 0.0 {
                    x = self.positive(x)?;
                }
                self.step(Step::Powf(exponent), &[x])
            }
            "Add" | "Sub" | "Mul" | "Div" | "Pow" => {
                let mut a = self.any();
                let b = self.any();
                let shape = self.dims(a);
                // With itself, with what fits already, or with what broadcasts.
                let together = common(&shape, &self.dims(b));
                let fits = |own: &[usize]| {
                    let skip = together.len() - own.len();
                    own.iter().zip(&together[skip..]).all(|(&a, &b)| a == b || a == 1)
                };
                let mut b = match fits(&shape) && fits(&self.dims(b)) {
                    true => b,
                    false => {
                        let narrow = self.narrower(&shape);
                        self.fitted(&narrow)?
                    }
                };
                match name {
                    "Div" => b = self.positive(b)?,
                    "Pow" => a = self.positive(a)?,
                    _ => {}
                }
                if !["Div", "Pow"].contains(&name) && self.below(2) == 0 {
                    std::mem::swap(&mut a, &mut b);
                }
                let step = match name {
                    "Add" => Step::Add,
                    "Sub" => Step::Sub,
                    "Mul" => Step::Mul,
                    "Div" => Step::Div,
                    _ => Step::Pow,
                };
                self.step(step, &[a, b])
            }
            "Dot" => {
                let a = self.any();
                let shape = self.dims(a);
                let b = if self.below(4) == 0 { a } else { self.fitted(&shape)? };
                self.step(Step::Dot, &[a, b])
            }
            "Matmul" | "MatmulNt" | "MatmulTn" => self.matmul(name),
            "Conv2d" | "ConvInputGrad" | "ConvWeightGrad" => self.convolution(name),
            "MaxPool" | "AvgPool" | "GlobalAvgPool" => self.pooling(name),
            "BatchNorm"
            | "BatchNormRelu"
            | "BatchNormAddRelu"
            | "BatchNormMaxPoolRelu"
            | "Standardize" => self.batch_norm(name),
            "CrossEntropy" => {
                let shape = [self.between(1, 4), self.between(1, 4)];
                let x = self.fitted(&shape)?;
                let target = self.index(shape[0], shape[1]);
                let reduction = self.one_of(&[Reduction::Mean, Reduction::Sum, Reduction::None]);
                self.step(Step::CrossEntropy(target, reduction), &[x])
            }
            "MaxAxis" | "LogSumExp" | "Softmax" | "LogSoftmax" | "L2Normalize" => {
                let x = self.ranked(1)?;
                let axis = self.below(self.dims(x).len());
                let step = match name {
                    "MaxAxis" => Step::MaxAxis(axis, keep),
                    "LogSumExp" => Step::LogSumExp(axis, keep),
                    "Softmax" => Step::Softmax(axis),
                    "LogSoftmax" => Step::LogSoftmax(axis),
                    _ => Step::L2Normalize(axis, self.one_of(&[1e-12, 1.0])),
                };
                self.step(step, &[x])
            }
            "SumAxes" | "MeanAxes" | "VarAxes" | "StdAxes" => {
                let x = self.any();
                let axes = self.axes(self.dims(x).len());
                let correction = self.below(2);
                let step = match name {
                    "SumAxes" => Step::SumAxes(axes, keep),
                    "MeanAxes" => Step::MeanAxes(axes, keep),
                    "VarAxes" => Step::VarAxes(axes, keep, correction),
                    _ => Step::StdAxes(axes, keep, correction),
                };
                self.step(step, &[x])
            }
            _ => self.layout(name),
        }
    }
}
