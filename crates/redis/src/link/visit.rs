//! A connection for a few questions: of a sentinel, of a server that may be a primary, or of one that has a link.

use std::sync::Arc;

use redis::Value;

use super::{
    Link, Live,
    connect::{Owned, Step, accepted, auth, connect_beside, driven, hello, open_transport},
    connection::{Connection, Messages, Speech},
    failure::ConnectError,
};
use crate::{
    config::Config,
    refusal::{self, RefusalKind},
};

/// A connection that is ready for questions, and ends with whoever has it.
pub(crate) struct Visit {
    connection: Owned,
    /// What the server has said of itself; nothing over RESP2.
    greeting: Option<Value>,
}

impl Visit {
    /// `messages`: who hears what the server publishes. It does so only where it [greets](Self::greeting).
    pub(crate) async fn to(config: &Config, messages: Arc<dyn Messages>) -> Result<Self, ConnectError> {
        let step = Step::default();
        step.add_to(Self::open(config, messages, &step).await)
    }

    /// To the server of this connection, beside it. `name`: how `CLIENT LIST` shows it.
    pub(crate) async fn beside(live: &Live, link: &Link, name: &str) -> Result<Self, ConnectError> {
        Ok(Self { connection: connect_beside(live, link, name).await?, greeting: None })
    }

    async fn open(config: &Config, messages: Arc<dyn Messages>, step: &Step) -> Result<Self, ConnectError> {
        let transport = open_transport(config, step).await?;
        let connection = Owned(Connection::new(
            transport,
            Speech::Replies,
            messages,
            Arc::default(),
            #[cfg(unix)]
            None,
        )?);
        step.begin_hello(config);
        let send =
            async |command| driven(&connection, async { Ok(connection.send_one(command).await) }).await;
        let greeting = match send(&hello(config)).await?.map_err(ConnectError::Passing)? {
            Value::ServerError(error) => {
                let kind = refusal::kind_of(&error);
                if kind.is_passing() || matches!(kind, RefusalKind::NoAuth | RefusalKind::WrongPass) {
                    return Err(ConnectError::of_handshake(&error));
                }
                // Unknown or forbidden: RESP2 is what it speaks at first.
                if let Some(auth) = auth(config) {
                    step.begin("AUTH");
                    accepted(send(&auth).await?)?;
                }
                None
            }
            greeting => Some(greeting),
        };
        Ok(Self { connection, greeting })
    }

    /// What the server has said of itself; nothing over RESP2.
    pub(crate) fn greeting(&self) -> Option<&Value> {
        self.greeting.as_ref()
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Drives the connection until something is done that needs its answers.
    pub(crate) async fn during<T>(
        &self,
        work: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        driven(&self.connection, work).await
    }
}

/// For a connection on which nothing is subscribed to.
pub(crate) struct Deaf;

impl Messages for Deaf {
    fn on_message(&self, _: &[u8], _: &[u8]) {}
}
