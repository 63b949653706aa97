//! Opens the store that the argument of `lockFactory` asks for, and finds its servers.

use std::{rc::Rc, sync::Arc};

use lock_inc_core::{Identity, store::SharedStore};
use lock_inc_memory::Memory;
use lock_inc_redis::{Machine, Redis, Servers, config::Reconnect};
use napi::{Env, Result, Unknown};

use crate::{
    environment::Environment,
    retry_strategy::JsStrategy,
    spec::{self, RedisSpec, Spec},
    system::{SystemClock, SystemRandom},
};

/// A store, and the `retry_strategy` of its servers, which whoever uses the store has to keep. `is_node`: whether the event
/// loop is that of Node.js, which can watch sockets.
pub(crate) fn open<'env>(
    env: &'env Env,
    environment: &Rc<Environment>,
    spec: Spec<'env>,
    identity: Identity,
    is_node: bool,
) -> Result<(SharedStore, Option<Unknown<'env>>)> {
    let Spec { prefix, command_timeout, redis } = spec;
    let Some(redis) = redis else {
        return Ok((Arc::new(Memory::new(&prefix, identity, Arc::new(SystemClock))), None));
    };
    let (key_prefix, replication) = (redis.key_prefix.clone(), redis.replication());
    let name = connection_name(&identity);
    let (servers, strategy) = servers_of(env, environment, redis, command_timeout, is_node, name)?;
    Ok((Arc::new(Redis::new(servers, &key_prefix, &prefix, identity, replication)), strategy))
}

/// How `CLIENT LIST` shows connections.
pub(crate) fn connection_name(identity: &Identity) -> String {
    format!("lock-inc:{}:{}", identity.host_in_one_word(), identity.pid)
}

/// The servers that are meant, which are [reserved](Servers::reserve), and their `retry_strategy`, which whoever uses them has
/// to keep. `name`: how `CLIENT LIST` shows the connections.
pub(crate) fn servers_of<'env>(
    env: &'env Env,
    environment: &Rc<Environment>,
    redis: RedisSpec<'env>,
    command_timeout: f64,
    is_node: bool,
    name: String,
) -> Result<(Arc<Servers>, Option<Unknown<'env>>)> {
    let key = redis.key(command_timeout);
    for (servers, number) in environment.servers().with_key(&key) {
        let strategy = number.and_then(|number| environment.function(env, number));
        // The function may be gone with the locker that it belonged to, and the links be closed by the last that uses them.
        if strategy.is_some() == number.is_some() && servers.reserve() {
            return Ok((servers, strategy));
        }
    }
    let strategy = redis.strategy;
    let (servers, number) = open_servers(env, environment, redis, command_timeout, is_node, name)?;
    environment.servers().insert(key, &servers, number);
    Ok((servers, strategy))
}

/// New ones, and the number of their `retry_strategy`. `name`: how `CLIENT LIST` shows the connections.
fn open_servers(
    env: &Env,
    environment: &Rc<Environment>,
    spec: RedisSpec,
    command_timeout: f64,
    is_node: bool,
    name: String,
) -> Result<(Arc<Servers>, Option<usize>)> {
    let function = spec.strategy;
    let command_timeout = spec::milliseconds(command_timeout);
    let mut config = spec.config(command_timeout).map_err(|(of, error)| spec::throw(env, of, &error))?;
    let strategy = function.map(|function| environment.number_function(function)).transpose()?;
    if let Some(number) = strategy {
        let inbox = environment.inbox().clone();
        config.reconnect = Reconnect::Custom(Arc::new(JsStrategy { inbox, number }));
    }
    let machine = Machine {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        #[cfg(unix)]
        watcher: if is_node { environment.watcher(env) } else { None },
    };
    #[cfg(not(unix))]
    let _ = is_node;
    Ok((Arc::new(Servers::open(config, name, machine)), strategy))
}
