//! What a locker tells the server of what it holds and waits for, so that others can list it: in an entry of its own, some
//! moments after the fact, in one command for all that has changed. A short lock is over before it is told. No safety rests on it:
//! whoever lists looks at the locks themselves.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use lock_inc_core::{Moment, Nonce, Resource, lock, summary};
use tokio::{sync::Notify, time::timeout};

/// Changes are gathered for so long.
pub(crate) const GATHERED: Duration = Duration::from_millis(50);

/// The server keeps the entry beyond the last lease in it.
const KEPT: Duration = Duration::from_mins(1);

/// Without another word, a locker has waited for so long: it polls more often than this.
const WAITS: Duration = Duration::from_secs(15);

/// What is over is taken out after so long at the earliest.
const TIDY: Duration = Duration::from_secs(1);

/// So many fields are written at once.
const PAGE: usize = 512;

/// A field of the entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Field {
    Held(Nonce),
    Awaited(Arc<str>),
}

impl Field {
    fn name(&self) -> String {
        match self {
            Self::Held(nonce) => nonce.to_string(),
            Self::Awaited(hash) => hash.to_string(),
        }
    }
}

#[derive(Debug)]
struct Told {
    /// The hash of the resource and its name.
    value: String,
    until: Moment,
    standing: Standing,
}

/// What the server knows of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Unwritten,
    /// It has been sent, and may be there.
    Sent,
    Written,
}

/// Where the entry was written to last, and until when the server keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    connection: u32,
    until: Moment,
}

#[derive(Debug, Default)]
struct Entry {
    fields: HashMap<Field, Told>,
    /// Fields that the server may still have.
    gone: HashSet<Field>,
    written: Option<Written>,
    /// The server may have an entry of which nothing is known here.
    is_doubtful: bool,
    is_under_way: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Listing {
    entry: Mutex<Entry>,
    changed: Notify,
}

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Whatever is there goes before: nobody knows what that is.
    pub(crate) begins_anew: bool,
    pub(crate) gone: Vec<String>,
    /// Names and values.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) kept: Duration,
    written: Written,
    whole: Vec<Field>,
}

impl Listing {
    /// A lock is held. Whether the caller is to see to it that this is written, [a little later](GATHERED).
    #[must_use]
    pub(crate) fn on_held(&self, resource: &Resource, nonce: Nonce, until: Moment) -> bool {
        self.put(Field::Held(nonce), resource, until)
    }

    /// The same for a resource that is waited for.
    #[must_use]
    pub(crate) fn on_waiting(&self, resource: &Resource, now: Moment) -> bool {
        self.put(Field::Awaited(resource.shared_hash()), resource, now + WAITS)
    }

    fn put(&self, field: Field, resource: &Resource, until: Moment) -> bool {
        let mut entry = lock(&self.entry);
        let lasts = entry.written.is_some_and(|written| until <= written.until);
        let value = || format!("{} {}", resource.hash(), summary(resource.name()));
        // Where it was to go, the server may have it still.
        let standing = if entry.gone.remove(&field) { Standing::Sent } else { Standing::Unwritten };
        let new = || Told { value: value(), until, standing };
        let told = entry.fields.entry(field).or_insert_with(new);
        told.until = until;
        let is_due = told.standing != Standing::Written || !lasts;
        is_due && self.begin(&mut entry)
    }

    /// A lock is not held any more. As [`on_held`](Self::on_held).
    #[must_use]
    pub(crate) fn on_released(&self, nonce: Nonce) -> bool {
        let mut entry = lock(&self.entry);
        let field = Field::Held(nonce);
        let Some(told) = entry.fields.remove(&field) else { return false };
        let is_due = told.standing != Standing::Unwritten;
        if is_due {
            entry.gone.insert(field);
        }
        is_due && self.begin(&mut entry)
    }

    /// Whether nobody sees to the entry yet, who is told otherwise.
    fn begin(&self, entry: &mut Entry) -> bool {
        let is_under_way = std::mem::replace(&mut entry.is_under_way, true);
        if is_under_way {
            self.changed.notify_one();
        }
        !is_under_way
    }

    /// All is written: waits until there is more to do. `false` if there is nothing in the entry; then nobody sees to it.
    pub(crate) async fn wait(&self, now: Moment) -> bool {
        let end = {
            let mut entry = lock(&self.entry);
            let end = entry.fields.values().map(|told| told.until).min();
            entry.is_under_way = end.is_some() || !entry.gone.is_empty();
            end.or_else(|| entry.is_under_way.then_some(now))
        };
        let Some(end) = end else { return false };
        // Whether something ends or changes, there is something to do.
        let _ = timeout(now.until(end).max(TIDY), self.changed.notified()).await;
        true
    }

    /// The next page, over this connection. None: all is written, and it is to [wait](Self::wait).
    pub(crate) fn next_page(&self, connection: u32, now: Moment) -> Option<Page> {
        let mut guard = lock(&self.entry);
        let entry = &mut *guard;
        // Another connection may be to another server.
        let written = entry.written.filter(|written| written.connection == connection);
        if written.is_none() {
            entry.gone.clear();
            entry.fields.values_mut().for_each(|told| told.standing = Standing::Unwritten);
        }
        let gone = &mut entry.gone;
        entry.fields.retain(|field, told| {
            let is_over = told.until <= now;
            if is_over && told.standing != Standing::Unwritten {
                gone.insert(field.clone());
            }
            !is_over
        });
        let last = entry.fields.values().map(|told| told.until).max();
        let lasts = written.is_some_and(|written| last.is_none_or(|last| last <= written.until));
        let unwritten = entry.fields.iter_mut().filter(|(_, told)| told.standing != Standing::Written);
        let whole: Vec<_> = unwritten.take(PAGE).collect();
        let is_known = written.is_some() || entry.written.is_none() && !entry.is_doubtful;
        if whole.is_empty() && entry.gone.is_empty() && (lasts || last.is_none() && is_known) {
            return None;
        }
        let until = last.unwrap_or(now) + KEPT;
        let fields = whole.iter().map(|(field, told)| (field.name(), told.value.clone())).collect();
        let sent = |(field, told): (&Field, &mut Told)| {
            told.standing = Standing::Sent;
            field.clone()
        };
        let whole = whole.into_iter().map(sent).collect();
        let leaving: Vec<_> = entry.gone.iter().take(PAGE).cloned().collect();
        let gone = leaving.iter().map(|field| {
            entry.gone.remove(field);
            field.name()
        });
        let gone = gone.collect();
        let begins_anew = written.is_none();
        let written = Written { connection, until };
        Some(Page { begins_anew, gone, fields, kept: now.until(until), written, whole })
    }

    pub(crate) fn on_written(&self, page: &Page) {
        let mut entry = lock(&self.entry);
        entry.written = Some(page.written);
        entry.is_doubtful = false;
        for field in &page.whole {
            if let Some(told) = entry.fields.get_mut(field).filter(|told| told.standing == Standing::Sent) {
                told.standing = Standing::Written;
            }
        }
    }

    /// It came to nothing, or did not: all is told anew.
    pub(crate) fn on_failed(&self) {
        let mut entry = lock(&self.entry);
        entry.written = None;
        entry.is_doubtful = true;
    }

    /// The same where it is of no use to try again, before something changes.
    pub(crate) fn stop(&self) {
        self.on_failed();
        lock(&self.entry).is_under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use lock_inc_core::{Mode, Nonces};

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(secs: u64) -> Moment {
        Moment::at(Duration::from_secs(secs))
    }

    /// What goes, what comes, and for how long the entry is kept.
    type Wrote = (Vec<String>, Vec<(String, String)>, Duration);

    fn write(listing: &Listing, connection: u32, now: Moment) -> Vec<Wrote> {
        let pages = std::iter::from_fn(|| {
            let page = listing.next_page(connection, now)?;
            listing.on_written(&page);
            Some((page.gone, page.fields, page.kept))
        });
        let pages = pages.collect();
        // Nobody sees to it for longer.
        lock(&listing.entry).is_under_way = false;
        pages
    }

    #[test]
    fn what_is_held_and_waited_for_is_told_once_and_taken_back_when_it_is_over() {
        let (listing, resource) = (Listing::default(), Resource::new("a name"));
        let nonce = Nonces::new(3).next(Mode::Exclusive, |_| false);
        let value = format!("{} a name", resource.hash());
        assert!(listing.on_held(&resource, nonce, at(0) + MINUTE));
        // Somebody sees to it already.
        assert!(!listing.on_waiting(&resource, at(0)));
        let mut fields =
            vec![(nonce.to_string(), value.clone()), (resource.hash().to_owned(), value.clone())];
        fields.sort();
        let mut pages = write(&listing, 1, at(0));
        pages[0].1.sort();
        assert_eq!(pages, [(Vec::new(), fields, 2 * MINUTE)]);
        // A renewal says nothing new, until the server would forget the entry.
        assert!(!listing.on_held(&resource, nonce, at(60) + MINUTE));
        assert!(listing.on_held(&resource, nonce, at(61) + MINUTE));
        // Nobody waits any more.
        assert_eq!(write(&listing, 1, at(61)), [(vec![resource.hash().to_owned()], Vec::new(), 2 * MINUTE)]);
        // Another connection may be to another server.
        assert!(!listing.on_held(&resource, nonce, at(62) + MINUTE));
        assert_eq!(write(&listing, 2, at(62)), [(Vec::new(), vec![(nonce.to_string(), value)], 2 * MINUTE)]);
        assert!(listing.on_released(nonce));
        assert!(!listing.on_released(nonce));
        assert_eq!(write(&listing, 2, at(63)), [(vec![nonce.to_string()], Vec::new(), MINUTE)]);
    }

    #[test]
    fn a_lock_that_is_over_before_it_is_told_is_not_and_a_failure_is_made_good() {
        let (listing, resource) = (Listing::default(), Resource::new("a"));
        let nonce = Nonces::new(3).next(Mode::Exclusive, |_| false);
        assert!(listing.on_held(&resource, nonce, at(0) + MINUTE));
        assert!(!listing.on_released(nonce));
        assert_eq!(write(&listing, 1, at(0)), []);
        assert!(listing.on_held(&resource, nonce, at(0) + MINUTE));
        assert!(listing.next_page(1, at(0)).is_some());
        listing.stop();
        assert!(listing.on_held(&resource, nonce, at(1) + MINUTE));
        assert_eq!(write(&listing, 1, at(1)).len(), 1);
    }

    #[test]
    fn what_is_over_while_it_is_being_told_or_has_been_told_in_vain_is_taken_back() {
        let (listing, resource) = (Listing::default(), Resource::new("a"));
        let nonces = Nonces::new(3);
        let [first, second, third] = [0; 3].map(|_| nonces.next(Mode::Exclusive, |_| false));
        assert!(listing.on_held(&resource, first, at(0) + MINUTE));
        let page = listing.next_page(1, at(0)).unwrap();
        assert!(page.begins_anew, "a former connection may have left something");
        assert!(!listing.on_released(first), "somebody sees to it");
        listing.on_written(&page);
        let page = listing.next_page(1, at(0)).unwrap();
        assert_eq!((page.begins_anew, page.gone.as_slice()), (false, &[first.to_string()][..]));
        // It may have been carried out.
        assert!(!listing.on_held(&resource, second, at(0) + MINUTE));
        listing.stop();
        assert!(listing.on_released(second) || listing.on_held(&resource, third, at(1) + MINUTE));
        let page = listing.next_page(1, at(1)).unwrap();
        assert!(page.begins_anew && page.gone.is_empty());
        listing.on_written(&page);
        // So may what has been over before it was told in vain.
        let _ = listing.on_released(third);
        assert!(listing.next_page(1, at(2)).is_some());
        listing.stop();
        let page = listing.next_page(1, at(3)).unwrap();
        assert!(page.begins_anew && page.gone.is_empty() && page.fields.is_empty());
        listing.on_written(&page);
        assert_eq!(listing.next_page(1, at(3)), None);
    }

    #[test]
    fn what_is_waited_for_again_is_not_taken_back_by_a_later_page() {
        let (listing, nonces) = (Listing::default(), Nonces::new(3));
        let resource = Resource::new("again");
        let _ = listing.on_waiting(&resource, at(0));
        let mut held = Vec::new();
        for number in 0..2 * PAGE {
            held.push(nonces.next(Mode::Exclusive, |_| false));
            let _ = listing.on_held(&Resource::new(&number.to_string()), held[number], at(0) + MINUTE);
        }
        write(&listing, 1, at(0));
        for nonce in held {
            let _ = listing.on_released(nonce);
        }
        let page = listing.next_page(1, at(16)).unwrap();
        listing.on_written(&page);
        let _ = listing.on_waiting(&resource, at(16));
        let pages = write(&listing, 1, at(16));
        let last = |is_there: &dyn Fn(&Wrote) -> bool| pages.iter().rposition(is_there);
        let written = last(&|(_, fields, _)| fields.iter().any(|(name, _)| name == resource.hash()));
        let taken_back = last(&|(gone, ..)| gone.iter().any(|name| name == resource.hash()));
        assert!(written.is_some() && taken_back <= written, "{written:?}, {taken_back:?}");
    }

    #[test]
    fn what_comes_back_for_a_moment_only_is_taken_back() {
        let (listing, resource) = (Listing::default(), Resource::new("a"));
        let nonce = Nonces::new(3).next(Mode::Exclusive, |_| false);
        assert!(listing.on_held(&resource, nonce, at(0) + MINUTE));
        write(&listing, 1, at(0));
        assert!(listing.on_released(nonce));
        assert!(!listing.on_held(&resource, nonce, at(1)), "somebody sees to it");
        assert_eq!(write(&listing, 1, at(2)), [(vec![nonce.to_string()], Vec::new(), MINUTE)]);
    }

    #[test]
    fn much_is_told_in_pages() {
        let listing = Listing::default();
        let nonces = Nonces::new(3);
        for number in 0..=2 * PAGE {
            let nonce = nonces.next(Mode::Exclusive, |_| false);
            let _ = listing.on_held(&Resource::new(&number.to_string()), nonce, at(0) + MINUTE);
        }
        let sizes: Vec<_> = write(&listing, 1, at(0)).iter().map(|(_, fields, _)| fields.len()).collect();
        assert_eq!(sizes, [PAGE, PAGE, 1]);
    }
}
