//! The addon: the edge between JavaScript and the locker. `lib/native.d.ts` declares what is exported here; `lib/` checks
//! all arguments before, and makes the public classes and errors.
//!
//! # Layout
//!
//! * this file: makes a locker of its parts.
//! * [`locker`]: the functions of a locker. [`spec`]: the argument of `lockFactory`.
//! * [`inquiry`]: questions to servers, for the doctor.
//! * [`environment`]: what belongs to a thread of JavaScript's. [`stores`]: opens the store of a locker. [`servers`]: the
//!   servers that lockers share.
//! * [`promise`], [`inbox`], [`outcome`], [`listener`], [`retry_strategy`]: from here to JavaScript and back.
//! * [`event_loop`]: sockets in the event loop of Node.js. [`runtime`]: the thread beside it. [`async_context`]: what
//!   `async_hooks` knows of both.
//! * [`system`]: its clock and its randomness. [`values`]: what napi-rs leaves to be said.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use lock_inc_core::{Clock, Identity, locker::Locker};
use lock_inc_exec::turn;
// By this name: napi-derive makes an exception of the error of what is called `Result`, and a value of any other.
use napi::{Env, Result, Unknown, bindgen_prelude::Object};
use napi_derive::napi;

use self::{
    environment::Environment,
    inquiry::JsInquiry,
    listener::JsListener,
    locker::JsLocker,
    spec::Spec,
    system::{SystemClock, SystemRandom, random_bits},
};

mod async_context;
mod environment;
#[cfg(target_os = "linux")]
mod event_loop;
mod inbox;
mod inquiry;
mod listener;
mod locker;
mod outcome;
mod promise;
mod retry_strategy;
mod runtime;
mod servers;
mod spec;
mod stores;
mod system;
mod values;

/// The version of the package that this addon belongs to.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Base64 of the SHA-256 of a string.
#[napi]
pub fn hash(text: String) -> String {
    lock_inc_core::resource::hash(&text).to_string()
}

/// Makes a locker, and begins to connect. `host`: the name of this machine. `listener`: hears of lost locks and more.
/// `is_node`: whether the event loop is that of Node.js, which can watch sockets.
#[napi]
pub fn lock_factory<'env>(
    env: &'env Env,
    spec: Spec,
    host: String,
    listener: Unknown,
    is_node: bool,
) -> Result<Object<'env>> {
    let environment = Environment::of(env)?;
    let start = random_bits().map_err(no_random)?;
    let identity = identity(host)?;
    let _on_runtime = environment.runtime().enter();
    let command_timeout = spec::milliseconds(spec.command_timeout);
    let (store, strategy) = stores::open(env, &environment, spec, identity, is_node)?;
    let number = environment.number_function(listener)?;
    let called = [Some(listener), strategy];
    let listener = JsListener { inbox: environment.inbox().clone(), number };
    let (timer, random) = (environment.timer(), Arc::new(SystemRandom));
    let locker = Locker::open(store, timer, random, Box::new(listener), command_timeout, start);
    environment.adopt(locker.clone());
    JsLocker::new(locker, environment).into_object(env, called)
}

/// Begins to connect to the servers of a `spec` with `redis`, for questions that are about no lock. The other arguments are those
/// of `lock_factory`.
#[napi]
pub fn inquire<'env>(env: &'env Env, spec: Spec, host: String, is_node: bool) -> Result<Object<'env>> {
    let environment = Environment::of(env)?;
    let identity = identity(host)?;
    let _on_runtime = environment.runtime().enter();
    JsInquiry::open(env, environment, spec, &identity, is_node)
}

/// Who a new locker is.
fn identity(host: String) -> Result<Identity> {
    let client = random_bits().map_err(no_random)? >> 64;
    Ok(Identity { client: format!("{client:016x}"), host, pid: std::process::id() })
}

fn no_random(error: getrandom::Error) -> napi::Error {
    napi::Error::from_reason(format!("no random numbers: {error}"))
}

/// A number that nobody in this process has had before. What JavaScript itself counts, each copy of `lib/` counts anew.
#[napi]
pub fn new_number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed)
}

/// Milliseconds on the clock that leases are measured with.
#[napi]
pub fn now() -> f64 {
    SystemClock.now().since_start().as_secs_f64() * 1000.0
}

/// From now on calls wait until they are enough to be sent together, or for `finish`. Called after the first call in a turn
/// of the event loop, which has been sent already.
#[napi]
pub fn gather() {
    turn::begin();
}

/// Sends what was called since `gather`.
#[napi]
pub fn finish(env: Env) -> Result<()> {
    Environment::of(&env).map(|environment| environment.end_turn(&env))
}
