//! Nodes of a cluster that send a call to each other.

use std::collections::HashMap;

use super::*;
use crate::config::{Address, ClusterConfig};

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// A locker of a cluster of which this is a node.
fn join(seed: &TcpListener) -> Arc<Seats> {
    let mut config = Config::of("127.0.0.1", port_of(seed));
    let seeds = vec![Address { host: "127.0.0.1".into(), port: port_of(seed) }];
    config.cluster = Some(ClusterConfig { seeds, nat_map: HashMap::new() });
    let servers = Arc::new(Servers::open(config, "test".into(), machine()));
    let seats = Seats::new(servers, "a".into(), Keys::in_slots(String::new()), false);
    seats.join(Arc::<Heard>::default());
    Arc::new(seats)
}

/// The node at this port serves all slots.
fn table(port: u16) -> String {
    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:{port}")
}

impl Peer {
    async fn greeted_at(listener: &TcpListener) -> Self {
        let mut peer = Self(BufReader::new(listener.accept().await.unwrap().0));
        peer.answer("HELLO", "+OK").await;
        peer.welcome().await;
        peer.confirm("subscribe").await;
        peer
    }
}

#[tokio::test]
async fn a_node_that_is_asked_again_as_the_other_is_not_there_yet_is_not_told_to_serve_what_moves_to_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // It accepts a connection, and says nothing.
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let seats = join(&listener);
    let mut peer = Peer::greeted_at(&listener).await;
    peer.answer("CLUSTER", &table(port_of(&listener))).await;
    let call = tokio::spawn(Scene::call_within(Duration::from_secs(3), &seats));
    peer.answer("ECHO", &format!("-ASK 0 127.0.0.1:{}", port_of(&other))).await;
    peer.answer("ECHO", ":1").await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_for_a_node_that_has_left_the_cluster_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let seats = join(&listener);
    let mut peer = Peer::greeted_at(&listener).await;
    peer.answer("CLUSTER", &table(port_of(&listener))).await;
    let seat = timeout(Duration::from_secs(3), async {
        loop {
            match seats.at(&Place::Slot(0)) {
                Some(seat) => return seat,
                None => sleep(Duration::from_millis(1)).await,
            }
        }
    });
    let (seats, place) = (seats.clone(), Place::At(seat.await.unwrap()));
    let moves = seats.moves();
    let call = tokio::spawn(async move {
        let limit = Limit { time: Duration::from_secs(30), option: "a test" };
        let command = Command::Plain(&|command, _| {
            command.arg("ECHO").arg("a test");
        });
        let answer = seats.call(&place, command, Deadline::after(limit)).await;
        (answer.map(drop), seats.moves())
    });
    // Whoever is refused has the locker ask where the slots are.
    let asked = async {
        while peer.command().await[0] == "ECHO" {
            peer.say("-TRYAGAIN not now").await;
        }
    };
    timeout(Duration::from_secs(3), asked).await.unwrap();
    peer.say(&table(port_of(&other))).await;
    let (answer, now) = timeout(Duration::from_secs(3), call).await.unwrap().unwrap();
    assert!(
        matches!(answer, Err(Error::Unavailable(error)) if error.message.contains("has left the cluster"))
    );
    assert!(now > moves);
}
