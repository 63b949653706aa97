//! What lies between a locker and the server. In order, and fast; unless a fault is planned.
//!
//! * [`store`]: the store that a locker sees.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use lock_inc_core::{
    Clock, Identity, Moment, StoreClock,
    error::{Cause, Error, Limit, Refusal, Result, Unavailable},
    store::{Deadline, Replication, Scope, StoreEvent, StoreEvents},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Dice, SimulatedClock, ms,
    server::{Client, Kind, Reply, Request, Server, identity, time},
};

mod store;

/// For a command and for a reply.
pub(crate) const WAY: Duration = Duration::from_millis(1);

/// What goes wrong with one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes so much longer to the server; others overtake it.
    RequestLate(Duration),
    /// Its answer does.
    ReplyLate(Duration),
    /// It never arrives.
    RequestLost,
    /// It is carried out, and nobody learns of it.
    ReplyLost,
    /// The same; and it is sent again after so long.
    SentAgain(Duration),
    /// It is carried out and answered; and carried out again after so long.
    CarriedOutAgain(Duration),
    /// The server says no. `carried_out`: an earlier sending was, of which the answer was lost.
    Refused { passing: bool, carried_out: bool },
}

/// What goes wrong with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventFault {
    Lost,
    Late(Duration),
    /// Once more after so long.
    Twice(Duration),
}

enum Down {
    Reply(oneshot::Sender<Reply>, Reply),
    Event(StoreEvent),
}

type Up = (Request, Option<oneshot::Sender<Reply>>);

/// The server with all connections to it.
pub(crate) struct Connections {
    clock: Arc<SimulatedClock>,
    server: Arc<Mutex<Server>>,
    networks: Mutex<HashMap<Client, Weak<Network>>>,
}

impl Connections {
    pub(super) fn new(clock: Arc<SimulatedClock>, server: Arc<Mutex<Server>>) -> Arc<Self> {
        Arc::new(Self { clock, server, networks: Mutex::default() })
    }

    /// Carries a command out, and tells everybody what it has done to them.
    fn execute(&self, client: Client, request: &Request) -> Reply {
        let mut server = self.server.lock().unwrap();
        let reply = server.execute(client, request, self.clock.now());
        let events = server.take_events();
        drop(server);
        for (client, event) in events {
            let network = self.networks.lock().unwrap().get(&client).and_then(Weak::upgrade);
            if let Some(network) = network {
                network.publish(event);
            }
        }
        reply
    }
}

struct Connection {
    up: mpsc::UnboundedSender<(Instant, Up)>,
    down: mpsc::UnboundedSender<(Instant, Down)>,
    broken: CancellationToken,
}

/// Faults by chance.
#[derive(Debug)]
pub(crate) struct Chaos {
    pub(crate) dice: Dice,
    /// Of a hundred commands or events, so many meet with a fault.
    pub(crate) percent: u64,
}

/// A locker's way to the server.
pub(crate) struct Network {
    client: Client,
    identity: Identity,
    connections: Arc<Connections>,
    events: Mutex<Option<Arc<dyn StoreEvents>>>,
    /// What the server has said of its clock on the present connection.
    clock: Mutex<Option<StoreClock>>,
    times_connected: AtomicU32,
    connection: watch::Sender<Option<Arc<Connection>>>,
    closing: CancellationToken,
    closed: AtomicBool,
    planned: Mutex<Vec<(Kind, Fault)>>,
    planned_events: Mutex<VecDeque<EventFault>>,
    chaos: Mutex<Option<Chaos>>,
    /// What was asked for events: how many more `true` than `false` there have been.
    expecting: Mutex<i32>,
    introduction: Mutex<Option<Duration>>,
    /// There is no step for several resources.
    is_scattered: AtomicBool,
    replication: Mutex<Option<Replication>>,
    /// How many replicas follow the server.
    following: watch::Sender<u32>,
}

impl Network {
    pub(super) fn new(client: Client, connections: Arc<Connections>) -> Arc<Self> {
        let network = Arc::new(Self {
            client,
            // The server has that in one word.
            identity: Identity { host: "a host".into(), ..identity(client) },
            connections: connections.clone(),
            events: Mutex::default(),
            clock: Mutex::default(),
            times_connected: AtomicU32::default(),
            connection: watch::Sender::new(None),
            closing: CancellationToken::new(),
            closed: AtomicBool::new(false),
            planned: Mutex::default(),
            planned_events: Mutex::default(),
            chaos: Mutex::default(),
            expecting: Mutex::default(),
            introduction: Mutex::default(),
            is_scattered: AtomicBool::default(),
            replication: Mutex::default(),
            following: watch::Sender::new(0),
        });
        connections.networks.lock().unwrap().insert(client, Arc::downgrade(&network));
        network
    }

    /// The next command of this kind, for which none is planned yet, meets with this.
    pub(crate) fn plan(&self, kind: Kind, fault: Fault) {
        self.planned.lock().unwrap().push((kind, fault));
    }

    /// How many faults have not come about yet.
    pub(crate) fn planned(&self) -> usize {
        self.planned.lock().unwrap().len()
    }

    pub(crate) fn plan_event(&self, fault: EventFault) {
        self.planned_events.lock().unwrap().push_back(fault);
    }

    pub(crate) fn set_chaos(&self, chaos: Option<Chaos>) {
        *self.chaos.lock().unwrap() = chaos;
    }

    /// Whether events are expected by the locker.
    pub(crate) fn is_expecting(&self) -> bool {
        *self.expecting.lock().unwrap() > 0
    }

    /// Locks have to be introduced after this time.
    pub(crate) fn introduce_after(&self, time: Duration) {
        *self.introduction.lock().unwrap() = Some(time);
    }

    /// From now on there is no step that takes several resources.
    pub(crate) fn scatter(&self) {
        self.is_scattered.store(true, Ordering::Relaxed);
    }

    /// Grants count only when so many replicas have them, within this time.
    pub(crate) fn replicate_to(&self, replicas: u32, time: Duration) {
        let limit = Limit { time, option: "settings.replicaTimeout" };
        *self.replication.lock().unwrap() = Some(Replication { replicas, limit });
    }

    /// From now on so many have all that the server has.
    pub(crate) fn are_following(&self, replicas: u32) {
        self.following.send_replace(replicas);
    }

    pub(crate) fn connect(self: &Arc<Self>) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let (up, mut requests) = mpsc::unbounded_channel::<(Instant, Up)>();
        let (down, mut replies) = mpsc::unbounded_channel::<(Instant, Down)>();
        let broken = CancellationToken::new();
        let connection = Arc::new(Connection { up, down: down.clone(), broken: broken.clone() });
        let (network, replies_to, end) = (Arc::downgrade(self), down.clone(), broken.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(async move {
            while let Some((at, (request, answer))) = requests.recv().await {
                sleep_until(at).await;
                let Some(network) = network.upgrade() else { return };
                let reply = network.connections.execute(network.client, &request);
                if let Some(answer) = answer {
                    let _ = replies_to.send((Instant::now() + WAY, Down::Reply(answer, reply)));
                }
            }
        }));
        let network = Arc::downgrade(self);
        tokio::spawn(broken.run_until_cancelled_owned(async move {
            while let Some((at, down)) = replies.recv().await {
                sleep_until(at).await;
                match (down, network.upgrade()) {
                    (Down::Reply(answer, reply), _) => drop(answer.send(reply)),
                    (Down::Event(event), Some(network)) => network.hear(event),
                    (Down::Event(_), None) => return,
                }
            }
        }));
        self.connections.server.lock().unwrap().set_listening(self.client, true);
        *self.clock.lock().unwrap() = None;
        if self.times_connected.fetch_add(1, Ordering::Relaxed) > 0 {
            self.hear(StoreEvent::Missed(Scope::All));
        }
        self.connection.send_replace(Some(connection));
    }

    /// What is on its way is lost.
    pub(crate) fn disconnect(&self) {
        self.connections.server.lock().unwrap().set_listening(self.client, false);
        if let Some(connection) = self.connection.send_replace(None) {
            connection.broken.cancel();
        }
    }

    fn hear(&self, mut event: StoreEvent) {
        // What the server says of its own clock is dated by what it has said of that before.
        if let StoreEvent::Granted { since, .. } = &mut event {
            let (clock, now) = (*self.clock.lock().unwrap(), self.connections.clock.now());
            *since = since.zip(clock).map(|(at, clock)| clock.moment(time(at), now));
        }
        let events = self.events.lock().unwrap().clone();
        if let Some(events) = events {
            events.hear(event);
        }
    }

    fn publish(self: Arc<Self>, event: StoreEvent) {
        let late = |event, after| {
            let network = self.clone();
            tokio::spawn(async move {
                sleep(after).await;
                network.hear(event);
            });
        };
        let planned = self.planned_events.lock().unwrap().pop_front().or_else(|| self.event_by_chance());
        match planned {
            Some(EventFault::Lost) => return,
            Some(EventFault::Late(after)) => return late(event, after),
            Some(EventFault::Twice(after)) => late(event.clone(), after),
            None => {}
        }
        if let Some(connection) = &*self.connection.borrow() {
            let _ = connection.down.send((Instant::now() + WAY, Down::Event(event)));
        }
    }

    fn event_by_chance(&self) -> Option<EventFault> {
        let chaos = self.chaos.lock().unwrap();
        let Chaos { dice, percent } = chaos.as_ref()?;
        if dice.roll(100) >= *percent {
            return None;
        }
        let after = ms(dice.roll(8000));
        Some(dice.choose([EventFault::Lost, EventFault::Late(after), EventFault::Twice(after)]))
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let mut planned = self.planned.lock().unwrap();
        let index = planned.iter().position(|(kind, _)| *kind == request.kind());
        index.map(|index| planned.remove(index).1).or_else(|| self.fault_by_chance())
    }

    fn fault_by_chance(&self) -> Option<Fault> {
        let chaos = self.chaos.lock().unwrap();
        let Chaos { dice, percent } = chaos.as_ref()?;
        if dice.roll(100) >= *percent {
            return None;
        }
        let late = ms(dice.roll(if dice.roll(3) == 0 { 20_000 } else { 300 }));
        Some(dice.choose([
            Fault::RequestLate(late),
            Fault::ReplyLate(late),
            Fault::RequestLost,
            Fault::ReplyLost,
            Fault::SentAgain(late),
            Fault::CarriedOutAgain(late),
            Fault::Refused { passing: true, carried_out: false },
            Fault::Refused { passing: true, carried_out: true },
        ]))
    }

    /// `None`: the connection has been lost meanwhile.
    async fn send(
        self: &Arc<Self>,
        connection: &Connection,
        request: &Request,
        fault: Option<Fault>,
    ) -> Option<Reply> {
        let (answer, reply) = oneshot::channel();
        let arrival = Instant::now() + WAY;
        let in_order = |answer| {
            let _ = connection.up.send((arrival, (request.clone(), answer)));
        };
        let (network, again) = (self.clone(), request.clone());
        match fault {
            Some(Fault::RequestLate(late)) => {
                tokio::spawn(async move {
                    sleep_until(arrival + late).await;
                    let reply = network.connections.execute(network.client, &again);
                    sleep(WAY).await;
                    answer.send(reply)
                });
            }
            Some(Fault::RequestLost) => {
                connection.broken.cancelled().await;
                return None;
            }
            Some(Fault::ReplyLost) => {
                in_order(None);
                connection.broken.cancelled().await;
                return None;
            }
            Some(Fault::CarriedOutAgain(after)) => {
                tokio::spawn(async move {
                    sleep_until(arrival + after).await;
                    network.connections.execute(network.client, &again);
                });
                in_order(Some(answer));
            }
            _ => in_order(Some(answer)),
        }
        let reply = tokio::select! {
            reply = reply => reply.ok()?,
            () = connection.broken.cancelled() => return None,
        };
        if let Some(Fault::ReplyLate(late)) = fault {
            sleep(late).await;
        }
        Some(reply)
    }

    /// The live connection, when there is one.
    async fn connected(&self) -> Option<Arc<Connection>> {
        let mut connection = self.connection.subscribe();
        let connection = connection.wait_for(Option::is_some).await.ok()?;
        connection.clone()
    }

    /// Until there is an answer, or the deadline has passed: the answer, when the command left that was answered, and
    /// whether it had left before.
    async fn call(self: Arc<Self>, request: Request, deadline: Deadline) -> Result<(Reply, Moment, bool)> {
        let mut fault = self.fault(&request);
        let mut resent = false;
        let unavailable = |sent| {
            let message = format!("no answer within {}", deadline.limit.option).into();
            Error::Unavailable(Unavailable { message, is_final: false, sent, cause: None })
        };
        loop {
            if self.closed.load(Ordering::Relaxed) {
                return Err(Error::Closed);
            }
            let connection = tokio::select! {
                biased;
                connection = timeout_at(deadline.at, self.connected()) => connection,
                () = self.closing.cancelled() => {
                    return Err(if resent { unavailable(true) } else { Error::Closed });
                }
            };
            let Ok(Some(connection)) = connection else { return Err(unavailable(resent)) };
            let sent = self.connections.clock.now();
            match fault.take() {
                Some(Fault::SentAgain(after)) => {
                    let _ = connection.up.send((Instant::now() + WAY, (request.clone(), None)));
                    resent = true;
                    if timeout_at(deadline.at, sleep(after)).await.is_err() {
                        return Err(unavailable(true));
                    }
                }
                Some(Fault::Refused { passing, carried_out }) => {
                    if carried_out {
                        let _ = connection.up.send((Instant::now() + WAY, (request.clone(), None)));
                    }
                    sleep(WAY * 2).await;
                    return Err(Error::Refused(Refusal {
                        code: "ERR_REDIS",
                        message: "refused".into(),
                        is_passing: passing,
                        unanswered: carried_out,
                        cause: Cause::new("OOM", "refused"),
                    }));
                }
                fault => match timeout_at(deadline.at, self.send(&connection, &request, fault)).await {
                    Ok(Some(reply)) => {
                        if let Reply::Contended { time, .. } | Reply::Polled { time, .. } = reply {
                            *self.clock.lock().unwrap() = Some(StoreClock { sent, time });
                        }
                        return Ok((reply, sent, resent));
                    }
                    Ok(None) => resent = true,
                    Err(_) => return Err(unavailable(true)),
                },
            }
        }
    }
}
