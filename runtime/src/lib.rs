//! Runs Mini Apps inside a Super App: verified packages, sandboxed instances, permission-gated bridges, memory caps
//! and a kill that always works.
//!
//! Start at [`Host::builder`]; [`Bridge`] is how a host offers services of its own.

mod app;
mod bridge;
mod broker;
mod budget;
mod data;
mod engine;
mod error;
mod files;
mod guest;
mod host;
mod inbox;
mod install;
mod instance;
mod launch;
mod link;
mod local;
mod metrics;
mod native;
mod notify;
mod policy;
mod provider;
mod publish;
pub mod rpc;
pub mod rules;
mod session;
mod stop;
mod supervisor;
mod trap;
mod wasi;

pub use bridge::{Bridge, Caller, UserProfile};
pub use data::{DataError, Installed};
pub use engine::{Compiler, UnknownCompiler, config as engine_config};
pub use error::{CallError, HostError, InstallError, LaunchError};
pub use host::{Host, HostBuilder};
pub use instance::Instance;
pub use metrics::{InstanceMetrics, MethodMetrics};
pub use notify::{Level, Notification, Notifications};
pub use policy::{PAGE, Policy};
pub use provider::{
    Decision, DecisionFuture, DenyPermissions, PermissionProvider, PermissionRequest, PromptPermissions,
    StaticPermissions,
};
pub use publish::{PublishError, Published, Receiver};
pub use stop::StopReason;
