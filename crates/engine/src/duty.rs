//! What one process of several does at a time.

use kindling_store::StoreError;

use crate::{Service, clock::now_ms, machine};

/// How long a duty stays with who fell silent.
const LEASE_MS: i64 = 10_000;
/// It is renewed when less than this is left.
const RENEW_MS: i64 = 7_000;

/// A duty in a place that several machines use. In a data directory there is one service, which has all of them.
pub(crate) struct Duty {
    service: Service,
    name: &'static str,
    who: String,
    until: i64,
}

impl Duty {
    pub(crate) fn new(service: Service, name: &'static str) -> Self {
        let who = format!("{} {} {}", machine::name(), std::process::id(), kindling_spec::UploadId::new());
        Self { service, name, who, until: i64::MIN }
    }

    /// Whether it is this process' now; takes or keeps it if it can be had.
    pub(crate) async fn is_mine(&mut self) -> Result<bool, StoreError> {
        let now = now_ms();
        if !self.service.is_shared() || self.until.saturating_sub(now) > RENEW_MS {
            return Ok(true);
        }
        let until = now + LEASE_MS;
        let mine = self.service.store().meta.take_duty(self.name, &self.who, now, until).await?;
        self.until = if mine { until } else { i64::MIN };
        Ok(mine)
    }

    /// Lets another have it at once.
    pub(crate) async fn leave(&mut self) {
        if self.until == i64::MIN {
            return;
        }
        if let Err(error) = self.service.store().meta.leave_duty(self.name, &self.who).await {
            tracing::warn!(%error, duty = self.name, "another takes it over when the lease ends");
        }
        self.until = i64::MIN;
    }
}
