//! Reads arguments, and says in plain words what is wrong with them: the option's path, what it must be, and what
//! it was. Nothing has been sent when one of these errors is thrown.

use std::{collections::HashMap, ops::RangeInclusive};

use napi::{
    Env, Error as NapiError, JsValue, Status, Unknown, ValueType,
    bindgen_prelude::{Buffer, FromNapiValue, JsObjectValue, Object},
};

pub type Result<T> = std::result::Result<T, ReadError>;

/// Why an argument was not accepted.
#[derive(Debug)]
pub enum ReadError {
    /// Becomes a `TypeError` with this code.
    Type { code: &'static str, message: String },
    /// Becomes a `RangeError`.
    Range { message: String },
    /// A getter of the user's threw.
    Js(NapiError),
}

impl From<NapiError> for ReadError {
    fn from(error: NapiError) -> Self {
        Self::Js(error)
    }
}

impl ReadError {
    pub fn wrong_type(message: impl Into<String>) -> Self {
        Self::Type { code: "ERR_INVALID_ARG_TYPE", message: message.into() }
    }

    pub fn out_of_range(message: impl Into<String>) -> Self {
        Self::Range { message: message.into() }
    }

    /// Throws a plain object, from which `lib/errors.js` makes the error: an `Error` that is made here would be none
    /// to code in another context of the same thread, such as a test in jest.
    pub fn throw(self, env: &Env) -> NapiError {
        let (name, code, message) = match self {
            Self::Type { code, message } => ("TypeError", code, message),
            Self::Range { message } => ("RangeError", "ERR_OUT_OF_RANGE", message),
            Self::Js(error) => return error,
        };
        let thrown = Object::new(env).and_then(|mut failure| {
            failure.set_named_property("name", name)?;
            failure.set_named_property("code", code)?;
            failure.set_named_property("message", message)?;
            env.throw(failure)
        });
        thrown.err().unwrap_or_else(|| NapiError::new(Status::PendingException, String::new()))
    }
}

/// `undefined` and `null` both mean that nothing was said.
fn present(value: Unknown) -> Result<Option<Unknown>> {
    Ok(match value.get_type()? {
        ValueType::Undefined | ValueType::Null => None,
        _ => Some(value),
    })
}

/// A value as an error message shows it: short, and on one line.
pub fn describe(value: Unknown) -> Result<String> {
    Ok(match value.get_type()? {
        ValueType::Undefined => "undefined".into(),
        ValueType::Null => "null".into(),
        ValueType::String => {
            let text = utf8(value)?;
            let short: String = text.chars().take(40).collect();
            format!("{:?}{}", short, if short.len() < text.len() { "…" } else { "" })
        }
        ValueType::Boolean | ValueType::Number | ValueType::BigInt => {
            value.coerce_to_string()?.into_utf8()?.as_str()?.to_owned()
        }
        ValueType::Function => "a function".into(),
        ValueType::Symbol => "a symbol".into(),
        ValueType::Object if value.is_array()? => "an array".into(),
        _ => "an object".into(),
    })
}

fn utf8(value: Unknown) -> Result<String> {
    // SAFETY: every caller has found the value to be a string.
    Ok(unsafe { String::from_napi_value(value.value().env, value.raw())? })
}

/// An object with options.
pub struct Options<'env> {
    path: &'static str,
    object: Object<'env>,
    /// Names as they were written, by the names they go by here. Empty where both are the same.
    written: HashMap<String, String>,
}

impl<'env> Options<'env> {
    /// `None` where there is no object. `path` is what errors call it.
    pub fn read(path: &'static str, value: Unknown<'env>) -> Result<Option<Self>> {
        let Some(value) = present(value)? else { return Ok(None) };
        if value.get_type()? != ValueType::Object || value.is_array()? {
            return Err(ReadError::wrong_type(format!("{path} must be an object, got {}", describe(value)?)));
        }
        // SAFETY: just found to be an object.
        let object = unsafe { Object::from_napi_value(value.value().env, value.raw())? };
        Ok(Some(Self { path, object, written: HashMap::new() }))
    }

    /// Lets every name be written in camelCase as well as in `snake_case`, as node_redis 2.6 and later do.
    pub fn or_camel_case(mut self) -> Result<Self> {
        self.written = self.names()?.into_iter().map(|name| (snake_case(&name), name)).collect();
        Ok(self)
    }

    /// The names of all options given, with `undefined` and `null` ones among them.
    pub fn names(&self) -> Result<Vec<String>> {
        let names = self.object.get_property_names()?;
        (0..names.get_array_length()?).map(|index| Ok(names.get_element::<String>(index)?)).collect()
    }

    /// Refuses every option that is not among the known ones.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        let is_known = |name: &String| {
            let name = if self.written.is_empty() { name.clone() } else { snake_case(name) };
            known.contains(&name.as_str())
        };
        match self.names()?.iter().find(|name| !is_known(name)) {
            Some(name) => Err(self.unknown(name, known)),
            None => Ok(()),
        }
    }

    /// The error for an option that does not exist, with the nearest one that does.
    pub fn unknown(&self, name: &str, known: &[&str]) -> ReadError {
        let similarity = |other: &&&str| strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase());
        let nearest = known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        let hint = match nearest {
            Some(nearest) if similarity(&nearest) > 0.7 => format!("did you mean {nearest:?}?"),
            _ => format!("known ones are {}", known.join(", ")),
        };
        ReadError::Type {
            code: "ERR_UNKNOWN_OPTION",
            message: format!("{} has no option {name:?}; {hint}", self.path),
        }
    }

    pub fn get(&self, name: &str) -> Result<Option<Unknown<'env>>> {
        present(self.or_undefined(name)?)
    }

    /// The option's value as it is, for another reader.
    pub fn or_undefined(&self, name: &str) -> Result<Unknown<'env>> {
        let name = self.written.get(name).map_or(name, String::as_str);
        Ok(self.object.get_named_property_unchecked(name)?)
    }

    /// `path.name must be <what>, got <value>`
    pub fn expected(&self, name: &str, what: &str, value: Unknown) -> Result<ReadError> {
        Ok(ReadError::wrong_type(format!("{}.{name} must be {what}, got {}", self.path, describe(value)?)))
    }

    pub fn out_of_range(&self, name: &str, what: &str, value: Unknown) -> Result<ReadError> {
        Ok(ReadError::out_of_range(format!("{}.{name} must be {what}, got {}", self.path, describe(value)?)))
    }

    pub fn string(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        if value.get_type()? != ValueType::String {
            return Err(self.expected(name, "a string", value)?);
        }
        let text = utf8(value)?;
        if text.is_empty() {
            return Err(self.expected(name, "a non-empty string", value)?);
        }
        Ok(Some(text))
    }

    /// Like [`string`](Self::string), but the value never shows up in an error. Empty counts as absent.
    pub fn secret(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        if value.get_type()? != ValueType::String {
            return Err(ReadError::wrong_type(format!("{}.{name} must be a string", self.path)));
        }
        Ok(Some(utf8(value)?).filter(|text| !text.is_empty()))
    }

    pub fn boolean(&self, name: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        if value.get_type()? != ValueType::Boolean {
            return Err(self.expected(name, "true or false", value)?);
        }
        // SAFETY: just found to be a boolean.
        Ok(Some(unsafe { bool::from_napi_value(value.value().env, value.raw())? }))
    }

    /// A number in `range`; `what` names its unit and bounds.
    pub fn number(&self, name: &str, what: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        if value.get_type()? != ValueType::Number {
            return Err(self.expected(name, what, value)?);
        }
        // SAFETY: just found to be a number.
        let number = unsafe { f64::from_napi_value(value.value().env, value.raw())? };
        if !range.contains(&number) {
            return Err(self.out_of_range(name, what, value)?);
        }
        Ok(Some(number))
    }

    /// A whole number in `range`. With `text`, its digits in a string will do, as in a port from the environment.
    pub fn integer(
        &self,
        name: &str,
        what: &str,
        range: RangeInclusive<u32>,
        text: bool,
    ) -> Result<Option<u32>> {
        let Some(value) = self.get(name)? else { return Ok(None) };
        let number = match value.get_type()? {
            // SAFETY: just found to be a number.
            ValueType::Number => unsafe { f64::from_napi_value(value.value().env, value.raw())? },
            ValueType::String if text => utf8(value)?.parse().unwrap_or(f64::NAN),
            _ => return Err(self.expected(name, what, value)?),
        };
        if number.fract() != 0.0 || !(f64::from(*range.start())..=f64::from(*range.end())).contains(&number) {
            return Err(self.out_of_range(name, what, value)?);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and within a u32 range"
        )]
        Ok(Some(number as u32))
    }

    /// Bytes in a string or Buffer, or several of them in an array.
    pub fn bytes(&self, name: &str) -> Result<Vec<Vec<u8>>> {
        let Some(value) = self.get(name)? else { return Ok(Vec::new()) };
        if !value.is_array()? {
            return Ok(vec![self.one_bytes(name, value)?]);
        }
        // SAFETY: an array is an object.
        let array = unsafe { Object::from_napi_value(value.value().env, value.raw())? };
        (0..array.get_array_length()?).map(|index| self.one_bytes(name, array.get_element(index)?)).collect()
    }

    fn one_bytes(&self, name: &str, value: Unknown) -> Result<Vec<u8>> {
        if value.get_type()? == ValueType::String {
            return Ok(utf8(value)?.into_bytes());
        }
        if value.is_buffer()? {
            // SAFETY: just found to be a buffer.
            let buffer = unsafe { Buffer::from_napi_value(value.value().env, value.raw())? };
            return Ok(buffer.to_vec());
        }
        Err(ReadError::wrong_type(format!("{}.{name} must be PEM text in a string or a Buffer", self.path)))
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for character in name.chars() {
        if character.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// The name of a resource. The texts begin as those of lock-inc 1.2.0.
pub fn resource_name(value: Unknown) -> Result<String> {
    name(value, |what, got| format!("{what}: resourceId must be a non-empty string, got {got}"))
}

/// The argument of `hash`, with the texts of lock-inc 1.2.0.
pub fn hash_input(value: Unknown) -> Result<String> {
    name(value, |what, _| what.into())
}

fn name(value: Unknown, message: impl Fn(&str, &str) -> String) -> Result<String> {
    let text = match value.get_type()? {
        ValueType::String => Some(utf8(value)?),
        _ => None,
    };
    match text {
        Some(text) if !text.is_empty() => Ok(text),
        _ => {
            let what = if value.coerce_to_bool()? {
                "Can not hash value which is not a string"
            } else {
                "Could not hash falsy value"
            };
            Err(ReadError::wrong_type(message(what, &describe(value)?)))
        }
    }
}
