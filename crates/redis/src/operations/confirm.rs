//! Asks whether replicas have what was granted.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use lock_inc_core::{
    Hold, Nonce,
    error::{Error, Result},
    store::{Confirmation, Deadline},
};
use redis::{Cmd, Value, cmd};
use tokio::time::sleep;

use super::{GROUP, WORD};
use crate::{
    Redis,
    keys::LockKeys,
    link::{Known, Question},
    refusal::RefusalKind,
    topology::Seat,
};

/// Before another node is asked.
const AGAIN: Duration = Duration::from_millis(20);

impl Redis {
    pub(crate) async fn confirm(&self, grants: &[Hold], deadline: Deadline) -> Result<Confirmation> {
        loop {
            match self.confirm_once(grants, deadline).await {
                // Another node of the cluster has the slot by now, or is about to.
                Err(Error::Refused(moved))
                    if moved.code == RefusalKind::Moved.code() && self.seats.are_nodes() =>
                {
                    if deadline.left().is_zero() {
                        return Ok(Confirmation { cause: Some(moved.cause), ..Confirmation::default() });
                    }
                    sleep(AGAIN.min(deadline.left())).await;
                    self.seats.refresh().await;
                }
                known => return known,
            }
        }
    }

    /// Where the grants are at several servers, each is asked about its own.
    async fn confirm_once(&self, grants: &[Hold], deadline: Deadline) -> Result<Confirmation> {
        let mut servers: Vec<(Arc<Seat>, Vec<usize>)> = Vec::new();
        for (index, grant) in grants.iter().enumerate() {
            let Some(seat) = self.seats.at(&self.seats.place_of(self.keys.of(&grant.resource).lock())) else {
                // The server that has granted it serves it no more.
                return Ok(Confirmation::default());
            };
            match servers.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &seat)) {
                Some((_, at)) => at.push(index),
                None => servers.push((seat, vec![index])),
            }
        }
        let each = servers.iter().map(async |(seat, at)| {
            let there = at.iter().map(|index| &grants[*index]).collect();
            let confirmation = self.confirm_at(seat, there, deadline).await?;
            Ok(Confirmation { lost: confirmation.lost.map(|index| at[index]), ..confirmation })
        });
        let confirmations = try_join_all(each).await?;
        Ok(confirmations.into_iter().reduce(least).unwrap_or_default())
    }

    async fn confirm_at(&self, seat: &Seat, grants: Vec<&Hold>, deadline: Deadline) -> Result<Confirmation> {
        let Some((first, replicas)) = grants.first().zip(self.replication.map(|wanted| wanted.replicas))
        else {
            return Ok(Confirmation::default());
        };
        let look = |hold: &&Hold| looks(hold.nonce, &self.keys.of(&hold.resource));
        let looks = grants.iter().flat_map(look).collect();
        // The register is the one key that is there for writing and that no lock is lost with.
        let touch = cmd("INCRBY").arg(self.keys.of(&first.resource).fence()).arg(0).take();
        let question = Question { looks, touch, replicas };
        let known = seat.link.confirm(&self.seats.closing, question, deadline).await?;
        let Known { seen, replicas, trouble } = known;
        let mut seen = seen.into_iter();
        let mut lost = None;
        for (index, hold) in grants.iter().enumerate() {
            let seen: Vec<_> = seen.by_ref().take(looks_of(hold.nonce)).collect();
            if !seen.is_empty() && !shows(&seen, hold.nonce) {
                lost = lost.or(Some(index));
            }
        }
        Ok(Confirmation { replicas: replicas.unwrap_or(0), lost, cause: trouble })
    }
}

/// What is known of both.
fn least(one: Confirmation, other: Confirmation) -> Confirmation {
    Confirmation {
        replicas: one.replicas.min(other.replicas),
        lost: one.lost.or(other.lost),
        cause: one.cause.or(other.cause),
    }
}

/// What shows whether a lock is held by this nonce: two commands, where there may be others who share it.
fn looks(nonce: Nonce, keys: &LockKeys<'_>) -> impl Iterator<Item = Cmd> + use<> {
    let get = cmd("GET").arg(keys.lock()).take();
    let score = nonce.is_shared().then(|| cmd("ZSCORE").arg(keys.holders()).arg(nonce.number()).take());
    [get].into_iter().chain(score)
}

fn looks_of(nonce: Nonce) -> usize {
    1 + usize::from(nonce.is_shared())
}

/// Whether the answers show that. See `shared/word.lua`.
fn shows(seen: &[Value], nonce: Nonce) -> bool {
    let Some(Value::BulkString(word)) = seen.first() else { return false };
    let is_in_group = seen.get(1).is_some_and(|score| *score != Value::Nil);
    let mine = nonce.to_string();
    word.len() == WORD
        && (word.starts_with(mine.as_bytes()) || is_in_group && word.starts_with(GROUP.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::slice;

    use lock_inc_core::{Mode, Nonces};

    use super::{super::untouched, *};

    #[test]
    fn a_word_shows_its_nonce_and_one_of_a_group_who_is_in_that() {
        let nonces = Nonces::new(7);
        let [one, other] = [0, 0].map(|_| nonces.next(Mode::shared(0), |_| false));
        let word = |text: &str| Value::BulkString(text.into());
        let group = || word(&format!("{GROUP}{:0>15}", 2));
        let score = || word("1700000000000");
        let own = word(&untouched(one).to_string());
        assert!(shows(slice::from_ref(&own), one) && shows(&[own.clone(), Value::Nil], one));
        assert!(!shows(&[own.clone(), Value::Nil], other) && !shows(&[own, score()], other));
        assert!(shows(&[group(), score()], one));
        assert!(!shows(&[group(), Value::Nil], one) && !shows(&[group()], one));
        for none in [Value::Nil, word(""), word(&one.to_string()), word("17")] {
            assert!(!shows(&[none, score()], one));
        }
    }
}
