//! Questions to servers as `lib/doctor/` asks them: `lib/native.d.ts` declares the functions.

use std::{rc::Rc, sync::Arc};

use lock_inc_core::{Identity, error::Cause};
use lock_inc_redis::inquiry::{Answer, Answers, Inquiry, Timed};
use napi::{
    Env, Error as NapiError, Result as NapiResult,
    bindgen_prelude::{FunctionCallContext, JsObjectValue, Null, Object, ToNapiValue},
    sys,
};

use crate::{environment::Environment, outcome::Outcome, spec::Spec, stores};

/// It ends when JavaScript has let go of it.
pub(crate) struct JsInquiry {
    inner: Arc<Inquiry>,
    environment: Rc<Environment>,
}

impl JsInquiry {
    /// Must be called on the runtime.
    pub(crate) fn open<'env>(
        env: &'env Env,
        environment: Rc<Environment>,
        spec: Spec,
        identity: &Identity,
        is_node: bool,
    ) -> NapiResult<Object<'env>> {
        let Spec { prefix, command_timeout, redis } = spec;
        let redis = redis.ok_or_else(|| NapiError::from_reason("There are no servers to ask"))?;
        let key_prefix = redis.key_prefix.clone();
        let name = stores::connection_name(identity);
        let (servers, strategy) =
            stores::servers_of(env, &environment, redis, command_timeout, is_node, name)?;
        let inner = Arc::new(Inquiry::new(servers, &key_prefix, &prefix, &identity.client));
        let inquiry = Rc::new(Self { inner, environment });
        let mut object = Object::new(env)?;
        let this = inquiry.clone();
        let servers = move |call: FunctionCallContext| this.servers(call.env);
        object.set_named_property(
            "servers",
            env.create_function_from_closure::<(), _, _>("servers", servers)?,
        )?;
        let this = inquiry.clone();
        let sentinels = move |_: FunctionCallContext| Ok(this.inner.sentinels());
        object.set_named_property(
            "sentinels",
            env.create_function_from_closure::<(), _, _>("sentinels", sentinels)?,
        )?;
        let ask = move |call: FunctionCallContext| inquiry.ask(&call);
        object.set_named_property("ask", env.create_function_from_closure::<(), _, _>("ask", ask)?)?;
        object.set_named_property("called", strategy)?;
        Ok(object)
    }

    /// `servers()`: a promise of the names of those that have locks.
    fn servers(&self, env: &Env) -> NapiResult<sys::napi_value> {
        let inquiry = self.inner.clone();
        self.environment.promise(env, async move { inquiry.servers().await.map(Outcome::Names) })
    }

    /// `ask(name, questions)`: a promise of the answers of one of them.
    fn ask(&self, call: &FunctionCallContext) -> NapiResult<sys::napi_value> {
        let (name, questions): (String, Vec<Vec<String>>) = (call.get(0)?, call.get(1)?);
        let inquiry = self.inner.clone();
        let asking = async move { inquiry.ask(&name, questions).await.map(Outcome::Answers) };
        self.environment.promise(call.env, asking)
    }
}

pub(crate) fn answers_to_js(env: &Env, Answers { link, answers }: &Answers) -> NapiResult<sys::napi_value> {
    let mut all = env.create_array(0)?;
    for Timed { answer, took, at } in answers {
        let mut value = Object::new(env)?;
        value.set_named_property("answer", answer_to_js(env, answer)?)?;
        value.set_named_property("took", took.as_secs_f64() * 1000.0)?;
        value.set_named_property("at", at.as_secs_f64() * 1000.0)?;
        all.insert(value)?;
    }
    let mut object = Object::new(env)?;
    if let Some(link) = link {
        object.set_named_property("isResp3", link.is_resp3)?;
        object.set_named_property("isSubscribed", link.is_subscribed)?;
    }
    object.set_named_property("answers", all)?;
    // SAFETY: the object is of the current environment.
    unsafe { Object::to_napi_value(env.raw(), object) }
}

/// A value of the current environment.
struct Raw(sys::napi_value);

impl ToNapiValue for Raw {
    unsafe fn to_napi_value(_: sys::napi_env, Self(value): Self) -> NapiResult<sys::napi_value> {
        Ok(value)
    }
}

fn answer_to_js(env: &Env, answer: &Answer) -> NapiResult<Raw> {
    // SAFETY: `env` is the current environment, and the objects are of it.
    let value = unsafe {
        match answer {
            Answer::Nothing => Null::to_napi_value(env.raw(), Null),
            Answer::Number(number) => i64::to_napi_value(env.raw(), *number),
            Answer::Text(text) => <&str>::to_napi_value(env.raw(), text),
            Answer::List(answers) => {
                let mut list = env.create_array(0)?;
                for answer in answers {
                    list.insert(answer_to_js(env, answer)?)?;
                }
                ToNapiValue::to_napi_value(env.raw(), list)
            }
            Answer::Error(Cause { code, message }) => {
                let mut error = Object::new(env)?;
                error.set_named_property("code", &**code)?;
                error.set_named_property("message", &**message)?;
                Object::to_napi_value(env.raw(), error)
            }
        }
    };
    value.map(Raw)
}
