//! Draft data sets over HTTP: pictures without labels become a data set.

use axum::body::Body;
use axum::http::Method;
use futures::future::join_all;
use kindling_data::Limits;
use kindling_engine::Service;
use serde_json::{Value, json};

use crate::fixture::{Reply, Server, png, zip};

async fn patch(server: &Server, path: &str, body: &Value) -> Reply {
    server.send(Method::PATCH, path, &[("content-type", "application/json")], body.to_string()).await
}

/// A draft with so many pictures, of noise.
async fn draft(server: &Server, labels: &str, pictures: u64) -> String {
    let new = json!({"name": "raw", "labels": labels, "classes": ["smoke", "fire"]});
    let made = server.post("/v1/drafts", &new).await.is(201);
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("/v1/drafts/{}", made.json()["id"].as_str().unwrap()));
    let files: Vec<_> = (0..pictures).map(|i| (format!("shot/{i:03}.png"), png(i + 1, 32))).collect();
    if pictures > 0 {
        let added = server.send(Method::POST, &format!("{path}/pictures"), &[], zip(&files)).await.is(200).json();
        assert_eq!((&added["added"], &added["copies"], &added["broken"]), (&json!(pictures), &json!(0), &json!([])));
    }
    path
}

fn boxes(i: u64) -> Value {
    let at = i as f32 / 100.0;
    let one =
        |class: &str, x: f32| json!({"class": class, "x": x, "y": 0.1 + at, "width": 0.300_000_01, "height": 0.2});
    match i % 3 {
        0 => json!([]),
        1 => json!([one("fire", at)]),
        _ => json!([one("smoke", at), one("fire", 0.5)]),
    }
}

#[tokio::test]
async fn raw_pictures_become_a_data_set_with_exactly_these_boxes() {
    let server = Server::open().await;
    let path = draft(&server, "boxes", 24).await;
    let all = server.get(&format!("{path}/examples")).await.is(200).json()["items"].as_array().unwrap().clone();
    assert_eq!((all.len(), &all[7]["path"], &all[7]["state"]), (24, &json!("shot/007.png"), &json!("unlabelled")));
    // Different pictures at the same time, as several people would.
    let label = |i: u64| {
        let (server, path) = (&server, format!("{path}/examples/{i}"));
        async move { patch(server, &path, &json!({"boxes": boxes(i)})).await.is(200).json() }
    };
    for (i, saved) in join_all((0..22).map(label)).await.iter().enumerate() {
        assert_eq!((&saved["state"], &saved["index"]), (&json!("labelled"), &json!(i)));
    }
    patch(&server, &format!("{path}/examples/22"), &json!({"skip": true})).await.is(200);
    let seen = server.get(&path).await.is(200).json();
    for (what, count) in [("examples", 24), ("labelled", 22), ("skipped", 1), ("unlabelled", 1)] {
        assert_eq!(seen[what], count, "{what}");
    }
    let left = server.get(&format!("{path}/examples?state=unlabelled")).await.is(200).json();
    assert_eq!(left["items"][0]["index"], 23);

    // A second process over the same data finds all of it, as after a kill, and removes a pack that nothing names.
    let packs = server.service.data_dir().join("files/drafts");
    let orphan = packs.join(kindling_spec::DraftId::new().as_str()).join("x/pictures.pack");
    std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, b"left over").unwrap();
    let again = Service::open(server.service.data_dir(), Limits::default()).await.unwrap();
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    let (_, counts) = again.draft(&id).await.unwrap();
    assert_eq!((counts.labelled, counts.skipped), (22, 1));
    assert!(!orphan.exists());
    server.get(&format!("{path}/examples/3/image")).await.is(200);

    let sealed = server.post(&format!("{path}/seal"), &json!({"name": "hill"})).await.is(201);
    let made = sealed.json();
    assert_eq!((&made["state"], &made["labels"], &made["name"]), (&json!("ready"), &json!("boxes"), &json!("hill")));
    let examples = server.get(&format!("{}/examples", sealed.header("location"))).await.is(200).json();
    let examples = examples["items"].as_array().unwrap();
    assert_eq!(examples.len(), 22);
    for example in examples {
        let i: u64 = example["path"].as_str().unwrap()[5..8].parse().unwrap();
        let key = |b: &Value| {
            (b["class"].to_string(), ["x", "y", "width", "height"].map(|s| (b[s].as_f64().unwrap() as f32).to_bits()))
        };
        let sorted = |list: &Value| {
            let mut keys: Vec<_> = list.as_array().unwrap().iter().map(key).collect();
            keys.sort();
            keys
        };
        assert_eq!(sorted(&example["boxes"]), sorted(&boxes(i)), "{example}");
        let image = server.get(example["image"].as_str().unwrap()).await.is(200);
        assert_eq!(image.body, png(i + 1, 32));
    }
    let page = server.get(&sealed.header("location")[3..]).await.is(200).text();
    assert!(page.contains(&format!("href=\"{}\"", &path[3..])), "{page}");
    // The draft goes on; the data set does not change.
    patch(&server, &format!("{path}/examples/0"), &json!({"boxes": boxes(1)})).await.is(200);
    let next = server.post(&format!("{path}/seal"), &json!({})).await.is(201).json();
    assert_ne!(next["hash"], made["hash"]);
    let scratch = std::fs::read_dir(server.service.data_dir().join("scratch")).unwrap().count();
    assert_eq!(scratch, 0, "nothing is left over");
    server.send(Method::DELETE, &path, &[], Body::empty()).await.is(204);
    server.get(&path).await.is_problem(404, "draft_not_found");
    assert!(!server.service.data_dir().join("files").join(&path[4..]).exists());
    server.get(sealed.header("location")).await.is(200);
}

#[tokio::test]
async fn pictures_come_in_archives_or_one_by_one_and_once() {
    let server = Server::open().await;
    let path = draft(&server, "classes", 3).await;
    let pictures = format!("{path}/pictures");
    let send = |name: &str, body: Vec<u8>| {
        let (server, address) = (&server, format!("{pictures}?name={name}"));
        async move { server.send(Method::POST, &address, &[], body).await }
    };
    assert_eq!(send("shot%2F000.png", png(50, 40)).await.is(200).json()["added"], 1);
    assert_eq!(send("other.png", png(50, 40)).await.is(200).json()["copies"], 1);
    send("page.png", b"<!doctype html>".to_vec()).await.is_problem(422, "invalid_archive");
    let half = png(51, 40);
    send("half.png", half[..half.len() / 2].to_vec()).await.is_problem(415, "invalid_image");
    send("up.png", zip(&[("../up.png".to_owned(), png(60, 24))])).await.is_problem(422, "unsafe_path");
    send("zip.zip", zip(&[("a.zip".to_owned(), zip(&[("b.png".to_owned(), png(61, 24))]))]))
        .await
        .is_problem(422, "nested_archive");
    send("none.zip", zip(&[("a.txt".to_owned(), b"none".to_vec())])).await.is_problem(422, "invalid_archive");
    let bomb = zip(&[("a.png".to_owned(), vec![0; 64 << 20])]);
    send("bomb.zip", bomb).await.is_problem(413, "archive_too_large");
    let mixed = zip(&[
        ("a.png".to_owned(), png(70, 24)),
        ("b.jpg".to_owned(), b"no".to_vec()),
        ("c.txt".to_owned(), b"x".to_vec()),
    ]);
    let added = send("mixed.zip", mixed).await.is(200).json();
    assert_eq!(
        (&added["added"], &added["other_files"], &added["broken"][0]["path"]),
        (&json!(1), &json!(1), &json!("b.jpg"))
    );
    let all = server.get(&format!("{path}/examples")).await.is(200).json();
    let paths: Vec<_> = all["items"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["shot/000.png", "shot/001.png", "shot/002.png", "shot/000-2.png", "a.png"]);

    let image = format!("{path}/examples/3/image");
    let whole = server.get(&image).await.is(200);
    assert_eq!((whole.body.clone(), whole.header("content-type")), (png(50, 40), "image/png"));
    assert!(whole.header("content-security-policy").contains("sandbox"));
    let known = [("if-none-match", whole.header("etag"))];
    server.send(Method::GET, &image, &known, Body::empty()).await.is(304);
    let small = server.get(&format!("{image}?size=16")).await.is(200);
    assert_eq!(image::load_from_memory(&small.body).unwrap().width(), 16);
    server.get(&format!("{image}?size=1")).await.is_problem(400, "invalid_request");
    server.get(&format!("{path}/examples/5/image")).await.is_problem(404, "example_not_found");
    let first = server.get(&format!("{path}/examples?limit=2")).await.is(200).json();
    let second = server.get(&format!("{path}/examples?limit=2&after={}", first["next"].as_str().unwrap())).await.json();
    assert_eq!(second["items"][0]["index"], 2);
}

#[tokio::test]
async fn a_model_suggests_and_a_person_takes_what_it_is_sure_of() {
    let server = Server::open().await;
    let dataset = server.dataset().await;
    let task = server.task(&dataset).await;
    let trial = server.trial(&task, 0, 0.9).await;
    let model = server.model(&task, &trial, 0.9).await;
    let path = draft(&server, "classes", 12).await;
    patch(&server, &path, &json!({"add_classes": ["neither"]})).await.is(200);
    patch(&server, &format!("{path}/examples/0"), &json!({"class": "smoke"})).await.is(200);
    let ask = json!({"model": model, "limit": 8});
    let suggestions = format!("{path}/suggestions");
    assert_eq!(server.post(&suggestions, &ask).await.is(200).json(), json!({"asked": 8, "remaining": 3}));
    assert_eq!(server.post(&suggestions, &ask).await.is(200).json(), json!({"asked": 3, "remaining": 0}));
    assert_eq!(server.post(&suggestions, &ask).await.is(200).json(), json!({"asked": 0, "remaining": 0}));
    let found = server.get(&format!("{path}/examples?state=unlabelled&order=doubt")).await.is(200).json();
    let found = found["items"].as_array().unwrap();
    assert_eq!(found.len(), 11);
    let mut before = 1.0;
    for example in found {
        let said = server.get(example["image"].as_str().unwrap()).await.body;
        let answer = server.send(Method::POST, &format!("/v1/models/{model}/predict"), &[], said).await.is(200).json();
        assert_eq!((&example["suggestion"]["class"], &example["suggested_by"]), (&answer["label"], &json!(model)));
        let sure = answer["probabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["probability"].as_f64().unwrap())
            .fold(0.0, f64::max);
        let doubt = example["doubt"].as_f64().unwrap();
        assert!((doubt - (1.0 - sure)).abs() < 1e-6 && doubt <= before, "{example}");
        before = doubt;
    }
    // A page goes on where the one before ended.
    let page = server.get(&format!("{path}/examples?state=unlabelled&order=doubt&limit=4")).await.json();
    let rest = server
        .get(&format!("{path}/examples?state=unlabelled&order=doubt&after={}", page["next"].as_str().unwrap()))
        .await
        .json();
    assert_eq!(rest["items"][0], found[4]);

    // Numbers may change in their last digit on their way through JSON.
    let limit = found[5]["doubt"].as_f64().unwrap() + 1e-9;
    let taken = server.post(&format!("{path}/accept"), &json!({"at_most_doubt": limit})).await.is(200).json();
    let expected = found.iter().filter(|e| e["doubt"].as_f64().unwrap() <= limit).count();
    assert_eq!(taken["accepted"].as_array().unwrap().len(), expected);
    let one = &found[0];
    let wanted = json!({"examples": [one["index"], 0, 999]});
    assert_eq!(server.post(&format!("{path}/accept"), &wanted).await.is(200).json()["accepted"], json!([one["index"]]));
    let now = server.get(&format!("{path}/examples/{}", one["index"])).await.json();
    assert_eq!((&now["state"], &now["label"]), (&json!("labelled"), &one["suggestion"]));
    assert_eq!(
        server.get(&format!("{path}/examples/0")).await.json()["label"]["class"],
        "smoke",
        "a person's word stays"
    );

    server.post(&format!("{path}/accept"), &json!({})).await.is_problem(400, "invalid_request");
    server.post(&suggestions, &json!({"model": model, "limit": 0})).await.is_problem(400, "invalid_request");
    let nobody = kindling_spec::ModelId::new();
    server.post(&suggestions, &json!({"model": nobody})).await.is_problem(404, "model_not_found");
    let boxed = draft(&server, "boxes", 2).await;
    server.post(&format!("{boxed}/suggestions"), &json!({"model": model})).await.is_problem(400, "invalid_request");
    let other = server.post("/v1/drafts", &json!({"name": "cats", "classes": ["cat"]})).await.is(201).json();
    let path = format!("/v1/drafts/{}/suggestions", other["id"].as_str().unwrap());
    let problem = server.post(&path, &json!({"model": model})).await.is_problem(400, "invalid_request");
    assert!(problem["detail"].as_str().unwrap().contains("`cat`"), "{problem}");
}

#[tokio::test]
async fn a_sealed_data_set_is_begun_from_and_keeps_its_sides() {
    let server = Server::open().await;
    let id = server.dataset().await;
    let made = server.post("/v1/drafts", &json!({"from": id, "classes": ["fog"]})).await.is(201).json();
    assert_eq!((&made["name"], &made["labels"], &made["from"]), (&json!("hill"), &json!("classes"), &json!(id)));
    assert_eq!(made["classes"], json!(["fire", "neither", "smoke", "fog"]));
    assert_eq!((&made["examples"], &made["labelled"]), (&json!(42), &json!(42)));
    let path = format!("/v1/drafts/{}", made["id"].as_str().unwrap());
    // Unchanged, it is the same content.
    let same = server.post(&format!("{path}/seal"), &json!({})).await.is(201).json();
    assert_eq!(
        same["summary"]["parent"],
        json!({"dataset": id, "hash": server.get(&format!("/v1/datasets/{id}")).await.json()["hash"], "relabelled": 0, "removed": 0})
    );
    let old = server.get(&format!("/v1/datasets/{id}/examples")).await.json()["items"].as_array().unwrap().clone();
    let drafted = server.get(&format!("{path}/examples")).await.json()["items"].as_array().unwrap().clone();
    let fire = drafted.iter().find(|e| e["label"]["class"] == "fire").unwrap();
    patch(&server, &format!("{path}/examples/{}", fire["index"]), &json!({"class": "smoke"})).await.is(200);
    let smoke = drafted.iter().rfind(|e| e["label"]["class"] == "smoke").unwrap();
    patch(&server, &format!("{path}/examples/{}", smoke["index"]), &json!({"skip": true})).await.is(200);
    // The data set may go; the draft has its pictures.
    server.send(Method::DELETE, &format!("/v1/datasets/{id}"), &[], Body::empty()).await.is(204);
    let next = server.post(&format!("{path}/seal"), &json!({})).await.is(201).json();
    let new = server.get(&format!("/v1/datasets/{}/examples", next["id"].as_str().unwrap())).await.json();
    let new = new["items"].as_array().unwrap();
    assert_eq!(new.len(), 41);
    for example in new {
        let was = old.iter().find(|e| e["sha256"] == example["sha256"]).unwrap();
        assert_eq!((&example["split"], &example["path"]), (&was["split"], &was["path"]));
        let class = if was["path"] == fire["path"] { &json!("smoke") } else { &was["class"] };
        assert_eq!(&example["class"], class);
    }
    server.post("/v1/drafts", &json!({"from": id})).await.is_problem(404, "dataset_not_found");
    let other = server.dataset().await;
    server.post("/v1/drafts", &json!({"from": other, "labels": "boxes"})).await.is_problem(400, "invalid_request");
    let empty = server.empty_dataset().await;
    server.post("/v1/drafts", &json!({"from": empty})).await.is_problem(409, "dataset_not_ready");
}

#[tokio::test]
async fn what_does_not_fit_a_draft_is_refused_and_changes_nothing() {
    let server = Server::open().await;
    for bad in [
        json!({}),
        json!({"name": " "}),
        json!({"name": "x", "labels": "masks"}),
        json!({"name": "x", "classes": ["a", "a"]}),
        json!({"name": "x", "classes": [""]}),
        json!({"name": "x", "colour": 1}),
    ] {
        server.post("/v1/drafts", &bad).await.is_problem(400, "invalid_request");
    }
    let path = draft(&server, "boxes", 12).await;
    let one = |x: f64, width: f64| json!({"class": "fire", "x": x, "y": 0.1, "width": width, "height": 0.2});
    for (body, told) in [
        (json!({}), "send one of"),
        (json!({"class": "fire"}), "boxes"),
        (json!({"boxes": [], "skip": true}), "send one of"),
        (json!({"boxes": [one(0.1, 0.2), one(0.5, 0.7)]}), "`boxes/1`"),
        (json!({"boxes": [one(-0.5, 0.7)]}), "`boxes/0`"),
        (json!({"boxes": [one(0.5, 0.0)]}), "`boxes/0`"),
        (json!({"boxes": [{"class": "water", "x": 0, "y": 0, "width": 1, "height": 1}]}), "`boxes/0/class`"),
        (json!({"boxes": [{"class": "fire", "x": 0, "y": 0, "width": 1}]}), "height"),
        (json!({"boxes": "none"}), "cannot be read"),
    ] {
        let problem = patch(&server, &format!("{path}/examples/0"), &body).await.is_problem(400, "invalid_request");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{body}: {problem}");
    }
    assert_eq!(server.get(&format!("{path}/examples/0")).await.json()["state"], "unlabelled");
    patch(&server, &format!("{path}/examples/12"), &json!({"skip": true})).await.is_problem(404, "example_not_found");
    patch(&server, "/v1/drafts/draft_1/examples/0", &json!({"skip": true})).await.is_problem(404, "draft_not_found");
    for bad in ["state=done", "order=size", "limit=0", "after=x"] {
        server.get(&format!("{path}/examples?{bad}")).await.is_problem(400, "invalid_request");
    }
    let seal = format!("{path}/seal");
    server.post(&seal, &json!({})).await.is_problem(422, "too_few_examples");
    patch(&server, &format!("{path}/examples/0"), &json!({"boxes": [one(0.1, 0.2)]})).await.is(200);
    let few = server.post(&seal, &json!({})).await.is_problem(422, "too_few_examples");
    assert!(few["detail"].as_str().unwrap().contains("only 1 usable"), "{few}");
    let classes = draft(&server, "classes", 12).await;
    for i in 0..12 {
        patch(&server, &format!("{classes}/examples/{i}"), &json!({"class": "fire"})).await.is(200);
    }
    let alone = server.post(&format!("{classes}/seal"), &json!({})).await.is_problem(422, "too_few_examples");
    assert!(alone["detail"].as_str().unwrap().contains("another class"), "{alone}");
    assert_eq!(server.get("/v1/datasets").await.json()["items"], json!([]), "nothing was made");
    let list = server.get("/v1/drafts?limit=1").await.is(200).json();
    assert_eq!(format!("/v1/drafts/{}", list["items"][0]["id"].as_str().unwrap()), classes);
    assert!(list["next"].is_string());
}

#[tokio::test]
async fn the_labelling_page_has_what_its_script_needs() {
    let server = Server::open().await;
    let path = draft(&server, "boxes", 2).await;
    let page = server.get(&path[3..]).await.is(200);
    for part in
        ["id=\"stage\"", "data-labels=\"boxes\"", "id=\"kinds\"", "id=\"seal\"", "/assets/label.js", "0 of 2 pictures"]
    {
        assert!(page.text().contains(part), "{part}:\n{}", page.text());
    }
    assert!(!page.text().contains(" style=") && page.header("content-security-policy").contains("default-src 'self'"));
    assert!(server.get("/assets/label.js").await.is(200).body.len() > 1000);
    let home = server.get("/").await.is(200).text();
    assert!(home.contains(&path[3..]) && home.contains("id=\"new-draft\""), "{home}");
    server.get("/drafts/draft_1").await.is_problem(404, "draft_not_found");
}
