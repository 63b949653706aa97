//! Commands on their way to a connection. What has been called together leaves together, as one pipeline, and all of it
//! in the order in which it was called.

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use redis::{Cmd, Pipeline, Value, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::coop::unconstrained,
};

use super::refusal;
use crate::{error::Cause, tasks};

/// Commands in one pipeline at the most. Their replies are told when the last one is there, so more would keep those
/// waiting that could go on.
const PIPELINE: usize = 128;

/// A command, and where its reply goes, or why the connection broke.
type Outgoing = (Cmd, oneshot::Sender<Result<Value, Cause>>);

/// Where commands for one connection are put.
pub struct Outbox(mpsc::UnboundedSender<Outgoing>);

impl Outbox {
    /// Must be called on the runtime.
    pub fn new(connection: MultiplexedConnection) -> Self {
        let (put, outgoing) = mpsc::unbounded_channel();
        // A budget, as tokio gives to tasks, would let some pipelines go and keep others, in another order.
        tasks::spawn(&Handle::current(), unconstrained(send(connection, outgoing)));
        Self(put)
    }

    /// Sends a command, together with all others that are put here before the thread comes to it. It is on its way even if
    /// nobody waits for the answer.
    pub fn send(&self, command: Cmd) -> impl Future<Output = Result<Value, Cause>> + use<> {
        let (answer, answered) = oneshot::channel();
        // If nobody takes it any more, it is dropped, and `answer` with it.
        let _ = self.0.send((command, answer));
        answered.map(|answer| {
            answer.unwrap_or_else(|_| Err(Cause::new("ECONNRESET", "the connection was closed")))
        })
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

async fn exchange(connection: MultiplexedConnection, batch: Vec<Outgoing>) {
    // Whoever waits no more needs no answer.
    let batch = match <[Outgoing; 1]>::try_from(batch) {
        Ok([(command, answer)]) => {
            let _ = answer.send(send_one(connection, command).await);
            return;
        }
        Err(batch) => batch,
    };
    let (commands, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    match send_many(connection, commands).await {
        Ok(replies) => {
            for (answer, reply) in answers.into_iter().zip(replies) {
                let _ = answer.send(Ok(reply));
            }
        }
        Err(cause) => {
            for answer in answers {
                let _ = answer.send(Err(cause.clone()));
            }
        }
    }
}

async fn send_one(mut connection: MultiplexedConnection, command: Cmd) -> Result<Value, Cause> {
    connection.send_packed_command(&command).await.map_err(|error| refusal::broken(&error))
}

async fn send_many(mut connection: MultiplexedConnection, commands: Vec<Cmd>) -> Result<Vec<Value>, Cause> {
    let count = commands.len();
    let mut pipeline = Pipeline::with_capacity(count);
    for command in commands {
        pipeline.add_command(command);
    }
    connection.send_packed_commands(&pipeline, 0, count).await.map_err(|error| refusal::broken(&error))
}
