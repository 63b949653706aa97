//! `config`: the options of node_redis 2.x, which lock-inc 1.2.0 handed on to it. `docs/redis-options.md` has a row
//! for each.

use std::time::Duration;

use napi::{Unknown, ValueType};

use super::read::{Options, ReadError, Result};
use crate::{
    core::Backoff,
    driver::redis::{
        config::{Config, Endpoint, Family, Reconnect, Secret, Tls},
        tls::TlsOptions,
        url::FromUrl,
    },
};

/// Options that do something here, or are refused with a reason.
const READ: [&str; 22] = [
    "host",
    "port",
    "path",
    "url",
    "username",
    "user",
    "password",
    "auth_pass",
    "db",
    "database",
    "family",
    "tls",
    "prefix",
    "connect_timeout",
    "max_attempts",
    "retry_max_delay",
    "retry_strategy",
    "enable_offline_queue",
    "socket_keepalive",
    "socket_nodelay",
    "rename_commands",
    "stream",
];

/// Options about what a lock library does not have, or does anyway.
const WITHOUT_EFFECT: [&str; 10] = [
    "parser",
    "string_numbers",
    "return_buffers",
    "detect_buffers",
    "no_ready_check",
    "retry_unfulfilled_commands",
    "disable_resubscribing",
    "retry_unref",
    "socket_initialdelay",
    "socket_initial_delay",
];

const TLS_OPTIONS: [&str; 7] = ["ca", "cert", "key", "servername", "rejectUnauthorized", "host", "port"];

const PORT: &str = "a port from 1 to 65535";
const DATABASE: &str = "a database number from 0 on";
const MILLISECONDS: &str = "a whole number of milliseconds from 1 to 2147483647";
const MAX_INT: u32 = 2_147_483_647;

/// `config`, read.
pub struct RedisSpec<'env> {
    pub config: Config,
    /// The `retry_strategy` if there is one: it has to be bound to the environment.
    pub strategy: Option<Unknown<'env>>,
    /// The database, where it was named by `database` alone and is not 0: 1.2.0 ignored that.
    pub aliased_database: Option<u32>,
}

pub fn read(value: Unknown<'_>, command_timeout: Duration) -> Result<RedisSpec<'_>> {
    let Some(config) = Options::read("config", value)? else {
        let config = Config::default_with(command_timeout);
        return Ok(RedisSpec { config, strategy: None, aliased_database: None });
    };
    let config = config.or_camel_case()?;
    config.only(&[&READ[..], &WITHOUT_EFFECT[..]].concat())?;
    refuse_unsupported(&config)?;

    let url = match config.secret("url")? {
        Some(url) => FromUrl::parse(&url)
            .map_err(|problem| ReadError::out_of_range(format!("config.url {problem}")))?,
        None => FromUrl::default(),
    };
    let tls = read_tls(&config)?.or_else(|| url.tls.then(TlsGiven::default));
    let endpoint = read_endpoint(&config, &url, tls.as_ref())?;
    let strategy = read_strategy(&config)?;
    let password = config.secret("auth_pass")?.or(config.secret("password")?);
    let (database, aliased) = read_database(&config, url.database)?;
    let defaults = Config::default_with(command_timeout);
    let read = Config {
        tls: tls.map(|tls| tls.build(&endpoint)).transpose()?,
        endpoint,
        username: url.username.or(config.string("username")?).or(config.string("user")?),
        password: url.password.or(password).map(Secret),
        database: database.into(),
        key_prefix: config.secret("prefix")?.unwrap_or_default(),
        keepalive: config.boolean("socket_keepalive")?.unwrap_or(defaults.keepalive),
        nodelay: config.boolean("socket_nodelay")?.unwrap_or(defaults.nodelay),
        offline_queue: config.boolean("enable_offline_queue")?.unwrap_or(defaults.offline_queue),
        reconnect: read_backoff(&config)?,
        command_timeout,
    };
    Ok(RedisSpec { config: read, strategy, aliased_database: aliased.then_some(database) })
}

fn refuse_unsupported(config: &Options) -> Result<()> {
    if let Some(renamed) = Options::read("config.rename_commands", config.or_undefined("rename_commands")?)?
        && !renamed.names()?.is_empty()
    {
        let message = "config.rename_commands is not supported: the scripts call commands by their own names";
        return Err(ReadError::wrong_type(message));
    }
    if config.get("stream")?.is_some() {
        let message = "config.stream is not supported: use host and port, path, or url";
        return Err(ReadError::wrong_type(message));
    }
    Ok(())
}

fn read_endpoint(config: &Options, url: &FromUrl, tls: Option<&TlsGiven>) -> Result<Endpoint> {
    // All are checked, also those that others take precedence over.
    let path = config.string("path")?;
    let host = config.string("host")?;
    let port = config.integer("port", PORT, 1..=65535, true)?;
    let family = read_family(config)?;

    if let Some(path) = url.path.clone().or(path) {
        if tls.is_some() {
            return Err(ReadError::out_of_range(
                "config.tls does not go with config.path: a Unix socket has no TLS",
            ));
        }
        return Ok(Endpoint::Unix(path.into()));
    }
    let (tls_host, tls_port) = tls.map_or((None, None), |tls| (tls.host.clone(), tls.port));
    let port = tls_port.or(url.port.map(u32::from)).or(port);
    Ok(Endpoint::Tcp {
        host: tls_host.or(url.host.clone()).or(host).unwrap_or_else(|| Config::HOST.into()),
        port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(Config::PORT),
        family,
    })
}

fn read_family(config: &Options) -> Result<Family> {
    let what = "'IPv4', 'IPv6', 4, 6 or 0";
    let Some(value) = config.get("family")? else { return Ok(Family::Any) };
    if value.get_type()? == ValueType::Number {
        return match config.number("family", what, 0.0..=6.0)? {
            Some(0.0) => Ok(Family::Any),
            Some(4.0) => Ok(Family::V4),
            Some(6.0) => Ok(Family::V6),
            _ => Err(config.out_of_range("family", what, value)?),
        };
    }
    match config.string("family")?.as_deref() {
        Some("IPv4") => Ok(Family::V4),
        Some("IPv6") => Ok(Family::V6),
        _ => Err(config.out_of_range("family", what, value)?),
    }
}

/// The database, and whether it is another one because of `database`.
fn read_database(config: &Options, url: Option<u32>) -> Result<(u32, bool)> {
    let db = config.integer("db", DATABASE, 0..=MAX_INT, true)?;
    let database = config.integer("database", DATABASE, 0..=MAX_INT, true)?;
    if let (Some(db), Some(database)) = (db, database)
        && db != database
    {
        let message = format!("config.db is {db}, but config.database is {database}: they mean the same");
        return Err(ReadError::out_of_range(message));
    }
    let chosen = url.or(db);
    let aliased = chosen.is_none() && database.is_some_and(|database| database != 0);
    Ok((chosen.or(database).unwrap_or(0), aliased))
}

fn read_backoff(config: &Options) -> Result<Reconnect> {
    let what = "a whole number from 0 on (0: no limit)";
    let max_attempts = config.integer("max_attempts", what, 0..=MAX_INT, false)?.filter(|max| *max > 0);
    let milliseconds = |name| -> Result<Option<Duration>> {
        let ms = config.integer(name, MILLISECONDS, 1..=MAX_INT, false)?;
        Ok(ms.map(|ms| Duration::from_millis(ms.into())))
    };
    let max_time = milliseconds("connect_timeout")?;
    let max = milliseconds("retry_max_delay")?.unwrap_or(Reconnect::BACKOFF.max);
    Ok(Reconnect::Backoff { backoff: Backoff { max, ..Reconnect::BACKOFF }, max_attempts, max_time })
}

fn read_strategy<'env>(config: &Options<'env>) -> Result<Option<Unknown<'env>>> {
    match config.get("retry_strategy")? {
        Some(value) if value.get_type()? != ValueType::Function => {
            Err(config.expected("retry_strategy", "a function", value)?)
        }
        strategy => Ok(strategy),
    }
}

/// `config.tls`, read but not yet built: the server's name may come from elsewhere.
#[derive(Default)]
struct TlsGiven {
    ca: Vec<Vec<u8>>,
    cert: Vec<Vec<u8>>,
    key: Vec<Vec<u8>>,
    server_name: Option<String>,
    no_verification: bool,
    host: Option<String>,
    port: Option<u32>,
}

fn read_tls(config: &Options) -> Result<Option<TlsGiven>> {
    let Some(value) = config.get("tls")? else { return Ok(None) };
    if value.get_type()? == ValueType::Boolean {
        return Ok(config.boolean("tls")?.filter(|on| *on).map(|_| TlsGiven::default()));
    }
    let Some(tls) = Options::read("config.tls", value)? else { return Ok(None) };
    tls.only(&TLS_OPTIONS)?;
    Ok(Some(TlsGiven {
        ca: tls.bytes("ca")?,
        cert: tls.bytes("cert")?,
        key: tls.bytes("key")?,
        server_name: tls.string("servername")?,
        no_verification: tls.boolean("rejectUnauthorized")? == Some(false),
        host: tls.string("host")?,
        port: tls.integer("port", PORT, 1..=65535, true)?,
    }))
}

impl TlsGiven {
    fn build(self, endpoint: &Endpoint) -> Result<Tls> {
        let host = match endpoint {
            Endpoint::Tcp { host, .. } => host.clone(),
            Endpoint::Unix(_) => String::new(),
        };
        let options = TlsOptions {
            ca: self.ca,
            cert: self.cert.concat(),
            key: self.key.concat(),
            server_name: self.server_name.unwrap_or(host),
            verify: !self.no_verification,
        };
        options
            .build()
            .map_err(|error| ReadError::wrong_type(format!("config.tls.{} {}", error.option, error.problem)))
    }
}
