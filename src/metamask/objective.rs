//! The two losses on masked features, and their weighted sum.

use super::Heads;
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::nn::{Mlp, Pass};
use crate::ssl::{BarlowTwins, Loss, barlow_twins};

/// What the networks minimise: `L = w_drr · L_drr + w_con · L_con`.
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
    /// L_drr, not weighted.
    pub drr: Var<T>,
}

impl Objective {
    /// L_con of the (masked) features of two stacked views, `[2N, D]` → `[]`.
    ///
    /// # Panics
    /// If the features do not fit the head, or are not two views.
    #[track_caller]
    pub fn contrastive<T: Real>(
        &self,
        heads: &Heads<T>,
        features: &Var<T>,
        pass: &mut Pass<'_, T>,
    ) -> Var<T> {
        let [z0, z1] = project(&heads.base, features, pass);
        self.base.value(&z0, &z1)
    }

    /// L and its parts, of the masked features of two stacked views, `[2N, D]` → `[]` each.
    ///
    /// # Panics
    /// As [`Objective::contrastive`], or if there is no redundancy head.
    #[track_caller]
    pub fn joint<T: Real>(
        &self,
        heads: &Heads<T>,
        features: &Var<T>,
        pass: &mut Pass<'_, T>,
    ) -> Joint<T> {
        let redundancy = heads.redundancy.as_ref().expect("joint: there is no redundancy head");
        let [z0, z1] = project(redundancy, features, pass);
        let drr = barlow_twins(&z0, &z1, &self.redundancy);
        let con = self.contrastive(heads, features, pass);
        let total = drr.scale(self.w_drr) + con.scale(self.w_con);
        Joint { total, con, drr }
    }
}

/// The projections of view 0 and view 1.
#[track_caller]
fn project<T: Real>(head: &Mlp<T>, features: &Var<T>, pass: &mut Pass<'_, T>) -> [Var<T>; 2] {
    let rows = features.shape()[0];
    assert!(rows.is_multiple_of(2), "two stacked views have an even number of rows, not {rows}");
    let z = head.forward(features, pass);
    [z.rows(0..rows / 2), z.rows(rows / 2..rows)]
}
