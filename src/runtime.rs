//! The one thread that all lockers of the process share for their I/O, in whichever JavaScript thread they live.

use std::{future::pending, io, sync::Mutex, thread};

use lock_inc_core::lock;
use napi::bindgen_prelude::retain_current_module_for_unload_safety;
use tokio::runtime::{Builder, Handle};

static HANDLE: Mutex<Option<Handle>> = Mutex::new(None);

/// The runtime; started when it is first needed. It keeps no process alive: it is no handle of any event loop, and
/// a process that ends does not wait for it.
pub(crate) fn handle() -> io::Result<Handle> {
    let mut started = lock(&HANDLE);
    if let Some(handle) = &*started {
        return Ok(handle.clone());
    }
    // Node unloads an addon with the last worker that loaded it; the thread runs on, so the code must stay.
    retain_current_module_for_unload_safety();
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name("lock-inc".into()).spawn(move || runtime.block_on(pending::<()>()))?;
    *started = Some(handle.clone());
    Ok(handle)
}
