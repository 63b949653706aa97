//! What napi-rs leaves to be said about values and calls of Node-API.

use std::ptr;

use napi::{Env, Error, JsValue, Result, Status, Unknown, bindgen_prelude::FromNapiValue, sys};

/// A function of JavaScript's for as long as JavaScript keeps it. Lives on the thread of its environment, and no longer
/// than that.
pub(crate) struct WeakFunction {
    env: sys::napi_env,
    reference: sys::napi_ref,
}

impl WeakFunction {
    pub(crate) fn new(function: Unknown) -> Result<Self> {
        let env = function.value().env;
        let mut reference = ptr::null_mut();
        // SAFETY: a value of its own environment; a count of 0 keeps nothing.
        check(unsafe { sys::napi_create_reference(env, function.raw(), 0, &raw mut reference) })?;
        Ok(Self { env, reference })
    }

    /// The function, if it is still there.
    pub(crate) fn get<'env>(&self, env: &'env Env) -> Option<Unknown<'env>> {
        let mut function = ptr::null_mut();
        // SAFETY: the reference is alive, and `env` is its environment.
        let status = unsafe { sys::napi_get_reference_value(env.raw(), self.reference, &raw mut function) };
        if status != sys::Status::napi_ok || function.is_null() {
            return None;
        }
        // SAFETY: a value of the current environment, in the scope that is open.
        unsafe { Unknown::from_napi_value(env.raw(), function) }.ok()
    }
}

impl Drop for WeakFunction {
    fn drop(&mut self) {
        // SAFETY: on the thread of the environment, which is alive; deleted once.
        unsafe { sys::napi_delete_reference(self.env, self.reference) };
    }
}

/// What a call of Node-API has returned, as a result.
pub(crate) fn check(status: sys::napi_status) -> Result<()> {
    if status == sys::Status::napi_ok {
        return Ok(());
    }
    let status = Status::from(status);
    Err(Error::new(status, format!("Node-API call failed: {status}")))
}
