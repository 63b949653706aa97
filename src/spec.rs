//! What `lib/options/` makes of the argument of `lockFactory`: checked, with all defaults filled in. `lib/native.d.ts`
//! says what each field is.

use std::time::Duration;

use napi::{
    Env, Error as NapiError, Result as NapiResult, Status, Unknown,
    bindgen_prelude::{Buffer, JsObjectValue, Object},
};
use napi_derive::napi;

use lock_inc_core::{Backoff, error::Limit, store::Replication};
use lock_inc_redis::{
    config::{Address, ClusterConfig, Config, Endpoint, Family, Reconnect, Secret, Sentinel},
    tls::{TlsOptionError, TlsOptions},
};

#[napi(object, object_to_js = false)]
pub struct Spec<'env> {
    pub prefix: String,
    pub command_timeout: f64,
    pub redis: Option<RedisSpec<'env>>,
}

#[napi(object, object_to_js = false)]
pub struct RedisSpec<'env> {
    pub path: Option<String>,
    pub host: String,
    pub port: u16,
    pub nodes: Option<Vec<NodeSpec>>,
    pub nat_map: Option<Vec<NatSpec>>,
    pub family: u32,
    pub sentinel: Option<SentinelSpec>,
    pub tls: Option<TlsSpec>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub database: u32,
    pub key_prefix: String,
    pub keepalive: bool,
    pub nodelay: bool,
    pub offline_queue: bool,
    pub max_attempts: u32,
    pub max_time: f64,
    pub max_delay: f64,
    /// It has to be bound to the environment, so it is not part of what is made of the rest.
    pub strategy: Option<Unknown<'env>>,
    pub strategy_number: Option<u32>,
    /// The locker's own.
    pub replicas: u32,
    pub replica_timeout: f64,
}

#[napi(object, object_to_js = false)]
pub struct SentinelSpec {
    pub name: String,
    pub addresses: Vec<NodeSpec>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub tls: Option<TlsSpec>,
}

#[napi(object, object_to_js = false)]
pub struct NodeSpec {
    pub host: String,
    pub port: u16,
}

#[napi(object, object_to_js = false)]
pub struct NatSpec {
    pub from: String,
    pub host: String,
    pub port: u16,
}

#[napi(object, object_to_js = false)]
pub struct TlsSpec {
    pub ca: Vec<Buffer>,
    pub cert: Buffer,
    pub key: Buffer,
    pub servername: Option<String>,
    pub verify: bool,
}

impl RedisSpec<'_> {
    /// Which grants count, if not all do.
    pub(crate) fn replication(&self) -> Option<Replication> {
        let limit = Limit { time: milliseconds(self.replica_timeout), option: "settings.replicaTimeout" };
        (self.replicas > 0).then_some(Replication { replicas: self.replicas, limit })
    }

    /// All that tells a link from others: what has the same key may share one. It holds secrets.
    pub(crate) fn key(&self, command_timeout: f64) -> Vec<u8> {
        let nodes = self
            .nodes
            .as_ref()
            .map(|nodes| nodes.iter().map(|node| (&node.host, node.port)).collect::<Vec<_>>());
        let nat_map = self
            .nat_map
            .as_ref()
            .map(|map| map.iter().map(|nat| (&nat.from, &nat.host, nat.port)).collect::<Vec<_>>());
        let mut key = format!(
            "{:?}",
            (
                (&self.path, &self.host, self.port, self.family, nodes, nat_map),
                (&self.username, &self.password, self.database),
                (self.keepalive, self.nodelay, self.offline_queue),
                (self.max_attempts, self.max_time, self.max_delay, self.strategy_number, command_timeout),
                self.sentinel.as_ref().map(|sentinel| {
                    let SentinelSpec { name, addresses, username, password, .. } = sentinel;
                    let addresses: Vec<_> = addresses.iter().map(|one| (&one.host, one.port)).collect();
                    (name, username, password, addresses)
                }),
            )
        )
        .into_bytes();
        for tls in [self.tls.as_ref(), self.sentinel.as_ref().and_then(|sentinel| sentinel.tls.as_ref())] {
            key.push(tls.is_some().into());
            if let Some(tls) = tls {
                tls.add_to(&mut key);
            }
        }
        key
    }

    /// Fails where rustls objects to the certificates or the key, and says of which option they are.
    pub(crate) fn config(self, command_timeout: Duration) -> Result<Config, (&'static str, TlsOptionError)> {
        let client = |tls: TlsSpec| tls.options().client();
        let of_tls = |error| ("tls", error);
        let tls = self.tls.map(client).transpose().map_err(of_tls)?;
        let has_fixed_host = self.sentinel.is_none() && self.nodes.is_none();
        if let Some(tls) = tls.as_ref().filter(|_| has_fixed_host) {
            tls.check_host(&self.host).map_err(of_tls)?;
        }
        let sentinel = self.sentinel.map(|sentinel| {
            let tls = sentinel.tls.map(client).transpose().map_err(|error| ("sentinelTls", error))?;
            Ok(Sentinel {
                name: sentinel.name,
                addresses: sentinel.addresses.into_iter().map(Address::from).collect(),
                username: sentinel.username,
                password: sentinel.password.map(Secret),
                tls,
            })
        });
        let sentinel = sentinel.transpose()?;
        Ok(Config {
            cluster: self.nodes.map(|nodes| cluster(nodes, self.nat_map.unwrap_or_default())),
            endpoint: match self.path {
                Some(path) => Endpoint::Unix(path.into()),
                None => Endpoint::Tcp { host: self.host, port: self.port, family: family(self.family) },
            },
            sentinel,
            tls,
            username: self.username,
            password: self.password.map(Secret),
            database: self.database.into(),
            keepalive: self.keepalive,
            nodelay: self.nodelay,
            offline_queue: self.offline_queue,
            reconnect: Reconnect::Backoff {
                backoff: Backoff { max: milliseconds(self.max_delay), ..Reconnect::BACKOFF },
                max_attempts: Some(self.max_attempts).filter(|max| *max > 0),
                max_time: limit(self.max_time),
            },
            command_timeout,
        })
    }
}

impl From<NodeSpec> for Address {
    fn from(NodeSpec { host, port }: NodeSpec) -> Self {
        Self { host, port }
    }
}

impl TlsSpec {
    /// To what tells a link from others.
    fn add_to(&self, key: &mut Vec<u8>) {
        key.push(self.verify.into());
        key.extend_from_slice(&self.ca.len().to_be_bytes());
        let pems = self.ca.iter().chain([&self.cert, &self.key]).map(|pem| &**pem);
        for bytes in pems.chain([self.servername.as_deref().unwrap_or_default().as_bytes()]) {
            key.extend_from_slice(&bytes.len().to_be_bytes());
            key.extend_from_slice(bytes);
        }
    }

    fn options(self) -> TlsOptions {
        TlsOptions {
            ca: self.ca.into_iter().map(Into::into).collect(),
            cert: self.cert.into(),
            key: self.key.into(),
            server_name: self.servername.unwrap_or_default(),
            verify: self.verify,
        }
    }
}

fn cluster(nodes: Vec<NodeSpec>, nat_map: Vec<NatSpec>) -> ClusterConfig {
    let translation = |NatSpec { from, host, port }: NatSpec| (from, Address { host, port });
    ClusterConfig {
        seeds: nodes.into_iter().map(Address::from).collect(),
        nat_map: nat_map.into_iter().map(translation).collect(),
    }
}

fn family(number: u32) -> Family {
    match number {
        4 => Family::V4,
        6 => Family::V6,
        _ => Family::Any,
    }
}

/// A time that JavaScript gives. One that is none, or is longer than any clock runs, is a bug there: it ends at once.
pub(crate) fn milliseconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

/// A time of which 0 means that there is no limit.
pub(crate) fn limit(ms: f64) -> Option<Duration> {
    Some(milliseconds(ms)).filter(|limit| !limit.is_zero())
}

/// Throws a plain object, from which `lib/errors.js` makes the `TypeError`: an `Error` that is made here would be none to
/// code in another context of the same thread, such as a test in jest.
pub(crate) fn throw(env: &Env, of: &str, error: &TlsOptionError) -> NapiError {
    let failure = || -> NapiResult<()> {
        let mut failure = Object::new(env)?;
        failure.set_named_property("name", "TypeError")?;
        failure.set_named_property("code", "ERR_INVALID_ARG_TYPE")?;
        failure.set_named_property("message", format!("config.{of}.{} {}", error.option, error.problem))?;
        env.throw(failure)
    };
    match failure() {
        Ok(()) => NapiError::new(Status::PendingException, String::new()),
        Err(error) => error,
    }
}
