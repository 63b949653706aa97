//! Taking a lock from those who hold it.

use lock_inc_core::{Mode, error::Error, locker::LostReason, options::LockOptions};
use tokio::time::sleep;

use crate::simulation::{EventFault, Fault, World, expires, ms, options, renewed, secs, server::Kind};

fn steals() -> LockOptions {
    LockOptions { steal: true, ..options() }
}

fn shared(options: LockOptions) -> LockOptions {
    LockOptions { mode: Mode::shared(0), ..options }
}

#[tokio::test(start_paused = true)]
async fn all_who_are_robbed_are_told_and_those_who_wait_go_on_waiting() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let first = ann.lock("a", shared(renewed(secs(3)))).await.unwrap();
    let second = ben.lock("a", shared(options())).await.unwrap();
    sleep(secs(2)).await;
    let waiting = ann.queue(&world, "a").await;
    let before = world.now();
    let stolen = cat.lock("a", steals()).await.unwrap();
    sleep(ms(10)).await;
    assert!(before.until(world.now()) < ms(20));
    assert!(stolen.token > second.token);
    assert_eq!(ann.losses(), [(first.token, LostReason::Stolen)]);
    assert_eq!(ben.losses(), [(second.token, LostReason::Stolen)]);
    assert!(!ann.holds(&first) && !ben.holds(&second) && cat.holds(&stolen));
    assert!(!ann.unlock(&first).await.unwrap());
    sleep(secs(20)).await;
    assert!(!waiting.is_finished());
    assert_eq!(world.holder("a"), Some(stolen.token));
    assert!(cat.unlock(&stolen).await.unwrap());
    let next = waiting.await.unwrap().unwrap();
    assert_eq!(world.holder("a"), Some(next.token));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_holds_is_taken_without_a_loss_and_a_locker_may_rob_itself() {
    let world = World::new();
    let [ann] = world.peers().await;
    let first = ann.lock("a", steals()).await.unwrap();
    assert_eq!(ann.losses(), []);
    let second = ann.lock("a", steals()).await.unwrap();
    sleep(ms(10)).await;
    assert_eq!(ann.losses(), [(first.token, LostReason::Stolen)]);
    assert!(ann.holds(&second));
    assert_eq!(world.holder("a"), Some(second.token));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_without_a_token_asks_and_says_stolen_also_where_the_thief_has_gone() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    ann.network.plan(Kind::Renew, Fault::RequestLate(ms(50)));
    let stolen = ben.lock("a", steals()).await.unwrap();
    sleep(ms(10)).await;
    assert!(ann.holds(&hold), "it is not sure yet");
    assert!(ben.unlock(&stolen).await.unwrap());
    assert_eq!(world.holder("a"), None);
    world.until("told", || ann.has_lost(&hold)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Stolen)]);
    assert_eq!(world.server().count(1, Kind::Renew), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_with_a_token_need_not_ask() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    ann.network.introduce_after(ms(100));
    let hold = ann.try_lock("a").await.unwrap();
    sleep(ms(200)).await;
    assert_eq!(world.server().count(1, Kind::Renew), 1);
    ann.network.plan(Kind::Renew, Fault::RequestLost);
    ben.lock("a", steals()).await.unwrap();
    sleep(ms(5)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Stolen)]);
    assert_eq!(world.server().count(1, Kind::Renew), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_robbed_before_its_grant_is_there_is_refused() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    ann.network.plan(Kind::Acquire, Fault::ReplyLate(ms(100)));
    let call = ann.start("a", options());
    sleep(ms(20)).await;
    let stolen = ben.lock("a", steals()).await.unwrap();
    let Err(Error::Locked(contention)) = call.await.unwrap() else { panic!("not refused") };
    assert_eq!(contention.holder.unwrap().token, Some(stolen.token));
    assert_eq!(ann.losses(), [], "it never had it");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_robbed_before_it_hears_of_its_turn_waits_for_the_next_one() {
    let world = World::new();
    let [ann, ben, cat] = world.peers().await;
    let hold = ann.try_lock("a").await.unwrap();
    let call = ben.queue(&world, "a").await;
    ben.network.plan_event(EventFault::Late(ms(100)));
    assert!(ann.unlock(&hold).await.unwrap());
    let robbed = world.holder("a").unwrap();
    let stolen = cat.lock("a", steals()).await.unwrap();
    let behind = ann.queue(&world, "a").await;
    sleep(ms(200)).await;
    assert!(!call.is_finished());
    assert_eq!(world.waiting("a"), 2);
    assert!(cat.unlock(&stolen).await.unwrap());
    let hold = call.await.unwrap().unwrap();
    assert!(hold.token > robbed && ben.holds(&hold));
    assert!(!behind.is_finished(), "it has come back to its place");
    assert_eq!(ben.losses(), []);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_robbed_and_not_told_learns_it_at_its_next_renewal() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.lock("a", renewed(secs(9))).await.unwrap();
    ann.network.plan_event(EventFault::Lost);
    let stolen = ben.lock("a", steals()).await.unwrap();
    sleep(secs(4)).await;
    assert_eq!(ann.losses(), [(hold.token, LostReason::Stolen)]);
    assert_eq!(world.holder("a"), Some(stolen.token));
}

#[tokio::test(start_paused = true)]
async fn a_steal_without_an_answer_is_found_done_when_it_is_sent_again_and_given_back_when_it_is_given_up() {
    let world = World::new();
    let [ann, ben] = world.peers().await;
    let hold = ann.lock("a", expires(secs(60))).await.unwrap();
    ben.network.plan(Kind::Acquire, Fault::ReplyLost);
    let stealing = ben.start("a", steals());
    sleep(ms(20)).await;
    assert!(ann.has_lost(&hold));
    // It is sent again over the next connection, and finds that it was done.
    let stolen = world.holder("a").unwrap();
    ben.network.disconnect();
    ben.network.connect();
    let hold = stealing.await.unwrap().unwrap();
    assert_eq!(hold.token, stolen);
    assert!(ben.unlock(&hold).await.unwrap());
    // And of one that is given up nothing is left.
    ben.network.plan(Kind::Acquire, Fault::ReplyLost);
    assert!(ben.lock("a", steals()).await.is_err());
    world.until("given back", || world.holder("a").is_none()).await;
}
