//! Tells addresses that a project chose of its studies' ends and models, signed as Standard Webhooks
//! (<https://www.standardwebhooks.com>) says.
//!
//! What is to be told is a row written with the event itself, so none is forgotten; what was sent and not known to have
//! arrived is sent again, so the same may come twice, under the same `webhook-id`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use kindling_engine::{Service, now_ms};
use kindling_store::{Delivered, DeliveryRecord};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::json;
use sha2::Sha256;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_millis(500);
/// What a receiver has for its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Taken at a time, and by when another server may take what this one was killed with.
const BATCH: u32 = 16;
const LEASE_MS: i64 = 60_000;
/// Pauses after failures; after the last, in a day and a half, it is given up.
const PAUSES_S: [i64; 10] = [2, 10, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 10 * 3600, 14 * 3600];
/// What every secret begins with.
const SECRET: &str = "whsec_";

/// A new secret.
pub(crate) fn new_secret() -> String {
    format!("{SECRET}{}", STANDARD.encode(rand::random::<[u8; 32]>()))
}

/// What `webhook-signature` says of a message.
fn sign(secret: &str, id: &str, timestamp: i64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix(SECRET)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// Whether an address is one of the public internet: neither this machine's, nor its network's, nor of a special use.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b)))
        }
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_public(IpAddr::V4(v4)),
            // Of all of IPv6 only this is given out to the internet.
            None => v6.segments()[0] & 0xe000 == 0x2000 && v6.segments()[..2] != [0x2001, 0xdb8],
        },
    }
}

/// The IPv4 address that a gateway would make of an IPv6 one (mapped, 6to4, NAT64).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Why nothing is sent to this address, if nothing is. What its name leads to is looked at when it is sent.
pub(crate) fn refusal(url: &str, allow_private: bool) -> Option<String> {
    let Ok(url) = reqwest::Url::parse(url) else {
        return Some("`url` must be an address such as https://example.org/hook".to_owned());
    };
    if !matches!(url.scheme(), "https" | "http") || (url.scheme() == "http" && !allow_private) {
        return Some("`url` must begin with https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("`url` must not hold a user's name or password".to_owned());
    }
    let literal = match url.host() {
        Some(url::Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(url::Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        Some(url::Host::Domain(_)) => None,
        None => return Some("`url` must name a host".to_owned()),
    };
    let private = literal.is_some_and(|address| !is_public(address)) && !allow_private;
    private.then(|| "`url` leads to this machine or its own network, where nothing is sent".to_owned())
}

/// Resolves names to public addresses only, at each connection: what a name leads to may change after it was looked at.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = found.into_iter().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("the name leads to no public address".into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn client(allow_private: bool) -> Result<reqwest::Client, reqwest::Error> {
    // Of the crypto providers in use one must be the process' own; it may be set already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("kindling/", env!("CARGO_PKG_VERSION")));
    if !allow_private {
        builder = builder.dns_resolver(PublicOnly);
    }
    builder.build()
}

/// Delivers what is due until told to stop. Any number of servers may.
pub async fn run_webhooks(service: Service, allow_private: bool, stop: CancellationToken) {
    let client = match client(allow_private) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "webhooks cannot be called");
            return;
        }
    };
    loop {
        let now = now_ms();
        match service.store().meta.take_deliveries(now, now + LEASE_MS, BATCH).await {
            Ok(due) if !due.is_empty() => {
                futures::future::join_all(due.iter().map(|one| deliver(&service, &client, one, allow_private))).await;
                continue;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what webhooks are to be told cannot be read; it is tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn deliver(service: &Service, client: &reqwest::Client, delivery: &DeliveryRecord, allow_private: bool) {
    let outcome = match send(client, delivery, allow_private).await {
        Ok(()) => Delivered::Yes,
        Err(Refused { reason, for_good }) => match PAUSES_S.get(delivery.failures as usize) {
            Some(pause) if !for_good => Delivered::Later { at: now_ms() + pause * 1000, reason },
            _ => Delivered::Never { reason },
        },
    };
    if let Delivered::Later { reason, .. } | Delivered::Never { reason } = &outcome {
        tracing::warn!(webhook = %delivery.webhook.id, event = delivery.event.id, reason, "a webhook was not told");
    }
    if let Err(error) = service.store().meta.delivered(delivery.id, &outcome).await {
        tracing::warn!(%error, "what came of a webhook's delivery cannot be written; it may be told again");
    }
}

struct Refused {
    reason: String,
    for_good: bool,
}

async fn send(client: &reqwest::Client, delivery: &DeliveryRecord, allow_private: bool) -> Result<(), Refused> {
    let refused = |reason: String, for_good| Refused { reason, for_good };
    if let Some(reason) = refusal(&delivery.webhook.url, allow_private) {
        return Err(refused(reason, true));
    }
    let (event, id) = (&delivery.event, format!("msg_{}", delivery.id));
    let body = json!({"type": event.kind, "task": event.task, "id": event.id, "at": event.at, "data": event.data});
    let (body, timestamp) = (body.to_string(), now_ms() / 1000);
    let Some(signature) = sign(&delivery.webhook.secret, &id, timestamp, &body) else {
        return Err(refused("its secret cannot be read; make the webhook anew".to_owned(), true));
    };
    let response = client
        .post(&delivery.webhook.url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(body)
        .send()
        .await
        .map_err(|error| refused(words(&error), false))?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(refused(format!("it answered {status}"), status == reqwest::StatusCode::GONE)),
    }
}

/// What went wrong, without the address, to its last cause.
fn words(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let what = if error.is_timeout() { "no answer in time" } else { "it could not be reached" };
    format!("{what}: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_of_the_standards_example() {
        let signed = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert_eq!(sign("something else", "a", 1, ""), None);
        let secret = new_secret();
        assert!(secret.len() > 40 && sign(&secret, "a", 1, "").is_some() && secret != new_secret());
    }

    #[test]
    fn nothing_is_sent_inside() {
        let inside = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ];
        for address in inside {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        let refused = |url: &str| refusal(url, false).is_some();
        for url in [
            "https://127.0.0.1/",
            "https://[::1]:8/",
            "http://example.org/",
            "ftp://example.org",
            "x",
            "https://2130706433/",
            "https://a:b@example.org/",
        ] {
            assert!(refused(url), "{url}");
        }
        assert!(!refused("https://example.org/hook?x=1"));
        assert!(refusal("http://127.0.0.1:9/", true).is_none());
    }
}
