//! The edge to JavaScript: reads arguments, makes promises, and knows nothing of locks.
//!
//! `lib/` makes the public classes out of what is exported here.

use std::{rc::Rc, sync::Arc};

use futures_util::FutureExt;
use napi::{
    Env, Result as NapiResult, Unknown,
    bindgen_prelude::{ClassInstance, FunctionCallContext, FunctionRef, JsObjectValue, Object, ToNapiValue},
    sys,
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
    locker,
    options::Wait,
    random, tasks,
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
    Ok(crate::core::resource::hash(&text).to_string())
}

/// Makes a locker, and begins to connect. `host`: the name of this machine. `listener`: hears of lost locks and more.
#[napi]
pub fn lock_factory<'env>(
    env: &'env Env,
    spec: Unknown,
    host: String,
    listener: Unknown,
) -> NapiResult<Object<'env>> {
    let Spec { settings, driver } = spec::read(spec).map_err(|error| error.throw(env))?;
    let bridge = Bridge::of(env)?;
    let no_random = |error: getrandom::Error| napi::Error::from_reason(format!("no random numbers: {error}"));
    let client = random::bits().map_err(no_random)? >> 64;
    let start = random::bits().map_err(no_random)?;
    let identity = Identity { client: format!("{client:016x}"), host, pid: std::process::id() };
    let (mut strategy_number, mut aliased_database) = (None, None);
    let _on_runtime = bridge.runtime().enter();
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
    let mut object = Locker { inner: locker, bridge, strategy: strategy_number }.into_object(env)?;
    object.set_named_property("aliasedDatabase", aliased_database)?;
    Ok(object)
}

/// From now on calls wait until they are enough to be sent together, or for `finish`. Called after the first call in a turn
/// of the event loop, which has been sent already.
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
struct Locker {
    inner: Arc<locker::Locker>,
    bridge: Rc<Bridge>,
    /// The number of its `retry_strategy`, if it has one.
    strategy: Option<usize>,
}

/// A call from JavaScript.
type Call<'a> = FunctionCallContext<'a>;
/// The promise it returns.
type Promise = sys::napi_value;

impl Locker {
    /// An object of functions. Of a class, napi-rs notes at each call who uses its data, in a table that all threads
    /// share: see `docs/performance.md`.
    fn into_object(self, env: &Env) -> NapiResult<Object<'_>> {
        let mut methods = Methods { env, locker: Rc::new(self), object: Object::new(env)? };
        methods.add("lock", Self::lock)?;
        methods.add("unlock", Self::unlock)?;
        methods.add("remaining", Self::remaining)?;
        methods.add("extend", Self::extend)?;
        methods.add("isLocked", Self::is_locked)?;
        methods.add("inspect", Self::inspect)?;
        methods.add("forceUnlock", Self::force_unlock)?;
        methods.add("purge", Self::purge)?;
        methods.add("close", Self::close)?;
        Ok(methods.object)
    }

    /// `lock(resourceId, options, observed, cancellation)`: a promise of the lock's fencing token. `observed`: whether its
    /// renewals are told.
    fn lock(&self, call: &Call) -> NapiResult<Promise> {
        let resource = resource(call)?;
        let mut options = lock_options::read(call.get(1)?).map_err(|error| error.throw(call.env))?;
        options.observed = call.get(2)?;
        let cancellation: Option<ClassInstance<Cancellation>> = call.get(3)?;
        let cancelled = cancellation.map(|cancellation| cancellation.token.clone());
        let locker = self.inner.clone();
        let outcome = |hold| Outcome::Lock(hold, locker);
        if options.wait == Wait::No {
            self.promise(call, self.inner.clone().lock(resource, options, cancelled), outcome)
        } else {
            self.promise(call, self.inner.clone().lock_or_wait(resource, options, cancelled), outcome)
        }
    }

    /// `unlock(resourceId, token)`: a promise of whether the lock was still held. Without a token: the newest lock on the
    /// resource.
    fn unlock(&self, call: &Call) -> NapiResult<Promise> {
        let token = if call.length() > 1 { Some(token(call)?) } else { None };
        let unlock = self.inner.clone().unlock(resource(call)?, token);
        self.promise(call, unlock, Outcome::Bool)
    }

    /// `remaining(resourceId, token)`: for how many milliseconds the lock can be relied on. Never asks the store.
    fn remaining(&self, call: &Call) -> NapiResult<f64> {
        let resource_id: String = call.get(0)?;
        let remaining = self.inner.remaining(&crate::core::resource::hash(&resource_id), token(call)?);
        Ok(remaining.as_secs_f64() * 1000.0)
    }

    /// `extend(resourceId, token, seconds)`: a promise of whether the lock has a new lease of so many seconds.
    fn extend(&self, call: &Call) -> NapiResult<Promise> {
        let lease = lock_options::seconds(call.get(2)?).map_err(|error| error.throw(call.env))?;
        let extend = self.inner.clone().extend(resource(call)?, token(call)?, lease);
        self.promise(call, extend, Outcome::Bool)
    }

    /// `isLocked(resourceId)`: a promise of whether anybody holds the resource.
    fn is_locked(&self, call: &Call) -> NapiResult<Promise> {
        let is_locked = self.inner.clone().is_locked(resource(call)?);
        self.promise(call, is_locked, Outcome::Bool)
    }

    /// `inspect(resourceId)`: a promise of who holds the resource and who waits for it.
    fn inspect(&self, call: &Call) -> NapiResult<Promise> {
        let inspect = self.inner.clone().inspect(resource(call)?);
        self.promise(call, inspect, Outcome::Inspection)
    }

    /// `forceUnlock(resourceId)`: a promise of whether somebody has lost the resource.
    fn force_unlock(&self, call: &Call) -> NapiResult<Promise> {
        let force_unlock = self.inner.clone().force_unlock(resource(call)?);
        self.promise(call, force_unlock, Outcome::Bool)
    }

    fn purge(&self, call: &Call) -> NapiResult<Promise> {
        let purge = self.inner.clone().purge();
        self.promise(call, purge, |()| Outcome::Undefined)
    }

    fn close(&self, call: &Call) -> NapiResult<Promise> {
        self.bridge.forget(&self.inner);
        if let Some(strategy) = self.strategy {
            self.bridge.forget_function(strategy);
        }
        let closing = self.inner.clone().close();
        self.bridge.promise(call.env, closing.map(|()| Ok(Outcome::Undefined)))
    }

    /// Runs `work`, of whose result JavaScript is told as an outcome.
    fn promise<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl Future<Output = Result<T>> + Send + 'static,
        outcome: impl FnOnce(T) -> Outcome + Send + 'static,
    ) -> NapiResult<Promise> {
        // Not an async block: that would keep room for `work` twice.
        let work = self.inner.call(work).map(|result| result.map(outcome));
        self.bridge.promise(call.env, work)
    }
}

/// An object in the making.
struct Methods<'env> {
    env: &'env Env,
    locker: Rc<Locker>,
    object: Object<'env>,
}

impl Methods<'_> {
    fn add<R>(&mut self, name: &str, method: fn(&Locker, &Call) -> NapiResult<R>) -> NapiResult<()>
    where
        R: ToNapiValue + 'static,
    {
        let locker = self.locker.clone();
        let function =
            self.env.create_function_from_closure::<(), R, _>(name, move |call| method(&locker, &call))?;
        self.object.set_named_property(name, function)
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

/// The second argument: a token that JavaScript has from here.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a token of our own")]
fn token(call: &Call) -> NapiResult<u64> {
    call.get::<f64>(1).map(|number| number as u64)
}

/// The first argument.
fn resource(call: &Call) -> NapiResult<Resource> {
    let name = read::resource_name(call.get(0)?).map_err(|error| error.throw(call.env))?;
    Ok(Resource::new(&name))
}
