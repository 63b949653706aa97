//! One lock attempt's identity. It makes every command idempotent: whatever was sent twice is recognised.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::Mode;

/// The smallest nonce, and how many there are. In front of a count of six digits, the largest one still makes a number
/// below 2^63, with room above: what begins with 92 is no nonce.
const FIRST: u64 = 1_000_000_000_000;
const COUNT: u64 = 8_200_000_000_000;

/// So many nonces a locker has: those of exclusive attempts, and as many of shared ones behind them.
const ATTEMPTS: u64 = 10_000_000;
const OF_ONE_KIND: u64 = ATTEMPTS / 2;

/// A number of 13 digits, which no other attempt of the same locker, and none on the same resource, has at the same time. So
/// it is also the name of what the attempt was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(u64);

impl Nonce {
    /// Digits of a nonce.
    pub const LEN: usize = 13;

    /// The number: 13 decimal digits.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The number of the locker whose attempt it is: 6 decimal digits.
    pub fn locker(self) -> u64 {
        self.0 / ATTEMPTS
    }

    /// Whether it is of an attempt at a shared lock.
    pub fn is_shared(self) -> bool {
        self.0 % ATTEMPTS >= OF_ONE_KIND
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is no nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANonce;

impl TryFrom<u64> for Nonce {
    type Error = NotANonce;

    fn try_from(number: u64) -> Result<Self, NotANonce> {
        (FIRST..FIRST + COUNT).contains(&number).then_some(Self(number)).ok_or(NotANonce)
    }
}

impl FromStr for Nonce {
    type Err = NotANonce;

    fn from_str(text: &str) -> Result<Self, NotANonce> {
        let number =
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
        number.ok_or(NotANonce)?.try_into()
    }
}

/// A locker's source of nonces: the number of the locker, six digits that are its own, and seven in which it counts from a
/// random start on, and goes round: below 5,000,000 for exclusive attempts, above for shared ones. So the store need not be told
/// which of the two an attempt is, nor keep it.
#[derive(Debug)]
pub struct Nonces {
    locker: AtomicU64,
    start: u64,
    given: AtomicU64,
}

impl Nonces {
    /// `seed`: 128 random bits.
    pub fn new(seed: u128) -> Self {
        let [number, start] = [seed, seed >> 64].map(low_bits);
        let nonces =
            Self { locker: AtomicU64::default(), start: start % OF_ONE_KIND, given: AtomicU64::new(0) };
        nonces.redraw(number);
        nonces
    }

    /// Another locker has the same number. `random`: 64 random bits, of which another one is made.
    pub(crate) fn redraw(&self, random: u64) {
        self.locker.store((FIRST + random % COUNT) / ATTEMPTS, Ordering::Relaxed);
    }

    /// A nonce that no attempt of this locker has. `in_use` says which ones have been in use for long.
    pub fn next(&self, mode: Mode, in_use: impl Fn(Nonce) -> bool) -> Nonce {
        let first = if mode.is_shared() { OF_ONE_KIND } else { 0 };
        loop {
            let given = self.given.fetch_add(1, Ordering::Relaxed);
            let attempt = first + (self.start + given % OF_ONE_KIND) % OF_ONE_KIND;
            let nonce = Nonce(self.locker.load(Ordering::Relaxed) * ATTEMPTS + attempt);
            if given < OF_ONE_KIND || !in_use(nonce) {
                return nonce;
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "that is what is wanted")]
fn low_bits(number: u128) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;

    fn new(nonces: &Nonces) -> Nonce {
        nonces.next(Mode::Exclusive, |_| false)
    }

    #[test]
    fn a_locker_counts_under_its_number_and_goes_round_around_what_is_in_use() {
        for seed in [0, 1, u64::MAX.into(), u128::MAX, 0x1234_5678_9abc_def0_1122_3344_5566_7788] {
            let nonces = Nonces::new(seed);
            let first = new(&nonces);
            let mut given = vec![false; usize::try_from(OF_ONE_KIND).unwrap()];
            let mut is_new = |nonce: Nonce| {
                !mem::replace(&mut given[usize::try_from(nonce.number() % ATTEMPTS).unwrap()], true)
            };
            assert!(is_new(first));
            assert!((1..OF_ONE_KIND).all(|_| is_new(new(&nonces))), "{seed}");
            let again = nonces.next(Mode::Exclusive, |nonce| nonce == first);
            assert_eq!(again.number() % ATTEMPTS, (first.number() % ATTEMPTS + 1) % OF_ONE_KIND);
            let shared = nonces.next(Mode::shared(0), |_| false);
            assert!(shared.is_shared() && !first.is_shared());
            assert_eq!(shared.locker(), first.locker());
            assert_eq!(again.locker(), first.locker());
            nonces.redraw(first.number() + 5 * ATTEMPTS);
            assert_ne!(new(&nonces).locker(), first.locker());
        }
    }

    #[test]
    fn a_nonce_is_read_back_as_it_was_written_and_nothing_else_is_read() {
        for seed in [0, 819_999 * u128::from(ATTEMPTS), u128::MAX, 0x1234_5678_9abc_def0_1122_3344_5566_7788]
        {
            let nonce = new(&Nonces::new(seed));
            assert_eq!(nonce.to_string().len(), Nonce::LEN);
            assert_eq!(nonce.to_string().parse(), Ok(nonce));
            assert_eq!(Nonce::try_from(nonce.number()), Ok(nonce));
            assert!((100_000..920_000).contains(&nonce.locker()));
        }
        for text in
            ["", "1", "0999999999999", "+1000000000000", "9200000000000", "10000000000000", "100000000000x"]
        {
            assert_eq!(text.parse::<Nonce>(), Err(NotANonce), "{text}");
        }
        for number in [0, FIRST - 1, FIRST + COUNT] {
            assert_eq!(Nonce::try_from(number), Err(NotANonce), "{number}");
        }
    }
}
