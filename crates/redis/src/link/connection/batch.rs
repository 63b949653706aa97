//! Several calls that leave together, in the making.

use std::sync::Arc;

use lock_inc_core::error::Cause;
use redis::Value;
use tokio::sync::oneshot;

use super::Answer;
use crate::{link::members::Member, script::LuaScript};

/// So many calls leave together at the most: the server does nothing else meanwhile.
const MOST: usize = 64;

/// Among so many that are in the making one is looked for that a call belongs to.
const LOOKED_AT: usize = 32;

/// How calls of one kind are put together.
pub(crate) trait Calls: Sync {
    /// No other kind has this name.
    fn name(&self) -> &'static str;

    /// The lock that calls with this in common are about, if they are about one: they may leave in another order than calls
    /// about others.
    fn lock<'a>(&self, _common: &'a str) -> Option<&'a str> {
        None
    }

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
    /// What calls have in common that leave together, so that all their keys are in one slot, as no command goes over several.
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

/// What is in the making, in the order in which it leaves.
#[derive(Default)]
pub(super) struct Batches(Vec<Batch>);

impl Batches {
    pub(super) fn add(&mut self, part: &Part<'_>, member: &Arc<Member>, waiting: oneshot::Sender<Answer>) {
        // What comes last always keeps the order.
        let last = self.0.iter_mut().rev().take(LOOKED_AT).find(|batch| batch.precedes(part));
        if let Some(batch) = last.filter(|batch| batch.takes(part, member)) {
            return batch.add(part, waiting);
        }
        let mut batch = Batch::of(part, member);
        batch.add(part, waiting);
        self.0.push(batch);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Batch> {
        self.0.drain(..)
    }
}

pub(super) struct Batch {
    kind: &'static dyn Calls,
    member: Arc<Member>,
    gathered: Gathered,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl Batch {
    /// Without any call yet, but of the kind of this one.
    fn of(part: &Part<'_>, member: &Arc<Member>) -> Self {
        let gathered = Gathered { common: part.common.to_owned(), ..Gathered::default() };
        Self { kind: part.kind, member: member.clone(), gathered, waiting: Vec::new() }
    }

    /// Whether the call must not leave before this does.
    fn precedes(&self, part: &Part<'_>) -> bool {
        let ours = self.kind.lock(&self.gathered.common);
        let theirs = part.kind.lock(part.common);
        ours.zip(theirs).is_none_or(|(ours, theirs)| ours == theirs)
    }

    /// Calls of others do not leave together with these.
    fn takes(&self, part: &Part<'_>, member: &Arc<Member>) -> bool {
        Arc::ptr_eq(&self.member, member)
            && self.kind.name() == part.kind.name()
            && self.gathered.common == part.common
            && self.waiting.len() < MOST
    }

    fn add(&mut self, part: &Part<'_>, waiting: oneshot::Sender<Answer>) {
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::keys::Keys;

    struct Kind {
        name: &'static str,
        is_of_one_lock: bool,
    }

    impl Calls for Kind {
        fn name(&self) -> &'static str {
            self.name
        }

        fn lock<'a>(&self, common: &'a str) -> Option<&'a str> {
            common.split_once(' ').filter(|_| self.is_of_one_lock).map(|(_, lock)| lock)
        }

        fn script(&self) -> Option<&'static LuaScript> {
            None
        }

        fn write(&self, gathered: &Gathered, _with_source: bool, out: &mut Vec<u8>) {
            out.extend_from_slice(&gathered.first);
        }

        fn is_sent_once(&self) -> bool {
            false
        }

        fn replies(&self, _calls: usize) -> usize {
            1
        }

        fn answers(&self, _reply: Value, _calls: usize) -> Option<Vec<Value>> {
            None
        }
    }

    static JOIN: Kind = Kind { name: "join", is_of_one_lock: true };
    static LEAVE: Kind = Kind { name: "leave", is_of_one_lock: true };
    static TAKE: Kind = Kind { name: "take", is_of_one_lock: false };

    static SCRIPT: LazyLock<LuaScript> = LazyLock::new(|| LuaScript::new(0, ""));

    /// What leaves when these are called, one after the other: of each batch the numbers of its calls.
    fn left(calls: &[(&'static Kind, &str)]) -> Vec<Vec<u8>> {
        let member = Arc::new(Member::new(String::new(), Keys::new(String::new())));
        let mut batches = Batches::default();
        for (number, (kind, common)) in (0..).zip(calls) {
            let part = Part {
                kind: *kind,
                script: &SCRIPT,
                common,
                add: &|gathered, _| gathered.first.push(number),
            };
            batches.add(&part, &member, oneshot::channel().0);
        }
        let write = |batch: Batch| {
            let mut out = Vec::new();
            batch.write(false, &mut out);
            out
        };
        batches.drain().map(write).collect()
    }

    #[test]
    fn calls_about_one_lock_leave_together_also_where_others_come_between_them() {
        let [a, b] = ["x a", "x b"];
        assert_eq!(left(&[(&JOIN, a), (&JOIN, b), (&JOIN, a), (&JOIN, b)]), [[0, 2], [1, 3]]);
        // One that is not like them keeps its place among those about the same lock.
        let unlike = [(&JOIN, a), (&JOIN, b), (&JOIN, "y a"), (&JOIN, a), (&JOIN, b)];
        assert_eq!(left(&unlike), [vec![0], vec![1, 4], vec![2], vec![3]]);
        let others = [(&JOIN, a), (&LEAVE, a), (&JOIN, a), (&LEAVE, b), (&LEAVE, a)];
        assert_eq!(left(&others), [[0], [1], [2], [3], [4]]);
        // What is about any locks stays where it is.
        let mixed = [(&TAKE, ""), (&JOIN, a), (&TAKE, ""), (&TAKE, ""), (&JOIN, a)];
        assert_eq!(left(&mixed), [vec![0], vec![1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn whatever_is_called_no_call_overtakes_one_that_it_has_to_follow() {
        let commons = ["x a", "y a", "x b", "x c"];
        let mut random = 7_u32;
        let mut draw = |below: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as usize % below
        };
        for _ in 0..500 {
            // Calls of the last kind are rare, as nothing passes them.
            let draw_call = |_| {
                let kinds = if draw(8) == 0 { [&TAKE; 3] } else { [&JOIN, &JOIN, &LEAVE] };
                (kinds[draw(3)], commons[draw(4)])
            };
            let calls: Vec<_> = (0..200).map(draw_call).collect();
            let batches = left(&calls);
            assert!(batches.iter().all(|batch| batch.len() <= MOST));
            let order = batches.concat();
            assert_eq!(order.len(), calls.len());
            for (place, &number) in order.iter().enumerate() {
                let (kind, common) = calls[usize::from(number)];
                let ours = kind.lock(common);
                for &other in order[place..].iter().filter(|&&other| other < number) {
                    let (kind, common) = calls[usize::from(other)];
                    let theirs = kind.lock(common);
                    assert!(ours.is_some() && theirs.is_some() && ours != theirs, "{number} before {other}");
                }
            }
        }
    }
}
