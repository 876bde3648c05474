//! One file a subcommand.

pub(crate) mod advise;
pub(crate) mod analyse;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod doubts;
pub(crate) mod fleet;
pub(crate) mod keys;
pub(crate) mod openapi;
pub(crate) mod predict;
pub(crate) mod projects;
pub(crate) mod push;
pub(crate) mod sample;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod train;
pub(crate) mod verify;
pub(crate) mod worker;
