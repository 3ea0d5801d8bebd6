//! An encoder on several ranks, each of which has a part of the batch.

use super::pass::Mode;
use super::{Encode, LayerMoments, Layout, Module, Pass};
use crate::autodiff::Var;
use crate::comm::Comm;
use crate::kernels::Real;

/// Which part of a batch a batch-norm in the encoder takes its mean and variance from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BatchNormOver {
    /// All of it, on whatever rank: what one process computes.
    #[default]
    AllRanks,
    /// The part on its own rank. The moments that a pass notes are the mean over the ranks.
    EachRank,
}

/// An encoder whose batch lies on several ranks and whose features every rank gets, of all images.
///
/// It takes this rank's images, `[G · n, ..]`, and returns all features, `[G · size · n, D]`, in
/// each of the pass's G views those of rank 0 first: the features that one process computes for the
/// whole batch. The parameters are the same on all ranks, and so are their gradients, in which the
/// contributions of all ranks are added up; so whatever is computed from the features and
/// differentiated, to any order and in any mode, is the same on every rank and is what it is on
/// one. What follows the encoder needs to know nothing of ranks, and every rank computes it.
///
/// For what `replicate` and `all_gather` are in derivatives, see
/// [`Var::replicate`] and the table above it.
#[derive(Clone, Debug)]
pub struct DataParallel<T: Real, E> {
    /// The encoder; its parameters are the same on all ranks.
    pub encoder: E,
    /// The ranks.
    pub comm: Comm<T>,
    /// Where batch-norm's statistics come from.
    pub batch_norm: BatchNormOver,
}

impl<T: Real, E: Module<T>> Module<T> for DataParallel<T, E> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let (encoder, comm) = (self.encoder.map_params(f), self.comm.clone());
        DataParallel { encoder, comm, batch_norm: self.batch_norm }
    }
}

impl<T: Real, E: Encode<T>> Encode<T> for DataParallel<T, E> {
    fn features(&self) -> usize {
        self.encoder.features()
    }

    fn ranks(&self) -> usize {
        self.comm.size()
    }

    #[track_caller]
    fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        let comm = &self.comm;
        let encoder = self.encoder.map_params(&mut |_, var, _| var.replicate(comm));
        let Mode::Train { groups, moments, .. } = pass.mode() else {
            return encoder.forward(x, pass).all_gather(comm);
        };
        let views = *groups;
        let fits = x.shape().first().is_some_and(|rows| rows % views == 0);
        assert!(fits, "data_parallel: {views} views of shape {:?}", x.shape());
        let over_all = self.batch_norm == BatchNormOver::AllRanks;
        let mut own = Pass::train_over(views, over_all.then(|| comm.clone()));
        let features = encoder.forward(x, &mut own);
        let mut seen = own.into_moments();
        if !over_all {
            average(&mut seen, comm);
        }
        moments.extend(seen);
        let (shape, size) = (features.shape(), comm.size());
        let (rows, features_of) = (shape[0] / views, shape[1]);
        // Rank by rank as they come, then view by view.
        let gathered = features.all_gather(comm).reshape(&[size, views, rows, features_of]);
        gathered.transpose(0, 1).reshape(&[views * size * rows, features_of])
    }
}

/// Makes each moment its mean over the ranks.
fn average<T: Real>(layers: &mut [LayerMoments<T>], comm: &Comm<T>) {
    let mut all = Vec::new();
    for LayerMoments { mean, var, .. } in &*layers {
        all.extend_from_slice(mean.as_slice());
        all.extend_from_slice(var.as_slice());
    }
    comm.all_reduce_sum(&mut all);
    let size = T::from_usize(comm.size());
    let mut means = all.into_iter().map(|sum| sum / size);
    for LayerMoments { mean, var, .. } in layers {
        for value in mean.make_mut().iter_mut().chain(var.make_mut()) {
            *value = means.next().expect("as many as were added up");
        }
    }
}
