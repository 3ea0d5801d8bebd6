//! The steps of random programs that move numbers, and those of matrices and images.

use super::program::Maker;
use super::step::Step;
use dimask::autodiff::CountPad;

impl Maker {
    /// Steps that only move numbers.
    pub(super) fn layout(&mut self, name: &str) -> Option<usize> {
        if name == "Concat" {
            let x = self.ranked(1)?;
            let axis = self.below(self.dims(x).len());
            let mut parts = vec![x];
            for _ in 0..self.between(0, 2) {
                let mut shape = self.dims(x);
                shape[axis] = self.between(1, 3);
                parts.push(if self.below(3) == 0 { x } else { self.fitted(&shape)? });
            }
            return self.step(Step::Concat(axis), &parts);
        }
        let x = match name {
            "Select" | "Gather" | "Put" => self.ranked(1)?,
            _ => self.any(),
        };
        let shape = self.dims(x);
        let rank = shape.len();
        let axis = self.below(rank.max(1));
        let step = match name {
            "Reshape" => {
                let mut axes: Vec<usize> = (0..rank).map(|i| shape[i]).collect();
                match self.below(3) {
                    0 => axes = vec![self.len(x)],
                    1 => axes.insert(self.below(rank + 1), 1),
                    // Two axes become one.
                    _ if rank >= 2 => {
                        let at = self.below(rank - 1);
                        axes[at] *= axes.remove(at + 1);
                    }
                    _ => axes.reverse(),
                }
                Step::Reshape(if axes.len() > 4 { vec![self.len(x)] } else { axes })
            }
            "Permute" => Step::Permute(self.shuffled(rank)),
            "BroadcastTo" => {
                let mut to = shape;
                to.iter_mut().filter(|len| **len == 1).for_each(|len| *len = self.between(1, 3));
                if to.len() < 4 && self.below(2) == 0 {
                    to.insert(0, self.between(1, 3));
                }
                Step::BroadcastTo(to)
            }
            "SumTo" => Step::SumTo(self.narrower(&shape)),
            "Slice" => {
                let (mut starts, mut ends, mut steps) = (Vec::new(), Vec::new(), Vec::new());
                for len in shape {
                    starts.push(self.below(len));
                    ends.push(self.between(starts[starts.len() - 1] + 1, len));
                    steps.push(self.between(1, 2));
                }
                Step::Slice(starts, ends, steps)
            }
            "Embed" => {
                let (mut to, mut starts, mut steps) = (Vec::new(), Vec::new(), Vec::new());
                for len in shape {
                    starts.push(self.below(2));
                    steps.push(self.between(1, 2));
                    let last = starts[starts.len() - 1] + (len - 1) * steps[steps.len() - 1];
                    to.push(last + 1 + self.below(2));
                }
                Step::Embed(to, starts, steps)
            }
            "Select" => {
                let count = self.between(1, 4);
                Step::Select(axis, self.index(count, shape[axis]))
            }
            "Gather" => {
                let mut to = shape.clone();
                to[axis] = self.between(1, 3);
                Step::Gather(axis, self.index(to.iter().product(), shape[axis]), to)
            }
            "Put" => {
                let size = self.between(1, 4);
                Step::Put(axis, self.index(shape[axis], size), size)
            }
            other => unreachable!("no step {other}"),
        };
        self.step(step, &[x])
    }

    pub(super) fn matmul(&mut self, name: &str) -> Option<usize> {
        let a = self.ranked(2)?;
        let shape = self.dims(a);
        let (lead, last) = shape.split_at(shape.len() - 2);
        let (sum, square) =
            (if name == "MatmulTn" { last[0] } else { last[1] }, last[0] == last[1]);
        let with_itself = (name != "Matmul" || square) && self.below(4) == 0;
        let b = match with_itself {
            true => a,
            false => {
                let n = self.between(1, 3);
                let own = if name == "MatmulNt" { [n, sum] } else { [sum, n] };
                let lead = self.narrower(lead);
                self.fitted(&[&lead[..], &own].concat())?
            }
        };
        let step = match name {
            "Matmul" => Step::Matmul,
            "MatmulNt" => Step::MatmulNt,
            _ => Step::MatmulTn,
        };
        self.step(step, &[a, b])
    }

    pub(super) fn convolution(&mut self, name: &str) -> Option<usize> {
        let x = self.images();
        let (stride, padding) =
            ([self.between(1, 2), self.between(1, 2)], [self.below(2), self.below(2)]);
        let kernel = [self.between(1, x[1].min(3)), self.between(1, x[2].min(3))];
        let w = vec![kernel[0], kernel[1], x[3], self.between(1, 2)];
        let side = |a: usize| (x[a + 1] + 2 * padding[a] - w[a]) / stride[a] + 1;
        let y = vec![x[0], side(0), side(1), w[3]];
        let (step, operands) = match name {
            "Conv2d" => (Step::Conv2d(stride, padding), [x, w]),
            "ConvInputGrad" => (Step::ConvInputGrad(x, stride, padding), [w, y]),
            _ => (Step::ConvWeightGrad(w, stride, padding), [x, y]),
        };
        let operands = [self.fitted(&operands[0])?, self.fitted(&operands[1])?];
        self.step(step, &operands)
    }

    pub(super) fn pooling(&mut self, name: &str) -> Option<usize> {
        let shape = self.images();
        let x = self.fitted(&shape)?;
        let kernel = [self.between(1, shape[1].min(3)), self.between(1, shape[2].min(3))];
        let stride = [self.between(1, 2), self.between(1, 2)];
        let padding = kernel.map(|side| self.below(side / 2 + 1));
        let count = self.one_of(&[CountPad::Include, CountPad::Exclude]);
        let step = match name {
            "MaxPool" => Step::MaxPool(kernel, stride, padding),
            "AvgPool" => Step::AvgPool(kernel, stride, padding, count),
            _ => Step::GlobalAvgPool,
        };
        self.step(step, &[x])
    }

    pub(super) fn batch_norm(&mut self, name: &str) -> Option<usize> {
        let groups = self.between(1, 2);
        let mut shape = match name {
            "BatchNormMaxPoolRelu" => self.images(),
            _ => self.shape(2, 4),
        };
        // Some rows for each group to have a deviation.
        shape[0] = groups * self.between(1, 3);
        let x = self.fitted(&shape)?;
        let eps = self.one_of(&[0.1, 0.5]);
        let c = shape[shape.len() - 1];
        if name == "Standardize" {
            return self.step(Step::Standardize(eps, groups), &[x]);
        }
        let mut operands = vec![x, self.fitted(&[c])?, self.fitted(&[c])?];
        let step = match name {
            "BatchNorm" => Step::BatchNorm(eps, groups),
            "BatchNormRelu" => Step::BatchNormRelu(eps, groups),
            "BatchNormAddRelu" => {
                operands.push(self.fitted(&shape)?);
                Step::BatchNormAddRelu(eps, groups)
            }
            _ => Step::BatchNormMaxPoolRelu(eps, groups),
        };
        self.step(step, &operands)
    }
}
