//! Promises that always settle.

use std::{ptr, sync::Arc};

use futures_util::FutureExt;
use lock_inc_core::error::{Error, Result};
use lock_inc_exec as exec;
use napi::{Env, Result as NapiResult, sys};

use crate::{
    environment::Environment,
    inbox::{Deferred, Inbox, Mail},
    outcome::{self, Outcome},
    values::check,
};

impl Environment {
    /// Works on something and returns a promise of its outcome. This thread does as much of it as it can do without
    /// waiting.
    pub(crate) fn promise(
        &self,
        env: &Env,
        work: impl Future<Output = Result<Outcome>> + Send + 'static,
    ) -> NapiResult<sys::napi_value> {
        let (mut deferred, mut promise) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: out parameters of the current environment.
        check(unsafe { sys::napi_create_promise(env.raw(), &raw mut deferred, &raw mut promise) })?;
        let deferred = Deferred(deferred);
        self.expect_outcome(env)?;
        let promised = Promised { inbox: self.inbox().clone(), deferred: Some(deferred) };
        // Not an async block: that would keep room for `work` twice.
        let work = work.map(|result| promised.post(result));
        self.inbox().attend();
        exec::assist(self.runtime(), || exec::spawn(self.runtime(), work));
        self.settle_outcomes(env);
        Ok(promise)
    }

    /// Settles a promise with what has come of it.
    pub(crate) fn settle(&self, env: &Env, Deferred(deferred): Deferred, result: Result<Outcome>) {
        self.outcome_has_come(env);
        let value = match &result {
            Ok(outcome) => outcome.to_js(env).map(|value| (value, true)),
            Err(error) => outcome::failure(env, error).map(|value| (value, false)),
        };
        // SAFETY: each deferred is settled once, here, with a value of its own environment.
        let settled = value.is_ok_and(|(value, resolve)| unsafe {
            let status = if resolve {
                sys::napi_resolve_deferred(env.raw(), deferred, value)
            } else {
                sys::napi_reject_deferred(env.raw(), deferred, value)
            };
            status == sys::Status::napi_ok
        });
        // Nothing else can fail here but an environment that is closing: a worker that is being terminated.
        if let (false, Ok(outcome)) = (settled, result) {
            outcome.discard();
        }
    }
}

/// A promise that somebody works on. It settles whatever happens: a panic is a bug, but hangs nobody.
struct Promised {
    inbox: Arc<Inbox>,
    deferred: Option<Deferred>,
}

impl Promised {
    fn post(mut self, result: Result<Outcome>) {
        let Some(deferred) = self.deferred.take() else { return };
        if let Some(Mail::Settle(_, Ok(outcome))) = self.inbox.post(Mail::Settle(deferred, result)) {
            outcome.discard();
        }
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        if let Some(deferred) = self.deferred.take() {
            // It comes back where there is nobody any more to be told.
            let _ = self.inbox.post(Mail::Settle(deferred, Err(Error::Internal)));
        }
    }
}
