//! How a lock is kept, and how it is lost.

use lock_inc_core::{Resource, locker::LostReason, options::LockOptions};
use tokio::time::sleep;

use crate::simulation::{Fault, World, expires, ms, options, renewed, secs, server::Kind};

const REFUSED: Fault = Fault::Refused { passing: true, carried_out: false };

#[tokio::test(start_paused = true)]
async fn a_renewed_lock_is_renewed_when_a_third_of_its_lease_has_passed() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(30))).await.unwrap();
    sleep(ms(9990)).await;
    assert_eq!(world.server().count(1, Kind::Renew), 0);
    sleep(ms(500)).await;
    assert_eq!(world.server().count(1, Kind::Renew), 1);
    sleep(secs(300)).await;
    assert!(ann.holds(&hold));
    assert_eq!(world.holder("a"), Some(hold.token));
    assert!((29..=31).contains(&ann.renewals()), "{}", ann.renewals());
    assert_eq!(ann.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_refused_is_tried_again_and_no_loss() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
    for _ in 0..3 {
        ann.network.plan(Kind::Renew, REFUSED);
    }
    sleep(secs(10)).await;
    assert!(ann.holds(&hold));
    assert_eq!(ann.losses(), []);
    let failed = ann.failed_renewals();
    assert_eq!(failed.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [hold.token; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_refused_is_not_told_of_where_nobody_asked_for_that() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.lock("a", LockOptions { observed: false, ..renewed(secs(3)) }).await.unwrap();
    ann.network.plan(Kind::Renew, REFUSED);
    sleep(secs(10)).await;
    assert_eq!(ann.failed_renewals(), []);
    assert_eq!(ann.renewals(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_which_all_renewals_are_refused_expires() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
    for _ in 0..100 {
        ann.network.plan(Kind::Renew, REFUSED);
    }
    sleep(ms(2960)).await;
    assert!(ann.holds(&hold));
    sleep(ms(20)).await;
    assert!(!ann.holds(&hold));
    assert_eq!(ann.losses(), [(hold.token, LostReason::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_which_a_renewal_has_no_answer_is_lost_with_the_connection() {
    for fault in [Fault::RequestLost, Fault::ReplyLost] {
        let world = World::new();
        let [ann] = world.peers().await;
        let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
        ann.network.plan(Kind::Renew, fault);
        sleep(ms(2980)).await;
        assert_eq!(ann.losses(), [(hold.token, LostReason::Connection)], "{fault:?}");
        sleep(secs(10)).await;
        assert_eq!(ann.losses().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_without_renewal_expires() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(3))).await.unwrap();
    assert!(!ann.has_lost(&hold));
    world.until("over", || !ann.holds(&hold)).await;
    assert!(world.lease_left("a") > ms(0), "for the server it ends later");
    sleep(ms(2)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Expired)]);
    assert_eq!(world.server().count(1, Kind::Renew), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_gone_at_its_renewal_is_purged() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
    world.server().lose_everything();
    sleep(ms(1100)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Purged)]);
    assert!(!ann.holds(&hold));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_somebody_else_has_at_its_renewal_is_stolen() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
    world.server().lose_everything();
    let stolen = ben.try_lock("a").await.unwrap();
    sleep(ms(1100)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Stolen)]);
    assert_eq!(world.holder("a"), Some(stolen.token));
}

#[tokio::test(start_paused = true)]
async fn a_forced_unlock_is_told_at_once_and_once() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(30))).await.unwrap();
    assert!(ben.locker.clone().force_unlock(Resource::new("a")).await.unwrap());
    sleep(ms(5)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Purged)]);
    assert!(!ann.holds(&hold));
    assert!(!ann.unlock(&hold).await.unwrap());
    sleep(secs(60)).await;
    assert_eq!(ann.losses().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_lease_reaches_beyond_the_longest_hold() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", LockOptions { max_hold: Some(secs(10)), ..renewed(secs(3)) }).await.unwrap();
    sleep(ms(9800)).await;
    assert!(ann.holds(&hold));
    sleep(ms(210)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Expired)]);
    assert_eq!(world.holder("a"), None);
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_not_renewed_while_its_thread_gives_no_sign_of_life() {
    let world = World::new();
    let [ann] = world.peers().await;
    let options = LockOptions { max_blocked: Some(secs(1)), ..renewed(secs(3)) };
    let hold = ann.lock("a", options).await.unwrap();
    ann.is_silent_for(secs(2));
    sleep(secs(2)).await;
    assert_eq!(world.server().count(1, Kind::Renew), 0);
    ann.is_silent_for(ms(0));
    sleep(secs(8)).await;
    assert!(ann.holds(&hold), "it has given one before the lease was over");
    ann.is_silent_for(secs(2));
    sleep(secs(3)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Expired)]);
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_introduced_without_a_new_lease() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.introduce_after(ms(100));
    let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
    sleep(ms(500)).await;
    assert_eq!(world.server().count(1, Kind::Renew), 1);
    assert!(world.lease_left("a") <= ms(2500));
    sleep(secs(1)).await;
    assert_eq!(world.server().count(1, Kind::Renew), 2);
    assert!(ann.remaining(&hold) > ms(2000));
}

#[tokio::test(start_paused = true)]
async fn a_lock_whose_introduction_is_not_answered_is_lost_with_the_connection() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.introduce_after(ms(90));
    let hold = ann.lock("a", renewed(ms(300))).await.unwrap();
    ann.network.plan(Kind::Renew, Fault::ReplyLate(secs(5)));
    sleep(ms(310)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Connection)]);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_answered_after_the_loss_is_given_back() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
    ann.network.plan(Kind::Renew, Fault::ReplyLate(ms(500)));
    world.until("renewed", || world.server().count(1, Kind::Renew) == 1).await;
    world.sleep_of_the_machine(secs(2));
    assert_eq!(ann.remaining(&hold), ms(0));
    assert!(world.lease_left("a") > ms(900));
    sleep(ms(510)).await;
    assert_eq!(world.holder("a"), None);
    sleep(secs(2)).await;
    assert_eq!(ann.losses().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn renewals_that_are_carried_out_twice_do_no_harm() {
    for fault in [Fault::SentAgain(ms(500)), Fault::CarriedOutAgain(ms(1500)), Fault::RequestLate(ms(900))] {
        let world = World::new();
        let [ann] = world.peers().await;
        let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
        for _ in 0..5 {
            ann.network.plan(Kind::Renew, fault);
        }
        for _ in 0..50 {
            sleep(ms(200)).await;
            assert!(ann.holds(&hold), "{fault:?}");
            assert!(ann.remaining(&hold) < world.lease_left("a"), "{fault:?}");
        }
        assert!(ann.unlock(&hold).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_loses_no_lock_that_is_renewed_over_the_next_one_in_time() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(6))).await.unwrap();
    for _ in 0..5 {
        ann.network.disconnect();
        sleep(ms(3500)).await;
        ann.network.connect();
        sleep(secs(2)).await;
    }
    assert!(ann.holds(&hold));
    assert_eq!(ann.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnect_every_lock_is_asked_about_also_one_that_is_not_renewed_or_not_any_more() {
    let world = World::new();
    let [ann] = world.peers().await;
    let longest = LockOptions { max_hold: Some(secs(60)), ..renewed(secs(60)) };
    let mut tokens = Vec::new();
    for (name, options) in [("a", options()), ("b", renewed(secs(60))), ("c", longest)] {
        tokens.push(ann.lock(name, options).await.unwrap().token);
    }
    ann.network.disconnect();
    world.server().lose_everything();
    sleep(secs(1)).await;
    assert_eq!(ann.losses(), []);
    ann.network.connect();
    sleep(ms(10)).await;
    let mut lost = ann.losses();
    lost.sort_unstable_by_key(|(token, _)| *token);
    assert_eq!(lost, tokens.iter().map(|token| (*token, LostReason::Purged)).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_the_machine_has_slept_through_is_told_within_a_second_of_its_waking() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(600))).await.unwrap();
    sleep(ms(300)).await;
    world.sleep_of_the_machine(secs(3600));
    assert_eq!(ann.remaining(&hold), ms(0));
    sleep(ms(1001)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Expired)]);
}
