//! The second argument of `lock`.

use std::time::Duration;

use napi::{JsValue, Unknown, ValueType};

use super::read::{Options, ReadError, Result, describe};
use crate::{
    core::waiters::SHORTEST_POLL,
    options::{LockOptions, Wait},
};

/// `signal` is read in `lib/`.
const KNOWN: [&str; 9] = [
    "expire",
    "retry",
    "maxRetryAttempts",
    "retryInterval",
    "timeout",
    "signal",
    "renew",
    "maxHold",
    "maxBlocked",
];

/// 30 years and more: longer leases are a mistake in the unit.
const MAX_SECONDS: f64 = 1e9;
const SECONDS: &str = "a number of seconds from 0.001 to 1e9";

/// The longest delay of a JavaScript timer.
const MAX_INTERVAL: f64 = 2_147_483_647.0;

pub fn read(value: Unknown) -> Result<LockOptions> {
    let mut options = LockOptions {
        expire: LockOptions::EXPIRE,
        wait: Wait::No,
        retry_interval: LockOptions::RETRY_INTERVAL,
        renew: false,
        max_hold: None,
        max_blocked: None,
        observed: false,
    };
    let Some(given) = Options::read("options", value)? else { return Ok(options) };
    given.only(&KNOWN)?;

    // Falsy means the default, as in 1.2.0; but NaN is a calculation that went wrong.
    if let Some(value) = given.get("expire")?
        && (value.get_type()? == ValueType::Number || value.coerce_to_bool()?)
    {
        let number = given.number("expire", SECONDS, 0.0..=MAX_SECONDS)?.unwrap_or_default();
        if number != 0.0 {
            options.expire = positive(&given, "expire")?.unwrap_or(options.expire);
        }
    }
    let interval =
        given.number("retryInterval", "a number of milliseconds from 0 to 2147483647", 0.0..=MAX_INTERVAL)?;
    if let Some(ms) = interval {
        options.retry_interval = Duration::from_secs_f64(ms / 1000.0);
    }
    options.wait = wait(&given, options.retry_interval)?;
    options.renew = given.boolean("renew")?.unwrap_or(false);
    options.max_hold = positive(&given, "maxHold")?;
    options.max_blocked = positive(&given, "maxBlocked")?;
    for name in ["maxHold", "maxBlocked"] {
        if !options.renew && given.get(name)?.is_some() {
            return Err(ReadError::wrong_type(format!(
                "options.{name} is about renewal: it needs options.renew"
            )));
        }
    }
    Ok(options)
}

/// The argument of `extend`.
pub fn seconds(value: Unknown) -> Result<Duration> {
    let wrong = |got: String| format!("seconds must be {SECONDS}, got {got}");
    if value.get_type()? != ValueType::Number {
        return Err(ReadError::wrong_type(wrong(describe(value)?)));
    }
    let number = value.coerce_to_number()?.get_double()?;
    if !(0.001..=MAX_SECONDS).contains(&number) {
        return Err(ReadError::out_of_range(wrong(describe(value)?)));
    }
    Ok(Duration::from_secs_f64(number))
}

fn positive(given: &Options, name: &str) -> Result<Option<Duration>> {
    Ok(given.number(name, SECONDS, 0.001..=MAX_SECONDS)?.map(Duration::from_secs_f64))
}

fn wait(given: &Options, interval: Duration) -> Result<Wait> {
    // All are checked, also those that have no effect.
    let retry = given.boolean("retry")?.unwrap_or(false);
    let what = "a whole number from 0 on, or Infinity";
    let attempts = given.number("maxRetryAttempts", what, 0.0..=f64::INFINITY)?;
    if let (Some(attempts), Some(value)) = (attempts, given.get("maxRetryAttempts")?)
        && attempts.is_finite()
        && attempts.fract() != 0.0
    {
        return Err(given.out_of_range("maxRetryAttempts", what, value)?);
    }
    let what = "a number of milliseconds from 0 on, or Infinity";
    let timeout = given.number("timeout", what, 0.0..=f64::INFINITY)?;
    if timeout.is_some() && attempts.is_some() {
        let message = "options.timeout does not go with options.maxRetryAttempts: both say how long to wait";
        return Err(ReadError::wrong_type(message));
    }
    let seconds = match timeout {
        Some(ms) => ms / 1000.0,
        // As long as so many attempts would take; an interval of 0 is a millisecond, as with a JavaScript timer.
        None if retry => {
            attempts.unwrap_or(LockOptions::MAX_RETRY_ATTEMPTS) * interval.max(SHORTEST_POLL).as_secs_f64()
        }
        None => 0.0,
    };
    Ok(if seconds == 0.0 {
        Wait::No
    } else if seconds > MAX_SECONDS {
        // 30 years are for ever.
        Wait::Forever
    } else {
        Wait::AtMost(Duration::from_secs_f64(seconds))
    })
}
