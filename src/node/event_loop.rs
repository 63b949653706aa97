//! Sockets in the event loop of Node.js, so that its thread reads an answer itself if it is idle.
//!
//! libuv watches one file descriptor, an epoll instance of ours, to which any thread adds sockets. libuv is looked up
//! at run time: where it is not there, the runtime's thread reads the sockets alone.

use std::{
    collections::HashMap,
    ffi::{CStr, c_int, c_void},
    io,
    mem::transmute,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
    rc::Rc,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use napi::{Env, JsValue, Result as NapiResult, sys};

use super::bridge::{Bridge, check};
use crate::driver::redis::socket::{Reader, Watcher};

/// The sockets that an event loop watches.
pub struct Sockets {
    epoll: OwnedFd,
    /// By the number of the descriptor, which is that of the event, too.
    readers: Mutex<HashMap<RawFd, Arc<Reader>>>,
}

impl Sockets {
    fn new() -> io::Result<Self> {
        // SAFETY: it makes a descriptor, which is owned from here on.
        let epoll = unsafe {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if epoll < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(epoll)
        };
        Ok(Self { epoll, readers: Mutex::default() })
    }

    /// Whoever waits for the sockets from which something can be read.
    fn ready(&self) -> Vec<Waker> {
        const ROOM: u8 = 16;
        let readers = self.readers();
        if readers.len() == 1 {
            // There is no need to ask which.
            return readers.values().filter_map(|reader| reader.tell()).collect();
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; ROOM as usize];
        // SAFETY: there is room for so many events. What does not fit in comes next time.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), ROOM.into(), 0) };
        let ready = events.iter().take(usize::try_from(count).unwrap_or(0));
        ready
            .filter_map(|event| {
                let descriptor = RawFd::try_from(event.u64).ok()?;
                readers.get(&descriptor)?.tell()
            })
            .collect()
    }

    fn control(&self, operation: c_int, socket: BorrowedFd<'_>) {
        let descriptor = socket.as_raw_fd();
        let number = u64::try_from(descriptor).unwrap_or_default();
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: number };
        // SAFETY: both descriptors are open, and `event` is read only. If it fails, the runtime reads alone.
        unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, descriptor, &raw mut event) };
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<RawFd, Arc<Reader>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Sockets {
    fn watch(&self, socket: BorrowedFd<'_>, reader: &Arc<Reader>) {
        self.readers().insert(socket.as_raw_fd(), reader.clone());
        self.control(libc::EPOLL_CTL_ADD, socket);
    }

    fn unwatch(&self, socket: BorrowedFd<'_>) {
        self.control(libc::EPOLL_CTL_DEL, socket);
        self.readers().remove(&socket.as_raw_fd());
    }

    fn look(&self) {
        let waiting: Vec<_> = self.readers().values().filter_map(|reader| reader.tell()).collect();
        waiting.into_iter().for_each(Waker::wake);
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
        // SAFETY: these are functions of libuv 1.x, whose types do not change.
        unsafe {
            Some(Self {
                handle_size: transmute::<Handle, HandleSize>(symbol(c"uv_handle_size")?),
                handle_set_data: transmute::<Handle, SetData>(symbol(c"uv_handle_set_data")?),
                handle_get_data: transmute::<Handle, GetData>(symbol(c"uv_handle_get_data")?),
                unref: transmute::<Handle, Unref>(symbol(c"uv_unref")?),
                close: transmute::<Handle, Close>(symbol(c"uv_close")?),
                poll_init: transmute::<Handle, PollInit>(symbol(c"uv_poll_init")?),
                poll_start: transmute::<Handle, PollStart>(symbol(c"uv_poll_start")?),
            })
        }
    }
}

/// What belongs to the handle in the event loop, until that is closed.
struct Watch {
    env: sys::napi_env,
    context: sys::napi_async_context,
    bridge: Rc<Bridge>,
    sockets: Arc<Sockets>,
    /// The handle's own memory, of a size that only libuv knows.
    _handle: Vec<u64>,
    hook: sys::napi_async_cleanup_hook_handle,
}

/// Has the event loop of this environment watch sockets, until the environment ends.
pub fn watch(env: &Env, bridge: &Rc<Bridge>) -> Option<Arc<Sockets>> {
    let libuv = (*LIBUV)?;
    let sockets = Arc::new(Sockets::new().ok()?);
    try_watch(env, bridge, libuv, sockets.clone()).ok()?;
    Some(sockets)
}

fn try_watch(env: &Env, bridge: &Rc<Bridge>, libuv: Libuv, sockets: Arc<Sockets>) -> NapiResult<()> {
    let name = env.create_string("lock-inc")?;
    let (mut event_loop, mut context) = (ptr::null_mut(), ptr::null_mut());
    let epoll = sockets.epoll.as_raw_fd();
    // SAFETY: out parameters of the current environment; libuv gives the size of the handle.
    let mut memory = unsafe {
        check(sys::napi_get_uv_event_loop(env.raw(), &raw mut event_loop))?;
        check(sys::napi_async_init(env.raw(), ptr::null_mut(), name.raw(), &raw mut context))?;
        vec![0u64; (libuv.handle_size)(UV_POLL).div_ceil(8)]
    };
    let handle: *mut c_void = memory.as_mut_ptr().cast();
    // SAFETY: on the loop's own thread, with a handle that is large enough and stays where it is until it is closed.
    unsafe {
        if (libuv.poll_init)(event_loop, handle, epoll) != 0 {
            return check(sys::napi_async_destroy(env.raw(), context));
        }
        let watch = Box::new(Watch {
            env: env.raw(),
            context,
            bridge: bridge.clone(),
            sockets,
            _handle: memory,
            hook: ptr::null_mut(),
        });
        let watch = Box::into_raw(watch);
        (libuv.handle_set_data)(handle, watch.cast());
        // A locker that is not closed keeps no process alive.
        (libuv.unref)(handle);
        let hook = &raw mut (*watch).hook;
        check(sys::napi_add_async_cleanup_hook(env.raw(), Some(end), handle, hook))?;
        (libuv.poll_start)(handle, UV_READABLE, on_readable);
    }
    Ok(())
}

/// Called in the JavaScript thread when something can be read from a socket.
unsafe extern "C" fn on_readable(handle: *mut c_void, _status: c_int, _events: c_int) {
    // SAFETY: the handle is open, so `Watch` is there. It is not touched after JavaScript has run, which might end the
    // environment.
    unsafe {
        let Some(libuv) = *LIBUV else { return };
        let watch: *const Watch = (libuv.handle_get_data)(handle).cast();
        let (raw, context) = ((*watch).env, (*watch).context);
        let (bridge, ready) = ((*watch).bridge.clone(), (*watch).sockets.ready());
        if ready.is_empty() {
            return;
        }
        let (mut handles, mut callback) = (ptr::null_mut(), ptr::null_mut());
        if sys::napi_open_handle_scope(raw, &raw mut handles) != sys::Status::napi_ok {
            return;
        }
        // Whatever JavaScript has been waiting for runs when this is closed.
        if sys::napi_open_callback_scope(raw, ptr::null_mut(), context, &raw mut callback)
            == sys::Status::napi_ok
        {
            bridge.assist(&Env::from_raw(raw), ready);
            sys::napi_close_callback_scope(raw, callback);
        }
        sys::napi_close_handle_scope(raw, handles);
    }
}

/// Called once when the environment ends, which waits until the handle is closed.
unsafe extern "C" fn end(_hook: sys::napi_async_cleanup_hook_handle, handle: *mut c_void) {
    // SAFETY: the handle is open until here.
    unsafe {
        let Some(libuv) = *LIBUV else { return };
        let watch: *const Watch = (libuv.handle_get_data)(handle).cast();
        sys::napi_async_destroy((*watch).env, (*watch).context);
        (libuv.close)(handle, Some(closed));
    }
}

unsafe extern "C" fn closed(handle: *mut c_void) {
    // SAFETY: the last call about this handle, whose memory goes with `Watch`.
    unsafe {
        let Some(libuv) = *LIBUV else { return };
        let watch = Box::from_raw((libuv.handle_get_data)(handle).cast::<Watch>());
        sys::napi_remove_async_cleanup_hook(watch.hook);
    }
}
