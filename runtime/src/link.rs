//! Connects a component's imports to bridges: only those its manifest declares, and each behind its gate.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use mpkg_manifest::{Manifest, permission};
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, debug_span};
use wasmtime::component::{ComponentType, Lift, Linker, Lower, WasmStr};
use wasmtime::{Engine, StoreContextMut};

use crate::bridge::{Bridge, Caller, Handler};
use crate::broker::{Declared, Gate, authorize, is_open};
use crate::error::LaunchError;
use crate::guest::Guest;
use crate::limits::Limit;
use crate::nesting::{Waits, bridge};
use crate::policy::Policy;
use crate::rates::{BUILTIN, Limited};
use crate::rpc::{self, RpcError, code};
use crate::session::Session;

/// The version of the bridge's WIT package that this host speaks; compatible imports match it.
const BRIDGE_VERSION: &str = "1.0.0";

/// `mpkg:bridge/types.rpc-error`.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WireError {
    pub(crate) code: i32,
    message: String,
    data: Option<String>,
}

impl From<RpcError> for WireError {
    fn from(error: RpcError) -> Self {
        let RpcError { code, message, data } = error.bounded(rpc::LONGEST_ERROR);
        Self { code, message, data: data.map(|data| data.to_string()) }
    }
}

impl WireError {
    /// The guest's error as its caller gets it. Data of a few bytes for each value takes many times its length once it
    /// is parsed, so what is longer than errors have to be is left out.
    pub(crate) fn bounded(self, limit: usize) -> RpcError {
        let fits = |text: &String| text.len() <= rpc::LONGEST_ERROR;
        // What is not JSON is kept as a string: it is the guest's, and only shown.
        let parse = |text: String| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
        let data = self.data.filter(fits).map(parse);
        RpcError { code: self.code, message: self.message, data }.bounded(limit)
    }
}

/// All bridges of a host, by method.
#[derive(Default)]
pub(crate) struct Registry {
    methods: BTreeMap<String, Provided>,
    permissions: Vec<String>,
}

struct Provided {
    permission: String,
    place: usize,
    rate: Option<NonZeroU32>,
    handler: Arc<Handler>,
}

/// A bridge that cannot be registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegisterError {
    #[error("`{permission}` is neither a permission of the vocabulary nor `host.<name>`")]
    UnknownPermission { permission: String },
    #[error("method `{method}` does not belong under permission `{permission}`, or is there twice")]
    Misplaced { permission: String, method: String },
}

impl Registry {
    /// Adds a bridge; it replaces a built-in one with the same permission.
    pub(crate) fn add(&mut self, bridge: Bridge) -> Result<(), RegisterError> {
        let permission = bridge.permission().to_owned();
        if permission::interface_for(&permission).is_none() {
            return Err(RegisterError::UnknownPermission { permission });
        }
        if let Some(method) = bridge.misplaced() {
            return Err(RegisterError::Misplaced { permission, method: method.to_owned() });
        }
        self.methods.retain(|_, provided| provided.permission != permission);
        for (method, handler, rate) in bridge.into_methods() {
            let provided = Provided { permission: permission.clone(), place: 0, rate, handler };
            self.methods.insert(method, provided);
        }
        for (place, provided) in self.methods.values_mut().enumerate() {
            provided.place = place;
        }
        if !self.permissions.contains(&permission) {
            self.permissions.push(permission);
        }
        Ok(())
    }

    /// Sets how often methods may be called; what a host says outranks what their bridges say.
    pub(crate) fn limit_rates(&mut self, rates: &BTreeMap<String, NonZeroU32>) {
        for (method, provided) in &mut self.methods {
            let builtin = BUILTIN.iter().find(|(name, _)| name == method);
            let builtin = builtin.and_then(|(_, rate)| NonZeroU32::new(*rate));
            provided.rate = rates.get(method).copied().or(provided.rate).or(builtin);
        }
    }

    /// How often an app may call methods, in the order of their places: what its manifest asks for within `policy`.
    pub(crate) fn rates(&self, manifest: &Manifest, policy: &Policy) -> Result<Limited, LaunchError> {
        let asked = &manifest.mpkg.limits.calls_per_second;
        let rate = |(method, provided): (&String, &Provided)| {
            let Some(&asked) = asked.get(method) else { return Ok(provided.rate) };
            match policy.rate_ceilings.get(method).copied().or(provided.rate) {
                Some(allowed) if asked > allowed.get() => Err(LaunchError::OverPolicy {
                    app_id: manifest.app_id.to_string(),
                    what: format!("calls of `{method}` per second").into(),
                    asked: asked.into(),
                    allowed: allowed.get().into(),
                }),
                _ => Ok(Some(NonZeroU32::new(asked).unwrap_or(NonZeroU32::MIN))),
            }
        };
        self.methods.iter().map(rate).collect()
    }

    /// The methods, in the order of their places.
    pub(crate) fn names(&self) -> Arc<[String]> {
        self.methods.keys().cloned().collect()
    }

    /// The methods by name, each with its permission.
    pub(crate) fn methods(&self) -> impl Iterator<Item = (&str, &str)> {
        self.methods.iter().map(|(method, provided)| (method.as_str(), provided.permission.as_str()))
    }

    pub(crate) fn provides(&self, permission: &str) -> bool {
        self.permissions.iter().any(|p| p == permission)
    }

    /// The methods of all bridges, each with what one app version needs for it.
    pub(crate) fn endpoints(&self, declared: &[Declared]) -> Endpoints {
        let endpoint = |(method, provided): (&String, &Provided)| Endpoint {
            method: method.as_str().into(),
            interface: permission::interface_for(&provided.permission),
            gate: gate(&provided.permission, declared),
            place: provided.place,
            handler: provided.handler.clone(),
        };
        Endpoints(self.methods.iter().map(endpoint).map(Arc::new).collect())
    }
}

/// All of a host's methods as one app version meets them, sorted by name.
pub(crate) struct Endpoints(Box<[Arc<Endpoint>]>);

impl Endpoints {
    /// The method of that name, whatever interface it is under.
    pub(crate) fn get(&self, method: &str) -> Option<&Endpoint> {
        let place = self.0.binary_search_by(|endpoint| (*endpoint.method).cmp(method)).ok()?;
        self.0.get(place).map(Arc::as_ref)
    }

    /// Whether the host has any method under that interface.
    pub(crate) fn have_interface(&self, name: &str) -> bool {
        self.0.iter().any(|endpoint| endpoint.interface == Some(name))
    }

    /// A linker for one app version: the free interfaces and those of declared permissions, nothing else.
    pub(crate) fn linker(
        &self,
        engine: &Engine,
        declared: &[Declared],
        wasi: bool,
    ) -> wasmtime::Result<Linker<Guest>> {
        let mut linker = Linker::new(engine);
        let mut interfaces = BTreeMap::<&str, Interface>::new();
        for free in permission::VOCABULARY.iter().filter(|spec| spec.free) {
            interfaces.entry(free.interface).or_default();
        }
        for wanted in declared {
            if let Some(name) = permission::interface_for(wanted.name.as_str()) {
                interfaces.entry(name).or_default();
            }
        }
        for endpoint in &self.0 {
            let Some(name) = endpoint.interface else { continue };
            let Some(interface) = interfaces.get_mut(name) else { continue };
            interface.endpoints.push((endpoint.method.clone(), endpoint.clone()));
        }
        for (name, interface) in interfaces {
            interface.link(&mut linker, name)?;
        }
        if wasi {
            crate::wasi::add_to_linker(&mut linker)?;
        }
        Ok(linker)
    }
}

fn gate(permission: &str, declared: &[Declared]) -> Gate {
    if permission::by_name(permission).is_some_and(|spec| spec.free) {
        return Gate::Free;
    }
    let index = declared.iter().position(|d| d.name.as_str() == permission);
    index.and_then(|index| u8::try_from(index).ok()).map_or(Gate::Undeclared, Gate::Declared)
}

/// A method as one app version meets it. Every transport goes through [`begin`](Self::begin) and, where that does not
/// answer, [`authorize`](Self::authorize): there is no other way to a handler.
pub(crate) struct Endpoint {
    method: Box<str>,
    interface: Option<&'static str>,
    gate: Gate,
    place: usize,
    handler: Arc<Handler>,
}

/// One imported interface of one app version.
#[derive(Default)]
struct Interface {
    /// A handful at most: looking through them is faster than hashing.
    endpoints: Vec<(Box<str>, Arc<Endpoint>)>,
}

/// A call after its arguments were read: answered, or to go on without the guest's memory.
enum Begun {
    Answered(Result<String, RpcError>),
    Waiting { index: usize, params: String },
}

impl Interface {
    fn link(self, linker: &mut Linker<Guest>, name: &str) -> wasmtime::Result<()> {
        let this = Arc::new(self);
        linker.instance(&format!("mpkg:bridge/{name}@{BRIDGE_VERSION}"))?.func_wrap_async(
            "call",
            move |store: StoreContextMut<'_, Guest>, (method, params): (WasmStr, WasmStr)| {
                let this = this.clone();
                Box::new(async move {
                    let caller = Caller { session: store.data().session.clone() };
                    let begun = {
                        let (method, params) = (method.to_str(&store)?, params.to_str(&store)?);
                        this.begin(&caller, &method, params)
                    };
                    let answer = match begun {
                        Begun::Answered(answer) => answer,
                        Begun::Waiting { index, params } => this.finish(caller, index, params).await,
                    };
                    Ok((answer.map_err(WireError::from),))
                })
            },
        )
    }

    /// Answers calls that are allowed and need no waiting, without copying the guest's strings.
    fn begin(&self, caller: &Caller, method: &str, params: Cow<'_, str>) -> Begun {
        let Some(index) = self.endpoints.iter().position(|(name, _)| **name == *method) else {
            return Begun::Answered(Err(no_such(method, !self.endpoints.is_empty())));
        };
        let Some((_, endpoint)) = self.endpoints.get(index) else {
            return Begun::Answered(Err(RpcError::internal()));
        };
        match endpoint.begin(caller, &params) {
            Some(answer) => Begun::Answered(answer),
            None => Begun::Waiting { index, params: params.into_owned() },
        }
    }

    async fn finish(&self, caller: Caller, index: usize, params: String) -> Result<String, RpcError> {
        let Some((_, endpoint)) = self.endpoints.get(index) else { return Err(RpcError::internal()) };
        let span = debug_span!("bridge", method = &*endpoint.method);
        async {
            let authorized = {
                // The host's copy counts as the guest's memory; what is carried out is charged for it by itself.
                let hold = caller.session.ledger.hold_here(params.len());
                let _hold = hold.ok_or_else(|| caller.session.no_room("message"))?;
                // The guest is not to be stopped because a person takes time to answer.
                let _asking = (!is_open(&caller.session, endpoint.gate)).then(|| caller.session.meter.ask());
                endpoint.authorize(&caller).await?
            };
            bridge(Waits::Instance(caller.session.life.id), authorized.carry_out(&caller, params)).await
        }
        .instrument(span)
        .await
    }
}

/// A method that is not there: is its bridge, with others?
#[cold]
pub(crate) fn no_such(method: &str, has_bridge: bool) -> RpcError {
    if has_bridge {
        return RpcError::method_not_found(method);
    }
    RpcError::new(code::UNAVAILABLE, format!("This host has no bridge for `{}`.", rpc::shown(method)))
}

impl Endpoint {
    /// Answers a call that is allowed and needs no waiting; `None` leaves it to [`authorize`](Self::authorize).
    pub(crate) fn begin(&self, caller: &Caller, params: &str) -> Option<Result<String, RpcError>> {
        let _span = (LevelFilter::current() >= LevelFilter::DEBUG && self.is_immediate())
            .then(|| debug_span!("bridge", method = &*self.method).entered());
        let limit = caller.session.limits.message_bytes;
        if params.len() > limit {
            caller.session.metrics.hit(Limit::Message);
            return Some(Err(RpcError::too_large("The message", params.len(), limit)));
        }
        match &*self.handler {
            Handler::Ready(handler) if is_open(&caller.session, self.gate) => {
                let answer = self.admit(&caller.session).and_then(|()| handler(caller, params));
                Some(self.count(caller, answer))
            }
            Handler::Ready(_) | Handler::Later(_) => None,
        }
    }

    fn is_immediate(&self) -> bool {
        matches!(&*self.handler, Handler::Ready(_))
    }

    /// Lets a call through, or tells why not; asks whoever is to be asked first.
    #[inline]
    pub(crate) async fn authorize(&self, caller: &Caller) -> Result<Authorized<'_>, RpcError> {
        let authorized = authorize(&caller.session, self.gate, &self.method).await;
        if authorized.is_err()
            && let Some(counters) = caller.session.metrics.method(self.place)
        {
            counters.denied.fetch_add(1, Ordering::Relaxed);
        }
        authorized.map(|()| Authorized(self))
    }

    /// Counts the call against its method's rate.
    #[inline]
    fn admit(&self, session: &Session) -> Result<(), RpcError> {
        session.rates.check(self.place).map_err(|wait| session.too_much("This is called too often", wait))
    }

    fn count(&self, caller: &Caller, answer: Result<String, RpcError>) -> Result<String, RpcError> {
        let limit = caller.session.limits.message_bytes;
        let answer = match answer {
            Ok(text) if text.len() > limit => {
                caller.session.metrics.hit(Limit::Message);
                Err(RpcError::too_large("The answer", text.len(), limit))
            }
            other => other,
        };
        if let Some(counters) = caller.session.metrics.method(self.place) {
            counters.calls.fetch_add(1, Ordering::Relaxed);
            if answer.is_err() {
                counters.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        answer
    }
}

/// A call that was let through; the only way to a handler that may wait.
pub(crate) struct Authorized<'e>(&'e Endpoint);

impl Authorized<'_> {
    pub(crate) async fn carry_out(self, caller: &Caller, params: String) -> Result<String, RpcError> {
        let endpoint = self.0;
        // The host's copy counts as the guest's memory while the call lasts.
        let hold = caller.session.ledger.hold_here(params.len());
        let _hold = hold.ok_or_else(|| caller.session.no_room("message"))?;
        if let Err(too_often) = endpoint.admit(&caller.session) {
            return endpoint.count(caller, Err(too_often));
        }
        let answer = match &*endpoint.handler {
            Handler::Ready(handler) => handler(caller, &params),
            Handler::Later(handler) => {
                let started = Instant::now();
                let answer = handler(caller.clone(), params).await;
                if let Some(counters) = caller.session.metrics.method(endpoint.place) {
                    counters.record_wait(started.elapsed());
                }
                answer
            }
        };
        endpoint.count(caller, answer)
    }
}

#[cfg(test)]
mod tests;
