//! Tells others what this locker holds and waits for, and lists what all of them do.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::future::try_join_all;
use lock_inc_core::{Inspection, Resource, error::Result, store::Deadline};
use redis::Cmd;
use tokio::time::sleep;

use super::{decode, in_ms};
use crate::{
    Redis,
    link::{Command, Member},
    listing::GATHERED,
    script::{LuaScript, script},
};

static LIST: LazyLock<LuaScript> = script!(10, "list");

/// Before it is told again what could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// So many resources are looked at in one step of the server.
const PAGE: usize = 64;

impl Redis {
    /// Writes what has changed, a little later.
    pub(crate) fn write_listing(&self) {
        let (seats, listing) = (self.seats.clone(), self.listing.clone());
        let (client, entry) = (self.client.clone(), self.keys.entry(&self.client));
        let place = seats.place_of(&entry);
        let index = self.keys.index().to_owned();
        tokio::spawn(async move {
            let closed = seats.closing.clone().cancelled_owned();
            let writing = async {
                loop {
                    sleep(GATHERED).await;
                    while let Some(page) = listing.next_page(seats.connection(&place), seats.now()) {
                        let fill = |command: &mut Cmd, _: &Member| {
                            command.arg(&entry).arg(&index).arg(&client).arg(in_ms(page.kept));
                            command.arg(if page.begins_anew { "1" } else { "" }).arg(page.gone.len());
                            command.arg(&page.gone).arg(&page.fields);
                        };
                        let command = Command::Script(&LIST, 2, &fill);
                        match seats.call(&place, command, Deadline::after(seats.patience())).await {
                            Ok(_) => listing.on_written(&page),
                            // It is forbidden, for one. Others do not see it in their lists.
                            Err(error) if error.is_final() => return listing.stop(),
                            Err(_) => {
                                listing.on_failed();
                                sleep(AGAIN).await;
                            }
                        }
                    }
                    if !listing.wait(seats.now()).await {
                        return;
                    }
                }
            };
            tokio::select! {
                () = closed => {}
                () = writing => {}
            }
        });
    }

    /// What the lockers under this prefix hold and wait for, as far as they have told, as it is now.
    pub(crate) async fn list(&self, deadline: Deadline) -> Result<Vec<(Resource, Inspection)>> {
        let all = |command: &mut Cmd| {
            command.arg("ZRANGE").arg(self.keys.index()).arg(0).arg(-1);
        };
        let clients: Vec<String> = decode(self.call(self.keys.index(), all, deadline).await?)?;
        let entries = clients.into_iter().map(async |client| {
            let entry = self.keys.entry(&client);
            let get = |command: &mut Cmd| {
                command.arg("HGETALL").arg(&entry);
            };
            decode::<Vec<(String, String)>>(self.call(&entry, get, deadline).await?)
        });
        let mut named = HashMap::<Arc<str>, Arc<str>>::new();
        for (_, value) in try_join_all(entries).await?.into_iter().flatten() {
            if let Some((hash, name)) = value.split_once(' ') {
                named.insert(hash.into(), name.into());
            }
        }
        let resources: Vec<_> = named.into_iter().map(|(hash, name)| Resource::named(name, hash)).collect();
        let mut listed = Vec::new();
        for page in resources.chunks(PAGE) {
            let found = self.inspect_all(page, deadline).await?;
            let found = page.iter().cloned().zip(found);
            listed.extend(found.filter_map(|(resource, inspection)| Some((resource, inspection?))));
        }
        Ok(listed)
    }
}
