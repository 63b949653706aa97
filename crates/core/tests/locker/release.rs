//! Giving a lock up.

use lock_inc_core::{Resource, error::Error};
use tokio::time::sleep;

use crate::simulation::{Fault, World, expires, ms, renewed, secs, server::Kind};

#[tokio::test(start_paused = true)]
async fn an_unlocked_lock_is_free_and_not_renewed_any_more() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
    assert!(ann.unlock(&hold).await.unwrap());
    assert_eq!(world.holder("a"), None);
    assert!(!ann.holds(&hold));
    sleep(secs(10)).await;
    assert_eq!(world.server().count(1, Kind::Renew), 0);
    assert_eq!(ann.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn a_second_unlock_does_nothing() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let (first, second) = tokio::join!(ann.unlock(&hold), ann.unlock(&hold));
    assert_eq!((first.unwrap(), second.unwrap()), (true, false));
    assert_eq!(world.server().count(1, Kind::Release), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_the_newest_lock_is_given_up() {
    let world = World::new();
    let [ann] = world.peers().await;
    let old = ann.lock("a", expires(secs(1))).await.unwrap();
    sleep(ms(1001)).await;
    let new = ann.try_lock("a").await.unwrap();
    assert!(ann.locker.clone().unlock(Resource::new("a"), None).await.unwrap());
    assert!(!ann.holds(&new));
    assert!(!ann.holds(&old));
    assert_eq!(world.holder("a"), None);
}

#[tokio::test(start_paused = true)]
async fn an_unlock_without_an_answer_goes_on_in_the_background() {
    for fault in [
        Fault::RequestLost,
        Fault::ReplyLost,
        Fault::Refused { passing: true, carried_out: false },
        Fault::Refused { passing: true, carried_out: true },
    ] {
        let world = World::new();
        let [ann] = world.peers().await;
        let hold = ann.try_lock("a").await.unwrap();
        ann.network.plan(Kind::Release, fault);
        assert!(ann.unlock(&hold).await.is_err());
        assert!(!ann.holds(&hold));
        sleep(ms(100)).await;
        assert_eq!(world.holder("a"), None, "{fault:?}");
        assert_eq!(ann.losses(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unlock_that_was_sent_again_has_done_it_if_the_lease_still_runs() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(5))).await.unwrap();
    ann.network.plan(Kind::Release, Fault::SentAgain(secs(1)));
    assert!(ann.unlock(&hold).await.unwrap());
    let hold = ann.lock("a", expires(secs(5))).await.unwrap();
    ann.network.plan(Kind::Release, Fault::SentAgain(secs(6)));
    assert!(!ann.unlock(&hold).await.unwrap(), "it may have expired");
}

#[tokio::test(start_paused = true)]
async fn an_unlock_of_a_lock_that_was_taken_away_says_so() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    world.server().lose_everything();
    assert!(!ann.unlock(&hold).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_unlock_after_the_loss_says_so_and_gives_up_what_is_left() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(60))).await.unwrap();
    world.until("over", || !ann.holds(&hold)).await;
    assert!(world.holder("a").is_some());
    assert!(!ann.unlock(&hold).await.unwrap());
    assert_eq!(world.holder("a"), None);
    assert_eq!(ann.losses().len(), 1, "and the loss has been told before");
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_lock_is_given_back_whatever_it_takes() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(30))).await.unwrap();
    ann.network.plan(Kind::Release, Fault::RequestLost);
    ann.network.plan(Kind::Release, Fault::Refused { passing: true, carried_out: false });
    ann.locker.abandon(hold.clone());
    assert!(!ann.holds(&hold));
    world.until("free", || world.holder("a").is_none()).await;
    sleep(secs(60)).await;
    assert_eq!(ann.losses(), []);
    assert_eq!(world.server().count(1, Kind::Renew), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_gives_up_when_the_lock_has_expired_by_itself() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(3))).await.unwrap();
    for _ in 0..100 {
        ann.network.plan(Kind::Release, Fault::Refused { passing: true, carried_out: false });
    }
    assert!(matches!(ann.unlock(&hold).await, Err(Error::Refused(_))));
    sleep(secs(10)).await;
    let still_planned = ann.network.planned();
    assert!((50..97).contains(&still_planned), "it has tried: {still_planned}");
    sleep(secs(60)).await;
    assert_eq!(ann.network.planned(), still_planned);
}
