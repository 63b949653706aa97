//! What looks after one sentinel: keeps a connection to it, and asks it over and over.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use futures_util::future::join3;
use lock_inc_core::error::{Cause, Refusal};
use redis::{Cmd, FromRedisValue, Value, cmd, from_redis_value};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{
    PERIOD, Sentinels,
    panel::{Peer, Report, Said},
};
use crate::{
    config::Address,
    link::{Answer, ConnectError, Messages, Visit},
};

/// Where sentinels tell of a failover that is done,
const SWITCHED: &str = "+switch-master";

/// and of one under way, which replica it is that becomes the primary.
const SELECTED: &str = "+selected-slave";

pub(super) struct Observer {
    sentinels: Arc<Sentinels>,
    address: Address,
    rounds: watch::Receiver<u64>,
    /// The question that is being answered.
    round: u64,
    failovers: Arc<Failovers>,
}

/// Hears of failovers of the group.
struct Failovers {
    sentinels: Arc<Sentinels>,
    /// One is done.
    done: Notify,
}

impl Messages for Failovers {
    fn on_message(&self, channel: &[u8], message: &[u8]) {
        let name = &*self.sentinels.sentinel.name;
        // What is no text is of another group.
        let message = str::from_utf8(message).unwrap_or_default();
        if channel == SELECTED.as_bytes() {
            if let Some(replica) = selected(message, name) {
                self.sentinels.on_selected(replica);
            }
        } else if is_switched(message, name) {
            self.done.notify_one();
        }
    }
}

/// Whether a failover of a group is done. A message is `<name> <old host> <old port> <new host> <new port>`; a name has no
/// spaces.
fn is_switched(message: &str, name: &str) -> bool {
    message.split(' ').next() == Some(name)
}

/// The replica that was selected, if it is of a group. A message is
/// `slave <its name> <host> <port> @ <name> <host of the primary> <port>`.
fn selected(message: &str, name: &str) -> Option<Address> {
    let words: Vec<_> = message.split(' ').collect();
    match *words {
        ["slave", _, host, port, "@", of, ..] if of == name => {
            Some(Address { host: host.to_owned(), port: port.parse().ok()? })
        }
        _ => None,
    }
}

impl Observer {
    pub(super) fn new(sentinels: Arc<Sentinels>, address: Address) -> Self {
        let failovers = Failovers { sentinels: sentinels.clone(), done: Notify::new() };
        let rounds = sentinels.round.subscribe();
        Self { sentinels, address, rounds, round: 0, failovers: Arc::new(failovers) }
    }

    /// Goes on until it is aborted.
    pub(super) async fn run(mut self) {
        loop {
            let Err(error) = self.observe().await;
            let said = Said::Away(worded(&self.address, error));
            self.record(Report { said, id: None, peers: Vec::new(), replicas: Vec::new() });
            self.wait().await;
        }
    }

    /// Asks on one connection, until that fails.
    async fn observe(&mut self) -> Result<Infallible, ConnectError> {
        self.round = *self.rounds.borrow_and_update();
        let patience = self.sentinels.patience();
        let config = self.sentinels.config_for_sentinel(&self.address)?;
        let begun = async {
            let visit = Visit::to(&config, self.failovers.clone()).await?;
            if visit.greeting().is_some() {
                // Nobody waits for it. Where it is forbidden, the sentinel is only asked.
                drop(visit.connection().subscribe_all(&[SWITCHED, SELECTED]));
            }
            let id = visit.during(async { Ok(text(send(&visit, &["MYID"]).await)) }).await?;
            let report = self.ask(&visit, id).await?;
            Ok((visit, report))
        };
        let (visit, mut report) = timeout(patience, begun).await.unwrap_or_else(|_| Err(silent(patience)))?;
        loop {
            self.record(report.clone());
            // Whatever may come meanwhile is read.
            let wait = async {
                self.wait().await;
                Ok(())
            };
            visit.during(wait).await?;
            self.round = *self.rounds.borrow_and_update();
            let asked = timeout(patience, self.ask(&visit, report.id.take()));
            report = asked.await.unwrap_or_else(|_| Err(silent(patience)))?;
        }
    }

    /// Until it is to be asked again.
    async fn wait(&mut self) {
        tokio::select! {
            () = sleep(PERIOD) => {}
            () = self.failovers.done.notified() => {}
            // It does not end before this does.
            _ = self.rounds.changed() => {}
        }
    }

    fn record(&self, report: Report) {
        self.sentinels.record(&self.address, self.round, report);
    }

    async fn ask(&self, visit: &Visit, id: Option<String>) -> Result<Report, ConnectError> {
        let name = &*self.sentinels.sentinel.name;
        visit
            .during(async {
                let (primary, peers, replicas) = join3(
                    send(visit, &["GET-MASTER-ADDR-BY-NAME", name]),
                    send(visit, &["SENTINELS", name]),
                    send(visit, &["REPLICAS", name]),
                )
                .await;
                let said = match answered::<Option<(String, u16)>>(primary)? {
                    Some((host, port)) => Said::Primary(Address { host, port }),
                    None => Said::UnknownName,
                };
                // It knows none where it does not know the name, or may not tell.
                let peers = answered(peers).map(peers_of).unwrap_or_default();
                let replicas = answered(replicas).map(replicas_of).unwrap_or_default();
                Ok(Report { said, id, peers, replicas })
            })
            .await
    }
}

/// The error in words that say what it is about.
pub(super) fn worded(at: &Address, error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Refused(refusal) => {
            let message = match refusal.code {
                "ERR_REDIS_NOAUTH" => {
                    format!("The sentinel at {at} wants a password: set config.sentinelPassword")
                }
                "ERR_REDIS_WRONGPASS" => format!(
                    "The sentinel at {at} does not accept the credentials: check config.sentinelUsername and \
                     config.sentinelPassword"
                ),
                "ERR_REDIS_NOPERM" => format!(
                    "The user of the sentinel at {at} may not run what it is asked: its ACL must allow SENTINEL \
                     and SUBSCRIBE"
                ),
                "ERR_REDIS_VERSION" => {
                    format!("The server at {at} is no sentinel: check config.sentinels")
                }
                _ => format!("The sentinel at {at}: {}", refusal.message),
            };
            ConnectError::Refused(Refusal { message: message.into(), ..refusal })
        }
        ConnectError::Tls(Cause { code, message }) => {
            let message = format_args!("the sentinel at {at}, where config.sentinelTls counts: {message}");
            ConnectError::Tls(Cause::new(&code, message))
        }
        ConnectError::Passing(cause) => ConnectError::Passing(cause),
    }
}

pub(super) fn silent(patience: Duration) -> ConnectError {
    ConnectError::Passing(Cause::new(
        "ETIMEDOUT",
        format_args!("no answer within {} ms", patience.as_millis()),
    ))
}

async fn send(visit: &Visit, words: &[&str]) -> Answer {
    let command: Cmd = cmd("SENTINEL").arg(words).take();
    visit.connection().send_one(&command).await
}

fn answered<T: FromRedisValue>(answer: Answer) -> Result<T, ConnectError> {
    match answer.map_err(ConnectError::Passing)? {
        Value::ServerError(error) => Err(ConnectError::of_handshake(&error)),
        answer => from_redis_value(answer).map_err(|error| {
            ConnectError::Passing(Cause::new("EPROTO", format_args!("not the answer of a sentinel: {error}")))
        }),
    }
}

fn text(answer: Answer) -> Option<String> {
    answered(answer).ok()
}

/// Those whose address and id are told.
fn peers_of(peers: Vec<HashMap<String, String>>) -> Vec<Peer> {
    let read = |peer: HashMap<String, String>| {
        Some(Peer { address: address_in(&peer)?, id: peer.get("runid").filter(|id| !id.is_empty())?.clone() })
    };
    peers.into_iter().filter_map(read).collect()
}

fn replicas_of(replicas: Vec<HashMap<String, String>>) -> Vec<Address> {
    replicas.iter().filter_map(address_in).collect()
}

fn address_in(fields: &HashMap<String, String>) -> Option<Address> {
    let host = fields.get("ip").filter(|host| !host.is_empty())?.clone();
    Some(Address { host, port: fields.get("port")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failovers_of_the_own_group_are_heard() {
        assert!(is_switched("mine 10.0.0.1 6379 10.0.0.2 6379", "mine"));
        assert!(!is_switched("mine2 10.0.0.1 6379 10.0.0.2 6379", "mine"));
        assert!(!is_switched("", "mine"));
        let message = "slave 10.0.0.2:6380 10.0.0.2 6380 @ mine 10.0.0.1 6379";
        assert_eq!(selected(message, "mine"), Some(Address { host: "10.0.0.2".into(), port: 6380 }));
        let of_another = "slave 10.0.0.2:6380 10.0.0.2 6380 @ mine2 10.0.0.1 6379";
        for other in ["", "slave", "slave a b c @ mine", of_another] {
            assert_eq!(selected(other, "mine"), None, "{other}");
        }
    }

    #[test]
    fn peers_without_an_address_are_passed_over() {
        let peer = |fields: &[(&str, &str)]| -> HashMap<String, String> {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let peers = peers_of(vec![
            peer(&[("ip", "10.0.0.1"), ("port", "26379"), ("runid", "a"), ("flags", "sentinel")]),
            peer(&[("ip", ""), ("port", "26379"), ("runid", "b")]),
            peer(&[("ip", "10.0.0.1"), ("port", "x"), ("runid", "c")]),
        ]);
        let address = Address { host: "10.0.0.1".into(), port: 26379 };
        assert_eq!(peers, [Peer { address, id: "a".into() }]);
    }
}
