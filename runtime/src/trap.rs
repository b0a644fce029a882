//! Turns what the engine reports into a reason a host can act on.

use wasmtime::Trap;
use wasmtime_wasi::I32Exit;

use crate::session::Session;
use crate::stop::StopReason;
use crate::supervisor::Interrupt;

/// wasmtime 48 keeps the type of this error to itself; a test with an oversized message holds the text to it.
const MESSAGE_TOO_LONG: &str = "fuel allocated for hostcalls has been exhausted";

/// Why a call that ended in `error` ended.
pub(crate) fn reason(error: &wasmtime::Error, session: &Session, method: &str) -> StopReason {
    let method = method.to_owned();
    let limits = &session.limits;
    if let Some(reason) = session.life.switch.reason() {
        return reason.clone();
    }
    if let Some(Interrupt::CpuBudget) = error.downcast_ref() {
        return StopReason::Cpu { method, budget: limits.cpu_per_call };
    }
    if let Some(I32Exit(status)) = error.downcast_ref() {
        return StopReason::Exited { status: *status };
    }
    if let Some(Trap::StackOverflow) = error.downcast_ref() {
        return StopReason::Stack { method };
    }
    if error.chain().any(|cause| cause.to_string().contains(MESSAGE_TOO_LONG)) {
        return StopReason::Message { method, limit: limits.message_bytes };
    }
    // A guest that is refused memory may cope; if it traps in the same call, that was why.
    if let Some(wanted) = session.ledger.refused() {
        return match session.ledger.host_was_full() {
            true => StopReason::HostMemory { wanted },
            false => StopReason::Memory { wanted, cap: session.ledger.cap() },
        };
    }
    let trap = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    StopReason::Crashed { method, trap }
}
