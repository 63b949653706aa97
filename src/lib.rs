//! Distributed locks for Node.js on Redis.
//!
//! # Layout
//!
//! Dependencies point one way: `node -> locker -> driver -> core`.
//!
//! * [`core`]: the rules of a lock, pure. No I/O, no tasks; the time and randomness it needs are arguments.
//! * [`driver`]: one trait, [`driver::Driver`], and the two places where locks can live: `redis` and `memory`.
//! * [`locker`]: runs a driver: retries, holds, background cancels, shutdown.
//! * `node`: the only code that knows N-API: exports, arguments, promises, errors.
//! * [`options`]: validated settings, and their defaults.
//! * [`random`]: randomness from the operating system.
//! * [`tasks`]: tasks that run where they are woken, so that a call need not change threads.
//! * [`error`]: everything that can be rejected with, each with a stable code.

pub mod core;
pub mod driver;
pub mod error;
pub mod locker;
// Its functions are called by Node only, which a Rust test does not have.
#[cfg(not(test))]
mod node;
pub mod options;
pub mod random;
pub mod tasks;
