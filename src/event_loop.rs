//! Sockets in the event loop of Node.js, so that its thread reads an answer itself if it is idle.
//!
//! libuv watches one file descriptor, an epoll instance of ours, to which any thread adds sockets. libuv is looked up
//! at run time. Where it is not there, or any step fails, the runtime's thread reads the sockets alone.
#![warn(clippy::multiple_unsafe_ops_per_block)]

use std::{
    collections::HashMap,
    ffi::{CStr, c_int, c_void},
    io,
    mem::transmute,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    rc::Rc,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use napi::{Env, sys};

use lock_inc_core::lock;
use lock_inc_redis::socket::{Readable, Watcher};

use crate::{async_context::AsyncContext, values::check};

/// What is done in the thread of the event loop when something can be read.
pub(crate) type OnReadable = Rc<dyn Fn(&Env, Vec<Arc<dyn Readable>>)>;

/// The sockets that an event loop watches.
pub(crate) struct Sockets {
    epoll: OwnedFd,
    /// By the number of the descriptor, which is that of the event, too.
    readers: Mutex<HashMap<RawFd, Arc<dyn Readable>>>,
}

impl Sockets {
    fn new() -> io::Result<Self> {
        // SAFETY: it only makes a descriptor.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: nobody else has it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        Ok(Self { epoll, readers: Mutex::default() })
    }

    /// Whoever reads from the sockets that have something to be read.
    fn ready(&self) -> Vec<Arc<dyn Readable>> {
        const ROOM: u8 = 16;
        let readers = self.readers();
        if readers.len() == 1 {
            // There is no need to ask which.
            return readers.values().cloned().collect();
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; ROOM as usize];
        // SAFETY: there is room for so many events. What does not fit in comes next time.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), ROOM.into(), 0) };
        let ready = events.iter().take(usize::try_from(count).unwrap_or(0));
        ready.filter_map(|event| readers.get(&RawFd::try_from(event.u64).ok()?).cloned()).collect()
    }

    fn control(&self, operation: c_int, socket: BorrowedFd<'_>) -> io::Result<()> {
        let descriptor = socket.as_raw_fd();
        let number = u64::try_from(descriptor).unwrap_or_default();
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: number };
        // SAFETY: both descriptors are open, and `event` is read only.
        match unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, descriptor, &raw mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<RawFd, Arc<dyn Readable>>> {
        lock(&self.readers)
    }
}

impl Watcher for Sockets {
    fn watch(&self, socket: BorrowedFd<'_>, reader: Arc<dyn Readable>) -> io::Result<()> {
        self.readers().insert(socket.as_raw_fd(), reader);
        let watched = self.control(libc::EPOLL_CTL_ADD, socket);
        if watched.is_err() {
            self.readers().remove(&socket.as_raw_fd());
        }
        watched
    }

    fn unwatch(&self, socket: BorrowedFd<'_>) {
        // If it fails, the socket is gone with its descriptor, which is closed next.
        let _ = self.control(libc::EPOLL_CTL_DEL, socket);
        self.readers().remove(&socket.as_raw_fd());
    }
}

type Handle = *mut c_void;
type HandleSize = unsafe extern "C" fn(c_int) -> usize;
type SetData = unsafe extern "C" fn(Handle, *mut c_void);
type GetData = unsafe extern "C" fn(*const c_void) -> *mut c_void;
type Unref = unsafe extern "C" fn(Handle);
type Close = unsafe extern "C" fn(Handle, Option<unsafe extern "C" fn(Handle)>);
type PollInit = unsafe extern "C" fn(*mut sys::uv_loop_s, Handle, c_int) -> c_int;
type PollStart = unsafe extern "C" fn(Handle, c_int, unsafe extern "C" fn(Handle, c_int, c_int)) -> c_int;

/// What is called of libuv, see <https://docs.libuv.org/en/v1.x/poll.html>.
#[derive(Clone, Copy)]
struct Libuv {
    handle_size: HandleSize,
    handle_set_data: SetData,
    handle_get_data: GetData,
    unref: Unref,
    close: Close,
    poll_init: PollInit,
    poll_start: PollStart,
}

/// `UV_POLL` of `uv_handle_type`, and `UV_READABLE` of `uv_poll_event`.
const UV_POLL: c_int = 8;
const UV_READABLE: c_int = 1;

static LIBUV: LazyLock<Option<Libuv>> = LazyLock::new(Libuv::find);

impl Libuv {
    fn find() -> Option<Self> {
        fn symbol(name: &CStr) -> Option<*mut c_void> {
            // SAFETY: a lookup among what the process has loaded.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            (!found.is_null()).then_some(found)
        }
        /// A function of libuv 1.x, whose type does not change.
        macro_rules! function {
            ($name:literal as $type:ty) => {{
                let found = symbol($name)?;
                // SAFETY: `$type` is the type that the function of this name has.
                unsafe { transmute::<*mut c_void, $type>(found) }
            }};
        }
        Some(Self {
            handle_size: function!(c"uv_handle_size" as HandleSize),
            handle_set_data: function!(c"uv_handle_set_data" as SetData),
            handle_get_data: function!(c"uv_handle_get_data" as GetData),
            unref: function!(c"uv_unref" as Unref),
            close: function!(c"uv_close" as Close),
            poll_init: function!(c"uv_poll_init" as PollInit),
            poll_start: function!(c"uv_poll_start" as PollStart),
        })
    }
}

/// What belongs to the handle in the event loop. It is freed when that is closed, or if it has never been opened.
struct Watch {
    libuv: Libuv,
    env: sys::napi_env,
    /// In which it calls back; until the handle is being closed.
    context: Option<AsyncContext>,
    hook: sys::napi_async_cleanup_hook_handle,
    on_readable: OnReadable,
    sockets: Arc<Sockets>,
    handle: Handle,
    /// The handle's own memory, of a size that only libuv knows.
    _memory: Vec<u64>,
}

/// Has the event loop of this environment watch sockets, until the environment ends. Nothing is left of a step if one
/// after it fails.
pub(crate) fn watch(env: &Env, on_readable: OnReadable) -> Option<Arc<Sockets>> {
    let libuv = (*LIBUV)?;
    let sockets = Arc::new(Sockets::new().ok()?);
    let mut event_loop = ptr::null_mut();
    // SAFETY: an out parameter of the current environment.
    check(unsafe { sys::napi_get_uv_event_loop(env.raw(), &raw mut event_loop) }).ok()?;
    let context = Some(AsyncContext::new(env).ok()?);
    // SAFETY: it only tells a size.
    let size = unsafe { (libuv.handle_size)(UV_POLL) };
    let mut memory = vec![0u64; size.div_ceil(size_of::<u64>())];
    let watch = Box::into_raw(Box::new(Watch {
        libuv,
        env: env.raw(),
        context,
        hook: ptr::null_mut(),
        on_readable,
        sockets: sockets.clone(),
        handle: memory.as_mut_ptr().cast(),
        _memory: memory,
    }));
    // SAFETY: `watch` was made above, and this is the thread of the environment and of its event loop.
    unsafe { open(watch, event_loop) }.then_some(sockets)
}

/// Opens the handle. If that is in vain, `watch` is freed: at once, or when the event loop has closed the handle again.
///
/// # Safety
///
/// `watch` is a [`Box`] that is given away, without a handle so far. This is the thread of its environment.
unsafe fn open(watch: *mut Watch, event_loop: *mut sys::uv_loop_s) -> bool {
    let (libuv, env, handle, epoll) = {
        // SAFETY: the caller gives it away.
        let watch = unsafe { &*watch };
        (watch.libuv, watch.env, watch.handle, watch.sockets.epoll.as_raw_fd())
    };
    let mut hook = ptr::null_mut();
    // SAFETY: `watch` stays where it is until the hook is removed.
    let status = unsafe { sys::napi_add_async_cleanup_hook(env, Some(end), watch.cast(), &raw mut hook) };
    if status != sys::Status::napi_ok {
        // SAFETY: nobody else has heard of it.
        drop(unsafe { Box::from_raw(watch) });
        return false;
    }
    // SAFETY: nobody else uses it at this time.
    unsafe { (*watch).hook = hook };
    // SAFETY: on the loop's own thread, with memory that is large enough and stays where it is until the handle is closed.
    if unsafe { (libuv.poll_init)(event_loop, handle, epoll) } != 0 {
        // SAFETY: added above, and not called yet.
        unsafe { sys::napi_remove_async_cleanup_hook(hook) };
        // SAFETY: neither the hook nor the event loop knows it.
        drop(unsafe { Box::from_raw(watch) });
        return false;
    }
    // SAFETY: the handle is open.
    unsafe { (libuv.handle_set_data)(handle, watch.cast()) };
    // SAFETY: the handle is open. A locker that is not closed keeps no process alive.
    unsafe { (libuv.unref)(handle) };
    // SAFETY: the handle is open.
    let started = unsafe { (libuv.poll_start)(handle, UV_READABLE, on_readable) } == 0;
    if !started {
        // SAFETY: the handle is open, and nobody else uses `watch` at this time.
        unsafe { close(watch) };
    }
    started
}

/// Called in the JavaScript thread when something can be read from a socket.
unsafe extern "C" fn on_readable(handle: Handle, _status: c_int, _events: c_int) {
    let Some(libuv) = *LIBUV else { return };
    // SAFETY: the handle is open.
    let watch: *const Watch = unsafe { (libuv.handle_get_data)(handle) }.cast();
    // Nothing of it is used after JavaScript has run, which might end the environment.
    let (env, context, on_readable, ready) = {
        // SAFETY: it is there until the handle is closed.
        let watch = unsafe { &*watch };
        let context = watch.context.as_ref().map(AsyncContext::raw);
        (watch.env, context, watch.on_readable.clone(), watch.sockets.ready())
    };
    let Some(context) = context.filter(|_| !ready.is_empty()) else { return };
    let (mut handles, mut callback) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: in the thread of the environment, which is alive; closed below.
    if unsafe { sys::napi_open_handle_scope(env, &raw mut handles) } != sys::Status::napi_ok {
        return;
    }
    // SAFETY: as above. `context` belongs to this environment.
    let opened = unsafe { sys::napi_open_callback_scope(env, ptr::null_mut(), context, &raw mut callback) };
    if opened == sys::Status::napi_ok {
        on_readable(&Env::from_raw(env), ready);
        // What JavaScript has been waiting for runs here.
        // SAFETY: opened above.
        unsafe { sys::napi_close_callback_scope(env, callback) };
    }
    // SAFETY: opened above.
    unsafe { sys::napi_close_handle_scope(env, handles) };
}

/// Called once when the environment ends, which waits until the hook is removed.
unsafe extern "C" fn end(_hook: sys::napi_async_cleanup_hook_handle, watch: *mut c_void) {
    // SAFETY: `watch` is freed after the hook is removed, and its handle is open or being closed.
    unsafe { close(watch.cast()) };
}

/// Closes the handle, if that has not been done.
///
/// # Safety
///
/// The handle of `watch` is open or being closed, and nobody else uses `watch` at this time.
unsafe fn close(watch: *mut Watch) {
    // SAFETY: the caller answers for it.
    let Watch { libuv, context, handle, .. } = unsafe { &mut *watch };
    if context.take().is_some() {
        // SAFETY: the handle is open.
        unsafe { (libuv.close)(*handle, Some(closed)) };
    }
}

/// Called by the event loop when the handle is closed.
unsafe extern "C" fn closed(handle: Handle) {
    let Some(libuv) = *LIBUV else { return };
    // SAFETY: it still has its data.
    let watch: *mut Watch = unsafe { (libuv.handle_get_data)(handle) }.cast();
    // SAFETY: given away in `watch`. This is the last that is heard of the handle, whose memory goes with it.
    let watch = unsafe { Box::from_raw(watch) };
    // SAFETY: added in `open`, and removed once, here.
    unsafe { sys::napi_remove_async_cleanup_hook(watch.hook) };
}
