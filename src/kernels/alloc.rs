//! stub
use super::Real;
use std::ops::{Deref, DerefMut};
/// stub
pub struct Buffer<T: Real>(Vec<T>);
impl<T: Real> Buffer<T> {
    /// s
    pub fn stale(len: usize) -> Self {
        Buffer(vec![T::ZERO; len])
    }
    /// s
    pub fn from_vec(v: Vec<T>) -> Self {
        Buffer(v)
    }
}
impl<T: Real> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}
impl<T: Real> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
