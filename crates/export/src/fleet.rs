//! What a fleet's bundle has beside its models: the list the router reads, and the router.

use serde::{Deserialize, Serialize};

/// The router, a Python script on onnxruntime, numpy and pillow.
pub const ROUTER: &str = include_str!("router/router.py");
/// The version of `fleet.json`.
pub const FLEET_VERSION: u32 = 1;

/// `fleet.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetManifest {
    /// [`FLEET_VERSION`].
    pub version: u32,
    /// The fleet's id.
    pub fleet: String,
    /// Its name for people.
    pub name: String,
    /// Its specialists.
    pub specialists: Vec<FleetEntry>,
}

/// One specialist of a [`FleetManifest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetEntry {
    /// The class that it finds.
    pub class: String,
    /// The model's id.
    pub model: String,
    /// Its ONNX file, relative to `fleet.json`, with `/` between folders.
    pub path: String,
    /// SHA-256 of that file, hexadecimal.
    pub sha256: String,
    /// Names of the network's outputs in order; the class is one of them.
    pub labels: Vec<String>,
    /// The class is found when its probability is at least this.
    pub threshold: f64,
}

/// A folder name for a class: its number, and of its name what every file system takes.
pub fn folder_name(number: usize, class: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = class.chars().take(40).map(plain).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { format!("{number}") } else { format!("{number}-{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_safe_and_never_the_same() {
        assert_eq!(folder_name(0, "Fire"), "0-fire");
        assert_eq!(folder_name(1, "../../etc/passwd"), "1-etc-passwd");
        assert_eq!(folder_name(2, "煙"), "2");
        assert_ne!(folder_name(3, "a b"), folder_name(4, "a-b"));
    }
}
