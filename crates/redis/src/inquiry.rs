//! Questions to the servers that are about no lock: what they are, how they are set, what their user may do.
//!
//! The servers are found as a locker finds them, by a seat there, so what is said of them is true of lockers. Each round of
//! questions has a connection of its own beside that of the lockers, and may leave it in whatever state it likes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::join_all;
use lock_inc_core::{
    error::{Cause, Error, Result, Unavailable},
    store::{Deadline, StoreEvent, StoreEvents},
};
use redis::{Cmd, Value};
use tokio::time::{Instant, timeout};

use crate::{
    keys::Keys,
    link::{Command, ConnectError, Live, Member, Visit},
    refusal,
    topology::{Place, Seat, Seats, Servers, sentinel::Sentinels},
};

/// How `CLIENT LIST` shows the connections of questions.
const NAME: &str = "lock-inc:inquiry";

/// Asks servers, and the sentinels that watch over them.
pub struct Inquiry {
    seats: Seats,
}

/// What came of one round of questions.
#[derive(Clone, Debug)]
pub struct Answers {
    /// How lockers are connected to this server; none of a sentinel.
    pub link: Option<LinkFacts>,
    /// As many as there were questions.
    pub answers: Vec<Timed>,
}

/// How lockers are connected to a server.
#[derive(Clone, Copy, Debug)]
pub struct LinkFacts {
    /// Messages come on the connection that has the commands, too.
    pub is_resp3: bool,
    /// Messages come. Not if the server's ACL forbids it.
    pub is_subscribed: bool,
}

/// An answer, and its time.
#[derive(Clone, Debug)]
pub struct Timed {
    pub answer: Answer,
    pub took: Duration,
    /// When it came, since 1970 by the clock of this machine.
    pub at: Duration,
}

/// What a server says, as RESP2 has it: a map is a list of keys and values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Nothing,
    Number(i64),
    Text(String),
    List(Vec<Answer>),
    Error(Cause),
}

impl Inquiry {
    /// At servers that have been [reserved](Servers::reserve). `client`: an id that no locker has.
    pub fn new(servers: Arc<Servers>, key_prefix: &str, prefix: &str, client: &str) -> Self {
        let keys: Keys = servers.keys([key_prefix, prefix].concat());
        let channel = [keys.channels(), client].concat();
        let seats = Seats::new(servers, channel, keys, false);
        seats.join(Arc::new(Deaf));
        Self { seats }
    }

    /// The servers that have locks, once it is known which they are. An error where none of them can be reached.
    pub async fn servers(&self) -> Result<Vec<String>> {
        if self.seats.all().is_empty() {
            // Whatever is asked of a cluster waits until it is known.
            self.ping(&Place::Slot(0)).await?;
        }
        let seats = self.seats.all();
        let (mut names, mut error) = (Vec::new(), None);
        for (seat, live) in seats.iter().zip(join_all(seats.iter().map(|seat| self.live_at(seat))).await) {
            names.push(seat.link.server.to_string());
            error = live.err();
        }
        match error.filter(|_| seats.iter().all(|seat| seat.link.live().is_none())) {
            Some(error) => Err(error),
            None => Ok(names),
        }
    }

    /// The sentinels that are known, those that others know of included.
    pub fn sentinels(&self) -> Vec<String> {
        let addresses = self.sentinels_of_link().map(|sentinels| sentinels.addresses()).unwrap_or_default();
        addresses.iter().map(|address| sentinel_name(&address.to_string())).collect()
    }

    /// Asks a server or a sentinel, by the name that it has [here](Self::servers), one question after the other.
    pub async fn ask(&self, name: &str, questions: Vec<Vec<String>>) -> Result<Answers> {
        let sentinels = self.sentinels_of_link();
        let mut addresses = sentinels.iter().flat_map(|sentinels| sentinels.addresses());
        if let Some(address) = addresses.find(|address| sentinel_name(&address.to_string()) == name)
            && let Some(sentinels) = &sentinels
        {
            let visit = sentinels.visit(&address).await.map_err(|error| unavailable(name, error))?;
            return Ok(Answers { link: None, answers: self.ask_on(&visit, name, questions).await? });
        }
        let seats = self.seats.all();
        let seat = match &*seats {
            // A group is named by its primary, which may be another one by now.
            [only] => Some(only),
            several => several.iter().find(|seat| seat.link.server.to_string() == name),
        };
        let seat = seat.ok_or_else(|| gone(name))?;
        let live = self.live_at(seat).await?;
        let link = LinkFacts { is_resp3: live.is_resp3(), is_subscribed: seat.member.is_subscribed() };
        let visit = Visit::beside(&live, &seat.link, NAME).await;
        let visit = visit.map_err(|error| unavailable(name, error))?;
        Ok(Answers { link: Some(link), answers: self.ask_on(&visit, name, questions).await? })
    }

    async fn ask_on(&self, visit: &Visit, name: &str, questions: Vec<Vec<String>>) -> Result<Vec<Timed>> {
        let patience = self.seats.patience().time;
        let mut answers = Vec::with_capacity(questions.len());
        for words in questions {
            let (mut command, start) = (Cmd::new(), Instant::now());
            command.arg(words);
            let asking = visit.during(async { Ok(visit.connection().send_one(&command).await) });
            let answer = timeout(patience, asking).await.unwrap_or_else(|_| {
                let message = format_args!("no answer within {} ms", patience.as_millis());
                Err(ConnectError::Passing(Cause::new("ETIMEDOUT", message)))
            });
            let answer = answer.and_then(|answer| answer.map_err(ConnectError::Passing));
            let answer = Answer::of(answer.map_err(|error| unavailable(name, error))?);
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            answers.push(Timed { answer, took: start.elapsed(), at });
        }
        Ok(answers)
    }

    /// The connection that lockers have to a server.
    async fn live_at(&self, seat: &Arc<Seat>) -> Result<Arc<Live>> {
        let live = || seat.link.live().filter(|live| seat.member.is_ready() && !live.commands.has_ended());
        if let Some(live) = live() {
            return Ok(live);
        }
        let waited = self.ping(&Place::At(seat.clone())).await;
        // Whatever it is that the server has answered: there is one.
        live().ok_or_else(|| waited.err().unwrap_or_else(|| gone(&seat.link.server.to_string())))
    }

    /// Waits for a connection, and for an answer on it.
    async fn ping(&self, place: &Place) -> Result<()> {
        let ping = |command: &mut Cmd, _: &Member| {
            command.arg("PING");
        };
        let deadline = Deadline::after(self.seats.patience());
        self.seats.call(place, Command::Plain(&ping), deadline).await.map(drop)
    }

    fn sentinels_of_link(&self) -> Option<Arc<Sentinels>> {
        self.seats.all().first()?.link.sentinels().cloned()
    }
}

impl Answer {
    fn of(value: Value) -> Self {
        match value {
            Value::Int(number) => Self::Number(number),
            Value::BulkString(bytes) => Self::Text(String::from_utf8_lossy(&bytes).into_owned()),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => Self::Text(text),
            Value::Okay => Self::Text("OK".to_owned()),
            Value::Array(values) | Value::Set(values) => {
                Self::List(values.into_iter().map(Self::of).collect())
            }
            Value::Map(pairs) => {
                Self::List(pairs.into_iter().flat_map(|(key, value)| [key, value]).map(Self::of).collect())
            }
            Value::ServerError(error) => Self::Error(refusal::of_reply(&error, false).cause),
            _ => Self::Nothing,
        }
    }
}

fn sentinel_name(address: &str) -> String {
    format!("Sentinel at {address}")
}

fn unavailable(name: &str, error: ConnectError) -> Error {
    let (cause, is_final) = match error {
        ConnectError::Refused(refusal) => return Error::Refused(refusal),
        ConnectError::Tls(cause) => (cause, true),
        ConnectError::Passing(cause) => (cause, false),
    };
    let message = format!("{name} did not answer a question ({})", cause.message).into();
    Error::Unavailable(Unavailable { message, is_final, sent: true, cause: Some(cause) })
}

fn gone(name: &str) -> Error {
    let message = format!("{name} has left the cluster, or its connection has ended").into();
    Error::Unavailable(Unavailable { message, is_final: false, sent: false, cause: None })
}

/// It is only of interest that messages come.
struct Deaf;

impl StoreEvents for Deaf {
    fn hear(&self, _: StoreEvent) {}
}
