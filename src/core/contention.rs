//! Who is in the way: the holder of a resource, as the store knows it.

use std::time::Duration;

/// Where a resource's owner is described in the store: one line of space separated fields, of which the last,
/// the resource's name, may itself hold spaces.
///
/// `<nonce> <token> <since> <client> <pid> <host> <name>`
///
/// The server writes the first three (the nonce it was given, the token it made, its clock in milliseconds since
/// 1970); the rest comes from the client and is made by [`OwnerRecord::client_part`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecord;

/// Bytes of a resource's name that are kept for people and tools to read.
const NAME_MAX: usize = 256;

impl OwnerRecord {
    /// The fields that the client knows.
    pub fn client_part(client: &str, pid: u32, host: &str, name: &str) -> String {
        let host = if host.is_empty() { "-".into() } else { host.replace(char::is_whitespace, "-") };
        format!("{client} {pid} {host} {}", &name[..name.floor_char_boundary(NAME_MAX)])
    }

    /// Reads a whole line. `None` where it is not one of ours.
    pub fn parse(line: &str) -> Option<Holder> {
        let mut fields = line.splitn(7, ' ');
        let _nonce = fields.next()?;
        Some(Holder {
            token: fields.next()?.parse().ok()?,
            since: Duration::from_millis(fields.next()?.parse().ok()?),
            client: fields.next()?.into(),
            pid: fields.next()?.parse().ok()?,
            host: fields.next()?.into(),
        })
    }
}

/// The client that holds a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its fencing token.
    pub token: u64,
    /// When it got the lock: server time since 1970.
    pub since: Duration,
    /// The locker's own id.
    pub client: String,
    pub pid: u32,
    pub host: String,
}

/// Why an attempt did not get the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contention {
    /// Attempts on the resource since it was taken, the holder's and this one included: 2 for the first one that
    /// is turned away.
    pub count: u64,
    /// `None` where the holder is a lock-inc 1.2.0 client, which leaves no record.
    pub holder: Option<Holder>,
    /// What is left of the holder's lease.
    pub lease_left: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let part = OwnerRecord::client_part("c1", 42, "my host", "Kühe  und Katzen");
        let holder = OwnerRecord::parse(&format!("nonce 1700000000000001 1700000000000 {part}")).unwrap();
        assert_eq!(
            holder,
            Holder {
                token: 1_700_000_000_000_001,
                since: Duration::from_secs(1_700_000_000),
                client: "c1".into(),
                pid: 42,
                host: "my-host".into(),
            }
        );
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let part = OwnerRecord::client_part("c", 1, "", &"ü".repeat(300));
        assert_eq!(part, format!("c 1 - {}", "ü".repeat(128)));
    }

    #[test]
    fn a_line_that_is_not_a_record_is_refused() {
        for line in ["", "nonce", "nonce token since c 1 h", "nonce 1 2 c pid h name"] {
            assert_eq!(OwnerRecord::parse(line), None, "{line}");
        }
    }
}
