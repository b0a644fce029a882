//! Bridge calls that do not come through a component's import: from an app's own UI, over whatever carries it.

use mpkg_manifest::permission;
use tracing::{Instrument, debug_span};

use crate::bridge::Caller;
use crate::instance::Instance;
use crate::link::{Endpoint, no_such};
use crate::rpc::{RpcError, code};

/// Authorizes and carries out one call of an app, by the method's name alone. Parameters and result are JSON text.
///
/// The gate is the one that the guest's own calls pass: a permission that the app does not have opens nothing here
/// either. When the instance ends the call is dropped where it waits.
///
/// # Errors
/// What the guest would get, and [`code::CANCELLED`] once the instance has ended.
pub(crate) async fn dispatch(caller: Caller, method: &str, params: String) -> Result<String, RpcError> {
    let session = caller.session.clone();
    let endpoint = endpoint(&caller, method)?;
    if let Some(answer) = endpoint.begin(&caller, &params) {
        return answer;
    }
    let span = debug_span!(
        "dispatch",
        app = session.identity.app_id,
        version = session.identity.version,
        instance = session.life.id,
        method,
    );
    let answer = async { endpoint.authorize(&caller).await?.carry_out(&caller, params).await };
    tokio::select! {
        biased;
        () = session.life.switch.gone.cancelled() => Err(ended(&caller)),
        answer = answer.instrument(span) => answer,
    }
}

fn endpoint<'c>(caller: &'c Caller, method: &str) -> Result<&'c Endpoint, RpcError> {
    let session = &caller.session;
    if session.life.switch.reason().is_some() {
        return Err(ended(caller));
    }
    session.endpoints.get(method).ok_or_else(|| {
        let host_permission = permission::host_permission_for_method(method);
        let interface = match permission::method(method) {
            Some(spec) => Some(spec.interface),
            None => host_permission.as_deref().and_then(permission::interface_for),
        };
        no_such(method, interface.is_none_or(|name| session.endpoints.have_interface(name)))
    })
}

#[cold]
fn ended(caller: &Caller) -> RpcError {
    let reason = caller.session.life.switch.reason().map(ToString::to_string).unwrap_or_default();
    RpcError::new(code::CANCELLED, format!("`{}` has stopped: {reason}.", caller.app_id()))
}

impl Instance {
    /// Carries out a bridge call as the app's own, for its UI in a web view or behind a socket: the same methods, the
    /// same permissions, the same errors. `params` is JSON text, and so is the result.
    ///
    /// # Errors
    /// What the component would get, and [`code::CANCELLED`] once the instance has ended.
    pub async fn dispatch(&self, method: &str, params: &str) -> Result<String, RpcError> {
        let caller = Caller { session: self.shared.session.clone() };
        dispatch(caller, method, params.to_owned()).await
    }

    /// Whether the app may call a method now, as its call would find out: whoever is to be asked is asked.
    ///
    /// # Errors
    /// What the call would get.
    pub async fn authorize(&self, method: &str) -> Result<(), RpcError> {
        let caller = Caller { session: self.shared.session.clone() };
        endpoint(&caller, method)?.authorize(&caller).await.map(|_| ())
    }
}
