//! Tasks and fleets.

use kindling_spec::ErrorCode as E;

use super::models::ranged;
use super::{Route, delete, get, post};
use crate::api;
use crate::api::advice::{AdviceOptionsView, TaskAdvice};
use crate::api::doubts::Analysis;
use crate::openapi::op;
use crate::views::{Fleet, FleetReport, LeaderboardItem, MoreBudget, Task, TaskWithProgress, Trial};

pub(super) fn tasks() -> Vec<Route> {
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
                    E::InvalidLayout,
                    E::TooFewExamples,
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
                .may_take::<MoreBudget>()
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
                .may_take::<AdviceOptionsView>()
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

pub(super) fn fleets() -> Vec<Route> {
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
                .problems(&[E::QuotaExceeded, E::InvalidSpec, E::DatasetNotFound, E::DatasetNotReady, E::InvalidLayout, E::TooFewExamples, E::LimitsTooTight]),
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
