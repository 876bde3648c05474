//! Fuzzes the parser that `KINDLING_PARSER` names, beginning with its good files, which are written to the folder that
//! `KINDLING_SEEDS` names. `fuzz/run.sh` goes through all of them.

#![no_main]

use kindling_fuzz::{Parser, chosen};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static CHOSEN: LazyLock<&Parser> = LazyLock::new(chosen);

fn begin() {
    if let Ok(folder) = std::env::var("KINDLING_SEEDS") {
        for (i, seed) in (CHOSEN.seeds)().iter().enumerate() {
            std::fs::write(format!("{folder}/good-{i}"), seed).expect("the folder for good files can be written to");
        }
    }
    if ["archive", "image"].contains(&CHOSEN.name) {
        // What a decoder's panic costs is one image: it is caught. libFuzzer's hook would end the process before that.
        std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    }
}

fuzz_target!(init: begin(), |bytes: &[u8]| (CHOSEN.read)(bytes));
