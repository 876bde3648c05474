//! End-to-end tests of the `kindling` binary are in `tests/e2e`. Here are the servers that tests of storage start for
//! themselves: PostgreSQL, from the programs that are installed, and an S3 server that keeps real files.

mod postgres;
mod s3;

pub use postgres::Postgres;
pub use s3::S3;
