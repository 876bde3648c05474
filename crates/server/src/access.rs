//! Who is asking: keys, what they open, and how much may be asked.
//!
//! A service without keys lets everyone in, into the project of what is made where there are no keys. Once a key was made,
//! one is wanted at every address but the public ones.

use axum::http::{HeaderMap, HeaderValue, header};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use kindling_engine::{Service, is_valid};
use kindling_spec::{ErrorCode, KeyId, ProjectId, Scope};
use kindling_store::KeyRecord;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Config, Problem, app::App, app::Host};

/// The cookie that pages send a key in.
pub(crate) const COOKIE: &str = "kindling_key";

/// Checks after which what is known of keys and addresses that have gone quiet is forgotten.
const SWEEP: u32 = 10_000;

/// A key that was good when it was last looked up, and the service as its holder may see it.
#[derive(Clone)]
struct Known {
    key: KeyRecord,
    service: Service,
    seen: Instant,
}

/// The doorkeeper. What it remembers is of this process.
pub(crate) struct Access {
    memory: Duration,
    /// By the hash of a key's text, so that no text stays in memory. Only good keys are here, so it does not grow.
    known: Mutex<HashMap<[u8; 32], Known>>,
    keyed: AtomicBool,
    looked: Mutex<Option<Instant>>,
    /// The service as everyone sees it where there are no keys.
    local: Service,
    keys: Rate<KeyId>,
    addresses: Rate<IpAddr>,
    wrong: Rate<IpAddr>,
}

impl Access {
    pub(crate) fn new(service: &Service, config: &Config) -> Self {
        let usual = Quota::per_second(config.requests_per_second);
        Self {
            memory: config.key_memory,
            known: Mutex::default(),
            keyed: AtomicBool::new(false),
            looked: Mutex::default(),
            local: service.for_project(&ProjectId::local()),
            keys: Rate::new(usual),
            addresses: Rate::new(usual),
            wrong: Rate::new(Quota::per_minute(config.wrong_keys_per_minute)),
        }
    }

    /// Lets a request in or says why not. `wanted` is the least scope; where no key is wanted, there is nothing of a
    /// project to be seen.
    pub(crate) async fn admit(
        &self,
        host: &Host,
        wanted: Option<Scope>,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Option<App>, Problem> {
        let Some(wanted) = wanted else { return self.pace(address).map(|()| None) };
        if !self.has_keys(host.whole_service()).await? {
            self.pace(address)?;
            return Ok(Some(App::new(host, self.local.clone(), ProjectId::local(), None, Scope::Admin)));
        }
        let Some(text) = given(headers)? else {
            self.pace(address)?;
            return Err(unauthorized(
                "this address wants a key: send `Authorization: Bearer kdl_…`, or log in at /login",
            ));
        };
        let Known { key, service, .. } = self.authenticate(host.whole_service(), text, address).await?;
        tracing::Span::current().record("key", key.id.as_str());
        self.keys.take(&key.id, "this key")?;
        if key.scope < wanted {
            let detail = format!("the key's scope is `{}`; this wants `{wanted}`", key.scope);
            return Err(Problem::new(ErrorCode::Forbidden, detail));
        }
        Ok(Some(App::new(host, service, key.project, Some(key.id), key.scope)))
    }

    /// The key of this text, if it is good.
    pub(crate) async fn holder(
        &self,
        service: &Service,
        text: &str,
        address: Option<IpAddr>,
    ) -> Result<KeyRecord, Problem> {
        Ok(self.authenticate(service, text, address).await?.key)
    }

    async fn authenticate(&self, service: &Service, text: &str, address: Option<IpAddr>) -> Result<Known, Problem> {
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        if let Some(known) = lock(&self.known).get(&hash)
            && known.seen.elapsed() < self.memory
            && is_valid(&known.key)
        {
            return Ok(known.clone());
        }
        let Some(key) = service.authenticate(text).await? else {
            lock(&self.known).remove(&hash);
            // The right key is taken however many wrong ones come from its address: a proxy's is everyone's.
            self.wrong
                .take(&network(address.unwrap_or(Ipv4Addr::UNSPECIFIED.into())), "wrong keys from this address")?;
            return Err(unauthorized("the key is not known, has expired or was revoked"));
        };
        let known = Known { service: service.for_project(&key.project), key, seen: Instant::now() };
        lock(&self.known).insert(hash, known.clone());
        Ok(known)
    }

    /// Whether keys are wanted here. There is no way back: a key that was made is remembered also when it was revoked.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn has_keys(&self, service: &Service) -> Result<bool, Problem> {
        if self.keyed.load(Ordering::Relaxed) {
            return Ok(true);
        }
        if lock(&self.looked).is_some_and(|at| at.elapsed() < self.memory) {
            return Ok(false);
        }
        let keyed = service.has_keys().await?;
        // Another request may have seen the first key meanwhile: what is true stays so.
        self.keyed.fetch_or(keyed, Ordering::Relaxed);
        *lock(&self.looked) = Some(Instant::now());
        Ok(keyed)
    }

    /// Who asks without a key is held to a pace by address, unless it is this machine itself.
    fn pace(&self, address: Option<IpAddr>) -> Result<(), Problem> {
        match address.map(|address| address.to_canonical()).filter(|address| !address.is_loopback()) {
            Some(address) => self.addresses.take(&network(address), "this address"),
            None => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock is held leaves a sound value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unauthorized(detail: &str) -> Problem {
    let how = HeaderValue::from_static("Bearer");
    Problem::new(ErrorCode::Unauthorized, detail).with_header(header::WWW_AUTHENTICATE, how)
}

/// The key that a request has: in its `Authorization`, else in its cookie.
///
/// # Errors
/// `Authorization` is there and is no bearer's.
pub(crate) fn given(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let text = authorization.to_str().ok().and_then(|text| text.trim().split_once(' '));
        return match text {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(key.trim())),
            _ => Err(unauthorized("`Authorization` must be `Bearer kdl_…`")),
        };
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    Ok(pairs.find(|(name, _)| *name == COOKIE).map(|(_, key)| key))
}

/// What one holder of an address has: of IPv6 the first half.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(whole) => IpAddr::V6(Ipv6Addr::from(u128::from(whole) >> 64 << 64)),
        address => address,
    }
}

/// How many requests are answered of each of many.
struct Rate<K: Hash + Eq + Clone> {
    limiter: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    checks: AtomicU32,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    fn new(quota: Quota) -> Self {
        let limiter = DefaultKeyedRateLimiter::keyed(quota);
        Self { limiter, clock: DefaultClock::default(), checks: AtomicU32::new(1) }
    }

    fn take(&self, of: &K, whose: &str) -> Result<(), Problem> {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP) {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(of).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            let quota = until.quota();
            let (most, period) = (quota.burst_size(), quota.burst_size_replenished_in());
            let detail = format!("of {whose}, {most} in {} s are answered; wait", period.as_secs_f64().ceil());
            Problem::new(ErrorCode::RateLimited, detail).after(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_key_comes_in_a_header_or_a_cookie() {
        let read = |name, value| given(&headers(name, value)).map(|key| key.map(str::to_owned)).map_err(|p| p.code);
        for (name, value, expected) in [
            (header::AUTHORIZATION, "Bearer kdl_1", Ok(Some("kdl_1"))),
            (header::AUTHORIZATION, "bearer  kdl_1 ", Ok(Some("kdl_1"))),
            (header::AUTHORIZATION, "Basic a2RsXzE=", Err(ErrorCode::Unauthorized)),
            (header::AUTHORIZATION, "kdl_1", Err(ErrorCode::Unauthorized)),
            (header::COOKIE, "a=b; kindling_key=kdl_1;c", Ok(Some("kdl_1"))),
            (header::COOKIE, "my_kindling_key=kdl_1", Ok(None)),
            (header::ACCEPT, "kdl_1", Ok(None)),
        ] {
            assert_eq!(read(name, value), expected.map(|key| key.map(str::to_owned)), "{value}");
        }
    }

    #[test]
    fn an_address_answers_for_its_network() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("10.1.2.3"), "10.1.2.3");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:10.1.2.3"), "10.1.2.3");
    }

    #[test]
    fn what_is_too_much_says_how_long_to_wait() {
        let rate = Rate::new(Quota::per_minute(NonZeroU32::new(2).unwrap()));
        rate.take(&1, "one").unwrap();
        rate.take(&1, "one").unwrap();
        let refused = rate.take(&1, "one").unwrap_err();
        assert_eq!((refused.code, refused.status.as_u16()), (ErrorCode::RateLimited, 429));
        let wait = refused.headers.iter().find(|(name, _)| name == header::RETRY_AFTER).unwrap();
        assert!((29..=30).contains(&wait.1.to_str().unwrap().parse::<u32>().unwrap()), "{wait:?}");
        rate.take(&2, "another").unwrap();
    }
}
