//! The table of all routes: address, handler and description side by side.

mod datasets;
mod drafts;
mod models;
mod pages;
mod service;
mod tasks;
mod uploads;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use kindling_spec::ErrorCode;
use tower_http::catch_panic::CatchPanicLayer;

use crate::Problem;
use crate::app::Host;
use crate::middleware::{RouteName, around, guard, panicked};
use crate::openapi::Op;

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
    [
        datasets::datasets(),
        uploads::uploads(),
        datasets::doubts(),
        drafts::drafts(),
        tasks::tasks(),
        tasks::fleets(),
        models::models(),
        service::webhooks(),
        service::service(),
        pages::pages(),
    ]
    .into_iter()
    .flatten()
    .collect()
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
        .fallback(|| async {
            Problem::new(ErrorCode::NotFound, "nothing has this address; /openapi.json lists what there is")
        })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(host.clone(), around))
        .with_state(host)
}
