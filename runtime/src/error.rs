//! One error type per operation of the host.

use std::borrow::Cow;
use std::path::PathBuf;

use mpkg_fleet::{Cause, KillId};
use mpkg_package::VerifyError;

use crate::data::DataError;
use crate::rpc::{Denial, RpcError, code};
use crate::stop::StopReason;

/// Why a host could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The WebAssembly engine does not start here.
    #[error("The WebAssembly engine does not start: {0:#}.")]
    Engine(wasmtime::Error),
    /// The thread that supervises guests does not start.
    #[error("The thread that supervises guests does not start: {0}.")]
    Ticker(#[source] std::io::Error),
    /// A bridge or the policy names a permission that does not exist.
    #[error("`{permission}` is no permission: use one of the vocabulary or `host.<name>`.")]
    UnknownPermission {
        /// What was named.
        permission: String,
    },
    /// A bridge or the policy sets a rate for a method that there is not.
    #[error("There is no method `{method}` that a rate could be set for.")]
    UnknownMethod {
        /// What was named.
        method: String,
    },
    /// A bridge's method belongs elsewhere.
    #[error("Method `{method}` does not belong under permission `{permission}`, or is there twice.")]
    MisplacedMethod {
        /// The bridge's permission.
        permission: String,
        /// The method.
        method: String,
    },
    /// The builder was used outside a Tokio runtime.
    #[error("A host needs a running Tokio runtime; build it inside one.")]
    NoRuntime,
}

impl HostError {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Data(_) => "MPKG-H01",
            Self::UnknownPermission { .. } | Self::UnknownMethod { .. } | Self::MisplacedMethod { .. } => {
                "MPKG-H08"
            }
            Self::Engine(_) | Self::Ticker(_) | Self::NoRuntime => "MPKG-H09",
        }
    }
}

/// Why a package was not installed. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}.", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The package is not what a trusted publisher signed.
    #[error(transparent)]
    Refused(#[from] Box<VerifyError>),
    /// No publisher is trusted on this host.
    #[error("This host trusts no publisher yet: give it one with `HostBuilder::trust`.")]
    NobodyTrusted,
    /// An older release than one that was installed before.
    #[error("Release {offered} of `{app_id}` is older than release {floor}, which this host has had.")]
    Rollback {
        /// The app.
        app_id: String,
        /// The release sequence offered.
        offered: u64,
        /// The lowest sequence allowed.
        floor: u64,
    },
    /// The same release sequence with other contents.
    #[error("Release {release_seq} of `{app_id}` is installed with other contents; a release never changes.")]
    Changed {
        /// The app.
        app_id: String,
        /// The sequence both claim.
        release_seq: u64,
    },
    /// The id belongs to an app of another publisher.
    #[error("`{app_id}` is installed from publisher {installed}; {offered} cannot replace it.")]
    OtherPublisher {
        /// The app.
        app_id: String,
        /// Whose app is installed.
        installed: String,
        /// Who signed this one.
        offered: String,
    },
    /// It declares more permissions than a host keeps track of.
    #[error("The manifest declares {declared} permissions; the most is {limit}.")]
    TooManyPermissions {
        /// How many.
        declared: usize,
        /// The limit.
        limit: usize,
    },
    /// The package is another one than was offered, whoever signed it.
    #[error("The package offered as release {release_seq} of `{app_id}` has another {what} than the offer.")]
    NotTheOffer {
        /// The app that was offered.
        app_id: String,
        /// The release that was offered.
        release_seq: u64,
        /// What differs.
        what: &'static str,
    },
    /// This build has no compiler, and has been given no code for the release.
    #[error(
        "`{app_id}` has no code for this host, which cannot compile it; give it with `Host::add_code` first."
    )]
    NoCode {
        /// The app.
        app_id: String,
    },
    /// The data folder failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The background task that verifies was stopped.
    #[error("The installation was interrupted.")]
    Interrupted,
}

impl InstallError {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(error) => error.code(),
            Self::Read { .. } | Self::Data(_) | Self::Interrupted => "MPKG-H01",
            Self::NobodyTrusted => "MPKG-H02",
            Self::Rollback { .. } => "MPKG-H03",
            Self::Changed { .. } => "MPKG-H04",
            Self::OtherPublisher { .. } => "MPKG-H05",
            Self::TooManyPermissions { .. } => "MPKG-H06",
            Self::NotTheOffer { .. } => "MPKG-H07",
            Self::NoCode { .. } => "MPKG-H72",
        }
    }
}

/// Why an app was not launched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// No such app here.
    #[error("`{app_id}` is not installed.")]
    NotInstalled {
        /// The app asked for.
        app_id: String,
    },
    /// The user's name cannot be used.
    #[error("A user's id must have 1 to 128 bytes; this one has {bytes}.")]
    BadUser {
        /// Its length.
        bytes: usize,
    },
    /// A required permission is not granted.
    #[error("`{app_id}` needs permission `{permission}`: {denial:?}.")]
    PermissionDenied {
        /// The app.
        app_id: String,
        /// The permission.
        permission: String,
        /// Why it is not effective.
        denial: Denial,
    },
    /// This host has no bridge for a required permission.
    #[error("`{app_id}` needs `{permission}`, which this host does not provide.")]
    NotProvided {
        /// The app.
        app_id: String,
        /// The permission.
        permission: String,
    },
    /// The manifest asks for more than the policy allows.
    #[error("`{app_id}` asks for {asked} of {what}; this host allows {allowed}.")]
    OverPolicy {
        /// The app.
        app_id: String,
        /// The limit, such as memory.
        what: Cow<'static, str>,
        /// What the manifest asks for, in bytes, milliseconds or pieces.
        asked: u64,
        /// The ceiling, in the same.
        allowed: u64,
    },
    /// Too many instances live already.
    #[error("{limit} instances are running, which is the most this host allows.")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The host's memory has no room for it, even without the apps that nobody looks at.
    #[error("`{app_id}` needs {needs} bytes of memory; {used} of the host's {budget} are in use.")]
    DoesNotFit {
        /// The app.
        app_id: String,
        /// What an instance is expected to take, in bytes.
        needs: u64,
        /// What all instances take now, in bytes.
        used: u64,
        /// What all instances may take, in bytes.
        budget: u64,
    },
    /// The stored package is not the one that was installed.
    #[error("The stored package of `{app_id}` was changed on disk: {reason}. Install it again.")]
    Damaged {
        /// The app.
        app_id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The component does not fit the engine.
    #[error("`{app_id}` cannot be prepared to run: {reason}.")]
    Unusable {
        /// The app.
        app_id: String,
        /// What the engine reported.
        reason: String,
    },
    /// This build has no compiler, and has been given no code for the release.
    #[error("`{app_id}` has no code for this host, which cannot compile it; give it with `Host::add_code`.")]
    NoCode {
        /// The app.
        app_id: String,
    },
    /// The operator of the fleet has switched this release off.
    #[error("`{app_id}` {version} is switched off by the operator: {reason} (kill {kill}).")]
    Killed {
        /// The app.
        app_id: String,
        /// The version that would have run.
        version: String,
        /// The kill.
        kill: KillId,
        /// The reason that the kill gives.
        reason: String,
    },
    /// The fleet's signed state does not let this release run.
    #[error("`{app_id}` {version} must not run here: {}.", not_allowed(cause))]
    NotAllowed {
        /// The app.
        app_id: String,
        /// The version that would have run.
        version: String,
        /// Why not: disabled, or below the floor.
        cause: Cause,
    },
    /// The host is supervised, and nobody has told it yet what is switched off.
    #[error("`{app_id}` is not started before the host knows what is switched off; no agent has told it.")]
    Unsupervised {
        /// The app.
        app_id: String,
    },
    /// It failed to start too often, and there is nothing to go back to.
    #[error("`{app_id}` is not started any more until another release is offered: {reason}.")]
    Quarantined {
        /// The app.
        app_id: String,
        /// What happened.
        reason: String,
    },
    /// The host is being closed.
    #[error("The host is being closed and launches nothing any more.")]
    Closing,
    /// It ended while it started.
    #[error("`{app_id}` ended while it started: {reason}.")]
    Stopped {
        /// The app.
        app_id: String,
        /// Why.
        reason: StopReason,
    },
    /// The data folder failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A background task of the launch was stopped.
    #[error("The launch was interrupted.")]
    Interrupted,
}

impl LaunchError {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Data(_) | Self::Interrupted => "MPKG-H01",
            Self::NotInstalled { .. } => "MPKG-H10",
            Self::BadUser { .. } => "MPKG-H11",
            Self::PermissionDenied { .. } => "MPKG-H12",
            Self::NotProvided { .. } => "MPKG-H13",
            Self::OverPolicy { .. } => "MPKG-H14",
            Self::Full { .. } => "MPKG-H15",
            Self::Damaged { .. } => "MPKG-H16",
            Self::Unusable { .. } => "MPKG-H17",
            Self::DoesNotFit { .. } => "MPKG-H18",
            Self::Closing => "MPKG-H19",
            Self::NoCode { .. } => "MPKG-H72",
            Self::Killed { .. } => "MPKG-H40",
            Self::NotAllowed { cause: Cause::BelowFloor, .. } => "MPKG-H42",
            Self::NotAllowed { .. } => "MPKG-H41",
            Self::Quarantined { .. } => "MPKG-H43",
            Self::Unsupervised { .. } => "MPKG-H44",
            Self::Stopped { reason, .. } => reason.code(),
        }
    }
}

fn not_allowed(cause: &Cause) -> &'static str {
    match cause {
        Cause::Killed(_) => "a kill is in force",
        Cause::Disabled => "its package is disabled",
        Cause::BelowFloor => "it is below the lowest release that may run",
        Cause::NotOffered => "no release is offered to this host",
    }
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The app, or the host in its place, answered with an error.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The app is no more.
    #[error("`{app_id}` has stopped: {reason}.")]
    Stopped {
        /// The app.
        app_id: String,
        /// Why.
        reason: StopReason,
    },
    /// The app is hidden, and held still.
    #[error("`{app_id}` is hidden and does not run; show it first.")]
    Suspended {
        /// The app.
        app_id: String,
    },
    /// The app's answer is not JSON, or not of the type asked for.
    #[error("The answer to `{method}` cannot be used: {error}.")]
    BadAnswer {
        /// The method called.
        method: String,
        /// What is wrong with the answer.
        error: serde_json::Error,
    },
}

impl CallError {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rpc(_) => "MPKG-H30",
            Self::Stopped { reason, .. } => reason.code(),
            Self::BadAnswer { .. } => "MPKG-H31",
            Self::Suspended { .. } => "MPKG-H32",
        }
    }

    /// The same as a JSON-RPC error object, for a peer that speaks JSON-RPC.
    pub fn into_rpc(self) -> RpcError {
        match self {
            Self::Rpc(error) => error,
            Self::Stopped { ref reason, .. } => {
                let data = serde_json::json!({ "stopped": reason, "code": reason.code() });
                RpcError::new(code::CANCELLED, self.to_string()).with_data(data)
            }
            Self::BadAnswer { .. } => RpcError::new(code::INTERNAL_ERROR, self.to_string()),
            Self::Suspended { .. } => RpcError::new(code::BUSY, self.to_string()),
        }
    }
}
