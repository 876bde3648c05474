//! Data sets: their content, their examples, their doubtful labels.

use kindling_spec::ErrorCode as E;

use super::uploads::reads_content;
use super::{Route, delete, get, post, put};
use crate::api;
use crate::api::doubts::{Analysis, DoubtOptionsView, Doubts, Relabel};
use crate::openapi::op;
use crate::views::{Dataset, ExampleView, NewDataset};

pub(super) fn datasets() -> Vec<Route> {
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
            reads_content(o("uploadContent", "Takes an archive of pictures, reads it and seals the data set."))
                .about(
                    "The body is a zip, tar or tar.gz with a folder for each class (optionally inside train, \
                     validation and test folders), or with a labels.csv (path,label[,split]). For a data set whose \
                     labels are boxes it holds annotations instead: COCO's JSON, Pascal VOC's XML, YOLO's texts or a \
                     boxes.csv (path,label,x_min,y_min,x_max,y_max[,split]). It is streamed to disk. The answer comes when it was read and audited; with `Prefer: respond-async` at once.",
                )
                .header("Content-Digest", "`sha-256=:…:` (RFC 9530); compared with what arrives.")
                .header("x-content-sha256", "The same in hexadecimal.")
                .takes_bytes("application/octet-stream")
                .problems(&[E::InvalidRequest]),
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

pub(super) fn doubts() -> Vec<Route> {
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
                .may_take::<DoubtOptionsView>()
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
