//! What this process can say of itself and the machine that it runs on.

use std::sync::LazyLock;
use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, RefreshKind, System};

/// The machine's name, as its system has it; empty where that does not tell.
pub(crate) fn name() -> &'static str {
    static NAME: LazyLock<String> =
        LazyLock::new(|| System::host_name().unwrap_or_default().trim().chars().take(253).collect());
    &NAME
}

/// Bytes of memory that this process holds, where the system tells.
pub fn resident_bytes() -> Option<u64> {
    let process = sysinfo::get_current_pid().ok()?;
    let mut system = System::new();
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[process]), false, memory);
    Some(system.process(process)?.memory())
}

/// Bytes of memory that the machine has, or its container may have, where the system tells.
pub(crate) fn memory_bytes() -> Option<u64> {
    let memory = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
    let machine = system.total_memory();
    let allowed = system.cgroup_limits().map_or(machine, |limits| limits.total_memory.min(machine));
    (allowed > 0).then_some(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_some_of_what_its_machine_has() {
        let (held, all) = (resident_bytes().unwrap(), memory_bytes().unwrap());
        assert!(held > 1 << 20 && held < all, "{held} of {all}");
        // Held, and told of.
        let more = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(resident_bytes().unwrap() > held + (32 << 20), "{held}, then {:?}", resident_bytes());
        drop(more);
        assert!(!name().is_empty());
    }
}
