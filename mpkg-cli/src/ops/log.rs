//! The log of what runs inside: a host, or a registry.

use tracing_subscriber::EnvFilter;

/// Writes to standard error what the variable MPKG_LOG selects, or else what `filter` does. Programs that read JSON get
/// it too: it is no part of the result.
pub(crate) fn show(filter: Option<&str>) {
    let filter = match (EnvFilter::try_from_env("MPKG_LOG"), filter) {
        (Ok(filter), _) => filter,
        (Err(_), Some(filter)) => EnvFilter::new(filter),
        (Err(_), None) => return,
    };
    // Only a second run in one process could fail here.
    _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
