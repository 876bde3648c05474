//! Models and their files.

use kindling_spec::{ErrorCode as E, Scope};

use super::{Route, delete, get, post};
use crate::api;
use crate::api::predict::{Answers, Images};
use crate::openapi::{Op, op};
use crate::views::{Answer, FileView, MistakeView};

pub(super) fn models() -> Vec<Route> {
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
                .or_takes_files()
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

/// What handing out a file in parts means.
pub(super) fn ranged(op: Op) -> Op {
    op.header("Range", "A byte range.")
        .header("If-None-Match", "Entity tags known.")
        .gives_bytes(200, "application/octet-stream", "The file; ETag is a SHA-256.")
        .gives_bytes(206, "application/octet-stream", "The part asked for.")
        .gives_nothing(304, "Known.")
}
