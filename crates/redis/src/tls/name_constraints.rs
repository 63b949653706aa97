//! The names to which an authority is confined, or which it must not certify.

use std::{
    borrow::Cow,
    mem::{Discriminant, discriminant},
};

use lock_inc_core::error::Cause;
use x509_cert::{
    der::asn1::ObjectIdentifier,
    ext::pkix::{NameConstraints, constraints::name::GeneralSubtree, name::GeneralName},
};

use super::certificate::{Certificate, Comparable};

/// No chain of a real authority comes near it. OpenSSL allows as many for each authority.
const MAX_COMPARISONS: usize = 1 << 20;

const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");

/// What is wrong with the names in a chain, which goes from the server's certificate up.
pub(super) fn violation(chain: &[&Certificate]) -> Option<Cause> {
    let flaw = |message| Some(Cause::new("UNSPECIFIED", message));
    let mut above: Vec<Constraints<'_>> = Vec::new();
    let mut comparisons = 0;
    for (depth, certificate) in chain.iter().enumerate().rev() {
        if depth == 0 || certificate.subject != certificate.issuer {
            let names = names_of(certificate, depth == 0);
            comparisons += names.len() * above.iter().map(Constraints::len).sum::<usize>();
            if comparisons > MAX_COMPARISONS {
                return flaw(
                    "there are too many names in the chain to compare with those that an authority may certify",
                );
            }
            if !above.iter().all(|constraints| names.iter().all(|name| constraints.allow(name))) {
                return flaw("a certificate has a name that an authority above it must not certify");
            }
        }
        above.extend(certificate.name_constraints.as_ref().map(Constraints::from));
    }
    None
}

fn names_of(certificate: &Certificate, is_leaf: bool) -> Vec<Name<'_>> {
    let mut names: Vec<_> = certificate.alt_names.iter().map(Name::from).collect();
    if is_leaf && !names.iter().any(|name| matches!(name, Name::Host(_))) {
        // Then they count as host names, if they look like some.
        let hosts = certificate
            .common_names()
            .filter(|name| name.is_ascii() && name.contains('.') && !name.contains(' '));
        names.extend(hosts.map(|host| Name::Host(host.into())));
    }
    if !certificate.subject.is_empty() {
        names.push(Name::Subject(Cow::Borrowed(&certificate.subject)));
    }
    names.extend(certificate.in_subject(EMAIL_ADDRESS).map(|_| Name::Email));
    names
}

/// A name in the form in which it is compared.
enum Name<'a> {
    Host(Cow<'a, str>),
    Address(&'a [u8]),
    Subject(Cow<'a, Comparable>),
    // The rest is not understood.
    Email,
    Other(Discriminant<GeneralName>),
}

impl Name<'_> {
    fn is_of_the_kind_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Name::Other(own), Name::Other(others)) => own == others,
            _ => discriminant(self) == discriminant(other),
        }
    }
}

impl<'a> From<&'a GeneralName> for Name<'a> {
    fn from(name: &'a GeneralName) -> Self {
        match name {
            GeneralName::DnsName(host) => Name::Host(host.as_str().into()),
            GeneralName::IpAddress(address) => Name::Address(address.as_bytes()),
            GeneralName::DirectoryName(subject) => Name::Subject(Cow::Owned(subject.into())),
            GeneralName::Rfc822Name(_) => Name::Email,
            other => Name::Other(discriminant(other)),
        }
    }
}

/// Those of one authority.
struct Constraints<'a> {
    permitted: Vec<Subtree<'a>>,
    excluded: Vec<Subtree<'a>>,
}

impl<'a> From<&'a NameConstraints> for Constraints<'a> {
    fn from(constraints: &'a NameConstraints) -> Self {
        let read = |subtrees: &'a Option<Vec<GeneralSubtree>>| {
            subtrees.iter().flatten().map(Subtree::from).collect()
        };
        Self {
            permitted: read(&constraints.permitted_subtrees),
            excluded: read(&constraints.excluded_subtrees),
        }
    }
}

impl Constraints<'_> {
    fn len(&self) -> usize {
        self.permitted.len() + self.excluded.len()
    }

    /// What is not understood forbids.
    fn allow(&self, name: &Name<'_>) -> bool {
        let is_of_its_kind = |subtree: &&Subtree<'_>| subtree.base.is_of_the_kind_of(name);
        let mut permitted = self.permitted.iter().filter(is_of_its_kind).peekable();
        let mut excluded = self.excluded.iter().filter(is_of_its_kind);
        (permitted.peek().is_none() || permitted.any(|subtree| subtree.covers(name) == Some(true)))
            && excluded.all(|subtree| subtree.touches(name) == Some(false))
    }
}

struct Subtree<'a> {
    base: Name<'a>,
    /// It has no limits of its own, which nobody uses.
    is_plain: bool,
}

impl<'a> From<&'a GeneralSubtree> for Subtree<'a> {
    fn from(subtree: &'a GeneralSubtree) -> Self {
        Self { base: Name::from(&subtree.base), is_plain: (subtree.minimum, subtree.maximum) == (0, None) }
    }
}

impl Subtree<'_> {
    /// `None`: nobody knows.
    fn covers(&self, name: &Name<'_>) -> Option<bool> {
        match (&self.base, name) {
            _ if !self.is_plain => None,
            (Name::Host(base), Name::Host(host)) => Some(covers_host(base, host)),
            (Name::Address(base), Name::Address(address)) => Some(covers_address(base, address)),
            (Name::Subject(base), Name::Subject(subject)) => Some(subject.starts_with(base)),
            _ => None,
        }
    }

    /// Whether it covers something that the name, which may be a pattern, stands for. `None`: nobody knows.
    fn touches(&self, name: &Name<'_>) -> Option<bool> {
        let covers = self.covers(name)?;
        let touches =
            matches!((&self.base, name), (Name::Host(base), Name::Host(host)) if touches_host(base, host));
        Some(covers || touches)
    }
}

/// A pattern may stand for whatever is below its parent, and a final dot changes nothing.
fn touches_host(base: &str, pattern: &str) -> bool {
    let [base, pattern] = [base, pattern].map(|name| name.strip_suffix('.').unwrap_or(name));
    match pattern.split_once('.') {
        Some((label, parent)) if label.contains('*') => {
            covers_host(base, parent) || covers_host(parent, base)
        }
        _ => covers_host(base, pattern),
    }
}

/// `example.com` covers itself and all below it, `.example.com` only the latter.
fn covers_host(base: &str, host: &str) -> bool {
    let Some(start) = host.len().checked_sub(base.len()) else { return false };
    let (below, end) = host.as_bytes().split_at(start);
    let is_at_a_dot = below.is_empty() || below.ends_with(b".") || base.starts_with('.');
    base.is_empty() || (is_at_a_dot && end.eq_ignore_ascii_case(base.as_bytes()))
}

/// `base`: an address, and the mask of what counts of it.
fn covers_address(base: &[u8], address: &[u8]) -> bool {
    let (network, mask) = base.split_at(base.len() / 2);
    network.len() == address.len()
        && network.iter().zip(mask).zip(address).all(|((network, mask), byte)| network & mask == byte & mask)
}

#[cfg(test)]
mod tests {
    use x509_cert::der::asn1::Ia5String;

    use super::*;
    use crate::tls::certificates;

    fn certificate() -> Certificate {
        let pem = include_bytes!("../../../../__test__/support/tls/server.pem");
        Certificate::read(&certificates("cert", pem).unwrap()[0]).unwrap()
    }

    fn with_names(count: usize) -> Certificate {
        let mut certificate = certificate();
        certificate.alt_names = vec![host("a.example.com"); count];
        certificate
    }

    fn with_subtrees(count: usize) -> Certificate {
        let subtree = |name| GeneralSubtree { base: host(name), minimum: 0, maximum: None };
        let mut permitted = vec![subtree("example.org"); count - 1];
        permitted.push(subtree("example.com"));
        let constraints = NameConstraints { permitted_subtrees: Some(permitted), excluded_subtrees: None };
        let mut certificate = with_names(1);
        certificate.name_constraints = Some(constraints);
        certificate
    }

    fn host(name: &str) -> GeneralName {
        GeneralName::DnsName(Ia5String::new(name).unwrap())
    }

    #[test]
    fn very_many_names_are_not_compared() {
        let is_fine = |chain: &[&Certificate]| match violation(chain) {
            Some(flaw) => {
                assert_eq!(&*flaw.code, "UNSPECIFIED");
                assert!(flaw.message.contains("too many names"), "{}", flaw.message);
                false
            }
            None => true,
        };
        assert!(!is_fine(&[&with_names(3000), &with_subtrees(3000)]));
        assert!(is_fine(&[&with_names(600), &with_subtrees(1000)]));
        assert!(!is_fine(&[&with_names(600), &with_names(600), &with_subtrees(1000)]));
    }

    #[test]
    fn a_pattern_touches_what_it_may_stand_for() {
        for (base, pattern, touched) in [
            ("secret.example.com", "*.example.com", true),
            ("secret.example.com", "s*.Example.com", true),
            (".secret.example.com", "*.secret.example.com", true),
            ("example.com", "*.example.com", true),
            (".example.com", "*.example.com", true),
            ("com", "*.example.com", true),
            ("secret.example.com", "*.example.org", false),
            ("secret.example.com", "secret.example.com.", true),
            ("secret.example.com.", "secret.example.com", true),
            ("secret.example.com", "example.com", false),
            ("secret.example.com", "other.example.com", false),
        ] {
            assert_eq!(touches_host(base, pattern), touched, "{base} {pattern}");
        }
    }

    #[test]
    fn a_host_covers_what_is_below_it() {
        for (base, host, covered) in [
            ("example.com", "example.com", true),
            ("example.com", "A.Example.COM", true),
            ("example.com", "notexample.com", false),
            ("example.com", "com", false),
            (".example.com", "a.example.com", true),
            (".example.com", "example.com", false),
            ("", "anything", true),
        ] {
            assert_eq!(covers_host(base, host), covered, "{base} {host}");
        }
    }

    #[test]
    fn a_network_covers_its_addresses() {
        assert!(covers_address(&[10, 1, 0, 0, 255, 255, 0, 0], &[10, 1, 2, 3]));
        assert!(!covers_address(&[10, 1, 0, 0, 255, 255, 0, 0], &[10, 2, 2, 3]));
        assert!(!covers_address(&[10, 1, 0, 0, 255, 255, 0, 0], &[0; 16]));
    }
}
