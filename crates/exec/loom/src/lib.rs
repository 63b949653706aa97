//! Model checks of `lock-inc-exec`, which are in `tests/`: loom runs each model once for every order in which its
//! threads may meet, and for every value that a load may return there.
//!
//! ```sh
//! cargo test --manifest-path crates/exec/loom/Cargo.toml
//! ```
//!
//! The code is that of the crate and of its dependencies `async-task` and `atomic-waker`, not a copy of it. What is
//! changed is where they take their atomics from: the crate by its feature `loom`, the two by their feature
//! `portable-atomic` and the package of that name in this folder. It takes no `--cfg loom`, which would change tokio,
//! too.
//!
//! Of what a task or a waker is made of besides atomics, loom sees nothing. A model that wants to know what a thread
//! can see keeps it in an atomic of loom's, and reads and writes that relaxed: all order comes from what is checked.

use std::{
    sync::Arc,
    task::{Wake, Waker},
};

use loom::{
    model::Builder,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Checks a model that would take minutes in full: only those orders in which a thread is interrupted so many times
/// where it could go on. Most mistakes take two.
pub fn check(interruptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(model);
}

/// Whether it was woken, in a model whose thread has nothing else to do but to poll once more.
pub struct Woken(AtomicUsize);

impl Woken {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(0)))
    }

    #[must_use]
    pub fn waker(self: &Arc<Self>) -> Waker {
        self.clone().into()
    }

    /// To be asked when all other threads have ended.
    #[must_use]
    pub fn times(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}
