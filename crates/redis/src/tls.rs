//! A TLS client from the options that Node's `tls.connect` takes.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use super::config::Tls;

/// The options that are honoured.
#[derive(Debug, Default)]
pub struct TlsOptions {
    /// PEM: authorities to trust instead of Mozilla's.
    pub ca: Vec<Vec<u8>>,
    /// PEM: the client's certificate chain.
    pub cert: Vec<u8>,
    /// PEM: the client's private key.
    pub key: Vec<u8>,
    /// Whose certificate is expected.
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

fn problem(option: &'static str, problem: impl ToString) -> TlsOptionError {
    TlsOptionError { option, problem: problem.to_string() }
}

impl TlsOptions {
    pub fn build(self) -> Result<Tls, TlsOptionError> {
        let server_name = ServerName::try_from(self.server_name.clone())
            .map_err(|_| problem("servername", "is not a host name or an IP address"))?;
        // Exactly one provider, named here: rustls would panic where it cannot tell which one is meant.
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| problem("ca", error))?;
        let builder = if self.verify {
            builder.with_root_certificates(self.roots()?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(NoVerification(provider)))
        };
        let client = match (self.cert.is_empty(), self.key.is_empty()) {
            (true, true) => builder.with_no_client_auth(),
            (false, false) => builder
                .with_client_auth_cert(certificates("cert", &self.cert)?, private_key(&self.key)?)
                .map_err(|error| problem("key", format!("does not fit the certificate: {error}")))?,
            (true, false) => return Err(problem("cert", "is missing: a key alone is of no use")),
            (false, true) => return Err(problem("key", "is missing: a certificate alone is of no use")),
        };
        Ok(Tls { server_name, client: Arc::new(client) })
    }

    fn roots(&self) -> Result<RootCertStore, TlsOptionError> {
        if self.ca.is_empty() {
            return Ok(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect());
        }
        let mut roots = RootCertStore::empty();
        for pem in &self.ca {
            for certificate in certificates("ca", pem)? {
                roots.add(certificate).map_err(|error| problem("ca", error))?;
            }
        }
        Ok(roots)
    }
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

/// Trusts whoever answers: what `rejectUnauthorized: false` asks for.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
