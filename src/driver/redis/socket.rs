//! A socket that any thread may read from and write to without waiting for the runtime to hear that it is ready.

#[cfg(unix)]
pub use self::unix::{Reader, Socket, Watcher};

#[cfg(unix)]
mod unix {
    use std::{
        io,
        os::fd::{AsFd, BorrowedFd},
        pin::Pin,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::{Context, Poll, Waker, ready},
    };

    use futures_util::task::AtomicWaker;
    use socket2::Socket as Inner;
    use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

    /// Who looks after sockets in the runtime's place: a thread that may [assist](crate::tasks::assist). It tells `reader`
    /// when something has come.
    pub trait Watcher: Send + Sync {
        fn watch(&self, socket: BorrowedFd<'_>, reader: &Arc<Reader>);
        /// Called before the socket is closed.
        fn unwatch(&self, socket: BorrowedFd<'_>);
        /// Tells all readers to try, as that thread may be busy.
        fn look(&self);
    }

    /// Whoever reads from a socket that has a watcher.
    pub struct Reader {
        /// Something may have come since the last try, which would be in vain otherwise.
        readable: AtomicBool,
        waker: AtomicWaker,
    }

    impl Reader {
        /// Something may have come. Whom to wake, if somebody waits for that.
        #[must_use]
        pub fn tell(&self) -> Option<Waker> {
            self.readable.store(true, Ordering::Release);
            self.waker.take()
        }

        fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
            if !self.readable.swap(false, Ordering::AcqRel) {
                self.waker.register(context.waker());
                // It may have come just before.
                if !self.readable.swap(false, Ordering::AcqRel) {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        }
    }

    /// Tokio's own streams try only after the runtime's thread has been told that the socket is ready. Here a try comes
    /// first, so another thread that polls the socket is not kept waiting for that one to wake up. With a watcher, the
    /// runtime is not told at all that there is something to read: it would wake up for nothing each time.
    pub struct Socket {
        inner: AsyncFd<Inner>,
        watcher: Option<Arc<dyn Watcher>>,
        reader: Arc<Reader>,
    }

    impl Socket {
        /// Must be called on the runtime.
        pub fn new(socket: impl Into<Inner>, watcher: Option<Arc<dyn Watcher>>) -> io::Result<Self> {
            // SAFETY: the socket owns its descriptor, which stays the same and open as long as it lives.
            let inner = unsafe {
                match watcher {
                    Some(_) => AsyncFd::register_with_interest(socket.into(), Interest::WRITABLE)?,
                    None => AsyncFd::register(socket.into())?,
                }
            };
            let reader = Arc::new(Reader { readable: AtomicBool::new(true), waker: AtomicWaker::new() });
            if let Some(watcher) = &watcher {
                watcher.watch(inner.as_fd(), &reader);
            }
            Ok(Self { inner, watcher, reader })
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            if let Some(watcher) = &self.watcher {
                watcher.unwatch(self.inner.as_fd());
            }
        }
    }

    fn would_block(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::WouldBlock
    }

    impl AsyncRead for Socket {
        fn poll_read(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            loop {
                if self.watcher.is_some() {
                    ready!(self.reader.poll_readable(context));
                }
                // SAFETY: nothing that is initialized is made uninitialized by receiving into it.
                match self.inner.get_ref().recv(unsafe { buffer.unfilled_mut() }) {
                    Ok(received) => {
                        if received == buffer.remaining() {
                            // There may be more.
                            self.reader.readable.store(true, Ordering::Release);
                        }
                        // SAFETY: so many bytes have just been received.
                        unsafe { buffer.assume_init(received) };
                        buffer.advance(received);
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                        self.reader.readable.store(true, Ordering::Release);
                    }
                    Err(error) if would_block(&error) => {
                        if self.watcher.is_none() {
                            ready!(self.inner.poll_read_ready(context))?.clear_ready();
                        }
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        }
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            loop {
                match self.inner.get_ref().send_with_flags(bytes, libc::MSG_NOSIGNAL) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if would_block(&error) => {
                        ready!(self.inner.poll_write_ready(context))?.clear_ready();
                    }
                    done => return Poll::Ready(done),
                }
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(self.inner.get_ref().shutdown(std::net::Shutdown::Write))
        }
    }

    #[cfg(test)]
    mod tests {
        use std::{
            future::poll_fn, io::Write, os::unix::net::UnixStream, sync::Mutex, thread, time::Duration,
        };

        use super::*;

        /// Knows one reader, and tells it when it is asked to.
        #[derive(Default)]
        struct Asked(Mutex<Option<Arc<Reader>>>);

        impl Watcher for Asked {
            fn watch(&self, _: BorrowedFd<'_>, reader: &Arc<Reader>) {
                *self.0.lock().unwrap() = Some(reader.clone());
            }

            fn unwatch(&self, _: BorrowedFd<'_>) {
                *self.0.lock().unwrap() = None;
            }

            fn look(&self) {
                if let Some(waker) = self.0.lock().unwrap().as_ref().and_then(|reader| reader.tell()) {
                    waker.wake();
                }
            }
        }

        fn pair(watcher: Option<Arc<dyn Watcher>>) -> (Socket, UnixStream) {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            (Socket::new(ours, watcher).unwrap(), theirs)
        }

        async fn read(socket: &mut Socket) -> Vec<u8> {
            let mut memory = [0; 16];
            let mut buffer = ReadBuf::new(&mut memory);
            poll_fn(|context| Pin::new(&mut *socket).poll_read(context, &mut buffer)).await.unwrap();
            buffer.filled().to_vec()
        }

        #[tokio::test]
        async fn is_read_when_the_runtime_hears_of_it_if_nobody_else_watches() {
            let (mut socket, mut peer) = pair(None);
            for word in ["one", "two"] {
                let mut peer = peer.try_clone().unwrap();
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(20));
                    peer.write_all(word.as_bytes())
                });
                assert_eq!(read(&mut socket).await, word.as_bytes());
            }
            peer.write_all(b"more than there is room for").unwrap();
            drop(peer);
            assert_eq!(read(&mut socket).await, b"more than there ");
            assert_eq!(read(&mut socket).await, b"is room for");
            assert_eq!(read(&mut socket).await, b"");
        }

        #[tokio::test]
        async fn is_read_when_its_watcher_says_so_and_not_before() {
            let asked = Arc::new(Asked::default());
            let (mut socket, mut peer) = pair(Some(asked.clone()));
            let mut reading = Box::pin(read(&mut socket));
            assert!(futures_util::poll!(&mut reading).is_pending());
            peer.write_all(b"word").unwrap();
            assert!(futures_util::poll!(&mut reading).is_pending());
            asked.look();
            assert_eq!(reading.await, b"word");
            // What was said before the try counts, too.
            peer.write_all(b"another").unwrap();
            asked.look();
            assert_eq!(read(&mut socket).await, b"another");
            drop(socket);
            assert!(asked.0.lock().unwrap().is_none());
        }
    }
}
