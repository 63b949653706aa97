//! Calls over a link to a server that does what the test says.

use std::{
    sync::{Arc, LazyLock, Mutex, OnceLock},
    time::Duration,
};

use lock_inc_core::{
    Clock, Moment, Random,
    error::{Cause, Error, Limit, Result},
    store::{Deadline, StoreEvent, StoreEvents},
};
use redis::Cmd;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

use super::{call::Reply, *};
use crate::{config::Reconnect, link::Command, script::LuaScript};

mod confirmation;
mod redirection;

struct Still;

impl Clock for Still {
    fn now(&self) -> Moment {
        static START: OnceLock<Instant> = OnceLock::new();
        Moment::at(START.get_or_init(Instant::now).elapsed())
    }
}

impl Random for Still {
    fn unit(&self) -> f64 {
        0.0
    }
}

fn machine() -> Machine {
    Machine {
        clock: Arc::new(Still),
        random: Arc::new(Still),
        #[cfg(unix)]
        watcher: None,
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<StoreEvent>>);

impl StoreEvents for Heard {
    fn hear(&self, event: StoreEvent) {
        self.0.lock().unwrap().push(event);
    }
}

/// What listens, and a link to it.
struct Scene {
    listener: TcpListener,
    servers: Arc<Servers>,
    link: Arc<Link>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::of("127.0.0.1", listener.local_addr().unwrap().port());
        change(&mut config);
        let machine = machine();
        let link = Link::open(config, "test".into(), machine.clone(), Shared::default());
        let (kind, command_timeout) = (Kind::One(link.clone()), Duration::from_secs(3));
        let servers = Arc::new(Servers { machine, command_timeout, kind });
        Self { listener, servers, link }
    }

    fn join(&self, channel: &str) -> Arc<Seats> {
        assert!(self.servers.reserve());
        let seats = Seats::new(self.servers.clone(), channel.into(), Keys::new(String::new()), false);
        seats.join(Arc::<Heard>::default());
        Arc::new(seats)
    }

    async fn accept(&self) -> Peer {
        Peer(BufReader::new(self.listener.accept().await.unwrap().0))
    }

    /// A connection of which nothing is left but to subscribe.
    async fn greet(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.answer("HELLO", "+OK").await;
        peer.welcome().await;
        peer
    }

    #[expect(clippy::unused_self, reason = "it is in the scene that it happens")]
    fn call(&self, seats: &Arc<Seats>) -> impl Future<Output = Result<Reply>> + use<> {
        Self::call_within(Duration::from_secs(3), seats)
    }

    fn call_within(time: Duration, seats: &Arc<Seats>) -> impl Future<Output = Result<Reply>> + use<> {
        let seats = seats.clone();
        let limit = Limit { time, option: "a test" };
        async move {
            let fill = |command: &mut Cmd, member: &Member| {
                command.arg("ECHO").arg(if member.is_subscribed() { "subscribed" } else { "deaf" });
            };
            seats.call(&Place::Slot(0), Command::Plain(&fill), Deadline::after(limit)).await
        }
    }
}

impl Seats {
    fn member(&self) -> Arc<Member> {
        self.at(&Place::Slot(0)).unwrap().member.clone()
    }
}

/// The server's end of a connection.
struct Peer(BufReader<TcpStream>);

impl Peer {
    /// The next command. Nothing at the end.
    async fn command(&mut self) -> Vec<String> {
        let mut command = Vec::new();
        for _ in 0..self.number('*').await {
            let mut argument = vec![0; self.number('$').await + 2];
            self.0.read_exact(&mut argument).await.unwrap();
            command.push(String::from_utf8(argument).unwrap().trim_end().to_owned());
        }
        command
    }

    async fn number(&mut self, kind: char) -> usize {
        let mut line = String::new();
        let _ = self.0.read_line(&mut line).await;
        line.trim_end().strip_prefix(kind).map_or(0, |number| number.parse().unwrap())
    }

    async fn expect(&mut self, name: &str) -> Vec<String> {
        let command = timeout(Duration::from_secs(3), self.command()).await.unwrap();
        assert_eq!(command[0], name, "{command:?}");
        command
    }

    async fn say(&mut self, text: &str) {
        self.0.get_mut().write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
    }

    async fn answer(&mut self, name: &str, text: &str) {
        self.expect(name).await;
        self.say(text).await;
    }

    /// Hears who it is, and forbids nothing.
    async fn welcome(&mut self) {
        for _ in 0..3 {
            self.answer("CLIENT", "+OK").await;
        }
        for way in ["EVAL", "EVALSHA"] {
            self.answer(way, "*0").await;
        }
    }

    /// Refuses all that comes until the connection ends, and says how often that was.
    async fn refuse_as_replica(&mut self) -> u32 {
        let mut times = 0;
        let refusing = async {
            while let [name, ..] = &self.command().await[..] {
                assert_eq!(name, "ECHO");
                times += 1;
                self.say("-READONLY You can't write against a read only replica.").await;
            }
        };
        timeout(Duration::from_secs(5), refusing).await.unwrap();
        times
    }

    async fn confirm(&mut self, verb: &str) {
        let command = self.expect(&verb.to_uppercase()).await;
        self.confirmed(verb, &command[1]).await;
    }

    async fn confirmed(&mut self, verb: &str, channel: &str) {
        let (verb_length, length) = (verb.len(), channel.len());
        self.say(&format!(">3\r\n${verb_length}\r\n{verb}\r\n${length}\r\n{channel}\r\n:1")).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_not_needed_after_all_says_nothing_of_subscriptions() {
    let scene = Scene::new().await;
    let member = scene.join("a");
    let mut first = scene.greet().await;
    first.confirm("subscribe").await;
    let call = tokio::spawn(scene.call(&member));
    first.expect("ECHO").await;
    // It is silent, so another one is tried, on which the subscription is refused.
    let mut second = scene.greet().await;
    second.expect("SUBSCRIBE").await;
    first.say(":1").await;
    call.await.unwrap().unwrap();
    second.say("-NOPERM no").await;
    assert_eq!(second.command().await, [""; 0]);
    assert!(member.member().is_subscribed());
    let call = tokio::spawn(scene.call(&member));
    assert_eq!(first.expect("ECHO").await[1], "subscribed");
    first.say(":1").await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_was_silent_twice_and_has_answered_since_is_not_replaced() {
    let scene = Scene::new().await;
    let member = scene.join("a");
    let mut first = scene.greet().await;
    first.confirm("subscribe").await;
    let calling = |scene: &Scene| tokio::spawn(scene.call(&member));
    let call = calling(&scene);
    first.expect("ECHO").await;
    let mut second = scene.accept().await;
    second.expect("HELLO").await;
    first.say(":1").await;
    call.await.unwrap().unwrap();
    // While the other one is being made.
    let call = calling(&scene);
    first.expect("ECHO").await;
    sleep(Duration::from_millis(600)).await;
    first.say(":1").await;
    call.await.unwrap().unwrap();
    second.say("+OK").await;
    second.welcome().await;
    second.confirm("subscribe").await;
    assert_eq!(second.command().await, [""; 0]);
    // It would come at once.
    assert!(timeout(Duration::from_millis(100), scene.accept()).await.is_err());
}

#[tokio::test]
async fn who_leaves_while_a_connection_is_made_is_not_subscribed_on_it() {
    let scene = Scene::new().await;
    let (leaving, member) = (scene.join("leaving"), scene.join("member"));
    let mut peer = scene.greet().await;
    for _ in 0..2 {
        peer.expect("SUBSCRIBE").await;
    }
    leaving.leave();
    for channel in ["leaving", "member"] {
        peer.confirmed("subscribe", channel).await;
    }
    assert_eq!(peer.expect("UNSUBSCRIBE").await[1], "leaving");
    peer.confirmed("unsubscribe", "leaving").await;
    let call = tokio::spawn(scene.call(&member));
    peer.answer("ECHO", ":1").await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_comes_while_a_connection_is_made_is_subscribed_on_it_before_anything_is_sent() {
    let scene = Scene::new().await;
    let _first = scene.join("a");
    let mut peer = scene.greet().await;
    peer.expect("SUBSCRIBE").await;
    let late = scene.join("late");
    let call = tokio::spawn(scene.call(&late));
    peer.confirmed("subscribe", "a").await;
    assert_eq!(peer.expect("SUBSCRIBE").await[1], "late");
    assert_eq!(peer.expect("ECHO").await[1], "subscribed");
    peer.confirmed("subscribe", "late").await;
    peer.say(":1").await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_link_that_was_given_up_takes_nobody_more() {
    let scene = Scene::with(|config| {
        config.reconnect =
            Reconnect::Backoff { backoff: Reconnect::BACKOFF, max_attempts: Some(1), max_time: None };
    })
    .await;
    let member = scene.join("a");
    let Scene { listener, servers, .. } = scene;
    drop(listener);
    let limit = Limit { time: Duration::from_secs(3), option: "a test" };
    let command = Command::Plain(&|_, _| ());
    let answer = member.call(&Place::Slot(0), command, Deadline::after(limit)).await;
    assert!(matches!(answer, Err(Error::Unavailable(error)) if error.is_final));
    assert!(!servers.reserve());
}

#[tokio::test]
async fn a_replica_is_asked_again_over_a_new_connection_once_a_second() {
    let scene = Scene::new().await;
    let member = scene.join("a");
    let mut first = scene.greet().await;
    first.confirm("subscribe").await;
    let connected = Instant::now();
    let call = tokio::spawn(Scene::call_within(Duration::from_secs(10), &member));
    assert!(first.refuse_as_replica().await > 1);
    assert!(connected.elapsed() >= Duration::from_millis(900));
    let mut second = scene.greet().await;
    second.confirm("subscribe").await;
    second.answer("ECHO", ":1").await;
    assert!(!call.await.unwrap().unwrap().resent);
}

#[tokio::test]
async fn what_a_replica_has_said_is_told_where_calls_wait_for_no_connection() {
    let scene = Scene::with(|config| config.offline_queue = false).await;
    let member = scene.join("a");
    let mut first = scene.greet().await;
    first.confirm("subscribe").await;
    while scene.link.live().is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    let call = tokio::spawn(Scene::call_within(Duration::from_secs(10), &member));
    first.refuse_as_replica().await;
    let answer = call.await.unwrap();
    assert!(matches!(answer, Err(Error::Refused(refusal)) if refusal.code == "ERR_REDIS_READONLY"));
}

#[tokio::test]
async fn what_is_forbidden_is_asked_with_the_first_script_where_nobody_had_joined_before() {
    static SCRIPT: LazyLock<LuaScript> =
        LazyLock::new(|| LuaScript::new(0, "redis.call('ZPOPMIN', KEYS[1])"));
    let scene = Scene::new().await;
    let mut peer = scene.accept().await;
    peer.answer("HELLO", "+OK").await;
    for _ in 0..3 {
        peer.answer("CLIENT", "+OK").await;
    }
    let member = scene.join("a");
    let call = tokio::spawn(async move {
        let limit = Limit { time: Duration::from_secs(3), option: "a test" };
        let command = Command::Script(&SCRIPT, 0, &|_, _| {});
        member.call(&Place::Slot(0), command, Deadline::after(limit)).await
    });
    peer.confirm("subscribe").await;
    peer.answer("EVAL", "*1\r\n$7\r\nZPOPMIN").await;
    peer.answer("EVALSHA", "*1\r\n$7\r\nZPOPMIN").await;
    let Err(Error::Refused(refusal)) = call.await.unwrap() else { panic!() };
    assert!(refusal.message.contains("may not run ZPOPMIN"), "{refusal:?}");
}

#[tokio::test]
async fn what_comes_when_a_connection_has_just_ended_is_sent_for_the_first_time_over_the_next() {
    let scene = Scene::new().await;
    let member = scene.join("a");
    let mut first = scene.greet().await;
    first.confirm("subscribe").await;
    let ready = member.member();
    timeout(Duration::from_secs(5), async move {
        while !ready.is_ready() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    scene.link.live().unwrap().end(&Cause::new("ECONNRESET", "it is a replica"));
    // Before the keeper has its turn.
    let mut call = Box::pin(scene.call(&member));
    assert!(futures_util::poll!(&mut call).is_pending());
    let call = tokio::spawn(call);
    let mut second = scene.greet().await;
    second.confirm("subscribe").await;
    second.answer("ECHO", ":1").await;
    assert!(!call.await.unwrap().unwrap().resent);
}

#[tokio::test]
async fn what_had_no_answer_may_have_been_carried_out_whatever_a_replica_says_then() {
    let scene = Scene::new().await;
    let member = scene.join("a");
    let mut first = scene.greet().await;
    first.confirm("subscribe").await;
    let call = tokio::spawn(Scene::call_within(Duration::from_millis(500), &member));
    first.expect("ECHO").await;
    drop(first);
    let mut second = scene.greet().await;
    second.confirm("subscribe").await;
    let serving = async {
        loop {
            second.answer("ECHO", "-READONLY You can't write against a read only replica.").await;
        }
    };
    let answer = tokio::select! {
        answer = call => answer.unwrap(),
        () = serving => unreachable!(),
    };
    let Err(Error::Refused(refusal)) = answer else { panic!() };
    assert_eq!(refusal.code, "ERR_REDIS_READONLY");
    assert!(refusal.unanswered);
}

#[tokio::test]
async fn why_a_server_closes_a_connection_is_told_as_it_says_it() {
    let scene = Scene::with(|config| {
        config.reconnect =
            Reconnect::Backoff { backoff: Reconnect::BACKOFF, max_attempts: Some(1), max_time: None };
    })
    .await;
    let member = scene.join("a");
    let call = tokio::spawn(scene.call(&member));
    let serving = async {
        loop {
            let mut peer = scene.accept().await;
            if peer.command().await.iter().any(|argument| argument == "HELLO") {
                peer.say("-ERR max number of clients reached").await;
            }
        }
    };
    let answer = tokio::select! {
        answer = call => answer.unwrap(),
        () = serving => unreachable!(),
    };
    let cause = match answer {
        Err(Error::Unavailable(error)) => error.cause.unwrap(),
        _ => panic!(),
    };
    assert_eq!(&*cause.message, "ERR max number of clients reached");
}
