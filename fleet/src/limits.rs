//! Every limit, checked before anything of that size is kept.

/// Bytes of an app's state.
pub const APP_STATE: usize = 64 << 10;
/// Bytes of a fleet head.
pub const FLEET_HEAD: usize = 2 << 20;
/// Bytes of a stop notice.
pub const STOP_NOTICE: usize = 64 << 10;
/// Apps in a fleet head.
pub const APPS: usize = 8192;
/// Kills in one document.
pub const KILLS: usize = 256;
/// Lifts in one document.
pub const LIFTS: usize = 1024;
/// Platforms that one kill names.
pub const KILL_PLATFORMS: usize = 32;
/// Bytes of a kill's scope as JSON. The rest of a kill is shorter.
pub const KILL_SCOPE: usize = 1 << 10;
/// Kills that a host keeps.
pub const KNOWN_KILLS: usize = 16 << 10;
/// Lifts that a host keeps.
pub const KNOWN_LIFTS: usize = 64 << 10;
/// Units in an allow list.
pub const ALLOWED: usize = 512;
/// Disabled packages of an app.
pub const DISABLED: usize = 256;
/// Names in one list of a targeting.
pub const NAMES: usize = 256;
/// Bytes of the targeting that a rollout may be drafted with, as JSON. It is part of an app's state, in which stops have
/// to find room as well.
pub const TARGETING: usize = 24 << 10;
/// Seconds after which a host writes down again what time it is.
pub const SEEN_EVERY_S: i64 = 3_600;
/// Bytes of a unit's name.
pub const UNIT: usize = 256;
/// Alarms that a host keeps with their evidence, which can be two fleet heads each.
pub const ALARMS: usize = 4;
/// Epochs that each version of the registry's root makes room for, as a power of two.
pub const EPOCH_BITS: u32 = 20;
/// Steps of a rollout plan.
pub const STEPS: usize = 32;
/// Bytes of a state file: a head, and the states of some hundred apps.
pub const STATE_FILE: usize = 64 << 20;
/// Bytes of a telemetry batch.
pub const BATCH: usize = 64 << 10;
/// Rows of a telemetry batch.
pub const ROWS: usize = 256;
/// Bytes of the envelope around so large a payload: base64, 16 signatures and the frame.
pub const fn envelope(payload: usize) -> usize {
    payload.div_ceil(3) * 4 + (8 << 10)
}
