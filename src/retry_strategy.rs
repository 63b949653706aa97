//! The user's `retry_strategy`: a question from the runtime's thread to a JavaScript function.

use std::{pin::Pin, sync::Arc, time::Duration};

use lock_inc_core::error::Cause;
use lock_inc_redis::config::{Decision, ReconnectStrategy, Trouble};
use napi::{
    Env, JsValue, Result as NapiResult, Unknown, ValueType,
    bindgen_prelude::{FromNapiValue, Function, JsObjectValue, Object},
};
use tokio::sync::oneshot;

use crate::inbox::{Inbox, Mail};

/// A strategy whose function has this number in its environment.
pub(crate) struct JsStrategy {
    pub inbox: Arc<Inbox>,
    pub number: usize,
}

/// No link uses it any more.
impl Drop for JsStrategy {
    fn drop(&mut self) {
        // It comes back when the environment ends, and its functions with it.
        let _ = self.inbox.post(Mail::Forget(self.number));
    }
}

impl ReconnectStrategy for JsStrategy {
    fn decide(&self, trouble: Trouble) -> Pin<Box<dyn Future<Output = Decision> + Send + '_>> {
        let (reply, decision) = oneshot::channel();
        let refused = self.inbox.post(Mail::Ask(self.number, trouble, reply));
        Box::pin(async move {
            match refused {
                None => decision.await.unwrap_or(Decision::GiveUp(None)),
                // The environment is gone, and with it all who could wait for a connection.
                Some(_) => Decision::GiveUp(None),
            }
        })
    }
}

/// What the function says; without one the locker was closed.
pub(crate) fn decide(env: &Env, strategy: Option<Unknown>, trouble: &Trouble) -> Decision {
    let Some(strategy) = strategy else { return Decision::GiveUp(None) };
    ask(env, strategy, trouble).unwrap_or_else(|error| {
        // It threw: that is no delay, so it is the end, and the error says why.
        Decision::GiveUp(Some(Cause::new("ERR_RETRY_STRATEGY", error.reason)))
    })
}

fn ask(env: &Env, strategy: Unknown, trouble: &Trouble) -> NapiResult<Decision> {
    let mut options = Object::new(env)?;
    options.set_named_property("attempt", trouble.attempt)?;
    // In both spellings that node_redis has.
    for name in ["total_retry_time", "totalRetryTime"] {
        options.set_named_property(name, trouble.retrying_for.as_secs_f64() * 1000.0)?;
    }
    for name in ["times_connected", "timesConnected"] {
        options.set_named_property(name, trouble.times_connected)?;
    }
    let mut error = env.create_error(napi::Error::from_reason(&*trouble.cause.message))?;
    error.set_named_property("code", &*trouble.cause.code)?;
    options.set_named_property("error", error)?;
    // SAFETY: the value is used in this call only.
    let options = unsafe { Unknown::from_napi_value(env.raw(), options.raw())? };
    // SAFETY: `lib/options/` has found it to be a function.
    let strategy: Function<Unknown, Unknown> =
        unsafe { Function::from_napi_value(env.raw(), strategy.raw())? };
    let answer = strategy.call(options)?;
    Ok(match answer.get_type()? {
        ValueType::Number => {
            // SAFETY: just found to be a number.
            let ms = unsafe { f64::from_napi_value(env.raw(), answer.raw())? };
            // A JavaScript timer takes what is no sensible delay as none at all.
            Decision::RetryAfter(Duration::try_from_secs_f64(ms.max(1.0) / 1000.0).unwrap_or_default())
        }
        _ if answer.is_error()? => {
            // SAFETY: an error is an object.
            let error = unsafe { Object::from_napi_value(env.raw(), answer.raw())? };
            let message: String = error.get_named_property("message")?;
            let code: Option<String> = error.get_named_property::<Option<String>>("code").unwrap_or(None);
            Decision::GiveUp(Some(Cause::new(code.as_deref().unwrap_or("ERR_RETRY_STRATEGY"), message)))
        }
        _ => Decision::GiveUp(None),
    })
}
