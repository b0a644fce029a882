//! An app under test, driven the way a host does it.

use serde_json::{Value, json};

use crate::{App, Error};

/// A launched app.
#[derive(Debug)]
pub struct Launched<A> {
    app: A,
}

impl<A: App> Default for Launched<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: App> Launched<A> {
    /// Launches the app for a user called `test`.
    ///
    /// # Panics
    ///
    /// When the app's `lifecycle.launched` fails.
    #[allow(clippy::expect_used, reason = "a test helper: a test wants to stop here")]
    pub fn new() -> Self {
        A::start();
        let mut launched = Self { app: A::default() };
        let params = json!({ "user": "test", "reason": "user" });
        launched.notify("lifecycle.launched", params).expect("the app handles lifecycle.launched");
        launched
    }

    /// Calls a method; params and result are what crosses the bridge.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, Error> {
        let answer = self.app.handle(method, &params.to_string())?;
        serde_json::from_str(&answer).map_err(|error| Error::Internal(error.to_string()))
    }

    /// Sends a notification. A host ignores what comes back; a test may want to know.
    pub fn notify(&mut self, name: &str, params: Value) -> Result<(), Error> {
        self.app.handle(name, &params.to_string()).map(|_| ())
    }

    /// The app itself.
    pub fn app(&mut self) -> &mut A {
        &mut self.app
    }

    /// Stops the app, as a host does that needs the room; what it stored stays.
    pub fn unload(mut self) -> Result<(), Error> {
        self.notify("lifecycle.unloaded", json!({}))
    }
}
