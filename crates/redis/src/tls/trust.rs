//! Whether a certificate is trusted, by the rules of OpenSSL, which are those of `node:tls`. They differ from webpki's: what is
//! trusted has to be self-signed and may be the server's own certificate, and certificates of version 1 are read. A flaw has
//! the code that Node.js gives it, which is `UNSPECIFIED` where it has none of its own.

use lock_inc_core::error::Cause;
use rustls::pki_types::SignatureVerificationAlgorithm;
use x509_cert::{
    der::{asn1::ObjectIdentifier, oid::AssociatedOid},
    ext::pkix::{KeyUsage, KeyUsages},
};

use super::{
    certificate::{Certificate, NetscapeType},
    name_constraints,
};

/// Critical extensions that are checked, or say nothing of what is asked here.
const KNOWN: [ObjectIdentifier; 14] = [
    ObjectIdentifier::new_unwrap("2.5.29.14"), // subjectKeyIdentifier
    ObjectIdentifier::new_unwrap("2.5.29.15"), // keyUsage
    ObjectIdentifier::new_unwrap("2.5.29.17"), // subjectAltName
    ObjectIdentifier::new_unwrap("2.5.29.19"), // basicConstraints
    ObjectIdentifier::new_unwrap("2.5.29.30"), // nameConstraints
    ObjectIdentifier::new_unwrap("2.5.29.31"), // cRLDistributionPoints
    ObjectIdentifier::new_unwrap("2.5.29.32"), // certificatePolicies
    ObjectIdentifier::new_unwrap("2.5.29.33"), // policyMappings
    ObjectIdentifier::new_unwrap("2.5.29.35"), // authorityKeyIdentifier
    ObjectIdentifier::new_unwrap("2.5.29.36"), // policyConstraints
    ObjectIdentifier::new_unwrap("2.5.29.37"), // extKeyUsage
    ObjectIdentifier::new_unwrap("2.5.29.54"), // inhibitAnyPolicy
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.5"), // ocspNoCheck
    NetscapeType::OID,
];

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// No chain of a real authority comes near it.
const MAX_LENGTH: usize = 100;

/// What a chain is checked against.
pub(super) struct Context<'a> {
    pub(super) trusted: &'a [Certificate],
    pub(super) algorithms: &'a [&'static dyn SignatureVerificationAlgorithm],
    /// Seconds since 1970.
    pub(super) now: u64,
}

/// From the server's certificate up, as far as there are issuers.
struct Chain<'a> {
    links: Vec<&'a Certificate>,
    /// How many of them are not among those that are trusted.
    sent: usize,
    is_trusted: bool,
}

/// The last that is found wrong is told, as Node.js does. What is laborious is done as long as nothing is: else whoever answers
/// could keep this thread busy with a chain that nobody has issued.
pub(super) fn verify(leaf: &Certificate, sent: &[Certificate], context: &Context<'_>) -> Result<(), Cause> {
    let chain = Chain::build(leaf, sent, context);
    let mut flaws = Vec::new();
    flaws.extend(chain.missing_trust());
    flaws.extend(chain.unfit_extensions());
    flaws.extend(chain.bad_signatures_and_dates(context, flaws.is_empty()));
    if flaws.is_empty() {
        flaws.extend(name_constraints::violation(&chain.links));
    }
    flaws.pop().map_or(Ok(()), Err)
}

impl<'a> Chain<'a> {
    fn build(leaf: &'a Certificate, sent: &'a [Certificate], context: &Context<'a>) -> Self {
        let mut chain = Self { links: vec![leaf], sent: 1, is_trusted: false };
        let mut sent: Vec<_> = sent.iter().filter(|one| *one != leaf).collect();
        let mut last = leaf;
        while chain.links.len() < MAX_LENGTH {
            if last.is_self_signed() {
                // One that has merely the name of a trusted one is not that one.
                chain.is_trusted = context.trusted.contains(last);
                break;
            }
            let wanted = |issuer: &&'a Certificate| last.names_as_issuer(issuer);
            let is_new = |issuer: &&'a Certificate| !chain.links.contains(issuer);
            // Trusted ones go first, and from there on no other is looked for.
            let found = best(context.trusted.iter().filter(wanted).filter(is_new), context.now);
            let Some(issuer) = found.or_else(|| best(sent.iter().copied().filter(wanted), context.now))
            else {
                break;
            };
            if found.is_some() {
                sent.clear();
            } else {
                sent.retain(|one| *one != issuer);
                chain.sent += 1;
            }
            chain.links.push(issuer);
            last = issuer;
        }
        chain
    }

    fn missing_trust(&self) -> Option<Cause> {
        let alone = self.links.len() == 1;
        let last = self.links.last().filter(|_| !self.is_trusted)?;
        Some(match (last.is_self_signed(), alone) {
            (true, true) => {
                flaw("DEPTH_ZERO_SELF_SIGNED_CERT", "the certificate is self-signed, and not in ca")
            }
            (true, false) => flaw(
                "SELF_SIGNED_CERT_IN_CHAIN",
                "the chain ends in a self-signed certificate that is not in ca",
            ),
            (false, _) if self.sent < self.links.len() => flaw(
                "UNABLE_TO_GET_ISSUER_CERT",
                "ca has an intermediate authority, but not the root that issued it",
            ),
            (false, _) => flaw(
                "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
                "the issuer of the last certificate in the chain is not in ca",
            ),
        })
    }

    fn unfit_extensions(&self) -> Vec<Cause> {
        let mut flaws = Vec::new();
        let mut intermediates = 0;
        for (depth, certificate) in self.links.iter().enumerate() {
            let is_last = depth + 1 == self.links.len();
            if certificate.critical_extensions().any(|id| !KNOWN.contains(&id)) {
                flaws.push(flaw("UNSPECIFIED", "a critical extension is unknown"));
            }
            if depth > 0 && !may_issue(certificate, is_last) {
                flaws.push(flaw("INVALID_CA", "an issuer in the chain is no authority"));
            }
            let is_fit = if depth > 0 { may_issue(certificate, true) } else { may_serve(certificate) };
            if !is_fit || !is_for_servers(certificate) {
                let what = if depth > 0 { "an issuer in the chain" } else { "the certificate" };
                flaws.push(flaw("INVALID_PURPOSE", &format!("{what} must not be used for a TLS server")));
            }
            let limit = certificate.basic_constraints.as_ref().and_then(|basic| basic.path_len_constraint);
            if depth > 1 && limit.is_some_and(|limit| intermediates > u32::from(limit)) {
                flaws.push(flaw(
                    "PATH_LENGTH_EXCEEDED",
                    "there are more authorities in the chain than one of them allows",
                ));
            }
            if depth > 0 && certificate.subject != certificate.issuer {
                intermediates += 1;
            }
        }
        flaws
    }

    /// From the top down, so that the server's own certificate is the last. `is_sound`: nothing else is wrong with the chain.
    fn bad_signatures_and_dates(&self, context: &Context<'_>, mut is_sound: bool) -> Vec<Cause> {
        let mut flaws = Vec::new();
        for (depth, certificate) in self.links.iter().enumerate().rev() {
            match self.links.get(depth + 1) {
                Some(issuer) if !may_sign(issuer) => {
                    flaws.push(flaw("UNSPECIFIED", "an issuer in the chain must not sign certificates"));
                }
                Some(issuer) if is_sound => {
                    let flaw = bad_signature(certificate, issuer, context);
                    is_sound = flaw.is_none();
                    flaws.extend(flaw);
                }
                Some(_) => {}
                // It is known by what is trusted, and a signature by itself would prove nothing.
                None if certificate.is_self_signed() => {}
                None if depth == 0 => flaws.push(flaw(
                    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
                    "the issuer of the certificate is not in ca, nor was it sent",
                )),
                None => continue,
            }
            let (from, until) = certificate.validity();
            if context.now < from {
                flaws.push(flaw("CERT_NOT_YET_VALID", "a certificate in the chain is not valid yet"));
            }
            if context.now > until {
                flaws.push(flaw("CERT_HAS_EXPIRED", "a certificate in the chain has expired"));
            }
        }
        flaws
    }
}

fn bad_signature(certificate: &Certificate, issuer: &Certificate, context: &Context<'_>) -> Option<Cause> {
    match certificate.is_signed_by(issuer, context.algorithms) {
        Some(true) => None,
        Some(false) => Some(flaw("CERT_SIGNATURE_FAILURE", "a signature in the chain is wrong")),
        None => Some(flaw(
            "UNSPECIFIED",
            "a signature in the chain is of an algorithm that is too weak or not supported",
        )),
    }
}

fn flaw(code: &str, message: &str) -> Cause {
    Cause::new(code, message)
}

/// The first that is valid now, or else the one that was for longest.
fn best<'a>(candidates: impl Iterator<Item = &'a Certificate> + Clone, now: u64) -> Option<&'a Certificate> {
    let is_valid = |certificate: &&Certificate| {
        let (from, until) = certificate.validity();
        (from..=until).contains(&now)
    };
    candidates
        .clone()
        .find(is_valid)
        .or_else(|| candidates.max_by_key(|certificate| certificate.validity().1))
}

/// Roots may be from the time before there were extensions.
fn may_issue(certificate: &Certificate, is_last: bool) -> bool {
    match &certificate.basic_constraints {
        _ if !may_sign(certificate) => false,
        Some(basic) => basic.ca,
        None => {
            is_last
                && (certificate.key_usage.is_some() || (certificate.is_v1() && certificate.is_self_signed()))
        }
    }
}

fn may_sign(certificate: &Certificate) -> bool {
    certificate.key_usage.as_ref().is_none_or(KeyUsage::key_cert_sign)
}

fn may_serve(certificate: &Certificate) -> bool {
    let serves = |KeyUsage(usage): &KeyUsage| {
        usage.contains(KeyUsages::DigitalSignature)
            || usage.contains(KeyUsages::KeyEncipherment)
            || usage.contains(KeyUsages::KeyAgreement)
    };
    certificate.key_usage.as_ref().is_none_or(serves)
        && certificate.netscape_type.as_ref().is_none_or(NetscapeType::is_for_servers)
}

fn is_for_servers(certificate: &Certificate) -> bool {
    certificate.extended_key_usage.as_ref().is_none_or(|usage| usage.0.contains(&SERVER_AUTH))
}
