use super::*;
use crate::{Mode, Nonces};

/// That of the hold with this token.
fn nonce(token: u64) -> Nonce {
    Nonces::new(u128::from(token) << 64).next(Mode::Exclusive, |_| false)
}

fn hold(name: &str, token: u64, sent: Moment, ms: u64, renewed: bool) -> Hold {
    let length = Duration::from_millis(ms);
    let renewal = renewed.then_some(Renewal {
        lease: length,
        until: None,
        max_blocked: None,
        kind: RenewalKind::Continual,
    });
    Hold {
        resource: Resource::new(name),
        nonce: nonce(token),
        token,
        lease: Lease { sent, length },
        gone_by: sent + length,
        renewal,
        observed: false,
        extensions: 0,
        is_untouched: true,
    }
}

fn hash(name: &str) -> String {
    Resource::new(name).hash().to_owned()
}

#[test]
fn a_hold_is_introduced_once_before_it_is_renewed_or_ends() {
    let now = Moment::at(Duration::from_secs(9));
    let at = |ms| now + Duration::from_millis(ms);
    for renewed in [false, true] {
        let mut holds = Holds::default();
        let first = hold("a", 1, now, 6000, renewed);
        let regular = first.regularly_due();
        assert!(holds.insert(first.clone(), Some(at(100))));
        assert_eq!(holds.next_due(), Some(at(100)));
        assert_eq!(holds.take_due(at(99)), []);
        assert_eq!(holds.take_due(at(120)), [Due::Introduce(first)]);
        assert_eq!(holds.next_due(), Some(regular));
        // Seen too late, it is renewed, or over, which says as much.
        let late = hold("b", 2, now, 6000, renewed);
        assert!(holds.insert(late.clone(), Some(at(100))));
        assert!(!holds.take_due(regular).contains(&Due::Introduce(late)));
        // It is so short that it need not be.
        let short = hold("c", 3, now, 90, renewed);
        let due = short.regularly_due();
        assert!(holds.insert(short, Some(at(100))));
        assert_eq!(holds.next_due().map(|next| next <= due), Some(true));
    }
}

#[test]
fn each_of_several_holds_of_one_resource_is_found_by_its_nonce() {
    let now = Moment::at(Duration::from_secs(9));
    let mut holds = Holds::default();
    let [a, b] = ["a", "b"].map(hash);
    for token in [1, 2, 3] {
        assert!(holds.insert(hold("a", token, now, 1000, false), None));
    }
    assert!(holds.has_any(&a) && !holds.has_any(&b));
    assert_eq!(holds.get(nonce(2)).unwrap().token, 2);
    assert_eq!(holds.take(nonce(2)).unwrap().token, 2);
    assert_eq!(holds.get(nonce(2)), None);
    assert_eq!(holds.take(nonce(2)), None);
    let renewed = Lease { sent: now, length: Duration::from_secs(9) };
    assert!(holds.on_renewed(&hold("a", 3, now, 1000, false), renewed, now, now));
    assert_eq!(holds.get(nonce(1)).unwrap().lease.length, Duration::from_secs(1));
    assert_eq!(holds.take(nonce(3)).unwrap().lease, renewed);
    assert!(holds.has_any(&a));
    assert_eq!(holds.take_relied_on(nonce(1), 1).unwrap().token, 1);
    assert!(!holds.has_any(&a));
    assert!(holds.is_empty());
    assert_eq!(holds.next_due(), None);
}

#[test]
fn of_a_resource_only_what_was_lost_is_taken_by_its_name() {
    let (now, seconds) = (Moment::at(Duration::from_secs(9)), Duration::from_secs);
    let mut holds = Holds::default();
    for (name, token, length) in [("a", 1, 1), ("a", 2, 2), ("a", 3, 60), ("b", 4, 1)] {
        let lost = Hold { gone_by: now + seconds(60), ..hold(name, token, now, length * 1000, false) };
        assert!(holds.insert(lost, None));
    }
    let tokens = |lost: Vec<Hold>| lost.into_iter().map(|hold| hold.token).collect::<Vec<_>>();
    assert_eq!(tokens(holds.take_lost(&hash("a"))), [] as [u64; 0]);
    assert_eq!(holds.take_due(now + seconds(2)).len(), 3);
    assert_eq!(tokens(holds.take_lost(&hash("a"))), [1, 2]);
    assert_eq!(tokens(holds.take_lost(&hash("a"))), [] as [u64; 0]);
    assert!(holds.get(nonce(3)).is_some() && holds.get(nonce(4)).is_some());
    assert_eq!(tokens(holds.take_lost(&hash("b"))), [4]);
    assert!(!holds.has_any(&hash("b")));
}

#[test]
fn what_was_asked_about_a_hold_says_nothing_of_a_later_one_with_its_nonce() {
    let now = Moment::at(Duration::from_secs(9));
    let mut holds = Holds::default();
    let later = Hold { nonce: nonce(1), ..hold("b", 2, now, 1000, true) };
    let first = hold("a", 1, now, 1000, true);
    assert!(holds.insert(first.clone(), None));
    assert!(holds.begin_renewal(&first, LeaseChange::Check).is_some());
    assert!(holds.take(first.nonce).is_some());
    assert!(holds.insert(later.clone(), None));
    let asked = LeaseChange::Exactly(Duration::from_secs(1));
    assert!(holds.begin_renewal(&later, asked).is_some());

    let lease = Lease { sent: now, length: Duration::from_mins(1) };
    assert!(!holds.on_renewed(&first, lease, lease.gone_by(now), now));
    holds.anticipate(&first, Lease { length: Duration::ZERO, ..lease }, lease.gone_by(now));
    holds.put_off(&first, now);
    holds.set_unanswered(&first, true);
    holds.end_renewal(first.nonce, first.token, now);
    assert_eq!(holds.take_relied_on(first.nonce, first.token), None);
    assert_eq!(holds.current(&first), None);
    assert_eq!(holds.begin_renewal(&later, asked), None, "it is still being asked about");
    assert_eq!(holds.next_due(), Some(later.regularly_due()));
    let known = Hold { extensions: 1, is_untouched: false, ..later.clone() };
    assert_eq!(holds.current(&later), Some(&known));
    let due = holds.take_due(later.lease.end());
    assert_eq!(due, [Due::Expired { hold: known, unanswered: false }]);
}

#[test]
fn a_removal_that_is_ahead_of_the_grant_is_not_forgotten() {
    let now = Moment::at(Duration::from_secs(9));
    let mut holds = Holds::default();
    let early = |token| hold("a", token, now, 1000, false);
    let removed =
        |holds: &mut Holds, of, token, now| holds.on_removed(nonce(of), token, LostReason::Purged, now);
    assert_eq!(removed(&mut holds, 7, Some(7), now), Removed::Early);
    assert!(holds.insert(early(6), None));
    assert!(!holds.insert(early(7), None));
    assert_eq!(holds.get(nonce(7)), None);
    // Granted once more, it is another lock.
    assert!(holds.insert(early(7), None));
    assert_eq!(removed(&mut holds, 6, Some(6), now), Removed::Lost(early(6)));
    assert_eq!(removed(&mut holds, 7, Some(6), now), Removed::Early, "of an earlier grant");
    assert_eq!(removed(&mut holds, 7, None, now), Removed::Doubtful(early(7)));
    assert_eq!(removed(&mut holds, 7, Some(7), now), Removed::Lost(early(7)));
    assert_eq!(removed(&mut holds, 8, None, now), Removed::Early);
    assert!(!holds.insert(early(8), None));
    assert!(holds.insert(early(8), None));
    assert_eq!(removed(&mut holds, 9, None, now), Removed::Early);
    assert_eq!(removed(&mut holds, 10, None, now + REMOVED_EARLY), Removed::Early);
    assert!(holds.insert(early(9), None));
}

#[test]
fn how_a_lock_was_lost_is_remembered_where_it_is_not_sure_which_one_it_was() {
    let now = Moment::at(Duration::from_secs(9));
    let mut holds = Holds::default();
    let (stolen, purged, kept) =
        (hold("a", 1, now, 1000, false), hold("a", 2, now, 1000, false), hold("a", 3, now, 1000, false));
    for hold in [&stolen, &purged, &kept] {
        assert!(holds.insert(hold.clone(), None));
    }
    for (hold, reason) in [(&stolen, LostReason::Stolen), (&purged, LostReason::Purged)] {
        let removed = holds.on_removed(hold.nonce, None, reason, now);
        assert_eq!(removed, Removed::Doubtful(hold.clone()));
    }
    assert_eq!(holds.doubt(&stolen), Some(LostReason::Stolen));
    assert_eq!(holds.doubt(&purged), Some(LostReason::Purged));
    assert_eq!(holds.doubt(&kept), None);
    assert_eq!(holds.relied_on().count(), 3, "until it is known");
    // Of a later lock of the same nonce nothing has been said.
    assert_eq!(holds.doubt(&Hold { token: 4, ..stolen.clone() }), None);
    assert_eq!(holds.take_due(now + Duration::from_secs(1)).len(), 3);
    assert_eq!(holds.doubt(&stolen), None, "it is over");
}

#[test]
fn one_thing_is_asked_at_a_time_and_a_hold_has_something_to_give_up_until_what_was_asked_is_gone() {
    let now = Moment::at(Duration::from_secs(9));
    let mut holds = Holds::default();
    let held = hold("a", 1, now, 100, false);
    assert!(holds.insert(held.clone(), None));
    assert!(holds.begin_renewal(&held, LeaseChange::Check).is_some());
    assert!(holds.begin_renewal(&held, LeaseChange::Check).is_none());
    let longer = Lease { sent: now, length: Duration::from_secs(9) };
    let gone_by = longer.gone_by(now);
    holds.anticipate(&held, longer, gone_by);
    holds.end_renewal(held.nonce, held.token, now);
    assert!(holds.begin_renewal(&held, LeaseChange::Check).is_some());
    assert_eq!(holds.take_due(now + Duration::from_secs(1)).len(), 1);
    assert!(holds.get(held.nonce).is_some());
    assert_eq!(holds.take_due(gone_by), []);
    assert_eq!(holds.get(held.nonce), None);
}

#[test]
fn what_has_expired_is_due_once_and_forgotten_when_it_is_gone() {
    let now = Moment::at(Duration::from_secs(9));
    let mut holds = Holds::default();
    for (name, token, ms) in [("a", 1, 100), ("b", 2, 200), ("a", 3, 300)] {
        assert!(holds.insert(hold(name, token, now, ms, false), None));
    }
    let tokens = |due: Vec<Due>| -> Vec<u64> {
        let expired = |due| match due {
            Due::Expired { hold, .. } => hold.token,
            Due::Renew(hold) | Due::Introduce(hold) => panic!("{hold:?} is not renewed"),
        };
        due.into_iter().map(expired).collect()
    };
    let at = |ms| now + Duration::from_millis(ms);
    assert_eq!(tokens(holds.take_due(at(199))), [1, 2]);
    assert_eq!(tokens(holds.take_due(at(199))), [] as [u64; 0]);
    assert_eq!(holds.get(nonce(1)), None);
    assert_eq!(holds.get(nonce(2)).unwrap().token, 2);
    assert_eq!(holds.take_relied_on(nonce(2), 2), None);
    assert_eq!(holds.relied_on().map(|hold| hold.token).collect::<Vec<_>>(), [3]);
    assert_eq!(tokens(holds.take_due(at(200))), [] as [u64; 0]);
    assert_eq!(holds.take(nonce(2)), None);
    assert_eq!(holds.take(nonce(3)).unwrap().token, 3);
}

#[test]
fn a_hold_with_a_short_first_lease_is_renewed_once_unless_that_comes_to_nothing() {
    let (now, third) = (Moment::at(Duration::from_secs(9)), Duration::from_millis(100));
    let mut holds = Holds::default();
    let first = hold("a", 1, now, 300, true);
    let renewal = first.renewal.map(|renewal| Renewal { kind: RenewalKind::Completion, ..renewal });
    assert!(holds.insert(Hold { renewal, ..first.clone() }, None));
    let due = first.lease.renew_at();
    assert_eq!(holds.take_due(due).len(), 1);
    holds.restore_lease(&first, due);
    assert_eq!(holds.take_due(due).len(), 1);
    let lease = Lease { sent: now + third, length: third * 9 };
    assert!(holds.on_renewed(&first, lease, lease.gone_by(now), now + third));
    assert_eq!(holds.next_due(), Some(lease.end()));
}

#[test]
fn a_renewed_hold_is_due_at_a_third_and_again_after_its_new_lease_or_at_its_end() {
    let (now, third) = (Moment::at(Duration::from_secs(9)), Duration::from_millis(100));
    let mut holds = Holds::default();
    let first = hold("a", 1, now, 300, true);
    assert!(holds.insert(first.clone(), None));
    assert_eq!(holds.take_due(now + third / 2), []);
    assert_eq!(holds.take_due(first.lease.renew_at()), [Due::Renew(first.clone())]);
    assert_eq!(holds.next_due(), Some(first.lease.end()));

    // It worked.
    let lease = Lease { sent: now + third, length: third * 3 };
    assert!(holds.on_renewed(&first, lease, now + third * 4, now + third));
    assert_eq!(holds.next_due(), Some(lease.renew_at()));

    // A shorter one was asked for; a longer one changes nothing before it is there.
    let shorter = Lease { sent: now + third, length: third * 2 };
    for length in [third * 2, third * 9] {
        holds.anticipate(&first, Lease { sent: now + third, length }, now);
        assert_eq!(holds.get(first.nonce).unwrap().lease, shorter);
    }
    assert!(holds.on_renewed(&first, lease, now + third * 4, now + third));

    // It did not, and is tried again, but not beyond the end of the lease.
    holds.put_off(&first, now + third * 3);
    assert_eq!(holds.take_due(now + third * 3).len(), 1);
    holds.put_off(&first, now + third * 30);
    assert!(!holds.on_renewed(&first, lease, now + third * 4, lease.end()));
    assert!(matches!(&holds.take_due(lease.end())[..], [Due::Expired { unanswered: false, .. }]));
    assert!(!holds.on_renewed(&first, lease, now + third * 4, now + third));
}

#[test]
fn a_grant_that_is_told_again_lengthens_a_lease_but_never_shortens_it() {
    let now = Moment::at(Duration::from_secs(9));
    let mut holds = Holds::default();
    let first = hold("a", 1, now, 5000, false);
    assert!(holds.insert(first.clone(), None));
    let mut told = |length, sent| {
        let lease = Lease { sent, length: Duration::from_millis(length) };
        assert_eq!(holds.on_unclaimed_grant(first.nonce, 1, Some(lease), now), UnclaimedGrant::Known);
        holds.get(first.nonce).unwrap().lease.length.as_millis()
    };
    assert_eq!(told(60_000, now), 60_000);
    assert_eq!(told(5000, now), 60_000);
}

#[test]
fn what_was_raised_before_a_lease_was_set_does_not_count() {
    let (now, ms) = (Moment::at(Duration::from_secs(9)), Duration::from_millis);
    let mut holds = Holds::default();
    let first = hold("a", 1, now, 5000, false);
    assert!(holds.insert(first.clone(), None));
    let shorter = Lease { sent: now + ms(10), length: ms(300) };
    let raised = |sent| Some(Lease { sent, length: ms(60_000) });
    let relied_on = |holds: &Holds| holds.get(first.nonce).unwrap().lease;

    assert!(holds.begin_renewal(&first, LeaseChange::Exactly(ms(300))).is_some());
    holds.anticipate(&first, shorter, now + ms(400));
    holds.on_unclaimed_grant(first.nonce, 1, raised(now + ms(11)), now + ms(12));
    assert_eq!(relied_on(&holds), shorter, "while the new lease is being set");

    assert!(holds.on_renewed(&first, shorter, now + ms(400), now + ms(20)));
    holds.end_renewal(first.nonce, first.token, now + ms(20));
    holds.on_unclaimed_grant(first.nonce, 1, raised(now), now + ms(21));
    assert_eq!(relied_on(&holds), shorter, "sent before");
    holds.on_unclaimed_grant(first.nonce, 1, raised(now + ms(22)), now + ms(23));
    assert_eq!(relied_on(&holds).length, ms(60_000), "sent afterwards");
}

#[test]
fn of_two_locks_of_one_attempt_the_one_with_the_greater_token_is_held_by_the_store() {
    let now = Moment::at(Duration::from_secs(9));
    let mut holds = Holds::default();
    let first = hold("a", 5, now, 5000, false);
    assert!(holds.insert(first.clone(), None));
    let lease = Some(first.lease);
    assert_eq!(holds.on_unclaimed_grant(first.nonce, 4, lease, now), UnclaimedGrant::Known);
    let superseded = holds.on_unclaimed_grant(first.nonce, 6, lease, now);
    assert_eq!(superseded, UnclaimedGrant::Superseded(first.clone()));
    assert_eq!(holds.on_unclaimed_grant(first.nonce, 6, lease, now), UnclaimedGrant::Unwanted);
}

#[test]
fn a_grant_that_is_told_again_while_its_lock_is_given_up_is_known_and_a_later_one_is_unwanted() {
    let now = Moment::at(Duration::from_secs(9));
    let mut holds = Holds::default();
    let first = Hold { is_untouched: false, ..hold("a", 5, now, 5000, false) };
    assert!(holds.insert(first.clone(), None));
    assert_eq!(holds.take_to_give_up(first.nonce), Some(first.clone()));
    assert!(holds.get(first.nonce).is_none());
    let lease = Some(first.lease);
    assert_eq!(holds.on_unclaimed_grant(first.nonce, 5, lease, now), UnclaimedGrant::Known);
    assert_eq!(holds.on_unclaimed_grant(first.nonce, 6, lease, now), UnclaimedGrant::Unwanted);
    holds.on_left(first.nonce);
    assert_eq!(holds.on_unclaimed_grant(first.nonce, 5, lease, now), UnclaimedGrant::Unwanted);
}
