//! What lives in a guest's store.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;

use crate::budget::Budget;
use crate::session::Session;
use crate::supervisor::on_epoch;

/// The most WASI resources (streams, pollables) a guest may have open.
const RESOURCES: usize = 256;
/// The most component-model handles a guest may hold.
const HANDLES: usize = 1024;
/// A message that is too long is refused with an error, so that an honest app can split it. One that is longer than
/// this many times the limit is no mistake: the engine stops the guest before the host looks at it.
const GROSS: usize = 4;
/// Room in a message for what surrounds it: the method's name, an error's text.
const ENVELOPE: usize = 16 * 1024;

pub(crate) struct Guest {
    pub(crate) session: Arc<Session>,
    budget: Budget,
    pub(crate) resources: ResourceTable,
    /// Made when the guest first uses WASI; most never do.
    pub(crate) wasi: Option<Box<WasiCtx>>,
}

/// A store under every limit of its session.
pub(crate) fn store(engine: &wasmtime::Engine, session: Arc<Session>) -> Store<Guest> {
    let (switch, meter) = (session.life.switch.clone(), session.meter.clone());
    let fuel = session.limits.message_bytes.saturating_mul(GROSS).saturating_add(ENVELOPE);
    let mut resources = ResourceTable::new();
    resources.set_max_capacity(RESOURCES);
    let budget = Budget::new(session.ledger.clone());
    let mut store = Store::new(engine, Guest { session, budget, resources, wasi: None });
    store.limiter(|guest| &mut guest.budget);
    store.set_hostcall_fuel(fuel);
    store.set_max_component_handles(HANDLES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| on_epoch(&switch, &meter));
    store
}
