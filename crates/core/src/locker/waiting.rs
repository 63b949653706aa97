//! Calls that wait: they join the store's queue, are told of their turn, and look again when no news has come.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::OptionFuture;
use tokio::{
    sync::oneshot,
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::Locker;
use crate::{
    Contention, Hold, Lease, Moment, Nonce, Queued, Resource, Waiters,
    error::{Error, Limit, Result},
    options::{LockOptions, Wait},
    store::{Acquired, Attempt, Deadline, Grant, HandOver, Poll, Polled},
    waiters::{SHORTEST_POLL, poll_after},
};

/// What is kept of a waiting call.
pub(super) struct WaitingCall {
    options: LockOptions,
    result: oneshot::Sender<Turn>,
}

/// What comes of waiting. Boxed, as room is kept for it from the beginning.
type Turn = Result<Box<Hold>>;

/// So many calls at the most are asked about in one poll, after which other clients have their turn.
const POLL_PAGE: usize = 256;

/// In less time an answer cannot be expected from every server that is well.
const ENOUGH_TO_ASK: Duration = Duration::from_millis(50);

/// In so much time it can.
const PLENTY_TO_ASK: Duration = Duration::from_millis(500);

/// Where a waiting call stands.
struct Place {
    locker: Arc<Locker>,
    attempt: Attempt,
    interval: Duration,
    /// For how long it waits, if that is limited.
    patience: Option<Deadline>,
    /// Comes when it is this call's turn, or when waiting has become of no use.
    turn: oneshot::Receiver<Turn>,
    /// It may be in the store's queue, or have been granted the lock without its being known.
    unsettled: bool,
}

/// What is known of a call that is in the queue.
struct InQueue {
    ticket: u64,
    contention: Contention,
    since: Moment,
    /// How long the answer took that says so.
    round_trip: Duration,
}

impl Locker {
    /// Takes the resource. While somebody else holds it, waits for as long as the options allow, until `cancelled`.
    pub fn lock_or_wait(
        self: Arc<Self>,
        resource: Resource,
        options: LockOptions,
        cancelled: Option<CancellationToken>,
    ) -> impl Future<Output = Result<Hold>> {
        let patience = match options.wait {
            Wait::AtMost(time) => Some(Deadline::after(Limit { time, option: "options.timeout" })),
            Wait::No | Wait::Forever => None,
        };
        let (result, turn) = oneshot::channel();
        let interval = options.retry_interval;
        let attempt = self.attempt(resource, &options);
        let (resource, nonce, lease) = (attempt.resource.clone(), attempt.nonce, attempt.lease);
        self.change_waiters(|waiters| waiters.join(resource, nonce, lease, WaitingCall { options, result }));
        let mut place = Place { locker: self, attempt, interval, patience, turn, unsettled: false };
        // Boxed, as are other things that not every call needs: what waits for long should be small.
        let mut cancelled = cancelled.map(|cancelled| Box::pin(cancelled.cancelled_owned()));
        async move {
            let cancelled = OptionFuture::from(cancelled.as_mut());
            tokio::select! {
                biased;
                Some(()) = cancelled => Err(Error::Cancelled),
                result = place.wait() => result,
            }
        }
    }

    /// Whoever is in the queue waits no more, and whoever comes into it finds that the locker is closing.
    pub(super) fn send_waiters_away(&self) {
        let nonces = self.waiters().in_queue();
        self.tell(nonces, &Error::Closed);
    }

    /// The lock goes to a waiting call, as the answer to a command says that was sent at `since`. Whoever does not wait any
    /// more gives it to the next one.
    pub(super) fn deliver(self: &Arc<Self>, hash: &Arc<str>, hand_over: HandOver, since: Moment) {
        let HandOver { nonce, token, lease } = hand_over;
        let lease = Lease { sent: since, length: lease };
        if self.give(nonce, token, lease) {
            return;
        }
        let hold = self.holds().get(hash, Some(token)).cloned();
        if let Some(hold) = hold {
            // Of this grant there has been news, with a shorter lease.
            self.renewed(&hold, lease);
        } else {
            // Cancelled meanwhile; or it was told twice, and the lock has been given up already.
            let now = self.now();
            self.cancel(Resource::of_hash(hash.clone()), nonce, None, now.until(lease.over(now)));
        }
    }

    /// The lock went to a waiting call when the store's clock said `at`, as a notice says that may be read late.
    pub(super) fn deliver_news(self: &Arc<Self>, hash: &Arc<str>, hand_over: HandOver, at: Duration) {
        let HandOver { nonce, token, lease } = hand_over;
        let now = self.now();
        let clock = *self.store_clock.lock().unwrap_or_else(PoisonError::into_inner);
        let lease = clock.map(|clock| Lease { sent: clock.moment(at, now), length: lease });
        match lease.filter(|lease| now < lease.end()) {
            Some(lease) if self.give(nonce, token, lease) => {}
            // It cannot be told how old the news are, or they are too old, as this process has stood still: a poll
            // tells, or brings the call back to its place in the queue.
            None if self.waiters().contains(nonce) => {
                self.change_waiters(|waiters| waiters.doubt(nonce, now));
            }
            _ => {
                if self.holds().get(hash, Some(token)).is_none() {
                    let over = lease.map_or(hand_over.lease, |lease| now.until(lease.over(now)));
                    self.cancel(Resource::of_hash(hash.clone()), nonce, None, over);
                }
            }
        }
    }

    /// Ends the waiting of a call with a lock. `false` if there is no such call.
    fn give(self: &Arc<Self>, nonce: Nonce, token: u64, lease: Lease) -> bool {
        // Held until the lock is among the holds: whoever does not find the call here finds it there.
        let mut waiters = self.waiters();
        let Some((resource, call)) = waiters.take(nonce) else { return false };
        let hold = self.hold(resource, nonce, token, lease, &call.options);
        let none_left = waiters.is_empty();
        drop(waiters);
        if none_left {
            self.store.expect_events(false);
        }
        if let Err(Ok(hold)) = call.result.send(Ok(Box::new(hold))) {
            self.abandon(*hold);
        }
        true
    }

    /// Asks about those whose time has come.
    pub(super) fn poll_due(self: &Arc<Self>) {
        let due = self.waiters().due(self.now());
        for (resource, waiting) in due {
            tokio::spawn(self.clone().poll(resource, waiting));
        }
    }

    async fn poll(self: Arc<Self>, resource: Resource, waiting: Vec<Queued>) {
        let mut known = None;
        for page in waiting.chunks(POLL_PAGE) {
            // Some may have gone while others were asked about.
            let page = self.waiters().still(page);
            if page.is_empty() {
                continue;
            }
            match self
                .store
                .poll(Poll { resource: &resource, waiting: &page, last: false }, self.deadline())
                .await
            {
                Ok(polled) => {
                    if polled.missing > 0 {
                        self.take_back(&resource, &page);
                    }
                    known = self.polled(&resource, waiting.len(), polled);
                }
                Err(error) if error.is_final() => {
                    self.give_up(&resource, &error);
                    break;
                }
                // Whatever it was, it is tried again.
                Err(_) => {
                    if waiting.len() > 2 {
                        self.waiters().doubt_all_still(resource.hash());
                    }
                    break;
                }
            }
        }
        let subscribed = self.subscribed();
        self.change_waiters(|waiters| {
            waiters.polled(resource.hash(), self.now(), |interval| match known {
                Some(contention) => poll_after(&contention, subscribed, interval, self.random.unit()),
                None => interval.max(SHORTEST_POLL),
            });
        });
    }

    /// A poll may have put calls into the queue that have gone meanwhile.
    fn take_back(self: &Arc<Self>, resource: &Resource, polled: &[Queued]) {
        for &Queued { nonce, lease, .. } in polled {
            // In this order, as a call goes from the waiters to the holds.
            let waits = self.waiters().contains(nonce);
            if !waits && !self.holds().has(resource.hash(), nonce) {
                self.cancel(resource.clone(), nonce, Some(lease), lease);
            }
        }
    }

    /// Draws the conclusions from the answer to a poll of so many calls. Returns who is in the way.
    fn polled(self: &Arc<Self>, resource: &Resource, asked: usize, polled: Polled) -> Option<Contention> {
        let Polled { missing, contention, hand_over, clock } = polled;
        self.set_store_clock(Some(clock));
        if let Some(hand_over) = hand_over {
            self.deliver(&resource.shared_hash(), hand_over, clock.sent);
        }
        self.change_waiters(|waiters| {
            let now = self.now();
            if missing > 0 {
                waiters.doubt_all(resource.hash(), asked, now);
            }
            if let Some(holder) = contention.as_ref().and_then(|contention| contention.holder.as_ref()) {
                waiters.doubt(holder.nonce, now);
            }
        });
        contention
    }

    /// A last look for a call, which takes it out of the queue. Returns who is in the way.
    async fn look(
        self: Arc<Self>,
        resource: Resource,
        waiting: Queued,
        deadline: Deadline,
    ) -> Result<Option<Contention>> {
        let polled =
            self.store.poll(Poll { resource: &resource, waiting: &[waiting], last: true }, deadline).await?;
        if let Some(hand_over) = polled.hand_over {
            self.deliver(&resource.shared_hash(), hand_over, polled.clock.sent);
        }
        Ok(polled.contention)
    }

    /// Tells all who wait for a resource that it is of no use.
    fn give_up(&self, resource: &Resource, error: &Error) {
        let nonces = self.waiters().of(resource.hash());
        self.tell(nonces, error);
    }

    fn tell(&self, nonces: Vec<Nonce>, error: &Error) {
        for nonce in nonces {
            if let Some((_, call)) = self.change_waiters(|waiters| waiters.take(nonce)) {
                // Whoever is gone needs no error.
                let _ = call.result.send(Err(error.clone()));
            }
        }
    }

    pub(super) fn waiters(&self) -> MutexGuard<'_, Waiters<WaitingCall>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes who waits, and sees to it that a poll that has become due earlier is not missed.
    pub(super) fn change_waiters<T>(&self, change: impl FnOnce(&mut Waiters<WaitingCall>) -> T) -> T {
        let mut waiters = self.waiters();
        let waited = !waiters.is_empty();
        let result = change(&mut waiters);
        let (next, waits) = (waiters.next_due(), !waiters.is_empty());
        drop(waiters);
        if waits != waited {
            self.store.expect_events(waits);
        }
        if let Some(next) = next {
            self.wake_by(next);
        }
        result
    }
}

impl Place {
    async fn wait(&mut self) -> Result<Hold> {
        let queue = match Box::pin(self.join()).await? {
            Joined::Granted(hold) => return Ok(*hold),
            Joined::Queue(queue) => queue,
        };
        if self.locker.closing.is_cancelled() {
            return Err(Error::Closed);
        }
        match self.patience.zip(queue) {
            None => {
                let turn = (&mut self.turn).await;
                self.settle(turn).map(|hold| *hold)
            }
            Some((patience, queue)) => Box::pin(self.wait_until(patience, *queue)).await,
        }
    }

    async fn wait_until(&mut self, patience: Deadline, queue: InQueue) -> Result<Hold> {
        tokio::select! {
            turn = &mut self.turn => self.settle(turn).map(|hold| *hold),
            () = sleep_until(patience.at.into()) => Box::pin(self.last_look(queue, patience.limit)).await,
        }
    }

    /// Asks for the lock until it is there or the call is in the queue.
    async fn join(&mut self) -> Result<Joined> {
        let locker = self.locker.clone();
        let attempt = self.attempt.clone();
        let patience = self.patience;
        loop {
            let deadline = locker.deadline().earlier(patience);
            let before = std::mem::replace(&mut self.unsettled, true);
            let answer = tokio::select! {
                answer = locker.store.acquire(&attempt, deadline) => answer,
                // Of an earlier sending, whose answer was lost.
                turn = &mut self.turn => return self.settle(turn).map(Joined::Granted),
            };
            let error = match answer {
                Ok(Acquired::Granted(Grant { token, sent })) => {
                    locker.give(attempt.nonce, token, Lease { sent, length: attempt.lease });
                    let turn = (&mut self.turn).await;
                    return self.settle(turn).map(Joined::Granted);
                }
                Ok(Acquired::Contended { contention, ticket: Some(ticket), clock }) => {
                    locker.set_store_clock(Some(clock));
                    let now = locker.now();
                    let pause =
                        poll_after(&contention, locker.subscribed(), self.interval, locker.random.unit());
                    let (nonce, interval) = (attempt.nonce, self.interval);
                    locker.change_waiters(|waiters| waiters.queued(nonce, ticket, interval, now, pause));
                    let round_trip = clock.sent.until(now);
                    // Whoever waits for ever has no need to say who was in the way.
                    let queue = || Box::new(InQueue { ticket, contention, since: now, round_trip });
                    return Ok(Joined::Queue(patience.map(|_| queue())));
                }
                Ok(Acquired::Contended { .. }) => Error::Internal,
                Err(error) => {
                    self.unsettled = before || error.outcome_unknown();
                    error
                }
            };
            let over = patience.is_some_and(|patience| patience.left().is_zero());
            if error.is_final() || over {
                return Err(error);
            }
            let pause = self.interval.max(SHORTEST_POLL);
            tokio::select! {
                () = locker.closing.cancelled() => return Err(Error::Closed),
                () = sleep(patience.map_or(pause, |patience| pause.min(patience.left()))) => {}
                turn = &mut self.turn => return self.settle(turn).map(Joined::Granted),
            }
        }
    }

    /// The patience is over: a last look, which also takes the call out of the queue and says who is in the way now.
    async fn last_look(&mut self, queue: InQueue, limit: Limit) -> Result<Hold> {
        let Attempt { resource, nonce, lease, .. } = self.attempt.clone();
        let enough = (limit.time / 10).clamp(ENOUGH_TO_ASK, PLENTY_TO_ASK).max(queue.round_trip * 4);
        let deadline = Deadline { limit, ..Deadline::after(Limit { time: enough, ..limit }) };
        let looking =
            self.locker.clone().look(resource, Queued { nonce, lease, ticket: queue.ticket }, deadline);
        let (told, mut answer) = oneshot::channel();
        // It may bring the turn of another call, so it goes on if this one ends.
        tokio::spawn(async move { told.send(looking.await) });
        let answer = tokio::select! {
            answer = &mut answer => answer.unwrap_or(Err(Error::Internal)),
            turn = &mut self.turn => return self.settle(turn).map(|hold| *hold),
        };
        if let Ok(turn) = self.turn.try_recv() {
            return self.settle(Ok(turn)).map(|hold| *hold);
        }
        match answer {
            Ok(contention) => {
                self.unsettled = false;
                Err(Error::Locked(contention.unwrap_or(queue.contention).into()))
            }
            // In so short a time no answer says nothing: what is known is who holds it.
            Err(Error::Unavailable(_)) if queue.since.until(self.locker.now()) < PLENTY_TO_ASK => {
                Err(Error::Locked(queue.contention.into()))
            }
            Err(error) => Err(error),
        }
    }

    /// What has been told of this call's turn. Without a word the locker is no more.
    fn settle(&mut self, turn: Result<Turn, oneshot::error::RecvError>) -> Turn {
        let turn = turn.unwrap_or(Err(Error::Internal));
        self.unsettled = turn.is_err();
        turn
    }
}

enum Joined {
    Granted(Box<Hold>),
    /// With what is of use when the patience of the call is over, if ever.
    Queue(Option<Box<InQueue>>),
}

/// However a call ends, it leaves no trace.
impl Drop for Place {
    fn drop(&mut self) {
        let Attempt { resource, nonce, lease, .. } = &self.attempt;
        self.locker.change_waiters(|waiters| waiters.take(*nonce));
        self.turn.close();
        if let Ok(Ok(hold)) = self.turn.try_recv() {
            self.locker.abandon(*hold);
        } else if self.unsettled {
            self.locker.cancel(resource.clone(), *nonce, Some(*lease), *lease);
        }
    }
}
