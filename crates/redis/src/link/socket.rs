//! A socket that any thread may read from and write to without waiting for the runtime to hear that it is ready.
//!
//! Tokio's own streams try only after the runtime's thread has been told that the socket is ready. Here a try comes first,
//! so another thread is not kept waiting for that one to wake up.

use std::io;

#[cfg(not(unix))]
pub(crate) use self::other::Socket;
#[cfg(unix)]
pub(crate) use self::unix::Socket;

/// What can be read by whoever finds out first that there is something to read.
pub trait Readable: Send + Sync {
    /// Reads all that has come. Never waits for more.
    fn read(&self);
}

/// Who else looks after sockets, besides the runtime: the event loop of the thread that makes the calls.
#[cfg(unix)]
pub trait Watcher: Send + Sync {
    /// From now on `reader` is called, in the watcher's own thread, when something has come. An error: it is not.
    fn watch(
        &self,
        socket: std::os::fd::BorrowedFd<'_>,
        reader: std::sync::Arc<dyn Readable>,
    ) -> io::Result<()>;

    /// Called before the socket is closed.
    fn unwatch(&self, socket: std::os::fd::BorrowedFd<'_>);
}

#[cfg(unix)]
mod unix {
    use std::{
        io,
        net::SocketAddr,
        os::fd::{AsFd, BorrowedFd},
    };

    use socket2::Socket as Inner;
    use tokio::io::{Interest, unix::AsyncFd};

    pub(crate) struct Socket(AsyncFd<Inner>);

    impl Socket {
        /// Takes a socket that does not block. Must be called on the runtime.
        pub(crate) fn new(socket: impl Into<Inner>) -> io::Result<Self> {
            // SAFETY: the socket owns its descriptor, which stays the same and open as long as it lives.
            Ok(Self(unsafe { AsyncFd::register(socket.into())? }))
        }

        /// Whether the runtime is told that there is something to read. Where somebody else reads, it would wake up for
        /// nothing each time.
        pub(crate) fn with_reading(self, reading: bool) -> io::Result<Self> {
            let socket = self.0.into_inner();
            let interest = if reading { Interest::READABLE | Interest::WRITABLE } else { Interest::WRITABLE };
            // SAFETY: as above.
            Ok(Self(unsafe { AsyncFd::register_with_interest(socket, interest)? }))
        }

        pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            loop {
                match io::Read::read(&mut self.0.get_ref(), buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return done,
                }
            }
        }

        pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            loop {
                match self.0.get_ref().send_with_flags(bytes, libc::MSG_NOSIGNAL) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return done,
                }
            }
        }

        /// Waits until the socket may be readable; may wake for nothing. What comes from here on is heard of again.
        pub(crate) async fn readable(&self) -> io::Result<()> {
            self.0.readable().await?.clear_ready();
            Ok(())
        }

        pub(crate) async fn writable(&self) -> io::Result<()> {
            self.0.writable().await?.clear_ready();
            Ok(())
        }

        pub(crate) fn peer(&self) -> Option<SocketAddr> {
            self.0.get_ref().peer_addr().ok()?.as_socket()
        }
    }

    impl AsFd for Socket {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.get_ref().as_fd()
        }
    }
}

#[cfg(not(unix))]
mod other {
    use std::{io, net::SocketAddr};

    use tokio::net::TcpStream;

    pub(crate) struct Socket(TcpStream);

    impl Socket {
        pub(crate) fn new(stream: std::net::TcpStream) -> io::Result<Self> {
            TcpStream::from_std(stream).map(Self)
        }

        pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.try_read(buffer)
        }

        pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            self.0.try_write(bytes)
        }

        pub(crate) async fn readable(&self) -> io::Result<()> {
            self.0.readable().await
        }

        pub(crate) async fn writable(&self) -> io::Result<()> {
            self.0.writable().await
        }

        pub(crate) fn peer(&self) -> Option<SocketAddr> {
            self.0.peer_addr().ok()
        }
    }
}
