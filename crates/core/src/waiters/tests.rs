use super::*;
use crate::{Holder, Mode, Nonces};

const INTERVAL: Duration = Duration::from_millis(200);

const TERMS: Terms = Terms { lease: Duration::from_secs(1), mode: Mode::Exclusive };

struct Scene {
    waiters: Waiters<()>,
    nonces: Nonces,
    now: Moment,
}

impl Scene {
    fn new() -> Self {
        Self { waiters: Waiters::default(), nonces: Nonces::new(7), now: Moment::at(Duration::from_secs(9)) }
    }

    fn at(&self, ms: u64) -> Moment {
        self.now + Duration::from_millis(ms)
    }

    fn wait(&mut self, name: &str, ticket: u64, poll: u64) -> Nonce {
        let nonce = self.nonces.next(Mode::Exclusive, |_| false);
        self.waiters.join(Resource::new(name), nonce, TERMS, ());
        self.waiters.enter_queue(nonce, ticket, INTERVAL, self.now, Duration::from_millis(poll));
        nonce
    }

    /// The names and tickets of the polls that are due.
    fn due(&mut self, ms: u64) -> Vec<(String, Vec<u64>)> {
        let tickets = |poll: &DuePoll| poll.waiting.iter().map(|queued| queued.ticket).collect();
        let due = self.waiters.take_due(self.at(ms));
        due.into_iter().map(|poll| (poll.resource.name().into(), tickets(&poll))).collect()
    }

    fn polled(&mut self, name: &str, ms: u64) {
        let pause = Duration::from_millis(50);
        self.waiters.on_polled(Resource::new(name).hash(), self.at(ms), |_| pause);
    }
}

fn due(name: &str, tickets: &[u64]) -> (String, Vec<u64>) {
    (name.into(), tickets.to_vec())
}

#[test]
fn one_poll_names_the_first_of_all_who_wait_for_a_resource_and_the_next_follows_its_answer() {
    let mut scene = Scene::new();
    scene.wait("a", 9, 100);
    let first = scene.wait("a", 5, 100);
    scene.wait("b", 7, 80);
    assert_eq!(scene.due(79), []);
    assert_eq!(scene.waiters.next_due(), Some(scene.at(80)));
    assert_eq!(scene.due(100), [due("b", &[7]), due("a", &[5])]);
    assert_eq!(scene.due(1000), []);
    scene.polled("a", 120);
    assert!(scene.waiters.take(first).is_some());
    assert_eq!(scene.due(170), [due("a", &[9])]);
}

#[test]
fn a_poll_says_what_each_call_has_asked_for() {
    let mut scene = Scene::new();
    let shared = Terms { lease: Duration::from_secs(2), mode: Mode::shared(3) };
    let nonces = [(1, TERMS), (2, shared)].map(|(ticket, terms)| {
        let nonce = scene.nonces.next(terms.mode, |_| false);
        scene.waiters.join(Resource::new("a"), nonce, terms, ());
        scene.waiters.enter_queue(nonce, ticket, INTERVAL, scene.now, Duration::ZERO);
        nonce
    });
    scene.waiters.doubt(nonces[1], scene.now);
    let polled = scene.waiters.take_due(scene.now).remove(0).waiting;
    let [first, second] = nonces;
    let expected = [
        QueuedCall { nonce: first, terms: TERMS, ticket: 1 },
        QueuedCall { nonce: second, terms: shared, ticket: 2 },
    ];
    assert_eq!(polled, expected);
    assert_eq!(scene.waiters.still(&expected), expected);
}

#[test]
fn whoever_is_in_doubt_is_asked_about_at_once_or_after_the_answer_that_is_awaited() {
    let mut scene = Scene::new();
    let tickets: Vec<_> = (1..5).map(|ticket| scene.wait("a", ticket, 100)).collect();
    let now = scene.now;
    scene.waiters.doubt(tickets[2], now);
    assert_eq!(scene.due(0), [due("a", &[1, 3])]);
    scene.waiters.doubt(tickets[0], now);
    assert_eq!(scene.due(0), []);
    scene.polled("a", 5);
    assert_eq!(scene.due(5), [due("a", &[1])]);
    scene.polled("a", 5);
    scene.waiters.doubt_all(Resource::new("a").hash(), 4, now);
    assert_eq!(scene.due(0), []);
    scene.waiters.doubt_all(Resource::new("a").hash(), 1, now);
    let all = scene.waiters.take_due(now).remove(0);
    assert_eq!(all.waiting.len(), 4);
    // It comes to nothing, and is not tried again at once.
    scene.waiters.on_poll_failed(all);
    scene.polled("a", 5);
    assert_eq!(scene.due(54), []);
    assert_eq!(scene.due(55), [due("a", &[1, 2, 3, 4])]);
}

#[test]
fn an_event_about_a_call_before_it_is_known_to_be_in_the_queue_is_not_forgotten() {
    let mut scene = Scene::new();
    scene.wait("a", 1, 100);
    for name in ["a", "b"] {
        let nonce = scene.nonces.next(Mode::Exclusive, |_| false);
        scene.waiters.join(Resource::new(name), nonce, TERMS, ());
        scene.waiters.doubt(nonce, scene.now);
        assert!(scene.due(0).iter().all(|due| due.1 == [1]));
        scene.polled("a", 0);
        scene.waiters.enter_queue(nonce, 2, INTERVAL, scene.now, Duration::from_secs(5));
        let due = scene.due(0);
        assert!(due.iter().any(|due| due.0 == name && due.1.contains(&2)), "{due:?}");
    }
}

#[test]
fn nothing_is_left_of_those_who_have_gone() {
    let mut scene = Scene::new();
    let all = [scene.wait("a", 1, 10), scene.wait("a", 2, 5), scene.wait("b", 3, 1)];
    let asking = scene.nonces.next(Mode::Exclusive, |_| false);
    scene.waiters.join(Resource::new("a"), asking, TERMS, ());
    assert_eq!(scene.due(1).len(), 1);
    for nonce in all.into_iter().chain([asking]) {
        assert!(scene.waiters.contains(nonce));
        assert!(scene.waiters.take(nonce).is_some());
        assert!(scene.waiters.take(nonce).is_none());
    }
    scene.polled("b", 10);
    scene.waiters.enter_queue(asking, 4, INTERVAL, scene.now, Duration::ZERO);
    assert_eq!(scene.waiters.next_due(), None);
    assert!(scene.waiters.groups.is_empty() && scene.waiters.by_nonce.is_empty());
}

#[test]
fn polls_follow_the_end_of_the_lease_but_not_by_more_than_the_limit_and_an_old_holder_at_the_interval() {
    let nonce = Nonces::new(1).next(Mode::Exclusive, |_| false);
    let holder = Holder { nonce, token: None, identity: None };
    let held = |ms| Contention {
        resource: None,
        count: 2,
        holder: Some(holder.clone()),
        lease_left: Duration::from_millis(ms),
        place: None,
    };
    let ms = Duration::from_millis;
    assert_eq!(poll_after(&held(100), true, INTERVAL, 0.0), ms(101));
    assert!(poll_after(&held(100), true, INTERVAL, 0.99) <= ms(111));
    assert_eq!(poll_after(&held(60_000), true, INTERVAL, 0.0), LONGEST_POLL);
    assert!(poll_after(&held(60_000), true, INTERVAL, 0.99) >= LONGEST_POLL * 4 / 5);
    assert_eq!(poll_after(&held(60_000), false, INTERVAL, 0.5), INTERVAL);
    let old = Contention { holder: None, ..held(60_000) };
    assert_eq!(poll_after(&old, true, INTERVAL, 0.5), INTERVAL);
    assert_eq!(poll_after(&old, true, Duration::ZERO, 0.5), SHORTEST_POLL);
    assert_eq!(poll_after(&old, true, Duration::from_mins(1), 0.5), LONGEST_POLL);
}

#[test]
fn all_who_are_in_doubt_are_asked_about_and_again_if_that_poll_fails() {
    let mut scene = Scene::new();
    let nonces: Vec<_> = (1..6).map(|ticket| scene.wait("a", ticket, 100)).collect();
    for doubtful in [4, 2, 4] {
        scene.waiters.doubt(nonces[doubtful], scene.now);
    }
    let poll = scene.waiters.take_due(scene.now).remove(0);
    scene.waiters.on_poll_failed(poll);
    scene.polled("a", 0);
    assert_eq!(scene.due(50), [due("a", &[1, 3, 5])]);
    scene.polled("a", 50);
    assert_eq!(scene.due(100), [due("a", &[1])]);
}

#[test]
fn polls_that_are_far_away_come_together_and_none_is_late() {
    let now = Moment::at(Duration::from_micros(9_012_345));
    let mut moments = BTreeSet::new();
    for pause in 4000..=5000 {
        let pause = Duration::from_millis(pause);
        let poll = poll_moment(now, pause);
        let late = pause + TOGETHER;
        assert!(
            poll <= now + LONGEST_POLL && poll < now + late && poll + TOGETHER > now + pause,
            "{pause:?}"
        );
        moments.insert(poll);
    }
    assert!(moments.len() <= 11, "{moments:?}");
    // What is near comes when it is due.
    let soon = Duration::from_millis(1234);
    assert_eq!(poll_moment(now, soon), now + soon);
    assert!(poll_moment(now, LONGEST_POLL * 2) <= now + LONGEST_POLL);
}
