//! Several calls that leave together, in the making.

use std::sync::Arc;

use lock_inc_core::error::Cause;
use redis::Value;
use tokio::sync::oneshot;

use super::Answer;
use crate::{link::members::Member, script::LuaScript};

/// So many calls leave together at the most: the server does nothing else meanwhile.
const MOST: usize = 64;

/// How calls of one kind are put together.
pub(crate) trait Calls: Sync {
    /// No other kind has this name.
    fn name(&self) -> &'static str;

    /// The script that is run for them, if it is one.
    fn script(&self) -> Option<&'static LuaScript>;

    /// Writes them. `with_source`: the server does not know the script yet.
    fn write(&self, gathered: &Gathered, with_source: bool, out: &mut Vec<u8>);

    /// Whether it is sent once only. If no answer comes, as the connection broke, that is the answer: `false`.
    fn is_sent_once(&self) -> bool;

    /// How many replies come to so many calls. The last one says what has become of them.
    fn replies(&self, calls: usize) -> usize;

    /// The answer to each of them. None where the reply is about something else.
    fn answers(&self, reply: Value, calls: usize) -> Option<Vec<Value>>;
}

/// One of several calls, perhaps, that leave together.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) kind: &'static dyn Calls,
    /// What is run for it if it comes by itself: who may not run that may not call this.
    pub(crate) script: &'static LuaScript,
    /// What calls have in common that leave together: a key that is in the slot of theirs, as no command goes over several.
    pub(crate) common: &'a str,
    /// Adds this one to those that there are, for the locker that calls.
    pub(crate) add: &'a (dyn Fn(&mut Gathered, &Member) + Sync),
}

/// What is known of the calls, in two pieces, which their kind puts together.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) common: String,
    pub(crate) calls: usize,
    pub(crate) first: Vec<u8>,
    pub(crate) second: Vec<u8>,
}

pub(super) struct Batch {
    kind: &'static dyn Calls,
    member: Arc<Member>,
    gathered: Gathered,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Batch {
    /// Without any call yet, but of the kind of this one.
    pub(super) fn of(part: &Part<'_>, member: &Arc<Member>) -> Self {
        let gathered = Gathered { common: part.common.to_owned(), ..Gathered::default() };
        Self { kind: part.kind, member: member.clone(), gathered, waiting: Vec::new() }
    }

    /// Calls of others do not leave together with these.
    pub(super) fn takes(&self, part: &Part<'_>, member: &Arc<Member>) -> bool {
        Arc::ptr_eq(&self.member, member)
            && self.kind.name() == part.kind.name()
            && self.gathered.common == part.common
            && self.waiting.len() < MOST
    }

    pub(super) fn add(&mut self, part: &Part<'_>, waiting: oneshot::Sender<Answer>) {
        (part.add)(&mut self.gathered, &self.member);
        self.gathered.calls += 1;
        self.waiting.push(waiting);
    }

    pub(super) fn script(&self) -> Option<&'static LuaScript> {
        self.kind.script()
    }

    /// Writes the calls, and says who is waiting for what comes.
    pub(super) fn write(self, with_source: bool, out: &mut Vec<u8>) -> Together {
        let Self { kind, gathered, waiting, .. } = self;
        kind.write(&gathered, with_source, out);
        Together { kind, replies: kind.replies(waiting.len()), waiting }
    }
}

/// Calls that have left together.
pub(super) struct Together {
    kind: &'static dyn Calls,
    /// How many replies are to come.
    pub(super) replies: usize,
    pub(super) waiting: Vec<oneshot::Sender<Answer>>,
}

impl Together {
    /// The last reply.
    pub(super) fn settle(self, reply: Value) -> Result<(), Cause> {
        let calls = self.waiting.len();
        let answers = match reply {
            Value::ServerError(error) if self.kind.script().is_some() => {
                Some(vec![Value::ServerError(error); calls])
            }
            reply => self.kind.answers(reply, calls),
        };
        let Some(answers) = answers else {
            let cause = Cause::new("EPROTO", "the server has answered something else than what was asked");
            self.fail(&cause);
            return Err(cause);
        };
        for (waiting, answer) in self.waiting.into_iter().zip(answers) {
            // Whoever waits no more needs no answer.
            let _ = waiting.send(Ok(answer));
        }
        Ok(())
    }

    /// There will be none.
    pub(super) fn fail(self, cause: &Cause) {
        for waiting in self.waiting {
            let _ = waiting.send(Err(cause.clone()));
        }
    }
}
