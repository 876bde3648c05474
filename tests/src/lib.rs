//! End-to-end tests of the `kindling` binary; they are in `tests/e2e`. Nothing is exported here.
