//! What rustls asks about the server's certificate.

use std::sync::Arc;

use lock_inc_core::error::Cause;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
};
use x509_cert::der::Encode;

use super::{
    certificate::{Certificate, has_signed, key_of},
    identity,
    trust::{self, Context},
};

/// Says what `tls.connect` of Node.js says.
#[derive(Clone, Debug)]
pub(super) struct Verifier {
    /// `None`: whoever answers is trusted, as `rejectUnauthorized: false` asks for.
    pub(super) trusted: Option<Arc<[Certificate]>>,
    /// Whose certificate is expected.
    pub(super) host: String,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Cause> {
        let Some(trusted) = &self.trusted else { return Ok(()) };
        let leaf = Certificate::read(leaf)
            .map_err(|error| Cause::new("ERR_TLS", format!("the certificate cannot be read: {error}")))?;
        // An issuer that cannot be read is none.
        let sent: Vec<_> = sent.iter().filter_map(|der| Certificate::read(der).ok()).collect();
        let context = Context { trusted, algorithms: self.algorithms.all, now: now.as_secs() };
        trust::verify(&leaf, &sent, &context)?;
        identity::verify(&leaf, &self.host)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verify(leaf, sent, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(cause) => Err(CertificateError::Other(OtherError(Arc::new(cause))).into()),
        }
    }

    // rustls has functions for the next two, but they read certificates as webpki does, which knows version 3 only.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = key_of(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let fits = |(scheme, _): &&(SignatureScheme, _)| *scheme == signed.scheme;
        let mut algorithms =
            self.algorithms.mapping.iter().filter(fits).flat_map(|(_, algorithms)| *algorithms);
        if algorithms.any(|algorithm| has_signed(&key, *algorithm, message, signed.signature())) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = key_of(leaf).and_then(|key| key.to_der()).map_err(|_| CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(key);
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        ClientConnection, HandshakeKind, ServerConfig, ServerConnection, SupportedProtocolVersion,
        crypto::ring,
        sign::{CertifiedKey, SingleCertAndKey},
        version::{TLS12, TLS13},
    };

    use super::*;
    use crate::{
        config::Tls,
        tls::{TlsOptions, certificates, private_key},
    };

    const CERTIFICATE: &[u8] = include_bytes!("../../../../__test__/support/tls/server.pem");
    const KEY: &[u8] = include_bytes!("../../../../__test__/support/tls/server-key.pem");
    const OTHER_KEY: &[u8] = include_bytes!("../../../../__test__/support/tls/client-key.pem");

    fn server_with(key: &[u8], version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
        let provider = ring::default_provider();
        let key = provider.key_provider.load_private_key(private_key(key).unwrap()).unwrap();
        let certified = CertifiedKey::new(certificates("cert", CERTIFICATE).unwrap(), key);
        let config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        Arc::new(config)
    }

    fn trusting() -> Tls {
        TlsOptions { server_name: "localhost".into(), ..TlsOptions::default() }
            .client()
            .unwrap()
            .for_host("")
            .unwrap()
    }

    fn handshake(client: &Tls, server: &Arc<ServerConfig>) -> Result<HandshakeKind, Error> {
        let mut server = ServerConnection::new(server.clone())?;
        let mut client = ClientConnection::new(client.client.clone(), client.server_name.clone())?;
        // What comes after a handshake are tickets for the next one.
        while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
            let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut to_server).unwrap();
            }
            server.read_tls(&mut to_server.as_slice()).unwrap();
            server.process_new_packets()?;
            while server.wants_write() {
                server.write_tls(&mut to_client).unwrap();
            }
            client.read_tls(&mut to_client.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(client.handshake_kind().unwrap())
    }

    #[test]
    fn a_server_must_have_the_key_of_the_certificate_that_it_shows() {
        for version in [&TLS12, &TLS13] {
            assert_eq!(handshake(&trusting(), &server_with(KEY, version)), Ok(HandshakeKind::Full));
            let signature = Error::InvalidCertificate(CertificateError::BadSignature);
            let outcome = handshake(&trusting(), &server_with(OTHER_KEY, version));
            assert_eq!(outcome, Err(signature), "{version:?}");
        }
    }

    #[test]
    fn each_connection_is_verified() {
        for version in [&TLS12, &TLS13] {
            let (client, server) = (trusting(), server_with(KEY, version));
            for _ in 0..2 {
                assert_eq!(handshake(&client, &server), Ok(HandshakeKind::Full), "{version:?}");
            }
        }
    }
}
