//! The argument of `lockFactory`.

use std::time::Duration;

use napi::{JsValue, Unknown, ValueType};

use super::{
    read::{Options, ReadError, Result},
    redis_config::{self, RedisSpec},
};
use crate::options::Settings;

/// What to make.
pub struct Spec<'env> {
    pub settings: Settings,
    pub driver: DriverSpec<'env>,
}

pub enum DriverSpec<'env> {
    Memory,
    Redis(Box<RedisSpec<'env>>),
}

pub fn read(value: Unknown<'_>) -> Result<Spec<'_>> {
    let Some(spec) = Options::read("spec", value)? else {
        return Err(ReadError::wrong_type("lockFactory needs an object: { driver, config, settings }"));
    };
    spec.only(&["driver", "config", "settings"])?;

    // In this order and with these texts, as 1.2.0 has it.
    let driver = match spec.get("driver")? {
        Some(value) if value.get_type()? == ValueType::String => spec.string("driver").unwrap_or_default(),
        _ => None,
    };
    let is_redis = match driver.as_deref() {
        Some("redis") => true,
        Some("memory") => false,
        _ => {
            let message = "Driver not supported".into();
            return Err(ReadError::Type { code: "ERR_DRIVER_NOT_SUPPORTED", message });
        }
    };
    let settings = read_settings(&spec)?;
    let driver = if is_redis {
        let config = spec.or_undefined("config")?;
        DriverSpec::Redis(Box::new(redis_config::read(config, settings.command_timeout)?))
    } else {
        DriverSpec::Memory
    };
    Ok(Spec { settings, driver })
}

fn read_settings(spec: &Options) -> Result<Settings> {
    let prefix_required =
        || ReadError::Type { code: "ERR_PREFIX_REQUIRED", message: "Prefix required".into() };
    let value = spec.get("settings")?.ok_or_else(prefix_required)?;
    let settings = Options::read("settings", value)?.ok_or_else(prefix_required)?;
    settings.only(&["prefix", "commandTimeout"])?;
    if !settings.get("prefix")?.ok_or_else(prefix_required)?.coerce_to_bool()? {
        return Err(prefix_required());
    }
    let prefix = settings.string("prefix")?.ok_or_else(prefix_required)?;
    let what = "a whole number of milliseconds from 1 to 3600000";
    let command_timeout = settings.integer("commandTimeout", what, 1..=3_600_000, false)?;
    Ok(Settings {
        prefix,
        command_timeout: command_timeout
            .map_or(Settings::COMMAND_TIMEOUT, |ms| Duration::from_millis(ms.into())),
    })
}
