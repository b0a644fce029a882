//! A pool of memories, tables and stacks that instances take from: starting and ending one is then mostly bookkeeping.
//!
//! A pool reserves address space for everything at once, and not every platform has it. Whoever makes an engine tries
//! with the pool and goes on without one.

use wasmtime::{Enabled, PoolingAllocationConfig};

use crate::budget::{ENTITIES, TABLE_ELEMENT};
use crate::policy::{PAGE, Policy};

/// Memories reserved for each instance that a host may have. Toolchains make components with one; one with more takes
/// from what others leave.
const MEMORIES: u32 = 2;
/// The same of tables: toolchains make two.
const TABLES: u32 = 4;
/// The most memories, and tables, of one component; a hostile one could otherwise take the whole pool.
const OF_ONE: u32 = 16;
/// Stacks beyond one for each instance, for those that end at the moment in which others begin.
const SPARE: u32 = 64;
/// Metadata of one instance, in bytes; a limit, nothing is reserved. Grows with the number of functions.
const INSTANCE: usize = 16 << 20;
/// Bytes of a memory, and of a table, that are wiped and kept instead of given back to the system.
const KEEP_MEMORY: usize = 256 << 10;
const KEEP_TABLE: usize = 32 << 10;
/// Memories kept so while nobody uses them: what they hold, at most 4 MiB, is in no instance's account.
const WARM: u32 = 16;

/// The pool for a host's instances; `None` where an address is too short to reserve one.
pub(crate) fn of(policy: &Policy) -> Option<PoolingAllocationConfig> {
    if cfg!(not(target_pointer_width = "64")) {
        return None;
    }
    let instances = u32::try_from(policy.instances).ok()?;
    let entities = u32::try_from(ENTITIES).ok()?;
    let largest = policy.ceilings.memory_bytes.max(policy.limits.memory_bytes).next_multiple_of(PAGE);
    let bytes = usize::try_from(largest.min(1 << 32)).ok()?;
    let elements = bytes / usize::try_from(TABLE_ELEMENT).ok()?;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances.checked_add(SPARE)?)
        .total_core_instances(instances.checked_mul(entities)?)
        .total_memories(instances.checked_mul(MEMORIES)?.checked_add(OF_ONE)?)
        .total_tables(instances.checked_mul(TABLES)?.checked_add(OF_ONE)?)
        .total_stacks(instances.checked_add(SPARE)?)
        .max_component_instance_size(INSTANCE)
        .max_core_instance_size(INSTANCE)
        .max_core_instances_per_component(entities)
        .max_memories_per_component(OF_ONE)
        .max_memories_per_module(OF_ONE)
        .max_tables_per_component(OF_ONE)
        .max_tables_per_module(OF_ONE)
        .max_memory_size(bytes)
        .table_elements(elements)
        .max_unused_warm_slots(WARM);
    // Wiping is only cheaper than giving back where the system tells which pages were touched.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEEP_MEMORY)
            .table_keep_resident(KEEP_TABLE);
    }
    Some(pool)
}
