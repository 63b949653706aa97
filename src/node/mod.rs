//! The edge to JavaScript: reads arguments, makes promises, and knows nothing of locks.
//!
//! `lib/` makes the public classes out of what is exported here.

use std::{rc::Rc, sync::Arc};

use futures_util::FutureExt;
use napi::{
    Env, Result as NapiResult, Unknown,
    bindgen_prelude::{FromNapiValue, FunctionRef},
};
use napi_derive::napi;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{
    bridge::Bridge,
    listener::JsListener,
    outcome::Outcome,
    redis_config::RedisSpec,
    spec::{DriverSpec, Spec},
    strategy::JsStrategy,
};
use crate::{
    core::{Identity, Resource},
    driver::{SharedDriver, memory::Memory, redis::Redis, redis::config::Reconnect},
    error::Result,
    locker, random, tasks,
};

mod bridge;
#[cfg(target_os = "linux")]
mod event_loop;
mod inbox;
mod listener;
mod lock_options;
mod outcome;
mod read;
mod redis_config;
mod runtime;
mod spec;
mod strategy;

/// A function of JavaScript's that the bridge of its environment keeps.
type JsFunction = FunctionRef<Unknown<'static>, Unknown<'static>>;

/// Base64 of the SHA-256 of a string.
#[napi]
pub fn hash(env: Env, text: Unknown) -> NapiResult<String> {
    let text = read::hash_input(text).map_err(|error| error.throw(&env))?;
    Ok(crate::core::resource::hash(&text))
}

/// Makes a locker, and begins to connect. `host`: the name of this machine. `listener`: hears of lost locks and more.
#[napi]
pub fn lock_factory(env: Env, spec: Unknown, host: String, listener: Unknown) -> NapiResult<Locker> {
    let Spec { settings, driver } = spec::read(spec).map_err(|error| error.throw(&env))?;
    let bridge = Bridge::of(&env)?;
    let no_random = |error: getrandom::Error| napi::Error::from_reason(format!("no random numbers: {error}"));
    let client = random::bits().map_err(no_random)? >> 64;
    let start = random::bits().map_err(no_random)?;
    let identity = Identity { client: format!("{client:016x}"), host, pid: std::process::id() };
    let (mut strategy_number, mut aliased_database) = (None, None);
    let runtime = runtime::handle().map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let _on_runtime = runtime.enter();
    let (notices, heard) = mpsc::unbounded_channel();
    let driver: SharedDriver = match driver {
        DriverSpec::Memory => Arc::new(Memory::new(&settings.prefix, identity, notices)),
        DriverSpec::Redis(spec) => {
            let RedisSpec { mut config, strategy, aliased_database: aliased } = *spec;
            aliased_database = aliased;
            if let Some(strategy) = strategy {
                let number = bridge.keep_function(strategy)?;
                strategy_number = Some(number);
                config.reconnect =
                    Reconnect::Custom(Arc::new(JsStrategy { inbox: bridge.inbox().clone(), number }));
            }
            Arc::new(Redis::open(
                config,
                &settings.prefix,
                identity,
                notices,
                #[cfg(unix)]
                bridge.watcher(),
            ))
        }
    };
    let listener = JsListener { inbox: bridge.inbox().clone(), number: bridge.keep_function(listener)? };
    let locker = locker::Locker::open(driver, heard, Box::new(listener), settings.command_timeout, start);
    bridge.adopt(locker.clone());
    Ok(Locker { inner: locker, bridge, strategy: strategy_number, aliased_database })
}

/// From now on calls wait for `finish`, which sends them together. Called after the first call in a turn of the event
/// loop, which has been sent already.
#[napi]
pub fn gather() {
    tasks::gather();
}

/// Sends what was called since `gather`.
#[napi]
pub fn finish(env: Env) -> NapiResult<()> {
    Bridge::of(&env).map(|bridge| bridge.finish(&env))
}

/// What `lib/locker.js` wraps. Promises are rejected with plain objects, from which it makes errors.
#[napi]
pub struct Locker {
    inner: Arc<locker::Locker>,
    bridge: Rc<Bridge>,
    /// The number of its `retry_strategy`, if it has one.
    strategy: Option<usize>,
    aliased_database: Option<u32>,
}

#[napi]
impl Locker {
    /// The database that `config.database` alone has selected, for a warning.
    #[napi(getter)]
    pub fn aliased_database(&self) -> Option<u32> {
        self.aliased_database
    }

    /// A promise of the lock's fencing token. `observed`: whether its renewals are told.
    #[napi]
    pub fn lock<'env>(
        &self,
        env: &'env Env,
        resource_id: Unknown,
        options: Unknown,
        observed: bool,
        cancellation: Option<&Cancellation>,
    ) -> NapiResult<Unknown<'env>> {
        let resource = resource(env, resource_id)?;
        let mut options = lock_options::read(options).map_err(|error| error.throw(env))?;
        options.observed = observed;
        let cancelled = cancellation.map(|cancellation| cancellation.token.clone());
        let locker = self.inner.clone();
        self.promise(env, async move {
            let hold = locker.clone().lock(resource, options, cancelled).await?;
            Ok(Outcome::Lock(hold, locker))
        })
    }

    /// For how many milliseconds the lock with this token can be relied on. Never asks the store.
    #[napi]
    pub fn remaining(&self, resource_id: String, token: f64) -> f64 {
        self.inner.remaining(&crate::core::resource::hash(&resource_id), token_of(token)).as_secs_f64()
            * 1000.0
    }

    /// A promise of whether the lock has a new lease of so many seconds.
    #[napi]
    pub fn extend<'env>(
        &self,
        env: &'env Env,
        resource_id: Unknown,
        token: f64,
        seconds: Unknown,
    ) -> NapiResult<Unknown<'env>> {
        let resource = resource(env, resource_id)?;
        let lease = lock_options::seconds(seconds).map_err(|error| error.throw(env))?;
        let extend = self.inner.clone().extend(resource, token_of(token), lease);
        self.promise(env, async { extend.await.map(Outcome::Bool) })
    }

    /// A promise of who holds the resource and who waits for it.
    #[napi]
    pub fn inspect<'env>(&self, env: &'env Env, resource_id: Unknown) -> NapiResult<Unknown<'env>> {
        let inspect = self.inner.clone().inspect(resource(env, resource_id)?);
        self.promise(env, async { inspect.await.map(Outcome::Inspection) })
    }

    /// A promise of whether somebody has lost the resource.
    #[napi]
    pub fn force_unlock<'env>(&self, env: &'env Env, resource_id: Unknown) -> NapiResult<Unknown<'env>> {
        let force_unlock = self.inner.clone().force_unlock(resource(env, resource_id)?);
        self.promise(env, async { force_unlock.await.map(Outcome::Bool) })
    }

    /// A promise of whether the lock was still held. Without a token: the newest lock on the resource.
    #[napi]
    pub fn unlock<'env>(
        &self,
        env: &'env Env,
        resource_id: Unknown,
        token: Option<f64>,
    ) -> NapiResult<Unknown<'env>> {
        let resource = resource(env, resource_id)?;
        let unlock = self.inner.clone().unlock(resource, token.map(token_of));
        self.promise(env, async { unlock.await.map(Outcome::Bool) })
    }

    #[napi]
    pub fn is_locked<'env>(&self, env: &'env Env, resource_id: Unknown) -> NapiResult<Unknown<'env>> {
        let is_locked = self.inner.clone().is_locked(resource(env, resource_id)?);
        self.promise(env, async { is_locked.await.map(Outcome::Bool) })
    }

    #[napi]
    pub fn purge<'env>(&self, env: &'env Env) -> NapiResult<Unknown<'env>> {
        let purge = self.inner.clone().purge();
        self.promise(env, async { purge.await.map(|()| Outcome::Undefined) })
    }

    #[napi]
    pub fn close<'env>(&self, env: &'env Env) -> NapiResult<Unknown<'env>> {
        self.bridge.forget(&self.inner);
        if let Some(strategy) = self.strategy {
            self.bridge.forget_function(strategy);
        }
        let closing = self.inner.clone().close();
        let promise = self.bridge.promise(env, closing.map(|()| Ok(Outcome::Undefined)))?;
        // SAFETY: a value that was just made in this environment.
        unsafe { Unknown::from_napi_value(env.raw(), promise) }
    }

    fn promise<'env>(
        &self,
        env: &'env Env,
        call: impl Future<Output = Result<Outcome>> + Send + 'static,
    ) -> NapiResult<Unknown<'env>> {
        let promise = self.bridge.promise(env, self.inner.call(call))?;
        // SAFETY: a value that was just made in this environment.
        unsafe { Unknown::from_napi_value(env.raw(), promise) }
    }
}

/// Lets a call be given up.
#[napi]
#[derive(Default)]
pub struct Cancellation {
    token: CancellationToken,
}

#[napi]
impl Cancellation {
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    #[napi]
    pub fn cancel(&self) {
        self.token.cancel();
    }
}

/// A token that JavaScript has from here.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a token of our own")]
fn token_of(number: f64) -> u64 {
    number as u64
}

fn resource(env: &Env, resource_id: Unknown) -> NapiResult<Resource> {
    let name = read::resource_name(resource_id).map_err(|error| error.throw(env))?;
    Ok(Resource::new(&name))
}
