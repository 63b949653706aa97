//! The second connection, on which replicas are waited for.

use redis::{Value, cmd};
use tokio::task::JoinHandle;

use super::*;
use crate::link::{Known, Question};

/// A link with a locker that asks, and the server's ends of its two connections.
struct Asking {
    scene: Scene,
    seats: Arc<Seats>,
    live: Peer,
    beside: Peer,
}

type Asked = JoinHandle<Result<Known>>;

impl Asking {
    async fn new() -> Self {
        let scene = Scene::new().await;
        scene.link.expect_confirmations(true);
        let seats = scene.join("a");
        let mut live = scene.greet().await;
        live.confirm("subscribe").await;
        let beside = accept_beside(&scene).await;
        Self { scene, seats, live, beside }
    }

    /// Whether so many replicas have this key.
    fn ask(&self, key: &str, replicas: u32) -> Asked {
        self.ask_within(Duration::from_secs(20), key, replicas)
    }

    fn ask_within(&self, time: Duration, key: &str, replicas: u32) -> Asked {
        let (link, seats) = (self.scene.link.clone(), self.seats.clone());
        let looks = vec![cmd("GET").arg(key).take()];
        let question = Question { looks, touch: cmd("INCRBY").arg("fence").arg(0).take(), replicas };
        let deadline = Deadline::after(Limit { time, option: "a test" });
        tokio::spawn(async move { link.confirm(&seats.closing, question, deadline).await })
    }
}

async fn accept_beside(scene: &Scene) -> Peer {
    let mut peer = timeout(Duration::from_secs(3), scene.accept()).await.unwrap();
    for _ in 0..3 {
        peer.answer("CLIENT", "+OK").await;
    }
    peer
}

impl Peer {
    /// These keys are there. Nothing is said to the `WAIT` that follows, of which this is how many replicas it is for.
    async fn show(&mut self, keys: &[&str]) -> u32 {
        let mut shown = Vec::new();
        for _ in keys {
            shown.push(self.expect("GET").await[1].clone());
            self.say(&format!("+{}", shown.last().unwrap())).await;
            self.answer("INCRBY", ":7").await;
        }
        shown.sort();
        assert_eq!(shown, keys);
        self.wait().await
    }

    async fn end(&mut self) {
        self.0.get_mut().shutdown().await.unwrap();
    }

    async fn wait(&mut self) -> u32 {
        let wait = self.expect("WAIT").await;
        let ms: u32 = wait[2].parse().unwrap();
        assert!((1..=100).contains(&ms), "0 would be for ever: {ms}");
        wait[1].parse().unwrap()
    }
}

/// The key that was shown, and how many replicas have it.
async fn known(asked: Asked) -> (String, u32) {
    let Known { seen, replicas, .. } = asked.await.unwrap().unwrap();
    let Some(Value::SimpleString(key)) = seen.into_iter().next() else { panic!("nothing was shown") };
    (key, replicas.unwrap())
}

#[tokio::test]
async fn questions_that_come_while_replicas_are_waited_for_share_the_next_wait() {
    let mut asking = Asking::new().await;
    let first = asking.ask("one", 1);
    assert_eq!(asking.beside.show(&["one"]).await, 1);
    let others = [asking.ask("three", 2), asking.ask("two", 1)];
    sleep(Duration::from_millis(20)).await;
    asking.beside.say(":1").await;
    assert_eq!(known(first).await, ("one".into(), 1));
    // For the smallest number: whoever wants more asks on, without another look.
    assert_eq!(asking.beside.show(&["three", "two"]).await, 1);
    asking.beside.say(":1").await;
    let [three, two] = others;
    assert_eq!(known(two).await, ("two".into(), 1));
    assert_eq!(asking.beside.wait().await, 2);
    assert!(!three.is_finished());
    asking.beside.say(":5").await;
    assert_eq!(known(three).await, ("three".into(), 5));
}

#[tokio::test]
async fn with_too_few_it_says_how_many_there_are_when_the_time_is_over() {
    let mut asking = Asking::new().await;
    let asked = asking.ask_within(Duration::from_millis(150), "one", 3);
    asking.beside.show(&["one"]).await;
    sleep(Duration::from_millis(50)).await;
    asking.beside.say(":2").await;
    asking.beside.wait().await;
    assert_eq!(known(asked).await, ("one".into(), 2));
    // Where that is not known by then, the answer is waited for that is on its way.
    asking.beside.say(":2").await;
    let asked = asking.ask_within(Duration::ZERO, "one", 3);
    asking.beside.show(&["one"]).await;
    sleep(Duration::from_millis(100)).await;
    asking.beside.say(":1").await;
    assert_eq!(known(asked).await, ("one".into(), 1));
}

#[tokio::test]
async fn a_server_that_waits_for_replicas_is_not_silent() {
    let mut asking = Asking::new().await;
    let asked = asking.ask("one", 1);
    asking.beside.show(&["one"]).await;
    assert!(timeout(Duration::from_millis(800), asking.scene.accept()).await.is_err(), "nothing is replaced");
    let call = tokio::spawn(asking.scene.call(&asking.seats));
    asking.live.answer("ECHO", ":1").await;
    call.await.unwrap().unwrap();
    asking.beside.say(":1").await;
    assert_eq!(known(asked).await, ("one".into(), 1));
}

#[tokio::test]
async fn a_connection_that_is_lost_is_made_again_and_all_is_looked_at_anew() {
    let mut asking = Asking::new().await;
    let asked = asking.ask("one", 2);
    asking.beside.show(&["one"]).await;
    asking.beside.say(":1").await;
    asking.beside.wait().await;
    asking.beside.end().await;
    asking.beside = accept_beside(&asking.scene).await;
    asking.beside.show(&["one"]).await;
    // The same goes for one that does not answer: the server is another one, perhaps, or has stood still.
    let mut next = accept_beside(&asking.scene).await;
    next.show(&["one"]).await;
    next.say(":2").await;
    assert_eq!(known(asked).await, ("one".into(), 2));
}

#[tokio::test]
async fn a_connection_that_is_lost_while_nobody_asks_is_made_when_somebody_does() {
    let mut asking = Asking::new().await;
    asking.beside.end().await;
    assert!(timeout(Duration::from_millis(100), asking.scene.accept()).await.is_err());
    let asked = asking.ask("one", 1);
    asking.beside = accept_beside(&asking.scene).await;
    asking.beside.show(&["one"]).await;
    asking.beside.say(":1").await;
    assert_eq!(known(asked).await, ("one".into(), 1));
}

#[tokio::test]
async fn what_passes_is_tried_again_and_told_if_it_does_not() {
    let mut asking = Asking::new().await;
    let asked = asking.ask("one", 1);
    asking.beside.show(&["one"]).await;
    asking.beside.say("-UNBLOCKED force unblock from blocking operation, instance state changed").await;
    asking.beside.show(&["one"]).await;
    asking.beside.say(":1").await;
    assert_eq!(known(asked).await, ("one".into(), 1));
    let asked = asking.ask_within(Duration::from_millis(100), "one", 1);
    tokio::spawn(async move {
        while let [name, ..] = &asking.beside.command().await[..] {
            let answer =
                if name == "WAIT" { "-ERR WAIT cannot be used with replica instances." } else { ":7" };
            asking.beside.say(answer).await;
        }
    });
    let known = asked.await.unwrap().unwrap();
    let (replicas, trouble) = (known.replicas, known.trouble.unwrap());
    assert_eq!((replicas, &*trouble.message), (None, "ERR WAIT cannot be used with replica instances."));
}

#[tokio::test]
async fn what_is_forbidden_is_an_error_of_those_that_it_is_about() {
    let mut asking = Asking::new().await;
    let asked = [asking.ask("one", 1), asking.ask("two", 1)];
    let mut looks = 0;
    loop {
        let command = asking.beside.command().await;
        match &*command[0] {
            "GET" => looks += 1,
            "WAIT" => break,
            _ => {}
        }
        let is_forbidden = command[1] == "two";
        asking.beside.say(if is_forbidden { "-NOPERM no" } else { "+one" }).await;
    }
    assert_eq!(looks, 2, "asked together");
    asking.beside.say(":1").await;
    let [one, two] = asked;
    assert_eq!(known(one).await, ("one".into(), 1));
    let Err(Error::Refused(refusal)) = two.await.unwrap() else { panic!("it is allowed") };
    assert_eq!(refusal.code, "ERR_REDIS_NOPERM");
    // The connection is in use as before.
    let asked = asking.ask("one", 1);
    asking.beside.show(&["one"]).await;
    asking.beside.say(":1").await;
    assert_eq!(known(asked).await, ("one".into(), 1));
}

#[tokio::test]
async fn whoever_closes_waits_for_no_connection() {
    let mut asking = Asking::new().await;
    let asked = asking.ask("one", 1);
    asking.beside.show(&["one"]).await;
    asking.seats.closing.cancel();
    sleep(Duration::from_millis(50)).await;
    assert!(!asked.is_finished(), "there is one");
    asking.beside.end().await;
    let asked = timeout(Duration::from_secs(3), asked).await.unwrap();
    assert!(matches!(asked.unwrap(), Err(Error::Closed)));
}

#[tokio::test]
async fn the_connection_goes_with_the_last_who_asks_and_with_the_one_that_it_is_beside() {
    let mut asking = Asking::new().await;
    asking.scene.link.expect_confirmations(false);
    assert_eq!(asking.beside.command().await, [""; 0]);
    asking.scene.link.expect_confirmations(true);
    asking.beside = accept_beside(&asking.scene).await;
    asking.live.end().await;
    assert_eq!(asking.beside.command().await, [""; 0]);
    let mut live = asking.scene.greet().await;
    live.confirm("subscribe").await;
    accept_beside(&asking.scene).await;
}
