//! Whether a certificate is that of a host, by the rules of `tls.checkServerIdentity`. They differ from webpki's: where there is
//! no DNS name among the alternative names, the common name counts.

use std::net::IpAddr;

use lock_inc_core::error::Cause;
use x509_cert::ext::pkix::name::GeneralName;

use super::certificate::Certificate;

pub(super) fn verify(certificate: &Certificate, host: &str) -> Result<(), Cause> {
    let names = &certificate.alt_names;
    if let Ok(address) = host.parse::<IpAddr>() {
        let addresses: Vec<_> = names.iter().filter_map(address_in).collect();
        return if addresses.contains(&address) {
            Ok(())
        } else {
            Err(mismatch(host, "addresses", &addresses))
        };
    }
    let mut hosts: Vec<_> = names.iter().filter_map(host_in).map(str::to_owned).collect();
    let mut kind = "DNS names";
    if hosts.is_empty() {
        hosts.extend(certificate.common_names());
        kind = "common names";
    }
    if hosts.iter().any(|pattern| matches(pattern, host)) {
        Ok(())
    } else {
        Err(mismatch(host, kind, &hosts))
    }
}

fn host_in(name: &GeneralName) -> Option<&str> {
    match name {
        GeneralName::DnsName(host) => Some(host.as_str()),
        _ => None,
    }
}

fn address_in(name: &GeneralName) -> Option<IpAddr> {
    let GeneralName::IpAddress(octets) = name else { return None };
    let octets = octets.as_bytes();
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// Whoever answers has chosen the names, so they are neither repeated at any length nor as they are.
fn mismatch<T: ToString>(host: &str, kind: &str, names: &[T]) -> Cause {
    const SHOWN: usize = 10;
    // No name of a host is longer.
    let shown = |name: &T| name.to_string().escape_debug().take(255).collect::<String>();
    let list = names.iter().take(SHOWN).map(shown).collect::<Vec<_>>().join(", ");
    let has = match names.len().checked_sub(SHOWN) {
        _ if names.is_empty() => "is for no name".to_owned(),
        None | Some(0) => format!("has the {kind} {list}"),
        Some(more) => format!("has the {kind} {list} and {more} more"),
    };
    Cause::new("ERR_TLS_CERT_ALTNAME_INVALID", format!("the certificate is not for {host}: it {has}"))
}

/// One asterisk may stand for some of the first label, if two more follow.
fn matches(pattern: &str, host: &str) -> bool {
    let labels = |name: &str| -> Vec<String> {
        name.strip_suffix('.').unwrap_or(name).split('.').map(str::to_ascii_lowercase).collect()
    };
    let (pattern, host) = (labels(pattern), labels(host));
    let is_plain =
        |label: &String| !label.is_empty() && label.bytes().all(|byte| matches!(byte, b'!'..=0x7f));
    if pattern.len() != host.len() || !pattern.iter().all(is_plain) || pattern[1..] != host[1..] {
        return false;
    }
    let (label, wanted) = (&pattern[0], &host[0]);
    match label.split_once('*') {
        Some((start, end)) if !label.contains("xn--") => {
            !end.contains('*')
                && pattern.len() > 2
                && start.len() + end.len() <= wanted.len()
                && wanted.starts_with(start)
                && wanted.ends_with(end)
        }
        _ => label == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::{matches, mismatch};

    #[test]
    fn the_names_of_a_certificate_are_repeated_within_limits() {
        let message = |names: &[&str]| mismatch("a", "DNS names", names).message.to_string();
        assert_eq!(message(&[]), "the certificate is not for a: it is for no name");
        assert_eq!(
            message(&["b\n\u{1b}[31m"]),
            r"the certificate is not for a: it has the DNS names b\n\u{1b}[31m"
        );
        assert!(message(&["b"; 10]).ends_with(" b, b"));
        assert_eq!(message(&["b"; 12]), format!("{} and 2 more", message(&["b"; 10])));
        assert!(message(&["b".repeat(60_000).as_str(); 10]).len() < 3000);
    }

    #[test]
    fn a_pattern_matches_as_in_node() {
        for (pattern, host, fits) in [
            ("a.example.com", "A.example.COM.", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("a*c.example.com", "abc.example.com", true),
            ("a*c.example.com", "ac.example.com", true),
            ("ab*bc.example.com", "abc.example.com", false),
            ("*a*.example.com", "bab.example.com", false),
            ("*.com", "example.com", false),
            ("a.*.com", "a.example.com", false),
            ("xn--*.example.com", "xn--a.example.com", false),
            ("a..com", "a..com", false),
            ("a b.example.com", "a b.example.com", false),
            ("", "", false),
        ] {
            assert_eq!(matches(pattern, host), fits, "{pattern} {host}");
        }
    }
}
