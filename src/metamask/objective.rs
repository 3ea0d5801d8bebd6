//! The two losses on masked features, and their weighted sum.

use super::{Anchors, Heads, Projections};
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::nn::{Pass, enter_layer};
use crate::ssl::{BarlowTwins, Loss, barlow_twins};

/// What the networks minimise: `L = w_drr · L_drr + w_con · L_con`.
///
/// Networks without a redundancy head have no L_drr: then `L = w_con · L_con`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// L_con: the base method's loss, on its own head. The mask minimises this one.
    pub base: Loss,
    /// L_drr: the redundancy loss, always Barlow Twins, on its own head.
    pub redundancy: BarlowTwins,
    /// Weight of L_con.
    pub w_con: f64,
    /// Weight of L_drr.
    pub w_drr: f64,
}

impl Default for Objective {
    /// The published one: NT-Xent at temperature 0.07 with weight 10, Barlow Twins with weight 1.
    fn default() -> Objective {
        let base = Loss::NtXent { temperature: 0.07 };
        Objective { base, redundancy: BarlowTwins::default(), w_con: 10.0, w_drr: 1.0 }
    }
}

/// The regular objective and its two parts.
#[derive(Clone, Debug)]
pub struct Joint<T: Real> {
    /// L.
    pub total: Var<T>,
    /// L_con, not weighted.
    pub con: Var<T>,
    /// L_drr, not weighted; absent without a redundancy head.
    pub drr: Option<Var<T>>,
}

impl Objective {
    /// L_con of the (masked) features of two stacked views, `[2N, D]` → `[]`.
    ///
    /// # Panics
    /// If the features do not fit the head, are not two views, or if anchors are missing or too
    /// many for the loss.
    #[track_caller]
    pub fn contrastive<T: Real>(
        &self,
        heads: &Heads<T>,
        features: &Var<T>,
        anchors: Option<&Anchors<T>>,
        pass: &mut Pass<'_, T>,
    ) -> Var<T> {
        check_views("contrastive", features);
        self.contrastive_of(&heads.project(features, pass), anchors)
    }

    /// L_con of projections that are there already.
    ///
    /// # Panics
    /// As [`Objective::contrastive`].
    #[track_caller]
    pub fn contrastive_of<T: Real>(
        &self,
        projections: &Projections<T>,
        anchors: Option<&Anchors<T>>,
    ) -> Var<T> {
        enter_layer(&projections.p, "L_con");
        check_views("contrastive_of", &projections.p);
        let [p0, p1] = views(&projections.p);
        self.base.value(&p0, &p1, anchors)
    }

    /// L and its parts, of the masked features of two stacked views, `[2N, D]` → `[]` each.
    ///
    /// Formula: joint-1.
    ///
    /// # Panics
    /// As [`Objective::contrastive`].
    #[track_caller]
    pub fn joint<T: Real>(
        &self,
        heads: &Heads<T>,
        features: &Var<T>,
        anchors: Option<&Anchors<T>>,
        pass: &mut Pass<'_, T>,
    ) -> Joint<T> {
        check_views("joint", features);
        let con = self.contrastive(heads, features, anchors, pass);
        self.joint_of(con, heads, features, pass)
    }

    /// L and its parts where L_con is there already.
    ///
    /// # Panics
    /// If the features do not fit the redundancy head, or are not two views.
    #[track_caller]
    pub fn joint_of<T: Real>(
        &self,
        con: Var<T>,
        heads: &Heads<T>,
        features: &Var<T>,
        pass: &mut Pass<'_, T>,
    ) -> Joint<T> {
        check_views("joint_of", features);
        // Not by `map`: a closure would report itself as the place of a panic.
        let mut drr = None;
        if let Some(head) = &heads.redundancy {
            let [z0, z1] = views(&head.forward(features, pass));
            enter_layer(&z0, "L_drr");
            drr = Some(barlow_twins(&z0, &z1, &self.redundancy));
        }
        enter_layer(&con, "L");
        let weighted = con.scale(self.w_con);
        let total = match &drr {
            Some(drr) => drr.scale(self.w_drr) + weighted,
            None => weighted,
        };
        Joint { total, con, drr }
    }
}

/// Refuses what is not two stacked views.
#[track_caller]
fn check_views<T: Real>(op: &str, stacked: &Var<T>) {
    let fits = stacked.rank() == 2 && stacked.shape()[0] % 2 == 0;
    assert!(fits, "{op}: {:?} is not two stacked views [2N, D]", stacked.shape());
}

/// The rows of view 0 and of view 1.
fn views<T: Real>(stacked: &Var<T>) -> [Var<T>; 2] {
    let rows = stacked.shape()[0];
    [stacked.rows(0..rows / 2), stacked.rows(rows / 2..rows)]
}
