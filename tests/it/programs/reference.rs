//! The steps of a program on single numbers: loops over elements, from the definitions.
//!
//! A step that comes too near to a kink, a pole or large numbers has no result: there, two right
//! answers may differ.

use super::array::{
    Array, GAP, LEAST, built, common, dropped, elementwise, flat, greatest, places,
};
use super::scalar::{Scalar, Tape};
use super::step::Step;
use dimask::autodiff::{CountPad, Keep, Reduction};

/// What loops need to make new numbers.
struct Maker<'a> {
    tape: &'a mut Tape,
}

impl Maker<'_> {
    fn product(&mut self, pairs: Vec<(Scalar, Scalar)>) -> Scalar {
        let terms: Vec<Scalar> = pairs.into_iter().map(|(a, b)| self.tape.mul(a, b)).collect();
        self.tape.sum(terms)
    }

    fn mean(&mut self, numbers: &[Scalar]) -> Scalar {
        let sum = self.tape.sum(numbers.iter().copied());
        self.tape.scale(sum, 1.0 / numbers.len() as f64)
    }

    /// The deviations from the mean, and the sum of their squares.
    fn deviations(&mut self, numbers: &[Scalar]) -> (Vec<Scalar>, Scalar) {
        let mean = self.mean(numbers);
        let apart: Vec<Scalar> = numbers.iter().map(|&x| self.tape.sub(x, mean)).collect();
        let squares = self.product(apart.iter().map(|&d| (d, d)).collect());
        (apart, squares)
    }

    fn log_sum_exp(&mut self, numbers: &[Scalar]) -> Scalar {
        let terms: Vec<Scalar> = numbers.iter().map(|&x| self.tape.exp(x)).collect();
        let sum = self.tape.sum(terms);
        self.tape.ln(sum)
    }

    fn relu(&mut self, x: Scalar) -> Option<Scalar> {
        Some(self.tape.apply(x, elementwise(&Step::Relu, x.dual.value)?))
    }

    /// One number a group, in the shape of the groups.
    fn reduced(
        &mut self,
        x: &Array,
        axes: &[usize],
        keep: Keep,
        mut of: impl FnMut(&mut Self, &[Scalar]) -> Option<Scalar>,
    ) -> Option<Array> {
        let (shape, groups) = x.groups(axes);
        let data: Option<Vec<Scalar>> = groups.iter().map(|group| of(self, group)).collect();
        Some(dropped(Array { shape, data: data? }, axes, keep))
    }

    fn log_softmax(&mut self, x: &Array, axis: usize) -> Option<Array> {
        let sums = self.reduced(x, &[axis], Keep::Keep, |m, group| Some(m.log_sum_exp(group)))?;
        built(&x.shape, |place| Some(self.tape.sub(x.at(place), sums.repeated(place))))
    }

    /// Pairs of a convolution's image and weight that meet: `(image, weight, result)`.
    fn meetings(
        x: &[usize],
        w: &[usize],
        stride: &[usize; 2],
        padding: &[usize; 2],
    ) -> (Vec<usize>, Vec<[Vec<usize>; 3]>) {
        let side = |a: usize| (x[a + 1] + 2 * padding[a] - w[a]) / stride[a] + 1;
        let y = vec![x[0], side(0), side(1), w[3]];
        let mut found = Vec::new();
        for out in places(&y) {
            for kernel in places(&w[..3]) {
                let row = (out[1] * stride[0] + kernel[0]).checked_sub(padding[0]);
                let column = (out[2] * stride[1] + kernel[1]).checked_sub(padding[1]);
                let (Some(row), Some(column)) = (row, column) else { continue };
                if row < x[1] && column < x[2] {
                    let image = vec![out[0], row, column, kernel[2]];
                    found.push([image, [&kernel[..], &[out[3]]].concat(), out.clone()]);
                }
            }
        }
        (y, found)
    }

    /// The sum of products, where `pairs` says which elements of `a` and `b` meet where.
    fn scattered(
        &mut self,
        shape: &[usize],
        pairs: Vec<(usize, (Scalar, Scalar))>,
    ) -> Option<Array> {
        let mut terms = vec![Vec::new(); shape.iter().product()];
        pairs.into_iter().for_each(|(at, pair)| terms[at].push(pair));
        let data = terms.into_iter().map(|terms| self.product(terms)).collect();
        Some(Array { shape: shape.to_vec(), data })
    }

    fn batch_norm(
        &mut self,
        x: &Array,
        affine: Option<[&Array; 2]>,
        eps: f64,
        groups: usize,
    ) -> Option<Array> {
        let c = *x.shape.last()?;
        let per_group = x.data.len() / groups;
        let mut data = x.data.clone();
        for channel in 0..groups * c {
            let (group, channel) = (channel / c, channel % c);
            let own = (group * per_group..(group + 1) * per_group).skip(channel).step_by(c);
            let numbers: Vec<Scalar> = own.clone().map(|at| x.data[at]).collect();
            let (apart, squares) = self.deviations(&numbers);
            let var = self.tape.scale(squares, 1.0 / numbers.len() as f64);
            let eps = self.tape.constant(eps);
            let var = self.tape.add(var, eps);
            let deviation = self.tape.sqrt(var);
            for (at, apart) in own.zip(apart) {
                let mut y = self.tape.div(apart, deviation);
                if let Some([weight, bias]) = affine {
                    y = self.tape.mul(y, weight.data[channel]);
                    y = self.tape.add(y, bias.data[channel]);
                }
                data[at] = y;
            }
        }
        Some(Array { shape: x.shape.clone(), data })
    }

    /// The elements of each window of `[N, H, W, C]`.
    fn windows(
        x: &Array,
        kernel: &[usize; 2],
        stride: &[usize; 2],
        padding: &[usize; 2],
    ) -> (Vec<usize>, Vec<Vec<Scalar>>) {
        let side = |a: usize| (x.shape[a + 1] + 2 * padding[a] - kernel[a]) / stride[a] + 1;
        let shape = vec![x.shape[0], side(0), side(1), x.shape[3]];
        let window = |place: &Vec<usize>| {
            let inside = |cell: &Vec<usize>| {
                let row = (place[1] * stride[0] + cell[0]).checked_sub(padding[0])?;
                let column = (place[2] * stride[1] + cell[1]).checked_sub(padding[1])?;
                let fits = row < x.shape[1] && column < x.shape[2];
                fits.then(|| x.at(&[place[0], row, column, place[3]]))
            };
            places(kernel).iter().filter_map(inside).collect()
        };
        let windows = places(&shape).iter().map(window).collect();
        (shape, windows)
    }
}

impl Step {
    /// The result by definition, if no element comes near to what the definition has no derivative
    /// or no small numbers at.
    pub fn define(&self, tape: &mut Tape, v: &[&Array]) -> Option<Array> {
        let x = v[0];
        let mut m = Maker { tape };
        let moved = |m: &mut Maker, shape: &[usize], of: &dyn Fn(&[usize]) -> Option<Scalar>| {
            built(shape, |place| {
                let still = m.tape.constant(0.0);
                Some(of(place).map_or(still, |x| m.tape.copy(x)))
            })
        };
        let with = |place: &[usize], axis: usize, at: usize| {
            let mut place = place.to_vec();
            place[axis] = at;
            x.at(&place)
        };
        match self {
            Step::Add | Step::Sub | Step::Mul | Step::Div | Step::Pow => {
                built(&common(&x.shape, &v[1].shape), |place| {
                    let (a, b) = (x.repeated(place), v[1].repeated(place));
                    let fits = match self {
                        Step::Div => b.dual.value.abs() > LEAST,
                        Step::Pow => a.dual.value > LEAST,
                        _ => true,
                    };
                    let y = match self {
                        Step::Add => m.tape.add(a, b),
                        Step::Sub => m.tape.sub(a, b),
                        Step::Mul => m.tape.mul(a, b),
                        Step::Div => m.tape.div(a, b),
                        _ => {
                            let log = m.tape.ln(a);
                            let power = m.tape.mul(b, log);
                            m.tape.exp(power)
                        }
                    };
                    fits.then_some(y)
                })
            }
            Step::Dot => {
                let pairs = x.data.iter().copied().zip(v[1].data.iter().copied()).collect();
                Some(Array { shape: Vec::new(), data: vec![m.product(pairs)] })
            }

            Step::Reshape(shape) => moved(&mut m, shape, &|place| Some(x.data[flat(place, shape)])),
            Step::Permute(axes) => {
                let shape: Vec<usize> = axes.iter().map(|&axis| x.shape[axis]).collect();
                moved(&mut m, &shape, &|place| {
                    let mut own = place.to_vec();
                    axes.iter().zip(place).for_each(|(&axis, &i)| own[axis] = i);
                    Some(x.at(&own))
                })
            }
            Step::BroadcastTo(shape) => moved(&mut m, shape, &|place| Some(x.repeated(place))),
            Step::SumTo(shape) => {
                let mut terms = vec![Vec::new(); shape.iter().product()];
                for (place, &x) in places(&x.shape).iter().zip(&x.data) {
                    let own = place[place.len() - shape.len()..].iter().zip(shape);
                    let own: Vec<usize> = own.map(|(&i, &len)| i.min(len - 1)).collect();
                    terms[flat(&own, shape)].push(x);
                }
                let data = terms.into_iter().map(|terms| {
                    let sum = m.tape.sum(terms);
                    m.tape.copy(sum)
                });
                Some(Array { shape: shape.clone(), data: data.collect() })
            }
            Step::Slice(starts, ends, steps) => {
                let len = |a: usize| (ends[a] - starts[a]).div_ceil(steps[a]);
                let shape: Vec<usize> = (0..starts.len()).map(len).collect();
                moved(&mut m, &shape, &|place| {
                    let own = |a: usize| starts[a] + place[a] * steps[a];
                    Some(x.at(&(0..place.len()).map(own).collect::<Vec<_>>()))
                })
            }
            Step::Embed(shape, starts, steps) => moved(&mut m, shape, &|place| {
                let own = |a: usize| {
                    let from = place[a].checked_sub(starts[a])?;
                    let i = from / steps[a];
                    (from % steps[a] == 0 && i < x.shape[a]).then_some(i)
                };
                Some(x.at(&(0..place.len()).map(own).collect::<Option<Vec<_>>>()?))
            }),
            Step::Concat(axis) => {
                let mut shape = x.shape.clone();
                shape[*axis] = v.iter().map(|part| part.shape[*axis]).sum();
                moved(&mut m, &shape, &|place| {
                    let mut own = place.to_vec();
                    for part in v {
                        if own[*axis] < part.shape[*axis] {
                            return Some(part.at(&own));
                        }
                        own[*axis] -= part.shape[*axis];
                    }
                    None
                })
            }
            Step::Select(axis, index) => {
                let mut shape = x.shape.clone();
                shape[*axis] = index.len();
                moved(&mut m, &shape, &|place| {
                    Some(with(place, *axis, index[place[*axis]] as usize))
                })
            }
            Step::Gather(axis, index, shape) => moved(&mut m, shape, &|place| {
                Some(with(place, *axis, index[flat(place, shape)] as usize))
            }),
            Step::Put(axis, index, size) => {
                let mut shape = x.shape.clone();
                shape[*axis] = *size;
                built(&shape, |place| {
                    let here = |k: &usize| index[*k] as usize == place[*axis];
                    let terms = (0..index.len()).filter(here).map(|k| with(place, *axis, k));
                    let terms: Vec<Scalar> = terms.map(|x| m.tape.copy(x)).collect();
                    Some(m.tape.sum(terms))
                })
            }

            Step::MaxAxis(axis, keep) => {
                m.reduced(x, &[*axis], *keep, |m, group| greatest(group).map(|x| m.tape.copy(x)))
            }
            Step::SumAxes(axes, keep) => m.reduced(x, axes, *keep, |m, group| {
                let sum = m.tape.sum(group.iter().copied());
                Some(m.tape.copy(sum))
            }),
            Step::MeanAxes(axes, keep) => m.reduced(x, axes, *keep, |m, group| Some(m.mean(group))),
            Step::VarAxes(axes, keep, correction) | Step::StdAxes(axes, keep, correction) => m
                .reduced(x, axes, *keep, |m, group| {
                    let divisor = group.len().checked_sub(*correction).filter(|n| *n > 0)?;
                    let squares = m.deviations(group).1;
                    let var = m.tape.scale(squares, 1.0 / divisor as f64);
                    match self {
                        Step::VarAxes(..) => Some(var),
                        _ => (var.dual.value > 0.1).then(|| m.tape.sqrt(var)),
                    }
                }),
            Step::LogSumExp(axis, keep) => {
                m.reduced(x, &[*axis], *keep, |m, group| Some(m.log_sum_exp(group)))
            }
            Step::LogSoftmax(axis) => m.log_softmax(x, *axis),
            Step::Softmax(axis) => {
                let logs = m.log_softmax(x, *axis)?;
                built(&x.shape, |place| Some(m.tape.exp(logs.at(place))))
            }
            Step::CrossEntropy(target, reduction) => {
                let logs = m.log_softmax(x, 1)?;
                let picked = target.iter().enumerate().map(|(i, &t)| logs.at(&[i, t as usize]));
                let picked: Vec<_> = picked.collect();
                let factor = match reduction {
                    Reduction::Mean => -1.0 / target.len() as f64,
                    Reduction::Sum => -1.0,
                    Reduction::None => {
                        return built(&[target.len()], |i| Some(m.tape.scale(picked[i[0]], -1.0)));
                    }
                };
                let sum = m.tape.sum(picked);
                Some(Array { shape: Vec::new(), data: vec![m.tape.scale(sum, factor)] })
            }
            Step::L2Normalize(axis, eps) => {
                let norms = m.reduced(x, &[*axis], Keep::Keep, |m, group| {
                    let squares = m.product(group.iter().map(|&x| (x, x)).collect());
                    let (value, least) = (squares.dual.value, eps * eps);
                    match value > least {
                        _ if (value - least).abs() < GAP => None,
                        true => (value > 0.1).then(|| m.tape.sqrt(squares)),
                        false => Some(m.tape.constant(*eps)),
                    }
                })?;
                built(&x.shape, |place| Some(m.tape.div(x.at(place), norms.repeated(place))))
            }

            Step::Matmul | Step::MatmulNt | Step::MatmulTn => {
                // Of the last two axes: which is summed over, which stays.
                let (a_sum, b_sum) = match self {
                    Step::Matmul => (1, 0),
                    Step::MatmulNt => (1, 1),
                    _ => (0, 0),
                };
                let (a_lead, a_last) = x.shape.split_at(x.shape.len() - 2);
                let (b_lead, b_last) = v[1].shape.split_at(v[1].shape.len() - 2);
                let shape =
                    [&common(a_lead, b_lead)[..], &[a_last[1 - a_sum], b_last[1 - b_sum]]].concat();
                built(&shape, |place| {
                    let (lead, last) = place.split_at(place.len() - 2);
                    let at = |array: &Array, sum: usize, k: usize, stays: usize| {
                        let last = if sum == 1 { [stays, k] } else { [k, stays] };
                        let skip = lead.len() + 2 - array.shape.len();
                        array.repeated(&[&lead[skip..], &last].concat())
                    };
                    let pair = |k| (at(x, a_sum, k, last[0]), at(v[1], b_sum, k, last[1]));
                    Some(m.product((0..a_last[a_sum]).map(pair).collect()))
                })
            }
            Step::Conv2d(stride, padding) => {
                let (shape, found) = Maker::meetings(&x.shape, &v[1].shape, stride, padding);
                let pairs = found.iter().map(|[i, w, y]| (flat(y, &shape), (x.at(i), v[1].at(w))));
                m.scattered(&shape, pairs.collect())
            }
            Step::ConvInputGrad(shape, stride, padding) => {
                let (_, found) = Maker::meetings(shape, &x.shape, stride, padding);
                let pairs = found.iter().map(|[i, w, y]| (flat(i, shape), (x.at(w), v[1].at(y))));
                m.scattered(shape, pairs.collect())
            }
            Step::ConvWeightGrad(shape, stride, padding) => {
                let (_, found) = Maker::meetings(&x.shape, shape, stride, padding);
                let pairs = found.iter().map(|[i, w, y]| (flat(w, shape), (x.at(i), v[1].at(y))));
                m.scattered(shape, pairs.collect())
            }

            Step::MaxPool(kernel, stride, padding) => {
                let (shape, windows) = Maker::windows(x, kernel, stride, padding);
                let data = windows.iter().map(|w| greatest(w).map(|x| m.tape.copy(x)));
                Some(Array { shape, data: data.collect::<Option<_>>()? })
            }
            Step::AvgPool(kernel, stride, padding, count) => {
                let (shape, windows) = Maker::windows(x, kernel, stride, padding);
                let data = windows.iter().map(|window| {
                    let divisor = match count {
                        CountPad::Include => kernel[0] * kernel[1],
                        CountPad::Exclude => window.len(),
                    };
                    let sum = m.tape.sum(window.iter().copied());
                    m.tape.scale(sum, 1.0 / divisor as f64)
                });
                Some(Array { shape, data: data.collect() })
            }
            Step::GlobalAvgPool => {
                m.reduced(x, &[1, 2], Keep::Drop, |m, group| Some(m.mean(group)))
            }

            Step::Standardize(eps, groups) => m.batch_norm(x, None, *eps, *groups),
            Step::BatchNorm(eps, groups)
            | Step::BatchNormRelu(eps, groups)
            | Step::BatchNormAddRelu(eps, groups)
            | Step::BatchNormMaxPoolRelu(eps, groups) => {
                let mut y = m.batch_norm(x, Some([v[1], v[2]]), *eps, *groups)?;
                match self {
                    Step::BatchNorm(..) => return Some(y),
                    Step::BatchNormAddRelu(..) => {
                        y = built(&x.shape, |at| Some(m.tape.add(y.at(at), v[3].at(at))))?;
                    }
                    Step::BatchNormMaxPoolRelu(..) => {
                        let (shape, windows) = Maker::windows(&y, &[2, 2], &[2, 2], &[0, 0]);
                        let data: Option<_> = windows.iter().map(|w| greatest(w)).collect();
                        y = Array { shape, data: data? };
                    }
                    _ => {}
                }
                let data: Option<_> = y.data.iter().map(|&x| m.relu(x)).collect();
                Some(Array { data: data?, ..y })
            }
            elementwise_step => built(&x.shape, |place| {
                let x = x.at(place);
                Some(m.tape.apply(x, elementwise(elementwise_step, x.dual.value)?))
            }),
        }
    }
}
