//! Makes one connection: socket, TLS, handshake.

use std::{convert::Infallible, io, net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value,
    aio::MultiplexedConnection, cmd,
};
use socket2::SockRef;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    config::{Config, Endpoint, Family},
    refusal::{self, ConnectError},
};
use crate::{
    driver::{Notice, Notices},
    error::Cause,
};

/// Bounds of the time for one try to connect, name lookup and handshake included. Between them it is the time that
/// a call may take: whoever waits would not wait for longer.
const TRY_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(5);

/// Commands that may wait for room in the connection's own queue before callers are made to wait.
const QUEUE: usize = 4096;

/// A live connection. When `driver` ends, it is gone.
pub struct Connected {
    pub connection: MultiplexedConnection,
    pub driver: JoinHandle<()>,
}

/// What a connection is for, besides commands.
#[derive(Clone, Debug)]
pub struct Session {
    /// How `CLIENT LIST` shows it.
    pub name: String,
    /// Where news of this locker's locks are published.
    pub channel: String,
    /// What the names of locks begin with.
    pub prefix: String,
    pub notices: Notices,
}

impl Session {
    /// Takes what the server pushes.
    fn hear(&self, push: &PushInfo) {
        if push.kind == PushKind::Message
            && let [_, Value::BulkString(news)] = &push.data[..]
            && let Some((hash, token)) = self.removed(news)
        {
            // Without a receiver the locker is no more.
            let _ = self.notices.send(Notice::Removed { hash, token });
        }
    }

    /// `<token> <name of the lock's key>`
    fn removed(&self, news: &[u8]) -> Option<(Arc<str>, u64)> {
        let (token, key) = str::from_utf8(news).ok()?.split_once(' ')?;
        Some((key.strip_prefix(&self.prefix)?.into(), token.parse().ok()?))
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

async fn open(config: &Config, session: &Session) -> Result<Connected, ConnectError> {
    match &config.endpoint {
        Endpoint::Tcp { host, port, family } => {
            let stream = open_tcp(host, *port, *family, try_timeout(config)).await?;
            stream.set_nodelay(config.nodelay)?;
            let socket = SockRef::from(&stream);
            socket.set_keepalive(config.keepalive)?;
            // What a connection that is given up has not got rid of yet must not arrive after what the next one sends.
            // Nothing is lost by it: a connection that is closed in order has had all its answers.
            socket.set_linger(Some(Duration::ZERO))?;
            if let Some(tls) = &config.tls {
                let connector = TlsConnector::from(tls.client.clone());
                let stream = connector
                    .connect(tls.server_name.clone(), stream)
                    .await
                    .map_err(|error| tls_error(&error))?;
                return handshake(config, session, stream).await;
            }
            handshake(config, session, stream).await
        }
        #[cfg(unix)]
        Endpoint::Unix(path) => handshake(config, session, UnixStream::connect(path).await?).await,
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

async fn handshake<S>(config: &Config, session: &Session, stream: S) -> Result<Connected, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // RESP3, because a lock's news will be pushed on the same connection; every supported server speaks it.
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(config.database)
        .set_lib_name("lock-inc", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &config.username {
        info = info.set_username(username);
    }
    if let Some(password) = &config.password {
        info = info.set_password(&password.0);
    }
    // Deadlines are kept by the caller, who knows what is safe to send again.
    let hears = session.clone();
    let settings = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE)
        .set_push_sender(move |push: PushInfo| {
            hears.hear(&push);
            Ok::<_, Infallible>(())
        });
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, settings)
        .await
        .map_err(|error| refusal::of_handshake(&error))?;
    let driver = tokio::spawn(driver);

    // A name for CLIENT LIST, and the channel for news. An ACL may forbid them, and a lock does not depend on them:
    // without the news it learns of a loss at its next renewal. Whatever is wrong with the connection itself shows at
    // the first command.
    let (mut naming, mut subscribing) = (connection.clone(), connection.clone());
    let mut set_name = cmd("CLIENT");
    set_name.arg("SETNAME").arg(&session.name);
    let _ = tokio::join!(naming.send_packed_command(&set_name), subscribing.subscribe(&session.channel));

    Ok(Connected { connection, driver })
}

/// The endpoint as errors show it.
pub fn endpoint_name(config: &Config) -> Arc<str> {
    config.endpoint.to_string().into()
}
