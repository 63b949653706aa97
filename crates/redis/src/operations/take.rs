//! Takes resources that are free: the commonest case of `acquire`, in native commands, and for all calls of a turn at once. A
//! transaction says what has happened only after it has, so where others wait, or the token is of no use, `acquire` follows,
//! which finds that the lock is the attempt's own.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lock_inc_core::{
    Moment,
    error::Result,
    lock,
    store::{Attempt, Deadline, Grant},
};
use redis::{ServerError, Value};

use super::{acquire::ACQUIRE, in_ms, untouched};
use crate::{
    Redis,
    keys::LockKeys,
    link::{Calls, Command, Gathered, Part},
    resp,
    script::LuaScript,
    server_clock::Told,
    topology::call::Reply,
};

/// Beyond this a number in a register is no token: scripts reckon with numbers below 2^53. See `shared/clock.lua`.
const LAST_TOKEN: u64 = 9_007_199_254_740_981;

/// What has come of it.
pub(super) enum Taken {
    Granted(Grant),
    /// Somebody else has the lock.
    No,
    /// The attempt may hold the lock, but it must not be relied on.
    Perhaps,
}

/// Whether it is of use to ask in a way that may have to be followed by another one.
#[derive(Debug, Default)]
pub(crate) struct TwoSteps {
    refused: Mutex<Option<Moment>>,
    /// How long the last answer took, in microseconds.
    round_trip: AtomicU64,
}

/// After a server has refused a transaction.
const PAUSE: Duration = Duration::from_secs(10);

impl TwoSteps {
    fn on_refused(&self, now: Moment) {
        *lock(&self.refused) = Some(now + PAUSE);
    }

    pub(super) fn on_answer(&self, round_trip: Duration) {
        self.round_trip.store(u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether there is time for two answers, with room to spare.
    pub(super) fn fit(&self, left: Duration) -> bool {
        Duration::from_micros(self.round_trip.load(Ordering::Relaxed)) * 4 <= left
    }

    /// Whether transactions are not known to be refused.
    pub(super) fn are_allowed(&self, now: Moment) -> bool {
        lock(&self.refused).is_none_or(|until| until <= now)
    }
}

/// `MULTI`, `INCRBY` of the register by their number, `SET` of each lock, `EXISTS` of all queues, `EXEC`.
struct Takes;

impl Calls for Takes {
    fn name(&self) -> &'static str {
        "take"
    }

    fn script(&self) -> Option<&'static LuaScript> {
        None
    }

    fn write(&self, gathered: &Gathered, _with_source: bool, out: &mut Vec<u8>) {
        let Gathered { common: fence, calls, first: sets, second: queues } = gathered;
        out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n*3\r\n$6\r\nINCRBY\r\n");
        resp::word(out, fence.as_bytes());
        resp::decimal(out, *calls as u64);
        out.extend_from_slice(sets);
        resp::begin(out, 1 + calls);
        resp::word(out, b"EXISTS");
        out.extend_from_slice(queues);
        out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
    }

    /// On another connection the clock of its server is not known, so the token would be of no use.
    fn is_sent_once(&self) -> bool {
        true
    }

    fn replies(&self, calls: usize) -> usize {
        // That of EXEC is the last.
        calls + 4
    }

    /// Of each the token, or nil where somebody else has the lock. OK: it may be taken. False: it was not to be.
    fn answers(&self, reply: Value, calls: usize) -> Option<Vec<Value>> {
        let mut replies = match reply {
            Value::Array(replies) => replies,
            // Else the transaction would go on: EXEC is not known under its name, for one.
            Value::ServerError(error) if !is_over(&error) => return None,
            _ => return Some(vec![Value::Boolean(false); calls]),
        };
        let [Value::Int(last), sets @ .., Value::Int(queues)] = &mut replies[..] else {
            // What is at the register is no number, for one.
            return Some(vec![Value::Okay; calls]);
        };
        if sets.len() != calls {
            return None;
        }
        let first = *last - i64::try_from(calls).ok()?;
        let tokens = (first + 1..).zip(sets);
        let answer = |(token, set): (i64, &mut Value)| match set {
            Value::Nil => Value::Nil,
            Value::Okay if *queues == 0 => Value::Int(token),
            _ => Value::Okay,
        };
        Some(tokens.map(answer).collect())
    }
}

/// Whether there is no transaction any more after this answer to `EXEC`.
fn is_over(error: &ServerError) -> bool {
    error.code() == "EXECABORT" || error.details().is_some_and(|details| details.contains("without MULTI"))
}

impl Redis {
    pub(super) async fn take(
        &self,
        attempt: &Attempt,
        keys: &LockKeys<'_>,
        deadline: Deadline,
    ) -> Result<Taken> {
        let (word, lease) = (untouched(attempt.nonce), in_ms(attempt.terms.lease));
        let floor = AtomicU64::new(0);
        let part = Part {
            kind: &Takes,
            script: &ACQUIRE,
            common: keys.fence(),
            add: &|Gathered { first, second, .. }, member| {
                // True of the connection that it is about to be sent on.
                let now = member.clock.floor(member.connection(), self.seats.now());
                floor.store(now, Ordering::Relaxed);
                first.extend_from_slice(b"*6\r\n$3\r\nSET\r\n");
                resp::word(first, keys.lock().as_bytes());
                resp::decimal(first, word);
                first.extend_from_slice(b"$2\r\nNX\r\n$2\r\nPX\r\n");
                resp::decimal(first, lease);
                resp::word(second, keys.queue().as_bytes());
            },
        };
        let place = self.seats.place_of(keys.lock());
        let reply = self.seats.call(&place, Command::Part(&part), deadline).await?;
        let Reply { value, sent, member, connection, .. } = reply;
        member.two_steps.on_answer(sent.until(self.seats.now()));
        let token = match value {
            Value::Nil => return Ok(Taken::No),
            Value::Int(token) => token.unsigned_abs(),
            Value::Boolean(_) => {
                // No transactions for this user, or no memory: scripts find out what it is.
                member.two_steps.on_refused(self.seats.now());
                return Ok(Taken::Perhaps);
            }
            _ => return Ok(Taken::Perhaps),
        };
        let floor = floor.into_inner();
        member.clock.on_counted(token, floor);
        if token < floor || token > LAST_TOKEN {
            return Ok(Taken::Perhaps);
        }
        member.clock.on_token(connection, token, Told::Counted, sent, || self.seats.now());
        Ok(Taken::Granted(Grant { token, sent }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_its_token_unless_its_lock_was_held_or_others_may_come_first() {
        let taken = |replies: &[Value]| Takes.answers(Value::Array(replies.to_vec()), 3);
        let (ok, nil) = (Value::Okay, Value::Nil);
        let all = [Value::Int(9), ok.clone(), nil.clone(), ok.clone(), Value::Int(0)];
        assert_eq!(taken(&all), Some(vec![Value::Int(7), nil.clone(), Value::Int(9)]));
        let queued = [Value::Int(9), ok.clone(), nil.clone(), ok.clone(), Value::Int(1)];
        assert_eq!(taken(&queued), Some(vec![ok.clone(), nil, ok.clone()]));
        // The register is no number.
        let unnumbered = [ok.clone(), ok.clone(), ok.clone(), ok.clone(), Value::Int(0)];
        assert_eq!(taken(&unnumbered), Some(vec![ok; 3]));
        assert_eq!(taken(&[Value::Int(9), Value::Okay, Value::Int(0)]), None);
        // There is no transaction any more, or it would go on.
        let errors = [
            ("-EXECABORT Transaction discarded because of previous errors.", true),
            ("-ERR EXEC without MULTI", true),
            ("-ERR unknown command 'EXEC'", false),
        ];
        for (error, is_over) in errors {
            let error = redis::parse_redis_value(format!("{error}\r\n").as_bytes()).unwrap();
            assert_eq!(Takes.answers(error, 2), is_over.then(|| vec![Value::Boolean(false); 2]));
        }
    }

    #[test]
    fn there_are_two_steps_where_there_is_time_for_them_and_nothing_was_refused() {
        let at = |secs| Moment::at(Duration::from_secs(secs));
        let steps = TwoSteps::default();
        assert!(steps.are_allowed(at(0)) && steps.fit(Duration::from_millis(1)));
        steps.on_refused(at(1));
        assert!(!steps.are_allowed(at(10)) && steps.are_allowed(at(11)));
        steps.on_answer(Duration::from_millis(60));
        assert!(!steps.fit(Duration::from_millis(239)) && steps.fit(Duration::from_millis(240)));
    }
}
