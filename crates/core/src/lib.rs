//! The rules of a lock, and the locker that keeps them.
//!
//! There is no I/O here: a [`Store`](store::Store) is given, and so are the [`Clock`] of leases and the source of
//! randomness, a [`Random`]. Deadlines, sleeps and backoffs run on tokio's timers, which tests pause: so all of it
//! runs in simulated time, too.
//!
//! # Layout
//!
//! * [`locker`]: takes, keeps and gives up locks through a store. All else serves it.
//! * [`store`]: where locks live: the trait, its requests and answers, and events.
//! * [`holds`], [`lease`]: what a locker holds, for how long it may rely on that, and when to renew it.
//! * [`waiters`]: which of its calls wait, and when to ask about them.
//! * [`resource`], [`nonce`], [`terms`]: what is locked, by which attempt, and what that asks for.
//! * [`parties`], [`contention`]: who holds it and who waits, by the store's records, and who is in the way.
//! * [`time`], [`timer`], [`deadlines`], [`backoff`], [`random`]: moments, sleeping until one, what is due when,
//!   and how long to pause.
//! * [`mutex`]: std's, whichever thread has panicked.
//! * [`options`], [`error`]: settings after validation, and everything that a call can fail with.

mod backoff;
mod contention;
pub mod deadlines;
pub mod error;
mod holds;
mod lease;
pub mod locker;
mod mutex;
mod nonce;
pub mod options;
mod parties;
mod random;
pub mod resource;
pub mod store;
mod terms;
mod time;
mod timer;
mod waiters;

pub use backoff::Backoff;
pub use contention::{Contention, Holding, Inspection};
pub use holds::Hold;
pub use lease::LeaseChange;
pub use mutex::lock;
pub use nonce::{Nonce, Nonces};
pub use parties::{Holder, Identity, Waiter, record, summary};
pub use random::Random;
pub use resource::Resource;
pub use terms::{Mode, Terms};
pub use time::{Clock, Moment, StoreClock};
pub use timer::Timer;
pub use waiters::QueuedCall;
