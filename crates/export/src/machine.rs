//! What the figures in a card were measured on: the processor's name, and its energy counter.

use crate::Energy;
use std::path::{Path, PathBuf};

/// The processor's name as the system gives it; its architecture where the system gives none.
pub fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == "model name");
    match named.map(|(_, value)| value.trim()) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => format!("{} (the system gives no name)", std::env::consts::ARCH),
    }
}

/// One package's counter, in microjoules, that starts over at `range`.
#[derive(Debug)]
struct Zone {
    counter: PathBuf,
    range: u64,
    last: u64,
}

/// Reads Linux's RAPL counters: the energy of the processor packages, all programs together.
///
/// A counter starts over after some minutes at full load, so [`EnergyMeter::read`] wants to be called
/// at least once a minute.
#[derive(Debug)]
pub struct EnergyMeter {
    zones: Vec<Zone>,
    microjoules: u64,
    reason: Option<String>,
}

impl EnergyMeter {
    /// Starts at zero.
    pub fn start() -> Self {
        Self::start_at(Path::new("/sys/class/powercap"))
    }

    fn start_at(root: &Path) -> Self {
        let mut meter = Self { zones: Vec::new(), microjoules: 0, reason: None };
        let Ok(entries) = std::fs::read_dir(root) else {
            meter.reason = Some(format!("{} does not exist on this machine", root.display()));
            return meter;
        };
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        for folder in folders {
            // Packages only, `intel-rapl:0`; their parts, `intel-rapl:0:1`, are counted in them.
            let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if !name.starts_with("intel-rapl:") || name.matches(':').count() != 1 {
                continue;
            }
            let (counter, range) = (folder.join("energy_uj"), folder.join("max_energy_range_uj"));
            match (number(&counter), number(&range)) {
                (Ok(last), Ok(range)) => meter.zones.push(Zone { counter, range, last }),
                (Err(error), _) | (_, Err(error)) => {
                    meter.reason = Some(format!("{} cannot be read: {error}", folder.display()));
                }
            }
        }
        if meter.zones.is_empty() && meter.reason.is_none() {
            meter.reason = Some(format!("{} has no processor's energy counter", root.display()));
        }
        meter
    }

    /// Energy since the start; joules are given only if every counter could be read all the time.
    pub fn read(&mut self) -> Energy {
        for zone in &mut self.zones {
            match number(&zone.counter) {
                Ok(now) => {
                    let step =
                        if now >= zone.last { now - zone.last } else { zone.range.saturating_sub(zone.last) + now };
                    (self.microjoules, zone.last) = (self.microjoules.saturating_add(step), now);
                }
                Err(error) => self.reason = Some(format!("{} cannot be read: {error}", zone.counter.display())),
            }
        }
        match &self.reason {
            Some(reason) => Energy { joules: None, note: reason.clone() },
            None => Energy {
                joules: Some(self.microjoules as f64 / 1e6),
                note: "the processor packages' own counters (RAPL), all programs on the machine together".into(),
            },
        }
    }
}

fn number(path: &Path) -> Result<u64, std::io::Error> {
    std::fs::read_to_string(path)?.trim().parse().map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_packages_and_over_a_wrap() {
        let root = tempfile::tempdir().unwrap();
        let write = |zone: &str, file: &str, value: u64| {
            std::fs::create_dir_all(root.path().join(zone)).unwrap();
            std::fs::write(root.path().join(zone).join(file), format!("{value}\n")).unwrap();
        };
        for (zone, value) in [("intel-rapl:0", 9_000_000), ("intel-rapl:1", 0), ("intel-rapl:0:0", 5)] {
            write(zone, "energy_uj", value);
            write(zone, "max_energy_range_uj", 10_000_000);
        }
        let mut meter = EnergyMeter::start_at(root.path());
        write("intel-rapl:0", "energy_uj", 1_000_000);
        write("intel-rapl:1", "energy_uj", 3_000_000);
        assert_eq!(meter.read().joules, Some(5.0));
        assert_eq!(meter.read().joules, Some(5.0));
        std::fs::remove_file(root.path().join("intel-rapl:1/energy_uj")).unwrap();
        let energy = meter.read();
        assert!(energy.joules.is_none() && energy.note.contains("intel-rapl:1"), "{energy:?}");
    }

    #[test]
    fn a_machine_without_counters_says_so() {
        let energy = EnergyMeter::start_at(Path::new("/does/not/exist")).read();
        assert!(energy.joules.is_none() && energy.note.contains("/does/not/exist"));
        assert!(!cpu_name().is_empty());
    }
}
