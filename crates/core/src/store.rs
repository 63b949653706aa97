//! Where locks live, as the locker sees it: a trait, its requests and answers, and what a store tells by itself.

use std::{fmt, future::ready, pin::Pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    contention::{Contention, Inspection},
    error::{Cause, Limit, Result, Unavailable},
    holds::Hold,
    lease::LeaseChange,
    nonce::Nonce,
    parties::Identity,
    resource::Resource,
    terms::Terms,
    time::Moment,
    waiters::QueuedCall,
};

/// A boxed future. The trait is used as `dyn Store`, so its methods cannot be `async fn`; one allocation a call
/// is small beside a round trip.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Until when a caller waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    pub at: Instant,
    /// The time that was given in all, for the error that says it has passed.
    pub limit: Limit,
}

/// Further than anybody waits, and within what an `Instant` can hold.
const FAR_AWAY: Duration = Duration::from_hours(24 * 365 * 30);

impl Deadline {
    pub fn after(limit: Limit) -> Self {
        let now = Instant::now();
        Self { at: now.checked_add(limit.time).unwrap_or(now + FAR_AWAY), limit }
    }

    /// The earlier one of two.
    #[must_use]
    pub(crate) fn earlier(self, other: Option<Self>) -> Self {
        other.filter(|other| other.at < self.at).unwrap_or(self)
    }

    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

/// A wish for a resource. Its nonce stays the same however often it is sent, which makes sending it again safe.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub resource: Resource,
    pub nonce: Nonce,
    pub terms: Terms,
    /// Whether to join the queue while somebody else holds the resource.
    pub waits: bool,
    /// Whether to take it from whoever holds it.
    pub steals: bool,
    /// Whether it is this client that holds the resource, as far as is known.
    pub is_held_here: bool,
}

/// The store's answer to an [`Attempt`].
#[derive(Clone, Debug)]
pub enum Acquired {
    Granted(Grant),
    Contended {
        contention: Contention,
        /// The attempt is in the queue from now on, with this place in the order of arrival. Only if it waits.
        ticket: Option<u64>,
        /// When the command left that was answered.
        sent: Moment,
    },
}

/// The store's answer to several attempts that are made together.
#[derive(Clone, Debug)]
pub enum AllAcquired {
    /// Each has its resource, with this token. `sent`: see [`Grant`].
    Granted { tokens: Vec<u64>, sent: Moment },
    /// This one would not have got its resource, so none of the others has, unless they were `resent`: then an earlier sending may
    /// have taken what is not in the way.
    Contended { index: usize, contention: Contention, resent: bool },
}

#[derive(Clone, Copy, Debug)]
pub struct Grant {
    /// Fencing token.
    pub token: u64,
    /// When the command left that was answered: the lease counts from here. Each sending gives a full lease.
    pub sent: Moment,
}

/// Which grants count: those that so many replicas have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replication {
    /// At least one.
    pub replicas: u32,
    /// For how long the caller waits for them.
    pub limit: Limit,
}

/// What a store knows of replicas that are to have grants.
#[derive(Clone, Debug, Default)]
pub struct Confirmation {
    /// How many have all of the grants, at the least.
    pub replicas: u32,
    /// The store itself has not got this one of them, by its place: it was lost.
    pub lost: Option<usize>,
    /// Why there are no more, where something has said so.
    pub cause: Option<Cause>,
}

/// The lock goes to a call that has waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    pub nonce: Nonce,
    pub token: u64,
    /// Its lease, which may be shorter than what the call has asked for.
    pub lease: Duration,
}

/// Asks about calls that wait for a resource.
#[derive(Clone, Copy, Debug)]
pub struct Poll<'a> {
    pub resource: &'a Resource,
    /// At least one.
    pub waiting: &'a [QueuedCall],
    /// They wait no more: those that have not got the resource are taken out of the queue.
    pub last: bool,
}

/// The store's answer to a [`Poll`].
#[derive(Clone, Debug)]
pub struct Polled {
    /// Polled calls that had not been in the queue; they are now.
    pub missing: u64,
    /// Who holds the resource, if anybody does.
    pub contention: Option<Contention>,
    /// To calls of this client. Their leases count from `sent`.
    pub hand_overs: Vec<HandOver>,
    /// Of a last poll: which places its calls have left, in their order.
    pub places: Vec<Option<u64>>,
    /// When the command left that was answered.
    pub sent: Moment,
}

/// Gives up what an attempt holds, or may hold.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    pub resource: &'a Resource,
    pub nonce: Nonce,
    /// What it has asked for, if it may be in the queue: then it leaves that.
    pub queued: Option<Terms>,
    /// As far as is known here it was granted at once, and nothing has been asked about it since: the store has nothing of it
    /// but the lock.
    pub is_untouched: bool,
}

/// The store's answer to a [`Release`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// The lock was held, and is free now, or somebody else's. If those are other calls of this client: which, and the
    /// moment from which their leases count.
    Yes(Vec<(HandOver, Moment)>),
    /// The nonce held nothing.
    No,
    /// The nonce holds nothing; but the release had to be sent again, so that the first sending may have done it.
    NotAnyMore,
}

/// Asks for a new lease, or whether a lock is still held.
#[derive(Clone, Copy, Debug)]
pub struct Renew<'a> {
    pub resource: &'a Resource,
    pub nonce: Nonce,
    pub token: u64,
    pub change: LeaseChange,
    /// What is left of the lease that it has.
    pub lease_left: Duration,
    /// How many times [`LeaseChange::Exactly`] has been asked for this lock, this time included: such a command that was
    /// held up on its way shortens nothing that was given later.
    pub extensions: u64,
}

/// The store's answer to a [`Renew`].
#[derive(Clone, Copy, Debug)]
pub struct Renewed {
    pub ownership: Ownership,
    /// When the command left that was answered.
    pub sent: Moment,
}

/// How an attempt stands to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    Held,
    /// Nobody holds it: the lock expired or was removed.
    Gone,
    /// Somebody else holds it.
    Taken,
}

/// What a store tells without having been asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// Events about these resources may have been missed: there is another connection, for one.
    Missed(Scope),
    /// The connection is lost, or could not be made.
    Disconnected(Unavailable),
    /// The [number](Nonce::locker) in our nonces is another locker's, too.
    NumberTaken,
    /// The lock with this hash that this attempt of ours had was removed. `token`: its token, if the store knew it; the
    /// attempt may have been granted another one since. `stolen`: whoever has taken it away holds it now.
    Removed { hash: Arc<str>, nonce: Nonce, token: Option<u64>, stolen: bool },
    /// A call that waits for the resource with this hash has got it. `since`: its lease counts from this moment, or a later
    /// one; none where that cannot be told.
    Granted { hash: Arc<str>, hand_over: HandOver, since: Option<Moment> },
}

/// Some of the resources, or all.
#[derive(Clone)]
pub enum Scope {
    All,
    /// Those of which this is true.
    Some(Arc<dyn Fn(&Resource) -> bool + Send + Sync>),
}

impl Scope {
    pub fn has(&self, resource: &Resource) -> bool {
        match self {
            Self::All => true,
            Self::Some(has) => has(resource),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "All",
            Self::Some(_) => "Some",
        })
    }
}

impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::Some(one), Self::Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Scope {}

/// Hears what a store tells.
pub trait StoreEvents: Send + Sync {
    /// Called in whichever thread has the event first, in the order in which the store told them. It must not call the
    /// store in turn: the store may be in the middle of something.
    fn hear(&self, event: StoreEvent);
}

/// A store of locks. All of it is atomic per resource, and all of it may be sent again when an answer is lost.
///
/// An error whose [`outcome_unknown`](crate::error::Error::outcome_unknown) is true leaves it to the caller to
/// cancel.
pub trait Store: Send + Sync + 'static {
    /// From now on there is somebody who hears. Called once, before anything else.
    fn start(&self, events: Arc<dyn StoreEvents>);

    /// Takes the resource if it is free, or joins its queue, in one round trip. Who waits there is told of its turn by
    /// [`StoreEvent::Granted`], by the answer to another call of this client, or by that to a poll.
    fn acquire<'a>(&'a self, attempt: &'a Attempt, deadline: Deadline) -> Answer<'a, Acquired>;

    /// Whether there is one step that takes all these.
    fn takes_together(&self, _resources: &[Resource]) -> bool {
        true
    }

    /// Takes all these resources, which are different ones, or none of them, in one step. None of the attempts waits or steals.
    fn acquire_all<'a>(&'a self, attempts: &'a [Attempt], deadline: Deadline) -> Answer<'a, AllAcquired>;

    /// How many replicas are to have a grant before its caller gets it. `None`: a grant counts at once.
    fn replication(&self) -> Option<Replication> {
        None
    }

    /// Waits until as many replicas have these grants as [`replication`](Self::replication) says, at the latest until the
    /// deadline, or a moment longer where nothing would be known otherwise. Too few are no error. A store without
    /// replicas knows of none.
    fn confirm<'a>(&'a self, _grants: &'a [Hold], _deadline: Deadline) -> Answer<'a, Confirmation> {
        Box::pin(ready(Ok(Confirmation::default())))
    }

    /// Asks about calls that wait for a resource: whether it is their turn, and whether they are still in the queue,
    /// into which they are put if not. A store may take a client for dead that does not poll.
    fn poll<'a>(&'a self, poll: Poll<'a>, deadline: Deadline) -> Answer<'a, Polled>;

    /// Gives up what this nonce holds. It never touches what another nonce holds, so it is also how an attempt of
    /// unknown outcome is cancelled.
    fn release<'a>(&'a self, release: Release<'a>, deadline: Deadline) -> Answer<'a, Released>;

    /// Renews the lease, if this nonce still holds the resource. That also introduces the holder to the store, where it
    /// has to be.
    fn renew<'a>(&'a self, renew: Renew<'a>, deadline: Deadline) -> Answer<'a, Renewed>;

    /// A store may learn who holds a lock only later, so that a short lock costs less: by a [check](LeaseChange::Check),
    /// which is [asked for](Self::renew) after this time.
    fn introduces_after(&self) -> Option<Duration> {
        None
    }

    /// Whether a call that waits for the resource is told of its turn by an event, as things are.
    fn tells(&self, _resource: &Resource) -> bool {
        true
    }

    /// Who holds the resource, and who waits for it.
    fn inspect<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, Option<Inspection>>;

    /// Who holds and who waits for the resources under the prefix: of this locker and of others, as far as they have told. What
    /// began or ended within the last moments may be missing.
    fn list(&self, deadline: Deadline) -> Answer<'_, Vec<(Resource, Inspection)>>;

    /// The lock of this nonce is lost, and not listed any more.
    fn forget(&self, _nonce: Nonce) {}

    /// Who this locker is.
    fn identity(&self) -> &Identity;

    /// Takes the resource from whoever holds it, who is told; `false` if nobody does.
    fn remove<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool>;

    /// Whether anybody holds the resource.
    fn is_locked<'a>(&'a self, resource: &'a Resource, deadline: Deadline) -> Answer<'a, bool>;

    /// Removes every lock under the prefix, whoever holds it; who does is told. `patience` bounds each round trip.
    fn purge(&self, patience: Limit) -> Answer<'_, ()>;

    /// Calls wait from now on, or none does any more: while there are some, events are to be heard soon, even while the
    /// thread that would read them is busy. Each `true` is followed by one `false`, which may come before it.
    fn expect_events(&self, expected: bool);

    /// From now on nothing waits for a connection any more: without one, calls are refused as closed.
    fn begin_close(&self);

    /// Ends the connection. Called once, when the last call has been answered.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// A store that the locker and its background tasks share.
pub type SharedStore = Arc<dyn Store>;
