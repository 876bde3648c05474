//! Archives in parts.

use kindling_spec::ErrorCode as E;

use super::{Route, delete, get, post, put};
use crate::api;
use crate::api::uploads::{NewUpload, Upload, UploadPart};
use crate::openapi::{Op, op};
use crate::views::Dataset;

pub(super) fn uploads() -> Vec<Route> {
    use api::uploads as u;
    let o = |id, summary| op("uploads", id, summary);
    vec![
        post(
            "/v1/uploads",
            u::begin,
            o("beginUpload", "Begins an upload in parts, for archives of many gigabytes and connections that break.")
                .about(
                    "Parts are sent in any order, several at a time; what was received stays when a connection breaks. \
                     GET tells which parts are here. An upload that is not completed is dropped after a week, or after the days \
                     that the service was told.",
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
            reads_content(o("completeUpload", "Joins the parts, reads the archive and seals the data set."))
                .problems(&[E::UploadNotFound, E::UploadIncomplete]),
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

/// What reading an archive into a data set means.
pub(super) fn reads_content(op: Op) -> Op {
    op.header("Prefer", "`respond-async`: answer 202 while the archive is being read.")
        .gives::<Dataset>(200, "Sealed.")
        .gives::<Dataset>(202, "Being read; ask for the data set until its state is `ready` or `refused`.")
        .problems(&[
            E::QuotaExceeded,
            E::DatasetNotFound,
            E::DatasetSealed,
            E::DatasetNotReady,
            E::InvalidArchive,
            E::UnsafePath,
            E::NestedArchive,
            E::ArchiveTooLarge,
            E::InvalidLayout,
            E::TooFewExamples,
        ])
}
