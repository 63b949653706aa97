//! The parties to a resource: who holds it and who waits for it, and the records that the store keeps of them.

use std::time::Duration;

use crate::{Mode, Nonce};

/// Who takes locks: what the store's records say of a locker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// A random id of the locker.
    pub client: String,
    pub pid: u32,
    pub host: String,
}

/// Bytes of a resource's name that are kept for people and tools to read.
const NAME_MAX: usize = 256;

impl Identity {
    /// The client in a record of the store: `<client> <pid> <host>`.
    pub fn describe(&self) -> String {
        let Self { client, pid, .. } = self;
        format!("{client} {pid} {}", self.host_in_one_word())
    }

    /// The host, without anything in it that would end a word.
    pub fn host_in_one_word(&self) -> String {
        if self.host.is_empty() { "-".into() } else { self.host.replace(char::is_whitespace, "-") }
    }

    /// Reads what [`describe`](Self::describe) makes, whatever follows.
    pub fn parse(record: &str) -> Option<Self> {
        let mut fields = record.splitn(4, ' ');
        Some(Self {
            client: fields.next()?.into(),
            pid: fields.next()?.parse().ok()?,
            host: fields.next()?.into(),
        })
    }
}

/// What a record in the store says of a [client](Identity::describe) and the resource: `<client> <pid> <host> <name>`,
/// where the last may itself hold spaces.
pub fn record(client: &str, name: &str) -> String {
    [client, " ", summary(name)].concat()
}

/// What the store keeps of the name of a resource.
pub fn summary(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_MAX)]
}

/// Who holds a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub nonce: Nonce,
    /// Its fencing token. `None` where it has not been [introduced](crate::store::Store::introduces_after) yet.
    pub token: Option<u64>,
    /// `None` where the store does not know.
    pub identity: Option<Identity>,
}

impl Holder {
    /// Reads an owner record, `<nonce> <token> ` and what [`record`] makes, or a nonce alone. Behind the token may be a
    /// slash and the number of extensions. `None` where it is not one of ours.
    pub fn parse(record: &str) -> Option<Self> {
        let Some((nonce, rest)) = record.split_once(' ') else {
            return Some(Self { nonce: record.parse().ok()?, token: None, identity: None });
        };
        let (token, identity) = rest.split_once(' ')?;
        let token = token.split('/').next()?.parse().ok()?;
        let identity = Identity::parse(identity)?;
        Some(Self { nonce: nonce.parse().ok()?, token: Some(token), identity: Some(identity) })
    }

    /// When it got the lock, as far as that is known: server time since 1970. Tokens are made of that clock.
    pub fn since(&self) -> Option<Duration> {
        self.token.map(Duration::from_micros)
    }
}

/// A call that waits for a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// When it joined the queue: server time since 1970.
    pub since: Duration,
    pub mode: Mode,
    pub identity: Identity,
}

impl Waiter {
    /// Reads a member of the queue, `<nonce> <lease> ` and what [`record`] makes. Behind the lease may be a slash and a limit.
    pub fn parse(ticket: u64, member: &str) -> Option<Self> {
        let mut fields = member.splitn(3, ' ');
        let (nonce, lease): (Nonce, _) = (fields.next()?.parse().ok()?, fields.next()?);
        let limit = lease.split_once('/').map_or(Some(0), |(_, limit)| limit.parse().ok())?;
        let mode = if nonce.is_shared() { Mode::shared(limit) } else { Mode::Exclusive };
        Some(Self { since: Duration::from_micros(ticket), mode, identity: Identity::parse(fields.next()?)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nonces;

    fn identity(host: &str) -> Identity {
        Identity { client: "c1".into(), pid: 42, host: host.into() }
    }

    #[test]
    fn records_are_read_back_as_they_were_written() {
        let record = record(&identity("my host").describe(), "Kühe  und Katzen");
        let nonce = Nonces::new(7).next(Mode::Exclusive, |_| false);
        let holder = Holder::parse(&format!("{nonce} 1700000000000001 {record}")).unwrap();
        let (token, identity) = (1_700_000_000_000_001, identity("my-host"));
        assert_eq!(holder.since(), Some(Duration::new(1_700_000_000, 1000)));
        assert_eq!(holder, Holder { nonce, token: Some(token), identity: Some(identity.clone()) });
        assert_eq!(Holder::parse(&format!("{nonce} {token}/12 {record}")), Some(holder));
        let unknown = Holder { nonce, token: None, identity: None };
        assert_eq!(Holder::parse(&nonce.to_string()), Some(unknown));
        let since = Duration::from_micros(token);
        for (mode, limit) in [(Mode::Exclusive, ""), (Mode::shared(0), ""), (Mode::shared(3), "/3")] {
            let nonce = Nonces::new(7).next(mode, |_| false);
            let waiter = Waiter::parse(token, &format!("{nonce} 60000{limit} {record}")).unwrap();
            assert_eq!(waiter, Waiter { since, mode, identity: identity.clone() });
        }
        assert_eq!(Identity::parse(&identity.describe()), Some(identity));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let client = identity("").describe();
        assert_eq!(record(&client, &"ü".repeat(300)), format!("c1 42 - {}", "ü".repeat(128)));
    }

    #[test]
    fn a_line_that_is_not_a_record_is_refused() {
        let nonce = Nonces::new(7).next(Mode::Exclusive, |_| false);
        for line in ["", "nonce", "nonce token c 1 h", "1 1 c 1 h name"] {
            assert_eq!(Holder::parse(line), None, "{line}");
        }
        for rest in ["1 c pid h name", "1", "x c 1 h name"] {
            assert_eq!(Holder::parse(&format!("{nonce} {rest}")), None, "{rest}");
        }
        for member in ["nonce 1 c 1 h name", &format!("{nonce} 1 c"), &format!("{nonce} 1/x c 1 h name")] {
            assert_eq!(Waiter::parse(1, member), None, "{member}");
        }
    }
}
