//! Bytes to and from the server: a socket, with or without TLS, that never waits.

use std::{
    io::{self, Read, Write},
    sync::Mutex,
};

use rustls::ClientConnection;

use super::{failure::ConnectError, socket::Socket};
use crate::config::Tls;
use lock_inc_core::lock;

pub(crate) struct Transport {
    socket: Socket,
    tls: Option<Mutex<ClientConnection>>,
}

impl Transport {
    pub(crate) fn plain(socket: Socket) -> Self {
        Self { socket, tls: None }
    }

    /// Agrees on TLS with the server.
    pub(crate) async fn with_tls(socket: Socket, tls: &Tls) -> Result<Self, ConnectError> {
        let mut session = ClientConnection::new(tls.client.clone(), tls.server_name.clone())?;
        // What is written is kept by us, not by the session.
        session.set_buffer_limit(None);
        while session.is_handshaking() || session.wants_write() {
            if session.wants_write() {
                match session.write_tls(&mut Writing(&socket)) {
                    Err(error) if would_block(&error) => socket.writable().await?,
                    sent => drop(sent?),
                }
            } else {
                match session.read_tls(&mut Reading(&socket)) {
                    Err(error) if would_block(&error) => socket.readable().await?,
                    Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    received => drop(received?),
                }
                if let Err(error) = session.process_new_packets() {
                    // The server is to hear why, if it still listens.
                    let _ = session.write_tls(&mut Writing(&socket));
                    return Err(error.into());
                }
            }
        }
        Ok(Self { socket, tls: Some(Mutex::new(session)) })
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Changes how the socket is looked after.
    #[cfg(unix)]
    pub(crate) fn with_reading(self, reading: bool) -> io::Result<Self> {
        Ok(Self { socket: self.socket.with_reading(reading)?, tls: self.tls })
    }

    /// Reads some of what has come. `WouldBlock`: nothing has; 0: nothing will.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &self.tls else { return self.socket.try_read(buffer) };
        let mut session = lock(tls);
        loop {
            match session.reader().read(buffer) {
                Err(error) if would_block(&error) => {}
                received => return received,
            }
            // The end is told by the reader, which knows whether it was one in order.
            session.read_tls(&mut Reading(&self.socket))?;
            session.process_new_packets().map_err(io::Error::other)?;
            if session.wants_write() {
                // An answer of TLS itself. What does not leave now leaves with the next command.
                let _ = session.write_tls(&mut Writing(&self.socket));
            }
        }
    }

    /// Sends as much as the socket takes. `true`: all of it has left.
    pub(crate) fn write(&self, outgoing: &mut Outgoing) -> io::Result<bool> {
        let Some(tls) = &self.tls else {
            while !outgoing.is_empty() {
                match self.socket.try_write(outgoing.rest()) {
                    Err(error) if would_block(&error) => return Ok(false),
                    sent => outgoing.advance(sent?),
                }
            }
            return Ok(true);
        };
        let mut session = lock(tls);
        session.writer().write_all(outgoing.rest())?;
        outgoing.clear();
        while session.wants_write() {
            match session.write_tls(&mut Writing(&self.socket)) {
                Err(error) if would_block(&error) => return Ok(false),
                sent => drop(sent?),
            }
        }
        Ok(true)
    }
}

/// Bytes that have not left yet.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

/// So much room is kept for what comes next.
const KEPT: usize = 64 * 1024;

impl Outgoing {
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(crate) fn advance(&mut self, sent: usize) {
        self.sent += sent;
        if self.is_empty() {
            self.clear();
        } else if self.sent >= KEPT && self.sent * 2 >= self.bytes.len() {
            // Else it would grow for as long as the server does not catch up.
            self.bytes.drain(..std::mem::take(&mut self.sent));
        }
    }

    fn clear(&mut self) {
        self.sent = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
    }
}

struct Reading<'a>(&'a Socket);

impl Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

struct Writing<'a>(&'a Socket);

impl Write for Writing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
