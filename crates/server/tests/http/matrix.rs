//! No endpoint shows or changes what is another project's. The test makes itself from the OpenAPI document: each of its
//! operations is asked for project A's things with a key of project B. What a new operation needs beyond a known id it
//! says itself, by failing.

use axum::body::Body;
use axum::http::Method;
use kindling_engine::run_analysis;
use kindling_spec::{DatasetId, DraftId, FleetId, ModelId, ProjectId, Scope, TaskId, UploadId, WebhookId};
use kindling_store::Quota;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Reply, Server, archive, png, spec, zip};

/// What needs no key and shows nothing of a project's. A new name here is a decision, not a repair.
const PUBLIC: [&str; 13] = [
    "getFleetSpecSchema",
    "getHealth",
    "getIcon",
    "getLabelScript",
    "getOpenApi",
    "getReadiness",
    "getScript",
    "getStyle",
    "getTaskSpecSchema",
    "logIn",
    "logOut",
    "showLogin",
    "showProblem",
];

/// What is uploaded in parts, of which there is one.
const PART: &[u8] = b"no archive";

/// An operation of the document.
struct Operation {
    id: String,
    method: Method,
    path: String,
    /// The least scope; none where it is public.
    scope: Option<Scope>,
    takes_body: bool,
    is_list: bool,
}

impl Operation {
    fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    fn is_of_a_thing(&self) -> bool {
        self.path.contains('{')
    }
}

/// The schema of what an operation answers with.
fn answer<'a>(document: &'a Value, operation: &'a Value) -> Option<&'a Value> {
    let schema = operation.pointer("/responses/200/content/application~1json/schema")?;
    match schema.get("$ref").and_then(Value::as_str) {
        Some(target) => document.pointer(target.strip_prefix('#')?),
        None => Some(schema),
    }
}

fn operations() -> Vec<Operation> {
    let document = kindling_server::openapi_document();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let role = operation.pointer("/security/0/bearer/0").and_then(Value::as_str);
            found.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                path: path.clone(),
                scope: role.map(|word| Scope::from_word(word).unwrap()),
                takes_body: operation.get("requestBody").is_some(),
                is_list: answer(&document, operation)
                    .is_some_and(|schema| schema.pointer("/properties/items").is_some()),
            });
        }
    }
    assert!(found.len() > 60, "{}", found.len());
    found
}

/// Ids by the part of an address that they follow.
struct Things(BTreeMap<&'static str, String>);

impl Things {
    /// One of each kind, with content, in the project of the server's key.
    async fn make(a: &Server) -> Self {
        let dataset = a.dataset().await;
        let mut wanted = spec(&dataset);
        wanted["exports"] = json!(["onnx", "safetensors"]);
        let task: TaskId = a.post("/v1/tasks", &wanted).await.is(201).json()["id"].as_str().unwrap().parse().unwrap();
        let trial = a.trial(&task, 0, 0.9).await;
        let model = a.model(&task, &trial, 0.9).await;
        assert!(a.service.store().meta.set_best_model(&task, None, &model, 9).await.unwrap());
        a.post(&format!("/v1/tasks/{task}/advice"), &json!({})).await.is(202);
        // A task that is over: its events end.
        a.post(&format!("/v1/tasks/{task}/cancel"), &json!({})).await.is(200);

        let asked = a.post(&format!("/v1/datasets/{dataset}/doubts"), &json!({"epochs": 1, "folds": 2})).await.is(202);
        let asked = asked.json()["id"].as_str().unwrap().parse().unwrap();
        run_analysis(a.service.data_dir(), &asked, "flex", CancellationToken::new()).await.unwrap();

        let new = json!({"name": "raw", "classes": ["fire", "smoke"]});
        let draft = a.post("/v1/drafts", &new).await.is(201).json()["id"].as_str().unwrap().to_owned();
        let pictures: Vec<_> = (0..3).map(|i| (format!("{i}.png"), png(900 + i, 24))).collect();
        a.send(Method::POST, &format!("/v1/drafts/{draft}/pictures"), &[], zip(&pictures)).await.is(200);

        let fleet = json!({
            "version": 1, "name": "Watch", "kind": "image-classification", "dataset": dataset,
            "background": ["neither"], "constraints": {"max_weights_bytes": 100_000}, "budget": {"seconds": 90},
        });
        let fleet = a.post("/v1/fleets", &fleet).await.is(201).json()["id"].as_str().unwrap().to_owned();
        let waiting = a.empty_dataset().await;
        let upload = a.post("/v1/uploads", &json!({"dataset": waiting, "bytes": PART.len()})).await.is(201);
        let upload = upload.json()["id"].as_str().unwrap().to_owned();
        let webhook = a.post("/v1/webhooks", &json!({"url": "https://example.org/hook"})).await.is(201);
        let webhook = webhook.json()["id"].as_str().unwrap().to_owned();
        let kinds = ["datasets", "tasks", "models", "drafts", "fleets", "uploads", "webhooks"];
        let ids = [dataset, task.to_string(), model.to_string(), draft, fleet, upload, webhook];
        Self(kinds.into_iter().zip(ids).collect())
    }

    /// Ids of the same form that name nothing.
    fn nothing() -> Self {
        Self(BTreeMap::from([
            ("datasets", DatasetId::new().to_string()),
            ("tasks", TaskId::new().to_string()),
            ("models", ModelId::new().to_string()),
            ("drafts", DraftId::new().to_string()),
            ("fleets", FleetId::new().to_string()),
            ("uploads", UploadId::new().to_string()),
            ("webhooks", WebhookId::new().to_string()),
        ]))
    }

    /// The address with ids in the place of its parameters.
    fn fill(&self, path: &str) -> String {
        let parts: Vec<&str> = path.split('/').collect();
        let filled = parts.iter().enumerate().map(|(at, part)| {
            let before = if at > 0 { parts[at - 1] } else { "" };
            match (before, *part) {
                (kind, "{id}") if self.0.contains_key(kind) => self.0[kind].as_str(),
                ("examples" | "parts", "{number}") => "0",
                ("files", "{name}") => "model.onnx",
                (_, part) if !part.contains('{') => part,
                (before, part) => panic!(
                    "{path}: the matrix does not know what `{part}` after `{before}` is. Make one in project A in \
                     `Things::make`, and name it there and in `Things::nothing` (an id) or in `Things::fill` (another part)"
                ),
            }
        });
        filled.collect::<Vec<_>>().join("/")
    }

    /// A body that the operation takes.
    fn body(&self, operation: &Operation) -> Vec<u8> {
        // What is of no thing is only asked by those who are not let in.
        if !operation.takes_body || !operation.is_of_a_thing() {
            return Vec::new();
        }
        let json = match operation.id.as_str() {
            "uploadContent" => return archive(&["fire", "smoke"], 14),
            "uploadPart" => return PART.to_vec(),
            "addPictures" => return zip(&[("more.png".to_owned(), png(950, 24))]),
            "predict" => return png(960, 24),
            "searchDoubts" | "seekAdvice" | "sealDraft" => json!({}),
            "relabelDataset" => json!({"changes": [{"example": 0, "remove": true}]}),
            "addDraftClasses" => json!({"add_classes": ["mist"]}),
            "labelDraftExample" => json!({"class": "fire"}),
            "suggestLabels" => json!({"model": self.0["models"]}),
            "acceptSuggestions" => json!({"at_most_doubt": 1.0}),
            "resumeTask" => json!({"seconds": 60}),
            other => panic!("`{other}` takes a body that the matrix does not know: add one to `Things::body`"),
        };
        json.to_string().into_bytes()
    }

    async fn ask(&self, server: &Server, operation: &Operation, headers: &[(&str, &str)]) -> Reply {
        self.ask_as(server, operation, &operation.method, headers).await
    }

    async fn ask_as(&self, server: &Server, operation: &Operation, method: &Method, headers: &[(&str, &str)]) -> Reply {
        let (path, body) = (self.fill(&operation.path), self.body(operation));
        let asked = tokio::time::timeout(Duration::from_secs(60), server.send(method.clone(), &path, headers, body));
        asked.await.unwrap_or_else(|_| panic!("{}: no end of the answer", operation.id))
    }

    /// A text without the ids that differ from thing to thing.
    fn anonymous(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (kind, id)| text.replace(id.as_str(), kind))
    }
}

/// Two projects with keys that may do everything, and A's key that may only look.
async fn two_projects() -> (Server, Server, Server) {
    let server = Server::open().await;
    let (a, b) = (server.project("a", Quota::default()).await, server.project("b", Quota::default()).await);
    let holder = async |project: &ProjectId, scope| server.holder(project, scope).await.0;
    (holder(&a, Scope::Admin).await, holder(&a, Scope::Read).await, holder(&b, Scope::Admin).await)
}

/// As if nothing were there, whatever is sent along.
async fn sees_nothing(b: &Server, things: &Things, nothing: &Things, operations: &[Operation]) {
    let sly = [("if-none-match", "*"), ("range", "bytes=0-0"), ("idempotency-key", "matrix"), ("last-event-id", "0")];
    for operation in operations.iter().filter(|o| o.scope.is_some() && o.is_of_a_thing()) {
        for headers in [&[][..], &sly[..]] {
            let seen = things.ask(b, operation, headers).await;
            assert_eq!(seen.status, 404, "{} shows B what is A's: {}", operation.id, seen.text());
            let none = nothing.ask(b, operation, headers).await;
            let (seen, none) = (things.anonymous(&seen.text()), nothing.anonymous(&none.text()));
            assert_eq!(seen, none, "{} tells what is not there from what is another's", operation.id);
        }
        if operation.is_read() {
            let seen = things.ask_as(b, operation, &Method::HEAD, &[]).await;
            assert_eq!(seen.status, 404, "HEAD of {}", operation.id);
        }
    }
}

/// What A sees by looking.
async fn view(a: &Server, things: &Things, operations: &[Operation]) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for operation in operations.iter().filter(|o| o.is_read() && o.scope == Some(Scope::Read)) {
        let reply = things.ask(a, operation, &[]).await;
        let status = reply.status.as_u16();
        assert!(![401, 403, 404].contains(&status) && status < 500, "{}: {}", operation.id, reply.text());
        if reply.header("content-type") == "application/json" {
            seen.insert(operation.id.clone(), reply.text());
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn another_projects_things_are_not_there() {
    let operations = operations();
    let (a, reader, b) = two_projects().await;
    let (things, nothing) = (Things::make(&a).await, Things::nothing());

    // Everything that may be kept in memory is.
    let before = view(&a, &things, &operations).await;
    let predict = operations.iter().find(|o| o.id == "predict").unwrap();
    things.ask(&a, predict, &[]).await.is(200);
    sees_nothing(&b, &things, &nothing, &operations).await;
    assert_eq!(view(&a, &things, &operations).await, before, "B has changed what is A's");

    for operation in &operations {
        let Some(scope) = operation.scope else { continue };
        let closed = things.ask(&a.stranger(), operation, &[]).await;
        closed.is_problem(401, "unauthorized");
        assert_eq!(closed.header("www-authenticate"), "Bearer", "{}", operation.id);
        if scope > Scope::Read {
            things.ask(&reader, operation, &[]).await.is_problem(403, "forbidden");
        }
        if operation.is_of_a_thing() || !operation.is_read() {
            continue;
        }
        let (ours, theirs) =
            (things.ask(&a, operation, &[]).await.is(200), things.ask(&b, operation, &[]).await.is(200));
        for (kind, id) in &things.0 {
            assert!(!theirs.text().contains(id.as_str()), "{} shows B one of A's {kind}", operation.id);
        }
        if operation.is_list {
            assert_eq!(theirs.json()["items"], json!([]), "{} shows B something", operation.id);
            let some = ours.json()["items"].as_array().is_some_and(|items| !items.is_empty());
            assert!(
                some,
                "{} shows A nothing, so that B's empty list proves nothing: make one in `Things::make`",
                operation.id
            );
        }
    }

    // The same requests are A's to make; what destroys comes last.
    let (removing, changing): (Vec<_>, Vec<_>) =
        operations.iter().filter(|o| o.is_of_a_thing() && o.scope.is_some()).partition(|o| o.method == Method::DELETE);
    for operation in changing.into_iter().chain(removing) {
        if operation.is_read() {
            continue;
        }
        let reply = things.ask(&a, operation, &[("idempotency-key", "matrix")]).await;
        let status = reply.status.as_u16();
        assert!(![401, 403, 404].contains(&status) && status < 500, "{}: {}", operation.id, reply.text());
    }
    // Answers that are kept to be given again are not given to others.
    sees_nothing(&b, &things, &nothing, &operations).await;
}

#[test]
fn what_is_public_was_decided() {
    let public: BTreeSet<String> = operations().into_iter().filter(|o| o.scope.is_none()).map(|o| o.id).collect();
    assert_eq!(public, PUBLIC.map(str::to_owned).into());
    let scope = |id: &str| operations().into_iter().find(|o| o.id == id).unwrap().scope.unwrap();
    for (id, expected) in [
        ("getDataset", Scope::Read),
        ("predict", Scope::Read),
        ("createTask", Scope::Write),
        ("deleteDraft", Scope::Write),
        ("getMetrics", Scope::Admin),
        ("getService", Scope::Admin),
        ("showService", Scope::Admin),
        ("deleteTask", Scope::Write),
    ] {
        assert_eq!(scope(id), expected, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_names_another_projects_things_names_nothing() {
    let (a, _, b) = two_projects().await;
    let (things, nothing) = (Things::make(&a).await, Things::nothing());
    let own = b.dataset().await;
    let draft = b.post("/v1/drafts", &json!({"name": "raw", "classes": ["fire", "smoke"]})).await.is(201).json();
    let suggest = format!("/v1/drafts/{}/suggestions", draft["id"].as_str().unwrap());
    let fleet = |dataset: &str| {
        let mut fleet = spec(dataset);
        fleet["background"] = json!(["neither"]);
        fleet
    };
    let warm = |model: &str| {
        let mut warm = spec(&own);
        warm["warm_start"] = json!(model);
        warm
    };
    type Request<'a> = (&'a str, u16, &'a str, Box<dyn Fn(&Things) -> Value + 'a>);
    let requests: [Request; 6] = [
        ("/v1/tasks", 404, "dataset_not_found", Box::new(|t: &Things| spec(&t.0["datasets"]))),
        ("/v1/tasks", 422, "invalid_spec", Box::new(|t: &Things| warm(&t.0["models"]))),
        ("/v1/fleets", 404, "dataset_not_found", Box::new(|t: &Things| fleet(&t.0["datasets"]))),
        ("/v1/drafts", 404, "dataset_not_found", Box::new(|t: &Things| json!({"from": t.0["datasets"]}))),
        (
            "/v1/uploads",
            404,
            "dataset_not_found",
            Box::new(|t: &Things| json!({"dataset": t.0["datasets"], "bytes": 9})),
        ),
        (&suggest, 404, "model_not_found", Box::new(|t: &Things| json!({"model": t.0["models"]}))),
    ];
    for (path, status, code, body) in requests {
        let seen = b.post(path, &body(&things)).await;
        seen.is_problem(status, code);
        let none = b.post(path, &body(&nothing)).await;
        assert_eq!(things.anonymous(&seen.text()), nothing.anonymous(&none.text()), "{path}");
    }
    assert_eq!(b.get("/v1/tasks").await.json()["items"], json!([]));
    // A task of B's does not begin from what A has found.
    let posted = b.post("/v1/tasks", &spec(&own)).await.is(201).json();
    assert_eq!(posted["spec"]["warm_start"], "off");

    // The same key and body, and yet two requests.
    let body = json!({"name": "hill", "kind": "image-classification"}).to_string();
    let make = async |server: &Server| {
        server
            .send(Method::POST, "/v1/datasets", &[("idempotency-key", "same")], Body::from(body.clone()))
            .await
            .is(201)
    };
    let (ours, theirs) = (make(&a).await, make(&b).await);
    assert_ne!(ours.json()["id"], theirs.json()["id"]);
    assert_eq!(theirs.header("idempotent-replayed"), "");
}
