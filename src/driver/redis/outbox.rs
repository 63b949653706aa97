//! Commands on their way to a connection. What has been called together leaves together, as one pipeline, and all of it
//! in the order in which it was called.

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use redis::{Cmd, Pipeline, Value, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use super::refusal;
use crate::{error::Cause, tasks};

/// Commands in one pipeline at the most. Their replies are told of when the last one is there, so more would keep
/// those waiting that could go on.
const PIPELINE: usize = 32;

/// A reply, or why the connection broke.
pub type Answer = Result<Value, Cause>;

struct Outgoing {
    command: Cmd,
    answer: oneshot::Sender<Answer>,
}

/// Where commands for one connection are put.
pub struct Outbox(mpsc::UnboundedSender<Outgoing>);

impl Outbox {
    /// Must be called on the runtime.
    pub fn new(connection: MultiplexedConnection) -> Self {
        let (put, outgoing) = mpsc::unbounded_channel();
        tasks::spawn(&Handle::current(), send(connection, outgoing));
        Self(put)
    }

    /// Sends a command, together with all others that are put here before the thread comes to it. It is on its way even if
    /// nobody waits for the answer.
    pub fn send(&self, command: Cmd) -> impl Future<Output = Answer> + use<> {
        let (answer, answered) = oneshot::channel();
        // If nobody takes it any more, it is dropped, and `answer` with it.
        let _ = self.0.send(Outgoing { command, answer });
        let dropped = || Cause::new("ECONNRESET", "the connection was closed");
        answered.map(move |answer| answer.unwrap_or_else(|_| Err(dropped())))
    }
}

/// Sends what comes, until nothing more can come and all has been answered.
async fn send(connection: MultiplexedConnection, mut outgoing: mpsc::UnboundedReceiver<Outgoing>) {
    let mut exchanges = FuturesUnordered::new();
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            count = outgoing.recv_many(&mut batch, PIPELINE) => {
                if count == 0 {
                    break;
                }
                exchanges.push(exchange(connection.clone(), batch));
            }
            Some(()) = exchanges.next() => {}
        }
    }
    exchanges.collect::<()>().await;
}

async fn exchange(mut connection: MultiplexedConnection, batch: Vec<Outgoing>) {
    let count = batch.len();
    let mut pipeline = Pipeline::with_capacity(count);
    let mut answers = Vec::with_capacity(count);
    for Outgoing { command, answer } in batch {
        pipeline.add_command(command);
        answers.push(answer);
    }
    let replies = connection.send_packed_commands(&pipeline, 0, count).await;
    match replies {
        Ok(values) => {
            for (answer, value) in answers.into_iter().zip(values) {
                // Whoever waits no more needs no answer.
                let _ = answer.send(Ok(value));
            }
        }
        Err(error) => {
            let cause = refusal::broken(&error);
            for answer in answers {
                let _ = answer.send(Err(cause.clone()));
            }
        }
    }
}
