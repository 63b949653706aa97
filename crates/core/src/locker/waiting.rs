//! Calls that wait: they join the store's queue, and are told of their turn.

use std::{
    num::NonZeroU64,
    slice,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::OptionFuture;
use tokio::{
    sync::oneshot,
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{Event, Locker, acquire::granted_too_late, alarm::Alarm, hand_over::MOST_LATE_GRANTS};
use crate::{
    Contention, Hold, Moment, Nonce, QueuedCall, Resource,
    error::{Error, Limit, Result},
    lease::Lease,
    mutex::lock,
    options::{LockOptions, Wait},
    store::{Acquired, Attempt, Deadline, Grant, SharedStore},
    waiters::{SHORTEST_POLL, Waiters, poll_after},
};

/// In less time an answer cannot be expected from every store that is well.
pub(super) const ENOUGH_TO_ASK: Duration = Duration::from_millis(50);

/// In so much time it can.
const PLENTY_TO_ASK: Duration = Duration::from_millis(500);

/// The calls that wait. When one of them is to be asked about the alarm rings, and the store knows whether there are some.
pub(super) struct WaitingCalls {
    /// std's Mutex: held for a few instructions, never over an await.
    waiters: Mutex<Waiters<WaitingCall>>,
    alarm: Arc<Alarm>,
    store: SharedStore,
}

/// What is kept of a waiting call.
pub(super) struct WaitingCall {
    pub(super) options: LockOptions,
    pub(super) outcome: oneshot::Sender<WaitOutcome>,
    /// How often it has been granted the lock too late to rely on that.
    pub(super) late_grants: u8,
}

/// What comes of waiting. Boxed, as room is kept for it from the beginning.
type WaitOutcome = Result<Box<Given>>;

/// What a call has got, and what it has asked for.
pub(super) struct Given {
    pub(super) hold: Hold,
    pub(super) options: LockOptions,
}

impl WaitingCalls {
    pub(super) fn new(alarm: Arc<Alarm>, store: SharedStore) -> Self {
        Self { waiters: Mutex::default(), alarm, store }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Waiters<WaitingCall>> {
        lock(&self.waiters)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Waiters<WaitingCall>) -> T) -> T {
        let mut waiters = self.lock();
        let waited = !waiters.is_empty();
        let result = change(&mut waiters);
        let (next, waits) = (waiters.next_due(), !waiters.is_empty());
        drop(waiters);
        if waits != waited {
            self.store.expect_events(waits);
        }
        if let Some(next) = next {
            self.alarm.ring_by(next);
        }
        result
    }

    pub(super) fn next_due(&self) -> Option<Moment> {
        self.lock().next_due()
    }

    /// Tells these that waiting is of no use.
    pub(super) fn refuse(&self, nonces: Vec<Nonce>, error: &Error) {
        // All of them before one leaves the store's queue, which may bring the turn of another one.
        let taken = self
            .change(|waiters| nonces.into_iter().filter_map(|nonce| waiters.take(nonce)).collect::<Vec<_>>());
        for (_, call) in taken {
            // Whoever is gone needs no error.
            let _ = call.outcome.send(Err(error.clone()));
        }
    }
}

/// A call that waits, from its first attempt to its end.
struct PendingAcquire {
    locker: Arc<Locker>,
    attempt: Attempt,
    interval: Duration,
    /// For how long it waits, if that is limited.
    patience: Option<Deadline>,
    /// Comes when it is this call's turn, or when waiting has become of no use.
    outcome: oneshot::Receiver<WaitOutcome>,
    /// It may be in the store's queue, or have been granted the lock without its being known.
    needs_cancel: bool,
    /// Whether it is one of several, which are confirmed together.
    is_part: bool,
    /// What the listener knows it by.
    call: Option<NonZeroU64>,
}

/// The answer that has put a call into the queue.
struct JoinAnswer {
    ticket: u64,
    contention: Contention,
    since: Moment,
    /// How long it took.
    round_trip: Duration,
}

enum Joined {
    Granted(Box<Given>),
    /// With what is of use when the patience of the call is over, if ever.
    Queue(Option<Box<JoinAnswer>>),
}

impl Locker {
    /// Takes the resource. While somebody else holds it, waits for as long as the options allow, until `cancelled`.
    pub fn lock_or_wait(
        self: Arc<Self>,
        resource: Resource,
        options: LockOptions,
        cancelled: Option<CancellationToken>,
    ) -> impl Future<Output = Result<Hold>> {
        self.wait_for(resource, options, cancelled, false)
    }

    /// The same. `is_part`: of several, which are confirmed when all are there.
    pub(super) fn wait_for(
        self: Arc<Self>,
        resource: Resource,
        options: LockOptions,
        cancelled: Option<CancellationToken>,
        is_part: bool,
    ) -> impl Future<Output = Result<Hold>> {
        let patience = match options.wait {
            Wait::AtMost(time) => Some(Deadline::after(Limit { time, option: "options.timeout" })),
            Wait::No | Wait::Forever => None,
        };
        let attempt = self.attempt(resource, &options);
        let outcome = self.begin_waiting(&attempt, options);
        let interval = options.retry_interval;
        let mut pending = PendingAcquire {
            locker: self,
            attempt,
            interval,
            patience,
            outcome,
            needs_cancel: false,
            is_part,
            call: options.call,
        };
        // Boxed, as are other things that not every call needs: what waits for long should be small.
        let mut cancelled = cancelled.map(|cancelled| Box::pin(cancelled.cancelled_owned()));
        async move {
            let cancelled = OptionFuture::from(cancelled.as_mut());
            tokio::select! {
                biased;
                Some(()) = cancelled => Err(Error::Cancelled),
                result = pending.complete() => result,
            }
        }
    }

    /// From here on a grant may come for the attempt.
    fn begin_waiting(&self, attempt: &Attempt, options: LockOptions) -> oneshot::Receiver<WaitOutcome> {
        let (outcome, receiver) = oneshot::channel();
        let (resource, nonce, terms) = (attempt.resource.clone(), attempt.nonce, attempt.terms);
        self.waiting.change(|waiters| {
            waiters.join(resource, nonce, terms, WaitingCall { options, outcome, late_grants: 0 });
        });
        receiver
    }

    /// Whoever is in the queue waits no more, and whoever comes into it finds that the locker is closing.
    pub(super) fn send_waiters_away(&self) {
        let nonces = self.waiting.lock().in_queue();
        self.waiting.refuse(nonces, &Error::Closed);
    }
}

impl PendingAcquire {
    async fn complete(&mut self) -> Result<Hold> {
        for _ in 0..MOST_LATE_GRANTS {
            let given = self.wait().await?;
            if self.is_confirmed(&given.hold).await? {
                return Ok(given.hold);
            }
            // Lost since it was granted, while this task did not run, or until replicas had it.
            self.start_anew(*given);
        }
        Err(granted_too_late())
    }

    /// However the lock has come, it counts when it is confirmed. `false` if it was lost since it was granted.
    async fn is_confirmed(&self, hold: &Hold) -> Result<bool> {
        let granted = slice::from_ref(hold);
        if !self.is_part {
            let call = self.patience.unwrap_or_else(|| self.locker.deadline());
            if let Some(confirming) = self.locker.confirming(granted, call, None) {
                return confirming.await;
            }
        }
        Ok(self.locker.are_running(granted))
    }

    /// As another attempt: what is given back is so by the name of the old one.
    fn start_anew(&mut self, lost: Given) {
        self.locker.abandon(lost.hold.nonce);
        self.attempt.nonce = self.locker.new_nonce(self.attempt.terms.mode);
        self.outcome = self.locker.begin_waiting(&self.attempt, lost.options);
    }

    async fn wait(&mut self) -> WaitOutcome {
        let answer = match Box::pin(self.join()).await? {
            Joined::Granted(given) => return Ok(given),
            Joined::Queue(answer) => answer,
        };
        if self.locker.shutdown.has_begun() {
            return Err(Error::Closed);
        }
        match self.patience.zip(answer) {
            None => {
                let outcome = (&mut self.outcome).await;
                self.on_outcome(outcome)
            }
            Some((patience, answer)) => Box::pin(self.wait_until(patience, *answer)).await,
        }
    }

    async fn wait_until(&mut self, patience: Deadline, joined: JoinAnswer) -> WaitOutcome {
        tokio::select! {
            outcome = &mut self.outcome => self.on_outcome(outcome),
            () = sleep_until(patience.at) => Box::pin(self.leave_queue(joined, patience.limit)).await,
        }
    }

    /// Asks for the lock until it is there or the call is in the queue.
    async fn join(&mut self) -> Result<Joined> {
        let locker = self.locker.clone();
        let attempt = self.attempt.clone();
        let (patience, interval) = (self.patience, self.interval);
        loop {
            let deadline = locker.deadline().earlier(patience);
            let before = std::mem::replace(&mut self.needs_cancel, true);
            let answer = tokio::select! {
                answer = locker.store.acquire(&attempt, deadline) => answer,
                // Of an earlier sending, whose answer was lost.
                outcome = &mut self.outcome => return self.on_outcome(outcome).map(Joined::Granted),
            };
            let error = match answer {
                Ok(Acquired::Granted(Grant { token, sent })) => {
                    let lease = Lease { sent, length: attempt.terms.lease };
                    if locker.on_acquired(&attempt.resource, attempt.nonce, token, lease) {
                        let outcome = (&mut self.outcome).await;
                        return self.on_outcome(outcome).map(Joined::Granted);
                    }
                    granted_too_late()
                }
                Ok(Acquired::Contended { contention, ticket: Some(ticket), sent }) => {
                    let now = locker.now();
                    let pause = locker.poll_pause(&attempt.resource, &contention, interval);
                    let nonce = attempt.nonce;
                    self.tell_waiting(&contention);
                    locker.waiting.change(|waiters| waiters.enter_queue(nonce, ticket, interval, now, pause));
                    let round_trip = sent.until(now);
                    // Whoever waits for ever has no need to say who was in the way.
                    let answer = || Box::new(JoinAnswer { ticket, contention, since: now, round_trip });
                    return Ok(Joined::Queue(patience.map(|_| answer())));
                }
                Ok(Acquired::Contended { .. }) => Error::Internal,
                Err(error) => {
                    self.needs_cancel = before || error.outcome_unknown();
                    error
                }
            };
            let out_of_patience = patience.is_some_and(|patience| patience.left().is_zero());
            if error.is_final() || out_of_patience {
                return Err(error);
            }
            let pause = interval.max(SHORTEST_POLL);
            tokio::select! {
                () = locker.shutdown.begun() => return Err(Error::Closed),
                () = sleep(patience.map_or(pause, |patience| pause.min(patience.left()))) => {}
                outcome = &mut self.outcome => return self.on_outcome(outcome).map(Joined::Granted),
            }
        }
    }

    fn tell_waiting(&self, contention: &Contention) {
        let Some(call) = self.call else { return };
        let contention = Contention { resource: Some(self.attempt.resource.clone()), ..contention.clone() };
        self.locker.listener.tell(Event::Waiting(call, Box::new(contention)));
    }

    /// The patience is over: a last poll, which also takes the call out of the queue and says who is in the way now.
    async fn leave_queue(&mut self, joined: JoinAnswer, limit: Limit) -> WaitOutcome {
        let Attempt { resource, nonce, terms, .. } = self.attempt.clone();
        let enough = limit.time.clamp(ENOUGH_TO_ASK, PLENTY_TO_ASK).max(joined.round_trip * 4);
        let deadline = Deadline { limit, ..Deadline::after(Limit { time: enough, ..limit }) };
        let call = QueuedCall { nonce, terms, ticket: joined.ticket };
        let mut answer = self.locker.poll_last(resource, call, deadline);
        let answer = tokio::select! {
            answer = &mut answer => answer.unwrap_or(Err(Error::Internal)),
            outcome = &mut self.outcome => return self.on_outcome(outcome),
        };
        if let Ok(outcome) = self.outcome.try_recv() {
            return self.on_outcome(Ok(outcome));
        }
        match answer {
            Ok(last) if last.is_granted => Err(granted_too_late()),
            Ok(last) => {
                self.needs_cancel = false;
                Err(Error::Locked(last.contention.unwrap_or(joined.contention).into()))
            }
            // In so short a time no answer says nothing: what is known is who holds it.
            Err(Error::Unavailable(_)) if joined.since.until(self.locker.now()) < PLENTY_TO_ASK => {
                Err(Error::Locked(joined.contention.into()))
            }
            Err(error) => Err(error),
        }
    }

    /// What has become of this call's waiting. Without a word the locker is no more.
    fn on_outcome(&mut self, outcome: Result<WaitOutcome, oneshot::error::RecvError>) -> WaitOutcome {
        let outcome = outcome.unwrap_or(Err(Error::Internal));
        self.needs_cancel = outcome.is_err();
        outcome
    }
}

impl Locker {
    /// When to ask again, after an answer that says who is in the way.
    pub(super) fn poll_pause(
        &self,
        resource: &Resource,
        contention: &Contention,
        interval: Duration,
    ) -> Duration {
        poll_after(contention, self.store.tells(resource), interval, self.random.unit())
    }
}

/// However a call ends, it leaves no trace.
impl Drop for PendingAcquire {
    fn drop(&mut self) {
        let Attempt { resource, nonce, terms, .. } = &self.attempt;
        self.locker.waiting.change(|waiters| waiters.take(*nonce));
        self.outcome.close();
        if let Ok(Ok(given)) = self.outcome.try_recv() {
            self.locker.abandon(given.hold.nonce);
        } else if self.needs_cancel {
            self.locker.cancel(resource.clone(), *nonce, Some(*terms), terms.lease);
        }
    }
}
