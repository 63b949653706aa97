//! Sharded channels on a connection.

use super::*;

impl Scene {
    async fn listens(&mut self, channel: &str) {
        self.connection.listen_closely(channel.into());
        self.sent_until(&subscribe(channel)).await;
    }
}

fn subscribe(channel: &str) -> String {
    format!("*2\r\n$10\r\nSSUBSCRIBE\r\n${}\r\n{channel}\r\n", channel.len())
}

fn confirmed(kind: &str, channel: &str) -> String {
    format!(">3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n:0\r\n", kind.len(), channel.len())
}

const PING: &str = "*1\r\n$4\r\nPING\r\n";

#[tokio::test]
async fn a_sharded_channel_is_subscribed_once_and_what_comes_there_is_heard() {
    let mut scene = Scene::new();
    scene.listens("a").await;
    scene.connection.listen_closely("a".into());
    let ping = scene.ping();
    assert_eq!(scene.sent_until(PING).await, PING);
    scene.say(&confirmed("ssubscribe", "a")).await;
    scene.say(">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$2\r\nhi\r\n:1\r\n").await;
    assert_eq!(number(ping.await), 1);
    assert_eq!(*scene.heard.0.lock().unwrap(), ["a hi"]);
}

#[tokio::test]
async fn a_subscription_that_the_server_ends_answers_nothing_and_is_made_again() {
    let mut scene = Scene::new();
    scene.listens("a").await;
    scene.say(&confirmed("ssubscribe", "a")).await;
    scene.listens("b").await;
    let ping = scene.ping();
    // The slot moves before the server comes to what was sent.
    scene.say(&confirmed("sunsubscribe", "a")).await;
    scene.say("-MOVED 7 127.0.0.1:7000\r\n:1\r\n").await;
    assert_eq!(number(ping.await), 1);
    for channel in ["a", "b"] {
        scene.listens(channel).await;
    }
}

#[tokio::test]
async fn where_there_are_no_sharded_channels_the_server_is_asked_once() {
    for error in [
        "ERR unknown command 'SSUBSCRIBE', with args beginning with: 'a' ",
        "NOPERM User x has no permissions to run the 'ssubscribe' command",
        "NOPERM No permissions to access a channel",
    ] {
        let mut scene = Scene::new();
        scene.listens("a").await;
        let ping = scene.ping();
        scene.say(&format!("-{error}\r\n:1\r\n")).await;
        assert_eq!(number(ping.await), 1);
        scene.connection.listen_closely("b".into());
        let last = scene.ping();
        assert_eq!(scene.sent_until(&PING.repeat(2)).await, PING.repeat(2));
        drop(last);
    }
}

#[tokio::test]
async fn of_very_many_sharded_channels_the_old_ones_are_given_up_and_every_reply_finds_its_command() {
    for refused in [false, true] {
        let mut scene = Scene::new();
        for index in 0..1024 {
            let channel = index.to_string();
            scene.listens(&channel).await;
            scene.say(&confirmed("ssubscribe", &channel)).await;
        }
        scene.connection.listen_closely("more".into());
        let ping = scene.ping();
        let sent = scene.sent_until(PING).await;
        assert_eq!(sent, ["*1\r\n$12\r\nSUNSUBSCRIBE\r\n", &subscribe("more"), PING].concat());
        if refused {
            scene.say("-NOPERM User x has no permissions to run the 'sunsubscribe' command\r\n").await;
        } else {
            for index in 0..1024 {
                scene.say(&confirmed("sunsubscribe", &index.to_string())).await;
            }
        }
        scene.say(&confirmed("ssubscribe", "more")).await;
        scene.say(":1\r\n").await;
        assert_eq!(number(ping.await), 1);
        // Those that are of use come back, where they may.
        scene.connection.listen_closely("7".into());
        let ping = scene.ping();
        let sent = scene.sent_until(PING).await;
        assert_eq!(sent, if refused { PING.to_owned() } else { [&subscribe("7"), PING].concat() });
        drop(ping);
    }
}
