//! What a store says of a resource that somebody holds or waits for.

use std::time::Duration;

use crate::{
    Resource,
    parties::{Holder, Waiter},
};

/// Why an attempt did not get the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contention {
    /// Attempts on the resource since it was taken, the holder's and this one included: 2 for the first one that
    /// is turned away.
    pub count: u64,
    /// `None` where the holder is a lock-inc 1.2.0 client, which leaves no trace of itself. Of several, the one whose lease
    /// has to end for the attempt to have a chance.
    pub holder: Option<Holder>,
    /// What is left of the holder's lease.
    pub lease_left: Duration,
    /// Which of the resources it is about, where a call asked for several.
    pub resource: Option<Resource>,
    /// The attempt's place in the queue, if it waits or has waited there: 1 for whoever is next.
    pub place: Option<u64>,
}

/// One of those who hold a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// `None` where that is a lock-inc 1.2.0 client.
    pub holder: Option<Holder>,
    /// What is left of its lease.
    pub lease_left: Duration,
}

/// What is known of a resource that somebody holds or waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Who holds it: one, or those who share it.
    pub holders: Vec<Holding>,
    /// Attempts on the resource since it was taken, that one included. 0 where nobody holds it.
    pub count: u64,
    /// In the order in which they will get it.
    pub waiters: Vec<Waiter>,
}
