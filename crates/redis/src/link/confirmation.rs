//! Whether replicas have what the server has: `WAIT`, on a connection of its own, as it holds up whatever comes behind
//! it.
//!
//! What is asked about was answered on another connection. So each question brings along what it is about, which shows
//! that this server has it, and a write, as only a write of its own moves the place in the stream of writes that a client
//! waits for. (Before Redis 7.2 every command does.) The questions that come while a `WAIT` is under way share the next
//! one. None takes longer than a [round](ROUND), so that nobody waits for long behind those whom replicas do not answer.

use std::{
    mem::replace,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use futures_util::future::try_join_all;
use lock_inc_core::{
    Backoff,
    error::{Cause, Error, Result},
    lock,
    store::Deadline,
};
use lock_inc_exec as exec;
use redis::{Cmd, ServerError, Value, cmd};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Link, Live, connect::connect_beside, connection::Connection};
use crate::refusal;

/// So long a `WAIT` lasts at the most. A server that has nothing else to do ends it up to 0.1 s later.
const ROUND: Duration = Duration::from_millis(100);

/// For so long an answer is waited for that is on its way when the time is over, if nothing is known by then.
const GRACE: Duration = Duration::from_millis(500);

/// So much longer an answer may take before the connection is given up.
const SILENCE: Duration = Duration::from_secs(1);

/// Between two tries to connect, or to ask.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_millis(500) };

/// Whether replicas have something.
pub(crate) struct Question {
    /// What shows that the server has it.
    pub(crate) looks: Vec<Cmd>,
    /// A write that changes nothing.
    pub(crate) touch: Cmd,
    /// How many are to have it.
    pub(crate) replicas: u32,
}

/// What is known when there are enough, or when the time is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The answers to the looks. None, if there was no answer.
    pub(crate) seen: Vec<Value>,
    /// How many replicas had what was seen then.
    pub(crate) replicas: Option<u32>,
    /// What has been in the way last.
    pub(crate) trouble: Option<Cause>,
}

/// How far a question has come.
#[derive(Clone, Debug, Default)]
struct Progress {
    known: Known,
    /// Nothing more will come. An error: the server does not say it to this user, for one.
    end: Option<Result<()>>,
}

impl Progress {
    /// Whether there is something to tell.
    fn is_known(&self) -> bool {
        self.end.is_some() || self.known.replicas.is_some() || self.known.trouble.is_some()
    }
}

/// A question that somebody waits for.
struct Waiting {
    question: Question,
    deadline: Deadline,
    progress: watch::Sender<Progress>,
    /// On which connection its looks were answered.
    seen_on: Weak<Connection>,
}

/// The questions of a link, and the connection for them.
#[derive(Default)]
pub(crate) struct Confirmations {
    /// How many lockers ask.
    askers: watch::Sender<usize>,
    state: Mutex<State>,
    /// There is another connection, or none any more.
    changed: Notify,
    /// There are questions again.
    needed: Notify,
}

#[derive(Default)]
struct State {
    /// It is there for as long as it is kept up.
    connection: Weak<Connection>,
    /// Why there is none.
    trouble: Option<Cause>,
    /// Questions that nobody has taken up yet.
    new: Vec<Waiting>,
    /// A task sees to the questions.
    is_attended: bool,
}

impl Link {
    /// Asks whether replicas have something, until enough do or the deadline has passed. Where nothing would be known then,
    /// it takes a little longer. Must be called on the runtime.
    pub(crate) async fn confirm(
        self: &Arc<Self>,
        closing: &CancellationToken,
        question: Question,
        deadline: Deadline,
    ) -> Result<Known> {
        let (progress, mut told) = watch::channel(Progress::default());
        self.attend_to(Waiting { question, deadline, progress, seen_on: Weak::new() });
        tokio::select! {
            // It is told of the end before the sender goes.
            _ = timeout_at(deadline.at, told.wait_for(|progress| progress.end.is_some())) => {}
            () = self.confirmations.lost_while_closing(closing) => return Err(Error::Closed),
        }
        if self.confirmations.connection().is_ok() {
            let _ = timeout(GRACE, told.wait_for(Progress::is_known)).await;
        }
        let Progress { known, end, .. } = told.borrow().clone();
        end.unwrap_or(Ok(())).map(|()| known)
    }

    fn attend_to(self: &Arc<Self>, waiting: Waiting) {
        let mut state = self.confirmations.lock();
        state.new.push(waiting);
        let was_attended = replace(&mut state.is_attended, true);
        drop(state);
        if !was_attended {
            self.confirmations.needed.notify_waiters();
            // It comes after all that was woken together with this task, whose questions it takes up as well, and goes on
            // if this one does not.
            exec::spawn(&Handle::current(), attend(self.clone()));
        }
    }
}

/// Asks, until there are no questions any more.
async fn attend(link: Arc<Link>) {
    let confirmations = &link.confirmations;
    let (mut open, mut failures) = (Vec::new(), 0);
    while confirmations.take_in(&mut open) {
        let mut changed = pin!(confirmations.changed.notified());
        changed.as_mut().enable();
        let connection = confirmations.connection();
        let asked = match &connection {
            Ok(connection) => ask(connection, &mut open).await.map_err(Some),
            Err(trouble) => Err(trouble.clone()),
        };
        let Err(trouble) = asked else {
            failures = 0;
            continue;
        };
        for waiting in &mut open {
            waiting.on_trouble(trouble.clone());
        }
        if connection.is_ok() {
            failures += 1;
            sleep(BACKOFF.delay(failures, link.machine.random.unit())).await;
            continue;
        }
        tokio::select! {
            () = changed => {}
            // Some may have gone meanwhile.
            () = sleep(ROUND) => {}
            () = link.closed.cancelled() => return,
        }
    }
}

/// One `WAIT` for all of these. An error: it is to be tried again.
async fn ask(connection: &Arc<Connection>, open: &mut [Waiting]) -> Result<(), Cause> {
    let mut commands = Vec::new();
    for waiting in open.iter_mut().filter(|waiting| !waiting.is_seen_on(connection)) {
        commands.extend_from_slice(&waiting.question.looks);
        commands.push(waiting.question.touch.clone());
    }
    // Whoever wants more of them asks again when these are there.
    let fewest = open.iter().map(|waiting| waiting.question.replicas).min().unwrap_or(0);
    let left = open.iter().map(|waiting| waiting.deadline.left()).min().unwrap_or(ROUND).min(ROUND);
    // 0 would be for ever.
    let ms = u64::try_from(left.as_millis()).unwrap_or(0).max(1);
    commands.push(cmd("WAIT").arg(fewest).arg(ms).take());
    let answers = try_join_all(connection.send_together(&commands));
    let patience = ROUND * 2 + SILENCE;
    let answers = timeout(patience, answers).await.unwrap_or_else(|_| {
        let cause = Cause::new("ETIMEDOUT", format!("no reply within {} ms", patience.as_millis()));
        connection.end(cause.clone());
        Err(cause)
    });
    let mut answers = answers?.into_iter();
    let replicas = match answers.next_back() {
        Some(Value::Int(replicas)) => Ok(u32::try_from(replicas).unwrap_or(0)),
        Some(Value::ServerError(error)) => Err(error),
        _ => return Err(Cause::new("EPROTO", "the server has answered something else than what was asked")),
    };
    let mut trouble = None;
    for waiting in open {
        let looked = if waiting.is_seen_on(connection) {
            Ok(())
        } else {
            let seen = answers.by_ref().take(waiting.question.looks.len() + 1).collect();
            waiting.on_seen(connection, seen)
        };
        match looked.and_then(|()| replicas.clone()) {
            Ok(replicas) => waiting.on_confirmed(replicas),
            Err(error) => trouble = waiting.on_refused(&error).or(trouble),
        }
    }
    trouble.map_or(Ok(()), Err)
}

impl Waiting {
    fn is_seen_on(&self, connection: &Arc<Connection>) -> bool {
        Weak::ptr_eq(&self.seen_on, &Arc::downgrade(connection))
    }

    /// The answers to its looks and its write have come. An error is one of them.
    fn on_seen(&mut self, connection: &Arc<Connection>, mut seen: Vec<Value>) -> Result<(), ServerError> {
        let errors = seen.iter().filter_map(|answer| match answer {
            Value::ServerError(error) => Some(error),
            _ => None,
        });
        if let Some(error) = errors.into_iter().next() {
            return Err(error.clone());
        }
        seen.truncate(self.question.looks.len());
        self.seen_on = Arc::downgrade(connection);
        self.progress.send_modify(|progress| progress.known.seen = seen);
        Ok(())
    }

    /// So many replicas have what was seen.
    fn on_confirmed(&self, replicas: u32) {
        self.progress.send_modify(|progress| {
            (progress.known.replicas, progress.known.trouble) = (Some(replicas), None);
            if replicas >= self.question.replicas {
                progress.end = Some(Ok(()));
            }
        });
    }

    /// The server has answered with an error. Says why it is to be tried again, if it is.
    fn on_refused(&mut self, error: &ServerError) -> Option<Cause> {
        let refusal = refusal::of_reply(error, false);
        if refusal.is_passing {
            self.on_trouble(Some(refusal.cause.clone()));
            return Some(refusal.cause);
        }
        self.progress.send_modify(|progress| progress.end = Some(Err(Error::Refused(refusal))));
        None
    }

    /// No answer will come. The next one may be that of another server.
    fn on_trouble(&mut self, trouble: Option<Cause>) {
        self.seen_on = Weak::new();
        self.progress.send_modify(|progress| progress.known.trouble = trouble);
    }

    /// Whether there is nothing to do about it, or nobody who waits for that.
    fn is_over(&self) -> bool {
        self.progress.is_closed() || self.progress.borrow().end.is_some()
    }
}

impl Confirmations {
    /// One more locker asks, or one less. While there are some, there is a connection.
    pub(crate) fn expect(&self, expected: bool) {
        self.askers.send_modify(|askers| *askers = if expected { *askers + 1 } else { *askers - 1 });
    }

    /// Has a connection to the server of this one while there are lockers that ask, for as long as this is polled. One that
    /// is lost is made again when there is a question.
    pub(super) async fn keep_beside(&self, live: &Live, link: &Link, name: &str) -> ! {
        let mut askers = self.askers.subscribe();
        let mut failures = 0;
        loop {
            // The sender is here.
            let _ = askers.wait_for(|askers| *askers > 0).await;
            match connect_beside(live, link, name).await {
                Ok(connection) => {
                    failures = 0;
                    self.set(Arc::downgrade(&connection), None);
                    tokio::select! {
                        // While replicas are waited for, the server says nothing.
                        cause = connection.drive(Duration::MAX) => self.set(Weak::new(), Some(cause)),
                        _ = askers.wait_for(|askers| *askers == 0) => {
                            self.set(Weak::new(), None);
                            continue;
                        }
                    }
                }
                Err(error) => {
                    failures += 1;
                    self.set(Weak::new(), Some(error.cause().clone()));
                    sleep(BACKOFF.delay(failures, link.machine.random.unit())).await;
                }
            }
            self.needed().await;
        }
    }

    /// Waits until there are questions.
    async fn needed(&self) {
        loop {
            let mut needed = pin!(self.needed.notified());
            needed.as_mut().enable();
            if self.lock().is_attended {
                return;
            }
            needed.await;
        }
    }

    fn set(&self, connection: Weak<Connection>, trouble: Option<Cause>) {
        let mut state = self.lock();
        (state.connection, state.trouble) = (connection, trouble);
        drop(state);
        self.changed.notify_waiters();
    }

    /// The connection, or why there is none, if that is known.
    fn connection(&self) -> Result<Arc<Connection>, Option<Cause>> {
        let state = self.lock();
        let connection = state.connection.upgrade().filter(|connection| !connection.has_ended());
        connection.ok_or_else(|| state.trouble.clone())
    }

    /// Takes up new questions, and leaves out those that are over. `false` if none are left: then nobody attends to what
    /// comes.
    fn take_in(&self, open: &mut Vec<Waiting>) -> bool {
        let mut state = self.lock();
        open.append(&mut state.new);
        open.retain(|waiting| !waiting.is_over());
        state.is_attended = !open.is_empty();
        state.is_attended
    }

    /// Waits until a locker is being closed and there is no connection: then nobody waits for one.
    async fn lost_while_closing(&self, closing: &CancellationToken) {
        closing.cancelled().await;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.connection().is_err() {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
