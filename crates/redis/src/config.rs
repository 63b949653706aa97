//! How to reach the server, after validation.

use std::{collections::HashMap, fmt, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};

use lock_inc_core::{Backoff, error::Cause};

use crate::tls::TlsClient;

/// Everything that is needed to get a connection, and to get it again.
#[derive(Clone, Debug)]
pub struct Config {
    pub endpoint: Endpoint,
    /// The server is a node of a cluster, which says where the others are. What `endpoint` says is then put in for each node,
    /// but for the family.
    pub cluster: Option<ClusterConfig>,
    /// Who says where the server is. What `endpoint` says is then put in by each answer, but for the family.
    pub sentinel: Option<Sentinel>,
    /// TLS with the server.
    pub tls: Option<TlsClient>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub database: i64,
    pub keepalive: bool,
    pub nodelay: bool,
    /// Whether a call may wait for a connection.
    pub offline_queue: bool,
    pub reconnect: Reconnect,
    /// The locker's: the longest that a call may take.
    pub command_timeout: Duration,
}

impl Config {
    /// Which addresses of a host are tried.
    pub(crate) fn family(&self) -> Family {
        match self.endpoint {
            Endpoint::Tcp { family, .. } => family,
            Endpoint::Unix(_) => Family::Any,
        }
    }

    /// The same for one node of the cluster.
    pub(crate) fn of_node(&self, Address { host, port }: &Address) -> Self {
        let endpoint = Endpoint::Tcp { host: host.clone(), port: *port, family: self.family() };
        Self { endpoint, ..self.clone() }
    }
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tcp { host: String, port: u16, family: Family },
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The nodes of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Some of them. They know of the others.
    pub seeds: Vec<Address>,
    /// Where those are that are not reachable as the cluster names them, by host, colon and port. No brackets are around an
    /// IPv6 address, as servers write none.
    pub nat_map: HashMap<String, Address>,
}

impl ClusterConfig {
    /// Where a node is, which the cluster names so.
    pub(crate) fn translate(&self, named: Address) -> Address {
        self.nat_map.get(&format!("{}:{}", named.host, named.port)).cloned().unwrap_or(named)
    }
}

/// A group of servers of which sentinels know the primary.
#[derive(Clone, Debug)]
pub struct Sentinel {
    /// What the sentinels call the group.
    pub name: String,
    /// Some of the sentinels. They know of the others.
    pub addresses: Vec<Address>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// TLS with the sentinels.
    pub tls: Option<TlsClient>,
}

/// Which addresses of a host are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
    Any,
}

/// A TLS client, ready to connect to a host.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) server_name: ServerName<'static>,
    pub(crate) client: Arc<ClientConfig>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// A password. It shows itself to nobody but the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// When to connect again after a connection was lost or could not be made.
#[derive(Clone)]
pub enum Reconnect {
    Backoff {
        backoff: Backoff,
        /// How many tries in a row, the first one included.
        max_attempts: Option<u32>,
        /// How long to go on trying.
        max_time: Option<Duration>,
    },
    /// The user's `retry_strategy`.
    Custom(Arc<dyn ReconnectStrategy>),
}

impl Reconnect {
    pub const BACKOFF: Backoff = Backoff { first: Duration::from_millis(50), max: Duration::from_secs(2) };
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backoff { backoff, max_attempts, max_time } => f
                .debug_struct("Backoff")
                .field("backoff", backoff)
                .field("max_attempts", max_attempts)
                .field("max_time", max_time)
                .finish(),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// What a strategy may want to know.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// Number of this retry, from 1.
    pub attempt: u32,
    /// Since the connection was last there.
    pub retrying_for: Duration,
    /// How often a connection was made.
    pub times_connected: u32,
    pub cause: Cause,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    RetryAfter(Duration),
    /// For good. The cause takes the place of the last one if there is any.
    GiveUp(Option<Cause>),
}

/// Decides when to connect again.
pub trait ReconnectStrategy: Send + Sync {
    fn decide(&self, trouble: Trouble) -> Pin<Box<dyn Future<Output = Decision> + Send + '_>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Config {
        /// Where nothing else is said.
        pub(crate) fn of(host: &str, port: u16) -> Self {
            Self {
                endpoint: Endpoint::Tcp { host: host.into(), port, family: Family::Any },
                cluster: None,
                sentinel: None,
                tls: None,
                username: None,
                password: None,
                database: 0,
                keepalive: true,
                nodelay: true,
                offline_queue: true,
                reconnect: Reconnect::Backoff {
                    backoff: Reconnect::BACKOFF,
                    max_attempts: None,
                    max_time: None,
                },
                command_timeout: Duration::from_secs(3),
            }
        }
    }

    #[test]
    fn a_node_is_translated_as_servers_write_its_address() {
        let [inside, outside, other] =
            ["fd00::1", "redis.example", "::1"].map(|host| Address { host: host.into(), port: 7000 });
        let nat_map = HashMap::from([("fd00::1:7000".to_owned(), outside.clone())]);
        let config = ClusterConfig { seeds: Vec::new(), nat_map };
        assert_eq!(config.translate(inside), outside);
        assert_eq!(config.translate(other.clone()), other);
    }

    #[test]
    fn debug_output_has_no_password() {
        let config = Config { password: Some(Secret("hunter2".into())), ..Config::of("::1", 1) };
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.endpoint.to_string(), "[::1]:1");
    }
}
