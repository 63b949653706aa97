//! What Node.js knows of our callbacks: a resource of each, for `async_hooks`.

use std::{
    ffi::{c_char, c_void},
    ptr,
};

#[cfg(target_os = "linux")]
use napi::bindgen_prelude::ObjectRef;
use napi::{
    Env, JsValue, Result,
    bindgen_prelude::{JsObjectValue, Object},
    sys,
};

use crate::values::check;

/// By which `async_hooks` knows all of it.
pub(crate) const NAME: &str = "lock-inc";

/// The object that stands for something that may call JavaScript. `is_referenced`: whether it keeps the process alive,
/// which jest asks before it calls it an open handle.
pub(crate) fn resource(env: &Env, is_referenced: impl Fn() -> bool + 'static) -> Result<Object<'_>> {
    let mut resource = Object::new(env)?;
    let has_ref = env.create_function_from_closure::<(), bool, _>("hasRef", move |_| Ok(is_referenced()))?;
    resource.set_named_property("hasRef", has_ref)?;
    Ok(resource)
}

/// A context in which something calls JavaScript. Lives on the thread of its environment.
#[cfg(target_os = "linux")]
pub(crate) struct AsyncContext {
    env: sys::napi_env,
    raw: sys::napi_async_context,
    /// Node.js does not keep it.
    resource: Option<ObjectRef<false>>,
}

#[cfg(target_os = "linux")]
impl AsyncContext {
    /// Of something that keeps no process alive.
    pub(crate) fn new(env: &Env) -> Result<Self> {
        let (name, resource) = (env.create_string(NAME)?, resource(env, || false)?);
        let kept = resource.create_ref()?;
        let mut raw = ptr::null_mut();
        // SAFETY: values and an out parameter of the current environment.
        check(unsafe { sys::napi_async_init(env.raw(), resource.raw(), name.raw(), &raw mut raw) })?;
        Ok(Self { env: env.raw(), raw, resource: Some(kept) })
    }

    pub(crate) fn raw(&self) -> sys::napi_async_context {
        self.raw
    }
}

#[cfg(target_os = "linux")]
impl Drop for AsyncContext {
    fn drop(&mut self) {
        // SAFETY: made in this environment, on this thread, and not used any more.
        unsafe { sys::napi_async_destroy(self.env, self.raw) };
        if let Some(resource) = self.resource.take() {
            // If it fails, the environment ends, and what it keeps with it.
            let _ = resource.unref(&Env::from_raw(self.env));
        }
    }
}

/// Runs `work` as if nobody had called. What is made in it that may call JavaScript would keep the stores of
/// `AsyncLocalStorage` of its maker, and that is just whoever comes first.
pub(crate) fn outside_all<T>(env: &Env, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (mut work, mut result) = (Some(work), None);
    let mut run = || result = work.take().map(|work| work());
    let mut run: &mut dyn FnMut() = &mut run;
    let (mut function, mut returned) = (ptr::null_mut(), ptr::null_mut());
    let receiver = Object::new(env)?;
    let data = (&raw mut run).cast::<c_void>();
    // SAFETY: an out parameter of the current environment. Nobody but the next call gets the function.
    check(unsafe {
        sys::napi_create_function(env.raw(), ptr::null::<c_char>(), 0, Some(call), data, &raw mut function)
    })?;
    // SAFETY: values of the current environment. No context is that of nobody.
    check(unsafe {
        sys::napi_make_callback(
            env.raw(),
            ptr::null_mut(),
            receiver.raw(),
            function,
            0,
            ptr::null(),
            &raw mut returned,
        )
    })?;
    result.unwrap_or_else(|| Err(napi::Error::from_reason("the environment is ending")))
}

/// Runs the closure that is the data of the function.
unsafe extern "C" fn call(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let mut data = ptr::null_mut();
    // SAFETY: the call that Node-API makes at this moment.
    let status = unsafe {
        sys::napi_get_cb_info(env, info, ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), &raw mut data)
    };
    if status == sys::Status::napi_ok {
        // SAFETY: `outside_all` has put it there, and waits for this call.
        let run = unsafe { &mut *data.cast::<&mut dyn FnMut()>() };
        run();
    }
    ptr::null_mut()
}
