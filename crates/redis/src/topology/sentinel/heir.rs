//! The replica that is to become the primary.
//!
//! In a failover, one of the sentinels tells which replica it has selected. That one takes writes from a moment on that only
//! it knows itself; the sentinels name it about a second later. If the old primary is still there, or comes back, there are two
//! in between. So the replica is asked what it is, over and over, and believed before the sentinels say so. Only a replica
//! that most of them know can be the heir, and only one of them has to tell of it.

use std::time::Duration;

use lock_inc_core::error::Cause;
use tokio::time::{Instant, sleep};

use super::{PERIOD, Sentinels};
use crate::config::Address;

/// What a sentinel has told counts for so long. A failover that takes longer has failed.
const FRESH: Duration = Duration::from_secs(10);

/// Between two looks at whether it is the primary.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub(super) struct Heir {
    address: Address,
    selected: Instant,
    /// The primary whose place it has taken, as it says itself.
    succeeded: Option<Address>,
}

impl Sentinels {
    /// A sentinel has selected a replica.
    pub(super) fn on_selected(&self, address: Address) {
        self.heir.send_replace(Some(Heir { address, selected: Instant::now(), succeeded: None }));
    }

    fn heir(&self) -> Option<Heir> {
        self.heir.borrow().clone().filter(|heir| heir.selected.elapsed() < FRESH)
    }

    /// Who may be about to take the place of a primary.
    fn heir_of(&self, primary: &Address) -> Option<Address> {
        let Heir { address, .. } = self.heir()?;
        (address != *primary && self.panel.borrow().has_replica(&address)).then_some(address)
    }

    /// Who has taken the place of a primary, as it says itself.
    async fn successor_of(&self, primary: &Address) -> Option<Address> {
        let heir = self.heir_of(primary)?;
        if !self.is_primary(&heir).await {
            return None;
        }
        self.heir.send_if_modified(|known| {
            if let Some(known) = known.as_mut().filter(|known| known.address == heir) {
                known.succeeded = Some(primary.clone());
            }
            false
        });
        Some(heir)
    }

    /// Waits until somebody has taken the place of a primary.
    pub(super) async fn succession(&self, primary: &Address) -> Address {
        let mut heirs = self.heir.subscribe();
        loop {
            heirs.borrow_and_update();
            if let Some(successor) = self.successor_of(primary).await {
                return successor;
            }
            let pause = if self.heir_of(primary).is_some() { LOOK } else { PERIOD };
            tokio::select! {
                () = sleep(pause) => {}
                _ = heirs.changed() => {}
            }
        }
    }

    /// Who has lately taken the place of a primary, and is one still.
    pub(super) async fn successor(&self) -> Option<Address> {
        let Heir { address, succeeded, .. } = self.heir()?;
        (succeeded.is_some() && self.is_primary(&address).await).then_some(address)
    }

    /// Whether somebody has lately taken the place of a primary, which the sentinels may still name.
    pub(super) fn is_succeeded(&self, primary: &Address) -> bool {
        self.heir().is_some_and(|heir| heir.succeeded.as_ref() == Some(primary))
    }

    /// Why an answer of the present primary does not count, if another has taken its place meanwhile. A server that has stood
    /// still answers what it was asked before it learns that it is none any more.
    pub(crate) async fn objection(&self, primary: &Address) -> Option<Cause> {
        let successor = self.successor_of(primary).await?;
        Some(self.failover(primary, &successor))
    }
}
