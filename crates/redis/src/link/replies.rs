//! Bytes from the server, as values.

use std::io::{self, Read};

use lock_inc_core::error::Cause;
use redis::{Parser, Value};

use super::{
    failure,
    transport::{Transport, would_block},
};

/// Reads what the server says, one value after the other.
#[derive(Default)]
pub(crate) struct Replies {
    parser: Parser,
}

/// What has come of reading.
pub(crate) enum Next {
    Value(Value),
    /// Nothing more has come, or not all of it.
    Nothing,
    /// Nothing more will.
    End(Cause),
}

impl Replies {
    /// `drained`: the socket is known to be empty; so it is not asked. It is set where that turns out.
    pub(crate) fn next(&mut self, transport: &Transport, drained: &mut bool) -> Next {
        let mut bytes = Bytes { transport, drained, stopped: None };
        let parsed = self.parser.parse_value(&mut bytes);
        match (parsed, bytes.stopped) {
            (Ok(value), _) => Next::Value(value),
            (Err(_), Some(Stopped::Dry)) => Next::Nothing,
            (Err(_), Some(Stopped::End(cause))) => Next::End(cause),
            (Err(error), None) => {
                Next::End(Cause::new("EPROTO", format_args!("not the Redis protocol: {error}")))
            }
        }
    }
}

/// Why no more bytes came while a value was read.
enum Stopped {
    Dry,
    End(Cause),
}

struct Bytes<'a> {
    transport: &'a Transport,
    drained: &'a mut bool,
    stopped: Option<Stopped>,
}

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let received =
            if *self.drained { Err(io::ErrorKind::WouldBlock.into()) } else { self.transport.read(buffer) };
        match &received {
            Ok(0) => {
                self.stopped =
                    Some(Stopped::End(Cause::new("ECONNRESET", "the server has closed the connection")));
            }
            // Less than there was room for: there is no more, and to ask would be a system call.
            Ok(received) => *self.drained = self.transport.is_plain() && *received < buffer.len(),
            Err(error) if would_block(error) => self.stopped = Some(Stopped::Dry),
            Err(error) => self.stopped = Some(Stopped::End(failure::of_io(error))),
        }
        received
    }
}
