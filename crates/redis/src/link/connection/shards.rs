//! Sharded channels, which a cluster has since Redis 7: what is published there reaches no other node. A locker has one
//! for each lock that it waits for again and again. None of them is needed, as what they do not bring comes over the
//! locker's own channel; so it matters to nobody when a subscription begins and ends.

use std::{collections::HashSet, sync::Arc};

use redis::{ServerError, cmd};

use super::{Connection, sending::Awaited};
use crate::refusal::{self, RefusalKind};

/// If there are more, all are given up, and those that are of use come back.
const MOST: usize = 1024;

#[derive(Default)]
pub(super) struct Shards {
    /// Subscribed, or about to be.
    channels: HashSet<String>,
    /// The server does not know of such channels, or the user may not have them.
    are_refused: bool,
}

impl Shards {
    /// The server has ended a subscription, as it was told, or because the slot has moved.
    pub(super) fn on_end(&mut self, channel: &str) {
        self.channels.remove(channel);
    }

    /// An error has come where the subscription of this channel was awaited. `false`: it is about the end of the others, and
    /// the answer is still to come.
    pub(super) fn on_refusal(&mut self, channel: &str, error: &ServerError) -> bool {
        // Else it is for now only: the slot has moved, for one.
        self.are_refused |= matches!(refusal::kind_of(error), RefusalKind::NoPerm | RefusalKind::TooOld);
        self.channels.remove(channel);
        !error.details().is_some_and(|details| details.contains("'sunsubscribe'"))
    }
}

impl Connection {
    /// Subscribes to a sharded channel, unless that was done before.
    pub(crate) fn listen_closely(self: &Arc<Self>, channel: String) {
        let mut sending = self.sending();
        let Shards { channels, are_refused } = &mut sending.shards;
        if *are_refused || channels.contains(&channel) {
            return;
        }
        let mut commands = Vec::with_capacity(2);
        if channels.len() >= MOST {
            channels.clear();
            // It is answered by messages alone, one for each channel.
            commands.push(cmd("SUNSUBSCRIBE"));
        }
        commands.push(cmd("SSUBSCRIBE").arg(&channel).take());
        channels.insert(channel.clone());
        sending.put_all(&commands, Awaited::Shard(channel));
        self.see_off(sending);
    }
}
