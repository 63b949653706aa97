//! The link to a server: one connection that is always being kept up, which all lockers with the same `config` share.
//!
//! # Layout
//!
//! * [`keeper`]: the task that connects, and connects again.
//! * [`connect`]: makes one connection: socket, TLS, handshake. [`failure`]: why there is none.
//! * [`connection`]: one connection: `sending` and `receiving`, and `vigil`, which sees to it that nothing is left undone
//!   and notices silence. [`replies`], [`transport`] and [`socket`] are below it.
//! * [`visit`]: a connection for a few questions.
//! * [`confirmation`]: a second connection, on which replicas are waited for.
//! * [`members`]: the lockers that share the link, and the messages for each of them.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicIsize, AtomicU32, Ordering},
    },
    time::Duration,
};

use lock_inc_core::{
    Clock, Random,
    error::{Cause, Refusal},
    lock,
    store::StoreEvents,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
use self::socket::Watcher;
use self::{confirmation::Confirmations, connect::Owned, connection::Connection, keeper::Keeper};
pub(crate) use self::{
    confirmation::{Known, Question},
    connection::{Answer, Calls, Command, Gathered, Messages, Part},
    failure::ConnectError,
    members::{Member, Members},
    visit::{Deaf, Visit},
};
use crate::{
    config::{Address, Config, Endpoint},
    operations::permissions::Forbidden,
    script::LuaScript,
    topology::sentinel::Sentinels,
};

mod confirmation;
mod connect;
mod connection;
mod failure;
mod keeper;
mod members;
mod replies;
pub mod socket;
mod transport;
mod visit;

/// What the links to the nodes of one cluster have in common.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    /// There is another state, or a member is ready. Whoever waits for one is woken in order of arrival.
    pub(crate) changed: Arc<Notify>,
    /// A connection is lost or silent, or could not be made. Whoever waits next learns of it.
    pub(crate) trouble: Arc<Notify>,
    pub(crate) expectations: Arc<Expectations>,
}

/// What a link needs of the machine.
#[derive(Clone)]
pub struct Machine {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Who reads from the sockets besides the runtime, if anybody does.
    #[cfg(unix)]
    pub watcher: Option<Arc<dyn Watcher>>,
}

/// The link to a server.
pub(crate) struct Link {
    pub(crate) config: Arc<Config>,
    /// What errors call the server.
    pub(crate) server: Server,
    /// Who says where the server is.
    sentinels: Option<Arc<Sentinels>>,
    machine: Machine,
    state: Mutex<State>,
    pub(crate) shared: Shared,
    members: Arc<Members>,
    confirmations: Confirmations,
    /// The keeper shall end.
    closed: CancellationToken,
}

/// What errors call the server.
pub(crate) enum Server {
    Fixed(String),
    Named(Arc<Sentinels>),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(name) => f.write_str(name),
            Self::Named(sentinels) => sentinels.fmt(f),
        }
    }
}

#[derive(Clone)]
pub(crate) enum State {
    /// No connection yet or no longer; why, if a try has failed.
    Connecting(Option<ConnectError>),
    Ready(Arc<Live>),
    /// The keeper has given up for good.
    GaveUp(Cause),
    /// The last locker was closed.
    Closed,
}

/// A connection that calls may use.
pub(crate) struct Live {
    /// No other connection of this process has it, and later ones have higher ones.
    pub(crate) number: u32,
    /// How it was made.
    config: Config,
    pub(crate) since: Instant,
    /// `None`: it is not known yet which keys are used.
    forbidden: Mutex<Option<Forbidden>>,
    pub(crate) commands: Owned,
    /// Where messages come, if not on the same connection (RESP2).
    messages: Option<Owned>,
}

impl Live {
    fn new(config: &Config, forbidden: Option<Forbidden>, commands: Owned, messages: Option<Owned>) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(1);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let config = config.clone();
        Self { number, config, since: Instant::now(), forbidden: Mutex::new(forbidden), commands, messages }
    }

    /// Whether it is known that the user may run all of a script.
    pub(crate) fn allows(&self, script: &LuaScript) -> bool {
        lock(&self.forbidden).as_ref().is_some_and(|forbidden| forbidden.refusal(script, false).is_none())
    }

    /// Why a script is not to be sent, if it is not.
    pub(crate) fn refusal(&self, script: &LuaScript, unanswered: bool) -> Option<Refusal> {
        lock(&self.forbidden).as_ref()?.refusal(script, unanswered)
    }

    /// Finds out once more what is forbidden. Until there is an answer, it is what it was.
    pub(crate) async fn look_again(&self, prefix: &str) {
        let mut forbidden = Forbidden::default();
        for answer in self.commands.send_together(&Forbidden::trials(prefix, self.config.cluster.is_some())) {
            let Ok(answer) = answer.await else { return };
            forbidden.add(answer);
        }
        *lock(&self.forbidden) = Some(forbidden);
    }

    /// Messages come on the connection that has the commands.
    pub(crate) fn is_resp3(&self) -> bool {
        self.messages.is_none()
    }

    fn messages(&self) -> &Arc<Connection> {
        self.messages.as_ref().unwrap_or(&self.commands)
    }

    /// See [`Connection::drive`]. Either of two connections is of no use without the other.
    async fn drive(&self, patience: Duration) -> Cause {
        let Some(messages) = &self.messages else { return self.commands.drive(patience).await };
        let cause = tokio::select! {
            cause = self.commands.drive(patience) => cause,
            cause = messages.drive(patience) => cause,
        };
        self.end(&cause);
        cause
    }

    /// Waits until one of them is [silent](Connection::silent), and says which.
    async fn silent(&self) -> &Arc<Connection> {
        tokio::select! {
            () = self.commands.silent() => &self.commands,
            () = self.messages().silent(), if self.messages.is_some() => self.messages(),
        }
    }

    pub(crate) fn end(&self, cause: &Cause) {
        for connection in [&self.commands, self.messages()] {
            connection.end(cause.clone());
        }
    }
}

impl Link {
    /// Starts to connect. Must be called on the runtime. The link is [reserved](Self::reserve) for the caller. `name`: how
    /// `CLIENT LIST` shows the connection.
    pub(crate) fn open(config: Config, name: String, machine: Machine, shared: Shared) -> Arc<Self> {
        let config = Arc::new(config);
        let sentinels = Sentinels::of(&config, connect::try_timeout(&config));
        let link = Arc::new(Self {
            server: match &sentinels {
                Some(sentinels) => Server::Named(sentinels.clone()),
                None => Server::Fixed(format!("Redis at {}", config.endpoint)),
            },
            sentinels,
            config,
            members: Arc::new(Members::new(shared.changed.clone(), machine.clock.clone())),
            machine,
            state: Mutex::new(State::Connecting(None)),
            shared,
            confirmations: Confirmations::default(),
            closed: CancellationToken::new(),
        });
        tokio::spawn(Keeper::new(link.clone(), name).run());
        link
    }

    /// Somebody is about to use it. `false` if it has been closed, or has been given up for good: then another one is
    /// needed, which tries anew.
    pub(crate) fn reserve(&self) -> bool {
        let given_up = matches!(*self.state(), State::GaveUp(_));
        !given_up && self.members.reserve()
    }

    /// From now on the link serves this locker.
    pub(crate) fn join(&self, member: Arc<Member>, events: Arc<dyn StoreEvents>) {
        self.members.join(member, events, || self.live());
    }

    /// Whoever has [reserved](Self::reserve) it uses it no more. The last one closes it.
    pub(crate) fn leave(&self, member: &Member) {
        self.leave_as(Some(member));
    }

    /// The same for somebody who has reserved it and has not joined.
    pub(crate) fn release(&self) {
        self.leave_as(None);
    }

    fn leave_as(&self, member: Option<&Member>) {
        if self.members.leave(member, || self.live()) {
            self.closed.cancel();
        }
    }

    /// Who says where the server is, if anybody does.
    pub(crate) fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        self.sentinels.as_ref()
    }

    /// See [`Store::expect_events`](lock_inc_core::store::Store::expect_events).
    pub(crate) fn expect_messages(&self, expected: bool) {
        if self.shared.expectations.change(expected) {
            self.wake_vigil();
        }
    }

    /// Messages are to be heard soon.
    pub(crate) fn wake_vigil(&self) {
        if let Some(live) = self.live() {
            live.messages().wake_vigil();
        }
    }

    /// What is said of this lock is to reach the locker by the shortest way.
    pub(crate) fn listen_closely(&self, member: &Member, lock: &str) {
        if let Some(live) = self.live() {
            live.messages().listen_closely(member.channel_of(lock));
        }
    }

    /// A locker asks for confirmations from now on, or does not any more.
    pub(crate) fn expect_confirmations(&self, expected: bool) {
        self.confirmations.expect(expected);
    }

    /// Whether an answer counts that has taken long on this connection: not if the server is known to be no primary any more.
    /// Then the connection is ended.
    pub(crate) async fn is_confirmed(&self, connection: u32) -> bool {
        let Some(sentinels) = &self.sentinels else { return true };
        let Some(live) = self.live().filter(|live| live.number == connection) else { return false };
        let Endpoint::Tcp { host, port, .. } = &live.config.endpoint else { return true };
        let objection = sentinels.objection(&Address { host: host.clone(), port: *port }).await;
        if let Some(cause) = &objection {
            live.end(cause);
        }
        objection.is_none()
    }

    pub(crate) fn live(&self) -> Option<Arc<Live>> {
        match &*self.state() {
            State::Ready(live) => Some(live.clone()),
            _ => None,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn publish(&self, state: State) {
        *self.state() = state;
        self.shared.changed.notify_waiters();
    }
}

/// How many lockers have calls that wait for a message.
#[derive(Default)]
pub(crate) struct Expectations(AtomicIsize);

impl Expectations {
    /// One more or one less. Whether it is the first.
    pub(crate) fn change(&self, expected: bool) -> bool {
        let before = self.0.fetch_add(if expected { 1 } else { -1 }, Ordering::SeqCst);
        expected && before == 0
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}
