//! A TLS client from the options that Node's `tls.connect` takes.

use std::{fmt, sync::Arc};

use lock_inc_core::error::Cause;
use rustls::{
    CertificateError, ClientConfig, Error, OtherError,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use x509_cert::der::Encode;

use self::{
    certificate::{Certificate, key_of},
    verifier::Verifier,
};
use super::config::Tls;

mod certificate;
mod identity;
mod name_constraints;
mod trust;
mod verifier;

/// The options that are honoured.
#[derive(Debug, Default)]
pub struct TlsOptions {
    /// PEM: whom to trust.
    pub ca: Vec<Vec<u8>>,
    /// PEM: the client's certificate chain.
    pub cert: Vec<u8>,
    /// PEM: the client's private key.
    pub key: Vec<u8>,
    /// Whose certificate is expected; empty: that of the host that is connected to.
    pub server_name: String,
    /// `rejectUnauthorized: false` turns verification off.
    pub verify: bool,
}

/// What is wrong with the options: the option's name, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct TlsOptionError {
    pub option: &'static str,
    pub problem: String,
}

impl TlsOptionError {
    pub(crate) fn cause(&self) -> Cause {
        Cause::new("ERR_TLS", format_args!("tls.{} {}", self.option, self.problem))
    }
}

fn problem(option: &'static str, problem: impl ToString) -> TlsOptionError {
    TlsOptionError { option, problem: problem.to_string() }
}

/// A TLS client for more hosts than one.
#[derive(Clone)]
pub struct TlsClient {
    client: Arc<ClientConfig>,
    verifier: Verifier,
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("server_name", &self.verifier.host).finish_non_exhaustive()
    }
}

impl TlsClient {
    /// The same, which expects the certificate of this host wherever it connects to, where the options do not say whose.
    pub(crate) fn named(&self, host: &str) -> Result<Self, TlsOptionError> {
        let Tls { client, .. } = self.for_host(host)?;
        let mut verifier = self.verifier.clone();
        if verifier.host.is_empty() {
            host.clone_into(&mut verifier.host);
        }
        Ok(Self { client, verifier })
    }

    /// Whether a certificate of this host can be expected.
    pub fn check_host(&self, host: &str) -> Result<(), TlsOptionError> {
        self.for_host(host).map(drop)
    }

    /// Expects the certificate of this host, where the options do not say whose.
    pub(crate) fn for_host(&self, host: &str) -> Result<Tls, TlsOptionError> {
        let Self { client, verifier } = self;
        if !verifier.host.is_empty() {
            return Ok(Tls { server_name: server_name(&verifier.host)?, client: client.clone() });
        }
        let mut client = ClientConfig::clone(client);
        let verifier = Verifier { host: host.to_owned(), ..verifier.clone() };
        client.dangerous().set_certificate_verifier(Arc::new(verifier));
        Ok(Tls { server_name: server_name(host)?, client: Arc::new(client) })
    }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsOptionError> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| problem("servername", "is not a host name or an IP address"))
}

impl TlsOptions {
    /// For any host, or for the one whose certificate is expected.
    pub fn client(self) -> Result<TlsClient, TlsOptionError> {
        if !self.server_name.is_empty() {
            server_name(&self.server_name)?;
        }
        // Exactly one provider, named here: rustls would panic where it cannot tell which one is meant.
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier {
            trusted: if self.verify { Some(self.trusted()?.into()) } else { None },
            host: self.server_name,
            algorithms: provider.signature_verification_algorithms,
        };
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| problem("ca", error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier.clone()));
        let mut client = match (self.cert.is_empty(), self.key.is_empty()) {
            (true, true) => builder.with_no_client_auth(),
            (false, false) => {
                let key = certified_key(&self.cert, &self.key, &provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
            (true, false) => return Err(problem("cert", "is missing: a key alone is of no use")),
            (false, true) => return Err(problem("key", "is missing: a certificate alone is of no use")),
        };
        // A session that goes on would not be verified again.
        client.resumption = Resumption::disabled();
        Ok(TlsClient { client: Arc::new(client), verifier })
    }

    fn trusted(&self) -> Result<Vec<Certificate>, TlsOptionError> {
        let mut trusted = Vec::new();
        for pem in &self.ca {
            // One of many that cannot be read is trusted by nobody.
            let found = certificates("ca", pem)?;
            let readable = found.iter().filter_map(|der| Certificate::read(der).ok());
            let before = trusted.len();
            trusted.extend(readable);
            if trusted.len() == before {
                return Err(problem("ca", "has no certificate that can be read"));
            }
        }
        Ok(trusted)
    }
}

/// The client's certificate, of whichever version, and the key that belongs to it.
fn certified_key(cert: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, TlsOptionError> {
    let chain = certificates("cert", cert)?;
    let key =
        provider.key_provider.load_private_key(private_key(key)?).map_err(|error| problem("key", error))?;
    let expected = key_of(&chain[0]).and_then(|key| key.to_der()).map_err(|error| problem("cert", error))?;
    if key.public_key().is_some_and(|own| *own != *expected) {
        return Err(problem("key", "does not fit the certificate"));
    }
    Ok(CertifiedKey::new(chain, key))
}

fn certificates(option: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsOptionError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| problem(option, format!("is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(problem(option, "has no PEM certificate"));
    }
    Ok(found)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsOptionError> {
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| problem("key", "has no PEM private key (encrypted ones are not supported)"))
}

/// Why rustls has failed: in our words, if it was our verifier that objected.
pub(crate) fn cause_of(error: &Error) -> Cause {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(objection))) => {
            objection.downcast_ref().cloned().unwrap_or_else(|| Cause::new("ERR_TLS", error))
        }
        _ => Cause::new("ERR_TLS", error),
    }
}
