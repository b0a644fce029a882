//! The service behind a door: what a page says is answered here, on whichever transport it came.

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use jsonrpsee::ResponsePayload;
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::server::{BatchResponseBuilder, MethodResponse};
use jsonrpsee::types::{Id, Request};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::envelope::{Envelope, object};
use super::incoming::Message;
use crate::bridge::Caller;
use crate::budget::Hold;
use crate::call::Shared;
use crate::dispatch::{By, Held, dispatch};
use crate::limits::Limit;
use crate::rpc::{RpcError, code, shown};
use crate::session::Session;
use crate::told;

/// Calls the app itself, with `{"method": …, "params": …}`; all other methods are the bridge's.
const APP_CALL: &str = "app.call";
/// Room around a message for its envelope, in bytes.
const ENVELOPE: usize = 4096;

/// An answer on its way to the page: the app's memory for as long as it is not sent.
pub(super) struct Answer {
    response: MethodResponse,
    /// None for the few words that say that there is no memory.
    _hold: Option<Hold>,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        self.response.as_json().get()
    }
}

/// Carries out the calls of one page as its app's own. It keeps no app alive.
#[derive(Clone)]
pub(super) struct Calls {
    session: Arc<Session>,
    app: Weak<Shared>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppCall<'p> {
    #[serde(borrow)]
    method: Cow<'p, str>,
    #[serde(borrow, default)]
    params: Option<&'p RawValue>,
}

impl Calls {
    pub(super) fn new(app: &Arc<Shared>) -> Self {
        Self { session: app.session.clone(), app: Arc::downgrade(app) }
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// The longest message and the longest answer, envelopes included, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.session.limits.message_bytes.saturating_add(ENVELOPE)
    }

    /// Charges the app for what its page sends.
    pub(super) fn hold(&self, bytes: usize) -> Option<Hold> {
        self.session.ledger.hold_aside(bytes)
    }

    /// Answers a message. Notifications have no answer.
    pub(super) async fn answer(&self, message: Message) -> Option<Answer> {
        let Message { bytes, hold: _hold } = message;
        match Envelope::read(&bytes) {
            Envelope::Call(request) => Some(self.call(request).await),
            Envelope::Notification(notification) => {
                self.notification(notification).await;
                None
            }
            Envelope::Batch(batch) => self.batch(batch).await,
            Envelope::Bad(id, error) => Some(self.refuse(id, error)),
        }
    }

    /// What a message is answered that is too long to be looked at.
    pub(super) fn too_long(&self) -> Answer {
        self.session.metrics.hit(Limit::Message);
        let limit = self.session.limits.message_bytes;
        let error = RpcError::new(code::TOO_LARGE, format!("The message is longer than {limit} bytes."));
        self.refuse(Id::Null, error.with_data(json!({ "limit": limit })))
    }

    /// What a message is answered that the app's memory has no room for.
    pub(super) fn no_room(&self) -> Answer {
        self.refuse(Id::Null, self.session.no_room("message"))
    }

    fn refuse(&self, id: Id<'_>, error: RpcError) -> Answer {
        let error = error.bounded(self.session.limits.message_bytes);
        let response = MethodResponse::error(id.clone(), object(error));
        match self.session.ledger.hold_aside(response.as_json().get().len()) {
            Some(hold) => Answer { response, _hold: Some(hold) },
            None => {
                let error = self.session.no_room("answer");
                Answer { response: MethodResponse::error(id, object(error)), _hold: None }
            }
        }
    }

    fn settle(&self, id: Id<'_>, outcome: Result<Held, RpcError>) -> Answer {
        let outcome = outcome.and_then(|Held { text, hold }| match RawValue::from_string(text) {
            Ok(result) => Ok((result, hold)),
            Err(error) => {
                tracing::error!(%error, "an answer is not JSON");
                Err(RpcError::internal())
            }
        });
        match outcome {
            Ok((result, mut hold)) => {
                let payload = ResponsePayload::success(result);
                let response = MethodResponse::response(id, payload, self.longest());
                // Where there is no room for the envelope, the result is charged all the same.
                let _ = hold.resize(response.as_json().get().len());
                Answer { response, _hold: Some(hold) }
            }
            Err(error) => self.refuse(id, error),
        }
    }

    async fn carry_out(&self, method: &str, params: &str) -> Result<Held, RpcError> {
        if method == APP_CALL {
            return self.call_app(params).await;
        }
        dispatch(Caller { session: self.session.clone() }, method, params, By::Gateway).await
    }

    async fn call_app(&self, params: &str) -> Result<Held, RpcError> {
        let session = &self.session;
        let AppCall { method, params } = serde_json::from_str(params)
            .map_err(|error| RpcError::invalid_params(format!("The parameters do not fit: {error}.")))?;
        if told::is_the_hosts(&method) {
            let message = format!("`{}` is said by the host alone.", shown(&method));
            return Err(RpcError::new(code::METHOD_NOT_FOUND, message));
        }
        let params = params.map_or("{}", RawValue::get);
        // Until it is its turn; from there on it is charged by itself.
        let hold = session.ledger.hold_aside(method.len() + params.len());
        let _hold = hold.ok_or_else(|| session.no_room("message"))?;
        let shared = self.app.upgrade();
        let shared = shared.ok_or_else(|| RpcError::new(code::CANCELLED, "The app has ended."))?;
        let answer = shared.ask_json(&method, params.to_owned()).await;
        let limit = session.limits.message_bytes;
        Held::new(session, answer.map_err(|error| error.into_rpc().bounded(limit))?)
    }
}

impl RpcServiceT for Calls {
    type MethodResponse = Answer;
    type NotificationResponse = ();
    type BatchResponse = Option<Answer>;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = Answer> + Send + 'a {
        let this = self.clone();
        async move {
            let params = request.params.as_deref().map_or("{}", RawValue::get);
            let outcome = this.carry_out(&request.method, params).await;
            this.settle(request.id, outcome)
        }
    }

    // Each member goes through `call`: a guard on single calls alone would be walked around with a batch of one.
    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = Option<Answer>> + Send + 'a {
        let this = self.clone();
        async move {
            let limit = this.longest();
            let mut answers = BatchResponseBuilder::new_with_limit(limit);
            let mut hold = this.session.ledger.hold_aside(0);
            let mut bytes = 0;
            for entry in batch {
                // Each in its turn: others may be waiting for this thread, and the page for its time.
                tokio::task::yield_now().await;
                let answer = match entry {
                    Ok(BatchEntry::Call(request)) => this.call(request).await,
                    Ok(BatchEntry::Notification(notification)) => {
                        this.notification(notification).await;
                        continue;
                    }
                    Err(error) => {
                        let (error, id) = error.into_parts();
                        Answer { response: MethodResponse::error(id, error), _hold: None }
                    }
                };
                bytes += answer.text().len() + 1;
                if !hold.as_mut().is_some_and(|hold| hold.resize(bytes)) {
                    return Some(this.refuse(Id::Null, this.session.no_room("batch's answers")));
                }
                if answers.append(answer.response).is_err() {
                    let message = format!("The answers to the batch are longer than {limit} bytes.");
                    return Some(this.refuse(Id::Null, RpcError::new(code::TOO_LARGE, message)));
                }
            }
            let answered = !answers.is_empty();
            answered.then(|| Answer { response: MethodResponse::from_batch(answers.finish()), _hold: hold })
        }
    }

    fn notification<'a>(&self, notification: Notification<'a>) -> impl Future<Output = ()> + Send + 'a {
        let this = self.clone();
        async move {
            let params = notification.params.as_deref().map_or("{}", RawValue::get);
            // Nobody hears of a failure but the metrics and, for a denial, the audit.
            let _ = this.carry_out(&notification.method, params).await;
        }
    }
}
