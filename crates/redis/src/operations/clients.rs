//! Tells the server who this locker is, and asks who another one is.

use std::{future::poll_fn, task::Poll};

use lock_inc_core::{
    Holder, Identity,
    store::{Attempt, Deadline, StoreEvent},
};
use redis::{Cmd, Value};

use super::{decode, in_ms};
use crate::{
    PROTOCOL, Redis,
    link::{Command, Member},
};

impl Redis {
    /// Before a lock is taken. What comes of it is not waited for.
    pub(super) async fn tell_who_takes(&self, attempt: &Attempt, deadline: Deadline) {
        let number = attempt.nonce.locker();
        let place = self.seats.place_of_made(|| self.keys.client(number));
        let connection = self.seats.connection(&place);
        let Some(kept) = self.clients.due(number, connection, attempt.terms.lease, self.seats.now()) else {
            return;
        };
        let (seats, clients) = (self.seats.clone(), self.clients.clone());
        let key = self.keys.client(number);
        let description = format!("{} {PROTOCOL}", self.description);
        let mut telling = Box::pin(async move {
            let fill = |command: &mut Cmd, _: &Member| {
                command.arg("SET").arg(&key).arg(&description).arg("PX").arg(in_ms(kept)).arg("GET");
            };
            // Where it comes to nothing, errors will not say who holds a lock that was just taken.
            let Ok(reply) = seats.call(&place, Command::Plain(&fill), deadline).await else { return };
            clients.on_told(reply.connection);
            if let Value::BulkString(before) = reply.value
                && before != description.as_bytes()
            {
                reply.member.tell(StoreEvent::NumberTaken);
            }
        });
        // It leaves before what follows.
        if poll_fn(|context| Poll::Ready(telling.as_mut().poll(context))).await.is_pending() {
            tokio::spawn(telling);
        }
    }

    /// Finds out who holds a lock, where only the number of its locker is known.
    pub(super) async fn find_holder(&self, holder: Option<&mut Holder>, deadline: Deadline) {
        if let Some(holder) = holder
            && holder.identity.is_none()
        {
            holder.identity = self.identify(holder.nonce.locker(), deadline).await;
        }
    }

    /// Which locker has a number. Without an answer it stays unknown, and so it does where nobody has it any more.
    pub(super) async fn identify(&self, number: u64, deadline: Deadline) -> Option<Identity> {
        if let Some(identity) = self.clients.known(number, self.seats.now()) {
            return Some(identity);
        }
        let key = self.keys.client(number);
        let get = |command: &mut Cmd| {
            command.arg("GET").arg(&key);
        };
        let value = Box::pin(self.call(&key, get, deadline)).await.ok()?;
        let identity = Identity::parse(&decode::<Option<String>>(value).ok()??)?;
        self.clients.learn(number, identity.clone(), self.seats.now());
        Some(identity)
    }
}
