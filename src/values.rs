//! What napi-rs leaves to be said about values and calls of Node-API.

use napi::{Error, Result, Status, Unknown, bindgen_prelude::FunctionRef, sys};

/// A function of JavaScript's that its environment keeps.
pub(crate) type JsFunction = FunctionRef<Unknown<'static>, Unknown<'static>>;

/// What a call of Node-API has returned, as a result.
pub(crate) fn check(status: sys::napi_status) -> Result<()> {
    if status == sys::Status::napi_ok {
        return Ok(());
    }
    let status = Status::from(status);
    Err(Error::new(status, format!("Node-API call failed: {status}")))
}
