//! The one place that reads the clock.

use kindling_store::Metadata;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often the database's clock is looked at: well within a lease.
const LOOK: Duration = Duration::from_secs(5);

/// By how much the clock that all share is ahead of this machine's, in milliseconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn own_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Unix milliseconds, by the clock that all processes which use the same records share.
pub fn now_ms() -> i64 {
    own_ms().saturating_add(AHEAD.load(Ordering::Relaxed))
}

/// Keeps to the clock of a database that several machines use, for as long as the process lives: machines' clocks differ
/// and jump, and leases are told by them. Without such a database this machine's clock is all there is.
pub(crate) async fn follow(meta: Arc<dyn Metadata>) -> Result<(), kindling_store::StoreError> {
    if !look(&*meta).await? {
        return Ok(());
    }
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = look(&*meta).await {
                tracing::warn!(%error, "the database's clock could not be read; this machine's goes on meanwhile");
            }
        }
    });
    Ok(())
}

async fn look(meta: &dyn Metadata) -> Result<bool, kindling_store::StoreError> {
    let before = own_ms();
    let Some(theirs) = meta.now().await? else { return Ok(false) };
    let after = own_ms();
    AHEAD.store(theirs.saturating_sub(before.midpoint(after)), Ordering::Relaxed);
    Ok(true)
}
