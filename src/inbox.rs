//! Where other threads put what is meant for JavaScript.

use std::{
    collections::VecDeque,
    ptr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use napi::sys;
use tokio::sync::oneshot;

use lock_inc_core::{Clock, Moment, error::Result, lock, locker::Event};
use lock_inc_redis::config::{Decision, Trouble};

use crate::{outcome::Outcome, system::SystemClock};

/// What waits for the JavaScript thread.
pub(crate) enum Mail {
    Settle(Deferred, Result<Outcome>),
    /// For the `retry_strategy` with this number, and where its answer goes.
    Ask(usize, Trouble, oneshot::Sender<Decision>),
    /// For the function with this number.
    Event(usize, Event),
    /// The function with this number is not needed any more.
    Forget(usize),
    /// Nothing, but that it is read shows that the thread runs.
    Nudge,
}

/// The part of an environment that may be in any thread.
#[derive(Default)]
pub(crate) struct Inbox {
    /// std's Mutex: held to push, to take all, and to wake; never while JavaScript runs.
    state: Mutex<InboxState>,
}

#[derive(Default)]
struct InboxState {
    /// `None` before the environment is set up and from its teardown on.
    wakes: Option<Wakes>,
    mail: VecDeque<Mail>,
    /// The JavaScript thread was woken, and has not come for that yet. Never twice at a time: it may have read its mail
    /// meanwhile for another reason, but it will still come.
    woken: bool,
    /// The JavaScript thread is at work here, and reads its mail when it has done that.
    attended: bool,
    /// When the thread last showed that it runs.
    alive: Option<Moment>,
}

impl InboxState {
    /// Wakes the JavaScript thread. `false` if the environment is closing: from here on nobody reads the inbox.
    fn wake(&mut self) -> bool {
        let Some(Wakes(wakes)) = &mut self.wakes else { return false };
        if self.woken {
            return true;
        }
        wakes.swap(0, 1);
        // SAFETY: it is alive while it is in the inbox, whose lock is held.
        let status = unsafe {
            sys::napi_call_threadsafe_function(
                wakes[0],
                ptr::null_mut(),
                sys::ThreadsafeFunctionCallMode::nonblocking,
            )
        };
        self.woken = status == sys::Status::napi_ok;
        if !self.woken {
            self.wakes = None;
        }
        self.woken
    }
}

/// Threadsafe functions that may be called: only ever used under the inbox's lock. They take turns. One that is called while
/// it runs is run again at once, and only another one lets the event loop go on between.
struct Wakes([sys::napi_threadsafe_function; 2]);

// SAFETY: a threadsafe function may be called from every thread as long as it exists, and `Inbox::close` takes them
// away, under the same lock, before the environment that owns them is torn down.
unsafe impl Send for Wakes {}

/// The half of a promise that settles it. Only its environment looks inside.
pub(crate) struct Deferred(pub sys::napi_deferred);

// SAFETY: other threads only carry it back to the thread that made it.
unsafe impl Send for Deferred {}

impl Inbox {
    /// From now on mail is taken, and one of these functions called when there is some. By the thread that will read it,
    /// which is its first sign of life.
    pub(crate) fn open(&self, wakes: [sys::napi_threadsafe_function; 2]) {
        let mut state = self.lock();
        state.wakes = Some(Wakes(wakes));
        state.alive = Some(SystemClock.now());
    }

    /// Hands mail to the JavaScript thread. It comes back if that thread is no more.
    pub(crate) fn post(&self, mail: Mail) -> Option<Mail> {
        let mut state = self.lock();
        if state.wakes.is_none() {
            return Some(mail);
        }
        state.mail.push_back(mail);
        // Whoever attends reads this as well.
        if state.attended || state.wake() { None } else { state.mail.pop_back() }
    }

    /// Asks the thread for a sign of life: mail that it will read. Returns for how long it has given none.
    pub(crate) fn nudge(&self) -> Duration {
        let state = self.lock();
        let silent = state.alive.map(|alive| alive.until(SystemClock.now())).unwrap_or_default();
        let unread = !state.mail.is_empty();
        drop(state);
        if !unread {
            // It comes back when the environment ends; then there is nothing more to be measured.
            let _ = self.post(Mail::Nudge);
        }
        silent
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().wakes.is_some()
    }

    /// The thread will [take](Self::take) its mail soon: until then it need not be woken.
    pub(crate) fn attend(&self) {
        self.lock().attended = true;
    }

    /// The thread comes because it was woken.
    pub(crate) fn awake(&self) {
        self.lock().woken = false;
    }

    /// So many pieces at the most. For what is left, the thread is woken once more.
    pub(crate) fn take(&self, most: usize) -> Vec<Mail> {
        let mut state = self.lock();
        state.alive = Some(SystemClock.now());
        state.attended = false;
        let taken = most.min(state.mail.len());
        let taken = state.mail.drain(..taken).collect();
        if !state.mail.is_empty() {
            state.wake();
        }
        taken
    }

    /// [Takes](Self::take) what is to be settled and came before anything else. What is left is read later. A thread that
    /// calls and calls, and never comes to read its mail, gives no sign of life by that.
    pub(crate) fn take_outcomes(&self, most: usize) -> Vec<Mail> {
        let mut state = self.lock();
        state.attended = false;
        let outcomes = state.mail.iter().take_while(|mail| matches!(mail, Mail::Settle(..)));
        let settled = outcomes.take(most).count();
        // What is left stays where it is: it may be much, and this is asked after each call.
        let settled = state.mail.drain(..settled).collect();
        if !state.mail.is_empty() {
            state.wake();
        }
        settled
    }

    /// Takes no more mail, and returns what nobody will read.
    pub(crate) fn close(&self) -> VecDeque<Mail> {
        let mut state = self.lock();
        state.wakes = None;
        std::mem::take(&mut state.mail)
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        lock(&self.state)
    }
}
