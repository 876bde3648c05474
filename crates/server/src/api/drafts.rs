//! Draft data sets: pictures taken in, labelled, and made a data set.

use axum::Json;
use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use kindling_engine::{Accept, Added, LabelRequest, NewDraft, Suggested};
use kindling_spec::{DraftId, ErrorCode, ModelId};
use kindling_store::{Annotation, DraftBox, DraftCounts, DraftExampleRecord, DraftFilter, DraftRecord, DraftState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Answered;
use super::upload::{Unfinished, check_digest, receive_archive};
use crate::request::{JsonBody, Page, Query, draft_id, limit};
use crate::views::{BoxView, Dataset, List};
use crate::{Problem, app::App, files, idempotency, words};

/// Pictures that one request asks a model about, if it does not say how many, and at most.
const ASKED: u32 = 100;
const MOST_ASKED: u32 = 1000;

/// What `POST /v1/drafts` takes.
#[derive(ToSchema)]
#[schema(as = NewDraft)]
#[expect(dead_code, reason = "it stands for the engine's type in the OpenAPI document")]
pub(crate) struct NewDraftView {
    /// A name for people, 1 to 200 characters; left out, that of the data set it begins from.
    name: Option<String>,
    /// What its labels are; left out, those of the data set it begins from, else classes.
    #[schema(schema_with = words::labels, required = false)]
    labels: Option<String>,
    /// The classes to choose from; more may be added.
    #[schema(required = false)]
    classes: Vec<String>,
    /// The id of the sealed data set whose pictures and labels it begins with.
    from: Option<String>,
}

/// What `PATCH /v1/drafts/{id}` takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DraftClasses {
    /// Classes to add.
    add_classes: Vec<String>,
}

/// A draft data set.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Draft {
    /// Its id.
    id: String,
    /// A name for people.
    name: String,
    /// What its labels are: a class for each picture, or boxes with classes.
    #[schema(schema_with = words::labels)]
    labels: &'static str,
    /// The classes to choose from.
    classes: Vec<String>,
    /// The data set that it began from.
    from: Option<String>,
    /// Pictures in all.
    examples: u64,
    /// Those with a label.
    labelled: u64,
    /// Those left out.
    skipped: u64,
    /// Those nobody has said anything of.
    unlabelled: u64,
    /// Those of them that a model suggests a label for.
    suggested: u64,
    /// When it was made.
    created_at: i64,
    /// When a label last changed.
    updated_at: i64,
}

impl Draft {
    pub(crate) fn new(record: DraftRecord, counts: DraftCounts) -> Self {
        Self {
            id: record.id.into(),
            name: record.name,
            labels: record.labels.as_str(),
            classes: record.classes,
            from: record.parent.map(Into::into),
            examples: counts.examples,
            labelled: counts.labelled,
            skipped: counts.skipped,
            unlabelled: counts.examples - counts.labelled - counts.skipped,
            suggested: counts.suggested,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }
}

/// What came of an upload to a draft.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Added)]
pub(crate) struct AddedView {
    /// Pictures that are new to the draft.
    added: u64,
    /// Pictures that were there already, or twice in the upload.
    copies: u64,
    /// Files that could not be used, at most 1000.
    broken: Vec<BrokenView>,
    /// Files that are no pictures.
    other_files: usize,
}

/// A file that could not be used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Broken)]
pub(crate) struct BrokenView {
    /// Its path in the upload.
    path: String,
    /// Why.
    reason: String,
}

impl From<Added> for AddedView {
    fn from(added: Added) -> Self {
        let broken = |b: kindling_data::Broken| BrokenView { path: b.path, reason: b.reason };
        Self {
            added: added.added,
            copies: added.copies,
            broken: added.broken.into_iter().take(kindling_data::LIST_CAP).map(broken).collect(),
            other_files: added.other_files,
        }
    }
}

/// What is said of a picture: a class, or boxes (none: it shows nothing of the classes).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Said {
    /// The class of the whole picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    /// What is where in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    boxes: Option<Vec<BoxView>>,
}

impl From<Annotation> for Said {
    fn from(annotation: Annotation) -> Self {
        let boxed = |b: DraftBox| BoxView { class: b.class, x: b.x, y: b.y, width: b.width, height: b.height };
        match annotation {
            Annotation::Class(class) => Self { class: Some(class), boxes: None },
            Annotation::Boxes(boxes) => Self { class: None, boxes: Some(boxes.into_iter().map(boxed).collect()) },
        }
    }
}

/// A picture of a draft.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DraftExample {
    /// Its number, from 0.
    index: u32,
    /// Its path in the upload.
    path: String,
    /// Where it stands: `unlabelled`, `labelled` or `skipped`.
    state: &'static str,
    /// What a person says of it; null if nothing.
    label: Option<Said>,
    /// What a model says of it; null if nothing.
    suggestion: Option<Said>,
    /// How unsure the model is, 0 to 1.
    doubt: Option<f64>,
    /// The model that was asked last.
    suggested_by: Option<String>,
    /// Width in pixels, upright.
    width: u32,
    /// Height in pixels, upright.
    height: u32,
    /// Where its file is.
    image: String,
    /// When its label last changed.
    updated_at: i64,
}

impl DraftExample {
    pub(crate) fn new(draft: &DraftId, record: DraftExampleRecord) -> Self {
        Self {
            image: format!("/v1/drafts/{draft}/examples/{}/image", record.number),
            index: record.number,
            path: record.path,
            state: record.state.as_str(),
            label: record.label.map(Said::from),
            suggestion: record.suggestion.map(Said::from),
            doubt: record.doubt,
            suggested_by: record.suggested_by.map(Into::into),
            width: record.width,
            height: record.height,
            updated_at: record.updated_at,
        }
    }
}

/// What `PATCH` of a picture takes: exactly one of these.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it stands for the engine's type in the OpenAPI document")]
pub(crate) struct Label {
    /// The class of the whole picture.
    class: Option<String>,
    /// What is where in it; none says that it shows nothing of the classes.
    boxes: Option<Vec<BoxView>>,
    /// It is to be left out.
    #[schema(required = false)]
    skip: bool,
    /// What was said is taken back.
    #[schema(required = false)]
    clear: bool,
}

/// What `POST /v1/drafts/{id}/suggestions` takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuggestFrom {
    /// The model's id.
    #[schema(value_type = String)]
    model: ModelId,
    /// Pictures to ask it about now, at most 1000; 100 when left out.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// How far a model is with its suggestions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Suggested)]
pub(crate) struct SuggestedView {
    /// Pictures that it was asked about this time.
    asked: u64,
    /// Pictures without a label that it was not asked about yet.
    remaining: u64,
}

/// What `POST /v1/drafts/{id}/accept` takes. Of several conditions all hold; one must be given.
#[derive(ToSchema)]
#[schema(as = Accept)]
#[expect(dead_code, reason = "it stands for the engine's type in the OpenAPI document")]
pub(crate) struct AcceptView {
    /// Only these pictures.
    examples: Option<Vec<u32>>,
    /// Only where the model's doubt is at most this, 0 to 1.
    at_most_doubt: Option<f64>,
}

/// The pictures whose suggestion became their label.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Their numbers.
    accepted: Vec<u32>,
}

/// What `POST /v1/drafts/{id}/seal` takes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seal {
    /// The data set's name; left out, the draft's.
    #[serde(default)]
    name: Option<String>,
}

async fn view(app: &App, id: &DraftId) -> Result<Draft, Problem> {
    let (record, counts) = app.service().draft(id).await?;
    Ok(Draft::new(record, counts))
}

pub(crate) async fn create(app: App, headers: HeaderMap, body: JsonBody) -> Answered {
    let new: NewDraft = body.parse()?;
    let own = app.clone();
    idempotency::once(&app, "POST /v1/drafts", &headers, &body.0, async move {
        let record = own.service().create_draft(&new).await?;
        let location = [(header::LOCATION, format!("/v1/drafts/{}", record.id))];
        Ok((StatusCode::CREATED, location, Json(view(&own, &record.id).await?)).into_response())
    })
    .await
}

pub(crate) async fn list(app: App, Query(page): Query<Page>) -> Answered {
    let limit = page.limit()?;
    let records = app.meta().drafts(Some(app.project()), page.after()?.as_ref(), limit + 1).await?;
    let list = List::page(records, limit as usize, |record| record.id.to_string());
    let mut items = Vec::new();
    for record in list.items {
        let counts = app.meta().draft_counts(&record.id).await?;
        items.push(Draft::new(record, counts));
    }
    Ok(Json(List { items, next: list.next }).into_response())
}

pub(crate) async fn get(app: App, Path(id): Path<String>) -> Answered {
    Ok(Json(view(&app, &draft_id(&id)?).await?).into_response())
}

pub(crate) async fn change(app: App, Path(id): Path<String>, body: JsonBody) -> Answered {
    let (id, wanted) = (draft_id(&id)?, body.parse::<DraftClasses>()?);
    app.service().add_draft_classes(&id, &wanted.add_classes).await?;
    Ok(Json(view(&app, &id).await?).into_response())
}

pub(crate) async fn delete(app: App, Path(id): Path<String>) -> Answered {
    app.service().delete_draft(&draft_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What a lone picture is called.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    name: Option<String>,
}

pub(crate) async fn add_pictures(
    app: App,
    Path(id): Path<String>,
    Query(Named { name }): Query<Named>,
    request: Request,
) -> Answered {
    let id = draft_id(&id)?;
    // A draft that is not there is said before an upload is waited for.
    app.service().draft(&id).await?;
    let name = name.unwrap_or_else(|| "picture".to_owned());
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Problem::request("`name` must have 1 to 200 characters"));
    }
    let headers = request.headers().clone();
    let path = app.service().draft_upload_path();
    let unfinished = Unfinished(Some(path.clone()));
    let hash = receive_archive(&app, request, &path).await?;
    check_digest(&headers, &hash)?;
    let (path, service) = (unfinished.hand_over(), app.service().clone());
    // On a task of its own: a client who hangs up now has delivered everything.
    let added = tokio::spawn(async move { service.add_pictures(&id, &path, &name).await });
    let added = added.await.map_err(Problem::internal)??;
    Ok(Json(AddedView::from(added)).into_response())
}

/// Which pictures, in which order.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    state: Option<String>,
    order: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

pub(crate) async fn examples(app: App, Path(id): Path<String>, Query(which): Query<Which>) -> Answered {
    let id = draft_id(&id)?;
    app.service().draft(&id).await?;
    let state = which.state.as_deref().map(|word| {
        DraftState::from_word(word)
            .ok_or_else(|| Problem::request("`state` must be `unlabelled`, `labelled` or `skipped`"))
    });
    let doubtful_first = match which.order.as_deref() {
        None | Some("number") => false,
        Some("doubt") => true,
        Some(_) => return Err(Problem::request("`order` must be `number` or `doubt`")),
    };
    let filter = DraftFilter { state: state.transpose()?, doubtful_first, ..DraftFilter::default() };
    let limit = limit(which.limit)?;
    let after = crate::request::after::<u32>(which.after.as_deref())?;
    let records = app.meta().draft_examples(&id, &filter, after, limit + 1).await?;
    let list = List::page(records, limit as usize, |record| record.number.to_string());
    Ok(Json(list.map(|record| DraftExample::new(&id, record))).into_response())
}

async fn find(app: &App, id: &str, number: &str) -> Result<(DraftId, DraftExampleRecord), Problem> {
    let id = draft_id(id)?;
    let (_, counts) = app.service().draft(&id).await?;
    let none = || {
        let shown: String = number.chars().take(20).collect();
        let detail = match counts.examples {
            0 => format!("there is no example `{shown}`; the draft has no pictures yet"),
            all => format!("there is no example `{shown}`; they are numbered from 0 to {}", all - 1),
        };
        Problem::new(ErrorCode::ExampleNotFound, detail)
    };
    let number = number.parse::<u32>().ok().filter(|n| u64::from(*n) < counts.examples).ok_or_else(none)?;
    let record = app.meta().draft_example(&id, number).await?;
    Ok((id, record))
}

pub(crate) async fn example(app: App, Path((id, number)): Path<(String, String)>) -> Answered {
    let (id, record) = find(&app, &id, &number).await?;
    Ok(Json(DraftExample::new(&id, record)).into_response())
}

pub(crate) async fn label(app: App, Path((id, number)): Path<(String, String)>, body: JsonBody) -> Answered {
    let (id, before) = find(&app, &id, &number).await?;
    let wanted: LabelRequest = body.parse()?;
    let saved = app.service().label_example(&id, before.number, &wanted).await?;
    Ok(Json(DraftExample::new(&id, saved)).into_response())
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
    if let Some(size) = size.filter(|size| !(16..=2048).contains(size)) {
        return Err(Problem::request(format!("`size` must be from 16 to 2048 pixels, not {size}")));
    }
    let (_, record) = find(&app, &id, &number).await?;
    let tag = match size {
        None => record.sha256.clone(),
        Some(size) => format!("{}-{size}", record.sha256),
    };
    let mut out = HeaderMap::new();
    out.insert(header::ETAG, HeaderValue::try_from(format!("\"{tag}\"")).map_err(Problem::internal)?);
    out.insert(header::CACHE_CONTROL, files::KEEP);
    // An original is a stranger's file: whatever it is, a browser runs nothing in it.
    out.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    if files::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, out).into_response());
    }
    let bytes = match size {
        None => app.service().draft_picture(&record).await?,
        Some(side) => {
            let _permit = app.decoders().acquire().await.map_err(Problem::internal)?;
            app.service().draft_thumbnail(&record, side).await.map_err(Problem::internal)?
        }
    };
    let media_type = image::guess_format(&bytes).map_or("application/octet-stream", |f| f.to_mime_type());
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok((out, bytes).into_response())
}

pub(crate) async fn suggest(app: App, Path(id): Path<String>, body: JsonBody) -> Answered {
    let (id, wanted) = (draft_id(&id)?, body.parse::<SuggestFrom>()?);
    let most = wanted.limit.unwrap_or(ASKED);
    if !(1..=MOST_ASKED).contains(&most) {
        return Err(Problem::request(format!("`limit` must be from 1 to {MOST_ASKED}, not {most}")));
    }
    let Suggested { asked, remaining } = app.service().suggest(&id, &wanted.model, most).await?;
    Ok(Json(SuggestedView { asked, remaining }).into_response())
}

pub(crate) async fn accept(app: App, Path(id): Path<String>, body: JsonBody) -> Answered {
    let (id, wanted) = (draft_id(&id)?, body.parse::<Accept>()?);
    let accepted = app.service().accept_suggestions(&id, &wanted).await?;
    Ok(Json(Accepted { accepted }).into_response())
}

pub(crate) async fn seal(app: App, Path(id): Path<String>, headers: HeaderMap, body: JsonBody) -> Answered {
    let (id, wanted) = (draft_id(&id)?, body.parse_or_default::<Seal>()?);
    let service = app.service().clone();
    let scope = format!("POST /v1/drafts/{id}/seal");
    idempotency::once(&app, &scope, &headers, &body.0, async move {
        let record = service.seal_draft(&id, wanted.name.as_deref()).await?;
        let location = [(header::LOCATION, format!("/v1/datasets/{}", record.id))];
        Ok((StatusCode::CREATED, location, Json(Dataset::from(record))).into_response())
    })
    .await
}
