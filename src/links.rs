//! The links of an environment: lockers with the same `config` share one.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
    time::Duration,
};

use lock_inc_redis::{Link, Machine, config::Reconnect};
use napi::{Env, Error as NapiError, Result as NapiResult, Unknown};

use crate::{
    environment::Environment,
    machine::{SystemClock, SystemRandom},
    spec::{self, RedisSpec},
    strategy::JsStrategy,
};

/// Links that are in use, or have been, by all that tells one from another.
#[derive(Default)]
pub(crate) struct Links(RefCell<HashMap<Key, Vec<Known>>>);

/// What is compared bytewise.
type Key = Vec<u8>;

struct Known {
    link: Weak<Link>,
    /// The number of its `retry_strategy`, which is to be the same function.
    strategy: Option<usize>,
}

/// What `use_it` makes of the link that the spec asks for, which is opened if there is none. `use_it` returns nothing
/// where the link has been closed meanwhile. `name`: how `CLIENT LIST` shows a new one.
pub(crate) fn with<T>(
    env: &Env,
    environment: &Rc<Environment>,
    spec: RedisSpec,
    command_timeout: Duration,
    is_node: bool,
    name: String,
    use_it: impl Fn(Arc<Link>) -> Option<T>,
) -> NapiResult<T> {
    let Links(links) = environment.links();
    let key = spec.key(command_timeout);
    for (link, strategy) in known(links, &key) {
        if is_same(env, environment, strategy, spec.strategy)?
            && let Some(used) = use_it(link)
        {
            return Ok(used);
        }
    }
    let function = spec.strategy;
    let mut config = spec.config(command_timeout).map_err(|error| spec::throw(env, &error))?;
    let strategy = function.map(|function| environment.keep_function(function)).transpose()?;
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
    let link = Link::open(config, name, machine);
    let mut links = links.borrow_mut();
    links.retain(|_, known| {
        known.retain(|known| known.link.strong_count() > 0);
        !known.is_empty()
    });
    links.entry(key).or_default().push(Known { link: Arc::downgrade(&link), strategy });
    use_it(link).ok_or_else(|| NapiError::from_reason("a link that was just opened is closed"))
}

fn known(links: &RefCell<HashMap<Key, Vec<Known>>>, key: &Key) -> Vec<(Arc<Link>, Option<usize>)> {
    let links = links.borrow();
    let known = links.get(key).into_iter().flatten();
    known.filter_map(|known| Some((known.link.upgrade()?, known.strategy))).collect()
}

/// Whether both are the same function, or none.
fn is_same(
    env: &Env,
    environment: &Environment,
    number: Option<usize>,
    function: Option<Unknown>,
) -> NapiResult<bool> {
    match (number.and_then(|number| environment.function(number)), function) {
        (Some(known), Some(function)) => env.strict_equals(known.borrow_back(env)?, function),
        (None, None) => Ok(number.is_none()),
        _ => Ok(false),
    }
}
