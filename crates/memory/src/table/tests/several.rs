//! Several resources at once: taken, and listed.

use super::*;

const MODES: [Mode; 2] = [Mode::Exclusive, SHARED];

/// Attempts on these, which are made together.
fn attempts(scene: &Scene, names: &[&str], mode: Mode) -> Vec<(Resource, Nonce)> {
    let attempt = |name: &&str| (Resource::new(name), scene.nonces.next(mode, |_| false));
    names.iter().map(attempt).collect()
}

fn acquire(
    scene: &mut Scene,
    attempts: &[(Resource, Nonce)],
    mode: Mode,
    lease: u64,
) -> Result<Vec<u64>, (usize, Box<Contention>)> {
    let now = scene.now;
    let claims: Vec<_> = attempts
        .iter()
        .map(|(resource, nonce)| {
            let claim = claim(resource, *nonce, lease, now, CLOCK);
            Claim { terms: Terms { mode, ..claim.terms }, ..claim }
        })
        .collect();
    scene.table.acquire_all(&claims).map_err(|(index, refused)| {
        assert_eq!(refused.ticket, None);
        (index, Box::new(refused.contention))
    })
}

fn take(scene: &mut Scene, names: &[&str], mode: Mode) -> Result<Vec<u64>, usize> {
    let attempts = attempts(scene, names, mode);
    acquire(scene, &attempts, mode, 100).map_err(|(index, _)| index)
}

fn is_held(scene: &mut Scene, name: &str) -> bool {
    let hash = hash(name);
    scene.table.expire_and_hand_over(&hash, at(scene.now));
    scene.table.is_locked(&hash)
}

fn hash(name: &str) -> Arc<str> {
    Resource::new(name).shared_hash()
}

#[test]
fn all_are_taken_or_none_and_the_one_in_the_way_is_named_and_counted() {
    let mut scene = Scene::new();
    let first = scene.take(Mode::Exclusive, 100);
    let wanted = attempts(&scene, &["b", "a", "c"], Mode::Exclusive);
    for count in 2..4 {
        let (index, contention) = acquire(&mut scene, &wanted, Mode::Exclusive, 100).unwrap_err();
        assert_eq!((index, contention.count, contention.place), (1, count, None));
        assert_eq!(contention.holder.unwrap().nonce, first);
        assert!(!is_held(&mut scene, "b") && !is_held(&mut scene, "c"));
    }
    scene.now = scene.now + Duration::from_millis(100);
    let tokens = acquire(&mut scene, &wanted, Mode::Exclusive, 100).unwrap();
    assert!(tokens.len() == 3 && tokens.is_sorted_by(|one, other| one < other));
    for ((resource, nonce), token) in wanted.iter().zip(&tokens) {
        assert_eq!(scene.table.token_of(resource.hash(), *nonce), Some(*token));
    }
    scene.now = scene.now + Duration::from_millis(99);
    assert!(is_held(&mut scene, "b"));
    // Made again, the attempts have what they had, with whole leases.
    assert_eq!(acquire(&mut scene, &wanted, Mode::Exclusive, 100), Ok(tokens));
    scene.now = scene.now + Duration::from_millis(99);
    assert!(["a", "b", "c"].iter().all(|name| is_held(&mut scene, name)));
    scene.now = scene.now + Duration::from_millis(1);
    assert!(["a", "b", "c"].iter().all(|name| !is_held(&mut scene, name)));
    assert!(scene.table.deadlines.first().is_none());
}

#[test]
fn those_who_wait_come_first_and_who_is_due_gets_the_lock() {
    let mut scene = Scene::new();
    let first = scene.take(SHARED, 100);
    let alone = scene.wait(Mode::Exclusive);
    // It would fit, but somebody waits.
    assert_eq!(take(&mut scene, &["b", "a"], SHARED), Err(1));
    scene.now = scene.now + Duration::from_millis(100);
    // The lease is over: it goes to whoever waits.
    for mode in MODES {
        assert_eq!(take(&mut scene, &["b", "a"], mode), Err(1));
    }
    assert_eq!(scene.granted().into_iter().map(|(nonce, _)| nonce).collect::<Vec<_>>(), [alone]);
    assert!(!scene.release(first) && scene.release(alone));
    assert!(take(&mut scene, &["b", "a"], SHARED).is_ok());
}

#[test]
fn shared_ones_are_taken_beside_others_up_to_the_limit() {
    let mut scene = Scene::new();
    let reader = scene.take(SHARED, 100);
    assert_eq!(take(&mut scene, &["a", "b"], Mode::Exclusive), Err(0));
    assert!(take(&mut scene, &["b", "a"], Mode::shared(2)).is_ok());
    assert_eq!(take(&mut scene, &["b", "a"], Mode::shared(2)), Err(1));
    assert!(take(&mut scene, &["b", "a"], Mode::shared(3)).is_ok());
    assert_eq!(scene.holders().len(), 3);
    assert!(scene.release(reader));
    assert!(take(&mut scene, &["b", "a"], Mode::shared(3)).is_ok());
}

#[test]
fn a_list_has_each_resource_once_with_all_who_hold_it_and_all_who_wait() {
    let mut scene = Scene::new();
    assert_eq!(scene.table.list(at(scene.now)), []);
    let readers = [100, 300].map(|lease| scene.take(SHARED, lease));
    let waiting = scene.wait(Mode::Exclusive);
    assert!(take(&mut scene, &["b", "c"], Mode::Exclusive).is_ok());
    let names = |scene: &mut Scene| {
        let mut listed = scene.table.list(at(scene.now));
        listed.sort_by(|(one, _), (other, _)| one.name().cmp(other.name()));
        for (resource, inspection) in &listed {
            assert_eq!(scene.table.inspect(resource.hash(), at(scene.now)).as_ref(), Some(inspection));
        }
        let counts = |(resource, found): (Resource, Inspection)| {
            (resource.name().to_owned(), found.holders.len(), found.waiters.len())
        };
        listed.into_iter().map(counts).collect::<Vec<_>>()
    };
    let row = |name: &str, holders, waiters| (name.to_owned(), holders, waiters);
    assert_eq!(names(&mut scene), [row("a", 2, 1), row("b", 1, 0), row("c", 1, 0)]);
    scene.now = scene.now + Duration::from_millis(100);
    assert_eq!(names(&mut scene), [row("a", 1, 1)]);
    // Whoever is due has the lock.
    scene.now = scene.now + Duration::from_millis(200);
    assert_eq!(names(&mut scene), [row("a", 1, 0)]);
    assert_eq!(scene.granted().into_iter().map(|(nonce, _)| nonce).collect::<Vec<_>>(), [waiting]);
    assert!(!scene.release(readers[1]) && scene.release(waiting));
    assert_eq!(names(&mut scene), []);
}
