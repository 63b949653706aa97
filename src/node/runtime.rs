//! The one thread that all lockers of the process share for their I/O, in whichever JavaScript thread they live.

use std::{future::pending, io, sync::OnceLock, thread};

use napi::bindgen_prelude::retain_current_module_for_unload_safety;
use tokio::runtime::{Builder, Handle};

static HANDLE: OnceLock<Handle> = OnceLock::new();

/// The runtime; started when the first locker is made. It keeps no process alive: it is no handle of any event
/// loop, and a process that ends does not wait for it.
pub fn handle() -> io::Result<&'static Handle> {
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    // Node unloads an addon with the last worker that loaded it; the thread runs on, so the code must stay.
    retain_current_module_for_unload_safety();
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let handle = runtime.handle().clone();
    // Two workers may get here at once. The runtime of the second one is dropped unused, before it has a thread.
    if HANDLE.set(handle).is_ok() {
        thread::Builder::new().name("lock-inc".into()).spawn(move || runtime.block_on(pending::<()>()))?;
    }
    HANDLE.get().ok_or_else(|| io::Error::other("the runtime did not start"))
}
