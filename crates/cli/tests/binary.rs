//! The binary by itself. That the package has a test beside the binary also makes `cargo test` build the
//! binary, which the end-to-end tests run.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn kindling(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kindling")).args(args).output().unwrap()
}

#[test]
fn it_tells_its_version_and_its_commands() {
    let version = String::from_utf8(kindling(&["--version"]).stdout).unwrap();
    assert_eq!(version.trim(), format!("kindling {}", env!("CARGO_PKG_VERSION")));
    let help = String::from_utf8(kindling(&["--help"]).stdout).unwrap();
    for command in ["serve", "demo", "train", "predict", "audit", "bench"] {
        assert!(help.contains(command), "`{command}` is not in the help: {help}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_why() {
    let wrong = kindling(&["bench", "train", "--network", "vgg"]);
    assert_eq!(wrong.status.code(), Some(2));
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(told.contains("vgg") && told.contains("resnet8"), "{told}");
}

#[test]
fn a_device_that_is_not_there_is_said_before_anything_is_begun() {
    let dir = std::env::temp_dir().join(format!("kindling-no-device-{}", std::process::id()));
    for device in ["wgpu:99", "gpu"] {
        let data = dir.to_string_lossy();
        let wrong = kindling(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &data, "--device", device]);
        let told = String::from_utf8(wrong.stderr).unwrap();
        assert_eq!(wrong.status.code(), Some(2), "{told}");
        assert!(told.contains(device) && told.contains("kindling devices"), "{told}");
        assert!(!dir.exists(), "{device} left something");
    }
}
