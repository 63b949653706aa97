//! Waiting for a lock.

use lock_inc_core::{error::Error, options::LockOptions};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::simulation::{
    CALL, EventFault, Fault, World, expires, ms, secs,
    server::{GRACE, Kind},
    waits, waits_for,
};

/// The longest time until a lost event is made good, and a little.
const NEXT_POLL: std::time::Duration = ms(5010);

#[tokio::test(start_paused = true)]
async fn who_comes_first_is_served_first_whichever_locker_it_is_in() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let mut hold = ann.try_lock("a").await.unwrap();
    let mut holder = &ann;
    let mut calls = Vec::new();
    for peer in [&ben, &ann, &ann, &ben, &ben, &ann] {
        calls.push((peer, peer.queue(&world, "a").await));
    }
    for (peer, call) in calls {
        let before = world.now();
        assert!(holder.unlock(&hold).await.unwrap());
        hold = call.await.unwrap().unwrap();
        assert!(before.until(world.now()) < ms(5), "by an event, or by the answer to the unlock");
        assert_eq!(world.holder("a"), Some(hold.token));
        holder = peer;
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_expected_while_a_call_waits() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    assert!(!ben.network.is_expecting());
    let call = ben.queue(&world, "a").await;
    assert!(ben.network.is_expecting());
    ann.unlock(&hold).await.unwrap();
    call.await.unwrap().unwrap();
    assert!(!ben.network.is_expecting());
}

#[tokio::test(start_paused = true)]
async fn a_poll_finds_that_the_holder_has_died() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let died = ann.lock("a", expires(secs(3))).await.unwrap();
    let before = world.now();
    let hold = ben.queue(&world, "a").await.await.unwrap().unwrap();
    assert!(hold.token > died.token);
    assert!(before.until(world.now()) < secs(3) + ms(350));
}

#[tokio::test(start_paused = true)]
async fn a_poll_makes_a_lost_event_good() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    sleep(secs(20)).await;
    ben.network.plan_event(EventFault::Lost);
    ann.unlock(&hold).await.unwrap();
    let before = world.now();
    let hold = call.await.unwrap().unwrap();
    assert!(before.until(world.now()) < NEXT_POLL);
    assert!(ben.remaining(&hold) > secs(50), "the poll has brought the whole lease");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_twice_changes_nothing() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    ben.network.plan_event(EventFault::Twice(secs(3)));
    ann.unlock(&hold).await.unwrap();
    let hold = call.await.unwrap().unwrap();
    sleep(secs(4)).await;
    assert!(ben.remaining(&hold) > secs(50));
    assert_eq!(world.holder("a"), Some(hold.token));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_again_after_the_unlock_takes_nothing_from_the_next_holder() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    ben.network.plan_event(EventFault::Twice(secs(3)));
    ann.unlock(&hold).await.unwrap();
    let hold = call.await.unwrap().unwrap();
    assert!(ben.unlock(&hold).await.unwrap());
    let next = ben.try_lock("a").await.unwrap();
    sleep(secs(4)).await;
    assert_eq!(world.holder("a"), Some(next.token));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_leaves_the_queue_and_the_others_keep_their_places() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let cancel = CancellationToken::new();
    let cancelled = tokio::spawn(ben.lock_until("a", waits(), Some(cancel.clone())));
    sleep(ms(5)).await;
    let next = ann.queue(&world, "a").await;
    cancel.cancel();
    assert!(matches!(cancelled.await.unwrap(), Err(Error::Cancelled)));
    sleep(ms(5)).await;
    assert_eq!(world.waiting("a"), 1);
    ann.unlock(&hold).await.unwrap();
    assert!(next.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_grant_to_a_call_that_was_cancelled_goes_to_the_next() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let cancel = CancellationToken::new();
    let cancelled = tokio::spawn(ben.lock_until("a", waits(), Some(cancel.clone())));
    sleep(ms(5)).await;
    let next = ann.queue(&world, "a").await;
    // What would take it out of the queue is lost: only the event is left to tell.
    ben.network.plan(Kind::Release, Fault::RequestLost);
    ben.network.plan_event(EventFault::Late(ms(50)));
    ann.unlock(&hold).await.unwrap();
    cancel.cancel();
    let before = world.now();
    assert!(next.await.unwrap().is_ok());
    assert!(before.until(world.now()) < ms(60));
    assert!(cancelled.await.unwrap().is_err());
    assert_eq!(ben.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_is_over_says_who_is_in_the_way_and_leaves_the_queue() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let _first = ben.queue(&world, "a").await;
    let before = world.now();
    let Err(Error::Locked(contention)) = ben.lock("a", waits_for(secs(2))).await else { panic!("granted") };
    assert_eq!(contention.holder.unwrap().token, Some(hold.token));
    assert_eq!(contention.place, Some(2));
    assert!(before.until(world.now()) < secs(2) + ms(10));
    assert_eq!(world.waiting("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_last_poll_finds_that_the_lock_has_come() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.start("a", waits_for(secs(2)));
    sleep(secs(1)).await;
    ben.network.plan_event(EventFault::Lost);
    ann.unlock(&hold).await.unwrap();
    let hold = call.await.unwrap().unwrap();
    assert_eq!(world.holder("a"), Some(hold.token));
}

#[tokio::test(start_paused = true)]
async fn a_last_poll_without_an_answer_leaves_no_trace() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.start("a", waits_for(secs(2)));
    sleep(secs(1)).await;
    ben.network.plan(Kind::Poll, Fault::ReplyLost);
    ben.network.plan_event(EventFault::Lost);
    ann.unlock(&hold).await.unwrap();
    let before = world.now();
    assert!(call.await.unwrap().is_err());
    assert!(before.until(world.now()) < secs(1) + ms(550));
    sleep(ms(10)).await;
    assert!(world.server().is_empty(world.now()));
}

#[tokio::test(start_paused = true)]
async fn a_turn_may_come_before_the_answer_that_says_the_call_is_in_the_queue() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    ben.network.plan(Kind::Acquire, Fault::ReplyLate(secs(6)));
    let call = ben.queue(&world, "a").await;
    ann.unlock(&hold).await.unwrap();
    let before = world.now();
    let hold = call.await.unwrap().unwrap();
    // Of an event alone nobody knows how old it is: the clock of the server is not known yet.
    assert!(before.until(world.now()) < secs(6) + ms(10));
    assert!(ben.holds(&hold));
}

#[tokio::test(start_paused = true)]
async fn joining_is_tried_again_where_the_server_refuses_for_a_while() {
    let world = World::new();
    let [ann] = world.peers().await;
    for _ in 0..3 {
        ann.network.plan(Kind::Acquire, Fault::Refused { passing: true, carried_out: false });
    }
    let before = world.now();
    assert!(ann.lock("a", waits()).await.is_ok());
    assert!(before.until(world.now()) < ms(650));
}

#[tokio::test(start_paused = true)]
async fn calls_that_give_up_together_ask_together_and_each_learns_its_own_place() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let _hold = ann.try_lock("a").await.unwrap();
    let calls: Vec<_> = (0..600).map(|_| ben.start("a", waits_for(secs(2)))).collect();
    let mut places = Vec::new();
    for call in calls {
        let Err(Error::Locked(contention)) = call.await.unwrap() else { panic!("granted, or not refused") };
        places.extend(contention.place);
    }
    places.sort_unstable();
    // The second poll finds those of the first one gone.
    let mut expected: Vec<_> = (1..=512).chain(1..=88).collect();
    expected.sort_unstable();
    assert_eq!(places, expected);
    assert_eq!(world.server().count(2, Kind::Poll), 2);
    assert_eq!(world.waiting("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_that_give_up_together_and_get_no_answer_each_end_within_their_own_time() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let _hold = ann.try_lock("a").await.unwrap();
    let patient = ben.start("a", waits_for(secs(3)));
    sleep(ms(2600)).await;
    let hasty = ben.start("a", waits_for(ms(400)));
    sleep(ms(300)).await;
    ben.network.disconnect();
    let start = world.now();
    // As long again as they were given, half a second at the most.
    assert!(matches!(hasty.await.unwrap(), Err(Error::Unavailable(_))));
    let hasty = start.until(world.now());
    assert!(hasty > ms(490) && hasty < ms(550), "{hasty:?}");
    assert!(matches!(patient.await.unwrap(), Err(Error::Unavailable(_))));
    let patient = start.until(world.now());
    assert!(patient > ms(590) && patient < ms(650), "{patient:?}");
}

#[tokio::test(start_paused = true)]
async fn a_final_refusal_ends_the_waiting_of_all() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let _hold = ann.try_lock("a").await.unwrap();
    let calls = [ben.queue(&world, "a").await, ben.queue(&world, "a").await];
    ben.network.plan(Kind::Poll, Fault::Refused { passing: false, carried_out: false });
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(Error::Refused(_))));
    }
    sleep(ms(10)).await;
    assert_eq!(world.waiting("a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_passing_refusal_of_a_poll_is_tried_again() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    ben.network.plan(Kind::Poll, Fault::Refused { passing: true, carried_out: false });
    ben.network.plan_event(EventFault::Lost);
    ann.unlock(&hold).await.unwrap();
    let before = world.now();
    assert!(call.await.unwrap().is_ok());
    assert!(before.until(world.now()) < GRACE + ms(250));
}

#[tokio::test(start_paused = true)]
async fn all_come_back_in_order_where_the_server_has_lost_its_queue() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let mut hold = ann.try_lock("a").await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(ben.queue(&world, "a").await);
    }
    world.server().lose_queue();
    world.until("back", || world.waiting("a") == 3).await;
    let mut holder = &ann;
    for call in calls {
        holder.unlock(&hold).await.unwrap();
        hold = call.await.unwrap().unwrap();
        holder = &ben;
    }
}

/// What goes wrong with the poll that brings the calls back, of which there are so many.
async fn all_come_back(waiting: usize, fault: Fault) {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let _hold = ann.try_lock("a").await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..waiting {
        calls.push(ben.queue(&world, "a").await);
    }
    world.server().lose_queue();
    // The first poll is about the first one only, and shows what has happened.
    ben.network.plan(Kind::Poll, Fault::ReplyLate(ms(0)));
    ben.network.plan(Kind::Poll, fault);
    world.until("asked about", || world.waiting("a") > 0).await;
    let before = world.now();
    world.until("all are back", || world.waiting("a") == waiting).await;
    assert!(before.until(world.now()) < secs(11), "{waiting}, {fault:?}");
}

#[tokio::test(start_paused = true)]
async fn all_come_back_also_where_the_poll_that_brings_them_back_fails() {
    for waiting in [2, 3, 300] {
        all_come_back(waiting, Fault::Refused { passing: true, carried_out: false }).await;
        all_come_back(waiting, Fault::RequestLost).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_told_to_wait_when_it_is_in_the_queue_and_who_is_in_the_way() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.lock("a", waits()).await.unwrap();
    assert_eq!(ann.waits_told(), [], "it was free");
    let call = ben.queue(&world, "a").await;
    assert_eq!(ben.waits_told(), [(CALL, "a".to_owned(), Some(hold.token))]);
    ann.unlock(&hold).await.unwrap();
    call.await.unwrap().unwrap();
    assert_eq!(ben.waits_told().len(), 1);
    assert_eq!(ann.waits_told(), []);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_knows_by_a_number_is_not_told_to_wait() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    ann.try_lock("a").await.unwrap();
    ben.queue_with(&world, "a", LockOptions { call: None, ..waits() }).await;
    assert_eq!(ben.waits_told(), []);
}
