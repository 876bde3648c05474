//! Answers for one image or for many.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, stream};
use kindling_spec::{ErrorCode, ModelId};
use multer::{Constraints, Multipart, SizeLimit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Answered;
use crate::problem::ProblemBody;
use crate::request::{self, JsonBody, Query, model_id};
use crate::views::Answer;
use crate::{Problem, app::App};

/// Images in one request, at most.
const MOST_IMAGES: usize = 64;
/// Bytes of them together, as a multiple of what one may have.
const MOST_BYTES: usize = 4;
/// Images answered at a time.
const AT_ONCE: usize = 4;

/// What is asked for beside the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    explain: Option<String>,
    class: Option<String>,
    at_least: Option<f32>,
}

impl Wish {
    /// The score that objects must have.
    fn at_least(&self) -> Result<Option<f32>, Problem> {
        match self.at_least {
            Some(score) if !(0.0..=1.0).contains(&score) => {
                Err(Problem::request(format!("`at_least` is a score from 0 to 1, not {score}")))
            }
            score => Ok(score),
        }
    }

    fn heatmap(&self) -> Result<bool, Problem> {
        match (self.explain.as_deref(), &self.class) {
            (Some("heatmap"), _) => Ok(true),
            (None, None) => Ok(false),
            (None, Some(_)) => Err(Problem::request("`class` says what a heat map is of; add `explain=heatmap`")),
            (Some(other), _) => {
                let shown: String = other.chars().take(60).collect();
                Err(Problem::request(format!("`explain` must be `heatmap`, not `{shown}`")))
            }
        }
    }
}

/// Several images as JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Images {
    /// Each file's bytes in base64, 1 to 64 files.
    #[schema(min_items = 1, max_items = 64)]
    images: Vec<String>,
}

/// The answers for several images.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Answers {
    /// One an image, in the order in which they were sent.
    answers: Vec<ImageAnswer>,
}

/// What became of one image of several: an answer or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImageAnswer {
    /// The file's name, where one was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What the model sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Answer>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

/// An image, named or not, or why it was not read.
type Sent = (Option<String>, Result<Bytes, Problem>);

pub(crate) async fn predict(app: App, Path(id): Path<String>, Query(wish): Query<Wish>, request: Request) -> Answered {
    let (id, heatmap, at_least) = (model_id(&id)?, wish.heatmap()?, wish.at_least()?);
    // A model that is not there is said before an upload is waited for.
    app.service().model(&id).await?;
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let media_type = media_type.trim().to_ascii_lowercase();
    let (form, json) = (media_type.starts_with("multipart/"), media_type.starts_with("application/json"));
    if heatmap && (form || json) {
        return Err(Problem::request("a heat map is of one image; send its own bytes as the body"));
    }
    if form || json {
        let sent = if form { parts(&app, request).await? } else { list(&app, request).await? };
        return Ok(Json(answer_all(&app, &id, sent, at_least).await).into_response());
    }
    let config = app.config();
    let image = request::read(request, config.max_image_bytes, config.upload_idle, || too_large(&app)).await?;
    if image.is_empty() {
        return Err(Problem::request("the body is empty; send the image's own bytes"));
    }
    if heatmap {
        let _permit = app.decoders().acquire().await.map_err(Problem::internal)?;
        let png = app.service().explain(&id, &image, wish.class.as_deref()).await?;
        return Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response());
    }
    Ok(Json(answer(&app, &id, &image, at_least).await?).into_response())
}

async fn answer(app: &App, id: &ModelId, image: &[u8], at_least: Option<f32>) -> Result<Answer, Problem> {
    let _permit = app.decoders().acquire().await.map_err(Problem::internal)?;
    Ok(Answer::new(id, app.service().predict(id, image, at_least).await?))
}

/// One that cannot be read does not keep the others from being answered.
async fn answer_all(app: &App, id: &ModelId, sent: Vec<Sent>, at_least: Option<f32>) -> Answers {
    let each = sent.into_iter().map(|(name, image)| async move {
        let answered = match image {
            Ok(image) => answer(app, id, &image, at_least).await,
            Err(problem) => Err(problem),
        };
        match answered {
            Ok(answer) => ImageAnswer { name, answer: Some(answer), problem: None },
            Err(problem) => ImageAnswer { name, answer: None, problem: Some(problem.body(None)) },
        }
    });
    Answers { answers: stream::iter(each).buffered(AT_ONCE).collect().await }
}

/// The files of a form, whatever its fields are called.
async fn parts(app: &App, request: Request) -> Result<Vec<Sent>, Problem> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let boundary = multer::parse_boundary(media_type).map_err(unreadable)?;
    let limit = app.config().max_image_bytes as u64;
    let limits = SizeLimit::new().per_field(limit).whole_stream(limit * MOST_BYTES as u64);
    let (body, idle) = (Body::into_data_stream(request.into_body()), app.config().upload_idle);
    let in_time = stream::unfold(body, move |mut body| async move {
        match tokio::time::timeout(idle, body.next()).await {
            Ok(chunk) => Some((chunk?.map_err(std::io::Error::other), body)),
            Err(late) => Some((Err(late.into()), body)),
        }
    });
    let mut form = Multipart::with_constraints(in_time, boundary, Constraints::new().size_limit(limits));
    let mut sent = Vec::new();
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        if sent.len() == MOST_IMAGES {
            return Err(too_many());
        }
        let name = field.file_name().or(field.name()).map(|name| name.chars().take(200).collect());
        match field.bytes().await {
            Ok(bytes) => sent.push((name, Ok(bytes))),
            // The rest of the form cannot be found without what was too long.
            Err(multer::Error::FieldSizeExceeded { .. }) => return Err(too_large(app)),
            Err(error) => return Err(unreadable(error)),
        }
    }
    some(sent)
}

/// The images of a JSON body.
async fn list(app: &App, request: Request) -> Result<Vec<Sent>, Problem> {
    let limit = app.config().max_image_bytes;
    // Four characters of base64 hold three bytes.
    let body = request::read(request, limit * MOST_BYTES / 3 * 4, app.config().upload_idle, || {
        let most = limit * MOST_BYTES;
        let detail = format!("the images together have more than {most} bytes, the most accepted here");
        Problem::new(ErrorCode::ImageTooLarge, detail)
    });
    let Images { images } = JsonBody(body.await?).parse()?;
    if images.len() > MOST_IMAGES {
        return Err(too_many());
    }
    let decode = |text: String| match STANDARD.decode(text) {
        Ok(bytes) if bytes.len() > limit => Err(too_large(app)),
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(error) => Err(Problem::new(ErrorCode::InvalidImage, format!("not base64: {error}"))),
    };
    some(images.into_iter().map(|text| (None, decode(text))).collect())
}

fn some(sent: Vec<Sent>) -> Result<Vec<Sent>, Problem> {
    if sent.is_empty() {
        return Err(Problem::request(format!("there is no image; send 1 to {MOST_IMAGES}")));
    }
    Ok(sent)
}

fn too_many() -> Problem {
    Problem::request(format!(
        "there are more than {MOST_IMAGES} images, the most in one request; send several requests"
    ))
    .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

fn too_large(app: &App) -> Problem {
    let limit = app.config().max_image_bytes;
    Problem::new(ErrorCode::ImageTooLarge, format!("the image has more than {limit} bytes, the most accepted here"))
}

fn unreadable(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamSizeExceeded { limit } => {
            let detail = format!("the images together have more than {limit} bytes, the most accepted here");
            Problem::new(ErrorCode::ImageTooLarge, detail)
        }
        error => Problem::request(format!(
            "the form cannot be read: {error}. With curl: -F image=@a.jpg -F image=@b.jpg; for one image --data-binary @a.jpg"
        )),
    }
}
