//! Shown, hidden, unloaded: what a host does with an app as its user comes and goes, and what the app is told.
//!
//! Source: the states of the [W3C MiniApp Lifecycle](https://www.w3.org/TR/miniapp-lifecycle/).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::call::Shared;
use crate::data::Op;
use crate::error::CallError;
use crate::instance::Instance;
use crate::life::State;
use crate::rpc::{RpcError, code};
use crate::stop::StopReason;

/// The one event whose answer is not what the app leaves behind.
const SHOWN: &str = "lifecycle.shown";
/// The key of the app's own storage under which what it leaves behind is kept.
const STATE_KEY: &str = "lifecycle.state";
/// The longest state an app may leave behind, in bytes of JSON text.
const STATE_BYTES: usize = 64 * 1024;

/// What `lifecycle.launched` tells.
#[derive(Serialize)]
struct Launch<'a> {
    user: &'a str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Box<RawValue>>,
}

/// A change of an app's life runs on a task of its own: a host that stopped waiting for one would otherwise leave an app
/// that is hidden and not held still, or was told of its end and goes on.
impl Instance {
    /// Puts the app in front of the user: it may run, has its permissions that last while in use, and is told
    /// `lifecycle.shown`. Nothing happens if it is shown already. An app that takes longer than [`Policy::grace`] is not
    /// waited for.
    ///
    /// ```
    /// # async fn example(app: miniapp_runtime::Instance) -> Result<(), miniapp_runtime::CallError> {
    /// use miniapp_runtime::State;
    /// app.show().await?;
    /// assert_eq!(app.state(), State::Shown);
    /// app.hide().await?;
    /// assert_eq!(app.state(), State::Hidden);
    /// app.unload().await;
    /// assert_eq!(app.state(), State::Unloaded);
    /// # Ok(()) }
    /// ```
    ///
    /// [`Policy::grace`]: crate::Policy::grace
    ///
    /// # Errors
    /// As for [`Instance::call`].
    pub async fn show(&self) -> Result<(), CallError> {
        let this = self.clone();
        let shown = self.shared.session.runtime.spawn(async move { this.to_front().await });
        shown.await.unwrap_or_else(|_| Err(self.shared.stopped()))
    }

    /// Takes the app out of the user's sight: it is told `lifecycle.hidden`, what it answers as `state` is kept for its
    /// next launch, and it is held still wherever it is then (unless [`Policy::suspend_hidden`] is off). An app that
    /// takes longer than [`Policy::grace`] is held still all the same. Its permissions that last while in use end when it
    /// has handled that, or then.
    ///
    /// [`Policy::suspend_hidden`]: crate::Policy::suspend_hidden
    /// [`Policy::grace`]: crate::Policy::grace
    ///
    /// # Errors
    /// As for [`Instance::call`].
    pub async fn hide(&self) -> Result<(), CallError> {
        let this = self.clone();
        let hidden = self.shared.session.runtime.spawn(async move { this.out_of_sight().await });
        hidden.await.unwrap_or_else(|_| Err(self.shared.stopped()))
    }

    /// Tells the app `lifecycle.unloaded`, keeps what it answers as `state`, and ends it. An app that takes longer than
    /// [`Policy::grace`](crate::Policy::grace) is ended all the same.
    pub async fn unload(&self) {
        self.unload_because(StopReason::Unloaded).await;
    }

    pub(crate) async fn unload_because(&self, reason: StopReason) {
        self.unload_if(reason, |_| true).await;
    }

    /// The same, unless the app is not as it was any more when its turn comes. True if it has ended; `None` if the host's
    /// runtime was shut down meanwhile.
    pub(crate) async fn unload_if(&self, reason: StopReason, still: fn(&Self) -> bool) -> Option<bool> {
        let this = self.clone();
        let unloaded = self.shared.session.runtime.spawn(async move {
            let _turn = this.shared.turn.lock().await;
            let life = &this.shared.session.life;
            if life.switch.reason().is_none() {
                if !still(&this) {
                    return false;
                }
                life.switch.resume();
                let params = json!({ "reason": reason.label() }).to_string();
                let _ = this.tell_in_time("lifecycle.unloaded", params).await;
            }
            life.stop(reason);
            true
        });
        unloaded.await.ok()
    }

    async fn to_front(&self) -> Result<(), CallError> {
        let _turn = self.shared.turn.lock().await;
        let life = &self.shared.session.life;
        match life.state() {
            State::Launched | State::Hidden => {}
            State::Launching | State::Shown => return Ok(()),
            State::Unloaded | State::Error => return Err(self.shared.stopped()),
        }
        life.enter(State::Shown);
        self.shared.session.permissions.set_in_use(true);
        life.switch.resume();
        self.tell_in_time(SHOWN, "{}".into()).await
    }

    async fn out_of_sight(&self) -> Result<(), CallError> {
        let _turn = self.shared.turn.lock().await;
        let session = &self.shared.session;
        match session.life.state() {
            State::Launched | State::Shown => {}
            State::Launching | State::Hidden => return Ok(()),
            State::Unloaded | State::Error => return Err(self.shared.stopped()),
        }
        session.life.enter(State::Hidden);
        let told = self.tell_in_time("lifecycle.hidden", "{}".into()).await;
        session.permissions.set_in_use(false);
        if session.suspend_hidden {
            session.life.switch.suspend();
        }
        told
    }

    /// What the app is told when it starts: for whom, and what it left behind when it was last hidden or unloaded.
    pub(crate) async fn launched(&self) -> Result<(), CallError> {
        let session = &self.shared.session;
        let left = self.shared.left_behind().await;
        // The host's own id of a user is nobody's business.
        let user = &session.local.pseudonym;
        let params = Launch { user, reason: if left.is_some() { "restore" } else { "launch" }, state: left };
        let params = serde_json::to_string(&params).map_err(|_| RpcError::internal())?;
        self.shared.tell("lifecycle.launched", params).await.map(drop)
    }

    async fn tell_in_time(&self, method: &'static str, params: String) -> Result<(), CallError> {
        let grace: Duration = self.shared.session.grace;
        // On a task of its own, which keeps no app alive: one that is busy is told when it comes to it, and what it
        // leaves behind then is kept all the same. Only the waiting ends.
        let shared = self.shared.clone();
        let told = self.shared.session.runtime.spawn(async move {
            let answer = shared.tell(method, params).await?;
            if let Some(answer) = answer.filter(|_| method != SHOWN) {
                shared.keep(&answer).await;
            }
            Ok(())
        });
        match tokio::time::timeout(grace, told).await {
            Ok(told) => told.unwrap_or_else(|_| Err(self.shared.stopped())),
            Err(_) => {
                tracing::warn!(app = %self.app_id(), method, "the app took too long to handle this");
                Ok(())
            }
        }
    }
}

impl Shared {
    /// A notification; its answer if it has one. An app without a handler for it is not disturbed.
    async fn tell(self: &Arc<Self>, method: &str, params: String) -> Result<Option<String>, CallError> {
        match self.call(method, params, false).await.map_err(|error| *error) {
            Ok(answer) => Ok(Some(answer)),
            Err(CallError::Rpc(error)) if error.code == code::METHOD_NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the `state` of an answer in the app's own storage, within its permission and quota.
    async fn keep(&self, answer: &str) {
        #[derive(serde::Deserialize)]
        struct Answer {
            state: Box<RawValue>,
        }
        let Ok(Answer { state }) = serde_json::from_str::<Answer>(answer) else { return };
        if state.get().len() > STATE_BYTES || !self.may_store() {
            tracing::warn!(app = %self.session.identity.app_id, bytes = state.get().len(), "the app's state is not kept");
            return;
        }
        let session = self.session.clone();
        let kept = self.session.runtime.spawn_blocking(move || {
            let key = STATE_KEY.to_owned();
            let op = match state.get() {
                "null" => Op::Delete { key },
                text => Op::Set { key, value: text.to_owned() },
            };
            let running = || session.life.switch.reason().is_none();
            session.data.kv_apply(&session.namespace(), &[], &[op], session.storage_quota, running)
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(app = %self.session.identity.app_id, %error, "the app's state is not kept");
        }
    }

    async fn left_behind(&self) -> Option<Box<RawValue>> {
        if !self.may_store() {
            return None;
        }
        let session = self.session.clone();
        let text =
            self.session.runtime.spawn_blocking(move || session.data.kv_get(&session.namespace(), STATE_KEY));
        let text = text.await.ok()?.inspect_err(|error| {
            tracing::error!(app = %self.session.identity.app_id, %error, "what the app left behind cannot be read");
        });
        RawValue::from_string(text.ok()??).ok()
    }

    fn may_store(&self) -> bool {
        let permissions = &self.session.permissions;
        permissions.index_of("storage").is_some_and(|index| permissions.holds(index, None).is_ok())
    }
}
