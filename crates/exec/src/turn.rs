//! A turn of an event loop, in which what is to be sent is gathered and leaves together.
//!
//! Code that has something to send calls [`defer`] with what sends it. That is done at the end of the turn, or, if none
//! has begun, at the end of [`assist`]: all that one batch of tasks puts out leaves in one piece. Tasks themselves do
//! not wait for the end of a turn.

use std::sync::Arc;

use tokio::runtime::Handle;

pub use crate::flush::Flush;
use crate::{local, tasks::assist};

/// What this thread puts off waits for [`end`] from now on. Without effect if it does already.
pub fn begin() {
    local::set_in_turn(true);
}

/// Whether what this thread puts off waits for something: for [`end`], or else for the end of [`assist`].
pub fn is_open() -> bool {
    local::is_in_turn() || local::assists()
}

/// Flushes all that was put off, in order of the first time each, and runs the tasks that this wakes. Within
/// [`assist`], the outermost call does that before it returns.
pub fn end(runtime: &Handle) {
    local::set_in_turn(false);
    assist(runtime, || ());
}

/// Puts off a flush to the end of the turn. What has been put off already is kept once. `false` if no turn is open on
/// this thread, whose caller then flushes by itself.
#[must_use]
pub fn defer(flush: &Arc<dyn Flush>) -> bool {
    local::defer(flush)
}

#[cfg(test)]
mod tests;
