//! Results and errors as JavaScript values. The classes of the errors are made from these in `lib/errors.js`.

use std::{ptr, sync::Arc};

use napi::{
    Env, Result as NapiResult,
    bindgen_prelude::{JsObjectValue, Null, Object, ToNapiValue},
    sys,
};

use crate::{inquiry, runtime, values::check};
use lock_inc_core::{
    Contention, Hold, Holder, Holding, Identity, Inspection, Waiter,
    error::Error,
    locker::{Locker, query::Snapshot},
};
use lock_inc_redis::inquiry::Answers;

/// What a call resolves to.
pub(crate) enum Outcome {
    /// A granted lock, which becomes its nonce and its fencing token, and the locker to give it back to if nobody takes it.
    Lock(Hold, Arc<Locker>),
    /// The same of several, one behind the other.
    Locks(Vec<Hold>, Arc<Locker>),
    Bool(bool),
    /// Who holds a resource and who waits for it, or `null`.
    Inspection(Option<Inspection>),
    Snapshot(Snapshot),
    /// The names of servers.
    Names(Vec<String>),
    /// What one of them has answered.
    Answers(Answers),
    Undefined,
}

impl Outcome {
    pub(crate) fn to_js(&self, env: &Env) -> NapiResult<sys::napi_value> {
        // SAFETY: `env` is the current environment.
        unsafe {
            match self {
                Self::Lock(hold, _) => numbers_to_js(env, &[hold.nonce.number(), hold.token].map(number)),
                Self::Locks(holds, _) => {
                    let numbers = holds.iter().flat_map(|hold| [hold.nonce.number(), hold.token].map(number));
                    numbers_to_js(env, &numbers.collect::<Vec<_>>())
                }
                Self::Bool(value) => bool::to_napi_value(env.raw(), *value),
                Self::Inspection(None) => Null::to_napi_value(env.raw(), Null),
                Self::Inspection(Some(inspection)) => inspection_to_js(env, inspection),
                Self::Snapshot(snapshot) => snapshot_to_js(env, snapshot),
                Self::Names(names) => Vec::<String>::to_napi_value(env.raw(), names.clone()),
                Self::Answers(answers) => inquiry::answers_to_js(env, answers),
                Self::Undefined => <()>::to_napi_value(env.raw(), ()),
            }
        }
    }

    /// The environment is gone, and with it whoever wanted to know. A lock must not stay behind: it is given back
    /// before the locker, which is being closed as well, ends its connection.
    pub(crate) fn discard(self) {
        let Ok(runtime) = runtime::handle() else { return };
        let _on_runtime = runtime.enter();
        match self {
            Self::Lock(hold, locker) => locker.abandon(hold.nonce),
            Self::Locks(holds, locker) => holds.iter().for_each(|hold| locker.abandon(hold.nonce)),
            Self::Bool(_)
            | Self::Inspection(_)
            | Self::Snapshot(_)
            | Self::Names(_)
            | Self::Answers(_)
            | Self::Undefined => {}
        }
    }
}

/// A plain object with all that is known of the error.
pub(crate) fn failure(env: &Env, error: &Error) -> NapiResult<sys::napi_value> {
    let mut object = Object::new(env)?;
    object.set_named_property("code", error.code())?;
    object.set_named_property("message", error.to_string())?;
    if let Error::Locked(contention) = error {
        describe(env, &mut object, contention)?;
    }
    if let Error::Unreplicated(unreplicated) = error {
        object.set_named_property("resourceId", unreplicated.resource.name())?;
        object.set_named_property("wanted", unreplicated.wanted)?;
        object.set_named_property("confirmed", unreplicated.confirmed)?;
    }
    if let Some(cause) = error.cause() {
        let mut value = Object::new(env)?;
        value.set_named_property("code", &*cause.code)?;
        value.set_named_property("message", &*cause.message)?;
        object.set_named_property("cause", value)?;
    }
    // SAFETY: the object is of the current environment.
    unsafe { Object::to_napi_value(env.raw(), object) }
}

/// An array, made by as few calls as there can be.
fn numbers_to_js(env: &Env, numbers: &[f64]) -> NapiResult<sys::napi_value> {
    let mut array = ptr::null_mut();
    // SAFETY: `env` is the current environment, and the rest an out parameter.
    check(unsafe { sys::napi_create_array_with_length(env.raw(), numbers.len(), &raw mut array) })?;
    for (index, number) in (0..).zip(numbers) {
        let mut value = ptr::null_mut();
        // SAFETY: as above.
        check(unsafe { sys::napi_create_double(env.raw(), *number, &raw mut value) })?;
        // SAFETY: both are values of the current environment, made above.
        check(unsafe { sys::napi_set_element(env.raw(), array, index, value) })?;
    }
    Ok(array)
}

fn inspection_to_js(env: &Env, inspection: &Inspection) -> NapiResult<sys::napi_value> {
    let mut holders = env.create_array(0)?;
    for Holding { holder, lease_left } in &inspection.holders {
        let mut value = Object::new(env)?;
        let is_shared = holder.as_ref().is_some_and(|holder| holder.nonce.is_shared());
        value.set_named_property("mode", mode_name(is_shared))?;
        value.set_named_property("leaseLeft", lease_left.as_secs_f64() * 1000.0)?;
        if let Some(holder) = holder {
            introduce(env, &mut value, holder)?;
        }
        holders.insert(value)?;
    }
    let mut waiters = env.create_array(0)?;
    for waiter in &inspection.waiters {
        waiters.insert(waiter_to_js(env, waiter)?)?;
    }
    let mut object = Object::new(env)?;
    object.set_named_property("holders", holders)?;
    object.set_named_property("numberOfLocks", number(inspection.count))?;
    object.set_named_property("waiters", waiters)?;
    // SAFETY: the object is of the current environment.
    unsafe { Object::to_napi_value(env.raw(), object) }
}

/// Who is in the way.
pub(crate) fn contention_to_js(env: &Env, contention: &Contention) -> NapiResult<sys::napi_value> {
    let mut object = Object::new(env)?;
    describe(env, &mut object, contention)?;
    // SAFETY: the object is of the current environment.
    unsafe { Object::to_napi_value(env.raw(), object) }
}

fn describe(env: &Env, object: &mut Object, contention: &Contention) -> NapiResult<()> {
    object.set_named_property("numberOfLocks", number(contention.count))?;
    object.set_named_property("leaseLeft", contention.lease_left.as_secs_f64() * 1000.0)?;
    if let Some(resource) = &contention.resource {
        object.set_named_property("resourceId", resource.name())?;
    }
    if let Some(place) = contention.place {
        object.set_named_property("position", number(place))?;
    }
    if let Some(holder) = &contention.holder {
        introduce(env, object, holder)?;
    }
    Ok(())
}

fn waiter_to_js<'env>(env: &'env Env, waiter: &Waiter) -> NapiResult<Object<'env>> {
    let mut value = Object::new(env)?;
    identify(&mut value, &waiter.identity)?;
    value.set_named_property("mode", mode_name(waiter.mode.is_shared()))?;
    value.set_named_property("since", waiter.since.as_secs_f64() * 1000.0)?;
    Ok(value)
}

fn snapshot_to_js(env: &Env, snapshot: &Snapshot) -> NapiResult<sys::napi_value> {
    let mut held = env.create_array(0)?;
    for (resource, holder, lease_left) in &snapshot.held {
        let mut value = Object::new(env)?;
        value.set_named_property("name", resource.name())?;
        value.set_named_property("mode", mode_name(holder.nonce.is_shared()))?;
        value.set_named_property("leaseLeft", lease_left.as_secs_f64() * 1000.0)?;
        introduce(env, &mut value, holder)?;
        held.insert(value)?;
    }
    let mut pending = env.create_array(0)?;
    for (resource, waiter) in &snapshot.pending {
        let mut value = waiter_to_js(env, waiter)?;
        value.set_named_property("name", resource.name())?;
        pending.insert(value)?;
    }
    let mut object = Object::new(env)?;
    object.set_named_property("held", held)?;
    object.set_named_property("pending", pending)?;
    // SAFETY: the object is of the current environment.
    unsafe { Object::to_napi_value(env.raw(), object) }
}

/// Sets `holder`, if it is known who that is.
fn introduce(env: &Env, object: &mut Object, holder: &Holder) -> NapiResult<()> {
    let Some(identity) = &holder.identity else { return Ok(()) };
    let mut value = Object::new(env)?;
    identify(&mut value, identity)?;
    let since = holder.since().map(|since| since.as_secs_f64() * 1000.0);
    value.set_named_property("since", since)?;
    value.set_named_property("token", holder.token.map(number))?;
    object.set_named_property("holder", value)
}

/// As the Web Locks have it.
fn mode_name(is_shared: bool) -> &'static str {
    if is_shared { "shared" } else { "exclusive" }
}

fn identify(object: &mut Object, identity: &Identity) -> NapiResult<()> {
    object.set_named_property("clientId", identity.client.as_str())?;
    object.set_named_property("host", identity.host.as_str())?;
    object.set_named_property("pid", identity.pid)
}

/// Tokens and counts stay below 2^53: the scripts see to it. A nonce has 13 digits.
#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
pub(crate) fn number(value: u64) -> f64 {
    value as f64
}
