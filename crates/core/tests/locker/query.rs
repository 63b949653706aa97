//! Everything that is held and waited for.

use lock_inc_core::{Mode, locker::query::Snapshot, options::LockOptions};
use tokio::time::sleep;

use crate::simulation::{Fault, Peer, World, expires, ms, options, secs, server::Kind, waits};

fn shared(options: LockOptions) -> LockOptions {
    LockOptions { mode: Mode::shared(0), ..options }
}

/// Name, token and client of what is held, and name and client of what is waited for.
type Listed = (Vec<(String, u64, String)>, Vec<(String, String)>);

async fn query(peer: &Peer) -> Listed {
    listed(peer.locker.clone().query().await.unwrap())
}

fn listed(Snapshot { held, pending }: Snapshot) -> Listed {
    let held = held.into_iter().map(|(resource, holder, _)| {
        (resource.name().into(), holder.token.unwrap(), holder.identity.unwrap().client)
    });
    let pending =
        pending.into_iter().map(|(resource, waiter)| (resource.name().into(), waiter.identity.client));
    (held.collect(), pending.collect())
}

fn held(name: &str, token: u64, client: u32) -> (String, u64, String) {
    (name.into(), token, client.to_string())
}

fn awaited(name: &str, client: u32) -> (String, String) {
    (name.into(), client.to_string())
}

#[tokio::test(start_paused = true)]
async fn own_locks_and_those_of_others_are_there_once_in_the_order_of_their_grants_and_who_waits_in_that_of_arrival()
 {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    assert_eq!(query(&ann).await, (Vec::new(), Vec::new()));
    let others = ben.lock("a", shared(options())).await.unwrap();
    let own = ann.lock("a", shared(expires(secs(20)))).await.unwrap();
    let alone = ben.try_lock("b").await.unwrap();
    let last = ann.try_lock("c").await.unwrap();
    let mut calls = Vec::new();
    for (peer, name) in [(&ben, "a"), (&ann, "b"), (&ann, "a"), (&ben, "c")] {
        calls.push(peer.queue(&world, name).await);
    }
    for peer in [&ann, &ben] {
        let (locks, pending) = query(peer).await;
        let expected = [("a", &others, 2), ("a", &own, 1), ("b", &alone, 2), ("c", &last, 1)];
        assert_eq!(locks, expected.map(|(name, hold, client)| held(name, hold.token, client)));
        assert_eq!(pending, [awaited("a", 2), awaited("b", 1), awaited("a", 1), awaited("c", 2)]);
    }
    let Snapshot { held, .. } = ann.locker.clone().query().await.unwrap();
    for (resource, holder, left) in held {
        let hold =
            [&others, &own, &alone, &last].into_iter().find(|hold| hold.nonce == holder.nonce).unwrap();
        assert_eq!(resource, hold.resource);
        let kept = world.lease_left_of(hold).unwrap();
        // By the answer, which was a moment on its way.
        assert!(left <= kept + ms(5) && left + secs(1) > kept, "{left:?}, {kept:?}");
    }
    let modes = ann.locker.clone().query().await.unwrap().pending;
    assert!(modes.iter().all(|(_, waiter)| waiter.mode == Mode::Exclusive));
}

#[tokio::test(start_paused = true)]
async fn of_its_own_a_locker_knows_what_is_so_when_the_answer_comes() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let given_up = ann.try_lock("a").await.unwrap();
    let (others, short) = (ben.try_lock("b").await.unwrap(), ann.lock("c", expires(ms(100))).await.unwrap());
    let cancelled = ann.queue(&world, "b").await;
    ann.network.plan(Kind::Other, Fault::ReplyLate(ms(500)));
    let snapshot = tokio::spawn(ann.locker.clone().query());
    sleep(ms(10)).await;
    assert!(ann.unlock(&given_up).await.unwrap());
    cancelled.abort();
    let new = ann.try_lock("d").await.unwrap();
    assert_eq!(ann.network.planned(), 0);
    let (locks, pending) = listed(snapshot.await.unwrap().unwrap());
    assert!(ann.has_lost(&short));
    assert_eq!(locks, [held("b", others.token, 2), held("d", new.token, 1)]);
    assert_eq!(pending, []);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_has_come_to_this_locker_meanwhile_has_no_other_holder() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let before = ben.try_lock("a").await.unwrap();
    let next = ann.start("a", waits());
    sleep(ms(10)).await;
    ann.network.plan(Kind::Other, Fault::ReplyLate(ms(500)));
    let snapshot = tokio::spawn(ann.locker.clone().query());
    sleep(ms(10)).await;
    assert!(ben.unlock(&before).await.unwrap());
    let next = next.await.unwrap().unwrap();
    assert_eq!(listed(snapshot.await.unwrap().unwrap()), (vec![held("a", next.token, 1)], Vec::new()));
}
