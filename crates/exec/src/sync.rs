//! The standard library's types, or loom's.

#[cfg(feature = "loom")]
pub(crate) use loom::{sync::atomic::AtomicUsize, thread_local};
#[cfg(not(feature = "loom"))]
pub(crate) use std::{sync::atomic::AtomicUsize, thread_local};
