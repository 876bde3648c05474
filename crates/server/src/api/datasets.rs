//! Data sets: made, listed, looked into, deleted.

use axum::Json;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use kindling_data::{DataError, Labels};
use kindling_engine::labels_for;
use kindling_spec::{ErrorCode, Split};
use serde::Deserialize;

use super::Answered;
use crate::request::{JsonBody, Page, Query, after, dataset_id, limit};
use crate::views::{Dataset, ExampleView, List, NewDataset};
use crate::{Problem, app::App, files, idempotency};

pub(crate) async fn create(app: App, headers: HeaderMap, body: JsonBody) -> Answered {
    let new: NewDataset = body.parse()?;
    let service = app.service().clone();
    idempotency::once(&app, "POST /v1/datasets", &headers, &body.0, async move {
        let labels = new.labels.unwrap_or_else(|| labels_for(new.kind));
        let record = service.create_dataset_of(&new.name, new.kind, labels).await?;
        let location = [(header::LOCATION, format!("/v1/datasets/{}", record.id))];
        Ok((StatusCode::CREATED, location, Json(Dataset::from(record))).into_response())
    })
    .await
}

pub(crate) async fn list(app: App, Query(page): Query<Page>) -> Answered {
    let limit = page.limit()?;
    let records = app.meta().datasets(Some(app.project()), page.after()?.as_ref(), limit + 1).await?;
    let list = List::page(records, limit as usize, |record| record.id.to_string());
    Ok(Json(list.map(Dataset::from)).into_response())
}

pub(crate) async fn get(app: App, Path(id): Path<String>) -> Answered {
    let record = app.service().dataset(&dataset_id(&id)?).await?;
    Ok(Json(Dataset::from(record)).into_response())
}

pub(crate) async fn delete(app: App, Path(id): Path<String>) -> Answered {
    app.service().delete_dataset(&dataset_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Which examples.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    pub(crate) class: Option<String>,
    pub(crate) split: Option<String>,
    pub(crate) empty: Option<bool>,
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<u32>,
}

impl Which {
    /// The page of examples asked for, and the `after` of the next.
    pub(crate) fn pick(&self, dataset: &kindling_data::Dataset) -> Result<List<usize>, Problem> {
        let manifest = dataset.manifest();
        let class = match &self.class {
            None => None,
            Some(name) => Some(manifest.classes.iter().position(|c| c == name).ok_or_else(|| {
                let known = manifest.classes.join("`, `");
                let shown: String = name.chars().take(80).collect();
                Problem::request(format!("`class`: the data set has no class `{shown}`; it has `{known}`"))
            })?),
        };
        let split = match &self.split {
            None => None,
            Some(word) => Some(
                Split::from_word(word)
                    .ok_or_else(|| Problem::request("`split` must be `train`, `validation` or `test`"))?,
            ),
        };
        let first = after::<usize>(self.after.as_deref())?.map_or(0, |last| last.saturating_add(1));
        let limit = limit(self.limit)? as usize;
        let boxed = manifest.labels == Labels::Boxes;
        let shows = |example: &kindling_data::Example, class: usize| match boxed {
            true => example.boxes.iter().any(|b| b.class == class),
            false => example.class == class,
        };
        let fits = |(_, example): &(usize, &kindling_data::Example)| {
            class.is_none_or(|c| shows(example, c))
                && split.is_none_or(|s| s == example.split)
                && self.empty.is_none_or(|empty| empty == (boxed && example.boxes.is_empty()))
        };
        let picked = manifest.examples.iter().enumerate().skip(first).filter(fits).take(limit + 1);
        Ok(List::page(picked.map(|(index, _)| index).collect(), limit, ToString::to_string))
    }
}

pub(crate) async fn examples(app: App, Path(id): Path<String>, Query(which): Query<Which>) -> Answered {
    let id = dataset_id(&id)?;
    let dataset = app.service().open_dataset(&id).await?;
    let manifest = dataset.manifest();
    let list = which.pick(&dataset)?;
    let view = |index: usize| ExampleView::new(&id, index, &manifest.examples[index], manifest);
    Ok(Json(list.map(view)).into_response())
}

/// How large a picture is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    size: Option<u32>,
}

pub(crate) async fn image(
    app: App,
    Path((id, number)): Path<(String, String)>,
    Query(Size { size }): Query<Size>,
    headers: HeaderMap,
) -> Answered {
    if let Some(size) = size.filter(|size| !(16..=1024).contains(size)) {
        return Err(Problem::request(format!("`size` must be from 16 to 1024 pixels, not {size}")));
    }
    let id = dataset_id(&id)?;
    let dataset = app.service().open_dataset(&id).await?;
    let examples = &dataset.manifest().examples;
    let found = number.parse::<usize>().ok().and_then(|index| Some((index, examples.get(index)?)));
    let Some((index, example)) = found else {
        let shown: String = number.chars().take(20).collect();
        let detail = format!("there is no example `{shown}`; they are numbered from 0 to {}", examples.len() - 1);
        return Err(Problem::new(ErrorCode::ExampleNotFound, detail));
    };
    let tag = match size {
        None => example.sha256.clone(),
        Some(size) => format!("{}-{size}", example.sha256),
    };
    let mut out = HeaderMap::new();
    out.insert(header::ETAG, HeaderValue::try_from(format!("\"{tag}\"")).map_err(Problem::internal)?);
    out.insert(header::CACHE_CONTROL, files::KEEP);
    // An original is a stranger's file: whatever it is, a browser runs nothing in it.
    out.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    if files::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, out).into_response());
    }
    let _permit = app.decoders().acquire().await.map_err(Problem::internal)?;
    let read = move || match size {
        None => dataset.original(index),
        Some(side) => dataset.thumbnail(index, side),
    };
    let bytes = tokio::task::spawn_blocking(read).await.map_err(Problem::internal)?.map_err(|e: DataError| {
        // Only what was readable is in a sealed data set: what cannot be read now is our fault.
        Problem::internal(e)
    })?;
    let media_type = image::guess_format(&bytes).map_or("application/octet-stream", |f| f.to_mime_type());
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok((out, bytes).into_response())
}
