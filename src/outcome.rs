//! Results and errors as JavaScript values. The classes of the errors are made from these in `lib/errors.js`.

use std::{ptr, sync::Arc};

use napi::{
    Env, Result as NapiResult,
    bindgen_prelude::{JsObjectValue, Null, Object, ToNapiValue},
    sys,
};

use crate::{runtime, values::check};
use lock_inc_core::{Contention, Hold, Identity, Inspection, error::Error, locker::Locker};

/// What a call resolves to.
pub(crate) enum Outcome {
    /// A granted lock, which becomes its nonce and its fencing token, and the locker to give it back to if nobody takes it.
    Lock(Hold, Arc<Locker>),
    Bool(bool),
    /// Who holds a resource and who waits for it, or `null`.
    Inspection(Option<Inspection>),
    Undefined,
}

impl Outcome {
    pub(crate) fn to_js(&self, env: &Env) -> NapiResult<sys::napi_value> {
        // SAFETY: `env` is the current environment.
        unsafe {
            match self {
                Self::Lock(hold, _) => numbers_to_js(env, [hold.nonce.number(), hold.token].map(number)),
                Self::Bool(value) => bool::to_napi_value(env.raw(), *value),
                Self::Inspection(None) => Null::to_napi_value(env.raw(), Null),
                Self::Inspection(Some(inspection)) => inspection_to_js(env, inspection),
                Self::Undefined => <()>::to_napi_value(env.raw(), ()),
            }
        }
    }

    /// The environment is gone, and with it whoever wanted to know. A lock must not stay behind: it is given back
    /// before the locker, which is being closed as well, ends its connection.
    pub(crate) fn discard(self) {
        if let (Self::Lock(hold, locker), Ok(runtime)) = (self, runtime::handle()) {
            let _on_runtime = runtime.enter();
            locker.abandon(hold.nonce);
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
fn numbers_to_js<const COUNT: usize>(env: &Env, numbers: [f64; COUNT]) -> NapiResult<sys::napi_value> {
    let mut array = ptr::null_mut();
    // SAFETY: `env` is the current environment, and the rest an out parameter.
    check(unsafe { sys::napi_create_array_with_length(env.raw(), COUNT, &raw mut array) })?;
    for (index, number) in (0..).zip(numbers) {
        let mut value = ptr::null_mut();
        // SAFETY: as above.
        check(unsafe { sys::napi_create_double(env.raw(), number, &raw mut value) })?;
        // SAFETY: both are values of the current environment, made above.
        check(unsafe { sys::napi_set_element(env.raw(), array, index, value) })?;
    }
    Ok(array)
}

fn inspection_to_js(env: &Env, inspection: &Inspection) -> NapiResult<sys::napi_value> {
    let mut object = Object::new(env)?;
    if let Some(contention) = &inspection.holding {
        describe(env, &mut object, contention)?;
    }
    let mut waiters = env.create_array(0)?;
    for waiter in &inspection.waiters {
        let mut value = Object::new(env)?;
        identify(&mut value, &waiter.identity)?;
        value.set_named_property("since", waiter.since.as_secs_f64() * 1000.0)?;
        waiters.insert(value)?;
    }
    object.set_named_property("waiters", waiters)?;
    // SAFETY: the object is of the current environment.
    unsafe { Object::to_napi_value(env.raw(), object) }
}

fn describe(env: &Env, object: &mut Object, contention: &Contention) -> NapiResult<()> {
    object.set_named_property("numberOfLocks", number(contention.count))?;
    object.set_named_property("leaseLeft", contention.lease_left.as_secs_f64() * 1000.0)?;
    if let Some(place) = contention.place {
        object.set_named_property("position", number(place))?;
    }
    if let Some(holder) = &contention.holder
        && let Some(identity) = &holder.identity
    {
        let mut value = Object::new(env)?;
        identify(&mut value, identity)?;
        let since = holder.since().map(|since| since.as_secs_f64() * 1000.0);
        value.set_named_property("since", since)?;
        value.set_named_property("token", holder.token.map(number))?;
        object.set_named_property("holder", value)?;
    }
    Ok(())
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
