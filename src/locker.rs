//! A locker as `lib/locker.js` has it: `lib/native.d.ts` declares its functions.

use std::{cell::RefCell, collections::HashMap, num::NonZeroU64, rc::Rc, sync::Arc};

use futures_util::FutureExt;
use lock_inc_core::{
    Mode, Nonce, Resource,
    error::Result,
    locker::Locker,
    options::{LockOptions, Wait},
};
use napi::{
    Env, Error as NapiError, Result as NapiResult, Unknown,
    bindgen_prelude::{FunctionCallContext, JsObjectValue, Object, ToNapiValue},
    sys,
};
use tokio_util::sync::CancellationToken;

use crate::{environment::Environment, outcome::Outcome, spec};

/// What `lib/locker.js` wraps. Promises are rejected with plain objects, from which it makes errors.
pub(crate) struct JsLocker {
    inner: Arc<Locker>,
    environment: Rc<Environment>,
    /// Of calls under way that have one, by their numbers. Not objects of JavaScript's: these would have to be finalized, each.
    cancellations: RefCell<HashMap<NonZeroU64, CancellationToken>>,
}

/// A call from JavaScript.
type Call<'a> = FunctionCallContext<'a>;
/// The promise it returns.
type Promise = sys::napi_value;

impl JsLocker {
    pub(crate) fn new(inner: Arc<Locker>, environment: Rc<Environment>) -> Self {
        Self { inner, environment, cancellations: RefCell::default() }
    }

    /// An object of functions. Of a class, napi-rs notes at each call who uses its data, in a table that all threads
    /// share: see `docs/performance.md`. It keeps the functions that are `called` from here: nothing else does, so that they
    /// may keep it, too.
    pub(crate) fn into_object<'env>(
        self,
        env: &'env Env,
        called: [Option<Unknown>; 2],
    ) -> NapiResult<Object<'env>> {
        let mut methods = Methods { env, locker: Rc::new(self), object: Object::new(env)? };
        methods.add("lock", Self::lock)?;
        methods.add("lockAll", Self::lock_all)?;
        methods.add("cancel", Self::cancel)?;
        methods.add("forget", Self::forget)?;
        methods.add("unlock", Self::unlock)?;
        methods.add("unlockLost", Self::unlock_lost)?;
        methods.add("remaining", Self::remaining)?;
        methods.add("extend", Self::extend)?;
        methods.add("isLocked", Self::is_locked)?;
        methods.add("inspect", Self::inspect)?;
        methods.add("query", Self::query)?;
        methods.add("forceUnlock", Self::force_unlock)?;
        methods.add("purge", Self::purge)?;
        methods.add("close", Self::close)?;
        methods.object.set_named_property("called", called.to_vec())?;
        Ok(methods.object)
    }

    /// `lock(resourceId, expire, wait, interval, renew, maxHold, maxBlocked, number, limit, steal, cancellation)`: a promise of
    /// `[nonce, token]`. Numbers one by one, as reading properties would cost as much as the rest of the call.
    fn lock(&self, call: &Call) -> NapiResult<Promise> {
        let resource = named_resource(call)?;
        let (options, cancelled) = self.lock_options(call)?;
        let locker = self.inner.clone();
        let outcome = |hold| Outcome::Lock(hold, locker);
        if options.wait == Wait::No {
            self.promise(call, self.inner.clone().lock(resource, options, cancelled), outcome)
        } else {
            self.promise(call, self.inner.clone().lock_or_wait(resource, options, cancelled), outcome)
        }
    }

    /// `lockAll(resourceIds, …)`: a promise of nonce and token of each, in one array. The other arguments are those of `lock`.
    fn lock_all(&self, call: &Call) -> NapiResult<Promise> {
        let names: Vec<String> = call.get(0)?;
        let resources = names.iter().map(|name| Resource::new(name)).collect();
        let (options, cancelled) = self.lock_options(call)?;
        let locker = self.inner.clone();
        let locking = self.inner.clone().lock_all(resources, options, cancelled);
        self.promise(call, locking, |holds| Outcome::Locks(holds, locker))
    }

    /// `cancel(cancellation)`: gives up the call that has it, which may be still to come.
    fn cancel(&self, call: &Call) -> NapiResult<()> {
        if let Some(number) = numbered(call.get(0)?) {
            self.cancellation(number).cancel();
        }
        Ok(())
    }

    /// `forget(cancellation)`: the call that has it has ended.
    fn forget(&self, call: &Call) -> NapiResult<()> {
        if let Some(number) = numbered(call.get(0)?) {
            self.cancellations.borrow_mut().remove(&number);
        }
        Ok(())
    }

    fn cancellation(&self, number: NonZeroU64) -> CancellationToken {
        self.cancellations.borrow_mut().entry(number).or_default().clone()
    }

    /// How a lock is to be taken, and what may end the call: the arguments of `lock` behind the first.
    fn lock_options(&self, call: &Call) -> NapiResult<(LockOptions, Option<CancellationToken>)> {
        let number = numbered(call.get(7)?);
        let options = LockOptions {
            expire: spec::milliseconds(call.get(1)?),
            wait: wait(call.get(2)?),
            retry_interval: spec::milliseconds(call.get(3)?),
            renew: call.get(4)?,
            max_hold: spec::limit(call.get(5)?),
            max_blocked: spec::limit(call.get(6)?),
            observed: number.is_some(),
            call: number,
            mode: mode(call.get(8)?),
            steal: call.get(9)?,
        };
        let cancellation = numbered(call.get(10)?);
        Ok((options, cancellation.map(|number| self.cancellation(number))))
    }

    /// `unlock(nonce)`: a promise of whether the lock was still held.
    fn unlock(&self, call: &Call) -> NapiResult<Promise> {
        let unlock = self.inner.clone().unlock(nonce(call)?);
        self.promise(call, unlock, Outcome::Bool)
    }

    /// `unlockLost(resourceId)`: gives up what the store may still keep of locks that were lost. A promise of `false`, as
    /// none of them was still held.
    fn unlock_lost(&self, call: &Call) -> NapiResult<Promise> {
        let unlock = self.inner.clone().unlock_lost(named_resource(call)?);
        self.promise(call, unlock, |()| Outcome::Bool(false))
    }

    /// `remaining(nonce)`: for how many milliseconds the lock can be relied on. Never asks the store.
    fn remaining(&self, call: &Call) -> NapiResult<f64> {
        Ok(self.inner.remaining(nonce(call)?).as_secs_f64() * 1000.0)
    }

    /// `extend(nonce, lease)`: a promise of whether the lock has this lease from now on.
    fn extend(&self, call: &Call) -> NapiResult<Promise> {
        let lease = spec::milliseconds(call.get(1)?);
        let extend = self.inner.clone().extend(nonce(call)?, lease);
        self.promise(call, extend, Outcome::Bool)
    }

    /// `isLocked(resourceId)`: a promise of whether anybody holds the resource.
    fn is_locked(&self, call: &Call) -> NapiResult<Promise> {
        let is_locked = self.inner.clone().is_locked(named_resource(call)?);
        self.promise(call, is_locked, Outcome::Bool)
    }

    /// `inspect(resourceId)`: a promise of who holds the resource and who waits for it.
    fn inspect(&self, call: &Call) -> NapiResult<Promise> {
        let inspect = self.inner.clone().inspect(named_resource(call)?);
        self.promise(call, inspect, Outcome::Inspection)
    }

    /// `query()`: a promise of everything that is held and waited for.
    fn query(&self, call: &Call) -> NapiResult<Promise> {
        let query = self.inner.clone().query();
        self.promise(call, query, Outcome::Snapshot)
    }

    /// `forceUnlock(resourceId)`: a promise of whether somebody has lost the resource.
    fn force_unlock(&self, call: &Call) -> NapiResult<Promise> {
        let force_unlock = self.inner.clone().force_unlock(named_resource(call)?);
        self.promise(call, force_unlock, Outcome::Bool)
    }

    fn purge(&self, call: &Call) -> NapiResult<Promise> {
        let purge = self.inner.clone().purge();
        self.promise(call, purge, |()| Outcome::Undefined)
    }

    fn close(&self, call: &Call) -> NapiResult<Promise> {
        self.environment.forget(&self.inner);
        let closing = self.inner.clone().close();
        self.environment.promise(call.env, closing.map(|()| Ok(Outcome::Undefined)))
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
        self.environment.promise(call.env, work)
    }
}

/// An object in the making.
struct Methods<'env> {
    env: &'env Env,
    locker: Rc<JsLocker>,
    object: Object<'env>,
}

/// JavaScript has let go of all its functions.
impl Drop for JsLocker {
    fn drop(&mut self) {
        self.environment.abandon(&self.inner);
    }
}

impl Methods<'_> {
    fn add<R>(&mut self, name: &str, method: fn(&JsLocker, &Call) -> NapiResult<R>) -> NapiResult<()>
    where
        R: ToNapiValue + 'static,
    {
        let locker = self.locker.clone();
        let function =
            self.env.create_function_from_closure::<(), R, _>(name, move |call| method(&locker, &call))?;
        self.object.set_named_property(name, function)
    }
}

/// The first argument: a nonce that JavaScript has from here.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a nonce of our own")]
fn nonce(call: &Call) -> NapiResult<Nonce> {
    let number = call.get::<f64>(0)? as u64;
    Nonce::try_from(number).map_err(|_| NapiError::from_reason("Not a nonce"))
}

/// The first argument.
fn named_resource(call: &Call) -> NapiResult<Resource> {
    let name: String = call.get(0)?;
    Ok(Resource::new(&name))
}

/// A number that JavaScript counts; `None` for 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 on")]
fn numbered(number: f64) -> Option<NonZeroU64> {
    NonZeroU64::new(number as u64)
}

/// How many may share the lock; 0: any number, and below that it is exclusive.
fn mode(limit: i32) -> Mode {
    u32::try_from(limit).map_or(Mode::Exclusive, Mode::shared)
}

/// How long to wait: so many milliseconds, not at all, or for ever.
fn wait(ms: f64) -> Wait {
    if ms == f64::INFINITY {
        Wait::Forever
    } else if ms > 0.0 {
        Wait::AtMost(spec::milliseconds(ms))
    } else {
        Wait::No
    }
}
