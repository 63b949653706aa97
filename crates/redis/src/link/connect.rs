//! Makes one connection: socket, TLS, handshake.

#[cfg(not(unix))]
use std::io;
use std::{
    net::SocketAddr,
    ops::{Deref, RangeInclusive},
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use lock_inc_core::{error::Cause, lock};
use redis::{Cmd, Value, cmd};
use socket2::SockRef;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::{
    Link, Live,
    connection::{Answer, Connection, Speech},
    failure::{self, ConnectError},
    members::Subscriptions,
    socket::Socket,
    transport::Transport,
};
use crate::{
    config::{Address, Config, Endpoint, Family},
    operations::permissions::Forbidden,
    refusal::{self, RefusalKind},
    topology::role::Role,
};

/// Bounds of the time for one try to connect, name lookup and handshake included. Between them it is the time that
/// a call may take: whoever waits would not wait for longer.
const TRY_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(5);

/// A connection that is ready for use.
pub(crate) struct Connected {
    pub(crate) live: Arc<Live>,
    pub(crate) subscriptions: Subscriptions,
    /// How long the handshake has taken, at the most.
    pub(crate) round_trip: Duration,
    /// Where it leads, by the sentinels.
    pub(crate) primary: Option<Address>,
}

/// `name`: how `CLIENT LIST` shows it.
pub(crate) async fn connect(link: &Link, name: &str) -> Result<Connected, ConnectError> {
    let limit = try_timeout(&link.config);
    let step = Step::default();
    step.add_to(timed(limit, open(link, name, &step)).await)
}

async fn timed<T>(
    limit: Duration,
    open: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    timeout(limit, open).await.unwrap_or_else(|_| {
        let limit = limit.as_millis();
        Err(ConnectError::Passing(Cause::new("ETIMEDOUT", format!("no connection within {limit} ms"))))
    })
}

/// A second connection to the server of this one, for commands alone.
pub(crate) async fn connect_beside(live: &Live, link: &Link, name: &str) -> Result<Owned, ConnectError> {
    let mut config = live.config.clone();
    if let (Endpoint::Tcp { host, port, .. }, Some(address)) = (&mut config.endpoint, live.commands.peer()) {
        // Its name may lead to another server by now. The certificate is still one of that name.
        let named = config.tls.as_ref().map(|tls| tls.named(host)).transpose();
        config.tls = named.map_err(|error| ConnectError::Tls(error.cause()))?;
        (*host, *port) = (address.ip().to_string(), address.port());
    }
    let limit = try_timeout(&config);
    let step = Step::default();
    let open = async {
        let connection = over(link, open_transport(&config, &step).await?, Speech::Replies)?;
        greet(&connection, &config, name, &[], &step).await?;
        Ok(connection)
    };
    step.add_to(timed(limit, open).await)
}

/// How far a try has come, for the error that ends it. Nothing is said to the server yet, or this.
#[derive(Default)]
pub(super) struct Step(Mutex<Option<&'static str>>);

impl Step {
    pub(super) fn begin(&self, what: &'static str) {
        *lock(&self.0) = Some(what);
    }

    /// Adds to an error how far it was.
    pub(super) fn add_to<T>(&self, opened: Result<T, ConnectError>) -> Result<T, ConnectError> {
        opened.map_err(|error| match *lock(&self.0) {
            Some(step) => error.at(step),
            None => error,
        })
    }

    /// The first thing that is said, on a port that may be for something else.
    pub(super) fn begin_hello(&self, config: &Config) {
        let may_expect_tls = config.tls.is_none() && matches!(config.endpoint, Endpoint::Tcp { .. });
        self.begin(if may_expect_tls {
            "HELLO; if it expects TLS on this port, set config.tls"
        } else {
            "HELLO"
        });
    }
}

pub(super) fn try_timeout(config: &Config) -> Duration {
    config.command_timeout.clamp(*TRY_TIMEOUT.start(), *TRY_TIMEOUT.end())
}

async fn open(link: &Link, name: &str, step: &Step) -> Result<Connected, ConnectError> {
    let resolved = match &link.sentinels {
        // What few links need has no room in the futures of the others.
        Some(sentinels) => Some(Box::pin(sentinels.resolve()).await?),
        None => None,
    };
    let config = resolved.as_ref().map_or(&*link.config, |(_, config)| config);
    let opening = open_resp3(link, config, name, step);
    let live = match &link.sentinels {
        Some(sentinels) => sentinels.unless_renamed(opening).await?,
        None => opening.await?,
    };
    let start = Instant::now();
    step.begin("SUBSCRIBE");
    let subscriptions = driven(live.messages(), link.members.subscribe(live.messages())).await?;
    let primary = resolved.map(|(primary, _)| primary);
    Ok(Connected { live: Arc::new(live), subscriptions, round_trip: start.elapsed(), primary })
}

/// Speaks RESP3, in which messages come on the same connection; or else RESP2.
async fn open_resp3(link: &Link, config: &Config, name: &str, step: &Step) -> Result<Live, ConnectError> {
    let commands = new_connection(link, config, Speech::Replies, step).await?;
    step.begin_hello(config);
    let greeting = driven(&commands, async { Ok(commands.send_one(&hello(config)).await) }).await;
    match greeting {
        Ok(Ok(Value::ServerError(error))) => match refusal::kind_of(&error) {
            RefusalKind::NoAuth | RefusalKind::WrongPass => Err(ConnectError::of_handshake(&error)),
            kind if kind.is_passing() => Err(ConnectError::of_handshake(&error)),
            // Unknown, forbidden, or another protocol than it knows: in whichever way a proxy or a managed service says so.
            _ => {
                let said = refusal::of_reply(&error, false).cause;
                let opened = open_resp2(link, config, name, step, commands).await;
                opened.map_err(|error| or_rather(said, error))
            }
        },
        Ok(Ok(greeting)) => {
            if let Some(sentinels) = &link.sentinels {
                sentinels.check(Role::of_greeting(&greeting))?;
            }
            step.begin("CLIENT SETNAME");
            let forbidden = driven(&commands, introduce(&commands, config, name, &trials(link))).await?;
            Ok(Live::new(config, forbidden, commands, None))
        }
        // Some say it by closing the connection.
        Ok(Err(cause)) | Err(ConnectError::Passing(cause)) => {
            let again = async {
                let commands = new_connection(link, config, Speech::Replies, step).await?;
                open_resp2(link, config, name, step, commands).await
            };
            again.await.map_err(|error| {
                step.begin_hello(config);
                or_rather(cause, error)
            })
        }
        Err(error) => Err(error),
    }
}

/// Why RESP2 has failed as well: where there is nothing to be said but that the connection was lost, what had been said
/// before. A server that has too many clients says so once, and closes the connection.
fn or_rather(before: Cause, error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Passing(cause) if matches!(&*cause.code, "ECONNRESET" | "EPIPE") => {
            ConnectError::Passing(before)
        }
        error => error,
    }
}

/// Speaks RESP2, and listens to messages on a second connection.
async fn open_resp2(
    link: &Link,
    config: &Config,
    name: &str,
    step: &Step,
    commands: Owned,
) -> Result<Live, ConnectError> {
    let messages = new_connection(link, config, Speech::Messages, step).await?;
    let forbidden = greet(&commands, config, name, &trials(link), step).await?;
    if let Some(sentinels) = &link.sentinels {
        let role = driven(&commands, async { Ok(commands.send_one(&cmd("ROLE")).await) }).await?;
        sentinels.check(Role::of_answer(role))?;
    }
    greet(&messages, config, name, &[], step).await?;
    Ok(Live::new(config, forbidden, commands, Some(messages)))
}

/// What is said first in RESP2.
async fn greet(
    connection: &Arc<Connection>,
    config: &Config,
    name: &str,
    trials: &[Cmd],
    step: &Step,
) -> Result<Option<Forbidden>, ConnectError> {
    driven(connection, async {
        if let Some(auth) = auth(config) {
            step.begin("AUTH");
            accepted(connection.send_one(&auth).await)?;
        }
        step.begin("CLIENT SETNAME");
        introduce(connection, config, name, trials).await
    })
    .await
}

/// What finds out which commands are forbidden. Nothing where it is not known yet which keys are used.
fn trials(link: &Link) -> Vec<Cmd> {
    let in_cluster = link.config.cluster.is_some();
    link.members.any_prefix().map(|prefix| Forbidden::trials(&prefix, in_cluster)).unwrap_or_default()
}

/// Drives a connection until something is done.
pub(super) async fn driven<T>(
    connection: &Connection,
    work: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => done,
        // The answer may have come together with the end.
        cause = connection.drive(Duration::MAX) => {
            work.now_or_never().unwrap_or(Err(ConnectError::Passing(cause)))
        }
    }
}

pub(super) fn accepted(answer: Answer) -> Result<(), ConnectError> {
    match answer {
        Ok(Value::ServerError(error)) => Err(ConnectError::of_handshake(&error)),
        Ok(_) => Ok(()),
        Err(cause) => Err(ConnectError::Passing(cause)),
    }
}

pub(super) fn hello(config: &Config) -> Cmd {
    let mut hello = cmd("HELLO");
    hello.arg(3);
    if let Some(password) = &config.password {
        hello.arg("AUTH").arg(config.username.as_deref().unwrap_or("default")).arg(&password.0);
    }
    hello
}

pub(super) fn auth(config: &Config) -> Option<Cmd> {
    let password = config.password.as_ref()?;
    let mut auth = cmd("AUTH");
    auth.arg(&config.username).arg(&password.0);
    Some(auth)
}

/// Chooses the database, says who we are, and asks what is forbidden. The second may be forbidden or unknown: a lock does
/// not depend on it.
async fn introduce(
    connection: &Arc<Connection>,
    config: &Config,
    name: &str,
    trials: &[Cmd],
) -> Result<Option<Forbidden>, ConnectError> {
    let mut select = cmd("SELECT");
    select.arg(config.database);
    let mut commands = Vec::from_iter((config.database != 0).then_some(select));
    let required = commands.len();
    let client = [["SETNAME", "", name], ["SETINFO", "LIB-NAME", "lock-inc"]];
    for [what, of, value] in client.into_iter().chain([["SETINFO", "LIB-VER", env!("CARGO_PKG_VERSION")]]) {
        let mut command = cmd("CLIENT");
        command.arg(what).arg(Some(of).filter(|of| !of.is_empty())).arg(value);
        commands.push(command);
    }
    let asked = commands.len();
    commands.extend_from_slice(trials);
    let mut forbidden = Forbidden::default();
    for (index, answer) in connection.send_together(&commands).into_iter().enumerate() {
        match answer.await {
            Ok(answer) if index >= asked => forbidden.add(answer),
            Ok(_) if index >= required => {}
            answer => accepted(answer)?,
        }
    }
    Ok((!trials.is_empty()).then_some(forbidden))
}

async fn new_connection(
    link: &Link,
    config: &Config,
    speech: Speech,
    step: &Step,
) -> Result<Owned, ConnectError> {
    over(link, open_transport(config, step).await?, speech)
}

fn over(link: &Link, transport: Transport, speech: Speech) -> Result<Owned, ConnectError> {
    let connection = Connection::new(
        transport,
        speech,
        link.members.clone(),
        link.shared.expectations.clone(),
        #[cfg(unix)]
        link.machine.watcher.clone(),
    )?;
    Ok(Owned(connection))
}

/// A connection that ends with whoever has it.
pub(crate) struct Owned(pub(super) Arc<Connection>);

impl Deref for Owned {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Arc<Connection> {
        &self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.end(Cause::new("ECONNRESET", "the connection was closed"));
    }
}

pub(super) async fn open_transport(config: &Config, step: &Step) -> Result<Transport, ConnectError> {
    match &config.endpoint {
        Endpoint::Tcp { host, port, family } => {
            let stream = open_tcp(host, *port, *family, try_timeout(config)).await?;
            stream.set_nodelay(config.nodelay)?;
            let socket = SockRef::from(&stream);
            socket.set_keepalive(config.keepalive)?;
            // What a connection that is given up has not got rid of yet must not arrive after what the next one sends.
            // Nothing is lost by it: a connection that is closed in order has had all its answers.
            socket.set_linger(Some(Duration::ZERO))?;
            let socket = Socket::new(stream.into_std()?)?;
            match &config.tls {
                Some(tls) => {
                    step.begin("the TLS handshake; does it speak TLS on this port?");
                    let named = tls.for_host(host).map_err(|error| ConnectError::Tls(error.cause()))?;
                    Transport::with_tls(socket, &named).await
                }
                None => Ok(Transport::plain(socket)),
            }
        }
        #[cfg(unix)]
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await?.into_std()?;
            Ok(Transport::plain(Socket::new(stream)?))
        }
        #[cfg(not(unix))]
        Endpoint::Unix(_) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "this platform has no Unix sockets").into())
        }
    }
}

async fn open_tcp(host: &str, port: u16, family: Family, limit: Duration) -> Result<TcpStream, ConnectError> {
    let addresses = lookup_host((host, port)).await.map_err(|error| {
        let code = failure::system_name(&error);
        let cause = Cause::new(code.as_deref().unwrap_or("ENOTFOUND"), format_args!("{host}: {error}"));
        ConnectError::Passing(cause)
    })?;
    let wanted = |address: &SocketAddr| match family {
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
        Family::Any => true,
    };
    let addresses: Vec<_> = addresses.filter(wanted).collect();
    let mut last = Cause::new("ENOTFOUND", format!("{host} has no address of the wanted family"));
    // A silent address leaves the others their share of the time.
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = failure::of_io(&error),
            Err(_) => last = Cause::new("ETIMEDOUT", format!("{address} does not answer")),
        }
    }
    Err(ConnectError::Passing(last))
}
