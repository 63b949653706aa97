//! Opens the store that the argument of `lockFactory` asks for.

use std::{rc::Rc, sync::Arc};

use lock_inc_core::{Identity, store::SharedStore};
use lock_inc_memory::Memory;
use lock_inc_redis::{Link, Machine, Redis, config::Reconnect};
use napi::{Env, Result, Unknown};

use crate::{
    environment::Environment,
    retry_strategy::JsStrategy,
    spec::{self, RedisSpec, Spec},
    system::{SystemClock, SystemRandom},
};

/// A store, and the `retry_strategy` of its link, which whoever uses the store has to keep. `is_node`: whether the event
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
    let (key, key_prefix) = (redis.key(command_timeout), redis.key_prefix.clone());
    let use_link = |link| Arc::new(Redis::new(link, &key_prefix, &prefix, identity.clone()));
    for (link, number) in environment.links().with_key(&key) {
        let strategy = number.and_then(|number| environment.function(env, number));
        // The function may be gone with the locker that it belonged to, and the link be closed by the last that uses it.
        if strategy.is_some() == number.is_some() && link.reserve() {
            return Ok((use_link(link), strategy));
        }
    }
    let strategy = redis.strategy;
    let name = format!("lock-inc:{}:{}", identity.host_in_one_word(), identity.pid);
    let (link, number) = open_link(env, environment, redis, command_timeout, is_node, name)?;
    environment.links().insert(key, &link, number);
    Ok((use_link(link), strategy))
}

/// A link, and the number of its `retry_strategy`. `name`: how `CLIENT LIST` shows it.
fn open_link(
    env: &Env,
    environment: &Rc<Environment>,
    spec: RedisSpec,
    command_timeout: f64,
    is_node: bool,
    name: String,
) -> Result<(Arc<Link>, Option<usize>)> {
    let function = spec.strategy;
    let command_timeout = spec::milliseconds(command_timeout);
    let mut config = spec.config(command_timeout).map_err(|error| spec::throw(env, &error))?;
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
    Ok((Link::open(config, name, machine), strategy))
}
