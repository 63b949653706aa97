//! The rules of a lock, and the locker that keeps them.
//!
//! There is no I/O here, no clock and no chance: a [`Store`](store::Store), a [`Clock`](time::Clock) and a
//! [`Random`](random::Random) are given, so that all of it runs in simulated time, too.
//!
//! # Layout
//!
//! * [`locker`]: takes, keeps and gives up locks through a store. All else serves it.
//! * [`store`]: where locks live: the trait, a request for each operation, and events.
//! * [`holds`], [`lease`]: what a locker holds, for how long it may rely on that, and when to renew it.
//! * [`waiters`]: which of its calls wait, and when to ask about them.
//! * [`resource`], [`nonce`], [`contention`]: what is locked, by which attempt, and who is in the way.
//! * [`time`], [`deadlines`], [`backoff`], [`random`]: moments, what is due when, and how long to pause.
//! * [`options`], [`error`]: settings after validation, and everything that a call can fail with.

pub mod backoff;
pub mod contention;
pub mod deadlines;
pub mod error;
pub mod holds;
pub mod lease;
pub mod locker;
pub mod nonce;
pub mod options;
pub mod random;
pub mod resource;
pub mod store;
pub mod time;
pub mod waiters;

pub use backoff::Backoff;
pub use contention::{Contention, Holder, Identity, Inspection, Waiter, record};
pub use holds::{Due, Hold, Holds};
pub use lease::{Lease, Renewal, RenewalKind, Renewing};
pub use nonce::{Nonce, Nonces};
pub use random::Random;
pub use resource::Resource;
pub use time::{Clock, Moment, StoreClock};
pub use waiters::{Queued, Waiters};
