//! The manifest of a Mini App: types, strict JSON, validation, permission vocabulary, JSON Schema.
//!
//! Everything here is pure: bytes in, verdict out. Start at [`Manifest::parse`].

mod app_id;
mod codes;
mod host_pattern;
pub mod json;
mod manifest;
mod path;
pub mod permission;
mod problem;
mod rule_table;
pub mod rules;
mod schema;
mod span;
mod strings;
mod suggest;
mod text;
mod validate;

pub use app_id::{AppId, AppIdError, MAX_APP_ID_BYTES};
pub use host_pattern::{HostPattern, HostPatternError};
pub use manifest::*;
pub use path::{MAX_PATH_BYTES, MAX_PATH_SEGMENTS, PackagePath, PathError};
pub use permission::{PermissionName, PermissionNameError, PermissionSet, ScopeError, ScopeValue};
pub use problem::{Problem, Severity};
pub use schema::schema;
pub use span::{Span, line_col};
pub use suggest::suggest;
pub use text::{Paragraph, Text, TextError, is_unsafe_char};
