//! Makes one connection: socket, TLS, handshake.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::StreamExt;
use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisResult, Value,
    aio::{MultiplexedConnection, PubSub},
    cmd,
};
use socket2::SockRef;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    runtime::Handle,
    sync::oneshot,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};

#[cfg(unix)]
use super::socket::Socket;
use super::{
    config::{Config, Endpoint, Family},
    news::Session,
    refusal::{self, ConnectError},
};
use crate::{
    error::{Cause, Refusal, RefusalKind},
    tasks,
};

/// Bounds of the time for one try to connect, name lookup and handshake included. Between them it is the time that
/// a call may take: whoever waits would not wait for longer.
const TRY_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(5);

/// Room for pipelines in redis-rs's own queue: more than there ever are, as they would not wait for room in order.
const QUEUE: usize = 1 << 24;

/// A live connection, until it ends or `ending` is dropped.
pub struct Connected {
    pub connection: MultiplexedConnection,
    pub ending: Ending,
    /// Whether the session hears its news. Not if the server's ACL forbids it.
    pub hears: bool,
}

/// A socket, with or without TLS. Boxed: each command is two calls of it at the most.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Ends the connection that it belongs to.
pub struct Ending {
    _stop: DropGuard,
    ended: oneshot::Receiver<Infallible>,
}

impl Ending {
    /// Runs what keeps a connection going.
    fn of(driver: impl Future<Output = ()> + Send + 'static) -> Self {
        let (running, ended) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tasks::spawn(&Handle::current(), async move {
            let _running = running;
            stopped.run_until_cancelled_owned(driver).await;
        });
        Self { _stop: stop.drop_guard(), ended }
    }

    /// Waits until it is gone.
    pub async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }
}

pub async fn connect(config: &Config, session: &Session) -> Result<Connected, ConnectError> {
    let limit = try_timeout(config);
    timeout(limit, open(config, session)).await.unwrap_or_else(|_| {
        let limit = limit.as_millis();
        Err(ConnectError::Passing(Cause::new("ETIMEDOUT", format!("no connection within {limit} ms"))))
    })
}

fn try_timeout(config: &Config) -> Duration {
    config.command_timeout.clamp(*TRY_TIMEOUT.start(), *TRY_TIMEOUT.end())
}

/// Speaks RESP3, in which the server sends news on the same connection. To one that does not know it (a proxy, a
/// managed service), RESP2, and listens to the news on a second connection.
async fn open(config: &Config, session: &Session) -> Result<Connected, ConnectError> {
    match handshake(config, session, open_stream(config, session).await?).await {
        Err(ConnectError::Refused(Refusal { kind: RefusalKind::TooOld, .. })) => {
            let streams = (open_stream(config, session).await?, open_stream(config, session).await?);
            handshake_resp2(config, session, streams).await
        }
        connected => connected,
    }
}

async fn open_stream(config: &Config, session: &Session) -> Result<Box<dyn Stream>, ConnectError> {
    match &config.endpoint {
        Endpoint::Tcp { host, port, family } => {
            let stream = open_tcp(host, *port, *family, try_timeout(config)).await?;
            stream.set_nodelay(config.nodelay)?;
            let socket = SockRef::from(&stream);
            socket.set_keepalive(config.keepalive)?;
            // What a connection that is given up has not got rid of yet must not arrive after what the next one sends.
            // Nothing is lost by it: a connection that is closed in order has had all its answers.
            socket.set_linger(Some(Duration::ZERO))?;
            #[cfg(unix)]
            let stream = Socket::new(stream.into_std()?, session.watcher.clone())?;
            let Some(tls) = &config.tls else { return Ok(Box::new(stream)) };
            let connector = TlsConnector::from(tls.client.clone());
            let stream = connector.connect(tls.server_name.clone(), stream).await;
            Ok(Box::new(stream.map_err(|error| tls_error(&error))?))
        }
        #[cfg(unix)]
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await?.into_std()?;
            Ok(Box::new(Socket::new(stream, session.watcher.clone())?))
        }
        #[cfg(not(unix))]
        Endpoint::Unix(_) => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "this platform has no Unix sockets").into())
        }
    }
}

async fn open_tcp(host: &str, port: u16, family: Family, limit: Duration) -> Result<TcpStream, ConnectError> {
    let addresses = lookup_host((host, port))
        .await
        .map_err(|error| ConnectError::Passing(Cause::new("ENOTFOUND", format!("{host}: {error}"))))?;
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
            Ok(Err(error)) => last = Cause::from(&error),
            Err(_) => last = Cause::new("ETIMEDOUT", format!("{address} does not answer")),
        }
    }
    Err(ConnectError::Passing(last))
}

/// A broken connection may come back; what rustls itself objects to will not change by trying again.
fn tls_error(error: &io::Error) -> ConnectError {
    if error.kind() == io::ErrorKind::InvalidData {
        ConnectError::Tls(Cause::new("ERR_TLS", error))
    } else {
        ConnectError::Passing(Cause::from(error))
    }
}

async fn handshake(
    config: &Config,
    session: &Session,
    stream: Box<dyn Stream>,
) -> Result<Connected, ConnectError> {
    let listener = session.clone();
    let settings = settings().set_push_sender(move |push: PushInfo| {
        if push.kind == PushKind::Message
            && let [_, Value::BulkString(message)] = &push.data[..]
        {
            listener.hear(message);
        }
        Ok::<_, Infallible>(())
    });
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&info(config, ProtocolVersion::RESP3), stream, settings)
            .await
            .map_err(|error| refusal::of_handshake(&error))?;
    let ending = Ending::of(driver);
    let mut subscribing = connection.clone();
    let ((), subscribed) = tokio::join!(name(&connection, session), subscribing.subscribe(&session.channel));
    Ok(Connected { connection, ending, hears: hears(session, subscribed)? })
}

async fn handshake_resp2(
    config: &Config,
    session: &Session,
    (commands, news): (Box<dyn Stream>, Box<dyn Stream>),
) -> Result<Connected, ConnectError> {
    let info = info(config, ProtocolVersion::RESP2);
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, commands, settings())
        .await
        .map_err(|error| refusal::of_handshake(&error))?;
    let mut listening = PubSub::new(&info, news).await.map_err(|error| refusal::of_handshake(&error))?;
    let hears = hears(session, listening.subscribe(&session.channel).await)?;
    let listener = session.clone();
    // Either of the two connections is of no use without the other.
    let ending = Ending::of(async move {
        let mut messages = listening.into_on_message();
        let listen = async {
            while let Some(message) = messages.next().await {
                listener.hear(message.get_payload_bytes());
            }
        };
        tokio::select! {
            () = driver => {}
            () = listen => {}
        }
    });
    name(&connection, session).await;
    Ok(Connected { connection, ending, hears })
}

/// Whether messages will come: an ACL may forbid the subscription. Any other failure is one of the connection.
fn hears(session: &Session, subscribed: RedisResult<()>) -> Result<bool, ConnectError> {
    let hears = match subscribed.map_err(|error| refusal::of_handshake(&error)) {
        Ok(()) => true,
        Err(ConnectError::Refused(Refusal { kind: RefusalKind::NoPerm | RefusalKind::TooOld, .. })) => false,
        Err(error) => return Err(ConnectError::Passing(error.cause().clone())),
    };
    session.hears.store(hears, Ordering::Relaxed);
    Ok(hears)
}

fn info(config: &Config, protocol: ProtocolVersion) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default()
        .set_protocol(protocol)
        .set_db(config.database)
        .set_lib_name("lock-inc", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &config.username {
        info = info.set_username(username);
    }
    if let Some(password) = &config.password {
        info = info.set_password(&password.0);
    }
    info
}

fn settings() -> AsyncConnectionConfig {
    // Deadlines are kept by the caller, who knows what is safe to send again.
    AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(QUEUE)
}

/// A name for `CLIENT LIST`. An ACL may forbid it, and a lock does not depend on it. Whatever is wrong with the
/// connection itself shows at the first command.
async fn name(connection: &MultiplexedConnection, session: &Session) {
    let mut set_name = cmd("CLIENT");
    set_name.arg("SETNAME").arg(&session.name);
    let _ = connection.clone().send_packed_command(&set_name).await;
}

/// The endpoint as errors show it.
pub fn endpoint_name(config: &Config) -> Arc<str> {
    config.endpoint.to_string().into()
}
