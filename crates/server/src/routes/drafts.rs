//! Draft data sets.

use kindling_spec::ErrorCode as E;

use super::{Route, delete, get, patch, post};
use crate::api;
use crate::api::drafts::{
    AcceptView, Accepted, AddedView, Draft, DraftClasses, DraftExample, Label, NewDraftView, Seal, SuggestFrom,
    SuggestedView,
};
use crate::openapi::op;
use crate::views::Dataset;

pub(super) fn drafts() -> Vec<Route> {
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
                .may_take::<Seal>()
                .once()
                .gives::<Dataset>(201, "Made and ready; Location says where.")
                .problems(&[E::QuotaExceeded, E::DraftNotFound, E::InvalidLayout, E::TooFewExamples]),
        ),
    ]
}
