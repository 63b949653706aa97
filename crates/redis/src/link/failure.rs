//! Why there is no connection.

use std::io;

use lock_inc_core::error::{Cause, Refusal};
use redis::ServerError;

use crate::{
    refusal::{self, RefusalKind},
    tls,
};

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(crate) enum ConnectError {
    /// The network, the server or its load: it may come.
    Passing(Cause),
    /// TLS did not come to an agreement.
    Tls(Cause),
    /// The server does not want us as we are.
    Refused(Refusal),
}

impl ConnectError {
    /// An error reply while a connection is set up.
    pub(crate) fn of_handshake(error: &ServerError) -> Self {
        let kind = refusal::kind_of(error);
        let refusal = refusal::of_reply(error, false);
        // Too many clients, loading and the like: the next try may do better.
        if kind.is_passing() || kind == RefusalKind::Other {
            Self::Passing(refusal.cause)
        } else {
            Self::Refused(refusal)
        }
    }

    /// Adds what was being done where nothing else is said than that the connection has ended or the time is over.
    pub(crate) fn at(self, step: &str) -> Self {
        match self {
            Self::Passing(Cause { code, message }) if is_bare(&code) => {
                Self::Passing(Cause::new(&code, format_args!("{message}, at {step}")))
            }
            error => error,
        }
    }

    pub(crate) fn cause(&self) -> &Cause {
        match self {
            Self::Passing(cause) | Self::Tls(cause) => cause,
            Self::Refused(refusal) => &refusal.cause,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Passing(of_io(&error))
    }
}

impl From<rustls::Error> for ConnectError {
    fn from(error: rustls::Error) -> Self {
        let cause = match &error {
            rustls::Error::InvalidMessage(_) => {
                Cause::new("ERR_TLS", format_args!("the server does not speak TLS on this port: {error}"))
            }
            _ => tls::cause_of(&error),
        };
        Self::Tls(cause)
    }
}

/// An error of the operating system, with the name that Node.js gives it; or of TLS.
pub(crate) fn of_io(error: &io::Error) -> Cause {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        // rustls says it in words of its own, with an address of its documentation.
        return Cause::new("ECONNRESET", "the server has closed the connection");
    }
    match system_name(error) {
        Some(name) => Cause::new(&name, error),
        None => Cause::new(name_of_kind(error), error),
    }
}

/// Its own name, if it is the system that has failed.
#[cfg(unix)]
pub(crate) fn system_name(error: &io::Error) -> Option<String> {
    use nix::errno::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw)?;
    (errno != Errno::UnknownErrno).then(|| format!("{errno:?}"))
}

#[cfg(not(unix))]
pub(crate) fn system_name(_: &io::Error) -> Option<String> {
    None
}

fn name_of_kind(error: &io::Error) -> &'static str {
    use io::ErrorKind;
    if let Some(inner) = error.get_ref()
        && inner.is::<rustls::Error>()
    {
        return "ERR_TLS";
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => "ECONNREFUSED",
        ErrorKind::ConnectionReset => "ECONNRESET",
        ErrorKind::ConnectionAborted => "ECONNABORTED",
        ErrorKind::BrokenPipe => "EPIPE",
        ErrorKind::TimedOut => "ETIMEDOUT",
        ErrorKind::NotFound => "ENOENT",
        ErrorKind::PermissionDenied => "EACCES",
        ErrorKind::HostUnreachable => "EHOSTUNREACH",
        ErrorKind::NetworkUnreachable => "ENETUNREACH",
        ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        _ => "EIO",
    }
}

/// Whether an error says no more than that the other side has ended the connection, is silent, or speaks another protocol.
fn is_bare(code: &str) -> bool {
    matches!(code, "ECONNRESET" | "EPIPE" | "ETIMEDOUT" | "EPROTO")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_has_its_own_name() {
        for (errno, name) in [(libc::EMFILE, "EMFILE"), (libc::ENFILE, "ENFILE"), (libc::EACCES, "EACCES")] {
            assert_eq!(&*of_io(&io::Error::from_raw_os_error(errno)).code, name);
        }
        assert_eq!(&*of_io(&io::ErrorKind::UnexpectedEof.into()).code, "ECONNRESET");
        assert_eq!(&*of_io(&io::Error::other(rustls::Error::DecryptError)).code, "ERR_TLS");
    }
}
