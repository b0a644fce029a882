//! Runs Mini Apps inside a Super App: verified packages, sandboxed instances, permission-gated bridges, memory caps
//! and a kill that always works.
//!
//! Start at [`Host::builder`]; [`Bridge`] is how a host offers services of its own.

mod account;
mod app;
mod bridge;
mod broker;
mod budget;
mod call;
mod data;
mod dispatch;
mod engine;
mod error;
mod files;
mod gateway;
mod grants;
mod guest;
mod heavy;
mod host;
mod inbox;
mod install;
mod instance;
mod latency;
mod launch;
mod life;
mod lifecycle;
mod limits;
mod link;
mod local;
mod memory;
mod meter;
mod metrics;
mod native;
mod nesting;
mod notify;
mod open_metrics;
mod page_time;
mod policy;
mod pool;
mod precompiled;
mod prepare;
mod provider;
mod publish;
mod rates;
pub mod rpc;
pub mod rules;
mod senses;
mod session;
mod settings;
mod slot;
mod snapshot;
mod stop;
mod supervisor;
mod sweep;
mod ticker;
mod told;
mod trap;
mod turn;
mod unchecked;
pub mod updates;
mod wasi;

pub use bridge::{Bridge, Caller, Lookup, NetworkPolicy, Resolve, ResolveFuture, Resolver, UserProfile};
pub use data::{AuditOutcome, AuditPage, AuditRecord, DataError, Decider, Installed};
pub use engine::{Compiler, UnknownCompiler, engine};
pub use error::{CallError, HostError, InstallError, LaunchError};
pub use gateway::{Door, Gateway, GatewayError};
pub use grants::{Grant, GrantDecision};
pub use host::{Host, HostBuilder};
pub use instance::{Answer, Instance};
pub use launch::Launching;
pub use life::{KillHandle, State};
pub use limits::{Limit, Limits};
pub use memory::Fit;
pub use metrics::{InstanceMetrics, MethodMetrics, Phase};
pub use notify::{Level, Notification, Notifications};
pub use policy::{PAGE, Policy};
pub use precompiled::CodeError;
#[cfg(feature = "compile")]
pub use precompiled::precompile;
pub use provider::{
    Decision, DecisionFuture, DenyPermissions, PermissionProvider, PermissionRequest, PromptPermissions,
    StaticPermissions,
};
pub use publish::{PublishError, Published, Receiver};
pub use senses::Clock;
pub use settings::{AppStorage, WipeError};
pub use snapshot::{HostSnapshot, InstanceSnapshot, RunningSnapshot};
pub use stop::StopReason;
