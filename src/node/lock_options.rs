//! The second argument of `lock`.

use std::time::Duration;

use napi::{JsValue, Unknown, ValueType};

use super::read::{Options, Result};
use crate::options::LockOptions;

const KNOWN: [&str; 4] = ["expire", "retry", "maxRetryAttempts", "retryInterval"];

/// 30 years and more: longer leases are a mistake in the unit.
const MAX_EXPIRE: f64 = 1e9;

/// The longest delay of a JavaScript timer.
const MAX_INTERVAL: f64 = 2_147_483_647.0;

pub fn read(value: Unknown) -> Result<LockOptions> {
    let mut options =
        LockOptions { expire: LockOptions::EXPIRE, retries: 0, retry_interval: LockOptions::RETRY_INTERVAL };
    let Some(given) = Options::read("options", value)? else { return Ok(options) };
    given.only(&KNOWN)?;

    // Falsy means the default, as in 1.2.0; but NaN is a calculation that went wrong.
    if let Some(value) = given.get("expire")?
        && (value.get_type()? == ValueType::Number || value.coerce_to_bool()?)
    {
        let what = "a number of seconds from 0.001 to 1e9";
        let seconds = given.number("expire", what, 0.0..=MAX_EXPIRE)?.unwrap_or_default();
        if seconds != 0.0 {
            if seconds < 0.001 {
                return Err(given.out_of_range("expire", what, value)?);
            }
            options.expire = Duration::from_secs_f64(seconds);
        }
    }

    // All are checked, also where `retry` is off and they have no effect.
    let retry = given.boolean("retry")?.unwrap_or(false);
    let interval =
        given.number("retryInterval", "a number of milliseconds from 0 to 2147483647", 0.0..=MAX_INTERVAL)?;
    if let Some(ms) = interval {
        options.retry_interval = Duration::from_secs_f64(ms / 1000.0);
    }
    let what = "a whole number from 0 on, or Infinity";
    let attempts = given.number("maxRetryAttempts", what, 0.0..=f64::INFINITY)?;
    if let (Some(attempts), Some(value)) = (attempts, given.get("maxRetryAttempts")?)
        && attempts.is_finite()
        && attempts.fract() != 0.0
    {
        return Err(given.out_of_range("maxRetryAttempts", what, value)?);
    }
    if retry {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, positive, and saturating"
        )]
        let attempts = attempts.map_or(LockOptions::MAX_RETRY_ATTEMPTS, |attempts| attempts as u64);
        options.retries = attempts;
    }
    Ok(options)
}
