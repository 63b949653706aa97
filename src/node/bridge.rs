//! From the runtime's thread back to JavaScript.
//!
//! Each environment (the main thread, each worker, each copy of the module that a test runner loads) has one
//! bridge with one weak threadsafe function. The runtime's thread puts results into an inbox and wakes the
//! JavaScript thread once for all that gather there until it comes. Promises are made and settled directly.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    ffi::c_void,
    ptr,
    rc::Rc,
    sync::Arc,
    task::Waker,
};

use futures_util::FutureExt;
use napi::{
    Env, Error as NapiError, JsValue, Result as NapiResult, Status, Unknown,
    bindgen_prelude::{FromNapiValue, Function},
    sys,
};
use tokio::runtime::Handle;

#[cfg(target_os = "linux")]
use super::event_loop::{self, Sockets};
use super::{
    JsFunction,
    inbox::{Deferred, Inbox, Mail},
    listener,
    outcome::{self, Outcome},
    runtime, strategy,
};
#[cfg(unix)]
use crate::driver::redis::socket::Watcher;
use crate::{
    error::{Error, Result},
    locker::{Event, Locker},
    tasks,
};

/// So many pieces of mail make values of JavaScript's before these are let go.
const MAILS_IN_A_SCOPE: usize = 64;

/// An environment's side of the bridge. Lives on its JavaScript thread.
pub struct Bridge {
    runtime: Handle,
    wake: sys::napi_threadsafe_function,
    inbox: Arc<Inbox>,
    /// Promises that are not settled yet. While there are any, the event loop stays alive.
    in_flight: Cell<usize>,
    lockers: RefCell<Vec<Arc<Locker>>>,
    /// Functions of JavaScript's, by the numbers that other threads know them by.
    functions: RefCell<HashMap<usize, Rc<JsFunction>>>,
    next_function: Cell<usize>,
    #[cfg(target_os = "linux")]
    sockets: OnceCell<Arc<Sockets>>,
}

impl Bridge {
    /// The bridge of this environment; made at the first call.
    pub fn of(env: &Env) -> NapiResult<Rc<Self>> {
        if let Some(bridge) = env.get_instance_data::<Rc<Self>>()? {
            return Ok(bridge.clone());
        }
        let bridge = Rc::new(Self::new(env)?);
        env.set_instance_data(bridge.clone(), (), |_| {})?;
        let raw = Rc::into_raw(bridge.clone()).cast_mut().cast();
        // SAFETY: `tear_down` takes back the reference that `raw` carries, once. Hooks run in reverse order, so it
        // comes before the threadsafe function, made earlier, is torn down by its own hook.
        check(unsafe { sys::napi_add_env_cleanup_hook(env.raw(), Some(tear_down), raw) })?;
        #[cfg(target_os = "linux")]
        if let Some(sockets) = event_loop::watch(env, &bridge) {
            let _ = bridge.sockets.set(sockets);
        }
        Ok(bridge)
    }

    /// Who watches sockets for the event loop of this environment. Without one, the runtime reads them alone.
    #[cfg(unix)]
    pub fn watcher(&self) -> Option<Arc<dyn Watcher>> {
        #[cfg(target_os = "linux")]
        return self.sockets.get().map(|sockets| sockets.clone() as Arc<dyn Watcher>);
        #[cfg(not(target_os = "linux"))]
        return None;
    }

    fn new(env: &Env) -> NapiResult<Self> {
        let inbox = Arc::new(Inbox::default());
        let name = env.create_string("lock-inc")?;
        let mut wake = ptr::null_mut();
        // SAFETY: `env` is the current environment, `name` a value of it, and there is no context to outlive.
        check(unsafe {
            sys::napi_create_threadsafe_function(
                env.raw(),
                ptr::null_mut(),
                ptr::null_mut(),
                name.raw(),
                0,
                1,
                ptr::null_mut(),
                None,
                ptr::null_mut(),
                Some(read_mail),
                &raw mut wake,
            )
        })?;
        // SAFETY: made above, on this thread.
        check(unsafe { sys::napi_unref_threadsafe_function(env.raw(), wake) })?;
        inbox.open(wake);
        let runtime = runtime::handle().map_err(|error| NapiError::from_reason(error.to_string()))?;
        Ok(Self {
            runtime,
            wake,
            inbox,
            in_flight: Cell::new(0),
            lockers: RefCell::default(),
            functions: RefCell::default(),
            next_function: Cell::new(0),
            #[cfg(target_os = "linux")]
            sockets: OnceCell::new(),
        })
    }

    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Keeps a locker until it is closed, or until the environment ends and closes it.
    pub fn adopt(&self, locker: Arc<Locker>) {
        self.lockers.borrow_mut().push(locker);
    }

    pub fn forget(&self, locker: &Arc<Locker>) {
        self.lockers.borrow_mut().retain(|other| !Arc::ptr_eq(other, locker));
    }

    /// Keeps a function and returns its number.
    pub fn keep_function(&self, value: Unknown) -> NapiResult<usize> {
        // SAFETY: the caller has found it to be a function of this environment.
        let function: Function<Unknown, Unknown> =
            unsafe { FromNapiValue::from_napi_value(value.value().env, value.raw())? };
        let number = self.next_function.replace(self.next_function.get() + 1);
        self.functions.borrow_mut().insert(number, Rc::new(function.create_ref()?));
        Ok(number)
    }

    pub fn forget_function(&self, number: usize) {
        self.functions.borrow_mut().remove(&number);
    }

    /// Not borrowed while JavaScript runs: it may make a locker.
    fn function(&self, number: usize) -> Option<Rc<JsFunction>> {
        self.functions.borrow().get(&number).cloned()
    }

    /// Runs `work` on the runtime and returns a promise of its outcome.
    pub fn promise(
        &self,
        env: &Env,
        work: impl Future<Output = Result<Outcome>> + Send + 'static,
    ) -> NapiResult<sys::napi_value> {
        let (mut deferred, mut promise) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: out parameters of the current environment.
        check(unsafe { sys::napi_create_promise(env.raw(), &raw mut deferred, &raw mut promise) })?;
        let deferred = Deferred(deferred);
        if self.in_flight.replace(self.in_flight.get() + 1) == 0 {
            // SAFETY: on the thread of the environment, which is alive.
            check(unsafe { sys::napi_ref_threadsafe_function(env.raw(), self.wake) })?;
        }
        let promised = Promised { inbox: self.inbox.clone(), deferred: Some(deferred) };
        // Not an async block: that would keep room for `work` twice.
        let work = work.map(|result| promised.settle(result));
        if tasks::are_gathered() {
            tasks::spawn(&self.runtime, work);
            // Half as many as are under way are enough: the server has something to do while more is called. (Calls that
            // wait for a lock count, too. With many of these, what is gathered may wait for the end of the turn.)
            if tasks::gathered() * 3 >= self.in_flight.get() {
                self.finish(env);
                tasks::gather();
            }
        } else {
            self.inbox.attend();
            tasks::assist(&self.runtime, || tasks::spawn(&self.runtime, work));
            self.settle_taken(env);
        }
        Ok(promise)
    }

    /// Of what has come meanwhile, only promises are settled: a caller does not expect to be called back.
    fn settle_taken(&self, env: &Env) {
        for mail in self.inbox.take_settled() {
            if let Mail::Settle(deferred, outcome) = mail {
                self.settle(env, deferred, outcome);
            }
        }
    }

    /// Runs the calls of this turn of the event loop that were [gathered](tasks::gather), which sends them together.
    pub fn finish(&self, env: &Env) {
        self.inbox.attend();
        tasks::finish(&self.runtime);
        self.settle_taken(env);
    }

    /// Something can be read from a socket, of which these wait: reads it, and settles what comes of it.
    pub fn assist(&self, env: &Env, readers: impl IntoIterator<Item = Waker>) {
        self.inbox.attend();
        tasks::assist(&self.runtime, || readers.into_iter().for_each(Waker::wake));
        self.read(env);
    }

    fn read(&self, env: &Env) {
        let mut mails = self.inbox.take().into_iter();
        while mails.len() > 0 {
            let mut scope = ptr::null_mut();
            // SAFETY: opened and closed in this iteration, on the thread of `env`.
            let opened = unsafe { sys::napi_open_handle_scope(env.raw(), &raw mut scope) };
            for mail in mails.by_ref().take(MAILS_IN_A_SCOPE) {
                self.read_one(env, mail);
            }
            if opened == sys::Status::napi_ok {
                // SAFETY: as above.
                unsafe { sys::napi_close_handle_scope(env.raw(), scope) };
            }
        }
    }

    fn read_one(&self, env: &Env, mail: Mail) {
        match mail {
            Mail::Settle(deferred, outcome) => self.settle(env, deferred, outcome),
            Mail::Ask(number, trouble, reply) => {
                let decision = strategy::decide(env, self.function(number).as_deref(), &trouble);
                // Nobody waits if the locker was closed meanwhile.
                let _ = reply.send(decision);
            }
            Mail::Event(number, Event::Ended) => self.forget_function(number),
            Mail::Event(number, event) => {
                if let Some(function) = self.function(number) {
                    // `lib/` catches what its listeners throw: an error here is an environment that ends.
                    let _ = listener::call(env, &function, &event);
                }
            }
            Mail::Nudge => {}
        }
    }

    fn settle(&self, env: &Env, Deferred(deferred): Deferred, result: Result<Outcome>) {
        let in_flight = self.in_flight.get() - 1;
        self.in_flight.set(in_flight);
        if in_flight == 0 {
            // SAFETY: on the thread of the environment.
            unsafe { sys::napi_unref_threadsafe_function(env.raw(), self.wake) };
        }
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
    fn settle(mut self, result: Result<Outcome>) {
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

/// Called on the JavaScript thread when there is mail.
unsafe extern "C" fn read_mail(
    env: sys::napi_env,
    _callback: sys::napi_value,
    _context: *mut c_void,
    _data: *mut c_void,
) {
    // Null while the environment is being torn down.
    if env.is_null() {
        return;
    }
    let env = Env::from_raw(env);
    if let Ok(Some(bridge)) = env.get_instance_data::<Rc<Bridge>>() {
        bridge.clone().read(&env);
    }
}

/// Called once when the environment ends, be it that its worker was terminated.
unsafe extern "C" fn tear_down(bridge: *mut c_void) {
    // SAFETY: `Bridge::of` made this pointer with `Rc::into_raw`, on this thread, for this one call.
    let bridge = unsafe { Rc::from_raw(bridge.cast_const().cast::<Bridge>()) };
    // What was called last, in a turn that did not come to its end.
    tasks::finish(&bridge.runtime);
    for mail in bridge.inbox.close() {
        if let Mail::Settle(_, Ok(outcome)) = mail {
            outcome.discard();
        }
    }
    for locker in bridge.lockers.take() {
        bridge.runtime.spawn(locker.close());
    }
}

pub fn check(status: sys::napi_status) -> NapiResult<()> {
    if status == sys::Status::napi_ok {
        return Ok(());
    }
    let status = Status::from(status);
    Err(NapiError::new(status, format!("Node-API call failed: {status}")))
}
