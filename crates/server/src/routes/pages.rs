//! The pages.

use kindling_spec::{ErrorCode as E, Scope};

use super::{Route, get, post};
use crate::openapi::op;
use crate::pages;
use crate::pages::LogIn;

pub(super) fn pages() -> Vec<Route> {
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
                .takes_form::<LogIn>()
                .gives_nothing(303, "To the page that was wanted.")
                .gives_bytes(401, "text/html", "The page again: the key is not good."),
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
