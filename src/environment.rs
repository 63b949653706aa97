//! What belongs to an environment of JavaScript's: the main thread, each worker. Copies of `lib/` in it, as a test runner makes
//! them, share it.
//!
//! It has weak threadsafe functions. Other threads put results into an inbox and wake the JavaScript thread once for all that
//! gather there until it comes.

#[cfg(target_os = "linux")]
use std::cell::OnceCell;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ffi::c_void,
    ptr,
    rc::Rc,
    sync::Arc,
};

use lock_inc_core::{
    Timer,
    locker::{Event, Locker},
};
use lock_inc_exec::{self as exec, turn};
#[cfg(target_os = "linux")]
use lock_inc_redis::socket::Readable;
#[cfg(unix)]
use lock_inc_redis::socket::Watcher;
use napi::{Env, Error as NapiError, JsValue, Result as NapiResult, Unknown, sys};
use tokio::runtime::Handle;

#[cfg(target_os = "linux")]
use crate::event_loop;
use crate::{
    async_context,
    inbox::{Inbox, Mail},
    listener, retry_strategy, runtime,
    servers::SharedServers,
    system::SystemClock,
    values::{WeakFunction, check},
};

/// So many pieces of mail make values of JavaScript's before these are let go.
const MAILS_IN_A_SCOPE: usize = 64;

/// So many promises are settled at a time. Then the event loop goes on before the next ones are: what waits for them runs
/// all at once, and would else keep it for long.
const OUTCOMES_AT_A_TIME: usize = 200;

/// An environment. Lives on its JavaScript thread.
pub(crate) struct Environment {
    runtime: Handle,
    timer: Arc<Timer>,
    wake: sys::napi_threadsafe_function,
    inbox: Arc<Inbox>,
    /// Promises that are not settled yet. While there are any, the event loop stays alive.
    in_flight: Rc<Cell<usize>>,
    /// How many promises may still be settled before mail is read.
    room: Cell<usize>,
    lockers: RefCell<Vec<Arc<Locker>>>,
    /// Functions of JavaScript's, by the numbers that other threads know them by. The lockers keep them.
    functions: RefCell<HashMap<usize, WeakFunction>>,
    next_function: Cell<usize>,
    servers: SharedServers,
    #[cfg(target_os = "linux")]
    watcher: OnceCell<Option<Arc<dyn Watcher>>>,
}

impl Environment {
    /// This environment; set up at the first call.
    pub(crate) fn of(env: &Env) -> NapiResult<Rc<Self>> {
        if let Some(environment) = env.get_instance_data::<Rc<Self>>()? {
            return Ok(environment.clone());
        }
        let environment = Rc::new(async_context::outside_all(env, || Self::new(env))?);
        env.set_instance_data(environment.clone(), (), |_| {})?;
        let raw = Rc::into_raw(environment.clone()).cast_mut().cast();
        // SAFETY: `tear_down` takes back the reference that `raw` carries, once. Hooks run in reverse order, so it
        // comes before the threadsafe functions, made earlier, are torn down by their own hooks.
        check(unsafe { sys::napi_add_env_cleanup_hook(env.raw(), Some(tear_down), raw) })?;
        Ok(environment)
    }

    /// Who watches sockets in the event loop of this environment, which has to be that of Node.js. Set up when first asked
    /// for; without one, the runtime reads them alone.
    #[cfg(target_os = "linux")]
    pub(crate) fn watcher(self: &Rc<Self>, env: &Env) -> Option<Arc<dyn Watcher>> {
        let set_up = || {
            let environment = Rc::downgrade(self);
            let on_readable = move |env: &Env, readers| {
                if let Some(environment) = environment.upgrade() {
                    environment.read_sockets(env, readers);
                }
            };
            let watch = || Ok(event_loop::watch(env, Rc::new(on_readable)));
            let sockets = async_context::outside_all(env, watch).ok().flatten()?;
            Some(sockets as Arc<dyn Watcher>)
        };
        self.watcher.get_or_init(set_up).clone()
    }

    /// There is one on Linux alone.
    #[cfg(all(unix, not(target_os = "linux")))]
    pub(crate) fn watcher(&self, _env: &Env) -> Option<Arc<dyn Watcher>> {
        None
    }

    fn new(env: &Env) -> NapiResult<Self> {
        let runtime = runtime::handle().map_err(|error| {
            NapiError::from_reason(format!("lock-inc could not start its thread: {error}"))
        })?;
        let inbox = Arc::new(Inbox::default());
        let in_flight = Rc::new(Cell::new(0));
        let pending = in_flight.clone();
        let wake = new_wake(env, move || pending.get() > 0)?;
        inbox.open([wake, new_wake(env, || false)?]);
        let timer = {
            let _on_runtime = runtime.enter();
            Timer::new(Arc::new(SystemClock))
        };
        Ok(Self {
            runtime,
            timer,
            wake,
            inbox,
            in_flight,
            room: Cell::new(OUTCOMES_AT_A_TIME),
            lockers: RefCell::default(),
            functions: RefCell::default(),
            next_function: Cell::new(0),
            servers: SharedServers::default(),
            #[cfg(target_os = "linux")]
            watcher: OnceCell::new(),
        })
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// By which all lockers sleep.
    pub(crate) fn timer(&self) -> Arc<Timer> {
        self.timer.clone()
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// Keeps a locker until it is closed, or until the environment ends and closes it.
    pub(crate) fn adopt(&self, locker: Arc<Locker>) {
        self.lockers.borrow_mut().push(locker);
    }

    /// `false` if it is not kept any more.
    pub(crate) fn forget(&self, locker: &Arc<Locker>) -> bool {
        let mut lockers = self.lockers.borrow_mut();
        let place = lockers.iter().position(|other| Arc::ptr_eq(other, locker));
        place.map(|place| lockers.swap_remove(place)).is_some()
    }

    /// Nobody can call the locker any more: closes it, if that has not been done.
    pub(crate) fn abandon(&self, locker: &Arc<Locker>) {
        if self.forget(locker) {
            self.runtime.spawn(locker.clone().close());
        }
    }

    /// Gives a function a number. Whoever uses it must be kept by JavaScript together with the function.
    pub(crate) fn number_function(&self, function: Unknown) -> NapiResult<usize> {
        let number = self.next_function.replace(self.next_function.get() + 1);
        self.functions.borrow_mut().insert(number, WeakFunction::new(function)?);
        Ok(number)
    }

    pub(crate) fn forget_function(&self, number: usize) {
        self.functions.borrow_mut().remove(&number);
    }

    /// Not borrowed while JavaScript runs: it may make a locker.
    pub(crate) fn function<'env>(&self, env: &'env Env, number: usize) -> Option<Unknown<'env>> {
        self.functions.borrow().get(&number)?.get(env)
    }

    pub(crate) fn servers(&self) -> &SharedServers {
        &self.servers
    }

    /// A promise was made. As long as there is one, the event loop stays alive.
    pub(crate) fn expect_outcome(&self, env: &Env) -> NapiResult<()> {
        if self.in_flight.replace(self.in_flight.get() + 1) == 0 {
            // SAFETY: on the thread of the environment, which is alive.
            check(unsafe { sys::napi_ref_threadsafe_function(env.raw(), self.wake) })?;
        }
        Ok(())
    }

    /// Of what has come meanwhile, only promises are settled: a caller does not expect to be called back.
    pub(crate) fn settle_outcomes(&self, env: &Env) {
        let outcomes = self.inbox.take_outcomes(self.room.get());
        self.room.set(self.room.get() - outcomes.len());
        for mail in outcomes {
            if let Mail::Settle(deferred, outcome) = mail {
                self.settle(env, deferred, outcome);
            }
        }
    }

    /// Sends what has been called since the turn of the event loop [began](turn::begin).
    pub(crate) fn end_turn(&self, env: &Env) {
        self.inbox.attend();
        turn::end(&self.runtime);
        self.settle_outcomes(env);
    }

    /// Something can be read from these sockets: reads it, and settles what comes of it.
    #[cfg(target_os = "linux")]
    fn read_sockets(&self, env: &Env, readers: Vec<Arc<dyn Readable>>) {
        self.inbox.attend();
        exec::assist(&self.runtime, || readers.iter().for_each(|reader| reader.read()));
        self.read(env);
    }

    fn read(&self, env: &Env) {
        self.room.set(OUTCOMES_AT_A_TIME);
        let mut mails = self.inbox.take(OUTCOMES_AT_A_TIME).into_iter();
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
                let decision = retry_strategy::decide(env, self.function(env, number), &trouble);
                // Nobody waits if the locker was closed meanwhile.
                let _ = reply.send(decision);
            }
            Mail::Forget(number) | Mail::Event(number, Event::Ended) => self.forget_function(number),
            Mail::Event(number, event) => {
                if let Some(function) = self.function(env, number) {
                    // `lib/` catches what its listeners throw: an error here is an environment that ends.
                    let _ = listener::call(env, function, &event);
                }
            }
            Mail::Nudge => {}
        }
    }

    /// The other side of [`expect_outcome`](Self::expect_outcome).
    pub(crate) fn outcome_has_come(&self, env: &Env) {
        let in_flight = self.in_flight.get() - 1;
        self.in_flight.set(in_flight);
        if in_flight == 0 {
            // SAFETY: on the thread of the environment.
            unsafe { sys::napi_unref_threadsafe_function(env.raw(), self.wake) };
        }
    }
}

/// A threadsafe function that wakes the JavaScript thread, and does not keep it alive by itself. `is_referenced`: whether it
/// does now.
fn new_wake(
    env: &Env,
    is_referenced: impl Fn() -> bool + 'static,
) -> NapiResult<sys::napi_threadsafe_function> {
    let name = env.create_string(async_context::NAME)?;
    let resource = async_context::resource(env, is_referenced)?;
    let mut wake = ptr::null_mut();
    // SAFETY: `env` is the current environment, `name` and `resource` are values of it, and there is no context to
    // outlive.
    check(unsafe {
        sys::napi_create_threadsafe_function(
            env.raw(),
            ptr::null_mut(),
            resource.raw(),
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
    Ok(wake)
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
    if let Ok(Some(environment)) = env.get_instance_data::<Rc<Environment>>() {
        environment.inbox.awake();
        environment.clone().read(&env);
    }
}

/// Called once when the environment ends, even if its worker was terminated.
unsafe extern "C" fn tear_down(environment: *mut c_void) {
    // SAFETY: `Environment::of` made this pointer with `Rc::into_raw`, on this thread, for this one call.
    let environment = unsafe { Rc::from_raw(environment.cast_const().cast::<Environment>()) };
    // What was called last, in a turn that did not come to its end.
    turn::end(&environment.runtime);
    for mail in environment.inbox.close() {
        if let Mail::Settle(_, Ok(outcome)) = mail {
            outcome.discard();
        }
    }
    for locker in environment.lockers.take() {
        environment.runtime.spawn(locker.close());
    }
    // While they can be let go: what is dropped later may be so when the environment is gone.
    environment.functions.take();
}
