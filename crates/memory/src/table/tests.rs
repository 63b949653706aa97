use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use lock_inc_core::Nonces;

const CLOCK: Duration = Duration::from_secs(1_700_000_000);

static IDENTITY: LazyLock<Identity> =
    LazyLock::new(|| Identity { client: "c".into(), pid: 1, host: "h".into() });

fn claim(resource: &Resource, nonce: Nonce, lease: u64, moment: Moment, clock: Duration) -> Claim<'_> {
    let lease = Duration::from_millis(lease);
    Claim { resource, nonce, lease, identity: &IDENTITY, waits: false, now: Now { moment, clock } }
}

fn at(moment: Moment) -> Now {
    Now { moment, clock: CLOCK }
}

#[test]
fn contenders_are_counted_from_the_grant_on() {
    let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::at(Duration::from_secs(9)));
    let resource = Resource::new("a");
    let token = table.acquire(claim(&resource, nonces.next(|_| false), 100, now, CLOCK)).unwrap();
    for count in 2..5 {
        let refused = table.acquire(claim(&resource, nonces.next(|_| false), 100, now, CLOCK)).unwrap_err();
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
    let first = table.acquire(claim(&resource, nonces.next(|_| false), 100, now, CLOCK)).unwrap();
    table.purge(at(now));
    assert_eq!(table.take_events().len(), 1);
    let second = table.acquire(claim(&resource, nonces.next(|_| false), 100, now, CLOCK / 2)).unwrap();
    assert!(second > first);
}

#[test]
fn whoever_waits_has_a_turn_in_order_of_arrival_if_it_can_be_told() {
    let (mut table, nonces, now) = (LockTable::default(), Nonces::new(7), Moment::at(Duration::from_secs(9)));
    let resource = Resource::new("a");
    table.enter("c");
    let mut waiting = Vec::new();
    let gone = Identity { client: "gone".into(), ..IDENTITY.clone() };
    let first = nonces.next(|_| false);
    table.acquire(claim(&resource, first, 100, now, CLOCK)).unwrap();
    for (identity, place) in [(&*IDENTITY, 1), (&gone, 2), (&IDENTITY, 3)] {
        let nonce = nonces.next(|_| false);
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
        let event = StoreEvent::Granted { hash, hand_over, at: now.since_start() };
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
    let (first, second) = (nonces.next(|_| false), nonces.next(|_| false));
    table.acquire(claim(&resource, first, 60_000, now, CLOCK)).unwrap();
    table.acquire(Claim { waits: true, ..claim(&resource, second, 60_000, now, CLOCK) }).unwrap_err();
    assert!(table.release(resource.hash(), first, at(now)));
    let lease_left =
        |table: &LockTable| table.inspect(resource.hash(), at(now)).unwrap().holding.unwrap().lease_left;
    assert_eq!(lease_left(&table), Duration::from_secs(5));
    table.renew(resource.hash(), second, LeaseChange::AtLeast(Duration::from_mins(1)), at(now));
    assert_eq!(lease_left(&table), Duration::from_mins(1));
}

#[derive(Clone, Debug)]
enum Step {
    Acquire {
        resource: usize,
        lease: u64,
        waits: bool,
    },
    Again {
        attempt: usize,
    },
    /// Also cancels an attempt that waits.
    Release {
        attempt: usize,
    },
    Renew {
        attempt: usize,
        change: LeaseChange,
    },
    Poll {
        attempt: usize,
        last: bool,
    },
    Wait(u64),
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0usize..3, 1u64..50, any::<bool>())
            .prop_map(|(resource, lease, waits)| Step::Acquire { resource, lease, waits }),
        1 => (0usize..20).prop_map(|attempt| Step::Again { attempt }),
        3 => (0usize..20).prop_map(|attempt| Step::Release { attempt }),
        1 => (0usize..20, any::<bool>()).prop_map(|(attempt, last)| Step::Poll { attempt, last }),
        2 => (0usize..20, 1u64..50, any::<bool>()).prop_map(|(attempt, lease, set)| {
            let lease = Duration::from_millis(lease);
            let change = if set { LeaseChange::Exactly(lease) } else { LeaseChange::AtLeast(lease) };
            Step::Renew { attempt, change }
        }),
        2 => (0u64..30).prop_map(Step::Wait),
        1 => Just(Step::Purge),
    ]
}

/// What the model knows of an attempt.
#[derive(Clone, Copy)]
struct Tried {
    resource: usize,
    nonce: Nonce,
    lease: Duration,
    waits: bool,
    ticket: Option<u64>,
}

#[derive(Default)]
struct Model {
    /// The attempt that holds the resource, and until when.
    grant: Option<(usize, Moment)>,
    queue: Vec<usize>,
}

impl Model {
    fn expire_and_hand_over(&mut self, tried: &[Tried], now: Moment) {
        if self.grant.is_some_and(|(_, until)| until <= now) {
            self.grant = None;
        }
        if self.grant.is_none() && !self.queue.is_empty() {
            let next = self.queue.remove(0);
            self.grant = Some((next, now + tried[next].lease));
        }
    }

    fn holds(&self, attempt: usize) -> bool {
        self.grant.is_some_and(|(holder, _)| holder == attempt)
    }
}

proptest! {
    /// Against a model that knows whose turn it is: one holder at a time, whose nonce alone can release it or see
    /// its token again; whoever waits has a turn in order of arrival; and tokens only grow.
    #[test]
    fn one_holder_at_a_time_in_order_of_arrival_and_growing_tokens(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let (mut table, nonces) = (LockTable::default(), Nonces::new(3));
        table.enter("c");
        let mut now = Moment::at(Duration::from_secs(9));
        let resources = ["a", "b", "c"].map(Resource::new);
        let mut tried: Vec<Tried> = Vec::new();
        let mut models: [Model; 3] = Default::default();
        let mut last_token = [0; 3];
        for step in steps {
            for (model, resource) in models.iter_mut().zip(&resources) {
                model.expire_and_hand_over(&tried, now);
                table.expire_and_hand_over(resource.hash(), at(now));
            }
            match step {
                Step::Wait(ms) => now = now + Duration::from_millis(ms),
                Step::Purge => {
                    table.purge(at(now));
                    for model in models.iter_mut().filter(|model| model.grant.is_some()) {
                        model.grant = None;
                        model.expire_and_hand_over(&tried, now);
                    }
                }
                Step::Release { attempt } => {
                    let Some(&Tried { resource, nonce, .. }) = tried.get(attempt) else { continue };
                    let model = &mut models[resource];
                    let mine = model.holds(attempt);
                    prop_assert_eq!(table.release(resources[resource].hash(), nonce, at(now)), mine);
                    model.queue.retain(|waiting| *waiting != attempt);
                    if mine {
                        model.grant = None;
                        model.expire_and_hand_over(&tried, now);
                    }
                }
                Step::Renew { attempt, change } => {
                    let Some(&Tried { resource, nonce, .. }) = tried.get(attempt) else { continue };
                    let standing = table.renew(resources[resource].hash(), nonce, change, at(now));
                    prop_assert_eq!(standing, match &mut models[resource].grant {
                        Some((holder, until)) if *holder == attempt => {
                            *until = match change {
                                LeaseChange::Exactly(lease) => now + lease,
                                LeaseChange::AtLeast(lease) => (*until).max(now + lease),
                                LeaseChange::Check => *until,
                            };
                            Ownership::Held
                        }
                        Some(_) => Ownership::Taken,
                        None => Ownership::Gone,
                    });
                }
                Step::Poll { attempt, last } => {
                    let Some(&Tried { resource, nonce, lease, ticket: Some(ticket), .. }) = tried.get(attempt)
                    else { continue };
                    let model = &mut models[resource];
                    // One that has been given up comes back with its poll, to its old place.
                    if !model.holds(attempt) && !model.queue.contains(&attempt) {
                        model.queue.push(attempt);
                        model.queue.sort_by_key(|waiting| tried[*waiting].ticket);
                    }
                    model.expire_and_hand_over(&tried, now);
                    let place = model.queue.iter().position(|waiting| *waiting == attempt);
                    if last {
                        model.queue.retain(|waiting| *waiting != attempt);
                    }
                    let waiting = [QueuedCall { nonce, lease, ticket }];
                    let (found, places) = table.poll(&resources[resource], &waiting, last, &IDENTITY, at(now));
                    prop_assert_eq!(found.is_some(), model.grant.is_some());
                    let place = last.then_some(place.map(|place| place as u64 + 1));
                    prop_assert_eq!(places, Vec::from_iter(place));
                }
                Step::Acquire { .. } | Step::Again { .. } => {
                    let attempt = match step {
                        Step::Again { attempt } if attempt < tried.len() => attempt,
                        Step::Acquire { resource, lease, waits } => {
                            let lease = Duration::from_millis(lease);
                            tried.push(Tried { resource, nonce: nonces.next(|_| false), lease, waits, ticket: None });
                            tried.len() - 1
                        }
                        _ => continue,
                    };
                    let Tried { resource, nonce, lease, waits, .. } = tried[attempt];
                    let claim = Claim {
                        resource: &resources[resource], nonce, lease, identity: &IDENTITY, waits, now: at(now),
                    };
                    let model = &mut models[resource];
                    match (table.acquire(claim), model.grant) {
                        (Ok(_), Some((holder, until))) => {
                            prop_assert_eq!(holder, attempt);
                            model.grant = Some((holder, until.max(now + lease)));
                        }
                        (Ok(_), None) => model.grant = Some((attempt, now + lease)),
                        (Err(refused), Some((holder, until))) => {
                            prop_assert_ne!(holder, attempt);
                            prop_assert_eq!(refused.contention.lease_left, now.until(until));
                            prop_assert_eq!(refused.ticket.is_some(), waits);
                            if waits && !model.queue.contains(&attempt) {
                                model.queue.push(attempt);
                                tried[attempt].ticket = refused.ticket;
                            }
                        }
                        (Err(refused), None) => prop_assert!(false, "free, but {refused:?}"),
                    }
                }
            }
            for ((resource, model), last) in resources.iter().zip(&models).zip(&mut last_token) {
                let held = table.held.get(resource.hash());
                prop_assert_eq!(
                    held.map(|held| held.nonce),
                    model.grant.map(|(holder, _)| tried[holder].nonce)
                );
                if let Some(held) = held {
                    prop_assert!(held.token >= *last);
                    *last = held.token;
                }
            }
        }
    }
}
