//! The table of all routes: address, handler and description side by side.

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use kindling_spec::{ErrorCode as E, FleetSpec, Scope, TaskSpec};
use tower_http::catch_panic::CatchPanicLayer;

use crate::api::advice::{AdviceOptionsView, TaskAdvice};
use crate::api::doubts::{Analysis, DoubtOptionsView, Doubts, Relabel};
use crate::api::drafts::{
    AcceptView, Accepted, AddedView, Draft, DraftClasses, DraftExample, Label, NewDraftView, Seal, SuggestFrom,
    SuggestedView,
};
use crate::api::predict::{Answers, Images};
use crate::api::uploads::{NewUpload, Upload, UploadPart};
use crate::api::webhooks::{NewWebhook, Webhook, WebhookDeliveries, Webhooks};
use crate::app::Host;
use crate::middleware::{RouteName, around, guard, panicked};
use crate::openapi::{self, Op, op};
use crate::views::{
    Answer, Dataset, ExampleView, FileView, Fleet, FleetReport, LeaderboardItem, MistakeView, MoreBudget, NewDataset,
    Task, TaskWithProgress, Trial,
};
use crate::{Problem, api, metrics, pages};

/// One line of the table.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    handler: MethodRouter<Host>,
    pub(crate) op: Op,
}

fn route<H, T>(method: Method, filter: MethodFilter, path: &'static str, handler: H, op: Op) -> Route
where
    H: Handler<T, Host>,
    T: 'static,
{
    Route { method, path, handler: on(filter, handler), op }
}

macro_rules! verbs {
    ($($name:ident: $method:ident),+ $(,)?) => {
        $(fn $name<H: Handler<T, Host>, T: 'static>(path: &'static str, handler: H, op: Op) -> Route {
            route(Method::$method, MethodFilter::$method, path, handler, op)
        })+
    };
}

verbs!(get: GET, post: POST, put: PUT, patch: PATCH, delete: DELETE);

/// Every route there is. GET answers HEAD too.
pub(crate) fn table() -> Vec<Route> {
    [datasets(), uploads(), doubts(), drafts(), tasks(), fleets(), models(), webhooks(), service(), page_routes()]
        .into_iter()
        .flatten()
        .collect()
}

fn datasets() -> Vec<Route> {
    use api::datasets as d;
    let o = |id, summary| op("datasets", id, summary);
    vec![
        post(
            "/v1/datasets",
            d::create,
            o("createDataset", "Makes a data set without content.")
                .takes::<NewDataset>()
                .once()
                .gives::<Dataset>(201, "Made; Location says where."),
        ),
        get(
            "/v1/datasets",
            d::list,
            o("listDatasets", "Data sets, newest first.").paged().lists::<Dataset>("A page of data sets."),
        ),
        get(
            "/v1/datasets/{id}",
            d::get,
            o("getDataset", "State, classes, counts by split and audit.")
                .gives::<Dataset>(200, "The data set.")
                .problems(&[E::DatasetNotFound]),
        ),
        delete(
            "/v1/datasets/{id}",
            d::delete,
            o("deleteDataset", "Deletes a data set that no task uses.").gives_nothing(204, "It is gone.").problems(&[
                E::DatasetNotFound,
                E::DatasetInUse,
                E::DatasetNotReady,
            ]),
        ),
        put(
            "/v1/datasets/{id}/content",
            api::upload::put,
            o("uploadContent", "Takes an archive of pictures, reads it and seals the data set.")
                .about(
                    "The body is a zip, tar or tar.gz with a folder for each class (optionally inside train, \
                     validation and test folders), or with a labels.csv (path,label[,split]). For a data set whose \
                     labels are boxes it holds annotations instead: COCO's JSON, Pascal VOC's XML, YOLO's texts or a \
                     boxes.csv (path,label,x_min,y_min,x_max,y_max[,split]). It is streamed to disk. The answer comes when it was read and audited; with `Prefer: respond-async` at once.",
                )
                .header("Content-Digest", "`sha-256=:…:` (RFC 9530); compared with what arrives.")
                .header("x-content-sha256", "The same in hexadecimal.")
                .header("Prefer", "`respond-async`: answer 202 while the archive is being read.")
                .takes_bytes("application/octet-stream")
                .gives::<Dataset>(200, "Sealed.")
                .gives::<Dataset>(202, "Being read; ask for the data set until its state is `ready` or `refused`.")
                .problems(&[
                    E::QuotaExceeded,
                    E::InvalidRequest,
                    E::DatasetNotFound,
                    E::DatasetSealed,
                    E::DatasetNotReady,
                    E::InvalidArchive,
                    E::UnsafePath,
                    E::NestedArchive,
                    E::ArchiveTooLarge,
                    E::InvalidLayout,
                    E::TooFewExamples,
                ]),
        ),
        get(
            "/v1/datasets/{id}/examples",
            d::examples,
            o("listExamples", "Its pictures, by class and split.")
                .query("class", "Only this class; where the labels are boxes, pictures with a box of it.")
                .query("split", "Only `train`, `validation` or `test`.")
                .query("empty", "`true`: only pictures without boxes; `false`: only others.")
                .paged()
                .lists::<ExampleView>("A page of examples.")
                .problems(&[E::DatasetNotFound, E::DatasetNotReady]),
        ),
        get(
            "/v1/datasets/{id}/examples/{number}/image",
            d::image,
            o("getExampleImage", "A picture as it was uploaded, or small.")
                .query("size", "A JPEG whose longer side is at most this many pixels, 16 to 1024.")
                .header("If-None-Match", "Entity tags known.")
                .gives_bytes(200, "image/*", "The picture.")
                .gives_nothing(304, "Known.")
                .problems(&[E::InvalidRequest, E::DatasetNotFound, E::DatasetNotReady, E::ExampleNotFound]),
        ),
    ]
}

fn webhooks() -> Vec<Route> {
    use api::webhooks as w;
    let o = |id, summary| op("webhooks", id, summary);
    vec![
        post(
            "/v1/webhooks",
            w::create,
            o("createWebhook", "Has an address told of each change of a study's state and each model.")
                .about(
                    "Messages are posted as JSON `{type, task, id, at, data}`, those of the event stream, and signed as \
                     Standard Webhooks says (`webhook-id`, `webhook-timestamp`, `webhook-signature` by HMAC-SHA256 of \
                     `id.timestamp.body`). Refuse what is older than five minutes or was not signed with the secret. Any \
                     answer of 2xx is a receipt; without one it is tried again for a day and a half with the same id, unless \
                     the answer is 410.",
                )
                .takes::<NewWebhook>()
                .once()
                .gives::<Webhook>(201, "Made; `secret` is told this once.")
                .problems(&[E::InvalidRequest]),
        ),
        get("/v1/webhooks", w::list, o("listWebhooks", "Every webhook.").gives::<Webhooks>(200, "They.")),
        get(
            "/v1/webhooks/{id}",
            w::get,
            o("getWebhook", "One webhook.").gives::<Webhook>(200, "It.").problems(&[E::WebhookNotFound]),
        ),
        get(
            "/v1/webhooks/{id}/deliveries",
            w::deliveries,
            o("listDeliveries", "What was told last, and what went wrong.")
                .gives::<WebhookDeliveries>(200, "The last hundred, newest first.")
                .problems(&[E::WebhookNotFound]),
        ),
        delete(
            "/v1/webhooks/{id}",
            w::delete,
            o("deleteWebhook", "Removes a webhook and what was to be told to it.")
                .gives_nothing(204, "It is gone.")
                .problems(&[E::WebhookNotFound]),
        ),
    ]
}

fn uploads() -> Vec<Route> {
    use api::uploads as u;
    let o = |id, summary| op("uploads", id, summary);
    vec![
        post(
            "/v1/uploads",
            u::begin,
            o("beginUpload", "Begins an upload in parts, for archives of many gigabytes and connections that break.")
                .about(
                    "Parts are sent in any order, several at a time; what was received stays when a connection breaks. \
                     GET tells which parts are here. An upload that is not completed is dropped after a week, or after the days that the service was told.",
                )
                .takes::<NewUpload>()
                .once()
                .gives::<Upload>(201, "Begun; Location says where.")
                .problems(&[
                    E::QuotaExceeded,
                    E::InvalidRequest,
                    E::DatasetNotFound,
                    E::DatasetSealed,
                    E::DatasetNotReady,
                ]),
        ),
        get(
            "/v1/uploads/{id}",
            u::get,
            o("getUpload", "Which parts are here.").gives::<Upload>(200, "The upload.").problems(&[E::UploadNotFound]),
        ),
        put(
            "/v1/uploads/{id}/parts/{number}",
            u::put_part,
            o("uploadPart", "Takes a part, in place of one of its number.")
                .header("Content-Digest", "`sha-256=:…:` (RFC 9530); compared with what arrives.")
                .header("x-content-sha256", "The same in hexadecimal.")
                .takes_bytes("application/octet-stream")
                .gives::<UploadPart>(200, "It is here.")
                .problems(&[E::InvalidRequest, E::UploadNotFound, E::InvalidArchive]),
        ),
        post(
            "/v1/uploads/{id}/complete",
            u::complete,
            o("completeUpload", "Joins the parts, reads the archive and seals the data set.")
                .header("Prefer", "`respond-async`: answer 202 while the archive is being read.")
                .gives::<Dataset>(200, "Sealed; the upload is gone.")
                .gives::<Dataset>(202, "Being read; ask for the data set until its state is `ready` or `refused`.")
                .problems(&[
                    E::QuotaExceeded,
                    E::UploadNotFound,
                    E::UploadIncomplete,
                    E::DatasetNotFound,
                    E::DatasetSealed,
                    E::DatasetNotReady,
                    E::InvalidArchive,
                    E::UnsafePath,
                    E::NestedArchive,
                    E::ArchiveTooLarge,
                    E::InvalidLayout,
                    E::TooFewExamples,
                ]),
        ),
        delete(
            "/v1/uploads/{id}",
            u::give_up,
            o("giveUpUpload", "Drops an upload and its parts.")
                .gives_nothing(204, "It is gone.")
                .problems(&[E::UploadNotFound]),
        ),
    ]
}

fn doubts() -> Vec<Route> {
    use api::doubts as d;
    let o = |id, summary| op("datasets", id, summary);
    vec![
        post(
            "/v1/datasets/{id}/doubts",
            d::start,
            o("searchDoubts", "Looks for labels that are probably wrong, in the background.")
                .about(
                    "Small networks are trained, each on a part of the examples, and asked about the rest; their \
                     answers are held against the labels (confident learning).",
                )
                .takes::<DoubtOptionsView>()
                .once()
                .gives::<Analysis>(202, "Asked for; Location says where it will be found.")
                .problems(&[E::InvalidRequest, E::DatasetNotFound, E::DatasetNotReady, E::AnalysisBusy]),
        ),
        get(
            "/v1/datasets/{id}/doubts",
            d::list,
            o("listDoubts", "How the newest search stands, and the labels that are probably wrong.")
                .paged()
                .gives::<Doubts>(200, "The search and a page of doubtful labels, the most doubtful first.")
                .problems(&[E::DatasetNotFound, E::AnalysisNotFound]),
        ),
        post(
            "/v1/datasets/{id}/relabel",
            d::relabel,
            o("relabelDataset", "Makes a new version with some labels changed and some examples left out.")
                .about(
                    "The data set stays as it is. In the new version every other example is what it was and on the \
                     same side of the split; `summary.parent` names the old one.",
                )
                .takes::<Relabel>()
                .once()
                .gives::<Dataset>(201, "Made and ready; Location says where.")
                .problems(&[
                    E::QuotaExceeded,
                    E::InvalidRequest,
                    E::DatasetNotFound,
                    E::DatasetNotReady,
                    E::ExampleNotFound,
                    E::TooFewExamples,
                ]),
        ),
    ]
}

fn drafts() -> Vec<Route> {
    use api::drafts as d;
    let o = |id, summary| op("drafts", id, summary);
    vec![
        post(
            "/v1/drafts",
            d::create,
            o("createDraft", "Makes a draft data set: pictures to be labelled.")
                .about(
                    "It begins empty, or `from` a sealed data set with that one's pictures, labels and sides of the split. \
                     A data set never changes; a draft is what is changed until it is sealed as a new one.",
                )
                .takes::<NewDraftView>()
                .once()
                .gives::<Draft>(201, "Made; Location says where.")
                .problems(&[E::QuotaExceeded, E::InvalidRequest, E::DatasetNotFound, E::DatasetNotReady]),
        ),
        get("/v1/drafts", d::list, o("listDrafts", "Drafts, newest first.").paged().lists::<Draft>("A page of drafts.")),
        get(
            "/v1/drafts/{id}",
            d::get,
            o("getDraft", "Classes, and how far the labelling is.")
                .gives::<Draft>(200, "The draft.")
                .problems(&[E::DraftNotFound]),
        ),
        patch(
            "/v1/drafts/{id}",
            d::change,
            o("addDraftClasses", "Adds classes to choose from.")
                .takes::<DraftClasses>()
                .gives::<Draft>(200, "As it is now.")
                .problems(&[E::DraftNotFound]),
        ),
        delete(
            "/v1/drafts/{id}",
            d::delete,
            o("deleteDraft", "Deletes a draft; data sets made of it stay.")
                .gives_nothing(204, "It is gone.")
                .problems(&[E::DraftNotFound]),
        ),
        post(
            "/v1/drafts/{id}/pictures",
            d::add_pictures,
            o("addPictures", "Takes an archive of pictures, or one picture.")
                .about(
                    "The body is a zip, tar or tar.gz, whose folders and annotations say nothing here, or a picture's own \
                     bytes. What the draft has already is left out. The answer comes when every picture was decoded.",
                )
                .query("name", "What a lone picture is called.")
                .header("Content-Digest", "`sha-256=:…:` (RFC 9530); compared with what arrives.")
                .header("x-content-sha256", "The same in hexadecimal.")
                .takes_bytes("application/octet-stream")
                .gives::<AddedView>(200, "What was added.")
                .problems(&[
                    E::QuotaExceeded,
                    E::InvalidRequest,
                    E::DraftNotFound,
                    E::InvalidArchive,
                    E::UnsafePath,
                    E::NestedArchive,
                    E::ArchiveTooLarge,
                    E::InvalidImage,
                    E::ImageTooLarge,
                ]),
        ),
        get(
            "/v1/drafts/{id}/examples",
            d::examples,
            o("listDraftExamples", "Its pictures, with what a person and a model say of them.")
                .query("state", "Only `unlabelled`, `labelled` or `skipped`.")
                .query("order", "`number`, or `doubt`: what a model is most unsure of first.")
                .paged()
                .lists::<DraftExample>("A page of pictures.")
                .problems(&[E::DraftNotFound]),
        ),
        get(
            "/v1/drafts/{id}/examples/{number}",
            d::example,
            o("getDraftExample", "One picture.")
                .gives::<DraftExample>(200, "The picture.")
                .problems(&[E::DraftNotFound, E::ExampleNotFound]),
        ),
        patch(
            "/v1/drafts/{id}/examples/{number}",
            d::label,
            o("labelDraftExample", "Keeps what a person says of a picture, in place of what was said before.")
                .about("It is on disk when the answer comes. Of two who label the same picture the last is kept.")
                .takes::<Label>()
                .gives::<DraftExample>(200, "Kept.")
                .problems(&[E::DraftNotFound, E::ExampleNotFound]),
        ),
        get(
            "/v1/drafts/{id}/examples/{number}/image",
            d::image,
            o("getDraftImage", "A picture as it was uploaded, or small.")
                .query("size", "A JPEG whose longer side is at most this many pixels, 16 to 2048.")
                .header("If-None-Match", "Entity tags known.")
                .gives_bytes(200, "image/*", "The picture.")
                .gives_nothing(304, "Known.")
                .problems(&[E::InvalidRequest, E::DraftNotFound, E::ExampleNotFound]),
        ),
        post(
            "/v1/drafts/{id}/suggestions",
            d::suggest,
            o("suggestLabels", "Asks a model about pictures without a label.")
                .about(
                    "Up to `limit` pictures that it was not asked about before are answered; ask again while `remaining` is \
                     not 0. Its answers are no labels until they are accepted.",
                )
                .takes::<SuggestFrom>()
                .gives::<SuggestedView>(200, "How far it is.")
                .problems(&[E::DraftNotFound, E::ModelNotFound]),
        ),
        post(
            "/v1/drafts/{id}/accept",
            d::accept,
            o("acceptSuggestions", "Makes suggestions labels, of pictures that have none.")
                .takes::<AcceptView>()
                .gives::<Accepted>(200, "The pictures labelled by it.")
                .problems(&[E::DraftNotFound]),
        ),
        post(
            "/v1/drafts/{id}/seal",
            d::seal,
            o("sealDraft", "Makes a data set of the labelled pictures.")
                .about(
                    "They are read, audited and divided as an upload's are; what has no label or is skipped is left out. The \
                     draft stays, to be gone on with.",
                )
                .takes::<Seal>()
                .once()
                .gives::<Dataset>(201, "Made and ready; Location says where.")
                .problems(&[E::QuotaExceeded, E::DraftNotFound, E::InvalidLayout, E::TooFewExamples]),
        ),
    ]
}

fn tasks() -> Vec<Route> {
    use api::tasks as t;
    let o = |id, summary| op("tasks", id, summary);
    vec![
        post(
            "/v1/tasks",
            t::create,
            o("createTask", "Posts a task; its study starts at once.")
                .takes_named("TaskSpec")
                .once()
                .gives::<TaskWithProgress>(201, "Posted; Location says where.")
                .problems(&[
                    E::QuotaExceeded,
                    E::InvalidSpec,
                    E::DatasetNotFound,
                    E::DatasetNotReady,
                    E::LimitsTooTight,
                ]),
        ),
        get("/v1/tasks", t::list, o("listTasks", "Tasks, newest first.").paged().lists::<Task>("A page of tasks.")),
        get(
            "/v1/tasks/{id}",
            t::get,
            o("getTask", "State, progress and the best model so far.")
                .gives::<TaskWithProgress>(200, "The task.")
                .problems(&[E::TaskNotFound]),
        ),
        delete(
            "/v1/tasks/{id}",
            t::delete,
            o("deleteTask", "Deletes a task that is over, with its trials, models and their files.")
                .gives_nothing(204, "It is gone.")
                .problems(&[E::TaskNotFound, E::TaskState]),
        ),
        post(
            "/v1/tasks/{id}/cancel",
            t::cancel,
            o("cancelTask", "Stops the study; what was found is kept.")
                .once()
                .gives::<TaskWithProgress>(200, "Cancelled.")
                .problems(&[E::TaskNotFound, E::TaskState]),
        ),
        post(
            "/v1/tasks/{id}/resume",
            t::resume,
            o("resumeTask", "Goes on with a study that is over, with more budget.")
                .takes::<MoreBudget>()
                .once()
                .gives::<TaskWithProgress>(200, "It goes on.")
                .problems(&[E::QuotaExceeded, E::TaskNotFound, E::TaskState]),
        ),
        get(
            "/v1/tasks/{id}/trials",
            t::trials,
            o("listTrials", "Its trials, by number.")
                .paged()
                .lists::<Trial>("A page of trials.")
                .problems(&[E::TaskNotFound]),
        ),
        get(
            "/v1/tasks/{id}/leaderboard",
            t::leaderboard,
            o("getLeaderboard", "Its models, the best first.")
                .paged()
                .lists::<LeaderboardItem>("A page of models.")
                .problems(&[E::TaskNotFound]),
        ),
        post(
            "/v1/tasks/{id}/advice",
            api::advice::start,
            o("seekAdvice", "Measures what would make the models better, in the background.")
                .about(
                    "The study's best network is trained on parts of the examples and its error is followed to twice \
                     as many; size and time are read off the study's own trials.",
                )
                .takes::<AdviceOptionsView>()
                .once()
                .gives::<Analysis>(202, "Asked for; Location says where it will be found.")
                .problems(&[E::InvalidRequest, E::TaskNotFound, E::TaskState, E::AnalysisBusy]),
        ),
        get(
            "/v1/tasks/{id}/advice",
            api::advice::get,
            o("getAdvice", "What would help most: more examples, a larger limit, or more time.")
                .gives::<TaskAdvice>(200, "How the newest measurement stands, and what it found.")
                .problems(&[E::TaskNotFound, E::AnalysisNotFound]),
        ),
        get(
            "/v1/tasks/{id}/events",
            api::events::stream_of,
            o("followTask", "What happens, as it happens (server-sent events).")
                .about(
                    "Events `task`, `trial`, `rung` and `model` with rising ids; after the task is over and all \
                     was told, an event `end` without an id, and the stream closes.",
                )
                .header("Last-Event-ID", "Go on after this event.")
                .query("after", "The same for clients that cannot set headers.")
                .gives_bytes(200, "text/event-stream", "The events.")
                .problems(&[E::InvalidRequest, E::TaskNotFound]),
        ),
    ]
}

fn fleets() -> Vec<Route> {
    use api::fleets as f;
    let o = |id, summary| op("fleets", id, summary);
    vec![
        post(
            "/v1/fleets",
            f::create,
            o("createFleet", "Posts a fleet: a small model for each class, beside one model for all.")
                .about(
                    "Each class's specialist and the single model have a task of their own, with a study as any task's. \
                     They run one after another on the same decoded data, the single model's first, and share the \
                     budget evenly.",
                )
                .takes_named("FleetSpec")
                .once()
                .gives::<Fleet>(201, "Posted; Location says where.")
                .problems(&[E::QuotaExceeded, E::InvalidSpec, E::DatasetNotFound, E::DatasetNotReady, E::LimitsTooTight]),
        ),
        get(
            "/v1/fleets",
            f::list,
            o("listFleets", "Fleets, newest first.").paged().lists::<Fleet>("A page of fleets."),
        ),
        get(
            "/v1/fleets/{id}",
            f::get,
            o("getFleet", "State, tasks and their best models so far.")
                .gives::<Fleet>(200, "The fleet.")
                .problems(&[E::FleetNotFound]),
        ),
        delete(
            "/v1/fleets/{id}",
            f::delete,
            o("deleteFleet", "Deletes a fleet that is over, with its tasks and their models.")
                .gives_nothing(204, "It is gone.")
                .problems(&[E::FleetNotFound, E::FleetState]),
        ),
        post(
            "/v1/fleets/{id}/cancel",
            f::cancel,
            o("cancelFleet", "Stops its studies; what was found is kept.")
                .once()
                .gives::<Fleet>(200, "Cancelled.")
                .problems(&[E::FleetNotFound, E::FleetState]),
        ),
        get(
            "/v1/fleets/{id}/report",
            f::report,
            o("getFleetReport", "Each specialist against the single model on its own class.")
                .about(
                    "Computed from the released models' answers on the same test examples: recall at the precision of \
                     the objective, average precision, weight bytes, multiply-accumulates and latency, with 95% \
                     intervals. What has no model yet is null.",
                )
                .gives::<FleetReport>(200, "The report as far as there are models.")
                .problems(&[E::FleetNotFound]),
        ),
        get(
            "/v1/fleets/{id}/bundle.zip",
            f::bundle,
            ranged(o("getFleetBundle", "All specialists' files, a router that runs them together, and the report."))
                .problems(&[E::FleetNotFound, E::FleetState, E::RangeNotSatisfiable]),
        ),
    ]
}

/// What handing out a file in parts means.
fn ranged(op: Op) -> Op {
    op.header("Range", "A byte range.")
        .header("If-None-Match", "Entity tags known.")
        .gives_bytes(200, "application/octet-stream", "The file; ETag is a SHA-256.")
        .gives_bytes(206, "application/octet-stream", "The part asked for.")
        .gives_nothing(304, "Known.")
}

fn models() -> Vec<Route> {
    use api::models as m;
    let o = |id, summary| op("models", id, summary);
    vec![
        get(
            "/v1/models/{id}",
            m::card,
            o("getModel", "The model card.")
                .gives_bytes(200, "application/json", "Task, data, figures with intervals, cost, checks.")
                .problems(&[E::ModelNotFound]),
        ),
        delete(
            "/v1/models/{id}",
            m::delete,
            o("deleteModel", "Deletes a model of a task that is over, with its files.")
                .gives_nothing(204, "It is gone.")
                .problems(&[E::ModelNotFound, E::TaskState]),
        ),
        get(
            "/v1/models/{id}/files",
            m::list_files,
            o("listFiles", "Its files.").paged().lists::<FileView>("A page of files.").problems(&[E::ModelNotFound]),
        ),
        post(
            "/v1/models/{id}/files",
            m::make_files,
            o("makeFiles", "Makes all its files.")
                .about(
                    "What is of 8 bits or source code is made when a study is over, for the models that it picks; this makes it \
                     for any model, in seconds. What is there already stays as it is.",
                )
                .gives_bytes(200, "application/json", "The card, which lists all files.")
                .problems(&[E::QuotaExceeded, E::ModelNotFound]),
        ),
        get(
            "/v1/models/{id}/files/{name}",
            m::file,
            ranged(o("getFile", "One file.")).problems(&[E::ModelNotFound, E::FileNotFound, E::RangeNotSatisfiable]),
        ),
        get(
            "/v1/models/{id}/bundle.zip",
            api::bundle::zip,
            ranged(o("getBundle", "All files in one zip, the same bytes each time."))
                .problems(&[E::ModelNotFound, E::RangeNotSatisfiable]),
        ),
        post(
            "/v1/models/{id}/predict",
            api::predict::predict,
            o("predict", "What the model sees in an image.")
                .scope(Scope::Read)
                .about(
                    "The body is the file's own bytes: PNG, JPEG, WebP, BMP or TIFF. Up to 64 images come as the files of a form, or \
                     in base64 in JSON, and are answered one by one: an image that cannot be read has a problem in the place of \
                     its answer. With `explain=heatmap` and one image the answer is a picture.",
                )
                .query("explain", "`heatmap`: paint over what speaks for the class (Grad-CAM).")
                .query("class", "The class that the heat map is of; the likeliest if not said.")
                .query("at_least", "Of models that find objects: the least score, 0 to 1; that on the card if not said.")
                .takes_bytes("image/*")
                .or_takes_bytes("multipart/form-data")
                .or_takes::<Images>()
                .gives_either::<Answer, Answers>(200, "The classes' probabilities or the objects, for one image or several.")
                .or_gives_bytes(200, "image/png", "The image with the heat map over it.")
                .problems(&[E::InvalidRequest, E::ModelNotFound, E::InvalidImage, E::ImageTooLarge]),
        ),
        get(
            "/v1/models/{id}/mistakes",
            m::mistakes,
            o("listMistakes", "The test pictures that it gets wrong.")
                .paged()
                .lists::<MistakeView>("A page of mistakes.")
                .problems(&[E::ModelNotFound]),
        ),
    ]
}

fn service() -> Vec<Route> {
    let o = |id, summary| op("service", id, summary);
    vec![
        get(
            "/v1/schema/task-spec.json",
            || async { json_text(TaskSpec::json_schema().to_string(), "application/schema+json") },
            o("getTaskSpecSchema", "The task specification's JSON Schema.").public().gives_bytes(
                200,
                "application/schema+json",
                "The schema.",
            ),
        ),
        get(
            "/v1/schema/fleet-spec.json",
            || async { json_text(FleetSpec::json_schema().to_string(), "application/schema+json") },
            o("getFleetSpecSchema", "The fleet specification's JSON Schema.").public().gives_bytes(
                200,
                "application/schema+json",
                "The schema.",
            ),
        ),
        get(
            "/openapi.json",
            || async { json_text(openapi::document().to_string(), "application/json") },
            o("getOpenApi", "This document.").public().gives_bytes(200, "application/json", "OpenAPI 3.1."),
        ),
        get(
            "/healthz",
            api::health::alive,
            o("getHealth", "The process answers.").public().gives_bytes(200, "text/plain", "It does."),
        ),
        get(
            "/readyz",
            api::health::ready,
            o("getReadiness", "Whether database, queue, object store and disk can be written and read.")
                .public()
                .about("A problem says which cannot, or that the service is stopping. A tiny file is written and removed, every few seconds at most.")
                .gives::<api::health::Readiness>(200, "They can.")
                .problems(&[E::Unavailable]),
        ),
        get(
            "/v1/service",
            api::service::show,
            o("getService", "Workers, queue, storage by project and duties of the whole service.")
                .scope(Scope::Admin)
                .about("Some seconds old at most. What workers do is told of the key's own project.")
                .gives::<api::service::ServiceView>(200, "The service."),
        ),
        get(
            "/metrics",
            metrics::show,
            o("getMetrics", "Figures of the whole service for Prometheus.").scope(Scope::Admin).gives_bytes(
                200,
                "text/plain",
                "Prometheus's text format.",
            ),
        ),
    ]
}

fn page_routes() -> Vec<Route> {
    let open = |id, summary| op("pages", id, summary).public().gives_bytes(200, "text/html", "The page.");
    let o = |id, summary| {
        let page = op("pages", id, summary).gives_bytes(200, "text/html", "The page.");
        page.gives_nothing(303, "A key is wanted: to /login.")
    };
    let asset = |id, summary, kind| op("pages", id, summary).public().gives_bytes(200, kind, "The file.");
    vec![
        get("/", pages::home, o("showHome", "Data sets and tasks, and the way in.")),
        get(
            "/datasets/{id}",
            pages::dataset,
            o("showDataset", "A data set's audit and pictures, and the form that posts a task.")
                .query("class", "Only this class.")
                .query("split", "Only this split.")
                .query("empty", "`true`: only pictures without boxes.")
                .query("after", "The last picture of the page before.")
                .query("limit", "Pictures on the page.")
                .problems(&[E::InvalidRequest, E::DatasetNotFound]),
        ),
        get(
            "/datasets/{id}/doubts",
            pages::doubts,
            o("showDoubts", "The labels that are probably wrong, with their pictures.")
                .query("after", "The last of the page before.")
                .query("limit", "Labels on the page.")
                .problems(&[E::InvalidRequest, E::DatasetNotFound, E::DatasetNotReady]),
        ),
        get(
            "/drafts/{id}",
            pages::label,
            o("showDraft", "Pictures to be labelled, one at a time.").problems(&[E::DraftNotFound]),
        ),
        get(
            "/tasks/{id}",
            pages::task,
            o("showTask", "A task as it goes, its models, and a box to try the best.").problems(&[E::TaskNotFound]),
        ),
        get(
            "/tasks/{id}/live",
            pages::task_live,
            o("showTaskLive", "The parts of a task's page that change.").problems(&[E::TaskNotFound]),
        ),
        get(
            "/fleets/{id}",
            pages::fleet,
            o("showFleet", "A fleet as it goes, and its specialists against the single model.")
                .problems(&[E::FleetNotFound]),
        ),
        get(
            "/fleets/{id}/live",
            pages::fleet_live,
            o("showFleetLive", "The parts of a fleet's page that change.").problems(&[E::FleetNotFound]),
        ),
        get(
            "/service",
            pages::service,
            o("showService", "Workers, queue, storage and duties, for who runs the service.").scope(Scope::Admin),
        ),
        get("/models/{id}", pages::model, o("showModel", "A model.").problems(&[E::ModelNotFound])),
        get(
            "/login",
            pages::login,
            open("showLogin", "Asks for a key, or says whose is here.")
                .query("next", "The page to go to afterwards.")
                .problems(&[E::InvalidRequest]),
        ),
        post(
            "/login",
            pages::log_in,
            op("pages", "logIn", "Takes a key and keeps it in a cookie.")
                .public()
                .takes_bytes("application/x-www-form-urlencoded")
                .gives_nothing(303, "To the page that was wanted.")
                .gives_bytes(401, "text/html", "The page again: the key is not good.")
                .problems(&[E::InvalidRequest]),
        ),
        post(
            "/logout",
            pages::log_out,
            op("pages", "logOut", "Forgets the cookie.").public().gives_nothing(303, "To /login."),
        ),
        get("/problems/{code}", pages::explain, open("showProblem", "What an error means.").problems(&[E::NotFound])),
        get("/assets/style.css", pages::style, asset("getStyle", "The pages' style.", "text/css")),
        get("/assets/app.js", pages::script, asset("getScript", "The pages' script.", "text/javascript")),
        get(
            "/assets/label.js",
            pages::label_script,
            asset("getLabelScript", "The labelling page's script.", "text/javascript"),
        ),
        get("/favicon.ico", pages::icon, asset("getIcon", "The pages' icon.", "image/svg+xml")),
    ]
}

fn json_text(text: String, media_type: &'static str) -> Response {
    ([(header::CONTENT_TYPE, media_type)], text).into_response()
}

/// The table as a router.
pub(crate) fn router(host: Host) -> Router {
    let mut router = Router::new();
    for Route { method, path, handler, op } in table() {
        let guard = from_fn_with_state((host.clone(), op.wanted(&method)), guard);
        let name = map_response(move |mut response: Response| async move {
            response.extensions_mut().insert(RouteName(path));
            response
        });
        router = router.route(path, handler.route_layer(guard).layer(name));
    }
    router
        .fallback(|| async { Problem::new(E::NotFound, "nothing has this address; /openapi.json lists what there is") })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(host.clone(), around))
        .with_state(host)
}
