//! The Python client's own tests (`clients/python/tests`), against this binary.

use std::path::Path;
use std::process::Command;

use crate::harness::binary;

#[test]
fn the_python_client_passes_its_tests() {
    let Ok(python) = std::env::var("KINDLING_TEST_PYTHON") else {
        println!("not run: set KINDLING_TEST_PYTHON to a Python with httpx, pydantic and pytest");
        return;
    };
    let has = Command::new(&python).args(["-c", "import httpx, pydantic, pytest"]).output();
    let has = has.is_ok_and(|o| o.status.success());
    assert!(has, "KINDLING_TEST_PYTHON={python} has no httpx, pydantic and pytest: `{python} -m pip install` them");
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/python");
    let ran = Command::new(&python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .current_dir(&client)
        .env("KINDLING_BIN", binary())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{err}");
    // Status 0 with nothing run would be no test.
    assert!(out.contains(" passed"), "{out}\n{err}");
}
