//! Giving a lock up.

use lock_inc_core::error::Error;
use tokio::time::sleep;

use crate::simulation::{Fault, World, expires, ms, options, renewed, secs, server::Kind};

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
async fn of_two_locks_of_one_name_that_is_given_up_which_is_meant() {
    let world = World::new();
    let [ann] = world.peers().await;
    let old = ann.try_lock("a").await.unwrap();
    world.server().lose_everything();
    let new = ann.try_lock("a").await.unwrap();
    assert!(ann.holds(&old) && ann.holds(&new), "nobody has told");
    assert!(!ann.unlock(&old).await.unwrap());
    assert!(!ann.holds(&old) && ann.holds(&new));
    assert_eq!(world.holder("a"), Some(new.token));
    assert!(ann.unlock(&new).await.unwrap());
    assert_eq!(world.holder("a"), None);
    assert_eq!(ann.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_lost_lock_is_given_up_by_the_name_of_its_resource() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(60))).await.unwrap();
    world.until("over", || !ann.holds(&hold)).await;
    ann.unlock_lost("b").await.unwrap();
    assert_eq!(world.holder("a"), Some(hold.token));
    ann.unlock_lost("a").await.unwrap();
    assert_eq!(world.holder("a"), None);
    assert_eq!(ann.losses().len(), 1, "and the loss has been told before");
    ann.unlock_lost("a").await.unwrap();
    assert_eq!(world.server().count(1, Kind::Release), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_lost_lock_is_given_up_in_the_background_where_that_fails_at_first() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(60))).await.unwrap();
    world.until("over", || !ann.holds(&hold)).await;
    ann.network.plan(Kind::Release, Fault::Refused { passing: true, carried_out: false });
    assert!(matches!(ann.unlock_lost("a").await, Err(Error::Refused(_))));
    assert_eq!(world.holder("a"), Some(hold.token));
    sleep(ms(100)).await;
    assert_eq!(world.holder("a"), None);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_relied_on_or_on_its_way_is_not_given_up_by_the_name_of_its_resource() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::ReplyLate(ms(100)));
    let call = ann.start("a", options());
    sleep(ms(20)).await;
    ann.unlock_lost("a").await.unwrap();
    let hold = call.await.unwrap().unwrap();
    ann.unlock_lost("a").await.unwrap();
    assert!(ann.holds(&hold));
    assert_eq!(world.holder("a"), Some(hold.token));
    assert_eq!(world.server().count(1, Kind::Release), 0);
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
    ann.locker.abandon(hold.nonce);
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
