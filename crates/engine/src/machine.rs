//! What this process can say of the machine that it runs on.

use std::sync::LazyLock;

/// The machine's name, as its system has it; empty where that does not tell.
pub(crate) fn name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let told = told.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
        told.unwrap_or_default().trim().chars().take(253).collect()
    });
    &NAME
}

/// Bytes of memory that this process holds, where the system tells (Linux).
pub fn resident_bytes() -> Option<u64> {
    read_resident(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn read_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_linux_tells_it() {
        assert_eq!(read_resident("Name:\tkindling\nVmRSS:\t   61440 kB\nThreads:\t3\n"), Some(62_914_560));
        assert_eq!(read_resident("Name:\tkindling\n"), None);
        if cfg!(target_os = "linux") {
            assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
        }
    }
}
