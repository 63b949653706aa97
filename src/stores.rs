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

/// `is_node`: whether the event loop is that of Node.js, which can watch sockets.
pub(crate) fn open(
    env: &Env,
    environment: &Rc<Environment>,
    spec: Spec,
    identity: Identity,
    is_node: bool,
) -> Result<SharedStore> {
    let Spec { prefix, command_timeout, redis } = spec;
    let Some(redis) = redis else {
        return Ok(Arc::new(Memory::new(&prefix, identity, Arc::new(SystemClock))));
    };
    let (key, key_prefix) = (redis.key(command_timeout), redis.key_prefix.clone());
    let use_link = |link| Arc::new(Redis::new(link, &key_prefix, &prefix, identity.clone()));
    for (link, strategy) in environment.links().with_key(&key) {
        if is_same(env, environment, strategy, redis.strategy)?
            // It may just be closed by the last locker that uses it.
            && link.reserve()
        {
            return Ok(use_link(link));
        }
    }
    let name = format!("lock-inc:{}:{}", identity.host_in_one_word(), identity.pid);
    let (link, strategy) = open_link(env, environment, redis, command_timeout, is_node, name)?;
    environment.links().insert(key, &link, strategy);
    Ok(use_link(link))
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

/// Whether both are the same function, or none.
fn is_same(
    env: &Env,
    environment: &Environment,
    number: Option<usize>,
    function: Option<Unknown>,
) -> Result<bool> {
    match (number.and_then(|number| environment.function(env, number)), function) {
        (Some(known), Some(function)) => env.strict_equals(known, function),
        (None, None) => Ok(number.is_none()),
        _ => Ok(false),
    }
}
