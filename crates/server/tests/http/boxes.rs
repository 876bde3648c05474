//! Data sets with boxes over HTTP.

use serde_json::{Value, json};
use std::path::Path;

use crate::fixture::{Server, png, zip};

/// The sample pictures with their boxes as COCO's JSON.
fn sample() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let set = dir.path().join("set");
    kindling_data::sample::fire_smoke(&set, 20, 48, 3).unwrap();
    let mut files = Vec::new();
    let read = |path: &Path| std::fs::read(path).unwrap();
    for class in kindling_data::sample::CLASSES {
        for file in std::fs::read_dir(set.join(class)).unwrap().flatten() {
            files.push((format!("{class}/{}", file.file_name().display()), read(&file.path())));
        }
    }
    files.push(("annotations.json".to_owned(), read(&set.join("annotations.json"))));
    zip(&files)
}

async fn boxed(server: &Server) -> String {
    let new = json!({"name": "hill", "kind": "image-classification", "labels": "boxes"});
    let made = server.post("/v1/datasets", &new).await.is(201).json();
    assert_eq!(made["labels"], "boxes");
    made["id"].as_str().unwrap().to_owned()
}

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap()
}

#[tokio::test]
async fn boxes_are_read_counted_listed_and_drawn() {
    let server = Server::open().await;
    let id = boxed(&server).await;
    let sealed = server.upload(&id, sample()).await.is(200).json();
    assert_eq!((&sealed["labels"], &sealed["state"]), (&json!("boxes"), &json!("ready")));
    let summary = &sealed["summary"];
    assert_eq!((&summary["classes"], &summary["examples"]), (&json!(["fire", "smoke"]), &json!(60)));

    let all = server.get(&format!("/v1/datasets/{id}/examples")).await.is(200).json();
    let boxes: Vec<&Value> = items(&all).iter().flat_map(|e| e["boxes"].as_array().unwrap()).collect();
    assert!(boxes.len() >= 40, "{}", boxes.len());
    assert_eq!(summary["boxes"], boxes.len());
    for class in ["fire", "smoke"] {
        let of = boxes.iter().filter(|b| b["class"] == class).count() as u64;
        let sides = ["train", "validation", "test"].map(|side| summary["box_counts"][class][side].as_u64().unwrap());
        assert_eq!(sides.iter().sum::<u64>(), of, "{class}");
        let shown = server.get(&format!("/v1/datasets/{id}/examples?class={class}")).await.is(200).json();
        assert!(items(&shown).iter().all(|e| e["boxes"].as_array().unwrap().iter().any(|b| b["class"] == class)));
    }
    for one in &boxes {
        let [x, y, width, height] = ["x", "y", "width", "height"].map(|name| one[name].as_f64().unwrap());
        assert!(x >= 0.0 && y >= 0.0 && width > 0.0 && height > 0.0 && x + width <= 1.0 && y + height <= 1.0, "{one}");
    }
    let empty = server.get(&format!("/v1/datasets/{id}/examples?empty=true")).await.is(200).json();
    let none = summary["audit"]["boxes"]["empty"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
    assert_eq!(items(&empty).len() as u64, none);
    assert!(none >= 20 && items(&empty).iter().all(|e| e["class"].is_null() && e["boxes"] == json!([])));
    server.get(&format!("/v1/datasets/{id}/examples?empty=maybe")).await.is_problem(400, "invalid_request");

    let page = server.get(&format!("/datasets/{id}")).await.is(200).text();
    for part in ["60 pictures", &format!("{} boxes", boxes.len()), "A box is", "<rect", "empty=true", ">Boxes<"] {
        assert!(page.contains(part), "{part}:\n{page}");
    }
    assert!(!page.contains(" style=") && !page.contains("/doubts"));
    let nothing = server.get(&format!("/datasets/{id}?empty=true")).await.is(200).text();
    assert!(!nothing.contains("<rect x=") && nothing.contains("alt=\"nothing\""));
    let refused = server.post(&format!("/v1/datasets/{id}/doubts"), &json!({})).await;
    assert!(refused.is_problem(400, "invalid_request")["detail"].as_str().unwrap().contains("boxes"));
    // A picture may be left out of it, but has no one class to change.
    let path = format!("/v1/datasets/{id}/relabel");
    let change = json!({"changes": [{"example": 0, "label": "smoke"}, {"example": 1, "label": "smoke"}]});
    server.post(&path, &change).await.is_problem(422, "invalid_layout");
    let next = server.post(&path, &json!({"changes": [{"example": 0, "remove": true}]})).await.is(201).json();
    assert_eq!((&next["labels"], &next["summary"]["examples"]), (&json!("boxes"), &json!(59)));
}

#[tokio::test]
async fn what_is_odd_about_boxes_is_told() {
    let server = Server::open().await;
    let id = boxed(&server).await;
    let mut files: Vec<(String, Vec<u8>)> = (0..24).map(|i| (format!("{i:02}.png"), png(i + 1, 40))).collect();
    let mut table = "path,label,x_min,y_min,x_max,y_max\n".to_owned();
    for i in 0..24 {
        table += &format!("{i:02}.png,fire,4,8,20,30\n{i:02}.png,<smoke>,10,10,{},36\n", if i == 3 { 60 } else { 30 });
    }
    table += "05.png,fire,7,7,7,9\nlost.png,fire,1,2,3,4\n";
    files.push(("boxes.csv".to_owned(), table.into_bytes()));
    files.push(("extra.png".to_owned(), png(99, 40)));
    let sealed = server.upload(&id, zip(&files)).await.is(200).json();
    let audit = &sealed["summary"]["audit"]["boxes"];
    for (what, total) in
        [("clipped", 1), ("no_area", 1), ("crowds", 0), ("without_picture", 1), ("without_annotation", 1)]
    {
        assert_eq!(audit[what]["total"], total, "{what}: {audit}");
    }
    assert_eq!(audit["clipped"]["items"][0]["path"], "03.png");
    let page = server.get(&format!("/datasets/{id}")).await.is(200).text();
    for part in ["reach out of their pictures", "have no area", "lost.png", "extra.png", "&lt;smoke&gt;"] {
        assert!(page.contains(part), "{part}:\n{page}");
    }
}

#[tokio::test]
async fn labels_are_classes_unless_said_and_nothing_else() {
    let server = Server::open().await;
    let new = json!({"name": "hill", "kind": "image-classification"});
    assert_eq!(server.post("/v1/datasets", &new).await.is(201).json()["labels"], "classes");
    let odd = json!({"name": "hill", "kind": "image-classification", "labels": "masks"});
    server.post("/v1/datasets", &odd).await.is_problem(400, "invalid_request");
    // The same archive without boxes to read.
    let id = boxed(&server).await;
    let none = zip(&(0..24).map(|i| (format!("{i:02}.png"), png(i + 1, 24))).collect::<Vec<_>>());
    server.upload(&id, none).await.is_problem(422, "invalid_layout");
    server.upload(&id, sample()).await.is(200);
}
