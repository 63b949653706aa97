//! Taking a lock without waiting.

use lock_inc_core::{Resource, error::Error};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::simulation::{COMMAND_TIMEOUT, Fault, World, expires, ms, options, secs, server::Kind};

#[tokio::test(start_paused = true)]
async fn a_free_resource_is_granted_for_the_lease_from_when_the_command_left() {
    let world = World::new();
    let [ann] = world.peers().await;
    let before = world.now();
    let hold = ann.lock("a", expires(secs(60))).await.unwrap();
    assert_eq!(world.holder("a"), Some(hold.token));
    // But for the margin: 1 % of the lease and 2 ms.
    assert_eq!(before.until(world.now()) + ann.remaining(&hold), ms(59_398));
    assert!(ann.remaining(&hold) + ms(600) < world.lease_left("a"));
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_somebody_else_holds_is_refused_at_once() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let before = world.now();
    let Err(Error::Locked(contention)) = ben.try_lock("a").await else { panic!("granted") };
    assert_eq!(contention.holder.unwrap().token, Some(hold.token));
    assert!(before.until(world.now()) < ms(5));
    assert_eq!(world.waiting("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_is_cancelled_until_that_is_confirmed() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::ReplyLost);
    ann.network.plan(Kind::Release, Fault::Refused { passing: true, carried_out: false });
    ann.network.plan(Kind::Release, Fault::RequestLost);
    let error = ann.try_lock("a").await.unwrap_err();
    assert!(error.outcome_unknown(), "{error}");
    assert!(world.holder("a").is_some());
    world.until("free", || world.holder("a").is_none()).await;
    assert_eq!(world.server().count(1, Kind::Release), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_never_arrived_is_an_error_at_the_deadline() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::RequestLost);
    let before = world.now();
    assert!(matches!(ann.try_lock("a").await, Err(Error::Unavailable(_))));
    assert!(before.until(world.now()) <= COMMAND_TIMEOUT + ms(1));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_never_left_needs_no_cancel() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.disconnect();
    assert!(matches!(ann.try_lock("a").await, Err(Error::Unavailable(_))));
    ann.network.connect();
    sleep(secs(20)).await;
    assert_eq!(world.server().count(1, Kind::Release), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_is_an_error_at_once() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::Refused { passing: true, carried_out: false });
    assert!(matches!(ann.try_lock("a").await, Err(Error::Refused(_))));
    sleep(secs(20)).await;
    assert_eq!(world.server().count(1, Kind::Release), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_attempt_that_may_have_been_carried_out_before_is_cancelled() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::Refused { passing: true, carried_out: true });
    assert!(matches!(ann.try_lock("a").await, Err(Error::Refused(_))));
    sleep(ms(10)).await;
    assert_eq!(world.holder("a"), None);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_cancelled_under_way_leaves_nothing_locked() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::ReplyLate(secs(5)));
    let cancel = CancellationToken::new();
    let call = tokio::spawn(ann.lock_until("a", options(), Some(cancel.clone())));
    sleep(ms(100)).await;
    assert!(world.holder("a").is_some());
    cancel.cancel();
    assert!(matches!(call.await.unwrap(), Err(Error::Cancelled)));
    sleep(ms(10)).await;
    assert_eq!(world.holder("a"), None);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_cancelled_before_is_not_made() {
    let world = World::new();
    let [ann] = world.peers().await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(matches!(ann.lock_until("a", options(), Some(cancel)).await, Err(Error::Cancelled)));
    assert!(world.server().log.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_sent_twice_is_one_lock() {
    let world = World::new();
    let [ann] = world.peers().await;
    for fault in [Fault::SentAgain(secs(2)), Fault::CarriedOutAgain(secs(2))] {
        ann.network.plan(Kind::Acquire, fault);
        let hold = ann.try_lock("a").await.unwrap();
        sleep(secs(4)).await;
        assert_eq!(world.holder("a"), Some(hold.token), "{fault:?}");
        assert!(ann.remaining(&hold) < world.lease_left("a"), "{fault:?}");
        assert!(ann.unlock(&hold).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_lease_has_ended_when_it_comes_is_asked_for_again() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::ReplyLate(secs(2)));
    let hold = ann.lock("a", expires(secs(1))).await.unwrap();
    assert!(ann.holds(&hold));
    assert_eq!(world.holder("a"), Some(hold.token));
    assert_eq!(ann.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn a_lock_whose_grants_all_come_too_late_is_an_error_and_stays_free() {
    let world = World::new();
    let [ann] = world.peers().await;
    for _ in 0..20 {
        ann.network.plan(Kind::Acquire, Fault::ReplyLate(secs(2)));
    }
    let before = world.now();
    assert!(matches!(ann.lock("a", expires(secs(1))).await, Err(Error::Unavailable(_))));
    assert!(before.until(world.now()) <= COMMAND_TIMEOUT + ms(1));
    assert!(ann.losses().is_empty());
    assert!(world.server().count(1, Kind::Acquire) > 2);
    sleep(ms(10)).await;
    assert_eq!(world.holder("a"), None);
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_loss_is_known_when_it_comes_is_asked_for_again() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::ReplyLate(ms(100)));
    let call = ann.start("a", options());
    sleep(ms(20)).await;
    let first = world.holder("a").unwrap();
    assert!(ben.locker.clone().force_unlock(Resource::new("a")).await.unwrap());
    let hold = call.await.unwrap().unwrap();
    assert!(hold.token > first);
    assert!(ann.holds(&hold));
    assert_eq!(ann.losses(), []);
}
