//! What happens to locks, told to JavaScript: one function for each locker.

use std::{sync::Arc, time::Duration};

use napi::{Env, JsValue, Result as NapiResult, Unknown, bindgen_prelude::*, sys};

use crate::{
    inbox::{Inbox, Mail},
    outcome::{self, number},
};
use lock_inc_core::{
    Contention, Hold,
    error::Error,
    locker::{Event, Listener, LostReason},
};

/// Puts events into the inbox of its environment, for the function with this number.
pub(crate) struct JsListener {
    pub inbox: Arc<Inbox>,
    pub number: usize,
}

impl Listener for JsListener {
    fn tell(&self, event: Event) -> bool {
        match event {
            Event::Alive => self.inbox.is_open(),
            event => self.inbox.post(Mail::Event(self.number, event)).is_none(),
        }
    }

    fn nudge(&self) -> Duration {
        self.inbox.nudge()
    }
}

/// Calls `listener(name, number, detail)`.
pub(crate) fn call(env: &Env, listener: Unknown, event: &Event) -> NapiResult<()> {
    let nonce = |hold: &Hold| Some(number(hold.nonce.number()));
    let (name, about, detail) = match event {
        Event::Lost(hold, reason) => ("lost", nonce(hold), Detail::Reason(*reason)),
        Event::Renewed(hold) => ("renew", nonce(hold), Detail::None),
        Event::RenewalFailed(hold, error) => ("renewFailed", nonce(hold), Detail::Error(error)),
        Event::Waiting(call, contention) => {
            ("wait", Some(number(call.get())), Detail::Contention(contention))
        }
        Event::Disconnected(error) => ("disconnect", None, Detail::Error(error)),
        Event::Reconnected => ("reconnect", None, Detail::None),
        Event::Ended | Event::Alive => return Ok(()),
    };
    // SAFETY: values of the current environment, used in this call only.
    unsafe {
        let value = |raw| Unknown::from_napi_value(env.raw(), raw);
        let arguments = FnArgs::from((
            value(ToNapiValue::to_napi_value(env.raw(), name)?)?,
            value(ToNapiValue::to_napi_value(env.raw(), about)?)?,
            value(detail.to_js(env)?)?,
        ));
        let function: Function<FnArgs<(Unknown, Unknown, Unknown)>, Unknown> =
            Function::from_napi_value(env.raw(), listener.raw())?;
        function.call(arguments)?;
    }
    Ok(())
}

enum Detail<'a> {
    None,
    Reason(LostReason),
    Error(&'a Error),
    Contention(&'a Contention),
}

impl Detail<'_> {
    fn to_js(&self, env: &Env) -> NapiResult<sys::napi_value> {
        match self {
            // SAFETY: `env` is the current environment.
            Self::None => unsafe { Null::to_napi_value(env.raw(), Null) },
            // SAFETY: as above.
            Self::Reason(reason) => unsafe { ToNapiValue::to_napi_value(env.raw(), reason_name(*reason)) },
            Self::Error(error) => outcome::failure(env, error),
            Self::Contention(contention) => outcome::contention_to_js(env, contention),
        }
    }
}

fn reason_name(reason: LostReason) -> &'static str {
    match reason {
        LostReason::Expired => "expired",
        LostReason::Connection => "connection",
        LostReason::Stolen => "stolen",
        LostReason::Purged => "purged",
    }
}
