//! The end of a locker.

use lock_inc_core::{error::Error, locker::LostReason};
use tokio::time::sleep;

use crate::simulation::{
    EventFault, Fault, World, expires, ms, options, renewed, secs,
    server::{GRACE, Kind},
    waits,
};

#[tokio::test(start_paused = true)]
async fn calls_under_way_settle_before_the_connection_ends_and_later_ones_are_refused() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::ReplyLate(ms(500)));
    let call = ann.start("a", options());
    sleep(ms(10)).await;
    let before = world.now();
    let closing = ann.locker.clone().close();
    assert!(matches!(ann.try_lock("b").await, Err(Error::Closed)));
    closing.await;
    assert!((ms(450)..ms(510)).contains(&before.until(world.now())));
    assert!(call.is_finished());
    assert!(call.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_told_at_once_and_leaves_the_queue() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let _hold = ann.try_lock("a").await.unwrap();
    let in_queue = ben.queue(&world, "a").await;
    ben.network.plan(Kind::Acquire, Fault::ReplyLate(ms(100)));
    let joining = ben.queue(&world, "a").await;
    let before = world.now();
    ben.close().await;
    assert!(before.until(world.now()) < ms(110));
    for call in [in_queue, joining] {
        assert!(matches!(call.await.unwrap(), Err(Error::Closed)));
    }
    assert_eq!(world.waiting("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_connection_is_told_at_once() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.disconnect();
    let calls = [ann.start("a", options()), ann.start("b", waits())];
    sleep(ms(10)).await;
    let before = world.now();
    ann.close().await;
    assert!(before.until(world.now()) < ms(10));
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(Error::Closed)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_in_the_background_has_a_last_try() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    for _ in 0..2 {
        ann.network.plan(Kind::Release, Fault::Refused { passing: true, carried_out: false });
    }
    assert!(ann.unlock(&hold).await.is_err());
    sleep(ms(10)).await;
    assert!(world.holder("a").is_some());
    let before = world.now();
    ann.close().await;
    assert!(before.until(world.now()) < ms(10), "at once");
    assert_eq!(world.holder("a"), None);
}

#[tokio::test(start_paused = true)]
async fn it_may_be_closed_again_and_each_time_all_is_done_when_it_resolves() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::ReplyLate(ms(500)));
    let call = ann.start("a", options());
    sleep(ms(10)).await;
    let first = tokio::spawn(ann.locker.clone().close());
    sleep(ms(10)).await;
    tokio::join!(ann.close(), ann.close());
    assert!(call.is_finished());
    first.await.unwrap();
    let before = world.now();
    ann.close().await;
    assert_eq!(before, world.now());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_renewed_afterwards_and_the_loss_of_what_was_held_is_told() {
    let world = World::new();
    let [ann] = world.peers().await;
    let first = ann.lock("a", renewed(secs(30))).await.unwrap();
    let second = ann.lock("b", expires(secs(40))).await.unwrap();
    ann.close().await;
    assert!(ann.holds(&first) && ann.holds(&second));
    sleep(secs(29)).await;
    assert_eq!(ann.losses(), []);
    assert!(!ann.has_ended());
    sleep(secs(12)).await;
    assert_eq!(ann.losses(), [(first.token, LostReason::Expired), (second.token, LostReason::Expired)]);
    assert_eq!(world.server().count(1, Kind::Renew), 0);
    sleep(secs(2)).await;
    assert!(ann.has_ended());
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_was_handed_over_gets_the_rest_of_its_lease_before_the_connection_ends() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let mut holds = Vec::new();
    for name in ["a", "b", "c"] {
        let hold = ann.try_lock(name).await.unwrap();
        let call = ben.queue(&world, name).await;
        ann.unlock(&hold).await.unwrap();
        holds.push(call.await.unwrap().unwrap());
    }
    let before = world.now();
    ben.close().await;
    assert!(before.until(world.now()) < ms(5), "all at the same time");
    assert!(holds.iter().all(|hold| ben.remaining(hold) > GRACE * 10));
    assert!(world.lease_left("c") > GRACE * 10);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_comes_while_closing_is_given_to_the_next() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let _gone = ben.queue(&world, "a").await;
    let next = ann.queue(&world, "a").await;
    ben.network.plan_event(EventFault::Late(ms(1)));
    let ((), unlocked) = tokio::join!(ben.close(), ann.unlock(&hold));
    assert!(unlocked.unwrap());
    let before = world.now();
    assert!(next.await.unwrap().is_ok());
    assert!(before.until(world.now()) < ms(10));
}

#[tokio::test(start_paused = true)]
async fn an_idle_locker_ends_at_once() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.close().await;
    sleep(ms(1)).await;
    assert!(ann.has_ended());
}
