//! Calls that wait: they join the store's queue, are told of their turn, and look again when no news has come.

use std::{
    future::pending,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::Locker;
use crate::{
    core::{
        Contention, Hold, Lease, Moment, Nonce, Queued, Resource, Waiters,
        waiters::{SHORTEST_POLL, poll_after},
    },
    driver::{Acquired, Attempt, Deadline, Grant, HandOver, Polled},
    error::{Error, Limit, Result},
    options::LockOptions,
    random,
};

/// What is kept of a waiting call.
pub(super) struct WaitingCall {
    options: LockOptions,
    result: oneshot::Sender<Result<Hold>>,
}

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
    /// Comes when it is this call's turn, or when waiting has become of no use.
    turn: oneshot::Receiver<Result<Hold>>,
    /// It may be in the store's queue, or have been granted the lock without its being known.
    unsettled: bool,
}

/// What is known of a call that is in the queue.
struct InQueue {
    ticket: u64,
    contention: Contention,
    since: Moment,
}

impl Locker {
    /// Takes the resource, waiting for it until `patience` has passed, if that is limited, or until `cancelled`.
    pub(super) async fn lock_or_wait(
        self: Arc<Self>,
        attempt: Attempt,
        options: LockOptions,
        patience: Option<Deadline>,
        cancelled: CancellationToken,
    ) -> Result<Hold> {
        let (result, turn) = oneshot::channel();
        let interval = options.retry_interval;
        let (resource, nonce, lease) = (attempt.resource.clone(), attempt.nonce, attempt.lease);
        self.waiters().join(resource, nonce, lease, WaitingCall { options, result });
        let mut place = Place { locker: self, attempt, interval, turn, unsettled: false };
        tokio::select! {
            result = place.wait(patience) => result,
            () = cancelled.cancelled() => Err(Error::Cancelled),
        }
    }

    /// The lock goes to a waiting call; its lease counts from `since`. Whoever does not wait any more gives it to the
    /// next one.
    pub(super) fn deliver(self: &Arc<Self>, hash: &Arc<str>, hand_over: HandOver, since: Moment) {
        let HandOver { nonce, token, lease } = hand_over;
        let now = Moment::now();
        let lease = Lease { sent: since, length: lease };
        if self.waiters().contains(nonce) {
            // Of so short a lease there is not much to be had anyway.
            if lease.end() <= now && lease.length >= ENOUGH_TO_ASK {
                // Too late: this process has stood still. It comes back to its place in the queue.
                self.change_waiters(|waiters| waiters.doubt(nonce, now));
            } else {
                self.give(nonce, token, lease);
            }
        } else if self.holds().get(hash, Some(token)).is_none() {
            // Cancelled meanwhile; or it was told twice, and the lock has been given up already.
            self.cancel(Resource::of_hash(hash.clone()), nonce, None, now.until(lease.over(now)));
        }
    }

    /// Ends the waiting of a call with a lock.
    fn give(self: &Arc<Self>, nonce: Nonce, token: u64, lease: Lease) {
        let Some((resource, call)) = self.change_waiters(|waiters| waiters.take(nonce)) else { return };
        let hold = self.hold(resource, nonce, token, lease, &call.options);
        if let Err(Ok(hold)) = call.result.send(Ok(hold)) {
            self.abandon(hold);
        }
    }

    /// As [`deliver`](Self::deliver), of a lock that was handed over when the store's clock said `at`.
    pub(super) fn deliver_news(self: &Arc<Self>, hash: &Arc<str>, hand_over: HandOver, at: Duration) {
        let clock = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clock) = clock {
            self.deliver(hash, hand_over, clock.moment(at, Moment::now()));
        } else if self.waiters().contains(hand_over.nonce) {
            // It cannot be told how old the news is; the answer to a poll can be dated.
            self.change_waiters(|waiters| waiters.doubt(hand_over.nonce, Moment::now()));
        } else {
            self.deliver(hash, hand_over, Moment::now());
        }
    }

    /// Asks about those whose time has come.
    pub(super) fn poll_due(self: &Arc<Self>) {
        let due = self.waiters().due(Moment::now());
        for (resource, waiting) in due {
            tokio::spawn(self.clone().poll(resource, waiting));
        }
    }

    async fn poll(self: Arc<Self>, resource: Resource, waiting: Vec<Queued>) {
        let mut known = None;
        for page in waiting.chunks(POLL_PAGE) {
            match self.driver.poll(&resource, page, false, self.deadline()).await {
                Ok(polled) => known = self.polled(&resource, waiting.len(), polled),
                Err(error) if error.is_final() => {
                    self.give_up(&resource, &error);
                    break;
                }
                // Whatever it was, it is tried again.
                Err(_) => break,
            }
        }
        let hears = self.hears();
        self.change_waiters(|waiters| {
            waiters.polled(resource.hash(), Moment::now(), |interval| match known {
                Some(contention) => poll_after(&contention, hears, interval, random::unit()),
                None => interval.max(SHORTEST_POLL),
            });
        });
    }

    /// Draws the conclusions from the answer to a poll of so many calls. Returns who is in the way.
    fn polled(self: &Arc<Self>, resource: &Resource, asked: usize, polled: Polled) -> Option<Contention> {
        let Polled { missing, contention, hand_over, clock } = polled;
        self.set_clock(Some(clock));
        if let Some(hand_over) = hand_over {
            self.deliver(&resource.shared_hash(), hand_over, clock.sent);
        }
        self.change_waiters(|waiters| {
            let now = Moment::now();
            if missing > 0 {
                waiters.doubt_all(resource.hash(), asked, now);
            }
            if let Some(holder) = contention.as_ref().and_then(|contention| contention.holder.as_ref()) {
                waiters.doubt(holder.nonce, now);
            }
        });
        contention
    }

    /// Tells all who wait for a resource that it is of no use.
    fn give_up(&self, resource: &Resource, error: &Error) {
        let nonces = self.waiters().of(resource.hash());
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
        let before = waiters.next_due();
        let result = change(&mut waiters);
        let next = waiters.next_due();
        if next.is_some_and(|next| before.is_none_or(|before| next < before)) {
            self.sooner.notify_one();
        }
        result
    }
}

impl Place {
    async fn wait(&mut self, patience: Option<Deadline>) -> Result<Hold> {
        let queue = match self.join(patience).await? {
            Joined::Granted(hold) => return Ok(hold),
            Joined::Queue(queue) => queue,
        };
        let closing = self.locker.closing.clone();
        let patience_over = async {
            match patience {
                Some(patience) => sleep_until(patience.at.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            turn = &mut self.turn => return self.settle(turn),
            () = closing.cancelled() => return Err(Error::Closed),
            () = patience_over => {}
        }
        match patience {
            Some(patience) => self.last_look(queue, patience.limit).await,
            None => Err(Error::Internal),
        }
    }

    /// Asks for the lock until it is there or the call is in the queue.
    async fn join(&mut self, patience: Option<Deadline>) -> Result<Joined> {
        let locker = self.locker.clone();
        let attempt = self.attempt.clone();
        loop {
            let deadline = locker.deadline().earlier(patience);
            self.unsettled = true;
            let answer = tokio::select! {
                answer = locker.driver.acquire(&attempt, deadline) => answer,
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
                    locker.set_clock(Some(clock));
                    let now = Moment::now();
                    let pause = poll_after(&contention, locker.hears(), self.interval, random::unit());
                    let (nonce, interval) = (attempt.nonce, self.interval);
                    locker.change_waiters(|waiters| waiters.queued(nonce, ticket, interval, now + pause));
                    return Ok(Joined::Queue(InQueue { ticket, contention, since: now }));
                }
                Ok(Acquired::Contended { .. }) => Error::Internal,
                Err(error) => error,
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
        let time = (limit.time / 10).clamp(ENOUGH_TO_ASK, PLENTY_TO_ASK);
        let deadline = Deadline { limit, ..Deadline::after(Limit { time, ..limit }) };
        let locker = self.locker.clone();
        let waiting = [Queued { nonce, lease, ticket: queue.ticket }];
        let answer = tokio::select! {
            answer = locker.driver.poll(&resource, &waiting, true, deadline) => answer,
            turn = &mut self.turn => return self.settle(turn),
        };
        match answer {
            Ok(Polled { contention, hand_over, clock, .. }) => {
                if let Some(hand_over) = hand_over {
                    locker.deliver(&resource.shared_hash(), hand_over, clock.sent);
                }
                if let Ok(turn) = self.turn.try_recv() {
                    return self.settle(Ok(turn));
                }
                self.unsettled = false;
                Err(Error::Locked(contention.unwrap_or(queue.contention).into()))
            }
            // In so short a time no answer says nothing: what is known is who holds it.
            Err(Error::Connection(_)) if queue.since.until_now() < PLENTY_TO_ASK => {
                Err(Error::Locked(queue.contention.into()))
            }
            Err(error) => Err(error),
        }
    }

    /// What has been told of this call's turn. Without a word the locker is no more.
    fn settle(&mut self, turn: Result<Result<Hold>, oneshot::error::RecvError>) -> Result<Hold> {
        let turn = turn.unwrap_or(Err(Error::Internal));
        self.unsettled = turn.is_err();
        turn
    }
}

enum Joined {
    Granted(Hold),
    Queue(InQueue),
}

/// However a call ends, it leaves no trace.
impl Drop for Place {
    fn drop(&mut self) {
        let Attempt { resource, nonce, lease, .. } = &self.attempt;
        self.locker.change_waiters(|waiters| waiters.take(*nonce));
        self.turn.close();
        if let Ok(Ok(hold)) = self.turn.try_recv() {
            self.locker.abandon(hold);
        } else if self.unsettled {
            self.locker.cancel(resource.clone(), *nonce, Some(*lease), *lease);
        }
    }
}
