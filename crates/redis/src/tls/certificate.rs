//! What is read of a certificate.

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use x509_cert::{
    Version,
    der::{
        Decode, Encode, Error, Reader, Result, SliceReader, Tag, Tagged,
        asn1::{Any, AnyRef, BitString, BmpString, ObjectIdentifier},
        oid::{AssociatedOid, db::rfc4519::COMMON_NAME},
    },
    ext::pkix::{
        AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints,
        SubjectAltName, SubjectKeyIdentifier, name::GeneralNames,
    },
    name::Name,
    spki::SubjectPublicKeyInfoOwned,
};

/// A certificate whose extensions can all be read: one that says something unintelligible of itself is none.
#[derive(Debug)]
pub(super) struct Certificate {
    der: Vec<u8>,
    inner: x509_cert::Certificate,
    pub(super) subject: Comparable,
    pub(super) issuer: Comparable,
    pub(super) basic_constraints: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    pub(super) netscape_type: Option<NetscapeType>,
    pub(super) alt_names: GeneralNames,
    pub(super) name_constraints: Option<NameConstraints>,
    authority_key: Option<AuthorityKeyIdentifier>,
    subject_key: Option<SubjectKeyIdentifier>,
}

/// The same certificate, byte for byte.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Certificate {
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self> {
        let inner = x509_cert::Certificate::from_der(der)?;
        let tbs = inner.tbs_certificate();
        Ok(Self {
            der: der.to_vec(),
            subject: Comparable::from(tbs.subject()),
            issuer: Comparable::from(tbs.issuer()),
            basic_constraints: extension(&inner)?,
            key_usage: extension(&inner)?,
            extended_key_usage: extension(&inner)?,
            netscape_type: extension(&inner)?,
            alt_names: extension::<SubjectAltName>(&inner)?.map(|names| names.0).unwrap_or_default(),
            name_constraints: extension(&inner)?,
            authority_key: extension(&inner)?,
            subject_key: extension(&inner)?,
            inner,
        })
    }

    pub(super) fn is_v1(&self) -> bool {
        self.inner.tbs_certificate().version() == Version::V1
    }

    /// Seconds since 1970.
    pub(super) fn validity(&self) -> (u64, u64) {
        let validity = self.inner.tbs_certificate().validity();
        (validity.not_before.to_unix_duration().as_secs(), validity.not_after.to_unix_duration().as_secs())
    }

    pub(super) fn common_names(&self) -> impl Iterator<Item = String> {
        self.in_subject(COMMON_NAME).filter_map(text)
    }

    pub(super) fn in_subject(&self, kind: ObjectIdentifier) -> impl Iterator<Item = &Any> {
        let attributes = self.inner.tbs_certificate().subject().iter();
        attributes.filter(move |attribute| attribute.oid == kind).map(|attribute| &attribute.value)
    }

    pub(super) fn critical_extensions(&self) -> impl Iterator<Item = ObjectIdentifier> {
        let extensions = self.inner.tbs_certificate().extensions().into_iter().flatten();
        extensions.filter(|extension| extension.critical).map(|extension| extension.extn_id)
    }

    /// Whether, by its name and its key identifier, `issuer` has issued this one. The signature is another question.
    pub(super) fn names_as_issuer(&self, issuer: &Self) -> bool {
        let Some(named) = &self.authority_key else { return self.issuer == issuer.subject };
        let key = named.key_identifier.as_ref().zip(issuer.subject_key.as_ref());
        let serial = named.authority_cert_serial_number.as_ref();
        self.issuer == issuer.subject
            && key.is_none_or(|(named, own)| *named == own.0)
            && serial.is_none_or(|serial| serial == issuer.inner.tbs_certificate().serial_number())
    }

    pub(super) fn is_self_signed(&self) -> bool {
        self.names_as_issuer(self)
    }

    /// Whether the key of `issuer` has signed this one. `None`: by no algorithm that is known.
    pub(super) fn is_signed_by(
        &self,
        issuer: &Self,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Option<bool> {
        let (tbs, algorithm) = self.signed_part().ok()?;
        // It says by which one it is signed twice, of which only what is within is signed.
        if self.inner.tbs_certificate().signature() != self.inner.signature_algorithm() {
            return Some(false);
        }
        let signature = self.inner.signature().raw_bytes();
        let key = issuer.inner.tbs_certificate().subject_public_key_info();
        let is_meant =
            |one: &&&dyn SignatureVerificationAlgorithm| one.signature_alg_id().as_ref() == algorithm;
        let mut meant = algorithms.iter().filter(is_meant).peekable();
        meant.peek()?;
        Some(meant.any(|algorithm| has_signed(key, *algorithm, tbs, signature)))
    }

    /// What is signed, and by which algorithm. As they stand there: what is encoded anew may be other bytes.
    fn signed_part(&self) -> Result<(&[u8], &[u8])> {
        SliceReader::new(&self.der)?.sequence(|reader| {
            let parts = (reader.tlv_bytes()?, AnyRef::decode(reader)?.value());
            reader.tlv_bytes()?;
            Ok(parts)
        })
    }
}

/// What a certificate is for, in the words of Netscape, which came before those of today.
#[derive(Debug)]
pub(super) struct NetscapeType(BitString);

impl NetscapeType {
    pub(super) fn is_for_servers(&self) -> bool {
        self.0.get(1) == Some(true)
    }
}

impl AssociatedOid for NetscapeType {
    const OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113730.1.1");
}

impl<'a> Decode<'a> for NetscapeType {
    type Error = Error;

    fn decode<R: Reader<'a>>(reader: &mut R) -> Result<Self> {
        BitString::decode(reader).map(Self)
    }
}

/// The key of a certificate of which nothing else need be intelligible.
pub(super) fn key_of(der: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoOwned> {
    Ok(x509_cert::Certificate::from_der(der)?.tbs_certificate().subject_public_key_info().clone())
}

pub(super) fn has_signed(
    key: &SubjectPublicKeyInfoOwned,
    algorithm: &dyn SignatureVerificationAlgorithm,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let fits = || {
        let of_key = key.algorithm.to_der()?;
        Result::Ok(AnyRef::from_der(&of_key)?.value() == algorithm.public_key_alg_id().as_ref())
    };
    let key_bits = key.subject_public_key.raw_bytes();
    fits().unwrap_or(false) && algorithm.verify_signature(key_bits, message, signature).is_ok()
}

/// Fails where the extension is there twice, or cannot be read.
fn extension<T>(certificate: &x509_cert::Certificate) -> Result<Option<T>>
where
    T: for<'a> Decode<'a, Error = Error> + AssociatedOid,
{
    Ok(certificate.tbs_certificate().get_extension::<T>()?.map(|(_, value)| value))
}

/// A name in the form in which names are compared: capitals, the number of blanks, and the type of a string do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparable(Vec<Vec<(ObjectIdentifier, Vec<u8>)>>);

impl Comparable {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl From<&Name> for Comparable {
    fn from(name: &Name) -> Self {
        let value = |value: &Any| match text(value) {
            Some(text) => {
                text.to_ascii_lowercase().split_ascii_whitespace().collect::<Vec<_>>().join(" ").into_bytes()
            }
            None => value.value().to_vec(),
        };
        let relative = |rdn: &x509_cert::name::RelativeDistinguishedName| {
            let mut attributes: Vec<_> =
                rdn.iter().map(|attribute| (attribute.oid, value(&attribute.value))).collect();
            attributes.sort_unstable();
            attributes
        };
        Self(name.iter_rdn().map(relative).collect())
    }
}

/// A string of whichever type.
fn text(value: &Any) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => {
            String::from_utf8(bytes.to_vec()).ok()
        }
        // By its standard it is something else, but Latin-1 is what is written, and what OpenSSL reads.
        Tag::TeletexString => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => Some(BmpString::from_ucs2(bytes).ok()?.to_string()),
        _ => None,
    }
}
