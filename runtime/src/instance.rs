//! A running app: one component instance in a store of its own, for one user.

use std::sync::Arc;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::call::Call;
pub(crate) use crate::call::Shared;
use crate::error::CallError;
use crate::life::{Alive, KillHandle, Life, State};
use crate::limits::Limits;
use crate::metrics::InstanceMetrics;
use crate::notify::Notifications;
use crate::rpc::{self, RpcError, code};
use crate::stop::StopReason;

/// A handle to a running app. Clones are the same instance; when the last one is dropped it ends, whatever it is doing.
#[derive(Clone)]
pub struct Instance {
    _alive: Arc<Alive>,
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shared.session.fmt(f)
    }
}

/// What an app answered, as it came. There is no way to it but through a parser: whoever reads it learns whether it is
/// JSON, and nobody has it parsed twice.
///
/// ```
/// # async fn example(app: miniapp_runtime::Instance) -> Result<(), Box<dyn std::error::Error>> {
/// let params = serde_json::value::to_raw_value(&[1, 2])?;
/// let sum: u64 = app.call_raw("sum", &params).await?.read()?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Answer(String);

impl Answer {
    /// The answer as an `R`.
    ///
    /// # Errors
    /// If it is not JSON, or no `R`.
    pub fn read<R: DeserializeOwned>(&self) -> Result<R, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The answer as JSON text.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn into_raw(self) -> Result<Box<RawValue>, serde_json::Error> {
        RawValue::from_string(self.0)
    }
}

impl Instance {
    /// The first handle.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { _alive: Alive::new(&shared.session.life), shared }
    }

    /// Another handle, while there is one.
    pub(crate) fn again(life: &Life) -> Option<Self> {
        Some(Self { _alive: life.alive()?, shared: life.shared()? })
    }

    /// Unique within this host's run.
    pub fn id(&self) -> u64 {
        self.shared.session.life.id
    }

    /// The app's id.
    pub fn app_id(&self) -> &str {
        &self.shared.session.identity.app_id
    }

    /// The user the app runs for.
    pub fn user(&self) -> &str {
        &self.shared.session.identity.user
    }

    /// The app's version, as its manifest names it.
    pub fn version(&self) -> &str {
        &self.shared.session.identity.version
    }

    /// Calls a method of the app with typed parameters and result.
    ///
    /// Calls queue: an instance runs one at a time. Dropping the future does not stop the guest, which runs on to the
    /// call's end or a limit; [`Instance::kill`] does.
    ///
    /// # Errors
    /// [`CallError`]: the app answered with an error, or has stopped, or the answer is not an `R`.
    pub async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<R, CallError> {
        self.shared.ask(method, params).await
    }

    /// Calls a method with JSON text and gives its result as JSON text.
    ///
    /// # Errors
    /// As for [`Instance::call`].
    pub async fn call_json(&self, method: &str, params: &str) -> Result<String, CallError> {
        if let Err(e) = serde_json::from_str::<IgnoredAny>(params) {
            return Err(RpcError::invalid_params(format!("The parameters are not JSON: {e}.")).into());
        }
        self.shared.ask_json(method, params.to_owned()).await
    }

    /// The same with parameters that are JSON by their type, and so not looked at again, and an answer that is looked at
    /// when it is read: the cheapest call there is.
    ///
    /// # Errors
    /// As for [`Instance::call`].
    pub async fn call_raw(&self, method: &str, params: &RawValue) -> Result<Answer, CallError> {
        self.shared
            .enter_from_outside(method, params.get().to_owned())
            .await
            .map(Answer)
            .map_err(|error| *error)
    }

    /// Answers one JSON-RPC 2.0 request text; `None` for a notification.
    pub async fn rpc(&self, request: &str) -> Option<String> {
        let request = match rpc::Request::parse(request) {
            Ok(request) => request,
            Err(error) => return Some(rpc::response(None, Err(&error))),
        };
        let params = request.params.map_or("{}", RawValue::get);
        let outcome = self.shared.ask_json(&request.method, params.to_owned()).await;
        let id = request.id?;
        Some(match outcome {
            Ok(result) => rpc::response(Some(id), Ok(&result)),
            Err(error) => rpc::response(Some(id), Err(&error.into_rpc())),
        })
    }

    /// Tells the app something. An app without a handler for it is not disturbed.
    ///
    /// # Errors
    /// As for [`Instance::call`], but never that the method is unknown.
    pub async fn notify(&self, method: &str, params: &impl Serialize) -> Result<(), CallError> {
        self.shared.notify(method, params).await
    }

    /// What the app tells its host: events, log lines, its end. The first stream asked for begins at the launch, so
    /// that what the app said while it started is in it; others begin now.
    pub fn notifications(&self) -> Notifications {
        self.shared.session.notifications.subscribe()
    }

    /// Ends the app at once, whatever it is doing. Never waits. False if it had ended before.
    ///
    /// The memory is freed when the call that runs in it, if any, has noticed: await [`Instance::stopped`] to see
    /// that.
    pub fn kill(&self, why: impl Into<String>) -> bool {
        self.kill_handle().kill(why)
    }

    /// What can end the app and tell when it is gone, without keeping it alive.
    pub fn kill_handle(&self) -> KillHandle {
        KillHandle(self.shared.session.life.clone())
    }

    /// Waits until the app has ended and its memory is freed.
    pub async fn stopped(&self) -> StopReason {
        self.shared.session.life.buried().await
    }

    /// Why the app has ended; `None` while it runs.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.shared.session.life.switch.reason().cloned()
    }

    /// Where the app is in its life.
    pub fn state(&self) -> State {
        self.shared.session.life.state()
    }

    /// The limits the app runs under: what its manifest asks for, within the host's policy.
    pub fn limits(&self) -> Limits {
        self.shared.session.limits
    }

    /// The permissions that are effective now.
    pub fn permissions(&self) -> Vec<String> {
        self.shared.session.permissions.effective_names()
    }

    /// What the app has done and used so far.
    pub fn metrics(&self) -> InstanceMetrics {
        self.shared.session.figures()
    }
}

/// Calls from outside, which keep no instance alive.
impl Shared {
    pub(crate) async fn ask<R: DeserializeOwned>(
        self: &Arc<Self>,
        method: &str,
        params: &impl Serialize,
    ) -> Result<R, CallError> {
        let text = self.enter_from_outside(method, written(params)?).await.map_err(|error| *error)?;
        serde_json::from_str(&text).map_err(|error| CallError::BadAnswer { method: method.to_owned(), error })
    }

    /// `params` is JSON.
    pub(crate) async fn ask_json(
        self: &Arc<Self>,
        method: &str,
        params: String,
    ) -> Result<String, CallError> {
        let text = self.enter_from_outside(method, params).await.map_err(|error| *error)?;
        match serde_json::from_str::<IgnoredAny>(&text) {
            Ok(_) => Ok(text),
            Err(error) => Err(CallError::BadAnswer { method: method.to_owned(), error }),
        }
    }

    pub(crate) async fn notify(
        self: &Arc<Self>,
        method: &str,
        params: &impl Serialize,
    ) -> Result<(), CallError> {
        match self.enter_from_outside(method, written(params)?).await.map_err(|error| *error) {
            // What it answers is not looked at: nobody wants it, and reading it would be its host's time.
            Ok(_) => Ok(()),
            Err(CallError::Rpc(error)) if error.code == code::METHOD_NOT_FOUND => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Refused while the app is held still.
    #[inline]
    fn enter_from_outside(self: &Arc<Self>, method: &str, params: String) -> Call<'_> {
        let life = &self.session.life;
        if life.switch.is_suspended() && life.switch.reason().is_none() {
            return Call::refused(self, CallError::Suspended { app_id: life.app_id.clone() });
        }
        self.call(method, params, true)
    }
}

fn written(params: &impl Serialize) -> Result<String, RpcError> {
    serde_json::to_string(params)
        .map_err(|e| RpcError::invalid_params(format!("The parameters do not serialize: {e}.")))
}
