//! How a lock goes from its holder to a call that waits.

use lock_inc_core::{Resource, locker::LostReason, options::LockOptions};
use tokio::time::sleep;

use crate::simulation::{
    EventFault, Fault, World, ms, options, secs,
    server::{GRACE, Kind},
    waits, waits_for,
};

#[tokio::test(start_paused = true)]
async fn the_first_lease_is_short_and_the_rest_of_it_follows() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    ann.unlock(&hold).await.unwrap();
    let hold = call.await.unwrap().unwrap();
    assert!(ben.remaining(&hold) < GRACE);
    sleep(GRACE / 2).await;
    assert!(ben.remaining(&hold) > secs(50));
    assert!(ben.remaining(&hold) < world.lease_left("a"));
    // It is not renewed: sixty seconds in all.
    world.until("over", || !ben.holds(&hold)).await;
    assert!(world.lease_left("a") < secs(2));
    assert_eq!(world.server().count(2, Kind::Renew), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_counts_from_the_grant_however_late_the_event_comes() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    ben.network.plan_event(EventFault::Late(secs(3)));
    ann.unlock(&hold).await.unwrap();
    let hold = call.await.unwrap().unwrap();
    assert!(ben.remaining(&hold) > secs(1));
    assert!(ben.remaining(&hold) < world.lease_left("a"));
    assert!(world.lease_left("a") <= secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_has_ended_when_it_is_heard_of_is_not_relied_on() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    ben.network.plan_event(EventFault::Late(ms(100)));
    ann.unlock(&hold).await.unwrap();
    let told = world.holder("a").unwrap();
    world.sleep_of_the_machine(secs(10));
    let hold = call.await.unwrap().unwrap();
    assert!(hold.token > told);
    assert!(ben.holds(&hold));
    assert_eq!(world.holder("a"), Some(hold.token));
    assert_eq!(ben.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn whoever_had_no_connection_at_its_turn_takes_its_old_place_again_on_reconnecting() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let first = ben.queue(&world, "a").await;
    let second = ann.queue(&world, "a").await;
    // The turn of the first passes unheard, and the second has the lock.
    ben.network.disconnect();
    ann.unlock(&hold).await.unwrap();
    let hold = second.await.unwrap().unwrap();
    let third = ann.queue(&world, "a").await;
    ben.network.connect();
    sleep(ms(10)).await;
    let before = world.now();
    ann.unlock(&hold).await.unwrap();
    let hold = first.await.unwrap().unwrap();
    ben.unlock(&hold).await.unwrap();
    assert!(third.await.unwrap().is_ok());
    assert!(before.until(world.now()) < ms(20));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_which_the_date_is_unknown_is_asked_about() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    ben.network.disconnect();
    // What the new connection would be told of the server's clock is late.
    ben.network.plan(Kind::Poll, Fault::ReplyLate(ms(100)));
    ben.network.connect();
    sleep(ms(20)).await;
    ann.unlock(&hold).await.unwrap();
    let before = world.now();
    let hold = call.await.unwrap().unwrap();
    assert!(before.until(world.now()) < ms(110));
    assert!(ben.remaining(&hold) > secs(50), "a poll has told");
}

/// Both for the resource `a`, and in one locker: a holder, and a call that waits and asks for the last time 1 ms after
/// the holder's unlock has left.
#[tokio::test(start_paused = true)]
async fn an_answer_to_an_unlock_does_not_shorten_what_a_later_poll_has_raised() {
    let world = World::new();
    let [ann] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ann.start("a", waits_for(secs(1)));
    sleep(ms(999)).await;
    ann.network.plan(Kind::Release, Fault::ReplyLate(ms(50)));
    assert!(ann.unlock(&hold).await.unwrap());
    let hold = call.await.unwrap().unwrap();
    sleep(ms(100)).await;
    assert!(ann.remaining(&hold) > secs(50));
    sleep(secs(30)).await;
    assert!(ann.holds(&hold));
    assert_eq!(ann.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_to_a_poll_does_not_release_what_was_granted_since() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.start("a", LockOptions { expire: secs(3), ..waits_for(secs(9)) });
    sleep(ms(3500)).await;
    // Of a first grant nobody hears but a poll, and of that too late.
    ben.network.plan_event(EventFault::Lost);
    ben.network.plan(Kind::Poll, Fault::ReplyLate(ms(5500)));
    ann.unlock(&hold).await.unwrap();
    let first = world.holder("a").unwrap();
    // The last poll brings a second one.
    let hold = call.await.unwrap().unwrap();
    assert!(hold.token > first);
    assert_eq!(world.holder("a"), Some(hold.token));
    sleep(ms(1800)).await;
    assert!(ben.holds(&hold));
    assert_eq!(world.holder("a"), Some(hold.token));
    assert_eq!(world.server().count(2, Kind::Release), 0);
}

#[tokio::test(start_paused = true)]
async fn a_later_lock_of_the_same_attempt_is_given_back_and_the_earlier_one_is_lost() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    // Carried out again when the lock has been granted and taken away, it puts the attempt into the queue once more.
    ben.network.plan(Kind::Acquire, Fault::CarriedOutAgain(secs(1)));
    let call = ben.queue(&world, "a").await;
    ann.unlock(&hold).await.unwrap();
    let first = call.await.unwrap().unwrap();
    world.server().lose_everything();
    let hold = ann.try_lock("a").await.unwrap();
    world.until("in the queue again", || world.waiting("a") == 1).await;
    assert!(ben.holds(&first), "nobody has told");
    ann.unlock(&hold).await.unwrap();
    assert!(world.holder("a").is_some_and(|later| later > first.token));
    sleep(ms(10)).await;
    assert_eq!(ben.losses(), [(first.token, LostReason::Purged)]);
    assert!(!ben.holds(&first));
    assert_eq!(world.holder("a"), None);
    assert!(!ben.unlock(&first).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_lost_before_the_call_has_a_turn_is_tried_for_again() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    let force = cat.locker.clone().force_unlock(Resource::new("a"));
    let (unlocked, forced) = tokio::join!(ann.unlock(&hold), force);
    assert!(unlocked.unwrap() && forced.unwrap());
    let hold = call.await.unwrap().unwrap();
    assert_eq!(world.server().grants().iter().filter(|client| **client == 2).count(), 2);
    assert!(ben.holds(&hold));
    assert_eq!(world.holder("a"), Some(hold.token));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_and_is_granted_late_asks_again_and_is_let_in_with_a_lease() {
    let world = World::new();
    let [ann] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::ReplyLate(secs(2)));
    let hold = ann.lock("a", LockOptions { expire: secs(1), ..waits() }).await.unwrap();
    assert!(ann.holds(&hold));
    assert_eq!(ann.losses(), []);
    assert!(ann.unlock(&hold).await.unwrap());
    assert!(ann.lock("a", options()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn whoever_lets_a_short_first_lease_end_keeps_the_places_of_its_other_calls() {
    let world = World::new();
    let [ann, ben, eve] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let short = LockOptions { expire: secs(2), ..waits() };
    let (first, second) = (ben.start("a", short), ben.start("a", waits()));
    world.until("in the queue", || world.waiting("a") == 2).await;
    let behind = eve.queue(&world, "a").await;
    assert!(ann.unlock(&hold).await.unwrap());
    let first = first.await.unwrap().unwrap();
    sleep(ms(2001)).await;
    assert!(ben.has_lost(&first));
    // Whoever asks first at the end of the lease has it handed over.
    assert!(ann.try_lock("a").await.is_err());
    let second = second.await.unwrap().unwrap();
    assert!(ben.unlock(&second).await.unwrap());
    behind.await.unwrap().unwrap();
    assert_eq!(world.server().grants(), [1, 2, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_short_first_lease_is_not_asked_about_if_nobody_else_waits_here_or_the_lock_was_free() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.start("a", LockOptions { expire: secs(2), ..waits() });
    world.until("in the queue", || world.waiting("a") == 1).await;
    assert!(ann.unlock(&hold).await.unwrap());
    let hold = call.await.unwrap().unwrap();
    let free = ben.lock("b", LockOptions { expire: secs(2), ..waits() }).await.unwrap();
    world.until("over", || !ben.holds(&hold) && !ben.holds(&free)).await;
    assert_eq!(world.server().count(2, Kind::Renew), 0);
}
