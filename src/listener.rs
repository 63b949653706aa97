//! What happens to locks, told to JavaScript: one function for each locker.

use std::{sync::Arc, time::Duration};

use napi::{Env, JsValue, Result as NapiResult, Unknown, bindgen_prelude::*};

use crate::{
    inbox::{Inbox, Mail},
    outcome::number,
};
use lock_inc_core::locker::{Event, Listener, LostReason};

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

/// Calls `listener(name, nonce, detail)`.
pub(crate) fn call(env: &Env, listener: Unknown, event: &Event) -> NapiResult<()> {
    let (name, hold, detail) = match event {
        Event::Lost(hold, reason) => ("lost", Some(hold), Some(reason_name(*reason))),
        Event::Renewed(hold) => ("renew", Some(hold), None),
        Event::Reconnected => ("reconnect", None, None),
        Event::Ended | Event::Alive => return Ok(()),
    };
    let nonce = hold.map(|hold| number(hold.nonce.number()));
    // SAFETY: values of the current environment, used in this call only.
    unsafe {
        let value = |raw| Unknown::from_napi_value(env.raw(), raw);
        let arguments = FnArgs::from((
            value(ToNapiValue::to_napi_value(env.raw(), name)?)?,
            value(ToNapiValue::to_napi_value(env.raw(), nonce)?)?,
            value(ToNapiValue::to_napi_value(env.raw(), detail)?)?,
        ));
        let function: Function<FnArgs<(Unknown, Unknown, Unknown)>, Unknown> =
            Function::from_napi_value(env.raw(), listener.raw())?;
        function.call(arguments)?;
    }
    Ok(())
}

fn reason_name(reason: LostReason) -> &'static str {
    match reason {
        LostReason::Expired => "expired",
        LostReason::Connection => "connection",
        LostReason::Stolen => "stolen",
        LostReason::Purged => "purged",
    }
}
