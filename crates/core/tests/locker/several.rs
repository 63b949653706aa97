//! Several resources, all or none.

use std::time::Duration;

use lock_inc_core::{
    Mode, Resource,
    error::{Error, Result},
    locker::LostReason,
    options::{LockOptions, Wait},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::simulation::{
    Call, Fault, Hold, Peer, World, expires, ms, options, renewed, secs, server::Kind, waits, waits_for,
};

/// Three names in the order in which whoever waits takes them.
fn in_order() -> [&'static str; 3] {
    let mut names = ["a", "b", "c"];
    names.sort_by_key(|name| Resource::new(name).shared_hash());
    names
}

/// The same in another order.
fn mixed() -> [&'static str; 3] {
    let [first, second, third] = in_order();
    [third, first, second]
}

fn in_the_way(result: Result<Vec<Hold>>) -> String {
    match result {
        Err(Error::Locked(contention)) => contention.resource.unwrap().name().into(),
        other => panic!("{other:?}"),
    }
}

/// Waits for all three, in the background, until it waits for this one.
async fn wait_for_all(world: &World, peer: &Peer, last: &str, options: LockOptions) -> Call<Vec<Hold>> {
    let call = tokio::spawn(peer.lock_all(&mixed(), options));
    world.until("in the queue", || world.waiting(last) > 0).await;
    sleep(ms(3)).await;
    call
}

async fn unlock_all(peer: &Peer, holds: &[Hold]) {
    for hold in holds {
        assert!(peer.unlock(hold).await.unwrap());
    }
}

/// These are held, by nobody else, and for that long.
fn assert_held(world: &World, peer: &Peer, names: &[&str], holds: &[Hold], lease: Duration) {
    assert_eq!(holds.iter().map(|hold| hold.resource.name()).collect::<Vec<_>>(), names);
    for hold in holds {
        assert_eq!(world.holder(hold.resource.name()), Some(hold.token));
        let left = world.lease_left_of(hold).unwrap();
        assert!(left <= lease && left + ms(50) >= lease, "{left:?}");
        assert!(peer.holds(hold) && peer.remaining(hold) <= left, "{:?}, {left:?}", peer.remaining(hold));
    }
}

#[tokio::test(start_paused = true)]
async fn all_are_taken_in_one_step_or_none_and_the_refusal_names_the_one_in_the_way() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let held = ben.try_lock("b").await.unwrap();
    assert_eq!(in_the_way(ann.lock_all(&["a", "b", "c"], options()).await), "b");
    assert_eq!((world.holder("a"), world.holder("c")), (None, None));
    assert!(ben.unlock(&held).await.unwrap());
    let holds = ann.lock_all(&["c", "a", "b"], options()).await.unwrap();
    assert_held(&world, &ann, &["c", "a", "b"], &holds, secs(60));
    assert!(holds.is_sorted_by(|one, other| held.token < one.token && one.token < other.token));
    let sent = [Kind::AcquireAll, Kind::Acquire, Kind::Release].map(|kind| world.server().count(1, kind));
    assert_eq!(sent, [2, 0, 0]);
    unlock_all(&ann, &holds).await;
    assert!(world.server().is_empty(world.now()));
}

#[tokio::test(start_paused = true)]
async fn shared_ones_are_taken_beside_others_but_not_before_those_who_wait() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let shared = LockOptions { mode: Mode::shared(0), ..options() };
    let reading = ann.lock("b", shared).await.unwrap();
    let holds = ben.lock_all(&["a", "b"], shared).await.unwrap();
    assert_eq!(world.holders("b"), [reading.token, holds[1].token]);
    let two = LockOptions { mode: Mode::shared(2), ..options() };
    assert_eq!(in_the_way(cat.lock_all(&["a", "b"], two).await), "b");
    let writing = cat.queue(&world, "b").await;
    assert_eq!(in_the_way(ann.lock_all(&["a", "b"], shared).await), "b");
    assert_eq!(world.holders("a"), [holds[0].token]);
    assert!(ann.unlock(&reading).await.unwrap());
    unlock_all(&ben, &holds).await;
    writing.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_keeps_what_is_there_and_has_whole_leases_when_the_last_one_comes() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let [first, second, third] = in_order();
    let held = ben.lock(second, renewed(secs(3))).await.unwrap();
    let call = wait_for_all(&world, &ann, second, waits()).await;
    let kept = world.holder(first);
    assert!(kept.is_some());
    for _ in 0..20 {
        sleep(secs(10)).await;
        assert_eq!((world.holder(first), world.holder(third)), (kept, None));
        assert_eq!((world.holder(second), world.waiting(second)), (Some(held.token), 1));
    }
    assert!(!call.is_finished());
    assert!(ben.unlock(&held).await.unwrap());
    let holds = call.await.unwrap().unwrap();
    assert_held(&world, &ann, &mixed(), &holds, secs(60));
    assert_eq!(ann.renewals(), 0, "nobody has asked for renewals");
    sleep(secs(61)).await;
    assert!(world.server().is_empty(world.now()));
    assert_eq!(ann.losses().len(), 3);
    assert!(ann.losses().iter().all(|(_, reason)| *reason == LostReason::Expired));
}

#[tokio::test(start_paused = true)]
async fn renewals_and_the_longest_hold_count_from_when_all_are_there() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let [_, second, _] = in_order();
    let held = ben.lock(second, renewed(secs(3))).await.unwrap();
    let options =
        LockOptions { wait: Wait::Forever, max_hold: Some(secs(10)), max_blocked: None, ..renewed(secs(3)) };
    let call = wait_for_all(&world, &ann, second, options).await;
    sleep(secs(30)).await;
    assert_eq!((ann.renewals(), ann.losses().len()), (0, 0), "nobody has a lock yet");
    assert!(ben.unlock(&held).await.unwrap());
    let holds = call.await.unwrap().unwrap();
    assert_held(&world, &ann, &mixed(), &holds, secs(3));
    sleep(ms(9700)).await;
    assert!(holds.iter().all(|hold| ann.holds(hold)));
    assert!(ann.renewals() >= 9, "{}", ann.renewals());
    sleep(ms(400)).await;
    assert!(holds.iter().all(|hold| !ann.holds(hold)));
    assert!(world.server().is_empty(world.now()));
    // One that is longer than the longest hold begins with that.
    let short = LockOptions { max_hold: Some(secs(10)), ..renewed(secs(60)) };
    let holds = ann.lock_all(&mixed(), short).await.unwrap();
    assert_held(&world, &ann, &mixed(), &holds, secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_gives_everything_back_and_names_the_one_in_the_way() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let [first, second, third] = in_order();
    let held = ben.try_lock(second).await.unwrap();
    let before = world.now();
    let call = wait_for_all(&world, &ann, second, waits_for(secs(2))).await;
    assert!(world.holder(first).is_some());
    assert_eq!(in_the_way(call.await.unwrap()), second);
    let waited = before.until(world.now());
    assert!(waited >= secs(2) && waited < ms(2100), "{waited:?}");
    sleep(ms(10)).await;
    assert_eq!((world.holder(first), world.holder(third), world.waiting(second)), (None, None, 0));
    assert_eq!(world.holder(second), Some(held.token));
    assert!(!ann.network.is_expecting());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_and_a_close_give_everything_back() {
    for closes in [false, true] {
        let world = World::new();
        let [ann, ben] = world.peers().await;
        let [first, second, third] = in_order();
        let held = ben.try_lock(second).await.unwrap();
        let cancelled = CancellationToken::new();
        let call = tokio::spawn(ann.lock_all_until(&mixed(), waits(), Some(cancelled.clone())));
        world.until("in the queue", || world.waiting(second) > 0).await;
        sleep(secs(50)).await;
        assert!(world.holder(first).is_some());
        if closes {
            ann.close().await;
            assert!(matches!(call.await.unwrap(), Err(Error::Closed)));
        } else {
            cancelled.cancel();
            assert!(matches!(call.await.unwrap(), Err(Error::Cancelled)));
            sleep(ms(10)).await;
        }
        assert_eq!((world.holder(first), world.holder(third), world.waiting(second)), (None, None, 0));
        assert_eq!(world.holder(second), Some(held.token));
        assert!(!ann.network.is_expecting());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_on_the_way_to_the_server_leaves_nothing_there() {
    let world = World::new();
    let [ann] = world.peers().await;
    let cancelled = CancellationToken::new();
    let call = tokio::spawn(ann.lock_all_until(&["a", "b"], options(), Some(cancelled.clone())));
    world.until("taken", || world.holder("b").is_some()).await;
    cancelled.cancel();
    assert!(matches!(call.await.unwrap(), Err(Error::Cancelled)));
    sleep(ms(10)).await;
    assert!(world.server().is_empty(world.now()));
}

#[tokio::test(start_paused = true)]
async fn when_one_is_lost_while_another_is_waited_for_the_call_begins_anew() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let [first, second, third] = in_order();
    let held = ben.try_lock(second).await.unwrap();
    let call = wait_for_all(&world, &ann, second, waits()).await;
    let lost = world.holder(first).unwrap();
    let stolen = cat.lock(first, LockOptions { steal: true, ..options() }).await.unwrap();
    assert!(ben.unlock(&held).await.unwrap());
    world.until("it waits for that again", || world.waiting(first) > 0).await;
    sleep(ms(20)).await;
    assert_eq!((world.holder(second), world.holder(third)), (None, None), "what it had is given back");
    assert_eq!(ann.losses(), [(lost, LostReason::Stolen)]);
    assert!(cat.unlock(&stolen).await.unwrap());
    let holds = call.await.unwrap().unwrap();
    assert_held(&world, &ann, &mixed(), &holds, secs(60));
    assert!(holds.iter().all(|hold| hold.token > stolen.token));
    unlock_all(&ann, &holds).await;
    assert!(world.server().is_empty(world.now()));
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_a_set_of_which_one_is_lost_while_the_others_get_their_leases() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let [first, second, third] = in_order();
    let held = ben.try_lock(third).await.unwrap();
    let call = wait_for_all(&world, &ann, third, waits()).await;
    ann.network.plan(Kind::Renew, Fault::ReplyLate(ms(200)));
    assert!(ben.unlock(&held).await.unwrap());
    world.until("the leases are there", || ann.network.planned() == 0).await;
    sleep(ms(20)).await;
    let stolen = cat.lock(second, LockOptions { steal: true, ..options() }).await.unwrap();
    world.until("it waits for that again", || world.waiting(second) > 0).await;
    assert_eq!((world.holder(second), world.holder(third)), (Some(stolen.token), None));
    assert!(world.holder(first).is_some() && !call.is_finished());
    assert!(cat.unlock(&stolen).await.unwrap());
    assert_held(&world, &ann, &mixed(), &call.await.unwrap().unwrap(), secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_answer_is_lost_is_sent_again_and_leaves_no_ghost() {
    for fault in [Fault::ReplyLost, Fault::RequestLost, Fault::SentAgain(ms(20))] {
        let world = World::new();
        let [ann] = world.peers().await;
        ann.network.plan(Kind::AcquireAll, fault);
        let call = tokio::spawn(ann.lock_all(&["a", "b"], expires(secs(8))));
        sleep(secs(3)).await;
        let before = ["a", "b"].map(|name| world.holder(name));
        assert_eq!(before[0].is_some(), fault != Fault::RequestLost);
        if !call.is_finished() {
            ann.network.disconnect();
            ann.network.connect();
        }
        let holds = call.await.unwrap().unwrap();
        if matches!(fault, Fault::ReplyLost) {
            assert_held(&world, &ann, &["a", "b"], &holds, secs(8));
        }
        assert!(holds.iter().zip(before).all(|(hold, before)| Some(hold.token) >= before));
        assert_eq!((world.holder("a"), world.holder("b")), (Some(holds[0].token), Some(holds[1].token)));
        unlock_all(&ann, &holds).await;
        assert!(world.server().is_empty(world.now()));
    }
}

#[tokio::test(start_paused = true)]
async fn sent_again_after_one_was_stolen_it_leaves_nothing_behind() {
    for wait in [Wait::No, Wait::Forever] {
        let world = World::new();
        let [ann, ben] = world.peers().await;
        ann.network.plan(Kind::AcquireAll, Fault::ReplyLost);
        let call = tokio::spawn(ann.lock_all(&["a", "b"], LockOptions { wait, ..options() }));
        world.until("taken", || world.holder("b").is_some()).await;
        let ghost = world.holder("a").unwrap();
        ann.network.disconnect();
        let stolen = ben.lock("b", LockOptions { steal: true, ..options() }).await.unwrap();
        ann.network.connect();
        if wait == Wait::No {
            assert_eq!(in_the_way(call.await.unwrap()), "b");
            sleep(ms(10)).await;
            assert_eq!(world.holder("a"), None);
        } else {
            world.until("in the queue", || world.waiting("b") > 0).await;
            sleep(ms(10)).await;
            assert_ne!(world.holder("a"), Some(ghost));
            assert!(ben.unlock(&stolen).await.unwrap());
            let holds = call.await.unwrap().unwrap();
            assert_held(&world, &ann, &["a", "b"], &holds, secs(60));
            unlock_all(&ann, &holds).await;
            assert!(world.server().is_empty(world.now()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_nothing_is_left_when_the_server_can_be_reached_again() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::AcquireAll, Fault::ReplyLost);
    assert!(matches!(ann.lock_all(&["a", "b"], options()).await, Err(Error::Unavailable(_))));
    sleep(ms(100)).await;
    assert!(world.server().is_empty(world.now()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_on_when_the_server_refuses_what_may_pass() {
    for carried_out in [false, true] {
        let world = World::new();
        let [ann] = world.peers().await;
        ann.network.plan(Kind::AcquireAll, Fault::Refused { passing: true, carried_out });
        let holds = ann.lock_all(&mixed(), waits()).await.unwrap();
        assert_held(&world, &ann, &mixed(), &holds, secs(60));
        ann.network.plan(Kind::AcquireAll, Fault::Refused { passing: true, carried_out });
        assert!(matches!(ann.lock_all(&["x", "y"], options()).await, Err(Error::Refused(_))));
        sleep(ms(20)).await;
        assert_eq!((world.holder("x"), world.holder("y")), (None, None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_comes_too_late_is_asked_for_again_and_one_that_always_does_is_an_error() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::AcquireAll, Fault::ReplyLate(secs(2)));
    let holds = ann.lock_all(&["a", "b"], expires(secs(1))).await.unwrap();
    assert_held(&world, &ann, &["a", "b"], &holds, secs(1));
    unlock_all(&ann, &holds).await;
    // Its lease is shorter than the way to the server and back.
    for wait in [Wait::No, Wait::AtMost(secs(3)), Wait::Forever] {
        let hopeless = LockOptions { wait, ..expires(ms(3)) };
        let locked = timeout(secs(100), ann.lock_all(&["a", "b"], hopeless)).await.expect("it ends");
        assert!(matches!(locked, Err(Error::Unavailable(_))), "{locked:?}");
        sleep(ms(10)).await;
        assert!(world.server().is_empty(world.now()));
    }
}

/// Takes all of these, often.
async fn use_often(peer: Peer, names: [&'static str; 3], hold_for: u64) {
    for round in 0..30 {
        let holds = peer.lock_all(&names, waits()).await.unwrap();
        assert!(holds.iter().all(|hold| peer.holds(hold)));
        sleep(ms(hold_for * (round % 3))).await;
        unlock_all(&peer, &holds).await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_with_names_in_common_never_wait_for_each_other_in_a_circle() {
    let world = World::new();
    let peers: [Peer; 6] = world.peers().await;
    let orders = [
        ["a", "b", "c"],
        ["c", "b", "a"],
        ["b", "c", "d"],
        ["d", "c", "b"],
        ["d", "a", "c"],
        ["c", "d", "a"],
    ];
    let all = peers.into_iter().zip(orders).zip(1..);
    let users: Vec<_> = all.map(|((peer, names), time)| tokio::spawn(use_often(peer, names, time))).collect();
    for user in users {
        timeout(secs(600), user).await.expect("nobody waits for ever").unwrap();
    }
    assert!(world.server().count(1, Kind::Acquire) > 10, "some have waited");
    assert!(world.server().is_empty(world.now()));
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_step_for_all_they_are_taken_in_order_and_given_back_if_one_is_refused() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    ann.network.scatter();
    let [first, second, third] = in_order();
    let held = ben.try_lock(third).await.unwrap();
    assert_eq!(in_the_way(ann.lock_all(&mixed(), options()).await), third);
    world.until("given back", || [first, second].iter().all(|name| world.holder(name).is_none())).await;
    assert!(ben.unlock(&held).await.unwrap());
    let holds = ann.lock_all(&mixed(), options()).await.unwrap();
    assert_held(&world, &ann, &mixed(), &holds, secs(60));
    unlock_all(&ann, &holds).await;
    // One that waits takes them in the same order.
    let held = ben.try_lock(second).await.unwrap();
    let call = wait_for_all(&world, &ann, second, waits()).await;
    assert!(world.holder(first).is_some() && world.holder(third).is_none());
    assert!(ben.unlock(&held).await.unwrap());
    let holds = call.await.unwrap().unwrap();
    assert_held(&world, &ann, &mixed(), &holds, secs(60));
    unlock_all(&ann, &holds).await;
    assert!(world.server().is_empty(world.now()));
}

#[tokio::test(start_paused = true)]
async fn a_try_in_order_that_is_cancelled_leaves_nothing() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.scatter();
    ann.network.plan(Kind::AcquireAll, Fault::ReplyLate(secs(1)));
    let call = tokio::spawn(ann.lock_all(&mixed(), options()));
    world.until("the first is taken", || world.holder(in_order()[0]).is_some()).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.until("nothing is left", || world.server().is_empty(world.now())).await;
}
