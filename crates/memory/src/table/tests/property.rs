//! Random steps, against a model that knows whose turn it is.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Acquire {
        resource: usize,
        lease: u64,
        mode: Mode,
        how: How,
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
    /// About those of them that are on the resource of the first one.
    Poll {
        attempts: Vec<usize>,
        last: bool,
    },
    Wait(u64),
    Remove(usize),
    Purge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    AtOnce,
    Waits,
    Steals,
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![2 => Just(Mode::Exclusive), 3 => (0..4u32).prop_map(Mode::shared)];
    let how = prop_oneof![4 => Just(How::AtOnce), 8 => Just(How::Waits), 1 => Just(How::Steals)];
    prop_oneof![
        8 => (0usize..3, 1u64..50, mode, how).prop_map(|(resource, lease, mode, how)| {
            let mode = if how == How::Steals { Mode::Exclusive } else { mode };
            Step::Acquire { resource, lease, mode, how }
        }),
        1 => (0usize..20).prop_map(|attempt| Step::Again { attempt }),
        4 => (0usize..20).prop_map(|attempt| Step::Release { attempt }),
        2 => (prop::collection::vec(0usize..20, 1..6), any::<bool>())
            .prop_map(|(attempts, last)| Step::Poll { attempts, last }),
        2 => (0usize..20, 1u64..50, any::<bool>()).prop_map(|(attempt, lease, set)| {
            let lease = Duration::from_millis(lease);
            let change = if set { LeaseChange::Exactly(lease) } else { LeaseChange::AtLeast(lease) };
            Step::Renew { attempt, change }
        }),
        2 => (0u64..30).prop_map(Step::Wait),
        1 => (0usize..3).prop_map(Step::Remove),
        1 => Just(Step::Purge),
    ]
}

/// What the model knows of an attempt.
#[derive(Clone, Copy)]
struct Tried {
    resource: usize,
    nonce: Nonce,
    terms: Terms,
    how: How,
    ticket: Option<u64>,
}

/// What an attempt is told: the nonce, and for a loss whether it was stolen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Granted(Nonce),
    Lost(Nonce, bool),
}

#[derive(Default)]
struct Model {
    /// The attempts that hold the resource, and until when.
    grants: Vec<(usize, Moment)>,
    queue: Vec<usize>,
    news: Vec<News>,
}

impl Model {
    fn expire_and_hand_over(&mut self, tried: &[Tried], now: Moment) {
        self.grants.retain(|(_, until)| now < *until);
        while let Some(&next) = self.queue.first()
            && self.fits(tried, next)
        {
            self.queue.remove(0);
            self.grants.push((next, now + tried[next].terms.lease));
            self.news.push(News::Granted(tried[next].nonce));
        }
    }

    fn fits(&self, tried: &[Tried], attempt: usize) -> bool {
        let share = |(holder, _): &(usize, Moment)| tried[*holder].terms.mode != Mode::Exclusive;
        self.grants.is_empty()
            || match tried[attempt].terms.mode {
                Mode::Exclusive => false,
                Mode::Shared { limit } => {
                    let others = u32::try_from(self.grants.len()).unwrap();
                    self.grants.iter().all(share) && limit.is_none_or(|limit| others < limit.get())
                }
            }
    }

    fn grant(&mut self, attempt: usize) -> Option<&mut (usize, Moment)> {
        self.grants.iter_mut().find(|(holder, _)| *holder == attempt)
    }

    fn rob(&mut self, tried: &[Tried], stolen: bool) {
        let mut robbed: Vec<_> = self.grants.drain(..).map(|(holder, _)| tried[holder].nonce).collect();
        robbed.sort_unstable();
        self.news.extend(robbed.into_iter().map(|nonce| News::Lost(nonce, stolen)));
    }

    /// The lease that ends first, or last.
    fn lease_left(&self, first: bool, now: Moment) -> Option<Duration> {
        let left = self.grants.iter().map(|(_, until)| now.until(*until));
        if first { left.min() } else { left.max() }
    }

    /// What becomes of an attempt: whether it has the lock then.
    fn acquire(&mut self, tried: &[Tried], attempt: usize, now: Moment) -> bool {
        let Tried { terms, how, .. } = tried[attempt];
        let until = now + terms.lease;
        if let Some((_, held_until)) = self.grant(attempt) {
            *held_until = until.max(*held_until);
            return true;
        }
        if how == How::Steals {
            self.rob(tried, true);
        } else if !self.queue.is_empty() || !self.fits(tried, attempt) {
            if how == How::Waits && !self.queue.contains(&attempt) {
                self.queue.push(attempt);
            }
            return false;
        }
        self.grants.push((attempt, until));
        true
    }
}

struct Play {
    table: LockTable,
    resources: [Resource; 3],
    models: [Model; 3],
    tried: Vec<Tried>,
    last_token: u64,
    now: Moment,
}

impl Play {
    fn acquire(&mut self, attempt: usize) -> Result<(), TestCaseError> {
        let Tried { resource, nonce, terms, how, ticket } = self.tried[attempt];
        let (waits, steals, now) = (how == How::Waits, how == How::Steals, at(self.now));
        let model = &mut self.models[resource];
        let was_held = model.grant(attempt).is_some();
        let is_granted = model.acquire(&self.tried, attempt, self.now);
        let resource = &self.resources[resource];
        let claim = Claim { resource, nonce, terms, identity: &IDENTITY, waits, steals, now };
        match self.table.acquire(claim) {
            Ok(token) => {
                prop_assert!(is_granted);
                prop_assert_eq!(self.table.token_of(resource.hash(), nonce), Some(token));
                if !was_held {
                    prop_assert!(token > self.last_token);
                    self.last_token = token;
                }
            }
            Err(refused) => {
                prop_assert!(!is_granted, "{refused:?}");
                let left = model.lease_left(terms.mode.limit() > 0, self.now);
                prop_assert_eq!(Some(refused.contention.lease_left), left);
                prop_assert_eq!(refused.ticket.is_some(), waits);
                prop_assert!(ticket.is_none_or(|ticket| refused.ticket >= Some(ticket)));
                self.tried[attempt].ticket = refused.ticket;
            }
        }
        Ok(())
    }

    fn poll(&mut self, mut attempts: Vec<usize>, last: bool) -> Result<(), TestCaseError> {
        let Some(&Tried { resource, .. }) = self.tried.get(attempts[0]) else { return Ok(()) };
        let Self { tried, now, .. } = self;
        attempts.sort_unstable();
        attempts.dedup();
        attempts.retain(|attempt| {
            tried.get(*attempt).is_some_and(|tried| tried.resource == resource && tried.ticket.is_some())
        });
        let model = &mut self.models[resource];
        // Those that have been given up come back with the poll, to their old places.
        for attempt in &attempts {
            if model.grant(*attempt).is_none() && !model.queue.contains(attempt) {
                model.queue.push(*attempt);
            }
        }
        model.queue.sort_by_key(|waiting| tried[*waiting].ticket);
        model.expire_and_hand_over(tried, *now);
        let place = |attempt: &usize| {
            let place = model.queue.iter().position(|waiting| waiting == attempt)?;
            Some(place as u64 + 1)
        };
        let places: Vec<_> = attempts.iter().filter(|_| last).map(place).collect();
        if last {
            model.queue.retain(|waiting| !attempts.contains(waiting));
            model.expire_and_hand_over(tried, *now);
        }
        let queued = |attempt: &usize| {
            let Tried { nonce, terms, ticket, .. } = tried[*attempt];
            QueuedCall { nonce, terms, ticket: ticket.unwrap() }
        };
        let waiting: Vec<_> = attempts.iter().map(queued).collect();
        let found = self.table.poll(&self.resources[resource], &waiting, last, &IDENTITY, at(*now));
        let left = found.0.map(|contention| contention.lease_left);
        prop_assert_eq!(left, model.lease_left(true, *now));
        prop_assert_eq!(found.1, places);
        Ok(())
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let now = self.now;
        match step {
            Step::Wait(ms) => self.now = now + Duration::from_millis(ms),
            Step::Remove(resource) => {
                let model = &mut self.models[resource];
                let was_held = !model.grants.is_empty();
                model.rob(&self.tried, false);
                model.expire_and_hand_over(&self.tried, now);
                prop_assert_eq!(self.table.remove(self.resources[resource].hash(), at(now)), was_held);
            }
            Step::Purge => {
                self.table.purge(at(now));
                for model in &mut self.models {
                    model.rob(&self.tried, false);
                    model.expire_and_hand_over(&self.tried, now);
                }
            }
            Step::Release { attempt } => {
                let Some(&Tried { resource, nonce, .. }) = self.tried.get(attempt) else { return Ok(()) };
                let model = &mut self.models[resource];
                let is_mine = model.grant(attempt).is_some();
                model.queue.retain(|waiting| *waiting != attempt);
                model.grants.retain(|(holder, _)| *holder != attempt);
                model.expire_and_hand_over(&self.tried, now);
                let hash = self.resources[resource].hash();
                prop_assert_eq!(self.table.release(hash, nonce, at(now)), is_mine);
            }
            Step::Renew { attempt, change } => {
                let Some(&Tried { resource, nonce, .. }) = self.tried.get(attempt) else { return Ok(()) };
                let model = &mut self.models[resource];
                let is_free = model.grants.is_empty();
                let expected = if let Some((_, until)) = model.grant(attempt) {
                    *until = match change {
                        LeaseChange::Exactly(lease) => now + lease,
                        LeaseChange::AtLeast(lease) => (*until).max(now + lease),
                        LeaseChange::Check => *until,
                    };
                    Ownership::Held
                } else if is_free {
                    Ownership::Gone
                } else {
                    Ownership::Taken
                };
                let hash = self.resources[resource].hash();
                prop_assert_eq!(self.table.renew(hash, nonce, change, at(now)), expected);
            }
            Step::Poll { attempts, last } => self.poll(attempts, last)?,
            Step::Again { attempt } if attempt < self.tried.len() => self.acquire(attempt)?,
            Step::Again { .. } => {}
            Step::Acquire { resource, lease, mode, how } => {
                let nonce = NONCES.next(mode, |_| false);
                let terms = Terms { lease: Duration::from_millis(lease), mode };
                self.tried.push(Tried { resource, nonce, terms, how, ticket: None });
                self.acquire(self.tried.len() - 1)?;
            }
        }
        Ok(())
    }

    /// Each lease that is over ends, and whoever is next has a turn.
    fn expire_and_hand_over(&mut self) {
        for (model, resource) in self.models.iter_mut().zip(&self.resources) {
            model.expire_and_hand_over(&self.tried, self.now);
            self.table.expire_and_hand_over(resource.hash(), at(self.now));
        }
    }

    /// Everybody was told what the model says, in that order, and the table holds what the model holds.
    fn compare(&mut self) -> Result<(), TestCaseError> {
        let mut told: [Vec<News>; 3] = Default::default();
        for Told { event, .. } in self.table.take_events() {
            let (hash, news) = match event {
                StoreEvent::Granted { hash, hand_over, .. } => {
                    prop_assert!(hand_over.token > self.last_token);
                    self.last_token = hand_over.token;
                    (hash, News::Granted(hand_over.nonce))
                }
                StoreEvent::Removed { hash, nonce, stolen, .. } => (hash, News::Lost(nonce, stolen)),
                other => return Err(TestCaseError::fail(format!("{other:?}"))),
            };
            let resource = self.resources.iter().position(|resource| *resource.hash() == *hash);
            told[resource.unwrap()].push(news);
        }
        for ((resource, model), told) in self.resources.iter().zip(&mut self.models).zip(told) {
            prop_assert_eq!(told, std::mem::take(&mut model.news));
            let mut expected: Vec<_> =
                model.grants.iter().map(|&(holder, until)| (self.tried[holder].nonce, until)).collect();
            expected.sort_unstable();
            let holders = self.table.held.get(resource.hash());
            let held: Vec<_> = holders
                .into_iter()
                .flat_map(|holders| holders.by_nonce.values())
                .map(|held| (held.nonce, held.until))
                .collect();
            prop_assert_eq!(held, expected);
        }
        Ok(())
    }
}

static NONCES: LazyLock<Nonces> = LazyLock::new(|| Nonces::new(3));

proptest! {
    /// One holder at a time, or as many as share the lock and fit; only the nonce of each can release what it has, or see
    /// its token again; whoever waits has a turn in order of arrival, and is told; and tokens only grow.
    #[test]
    fn whoever_fits_holds_in_order_of_arrival_with_growing_tokens(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut table = LockTable::default();
        table.enter("c");
        let resources = ["a", "b", "c"].map(Resource::new);
        let now = Moment::at(Duration::from_secs(9));
        let (models, tried) = (Default::default(), Vec::new());
        let mut play = Play { table, resources, models, tried, last_token: 0, now };
        for step in steps {
            play.expire_and_hand_over();
            play.compare()?;
            play.take(step)?;
            play.compare()?;
        }
    }
}
