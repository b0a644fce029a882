//! Write Mini Apps in Rust.
//!
//! A Mini App is a struct with methods. The host creates it with [`Default`] when the app is launched, keeps it while
//! the app runs, and calls its methods by name:
//!
//! ```
//! use mpkg_sdk::{Error, lifecycle, log, storage};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default)]
//! struct Guestbook {
//!     guests: Vec<String>,
//! }
//!
//! #[derive(Deserialize)]
//! struct Sign {
//!     name: String,
//! }
//!
//! #[derive(Serialize)]
//! struct Signed {
//!     position: usize,
//! }
//!
//! #[mpkg_sdk::app(log_panics)]
//! impl Guestbook {
//!     #[on("lifecycle.launched")]
//!     fn launched(&mut self, event: lifecycle::Launched) -> Result<(), Error> {
//!         self.guests = storage::get("guests")?.unwrap_or_default();
//!         log::info(&format!("launched for {}", event.user));
//!         Ok(())
//!     }
//!
//!     #[method("guests.sign")]
//!     fn sign(&mut self, params: Sign) -> Result<Signed, Error> {
//!         self.guests.push(params.name);
//!         storage::set("guests", &self.guests)?;
//!         Ok(Signed { position: self.guests.len() })
//!     }
//! }
//!
//! // Natively the bridges go to a fake host, so an app is tested with plain `cargo test`.
//! let host = mpkg_sdk::testing::FakeHost::new();
//! let mut app = mpkg_sdk::testing::Launched::<Guestbook>::new();
//! let signed = app.call("guests.sign", serde_json::json!({ "name": "Ada" })).unwrap();
//! assert_eq!(signed["position"], 1);
//! assert_eq!(host.stored("guests"), Some(serde_json::json!(["Ada"])));
//! ```
//!
//! A wrapper that is not used leaves no trace in the component: its imports are the app's capability list, and
//! `mpkg build` compares them with the manifest's permissions.

mod app;
mod base64;
mod bridge;
mod error;

#[doc(hidden)]
pub mod dispatch;

pub mod cart;
pub mod clipboard;
pub mod clock;
pub mod events;
pub mod files;
pub mod host;
pub mod lifecycle;
pub mod location;
pub mod log;
pub mod network;
pub mod notifications;
pub mod payments;
pub mod random;
pub mod storage;
pub mod timers;
pub mod user;

#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use app::App;
pub use error::{Denied, Error, RpcError};
/// Makes a Mini App of the struct whose `impl` block it is put on.
///
/// - `#[method("orders.add")]` on a method answers requests of that name.
/// - `#[on("lifecycle.launched")]` on a method takes notifications: `lifecycle.launched`, `.shown`, `.hidden`,
///   `.unloaded`, `.error`, `events.message`, `storage.changed`, `timers.fired`, and `ui.…`. A notification without a
///   handler is ignored.
///
/// A handler takes `&self` or `&mut self` and at most one more value, its params: any type that is
/// `serde::Deserialize`. It returns nothing, a value that is `serde::Serialize`, or a `Result` whose error turns into
/// [`Error`]. Params that do not fit are answered with *invalid params*, naming the field; an unknown method with
/// *method not found*.
///
/// `#[app(log_panics)]` writes the message of a panic to the app's log before the app is stopped (which makes the
/// component import `log`, a bridge that needs no permission).
pub use mpkg_sdk_macros::app;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod bindings;
