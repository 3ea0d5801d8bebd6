//! The steps of a program, as the crate takes them.

use dimask::autodiff::{CountPad, Keep, Norm, Reduction, Tail, Var, pull_graph};
use dimask::tensor::Tensor;

/// An operation with its settings; the operands stand elsewhere.
#[derive(Clone, Debug)]
pub enum Step {
    Neg,
    Scale(f64),
    Shift(f64),
    Exp,
    Ln,
    Sqrt,
    Tanh,
    Sigmoid,
    Square,
    Recip,
    Abs,
    Relu,
    Clamp(f64, f64),
    Powf(f64),
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Dot,
    Reshape(Vec<usize>),
    Permute(Vec<usize>),
    BroadcastTo(Vec<usize>),
    SumTo(Vec<usize>),
    /// Starts, ends, steps.
    Slice(Vec<usize>, Vec<usize>, Vec<usize>),
    /// Shape, starts, steps.
    Embed(Vec<usize>, Vec<usize>, Vec<usize>),
    Concat(usize),
    Select(usize, Vec<u32>),
    Gather(usize, Vec<u32>, Vec<usize>),
    /// The adjoint of a select from `size` slices.
    Put(usize, Vec<u32>, usize),
    MaxAxis(usize, Keep),
    SumAxes(Vec<usize>, Keep),
    MeanAxes(Vec<usize>, Keep),
    VarAxes(Vec<usize>, Keep, usize),
    StdAxes(Vec<usize>, Keep, usize),
    LogSumExp(usize, Keep),
    Softmax(usize),
    LogSoftmax(usize),
    CrossEntropy(Vec<u32>, Reduction),
    L2Normalize(usize, f64),
    Matmul,
    MatmulNt,
    MatmulTn,
    Conv2d([usize; 2], [usize; 2]),
    /// The adjoint in the image, whose shape is given; of weight and cotangent.
    ConvInputGrad(Vec<usize>, [usize; 2], [usize; 2]),
    /// The adjoint in the weight, whose shape is given; of image and cotangent.
    ConvWeightGrad(Vec<usize>, [usize; 2], [usize; 2]),
    MaxPool([usize; 2], [usize; 2], [usize; 2]),
    AvgPool([usize; 2], [usize; 2], [usize; 2], CountPad),
    GlobalAvgPool,
    BatchNorm(f64, usize),
    BatchNormRelu(f64, usize),
    BatchNormAddRelu(f64, usize),
    BatchNormMaxPoolRelu(f64, usize),
    Standardize(f64, usize),
}

impl Step {
    /// The operation's name, without its settings.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or(&text).to_string()
    }

    /// The crate's result.
    pub fn take(&self, v: &[&Var<f64>]) -> Var<f64> {
        let x = v[0];
        // What an operation gives to a variable that is nowhere else: its adjoint, recorded.
        let adjoint = |shape: &[usize], of: &dyn Fn(&Var<f64>) -> Var<f64>, g: &Var<f64>| {
            let hidden = Var::leaf(Tensor::zeros(shape));
            pull_graph(&[(&of(&hidden), g)], &[&hidden]).remove(0)
        };
        let batch_norm =
            |eps, groups, tail| x.batch_norm(Norm { tail, ..Norm::new(v[1], v[2], eps, groups) }).y;
        match self {
            Step::Neg => -x,
            Step::Scale(factor) => x.scale(*factor),
            Step::Shift(term) => x.shift(*term),
            Step::Exp => x.exp(),
            Step::Ln => x.ln(),
            Step::Sqrt => x.sqrt(),
            Step::Tanh => x.tanh(),
            Step::Sigmoid => x.sigmoid(),
            Step::Square => x.square(),
            Step::Recip => x.recip(),
            Step::Abs => x.abs(),
            Step::Relu => x.relu(),
            Step::Clamp(low, high) => x.clamp(Some(*low), Some(*high)),
            Step::Powf(exponent) => x.powf(*exponent),
            Step::Add => x + v[1],
            Step::Sub => x - v[1],
            Step::Mul => x * v[1],
            Step::Div => x / v[1],
            Step::Pow => x.pow(v[1]),
            Step::Dot => x.dot(v[1]),
            Step::Reshape(shape) => x.reshape(shape),
            Step::Permute(axes) => x.permute(axes),
            Step::BroadcastTo(shape) => x.broadcast_to(shape),
            Step::SumTo(shape) => x.sum_to(shape),
            Step::Slice(starts, ends, steps) => x.slice(starts, ends, steps),
            Step::Embed(shape, starts, steps) => x.embed(shape, starts, steps),
            Step::Concat(axis) => Var::concat(v, *axis),
            Step::Select(axis, index) => x.index_select(*axis, index),
            Step::Gather(axis, index, shape) => x.gather(*axis, index, shape),
            Step::Put(axis, index, size) => {
                let mut shape = x.shape().to_vec();
                shape[*axis] = *size;
                adjoint(&shape, &|hidden| hidden.index_select(*axis, index), x)
            }
            Step::MaxAxis(axis, keep) => x.max_axis(*axis, *keep),
            Step::SumAxes(axes, keep) => x.sum_axes(axes, *keep),
            Step::MeanAxes(axes, keep) => x.mean_axes(axes, *keep),
            Step::VarAxes(axes, keep, correction) => x.var_axes(axes, *keep, *correction),
            Step::StdAxes(axes, keep, correction) => x.std_axes(axes, *keep, *correction),
            Step::LogSumExp(axis, keep) => x.logsumexp(*axis, *keep),
            Step::Softmax(axis) => x.softmax(*axis),
            Step::LogSoftmax(axis) => x.log_softmax(*axis),
            Step::CrossEntropy(target, reduction) => x.cross_entropy(target, *reduction),
            Step::L2Normalize(axis, eps) => x.l2_normalize(*axis, *eps),
            Step::Matmul => x.matmul(v[1]),
            Step::MatmulNt => x.matmul_nt(v[1]),
            Step::MatmulTn => x.matmul_tn(v[1]),
            Step::Conv2d(stride, padding) => x.conv2d(v[1], *stride, *padding),
            Step::ConvInputGrad(shape, stride, padding) => {
                adjoint(shape, &|hidden| hidden.conv2d(x, *stride, *padding), v[1])
            }
            Step::ConvWeightGrad(shape, stride, padding) => {
                adjoint(shape, &|hidden| x.conv2d(hidden, *stride, *padding), v[1])
            }
            Step::MaxPool(kernel, stride, padding) => x.max_pool2d(*kernel, *stride, *padding),
            Step::AvgPool(kernel, stride, padding, count) => {
                x.avg_pool2d(*kernel, *stride, *padding, *count)
            }
            Step::GlobalAvgPool => x.global_avg_pool2d(),
            Step::BatchNorm(eps, groups) => batch_norm(*eps, *groups, Tail::Nothing),
            Step::BatchNormRelu(eps, groups) => batch_norm(*eps, *groups, Tail::Relu),
            Step::BatchNormAddRelu(eps, groups) => batch_norm(*eps, *groups, Tail::AddRelu(v[3])),
            Step::BatchNormMaxPoolRelu(eps, groups) => batch_norm(*eps, *groups, Tail::MaxPoolRelu),
            Step::Standardize(eps, groups) => x.standardize(*eps, *groups).y,
        }
    }
}
