//! The atomic type that `async-task` and `atomic-waker` take from `portable-atomic`, on loom.

use std::sync::{OnceLock, atomic::Ordering};

use loom::sync::atomic::AtomicUsize as Checked;

/// Loom's own cannot be made by a `const fn`, as these crates want. So this one is made when it is used first. To loom,
/// that is a write that all other uses must come after: a model uses each once before it starts threads.
pub struct AtomicUsize {
    initial: usize,
    checked: OnceLock<Checked>,
}

impl AtomicUsize {
    pub const fn new(initial: usize) -> Self {
        Self { initial, checked: OnceLock::new() }
    }

    #[track_caller]
    fn checked(&self) -> &Checked {
        self.checked.get_or_init(|| Checked::new(self.initial))
    }

    #[track_caller]
    pub fn load(&self, order: Ordering) -> usize {
        self.checked().load(order)
    }

    #[track_caller]
    pub fn store(&self, value: usize, order: Ordering) {
        self.checked().store(value, order);
    }

    #[track_caller]
    pub fn swap(&self, value: usize, order: Ordering) -> usize {
        self.checked().swap(value, order)
    }

    #[track_caller]
    pub fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        self.checked().fetch_add(value, order)
    }

    #[track_caller]
    pub fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        self.checked().fetch_sub(value, order)
    }

    #[track_caller]
    pub fn fetch_and(&self, value: usize, order: Ordering) -> usize {
        self.checked().fetch_and(value, order)
    }

    #[track_caller]
    pub fn fetch_or(&self, value: usize, order: Ordering) -> usize {
        self.checked().fetch_or(value, order)
    }

    #[track_caller]
    pub fn compare_exchange(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        self.checked().compare_exchange(current, new, success, failure)
    }

    #[track_caller]
    pub fn compare_exchange_weak(
        &self,
        current: usize,
        new: usize,
        success: Ordering,
        failure: Ordering,
    ) -> Result<usize, usize> {
        self.checked().compare_exchange_weak(current, new, success, failure)
    }
}
