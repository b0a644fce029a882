use crate::Error;

/// What a host calls. `#[mpkg_sdk::app]` implements it.
pub trait App: Default {
    /// The names of the methods that it answers to.
    const METHODS: &'static [&'static str];

    /// Runs once, before the app is created.
    fn start() {}

    /// Handles one request or notification; `params` and the result are JSON texts.
    fn handle(&mut self, method: &str, params: &str) -> Result<String, Error>;
}
