//! What a thread has to do: tasks that it has woken, and flushes that it has put off.
//!
//! No borrow lasts while a task or a flush runs, as either may come back to this module.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::Arc,
};

use async_task::Runnable;

use crate::{flush::Flush, sync::thread_local};

#[derive(Default)]
struct Local {
    /// An [`Assistance`] exists.
    assists: Cell<bool>,
    /// A turn has begun, and has not been ended.
    in_turn: Cell<bool>,
    /// Empty unless the thread assists.
    tasks: RefCell<VecDeque<Runnable>>,
    /// Empty unless the thread assists or is in a turn.
    flushes: RefCell<VecDeque<Arc<dyn Flush>>>,
}

thread_local! {
    static LOCAL: Local = Local::default();
}

/// Nothing is left of a thread that is about to end.
fn of_this_thread<T>(work: impl FnOnce(&Local) -> T) -> Option<T> {
    LOCAL.try_with(work).ok()
}

pub(crate) fn assists() -> bool {
    of_this_thread(|local| local.assists.get()).unwrap_or(false)
}

pub(crate) fn is_in_turn() -> bool {
    of_this_thread(|local| local.in_turn.get()).unwrap_or(false)
}

pub(crate) fn set_in_turn(in_turn: bool) {
    of_this_thread(|local| local.in_turn.set(in_turn));
}

/// Leaves a task for this thread, or gives it back if the thread does not assist.
pub(crate) fn push(task: Runnable) -> Result<(), Runnable> {
    let mut task = Some(task);
    of_this_thread(|local| {
        if local.assists.get() {
            local.tasks.borrow_mut().extend(task.take());
        }
    });
    task.map_or(Ok(()), Err)
}

/// Leaves a flush for this thread, once. `false` if nobody would come for it.
pub(crate) fn defer(flush: &Arc<dyn Flush>) -> bool {
    of_this_thread(|local| {
        let open = local.assists.get() || local.in_turn.get();
        if open {
            let mut flushes = local.flushes.borrow_mut();
            if !flushes.iter().any(|other| ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(flush))) {
                flushes.push_back(flush.clone());
            }
        }
        open
    })
    .unwrap_or(false)
}

/// This thread assists. When this is dropped, even if in a panic, all is done that the thread has to do.
pub(crate) struct Assistance(());

impl Assistance {
    /// `None` if the thread assists already.
    pub(crate) fn begin() -> Option<Self> {
        let begun = of_this_thread(|local| !local.assists.replace(true)).unwrap_or(false);
        begun.then(|| Self(()))
    }
}

impl Drop for Assistance {
    fn drop(&mut self) {
        of_this_thread(|local| {
            local.work_off();
            local.assists.set(false);
        });
    }
}

impl Local {
    /// Tasks come first: what they put out leaves in one piece.
    fn work_off(&self) {
        loop {
            if let Some(task) = self.next_task() {
                carefully(|| _ = task.run());
            } else if let Some(flush) = self.next_flush() {
                carefully(|| flush.flush());
            } else {
                return;
            }
        }
    }

    fn next_task(&self) -> Option<Runnable> {
        self.tasks.borrow_mut().pop_front()
    }

    fn next_flush(&self) -> Option<Arc<dyn Flush>> {
        if self.in_turn.get() { None } else { self.flushes.borrow_mut().pop_front() }
    }
}

impl Drop for Local {
    /// A thread that ends while it assists was ended by force, and one that ends within a turn was not told the end of
    /// it. What it leaves goes to the runtime, where there is one still: it cannot be pushed here again.
    fn drop(&mut self) {
        for task in self.tasks.take() {
            carefully(|| task.schedule());
        }
        for flush in self.flushes.take() {
            carefully(|| flush.flush());
        }
    }
}

/// A panic has been reported already, and ends nothing else.
fn carefully(work: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(work));
}
