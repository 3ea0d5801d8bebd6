//! Numbers that are added up over the ranks in buckets, each on its way as soon as it is full.

use super::{Comm, Pending};
use crate::kernels::Real;

/// How many numbers a bucket has at least when it goes off; the last may have fewer. A megabyte in
/// single precision.
///
/// With smaller buckets a sum is on its way earlier, with larger ones fewer exchanges wait.
pub const BUCKET: usize = 256 * 1024;

/// Whose numbers lie one after the other in a bucket, and how many each has.
type Places<P> = Vec<(P, usize)>;

/// Buckets of numbers, those of each place one after the other; every rank adds for the same places
/// in the same order.
pub struct Buckets<T, P> {
    /// The bucket that is being filled.
    numbers: Vec<T>,
    places: Places<P>,
    comm: Option<Comm<T>>,
    under_way: Vec<(Pending<Vec<T>>, Places<P>)>,
}

impl<T: Real, P> Default for Buckets<T, P> {
    fn default() -> Self {
        Buckets { numbers: Vec::new(), places: Vec::new(), comm: None, under_way: Vec::new() }
    }
}

impl<T: Real, P> Buckets<T, P> {
    /// Takes this rank's numbers for `place`; a full bucket goes off.
    pub fn add(&mut self, comm: &Comm<T>, place: P, numbers: &[T]) {
        if self.comm.as_ref().is_some_and(|other| !std::ptr::addr_eq(&**other, &**comm)) {
            self.send();
        }
        self.comm = Some(comm.clone());
        self.numbers.extend_from_slice(numbers);
        self.places.push((place, numbers.len()));
        if self.numbers.len() >= BUCKET {
            self.send();
        }
    }

    fn send(&mut self) {
        if let Some(comm) = self.comm.take() {
            let sum = comm.start_sum(std::mem::take(&mut self.numbers));
            self.under_way.push((sum, std::mem::take(&mut self.places)));
        }
    }

    /// The places whose sums have not been handed out.
    pub fn places(&self) -> impl Iterator<Item = &P> {
        let under_way = self.under_way.iter().flat_map(|(_, places)| places);
        under_way.chain(&self.places).map(|(place, _)| place)
    }

    /// The sums, as soon as all are there.
    pub fn finish(&mut self, mut take: impl FnMut(P, &[T])) {
        self.send();
        for (sum, places) in self.under_way.drain(..) {
            let sum = sum.wait();
            let mut rest = sum.as_slice();
            for (place, len) in places {
                let (numbers, after) = rest.split_at(len);
                take(place, numbers);
                rest = after;
            }
        }
    }
}
