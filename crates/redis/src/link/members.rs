//! The lockers that share a link. Each has a channel of its own, on which the server says what happens to its locks.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use lock_inc_core::{
    Clock, Moment, StoreClock,
    error::Unavailable,
    lock,
    store::{Scope, StoreEvent, StoreEvents},
};
use redis::Value;
use tokio::{sync::Notify, time::sleep};

use super::{
    Live,
    connection::{Answer, Connection, Messages},
    failure::ConnectError,
};
use crate::{
    events,
    keys::Keys,
    operations::take::TwoSteps,
    refusal::{self, RefusalKind},
    server_clock::ServerClock,
};

/// A locker that uses the link, and what it knows of the server at the other end.
pub(crate) struct Member {
    /// Where the server says what happens to its locks.
    channel: String,
    keys: Keys,
    events: OnceLock<Arc<dyn StoreEvents>>,
    /// What the tokens say of the server's clock.
    pub(crate) clock: ServerClock,
    pub(crate) two_steps: TwoSteps,
    /// What the server has said of its clock last, on the present connection.
    time: Mutex<Option<StoreClock>>,
    /// There was a connection before, or a try to make one has failed.
    connects_again: AtomicBool,
    /// Whether messages reach it on the present connection. Not if the server's ACL forbids it.
    subscribed: AtomicBool,
    /// On which connection it has subscribed last, of those that were published: the number of its [`Live`].
    subscribed_on: AtomicU32,
    /// Its commands may be sent: what they tell the server of messages is true.
    ready: AtomicBool,
}

impl Member {
    pub(crate) fn new(channel: String, keys: Keys) -> Self {
        Self {
            channel,
            keys,
            events: OnceLock::new(),
            clock: ServerClock::default(),
            two_steps: TwoSteps::default(),
            time: Mutex::default(),
            connects_again: AtomicBool::new(false),
            subscribed: AtomicBool::new(false),
            subscribed_on: AtomicU32::new(0),
            ready: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// It is known whether it hears messages on the connection that comes into use.
    fn on_connected(&self, subscribed: bool) {
        self.subscribed.store(subscribed, Ordering::Relaxed);
        *lock(&self.time) = None;
        // Before its commands are sent, whose answers are about this connection.
        if self.connects_again.swap(true, Ordering::Relaxed) {
            self.tell(StoreEvent::Missed(Scope::All));
        }
        self.ready.store(true, Ordering::Release);
    }

    fn on_disconnected(&self, why: Unavailable) {
        // Whoever has heard that there is none hears when there is one.
        self.connects_again.store(true, Ordering::Relaxed);
        self.tell(StoreEvent::Disconnected(why));
    }

    /// The number of the connection in use; 0 before there is one.
    pub(crate) fn connection(&self) -> u32 {
        self.subscribed_on.load(Ordering::Relaxed)
    }

    /// True of the connection that a command is about to be sent on.
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Ordering::Relaxed)
    }

    /// The server has said its time, in answer to a command that left at `sent`.
    pub(crate) fn on_time(&self, sent: Moment, time: Duration) {
        *lock(&self.time) = Some(StoreClock { sent, time });
    }

    /// When its clock said `time`, or an earlier moment, if that can be told.
    fn date(&self, time: Duration, now: Moment) -> Option<Moment> {
        let known = *lock(&self.time);
        known.map(|clock| clock.moment(time, now))
    }

    /// The sharded channel where it hears of one lock.
    pub(super) fn channel_of(&self, lock: &str) -> String {
        [lock, ":", client_of(&self.channel)].concat()
    }

    /// What the keys of its locks begin with.
    pub(crate) fn prefix(&self) -> &str {
        self.keys.prefix()
    }

    pub(crate) fn tell(&self, event: StoreEvent) {
        if let Some(events) = self.events.get() {
            events.hear(event);
        }
    }
}

/// How the members stand to a connection that is not in use yet.
pub(crate) struct Subscriptions(Vec<(Arc<Member>, bool)>);

pub(crate) struct Members {
    inner: Mutex<Inner>,
    /// Told when a member is ready.
    ready: Arc<Notify>,
    clock: Arc<dyn Clock>,
}

/// Between two tries to subscribe on a server that is busy.
const AGAIN: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Inner {
    by_client: HashMap<String, Arc<Member>>,
    /// How many lockers there are, also those that have not joined yet.
    users: usize,
    /// The last one has left, and nobody may come any more.
    closed: bool,
}

impl Members {
    /// The first one is about to join.
    pub(crate) fn new(ready: Arc<Notify>, clock: Arc<dyn Clock>) -> Self {
        Self { inner: Mutex::new(Inner { users: 1, ..Inner::default() }), ready, clock }
    }

    /// One more is about to join. `false` if nobody may come any more.
    pub(crate) fn reserve(&self) -> bool {
        let mut inner = self.lock();
        inner.users += usize::from(!inner.closed);
        !inner.closed
    }

    /// `live` looks for the present connection.
    pub(crate) fn join(
        &self,
        member: Arc<Member>,
        events: Arc<dyn StoreEvents>,
        live: impl FnOnce() -> Option<Arc<Live>>,
    ) {
        // It joins once.
        let _ = member.events.set(events);
        let mut inner = self.lock();
        inner.by_client.insert(client_of(&member.channel).to_owned(), member.clone());
        // Not before: what is published later finds the member.
        if let Some(live) = live() {
            self.subscribe_later(member, &live);
        }
    }

    /// Subscribes a member on a connection that is in use already, and tells it how that has ended.
    fn subscribe_later(&self, member: Arc<Member>, live: &Live) {
        let number = live.number;
        member.subscribed_on.store(number, Ordering::Relaxed);
        let messages = live.messages().clone();
        let mut subscribing = messages.subscribe(&member.channel);
        if live.messages.is_none() {
            // What is sent from here on goes over the same connection, so it is carried out after the subscription.
            member.on_connected(true);
            self.ready.notify_waiters();
        } else {
            // Whatever was true of another connection is not known of this one.
            member.ready.store(false, Ordering::Release);
        }
        let ready = self.ready.clone();
        tokio::spawn(async move {
            loop {
                let confirmed = is_confirmed(subscribing.await);
                // Another connection is in use, on which it has subscribed as well: what this one says comes too late.
                if member.subscribed_on.load(Ordering::Relaxed) != number {
                    return;
                }
                match confirmed {
                    // As was expected.
                    Ok(subscribed) if member.is_ready() && member.is_subscribed() == subscribed => return,
                    Ok(subscribed) => member.on_connected(subscribed),
                    // The next connection subscribes it.
                    Err(_) if messages.has_ended() => return,
                    // The server is busy.
                    Err(_) => {
                        sleep(AGAIN).await;
                        subscribing = messages.subscribe(&member.channel);
                        continue;
                    }
                }
                return ready.notify_waiters();
            }
        });
    }

    /// `true` if it was the last one. None: somebody who has reserved it and has not joined.
    pub(crate) fn leave(&self, member: Option<&Member>, live: impl FnOnce() -> Option<Arc<Live>>) -> bool {
        let mut inner = self.lock();
        inner.users -= 1;
        inner.closed = inner.users == 0;
        if let Some(member) = member
            && inner.by_client.remove(client_of(&member.channel)).is_some()
            && !inner.closed
            && let Some(live) = live()
        {
            live.messages().unsubscribe(&member.channel);
        }
        inner.closed
    }

    /// What the keys of one of them begin with, if there is one yet.
    pub(crate) fn any_prefix(&self) -> Option<String> {
        self.lock().by_client.values().next().map(|member| member.prefix().to_owned())
    }

    /// Subscribes all of them on a new connection, and waits until that is done. They hear of it when the connection is
    /// [published](Self::publish), if it ever is: until then they use another one, perhaps.
    pub(crate) async fn subscribe(&self, messages: &Arc<Connection>) -> Result<Subscriptions, ConnectError> {
        let members: Vec<_> = self.lock().by_client.values().cloned().collect();
        let channels: Vec<_> = members.iter().map(|member| &*member.channel).collect();
        let confirmations = messages.subscribe_all(&channels);
        let mut subscriptions = Vec::with_capacity(members.len());
        for (member, confirmation) in members.into_iter().zip(confirmations) {
            subscriptions.push((member, is_confirmed(confirmation.await)?));
        }
        Ok(Subscriptions(subscriptions))
    }

    /// A connection comes into use, by `publish`. Whoever has come since [`subscribe`](Self::subscribe) is subscribed as
    /// well, and the others are told that there is one.
    pub(crate) fn publish(
        &self,
        live: &Arc<Live>,
        Subscriptions(subscriptions): Subscriptions,
        publish: impl FnOnce(),
    ) {
        // Held until the connection is published: whoever joins or leaves meanwhile finds the one or the other.
        let inner = self.lock();
        let mut gone = Vec::new();
        for (member, subscribed) in subscriptions {
            if inner.by_client.contains_key(client_of(&member.channel)) {
                member.subscribed_on.store(live.number, Ordering::Relaxed);
                member.on_connected(subscribed);
            } else if subscribed {
                gone.push(member);
            }
        }
        for member in inner.by_client.values() {
            if member.subscribed_on.load(Ordering::Relaxed) != live.number {
                self.subscribe_later(member.clone(), live);
            }
        }
        for member in gone {
            // It has left the link while it was being subscribed. Nobody waits for the confirmation.
            live.messages().unsubscribe(&member.channel);
        }
        publish();
    }

    /// The connection is lost, or could not be made.
    pub(crate) fn on_disconnected(&self, why: &Unavailable) {
        let members: Vec<_> = self.lock().by_client.values().cloned().collect();
        for member in members {
            member.on_disconnected(why.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

/// Whose channel it is: its name ends with the client's id.
fn client_of(channel: &str) -> &str {
    channel.rsplit(':').next().unwrap_or_default()
}

/// Whether messages will come: an ACL may forbid it, and a proxy may not know of it.
fn is_confirmed(answer: Answer) -> Result<bool, ConnectError> {
    match answer {
        Ok(Value::ServerError(error)) => match refusal::kind_of(&error) {
            RefusalKind::NoPerm | RefusalKind::TooOld => Ok(false),
            _ => Err(ConnectError::Passing(refusal::of_reply(&error, false).cause)),
        },
        Ok(_) => Ok(true),
        Err(cause) => Err(ConnectError::Passing(cause)),
    }
}

impl Messages for Members {
    fn on_message(&self, channel: &[u8], message: &[u8]) {
        let member = str::from_utf8(channel)
            .ok()
            .and_then(|channel| self.lock().by_client.get(client_of(channel)).cloned());
        // What is of another form is not for us.
        if let Some(member) = member
            && let Some(event) =
                events::read(message, &member.keys, |time| member.date(time, self.clock.now()))
        {
            member.tell(event);
        }
    }
}
