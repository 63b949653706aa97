//! What a server says that it is.

use std::{collections::HashMap, sync::Arc};

use redis::{Value, cmd, from_redis_value, from_redis_value_ref};

use crate::{
    config::Config,
    link::{Answer, ConnectError, Deaf, Visit},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Replica,
    /// It does not say, or may not.
    Unknown,
}

impl Role {
    /// As the reply to `HELLO` has it.
    pub(crate) fn of_greeting(greeting: &Value) -> Self {
        let fields = from_redis_value_ref::<HashMap<String, Value>>(greeting).unwrap_or_default();
        fields.get("role").map_or(Self::Unknown, Self::of_word)
    }

    /// As the reply to `ROLE` has it.
    pub(crate) fn of_answer(answer: Answer) -> Self {
        let fields = answer.ok().and_then(|answer| from_redis_value::<Vec<Value>>(answer).ok());
        fields.as_ref().and_then(|fields| fields.first()).map_or(Self::Unknown, Self::of_word)
    }

    fn of_word(word: &Value) -> Self {
        match from_redis_value_ref::<String>(word).as_deref() {
            Ok("master") => Self::Primary,
            Ok("slave" | "replica") => Self::Replica,
            _ => Self::Unknown,
        }
    }

    /// Asks a server, on a connection of its own.
    pub(crate) async fn ask(config: &Config) -> Result<Self, ConnectError> {
        let visit = Visit::to(config, Arc::new(Deaf)).await?;
        match visit.greeting().map(Self::of_greeting) {
            Some(role) if role != Self::Unknown => Ok(role),
            _ => {
                let ask = async { Ok(visit.connection().send_one(&cmd("ROLE")).await) };
                Ok(Self::of_answer(visit.during(ask).await?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<Value> {
        words.iter().map(|word| Value::BulkString(word.as_bytes().into())).collect()
    }

    #[test]
    fn a_role_is_read_in_either_form() {
        let greeting = |role| {
            let fields = words(&["server", "redis", "role", role]);
            Value::Map(fields.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        };
        for (word, role) in
            [("master", Role::Primary), ("replica", Role::Replica), ("sentinel", Role::Unknown)]
        {
            assert_eq!(Role::of_greeting(&greeting(word)), role);
        }
        assert_eq!(Role::of_greeting(&Value::Okay), Role::Unknown);
        for (word, role) in [("master", Role::Primary), ("slave", Role::Replica)] {
            let mut answer = words(&[word]);
            answer.push(Value::Int(7));
            assert_eq!(Role::of_answer(Ok(Value::Array(answer))), role);
        }
        assert_eq!(Role::of_answer(Ok(Value::Okay)), Role::Unknown);
    }
}
