use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use lock_inc_core::Nonces;

mod property;
mod several;

const CLOCK: Duration = Duration::from_secs(1_700_000_000);

static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| Identity { client: "c".into(), pid: 1, host: "h".into() });

fn claim(resource: &Resource, nonce: Nonce, lease: u64, moment: Moment, clock: Duration) -> Claim<'_> {
    let terms = Terms { lease: Duration::from_millis(lease), mode: Mode::Exclusive };
    let now = Now { moment, clock };
    Claim { resource, nonce, terms, identity: &IDENTITY, waits: false, steals: false, now }
}

fn new(nonces: &Nonces) -> Nonce {
    nonces.next(Mode::Exclusive, |_| false)
}

fn at(moment: Moment) -> Now {
    Now { moment, clock: CLOCK }
}

#[test]
fn contenders_are_counted_from_the_grant_on() {
    let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::at(Duration::from_secs(9)));
    let resource = Resource::new("a");
    let token = table.acquire(claim(&resource, new(&nonces), 100, now, CLOCK)).unwrap();
    for count in 2..5 {
        let refused = table.acquire(claim(&resource, new(&nonces), 100, now, CLOCK)).unwrap_err();
        let contention = refused.contention;
        assert_eq!(contention.count, count);
        assert_eq!(contention.holder.unwrap().token, Some(token));
        assert_eq!(contention.lease_left, Duration::from_millis(100));
    }
}

#[test]
fn tokens_increase_when_the_clock_steps_back_and_over_a_purge() {
    let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::at(Duration::from_secs(9)));
    let resource = Resource::new("a");
    let first = table.acquire(claim(&resource, new(&nonces), 100, now, CLOCK)).unwrap();
    table.purge(at(now));
    assert_eq!(table.take_events().len(), 1);
    let second = table.acquire(claim(&resource, new(&nonces), 100, now, CLOCK / 2)).unwrap();
    assert!(second > first);
}

#[test]
fn whoever_waits_has_a_turn_in_order_of_arrival_if_it_can_be_told() {
    let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::at(Duration::from_secs(9)));
    let resource = Resource::new("a");
    table.enter("c");
    let mut waiting = Vec::new();
    let gone = Identity { client: "gone".into(), ..IDENTITY.clone() };
    let first = new(&nonces);
    table.acquire(claim(&resource, first, 100, now, CLOCK)).unwrap();
    for (identity, place) in [(&*IDENTITY, 1), (&gone, 2), (&IDENTITY, 3)] {
        let nonce = new(&nonces);
        let wait = Claim { waits: true, identity, ..claim(&resource, nonce, 100, now, CLOCK) };
        let refused = table.acquire(wait).unwrap_err();
        assert_eq!(refused.contention.place, Some(place));
        // Sent again, it keeps its place.
        assert_eq!(table.acquire(wait).unwrap_err().ticket, refused.ticket);
        waiting.push(nonce);
    }
    table.expire_and_hand_over(resource.hash(), at(now));
    let waiters = table.inspect(resource.hash(), at(now)).unwrap().waiters;
    let clients: Vec<_> = waiters.iter().map(|waiter| &*waiter.identity.client).collect();
    assert_eq!(clients, ["c", "gone", "c"]);
    for (holder, next) in [(first, waiting[0]), (waiting[0], waiting[2])] {
        assert!(table.release(resource.hash(), holder, at(now)));
        let events = table.take_events();
        assert_eq!(events.len(), 1);
        let lease = Duration::from_millis(100);
        let token = table.token_of(resource.hash(), next).unwrap();
        let (hash, hand_over) = (resource.shared_hash(), HandOver { nonce: next, token, lease });
        let event = StoreEvent::Granted { hash, hand_over, since: Some(now) };
        assert_eq!(events, [Told { client: "c".into(), event }]);
    }
    assert!(table.release(resource.hash(), waiting[2], at(now)));
    table.expire_and_hand_over(resource.hash(), at(now));
    assert_eq!(table.inspect(resource.hash(), at(now)), None);
    assert!(table.held.is_empty() && table.queues.is_empty() && table.deadlines.first().is_none());
}

#[test]
fn whoever_has_waited_begins_with_a_short_lease_and_may_ask_for_the_rest() {
    let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::at(Duration::from_secs(9)));
    let resource = Resource::new("a");
    table.enter("c");
    let (first, second) = (new(&nonces), new(&nonces));
    table.acquire(claim(&resource, first, 60_000, now, CLOCK)).unwrap();
    table.acquire(Claim { waits: true, ..claim(&resource, second, 60_000, now, CLOCK) }).unwrap_err();
    assert!(table.release(resource.hash(), first, at(now)));
    let lease_left =
        |table: &LockTable| table.inspect(resource.hash(), at(now)).unwrap().holders[0].lease_left;
    assert_eq!(lease_left(&table), Duration::from_secs(5));
    table.renew(resource.hash(), second, LeaseChange::AtLeast(Duration::from_mins(1)), at(now));
    assert_eq!(lease_left(&table), Duration::from_mins(1));
}

/// Claims on the resource `a` at one moment.
struct Scene {
    table: LockTable,
    nonces: Nonces,
    resource: Resource,
    now: Moment,
}

const SHARED: Mode = Mode::Shared { limit: None };

impl Scene {
    fn new() -> Self {
        let mut table = LockTable::default();
        table.enter("c");
        let (nonces, resource) = (Nonces::new(7), Resource::new("a"));
        Self { table, nonces, resource, now: Moment::at(Duration::from_secs(9)) }
    }

    fn claim(
        &mut self,
        mode: Mode,
        lease: u64,
        waits: bool,
        steals: bool,
    ) -> (Nonce, Result<u64, Box<TurnedAway>>) {
        let nonce = self.nonces.next(mode, |_| false);
        let claim = claim(&self.resource, nonce, lease, self.now, CLOCK);
        let terms = Terms { mode, ..claim.terms };
        (nonce, self.table.acquire(Claim { terms, waits, steals, ..claim }))
    }

    fn take(&mut self, mode: Mode, lease: u64) -> Nonce {
        let (nonce, taken) = self.claim(mode, lease, false, false);
        taken.unwrap();
        nonce
    }

    fn refused(&mut self, mode: Mode) -> Contention {
        let (_, taken) = self.claim(mode, 100, false, false);
        taken.unwrap_err().contention
    }

    fn wait(&mut self, mode: Mode) -> Nonce {
        let (nonce, taken) = self.claim(mode, 100, true, false);
        taken.unwrap_err();
        nonce
    }

    fn release(&mut self, nonce: Nonce) -> bool {
        self.table.release(self.resource.hash(), nonce, at(self.now))
    }

    /// In the order in which it was granted to them.
    fn holders(&mut self) -> Vec<Nonce> {
        self.table.expire_and_hand_over(self.resource.hash(), at(self.now));
        let Some(holders) = self.table.held.get(self.resource.hash()) else { return Vec::new() };
        let mut held: Vec<_> = holders.by_nonce.values().map(|held| (held.token, held.nonce)).collect();
        held.sort_unstable();
        held.into_iter().map(|(_, nonce)| nonce).collect()
    }

    /// Who was told that it has the lock, and by which token.
    fn granted(&mut self) -> Vec<(Nonce, u64)> {
        let granted = |told: Told| match told.event {
            StoreEvent::Granted { hand_over, .. } => Some((hand_over.nonce, hand_over.token)),
            _ => None,
        };
        self.table.take_events().into_iter().filter_map(granted).collect()
    }

    /// Who was told that it has lost it, and whether to a thief.
    fn lost(&mut self) -> Vec<(Nonce, bool)> {
        let lost = |told: Told| match told.event {
            StoreEvent::Removed { nonce, token: Some(_), stolen, .. } => Some((nonce, stolen)),
            _ => None,
        };
        self.table.take_events().into_iter().filter_map(lost).collect()
    }
}

#[test]
fn those_who_share_a_lock_each_have_a_lease_of_their_own_and_give_up_their_own() {
    let mut scene = Scene::new();
    let [first, second, third] = [100, 300, 200].map(|lease| scene.take(SHARED, lease));
    assert_eq!(scene.holders(), [first, second, third]);
    assert_eq!(scene.refused(Mode::Exclusive).lease_left, Duration::from_millis(300));
    let longer = LeaseChange::AtLeast(Duration::from_millis(400));
    let (hash, now) = (scene.resource.shared_hash(), at(scene.now));
    assert_eq!(scene.table.renew(&hash, third, longer, now), Ownership::Held);
    scene.now = scene.now + Duration::from_millis(100);
    assert_eq!(scene.holders(), [second, third]);
    let now = at(scene.now);
    assert_eq!(scene.table.renew(&hash, first, longer, now), Ownership::Taken);
    assert!(!scene.release(first));
    assert!(scene.release(second));
    assert!(!scene.release(second));
    assert_eq!(scene.holders(), [third]);
    scene.now = scene.now + Duration::from_millis(300);
    assert_eq!(scene.holders(), []);
    let now = at(scene.now);
    assert_eq!(scene.table.renew(&hash, third, longer, now), Ownership::Gone);
    assert!(scene.table.held.is_empty() && scene.table.deadlines.first().is_none());
}

#[test]
fn who_sends_a_shared_attempt_again_gets_the_same_token_and_counts_once() {
    let mut scene = Scene::new();
    scene.take(SHARED, 100);
    let nonce = scene.take(Mode::shared(2), 100);
    let token = scene.table.token_of(scene.resource.hash(), nonce).unwrap();
    let again = claim(&scene.resource, nonce, 500, scene.now, CLOCK);
    let terms = Terms { mode: Mode::shared(2), ..again.terms };
    assert_eq!(scene.table.acquire(Claim { terms, ..again }), Ok(token));
    assert_eq!(scene.holders().len(), 2);
    assert_eq!(scene.refused(Mode::Exclusive).lease_left, Duration::from_millis(500));
}

#[test]
fn an_exclusive_waiter_lets_nobody_overtake_it_and_those_who_share_behind_it_enter_together() {
    let mut scene = Scene::new();
    let (first, second) = (scene.take(SHARED, 100), scene.take(SHARED, 100));
    let alone = scene.wait(Mode::Exclusive);
    scene.refused(SHARED);
    let together = [SHARED, Mode::shared(9), SHARED].map(|mode| scene.wait(mode));
    let last = scene.wait(Mode::Exclusive);
    let behind = scene.wait(SHARED);
    assert!(scene.release(first));
    assert_eq!(scene.holders(), [second]);
    assert!(scene.release(second));
    assert_eq!(scene.holders(), [alone]);
    assert_eq!(scene.granted().len(), 1);
    assert!(scene.release(alone));
    assert_eq!(scene.holders(), together);
    let (granted, tokens): (Vec<_>, Vec<_>) = scene.granted().into_iter().unzip();
    assert_eq!(granted, together);
    assert!(tokens.is_sorted_by(|first, second| first < second));
    for nonce in together {
        assert!(scene.holders().contains(&nonce));
        assert!(scene.release(nonce));
    }
    assert_eq!(scene.holders(), [last]);
    assert!(scene.release(last));
    assert_eq!(scene.holders(), [behind]);
}

#[test]
fn a_limit_is_that_of_the_one_that_comes_in_and_its_chance_comes_with_the_first_that_goes() {
    let mut scene = Scene::new();
    let (long, short) = (scene.take(Mode::shared(2), 300), scene.take(Mode::shared(2), 100));
    let contention = scene.refused(Mode::shared(2));
    assert_eq!(contention.lease_left, Duration::from_millis(100));
    assert_eq!(contention.holder.unwrap().nonce, short);
    assert_eq!(scene.refused(Mode::shared(1)).count, 3);
    let third = scene.take(Mode::shared(3), 300);
    let unlimited = scene.take(SHARED, 300);
    let (next, behind) = (scene.wait(Mode::shared(3)), scene.wait(SHARED));
    assert!(scene.release(long));
    assert_eq!(scene.holders(), [short, third, unlimited], "it would be the fourth, and nobody overtakes it");
    scene.now = scene.now + Duration::from_millis(100);
    assert_eq!(scene.holders(), [third, unlimited, next, behind]);
}

#[test]
fn who_leaves_the_queue_lets_those_in_who_may_share_the_lock_but_nobody_who_leaves_with_it() {
    let lease = Duration::from_millis(100);
    for way in 0..3 {
        let mut scene = Scene::new();
        let first = scene.take(SHARED, 200);
        let refused = scene.claim(Mode::Exclusive, 100, true, false);
        let (alone, ticket) = (refused.0, refused.1.unwrap_err().ticket.unwrap());
        let refused = scene.claim(SHARED, 100, true, false);
        let (second, second_ticket) = (refused.0, refused.1.unwrap_err().ticket.unwrap());
        let third = scene.wait(SHARED);
        let last = scene.wait(Mode::Exclusive);
        let alone = QueuedCall { nonce: alone, terms: Terms { lease, mode: Mode::Exclusive }, ticket };
        let second_call =
            QueuedCall { nonce: second, terms: Terms { lease, mode: SHARED }, ticket: second_ticket };
        let poll = |scene: &mut Scene, leaving: &[QueuedCall]| {
            let (resource, now) = (scene.resource.clone(), at(scene.now));
            scene.table.poll(&resource, leaving, true, &IDENTITY, now).1
        };
        let expected = match way {
            0 => {
                assert!(!scene.release(alone.nonce));
                vec![second, third]
            }
            1 => {
                assert_eq!(poll(&mut scene, &[alone]), [Some(1)]);
                vec![second, third]
            }
            _ => {
                assert_eq!(poll(&mut scene, &[alone, second_call]), [Some(1), Some(2)]);
                vec![third]
            }
        };
        let granted: Vec<_> = scene.granted().into_iter().map(|(nonce, _)| nonce).collect();
        assert_eq!(granted, expected);
        assert_eq!(scene.holders(), [vec![first], expected].concat());
        assert_eq!(scene.table.queues[scene.resource.hash()].place(last), Some(1));
    }
}

#[test]
fn a_thief_comes_before_those_who_wait_and_all_who_are_robbed_are_told() {
    let mut scene = Scene::new();
    let mut robbed = [scene.take(SHARED, 100), scene.take(SHARED, 100)];
    let waiting = scene.wait(Mode::Exclusive);
    let (thief, token) = scene.claim(Mode::Exclusive, 100, false, true);
    assert_eq!(scene.table.token_of(scene.resource.hash(), thief), token.clone().ok());
    assert_eq!(scene.holders(), [thief]);
    robbed.sort_unstable();
    assert_eq!(scene.lost(), robbed.map(|nonce| (nonce, true)));
    assert!(robbed.iter().all(|nonce| !scene.release(*nonce)));
    // Sent again it robs nobody, and itself least of all.
    let again = claim(&scene.resource, thief, 100, scene.now, CLOCK);
    assert_eq!(scene.table.acquire(Claim { steals: true, ..again }), token);
    assert_eq!(scene.lost(), []);
    assert!(scene.release(thief));
    assert_eq!(scene.holders(), [waiting]);
}

#[test]
fn a_removal_takes_the_lock_from_all_who_share_it_and_those_who_are_next_get_it() {
    let mut scene = Scene::new();
    let mut removed = [scene.take(SHARED, 100), scene.take(SHARED, 100)];
    let alone = scene.wait(Mode::Exclusive);
    let (hash, now) = (scene.resource.shared_hash(), at(scene.now));
    assert!(scene.table.remove(&hash, now));
    removed.sort_unstable();
    assert_eq!(scene.lost(), removed.map(|nonce| (nonce, false)));
    assert_eq!(scene.holders(), [alone]);
    scene.table.purge(now);
    assert_eq!(scene.lost(), [(alone, false)]);
    assert!(!scene.table.remove(&hash, now));
    assert!(scene.table.deadlines.first().is_none());
}

#[test]
fn an_inspection_names_all_who_hold_the_lock_and_all_who_wait_with_their_modes() {
    let mut scene = Scene::new();
    let holders = [(SHARED, 100), (Mode::shared(4), 200)].map(|(mode, lease)| scene.take(mode, lease));
    let modes = [Mode::Exclusive, Mode::shared(2), SHARED];
    for mode in modes {
        scene.wait(mode);
    }
    let found = scene.table.inspect(scene.resource.hash(), at(scene.now)).unwrap();
    assert_eq!(found.count, 4, "who comes beside another one is in nobody's way");
    let mut named: Vec<_> = found
        .holders
        .into_iter()
        .map(|Holding { holder, lease_left }| (holder.unwrap().nonce, lease_left.as_millis()))
        .collect();
    named.sort_by_key(|(_, left)| *left);
    assert_eq!(named, [(holders[0], 100), (holders[1], 200)]);
    assert_eq!(found.waiters.into_iter().map(|waiter| waiter.mode).collect::<Vec<_>>(), modes);
}
