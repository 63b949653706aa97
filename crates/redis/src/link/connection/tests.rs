//! A connection and its peer, which are two ends of a pair of sockets.
#![cfg(unix)]

use std::{
    io::Read,
    os::fd::BorrowedFd,
    sync::{
        LazyLock,
        atomic::{AtomicBool, AtomicUsize},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use redis::cmd;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{Instant, sleep},
};

use lock_inc_exec::turn::{self, Flush};
use redis::Cmd;

use super::*;
use crate::{
    keys::Keys,
    link::{
        members::Member,
        socket::{Readable, Socket},
        transport::Outgoing,
    },
    resp,
    script::LuaScript,
};

mod shards;

const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Messages for Heard {
    fn on_message(&self, channel: &[u8], message: &[u8]) {
        let text = [channel, b" ", message].concat();
        self.0.lock().unwrap().push(String::from_utf8(text).unwrap());
    }
}

struct Scene {
    connection: Arc<Connection>,
    heard: Arc<Heard>,
    expectations: Arc<Expectations>,
    peer: UnixStream,
}

impl Scene {
    fn with(speech: Speech, watcher: Option<Arc<dyn Watcher>>) -> Self {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        for end in [&ours, &theirs] {
            end.set_nonblocking(true).unwrap();
        }
        let heard = Arc::<Heard>::default();
        let transport = Transport::plain(Socket::new(ours).unwrap());
        let expectations = Arc::<Expectations>::default();
        let connection =
            Connection::new(transport, speech, heard.clone(), expectations.clone(), watcher).unwrap();
        Self { connection, heard, expectations, peer: UnixStream::from_std(theirs).unwrap() }
    }

    /// A connection that is driven.
    fn new() -> Self {
        let scene = Self::with(Speech::Replies, None);
        scene.drive();
        scene
    }

    fn drive(&self) {
        let connection = self.connection.clone();
        tokio::spawn(async move { connection.drive(PATIENCE).await });
    }

    fn ping(&self) -> impl Future<Output = Answer> + use<> {
        self.connection.send_one(&cmd("PING"))
    }

    async fn say(&mut self, text: &str) {
        self.peer.write_all(text.as_bytes()).await.unwrap();
    }

    /// What has been sent, up to and with `end`.
    async fn sent_until(&mut self, end: &str) -> String {
        let mut sent = Vec::new();
        while !sent.ends_with(end.as_bytes()) {
            let mut buffer = vec![0; 65536];
            let count = self.peer.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "{}", String::from_utf8_lossy(&sent));
            sent.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(sent).unwrap()
    }
}

fn number(answer: Answer) -> i64 {
    match answer {
        Ok(Value::Int(number)) => number,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reply_settles_its_command_when_it_comes_whatever_is_awaited_behind_it() {
    let mut scene = Scene::new();
    let (first, second) = (scene.ping(), scene.ping());
    scene.say(":1\r\n:").await;
    assert_eq!(number(first.await), 1);
    let mut second = Box::pin(second);
    assert!((&mut second).now_or_never().is_none());
    scene.say("2\r\n").await;
    assert_eq!(number(second.await), 2);
}

#[tokio::test]
async fn what_the_server_says_by_itself_is_no_reply_also_where_a_slot_has_moved() {
    let mut scene = Scene::new();
    let calls: Vec<_> = (0..32).map(|_| scene.ping()).collect();
    for index in 0..32 {
        match index {
            7 => scene.say(">3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n").await,
            9 => scene.say(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n").await,
            11 => scene.say(">3\r\n$11\r\nunsubscribe\r\n$1\r\nc\r\n:0\r\n").await,
            13 => scene.say(">2\r\n$10\r\ninvalidate\r\n_\r\n").await,
            15 => scene.say("|1\r\n+ttl\r\n:3600\r\n").await,
            _ => {}
        }
        scene.say(&format!(":{index}\r\n")).await;
    }
    for (index, answer) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(number(answer), i64::try_from(index).unwrap());
    }
    assert_eq!(*scene.heard.0.lock().unwrap(), ["c hi"]);
}

#[tokio::test]
async fn a_subscription_is_confirmed_in_its_turn_or_refused() {
    let mut scene = Scene::new();
    let (before, subscribing) = (scene.ping(), scene.connection.subscribe("c"));
    let (refused, after) = (scene.connection.subscribe("d"), scene.ping());
    scene.say(":1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n-NOPERM no\r\n:2\r\n").await;
    assert_eq!(number(before.await), 1);
    assert_eq!(subscribing.await.unwrap(), Value::Okay);
    assert!(matches!(refused.await, Ok(Value::ServerError(error)) if error.code() == "NOPERM"));
    assert_eq!(number(after.await), 2);
}

#[tokio::test]
async fn without_resp3_messages_come_as_arrays_on_a_connection_of_their_own() {
    let mut scene = Scene::with(Speech::Messages, None);
    scene.drive();
    let subscribing = scene.connection.subscribe("c");
    scene
        .say("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n")
        .await;
    assert_eq!(subscribing.await.unwrap(), Value::Okay);
    let ping = scene.ping();
    scene.say("*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
    assert!(ping.await.is_ok());
    assert_eq!(*scene.heard.0.lock().unwrap(), ["c hi"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_are_sent_together_have_nothing_between_them() {
    let mut scene = Scene::new();
    let (stop, stopped) = (Arc::<AtomicBool>::default(), scene.connection.clone());
    let stopping = stop.clone();
    let busy = std::thread::spawn(move || {
        while !stopping.load(Ordering::Relaxed) {
            drop(stopped.send_one(&cmd("PING")));
        }
    });
    let transaction = [cmd("MULTI"), cmd("INCR"), cmd("EXEC")];
    for _ in 0..100 {
        drop(scene.connection.send_together(&transaction));
    }
    stop.store(true, Ordering::Relaxed);
    busy.join().unwrap();
    drop(scene.connection.send_one(&cmd("QUIT")));
    let sent = scene.sent_until("QUIT\r\n").await;
    let packed: Vec<u8> = transaction.iter().flat_map(Cmd::get_packed_command).collect();
    assert_eq!(sent.matches("MULTI").count(), 100);
    assert_eq!(sent.matches(str::from_utf8(&packed).unwrap()).count(), 100);
}

#[tokio::test]
async fn what_is_called_in_one_turn_leaves_in_few_pieces_and_a_third_of_it_at_the_most_at_its_end() {
    let Scene { connection, peer, .. } = Scene::with(Speech::Replies, None);
    let mut peer = peer.into_std().unwrap();
    let mut commands_read = || {
        let mut buffer = vec![0; 65536];
        match peer.read(&mut buffer) {
            Ok(count) => count / cmd("PING").get_packed_command().len(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    };
    turn::begin();
    let (mut read, mut pieces) = (0, 0);
    for called in 1..=100 {
        drop(connection.send_one(&cmd("PING")));
        let piece = commands_read();
        read += piece;
        pieces += usize::from(piece > 0);
        assert!((called - read) * 3 < called, "{read} of {called}");
    }
    turn::end(&tokio::runtime::Handle::current());
    assert_eq!(read + commands_read(), 100);
    assert!(pieces < 15, "{pieces}");
}

static SCRIPT: LazyLock<LuaScript> = LazyLock::new(|| LuaScript::new(6, "return 'script'"));

/// Calls that are one script, or a list of commands of which the last one has the answers.
struct Together {
    runs_script: bool,
}

static BY_SCRIPT: Together = Together { runs_script: true };
static BY_COMMANDS: Together = Together { runs_script: false };

impl Calls for Together {
    fn name(&self) -> &'static str {
        if self.runs_script { "by script" } else { "by commands" }
    }

    fn script(&self) -> Option<&'static LuaScript> {
        self.runs_script.then(|| &*SCRIPT)
    }

    fn write(&self, gathered: &Gathered, with_source: bool, out: &mut Vec<u8>) {
        let Gathered { common, calls, first, second } = gathered;
        if self.runs_script {
            SCRIPT.begin(out, with_source, *calls, *calls);
            out.extend_from_slice(first);
        } else {
            out.extend(cmd("BEGIN").arg(common).get_packed_command());
            resp::begin(out, 1 + calls);
            resp::word(out, b"DO");
        }
        out.extend_from_slice(second);
    }

    fn is_sent_once(&self) -> bool {
        false
    }

    fn replies(&self, _calls: usize) -> usize {
        if self.runs_script { 1 } else { 2 }
    }

    fn answers(&self, reply: Value, calls: usize) -> Option<Vec<Value>> {
        match reply {
            Value::Array(replies) if replies.len() == calls => Some(replies),
            Value::ServerError(_) => Some(vec![Value::Nil; calls]),
            _ => None,
        }
    }
}

fn member(name: &str) -> Arc<Member> {
    Arc::new(Member::new(name.into(), Keys::new(String::new())))
}

impl Scene {
    fn call(
        &self,
        kind: &'static Together,
        member: &Arc<Member>,
        name: &str,
    ) -> impl Future<Output = Answer> + use<> {
        let part = Part {
            kind,
            script: &SCRIPT,
            common: "common",
            add: &|Gathered { first, second, .. }, _| {
                resp::word(first, format!("{name}-key").as_bytes());
                resp::word(second, name.as_bytes());
            },
        };
        self.connection.send(Command::Part(&part), member, false).1
    }

    /// What leaves in a turn in which this is called, as text: each command a line.
    async fn sent_in_a_turn(&mut self, call: impl FnOnce(&Self)) -> Vec<String> {
        turn::begin();
        call(self);
        turn::end(&tokio::runtime::Handle::current());
        drop(self.connection.send_one(&cmd("QUIT")));
        let sent = self.sent_until("QUIT\r\n").await;
        let words: Vec<_> = sent.split("\r\n").filter(|word| !word.starts_with('$')).collect();
        let words = words.join(" ").replace(SCRIPT_SHA, "sha");
        let commands =
            words.split('*').map(|command| command.split_once(' ').map_or("", |(_, rest)| rest.trim()));
        commands.filter(|command| !["", "QUIT"].contains(command)).map(str::to_owned).collect()
    }
}

/// That of the script above.
const SCRIPT_SHA: &str = "fb88974c6eef33706e77fb4669a046bc28979a72";

#[tokio::test]
async fn calls_of_one_locker_in_one_turn_leave_together_and_each_has_its_own_answer() {
    let mut scene = Scene::new();
    let me = member("me");
    let mut answers = Vec::new();
    let sent = scene
        .sent_in_a_turn(|scene| {
            answers.extend(["a", "b", "c", "d", "e"].map(|name| scene.call(&BY_SCRIPT, &me, name)));
        })
        .await;
    let expected = [
        "EVAL return 'script' 1 a-key a",
        "EVALSHA sha 1 b-key b",
        "EVALSHA sha 1 c-key c",
        "EVALSHA sha 2 d-key e-key d e",
    ];
    assert_eq!(sent, expected);
    scene.say("*1\r\n:1\r\n*1\r\n:2\r\n*1\r\n:3\r\n*2\r\n:4\r\n-WRONGTYPE no\r\n").await;
    let mut answers = join_all(answers).await;
    assert!(matches!(answers.pop(), Some(Ok(Value::ServerError(error))) if error.code() == "WRONGTYPE"));
    assert_eq!(answers.into_iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn calls_that_leave_together_keep_the_order_of_what_is_called() {
    let mut scene = Scene::new();
    let (me, other) = (member("me"), member("other"));
    let mut answers = Vec::new();
    let sent = scene
        .sent_in_a_turn(|scene| {
            for _ in 0..20 {
                drop(scene.ping());
            }
            for (member, name) in [(&me, "a"), (&me, "b"), (&other, "c"), (&me, "d")] {
                answers.push(scene.call(&BY_COMMANDS, member, name));
            }
            answers.push(scene.call(&BY_SCRIPT, &me, "e"));
            drop(scene.ping());
            answers.push(scene.call(&BY_SCRIPT, &me, "f"));
        })
        .await;
    let expected = [
        "BEGIN common",
        "DO a b",
        "BEGIN common",
        "DO c",
        "BEGIN common",
        "DO d",
        "EVAL return 'script' 1 e-key e",
        "PING",
        "EVALSHA sha 1 f-key f",
    ];
    assert_eq!(sent[20..], expected);
    scene.say(&":0\r\n".repeat(20)).await;
    // What comes first does not matter, even if it is an error.
    scene.say("+OK\r\n*2\r\n:1\r\n:2\r\n-ERR no\r\n*1\r\n:3\r\n+OK\r\n*1\r\n:4\r\n").await;
    scene.say("*1\r\n:5\r\n:0\r\n*1\r\n:6\r\n+OK\r\n").await;
    let numbers: Vec<_> = join_all(answers).await.into_iter().map(number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    assert_eq!(scene.connection.awaited(), 0);
}

#[tokio::test]
async fn calls_that_leave_together_do_not_keep_the_server_for_long() {
    let mut scene = Scene::new();
    let me = member("me");
    let sent = scene
        .sent_in_a_turn(|scene| {
            for _ in 0..400 {
                drop(scene.ping());
            }
            for _ in 0..129 {
                drop(scene.call(&BY_SCRIPT, &me, "a"));
            }
        })
        .await;
    let sizes: Vec<_> = sent.iter().map(|command| command.matches("a-key").count()).collect();
    assert_eq!(sizes.iter().max(), Some(&64), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 129);
}

#[tokio::test]
async fn what_is_said_of_calls_that_left_together_is_said_to_each_of_them() {
    let mut scene = Scene::new();
    let me = member("me");
    let cases = [
        (&BY_SCRIPT, "-NOSCRIPT no\r\n", "NOSCRIPT"),
        (&BY_COMMANDS, "+OK\r\n-EXECABORT no\r\n", "nothing"),
        (&BY_SCRIPT, "*1\r\n:1\r\n", "EPROTO"),
    ];
    for (kind, reply, expected) in cases {
        let mut answers = Vec::new();
        scene
            .sent_in_a_turn(|scene| {
                for _ in 0..8 {
                    drop(scene.ping());
                }
                answers.extend(["a", "b"].map(|name| scene.call(kind, &me, name)));
            })
            .await;
        scene.say(&format!("{}{reply}+OK\r\n", ":1\r\n".repeat(8))).await;
        for answer in join_all(answers).await {
            let said = match answer {
                Ok(Value::ServerError(error)) => error.code().to_owned(),
                Ok(_) => "nothing".to_owned(),
                Err(cause) => cause.code.to_string(),
            };
            assert_eq!(said, expected);
        }
        assert_eq!(scene.connection.has_ended(), expected == "EPROTO");
    }
}

#[tokio::test]
async fn calls_that_have_not_left_when_it_ends_are_told_why() {
    let scene = Scene::new();
    let me = member("me");
    turn::begin();
    for _ in 0..8 {
        drop(scene.ping());
    }
    let calls = ["a", "b"].map(|name| scene.call(&BY_SCRIPT, &me, name));
    assert_eq!(scene.connection.awaited(), 10);
    scene.connection.end(Cause::new("ECONNRESET", "over"));
    let later = scene.call(&BY_SCRIPT, &me, "c");
    for answer in join_all(calls.into_iter().chain([later])).await {
        assert_eq!(&*answer.unwrap_err().message, "over");
    }
    turn::end(&tokio::runtime::Handle::current());
}

#[tokio::test]
async fn a_script_brings_its_source_along_the_first_time_and_when_the_server_has_forgotten_it() {
    let mut scene = Scene::new();
    let me = member("me");
    let scripts = [(3, "return 1"), (4, "return 2")].map(|(number, source)| LuaScript::new(number, source));
    let run = |scene: &Scene, script: usize, argument: &'static str| {
        let fill = move |command: &mut Cmd, _: &Member| {
            command.arg(argument);
        };
        let (forgotten, answer) =
            scene.connection.send(Command::Script(&scripts[script], 0, &fill), &me, false);
        drop(answer);
        forgotten
    };
    for (argument, with_source) in [("a", true), ("b", false)] {
        run(&scene, 0, argument);
        let sent = scene.sent_until(&format!("{argument}\r\n")).await;
        assert_eq!(sent.contains("return 1"), with_source, "{sent}");
    }
    let since = [0, 1, 0].map(|script| run(&scene, script, "c"));
    scene.sent_until("c\r\n").await;
    // A server that has lost one has lost the others, too, of which nothing has been heard. What many commands show
    // is to be believed once.
    for since in since {
        scene.connection.forget(since);
        for (script, argument) in [(0, "d"), (1, "e")] {
            run(&scene, script, argument);
        }
    }
    drop(scene.connection.send_one(&cmd("QUIT")));
    let sent = scene.sent_until("QUIT\r\n").await;
    assert_eq!(sent.matches("return 1").count(), 1, "{sent}");
    assert_eq!(sent.matches("return 2").count(), 1, "{sent}");
}

#[tokio::test]
async fn what_is_awaited_when_it_ends_is_told_why_and_nothing_is_sent_from_then_on() {
    let mut scene = Scene::new();
    let (first, second) = (scene.ping(), scene.ping());
    scene.say(":1\r\n").await;
    scene.sent_until("PING\r\n").await;
    let Scene { connection, peer, .. } = scene;
    drop(peer);
    assert_eq!(number(first.await), 1);
    assert_eq!(&*second.await.unwrap_err().code, "ECONNRESET");
    assert!(connection.has_ended());
    assert_eq!(&*connection.send_one(&cmd("PING")).await.unwrap_err().code, "ECONNRESET");
}

#[tokio::test]
async fn what_is_not_the_protocol_ends_it() {
    for nonsense in ["HTTP/1.1 400 Bad Request\r\n", ":1\r\n"] {
        let mut scene = Scene::with(Speech::Replies, None);
        scene.say(nonsense).await;
        assert_eq!(&*scene.connection.drive(PATIENCE).await.code, "EPROTO");
    }
}

#[tokio::test]
async fn an_error_that_answers_nothing_says_why_the_server_closes_it() {
    let mut scene = Scene::with(Speech::Replies, None);
    scene.say("-ERR max number of clients reached\r\n").await;
    let cause = scene.connection.drive(PATIENCE).await;
    assert_eq!(&*cause.message, "ERR max number of clients reached");
}

#[tokio::test]
async fn what_the_server_says_before_it_closes_is_heard_where_nothing_can_be_written_any_more() {
    let mut scene = Scene::with(Speech::Replies, None);
    scene.say("-ERR max number of clients reached").await;
    scene.say("\r\n-ERR once more\r\n").await;
    drop(scene.peer);
    let answer = scene.connection.send_one(&cmd("HELLO"));
    scene.connection.flush();
    let Ok(Value::ServerError(error)) = answer.await else { panic!() };
    assert_eq!(error.details(), Some("max number of clients reached"));
    // Whoever comes later is told the reason of the end.
    let later = scene.connection.send_one(&cmd("PING")).await;
    assert_eq!(&*later.unwrap_err().message, "ERR once more");
}

#[tokio::test]
async fn it_keeps_nothing_of_what_has_left_however_long_there_is_something_more() {
    let mut outgoing = Outgoing::default();
    let piece = vec![0; 1000];
    outgoing.bytes().extend_from_slice(&piece);
    for _ in 0..10_000 {
        outgoing.bytes().extend_from_slice(&piece);
        outgoing.advance(piece.len());
    }
    assert!(outgoing.bytes().len() < 200_000, "{}", outgoing.bytes().len());
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_it_is_silent_and_very_many_answers_are_awaited() {
    let scene = Scene::new();
    let pings: Vec<_> = (0..50_001).map(|_| scene.ping()).collect();
    for ping in pings {
        assert_eq!(&*ping.await.unwrap_err().code, "ETIMEDOUT");
    }
    assert!(scene.connection.has_ended());
}

#[tokio::test]
async fn what_the_socket_does_not_take_at_once_leaves_later_and_in_order() {
    let mut scene = Scene::new();
    let text = "x".repeat(100_000);
    for index in 0..40 {
        let mut echo = cmd("ECHO");
        echo.arg(format!("{index} {text}"));
        drop(scene.connection.send_one(&echo));
    }
    drop(scene.connection.send_one(&cmd("QUIT")));
    let sent = scene.sent_until("QUIT\r\n").await;
    let order: Vec<_> = sent.lines().filter_map(|line| line.strip_suffix(&text)).map(str::trim_end).collect();
    assert_eq!(order, (0..40).map(|index| index.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn it_is_silent_when_nothing_at_all_is_heard_while_an_answer_is_awaited() {
    let mut scene = Scene::new();
    sleep(PATIENCE * 4).await;
    let ping = scene.ping();
    let sent = Instant::now();
    for _ in 0..10 {
        // A word about something else is a word.
        scene.say(">2\r\n$10\r\ninvalidate\r\n_\r\n").await;
        tokio::select! {
            () = scene.connection.silent() => panic!("after {:?}", sent.elapsed()),
            () = sleep(PATIENCE / 2) => {}
        }
    }
    let last = Instant::now();
    scene.connection.silent().await;
    assert!(last.elapsed() >= PATIENCE / 2 && last.elapsed() < PATIENCE * 2, "{:?}", last.elapsed());
    scene.say(":1\r\n").await;
    assert_eq!(number(ping.await), 1);
}

/// Reads when it is told to.
#[derive(Default)]
struct Asked {
    reader: Mutex<Option<Arc<dyn Readable>>>,
    is_unable: bool,
    unwatched: AtomicUsize,
}

impl Watcher for Asked {
    fn watch(&self, _: BorrowedFd<'_>, reader: Arc<dyn Readable>) -> std::io::Result<()> {
        if self.is_unable {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        *self.reader.lock().unwrap() = Some(reader);
        Ok(())
    }

    fn unwatch(&self, _: BorrowedFd<'_>) {
        self.unwatched.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_watcher_reads_without_the_runtime_and_is_told_of_the_end() {
    let watcher = Arc::<Asked>::default();
    let mut scene = Scene::with(Speech::Replies, Some(watcher.clone()));
    let ping = scene.ping();
    scene.say(":1\r\n").await;
    let mut ping = Box::pin(ping);
    assert!((&mut ping).now_or_never().is_none());
    watcher.reader.lock().unwrap().as_ref().unwrap().read();
    assert_eq!(number(ping.now_or_never().unwrap()), 1);
    scene.connection.end(closed());
    scene.connection.end(closed());
    assert_eq!(watcher.unwatched.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_watcher_has_no_time_for_is_read_and_sent_all_the_same() {
    let watcher = Arc::<Asked>::default();
    let mut scene = Scene::with(Speech::Replies, Some(watcher));
    scene.drive();
    // Also where a message may come, which has more time.
    for expects in [false, true] {
        if expects {
            scene.expectations.change(true);
        }
        for after in [0, 5, 45, 95, 200] {
            sleep(Duration::from_millis(after)).await;
            let before = Instant::now();
            // A turn that does not come to its end.
            turn::begin();
            let pings: Vec<_> = (0..10).map(|_| scene.ping()).collect();
            let sent = scene.sent_until(&"*1\r\n$4\r\nPING\r\n".repeat(10)).await;
            assert_eq!(sent.matches("PING").count(), 10);
            assert!(before.elapsed() <= Duration::from_millis(12), "{:?} after {after} ms", before.elapsed());
            for _ in 0..10 {
                scene.say(":1\r\n").await;
            }
            join_all(pings).await;
            assert!(before.elapsed() <= Duration::from_millis(24), "{:?} after {after} ms", before.elapsed());
            turn::end(&tokio::runtime::Handle::current());
        }
    }
}

#[tokio::test]
async fn the_runtime_reads_what_a_watcher_is_unable_to_watch() {
    let watcher = Arc::new(Asked { is_unable: true, ..Asked::default() });
    let mut scene = Scene::with(Speech::Replies, Some(watcher.clone()));
    scene.drive();
    for _ in 0..3 {
        let ping = scene.ping();
        scene.say(":1\r\n").await;
        assert_eq!(number(ping.await), 1);
    }
    scene.connection.end(closed());
    assert_eq!(watcher.unwatched.load(Ordering::Relaxed), 0);
}
