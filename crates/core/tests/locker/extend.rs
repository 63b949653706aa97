//! Another lease for a lock that is held.

use lock_inc_core::{error::Error, locker::LostReason};
use tokio::time::{sleep, timeout};

use crate::simulation::{
    Fault, Hold, Peer, World, expires, ms, options, renewed, secs, server::Kind, waits_for,
};

fn extend(
    peer: &Peer,
    hold: &Hold,
    lease: std::time::Duration,
) -> tokio::task::JoinHandle<Result<bool, Error>> {
    let (peer, hold) = (peer.clone(), hold.clone());
    tokio::spawn(async move { peer.extend(&hold, lease).await })
}

#[tokio::test(start_paused = true)]
async fn a_lease_becomes_longer_or_shorter_from_now_on() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(10))).await.unwrap();
    for length in [secs(60), secs(2), secs(30)] {
        assert!(ann.extend(&hold, length).await.unwrap());
        assert!(ann.remaining(&hold) + ms(700) > length);
        assert!(ann.remaining(&hold) < world.lease_left("a"));
        assert!(world.lease_left("a") <= length);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_lease_is_relied_on_before_the_answer_and_a_longer_one_is_not() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(60))).await.unwrap();
    ann.network.plan(Kind::Renew, Fault::ReplyLate(secs(1)));
    let shorter = extend(&ann, &hold, secs(5));
    sleep(ms(10)).await;
    assert!(ann.remaining(&hold) < secs(5));
    assert!(shorter.await.unwrap().unwrap());
    ann.network.plan(Kind::Renew, Fault::ReplyLate(secs(1)));
    let longer = extend(&ann, &hold, secs(60));
    sleep(ms(10)).await;
    assert!(ann.remaining(&hold) < secs(5));
    assert!(longer.await.unwrap().unwrap());
    assert!(ann.remaining(&hold) > secs(58));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_the_lease_as_it_was() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(60))).await.unwrap();
    ann.network.plan(Kind::Renew, Fault::Refused { passing: true, carried_out: false });
    assert!(ann.extend(&hold, secs(1)).await.is_err());
    assert!(ann.remaining(&hold) > secs(59));
    ann.network.plan(Kind::Renew, Fault::Refused { passing: true, carried_out: true });
    assert!(ann.extend(&hold, secs(1)).await.is_err());
    assert!(ann.remaining(&hold) < world.lease_left("a"));
    assert!(world.lease_left("a") < secs(1));
}

#[tokio::test(start_paused = true)]
async fn of_two_leases_the_shorter_one_counts_where_an_answer_is_lost_and_the_longer_one_is_given_up() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(20))).await.unwrap();
    ann.network.plan(Kind::Renew, Fault::ReplyLost);
    assert!(ann.extend(&hold, secs(120)).await.unwrap_err().outcome_unknown());
    sleep(secs(11)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Expired)]);
    assert!(world.holder("a").is_some());
    assert!(!ann.unlock(&hold).await.unwrap());
    assert_eq!(world.holder("a"), None);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lock_is_not_brought_back() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", expires(secs(1))).await.unwrap();
    world.until("over", || !ann.holds(&hold)).await;
    assert!(!ann.extend(&hold, secs(60)).await.unwrap());
    assert_eq!(world.server().count(1, Kind::Renew), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_gone_is_lost_and_that_is_told() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    world.server().lose_everything();
    assert!(!ann.extend(&hold, secs(60)).await.unwrap());
    assert_eq!(ann.losses(), [(hold.token, LostReason::Purged)]);
}

#[tokio::test(start_paused = true)]
async fn an_extension_waits_for_the_renewal_that_is_under_way() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
    ann.network.plan(Kind::Renew, Fault::ReplyLate(ms(500)));
    world.until("renewed", || world.server().count(1, Kind::Renew) == 1).await;
    let extended = extend(&ann, &hold, secs(30));
    sleep(ms(400)).await;
    assert_eq!(world.server().count(1, Kind::Renew), 1);
    assert!(extended.await.unwrap().unwrap());
    assert!(ann.remaining(&hold) > secs(29));
    sleep(secs(60)).await;
    assert!(ann.holds(&hold));
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_nobody_waits_for_any_more_does_not_end_the_renewal() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(3))).await.unwrap();
    ann.network.plan(Kind::Renew, Fault::ReplyLate(ms(500)));
    assert!(timeout(ms(100), ann.extend(&hold, secs(3))).await.is_err());
    sleep(secs(30)).await;
    assert!(ann.holds(&hold));
    assert_eq!(ann.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_poll_that_was_sent_before_does_not_count_after_a_lease_was_set() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.start("a", waits_for(secs(1)));
    sleep(ms(999)).await;
    // The event brings the lock; the last poll, which is under way, has raised its lease.
    ben.network.plan(Kind::Poll, Fault::ReplyLate(ms(60)));
    assert!(ann.unlock(&hold).await.unwrap());
    let hold = call.await.unwrap().unwrap();
    assert!(ben.extend(&hold, secs(2)).await.unwrap());
    assert_eq!(world.server().count(2, Kind::Poll), 1);
    assert_eq!(ben.network.planned(), 0, "its answer is on the way");
    for _ in 0..100 {
        sleep(ms(10)).await;
        assert!(ben.remaining(&hold) < world.lease_left("a"));
    }
    assert!(ben.holds(&hold));
}

#[tokio::test(start_paused = true)]
async fn no_extension_reaches_beyond_the_longest_hold() {
    let world = World::new();
    let [ann] = world.peers().await;
    let longest = lock_inc_core::options::LockOptions { max_hold: Some(secs(10)), ..renewed(secs(3)) };
    let hold = ann.lock("a", longest).await.unwrap();
    assert!(ann.extend(&hold, secs(60)).await.unwrap());
    assert!(ann.remaining(&hold) < secs(10));
    sleep(secs(10)).await;
    assert_eq!(world.holder("a"), None);
    assert!(ann.lock("a", options()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_is_carried_out_late_shortens_nothing_that_was_given_later() {
    for renew in [false, true] {
        for fault in [Fault::CarriedOutAgain(ms(900)), Fault::RequestLate(secs(11))] {
            let world = World::new();
            let [ann] = world.peers().await;
            let options = if renew { renewed(secs(60)) } else { expires(secs(60)) };
            let hold = ann.lock("a", options).await.unwrap();
            ann.network.plan(Kind::Renew, fault);
            let in_time = ann.extend(&hold, secs(12)).await.is_ok();
            assert_eq!(in_time, matches!(fault, Fault::CarriedOutAgain(_)));
            if !renew {
                assert!(ann.extend(&hold, secs(60)).await.unwrap());
            }
            for _ in 0..10 {
                sleep(ms(500)).await;
                assert!(ann.remaining(&hold) < world.lease_left("a"), "{fault:?}, renewed: {renew}");
            }
            assert!(ann.remaining(&hold) > secs(6));
        }
    }
}
