//! The rules of a lock, without I/O: what a resource is called, who holds it, and for how long.

pub mod backoff;
pub mod clock;
pub mod contention;
mod deadlines;
pub mod holds;
pub mod lease;
pub mod nonce;
pub mod resource;
pub mod table;
pub mod waiters;

pub use backoff::Backoff;
pub use clock::{Moment, StoreClock};
pub use contention::{Contention, Holder, Identity, Inspection, Waiter, record};
pub use holds::{Due, Hold, Holds};
pub use lease::{Lease, Renewal, Renewing};
pub use nonce::{Nonce, Nonces};
pub use resource::Resource;
pub use table::{LockTable, Standing};
pub use waiters::{Queued, Waiters};
