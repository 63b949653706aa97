//! What a store says of a resource that somebody holds or waits for.

use std::time::Duration;

use crate::parties::{Holder, Waiter};

/// Why an attempt did not get the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contention {
    /// Attempts on the resource since it was taken, the holder's and this one included: 2 for the first one that
    /// is turned away.
    pub count: u64,
    /// `None` where the holder is a lock-inc 1.2.0 client, which leaves no trace of itself.
    pub holder: Option<Holder>,
    /// What is left of the holder's lease.
    pub lease_left: Duration,
    /// The attempt's place in the queue, if it waits or has waited there: 1 for whoever is next.
    pub place: Option<u64>,
}

/// What is known of a resource that somebody holds or waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Who holds it.
    pub holding: Option<Contention>,
    /// In the order in which they will get it.
    pub waiters: Vec<Waiter>,
}
