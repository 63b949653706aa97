//! Tasks that run where they are woken.
//!
//! A task of tokio's runs on the runtime's thread, whichever thread wakes it. A call from another thread then costs two
//! changes of thread, there and back, which is as much as all the rest of the call. A task of this crate is polled by
//! the thread that wakes it, if that thread [assists](assist) at the moment, and else by the runtime. So a thread of
//! JavaScript's that assists sends a command by itself, and reads the answer by itself if it is the first to notice
//! it; while it is busy with something else, the runtime does all that.
//!
//! # Layout
//!
//! - [`tasks`] starts tasks and runs those that the assisting thread has woken. The state of a task is kept by
//!   `async-task`; this crate decides only where a task that has been woken runs.
//! - [`turn`] gathers what is to be sent. Tasks never wait for the end of a turn of the event loop, but the bytes
//!   that they put out do: they leave together, in few system calls.
//! - `local` is what a thread has of both: its queue of tasks and its list of flushes (`flush`).
//! - [`activity`] counts calls, and lets somebody sleep until the next.
//! - `sync` is the seam between the standard library and loom.
//!
//! # Memory order
//!
//! A task that is woken must see what was written before it was woken, even if it has been scheduled already or runs
//! at that moment. That takes a read-modify-write on both sides. `async-task` has it in the state of a task,
//! `atomic-waker` has it in the slot of a waker, and [`Activity`](activity::Activity) has it in an atomic of its own. The
//! package in `loom/` checks all three with loom: it builds the same code, but with loom's atomics in the place of the
//! real ones, and tries the orders in which threads may meet. `tests/stress.rs` does the same by chance, with millions of
//! wake-ups of real threads.

pub mod activity;
mod flush;
mod local;
mod sync;
pub mod tasks;
pub mod turn;

pub use tasks::{assist, spawn};
