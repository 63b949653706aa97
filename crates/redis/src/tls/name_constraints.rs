//! The names to which an authority is confined, or which it must not certify.

use std::mem::discriminant;

use lock_inc_core::error::Cause;
use x509_cert::{
    der::asn1::Ia5String,
    ext::pkix::{NameConstraints, constraints::name::GeneralSubtree, name::GeneralName},
};

use super::certificate::{Certificate, Comparable};

/// What is wrong with the names in a chain, which goes from the server's certificate up.
pub(super) fn violation(chain: &[&Certificate]) -> Option<Cause> {
    let violates = |(depth, certificate): (usize, &&Certificate)| {
        let is_exempt = depth > 0 && certificate.subject == certificate.issuer;
        let mut above = chain[depth + 1..].iter().filter_map(|one| one.name_constraints.as_ref());
        !is_exempt
            && above.any(|constraints| !names_of(certificate).iter().all(|name| allows(constraints, name)))
    };
    let is_violated = chain.iter().enumerate().any(violates);
    is_violated.then(|| {
        Cause::new("UNSPECIFIED", "a certificate has a name that an authority above it must not certify")
    })
}

fn names_of(certificate: &Certificate) -> Vec<GeneralName> {
    let mut names = certificate.alt_names.clone();
    if !names.iter().any(|name| matches!(name, GeneralName::DnsName(_))) {
        // Then they count as host names, if they look like some.
        let hosts = certificate.common_names().filter(|name| name.contains('.') && !name.contains(' '));
        names.extend(hosts.filter_map(|name| Ia5String::new(&name).ok()).map(GeneralName::DnsName));
    }
    names.extend(certificate.subject_name().map(GeneralName::DirectoryName));
    names
}

fn allows(constraints: &NameConstraints, name: &GeneralName) -> bool {
    let of_its_kind = |subtrees: &Option<Vec<GeneralSubtree>>| {
        let mut subtrees = subtrees.clone().unwrap_or_default();
        subtrees.retain(|subtree| discriminant(&subtree.base) == discriminant(name));
        subtrees
    };
    let permitted = of_its_kind(&constraints.permitted_subtrees);
    let excluded = of_its_kind(&constraints.excluded_subtrees);
    // What is not understood forbids.
    (permitted.is_empty() || permitted.iter().any(|subtree| covers(subtree, name) == Some(true)))
        && excluded.iter().all(|subtree| covers(subtree, name) == Some(false))
}

/// `None`: nobody knows.
fn covers(subtree: &GeneralSubtree, name: &GeneralName) -> Option<bool> {
    if (subtree.minimum, subtree.maximum) != (0, None) {
        return None;
    }
    match (&subtree.base, name) {
        (GeneralName::DnsName(base), GeneralName::DnsName(name)) => {
            Some(covers_host(base.as_str(), name.as_str()))
        }
        (GeneralName::IpAddress(base), GeneralName::IpAddress(address)) => {
            Some(covers_address(base.as_bytes(), address.as_bytes()))
        }
        (GeneralName::DirectoryName(base), GeneralName::DirectoryName(name)) => {
            Some(Comparable::from(name).starts_with(&Comparable::from(base)))
        }
        _ => None,
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
    use super::*;

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
