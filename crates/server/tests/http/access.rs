//! Keys at the door: who is let in, how far, how often, and for how long.

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode};
use futures::stream;
use kindling_engine::NewKey;
use kindling_server::Config;
use kindling_spec::{ProjectId, Scope};
use kindling_store::Quota;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};
use tower::ServiceExt;

use crate::fixture::{Reply, Server};

/// A server that looks every key up at each request.
async fn forgetful() -> Server {
    Server::open_with(Config { key_memory: Duration::ZERO, ..Config::default() }).await
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

async fn with_key(server: &Server, key: &str) -> Reply {
    server.send(Method::GET, "/v1/tasks", &[("authorization", key)], Body::empty()).await
}

#[tokio::test]
async fn the_first_key_closes_the_door_and_no_key_opens_it_again() {
    let server = forgetful().await;
    let made = server.post("/v1/datasets", &json!({"name": "hill", "kind": "image-classification"})).await.is(201);
    let path = made.header("location").to_owned();
    with_key(&server, "Bearer whatever").await.is(200);
    let (local, id) = server.holder(&ProjectId::local(), Scope::Write).await;
    server.get(&path).await.is_problem(401, "unauthorized");
    server.get("/").await.is_problem(401, "unauthorized");
    for open in ["/healthz", "/readyz", "/openapi.json", "/v1/schema/task-spec.json", "/assets/app.js", "/favicon.ico"]
    {
        server.get(open).await.is(200);
    }
    server.get("/problems/unauthorized").await.is(200);
    server.get("/login").await.is(200);
    local.get(&path).await.is(200);
    let other = server.project("other", Quota::default()).await;
    server.holder(&other, Scope::Admin).await.0.get(&path).await.is_problem(404, "dataset_not_found");

    let text = local.key.clone().unwrap();
    for (bad, why) in [
        (format!("Basic {text}"), "Bearer"),
        (text.clone(), "Bearer"),
        (format!("Bearer {}", &text[..text.len() - 1]), "not known"),
        (format!("Bearer {}", text.replace("kdl_", "kdl_0")), "not known"),
        ("Bearer ".to_owned(), "Bearer"),
    ] {
        let refused = with_key(&server, &bad).await;
        let problem = refused.is_problem(401, "unauthorized");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{bad}: {problem}");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        assert!(!refused.text().contains(&text[40..]), "a key is not repeated");
    }
    with_key(&server, &format!("bearer {text}")).await.is(200);
    let new =
        NewKey { name: "old".into(), project: ProjectId::local(), scope: Scope::Admin, expires_at: Some(now() + 300) };
    let (_, brief) = server.service.create_key(new).await.unwrap();
    let brief = format!("Bearer {brief}");
    with_key(&server, &brief).await.is(200);
    tokio::time::sleep(Duration::from_millis(320)).await;
    with_key(&server, &brief).await.is_problem(401, "unauthorized");

    for key in server.service.store().meta.keys(None).await.unwrap() {
        server.service.store().meta.revoke_key(&key.id, now()).await.unwrap();
    }
    local.get(&path).await.is_problem(401, "unauthorized");
    server.get(&path).await.is_problem(401, "unauthorized");
    assert!(server.service.store().meta.key(&id).await.unwrap().revoked_at.is_some());
}

#[tokio::test]
async fn a_revoked_key_is_remembered_for_seconds_only() {
    let server = Server::open().await;
    let (holder, id) = server.holder(&ProjectId::local(), Scope::Read).await;
    holder.get("/v1/tasks").await.is(200);
    assert!(server.service.store().meta.revoke_key(&id, now()).await.unwrap());
    let begun = Instant::now();
    while holder.get("/v1/tasks").await.status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    holder.get("/v1/tasks").await.is_problem(401, "unauthorized");
}

#[tokio::test]
async fn who_is_following_is_shown_out_when_the_key_is_revoked() {
    let server = Server::open().await;
    let (holder, id) = server.holder(&ProjectId::local(), Scope::Write).await;
    let task = holder.task(&holder.dataset().await).await;
    let path = format!("/v1/tasks/{task}/events");
    let following = tokio::spawn({
        let holder = holder.clone();
        async move { holder.get(&path).await.is(200).text() }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!following.is_finished());
    server.service.store().meta.revoke_key(&id, now()).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(5), following).await.unwrap().unwrap();
    assert!(told.contains("event: task") && !told.contains("event: end"), "{told}");
}

#[tokio::test]
async fn a_scope_reaches_so_far() {
    let server = Server::open().await;
    let project = server.project("a", Quota::default()).await;
    let new = json!({"name": "hill", "kind": "image-classification"});
    for (scope, write, metrics) in [(Scope::Read, 403, 403), (Scope::Write, 201, 403), (Scope::Admin, 201, 200)] {
        let (holder, _) = server.holder(&project, scope).await;
        holder.get("/v1/datasets").await.is(200);
        assert_eq!(holder.post("/v1/datasets", &new).await.status, write, "{scope}");
        assert_eq!(holder.get("/metrics").await.status, metrics, "{scope}");
    }
}

#[tokio::test]
async fn a_person_logs_in_once() {
    let server = forgetful().await;
    let browser = [("accept", "text/html"), ("sec-fetch-mode", "navigate")];
    let visit = async |path: &str, cookie: &str| {
        let headers = [browser[0], browser[1], ("cookie", cookie)];
        server.send(Method::GET, path, &headers, Body::empty()).await
    };
    assert!(visit("/login", "").await.is(200).text().contains("No key is wanted"));
    let project = server.project("Hill watch", Quota::default()).await;
    let (holder, _) = server.holder(&project, Scope::Read).await;
    let key = holder.key.clone().unwrap();
    let away = visit("/tasks/zebra?x=1", "").await.is(303);
    assert_eq!(away.header("location"), "/login?next=%2Ftasks%2Fzebra%3Fx%3D1");
    // A script of a page wants to know what is wrong.
    let fetched = [("accept", "text/html"), ("sec-fetch-mode", "cors")];
    server.send(Method::GET, "/tasks/zebra/live", &fetched, Body::empty()).await.is(401);
    let form = visit(away.header("location"), "").await.is(200);
    assert!(form.text().contains("value=\"/tasks/zebra?x=1\"") && !form.text().contains(" style="), "{}", form.text());
    assert!(form.header("content-security-policy").contains("form-action 'self'"));

    let post = async |body: String, headers: &[(&str, &str)]| server.send(Method::POST, "/login", headers, body).await;
    let wrong = post("key=kdl_1&next=%2F".into(), &[]).await.is(401);
    assert!(wrong.text().contains("role=\"alert\"") && wrong.header("set-cookie").is_empty());
    assert!(!wrong.text().contains("kdl_1"), "what was tried is not shown");
    post("what=ever".into(), &[]).await.is_problem(400, "invalid_request");
    post("x".repeat(10_000), &[]).await.is_problem(413, "invalid_request");
    let elsewhere = [("sec-fetch-site", "cross-site")];
    post(format!("key={key}"), &elsewhere).await.is_problem(403, "invalid_request");
    let taken = post(format!("key={key}&next=%2Ftasks%2Fzebra"), &[]).await.is(303);
    assert_eq!(taken.header("location"), "/tasks/zebra");
    let cookie = taken.header("set-cookie").to_owned();
    assert_eq!(cookie, format!("kindling_key={key}; Path=/; HttpOnly; SameSite=Strict"));
    let secure = post(format!("key={key}&next=//evil.example"), &[("x-forwarded-proto", "https")]).await.is(303);
    assert_eq!(secure.header("location"), "/");
    assert!(secure.header("set-cookie").contains("; Secure"), "{cookie}");

    let cookie = cookie.split(';').next().unwrap();
    visit("/", cookie).await.is(200);
    visit("/v1/tasks", cookie).await.is(200);
    visit("/tasks/zebra", cookie).await.is(404);
    visit("/v1/tasks", "kindling_key=kdl_1").await.is_problem(401, "unauthorized");
    let inside = visit("/login", cookie).await.is(200).text();
    assert!(inside.contains("Hill watch") && inside.contains("action=\"/logout\""), "{inside}");
    let left = server.send(Method::POST, "/logout", &[("cookie", cookie)], Body::empty()).await.is(303);
    assert!(
        left.header("set-cookie").starts_with("kindling_key=; Path=/")
            && left.header("set-cookie").contains("Max-Age=0")
    );
}

fn rates(requests: u32, wrong: u32) -> Config {
    let number = |n| NonZeroU32::new(n).unwrap();
    Config { requests_per_second: number(requests), wrong_keys_per_minute: number(wrong), ..Config::default() }
}

#[tokio::test]
async fn too_many_requests_of_a_key_wait_and_others_do_not() {
    let server = Server::open_with(rates(3, 2)).await;
    let project = server.project("a", Quota::default()).await;
    let (eager, _) = server.holder(&project, Scope::Read).await;
    let (calm, _) = server.holder(&project, Scope::Read).await;
    let mut refused = None;
    // Three at once, and one more for each third of a second that this takes.
    for _ in 0..50 {
        let reply = eager.get("/v1/tasks").await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("fifty at once are too many");
    refused.is_problem(429, "rate_limited");
    assert_eq!(refused.header("retry-after"), "1");
    calm.get("/v1/tasks").await.is(200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    eager.get("/v1/tasks").await.is(200);

    let guess = async || with_key(&server, &format!("Bearer kdl_{}_{}", "0".repeat(32), "1".repeat(64))).await;
    assert_eq!([guess().await.status, guess().await.status], [401, 401]);
    let refused = guess().await;
    refused.is_problem(429, "rate_limited");
    assert!((20..=30).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    // The same address with a good key.
    calm.get("/v1/tasks").await.is(200);
}

#[tokio::test]
async fn without_keys_an_address_elsewhere_is_held_to_a_pace() {
    let server = Server::open_with(rates(2, 2)).await;
    let from = async |address: &str, path: &str| {
        let address: SocketAddr = address.parse().unwrap();
        let request = Request::builder().uri(path).extension(ConnectInfo(address)).body(Body::empty()).unwrap();
        server.router.clone().oneshot(request).await.unwrap().status()
    };
    let mut seen = Vec::new();
    for _ in 0..50 {
        seen.push(from("192.0.2.1:999", "/v1/schema/task-spec.json").await);
    }
    assert_eq!(seen[..2], [StatusCode::OK; 2]);
    assert!(seen.contains(&StatusCode::TOO_MANY_REQUESTS), "{seen:?}");
    assert_eq!(from("192.0.2.2:999", "/v1/tasks").await, StatusCode::OK);
    for _ in 0..50 {
        assert_eq!(from("127.0.0.1:999", "/v1/tasks").await, StatusCode::OK, "this machine itself");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let config = Config { json_time: Duration::from_millis(200), ..Config::default() };
    let server = Server::open_with(config).await;
    // A byte now and then is not enough.
    let drip = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
    });
    let begun = Instant::now();
    server.send(Method::POST, "/v1/datasets", &[], Body::from_stream(drip)).await.is_problem(408, "invalid_request");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_document_says_how_to_send_a_key_and_what_it_must_open() {
    let document = kindling_server::openapi_document();
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!((&schemes["bearer"]["type"], &schemes["bearer"]["scheme"]), (&json!("http"), &json!("bearer")));
    assert_eq!(
        (&schemes["kindling_key"]["in"], &schemes["kindling_key"]["name"]),
        (&json!("cookie"), &json!("kindling_key"))
    );
    let post = &document["paths"]["/v1/tasks"]["post"];
    assert_eq!(post["security"], json!([{"bearer": ["write"]}, {"kindling_key": ["write"]}]));
    for status in ["401", "403", "429"] {
        assert!(post["responses"][status].is_object(), "{status}");
    }
    assert!(document["paths"]["/healthz"]["get"].get("security").is_none());
}
