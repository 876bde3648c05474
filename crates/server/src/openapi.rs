//! The OpenAPI 3.1 document, made from the routes' table.

use axum::http::Method;
use kindling_spec::{DatasetId, ErrorCode, FleetSpec, Scope, TaskSpec};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApiBuilder, PathsBuilder, Ref, RefOr, Required, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use crate::access::COOKIE;
use crate::problem::{ProblemBody, about};
use crate::routes;
use crate::{bodies, parameters};

/// Who may use a route.
enum Audience {
    /// Those whose keys may look, or change something, as the method says.
    ByMethod,
    /// Those whose keys have this scope.
    Holders(Scope),
    /// Everyone.
    Public,
}

/// What the document says of one route.
pub(crate) struct Op {
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    audience: Audience,
    parameters: Vec<Parameter>,
    body: Option<utoipa::openapi::request_body::RequestBody>,
    responses: Vec<(u16, utoipa::openapi::Response)>,
    problems: Vec<ErrorCode>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// Describes a route.
pub(crate) fn op(tag: &'static str, id: &'static str, summary: &'static str) -> Op {
    Op {
        tag,
        id,
        summary,
        description: None,
        audience: Audience::ByMethod,
        parameters: Vec::new(),
        body: None,
        responses: Vec::new(),
        problems: Vec::new(),
        schemas: Vec::new(),
    }
}

fn reference(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

fn text() -> Object {
    Object::with_type(Type::String)
}

fn content(schema: RefOr<Schema>) -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(schema)).build()
}

/// Bytes, or a JSON object that is described elsewhere.
fn bytes(media_type: &str) -> RefOr<Schema> {
    let is_json = media_type == "application/json" || media_type.ends_with("+json");
    RefOr::T(Schema::Object(if is_json { Object::default() } else { binary() }))
}

fn binary() -> Object {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).build()
}

/// A form of files, whatever its fields are called.
fn files() -> RefOr<Schema> {
    let image = ArrayBuilder::new().items(binary()).min_items(Some(1)).max_items(Some(64));
    let form = ObjectBuilder::new().property("image", image).required("image");
    RefOr::T(Schema::Object(form.build()))
}

impl Op {
    pub(crate) fn about(mut self, description: &'static str) -> Self {
        self.description = Some(description);
        self
    }

    /// Everyone may, without a key.
    pub(crate) fn public(mut self) -> Self {
        self.audience = Audience::Public;
        self
    }

    /// Keys of this scope may, whatever the method says.
    pub(crate) fn scope(mut self, scope: Scope) -> Self {
        self.audience = Audience::Holders(scope);
        self
    }

    /// The least scope that a key must have; none where no key is wanted.
    pub(crate) fn wanted(&self, method: &Method) -> Option<Scope> {
        match self.audience {
            Audience::Public => None,
            Audience::Holders(scope) => Some(scope),
            Audience::ByMethod if method == Method::GET => Some(Scope::Read),
            Audience::ByMethod => Some(Scope::Write),
        }
    }

    fn parameter(mut self, name: &str, place: ParameterIn, about: &str, schema: Object) -> Self {
        let required = if matches!(place, ParameterIn::Path) { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(about))
            .schema(Some(schema))
            .build();
        self.parameters.push(parameter);
        self
    }

    pub(crate) fn query(self, name: &str, about: &str) -> Self {
        self.parameter(name, ParameterIn::Query, about, text())
    }

    pub(crate) fn header(self, name: &str, about: &str) -> Self {
        self.parameter(name, ParameterIn::Header, about, text())
    }

    /// The query of a list.
    pub(crate) fn paged(self) -> Self {
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(500))
            .default(Some(json!(100)))
            .build();
        self.query("after", "The `next` of the page before.")
            .parameter("limit", ParameterIn::Query, "Items in a page.", limit)
            .problems(&[ErrorCode::InvalidRequest])
    }

    pub(crate) fn once(self) -> Self {
        let about = "Names this request for 24 hours: sent again with the same body, it is answered as before with \
                     `Idempotent-Replayed: true`.";
        self.header("Idempotency-Key", about).problems(&[ErrorCode::InvalidRequest, ErrorCode::IdempotencyConflict])
    }

    fn schema<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        reference(&T::name())
    }

    pub(crate) fn takes<T: ToSchema>(mut self) -> Self {
        let schema = self.schema::<T>();
        self.takes_content("application/json", schema, true).problems(&[ErrorCode::InvalidRequest])
    }

    /// The same, which may be left out.
    pub(crate) fn may_take<T: ToSchema>(mut self) -> Self {
        let schema = self.schema::<T>();
        self.takes_content("application/json", schema, false).problems(&[ErrorCode::InvalidRequest])
    }

    /// What a browser sends of a form.
    pub(crate) fn takes_form<T: ToSchema>(mut self) -> Self {
        let schema = self.schema::<T>();
        self.takes_content("application/x-www-form-urlencoded", schema, true).problems(&[ErrorCode::InvalidRequest])
    }

    pub(crate) fn takes_named(self, name: &str) -> Self {
        self.takes_content("application/json", reference(name), true).problems(&[ErrorCode::InvalidRequest])
    }

    pub(crate) fn takes_bytes(self, media_type: &str) -> Self {
        self.takes_content(media_type, bytes(media_type), true)
    }

    /// Another type of body.
    pub(crate) fn or_takes<T: ToSchema>(mut self) -> Self {
        let schema = self.schema::<T>();
        self.or_takes_content("application/json", schema)
    }

    /// Or several files in a form.
    pub(crate) fn or_takes_files(self) -> Self {
        self.or_takes_content("multipart/form-data", files())
    }

    fn or_takes_content(mut self, media_type: &str, schema: RefOr<Schema>) -> Self {
        if let Some(body) = &mut self.body {
            body.content.insert(media_type.to_owned(), RefOr::T(content(schema)));
        }
        self
    }

    fn takes_content(mut self, media_type: &str, schema: RefOr<Schema>, required: bool) -> Self {
        let required = if required { Required::True } else { Required::False };
        self.body =
            Some(RequestBodyBuilder::new().content(media_type, content(schema)).required(Some(required)).build());
        self
    }

    fn answers(mut self, status: u16, about: &str, typed: Option<(&str, RefOr<Schema>)>) -> Self {
        let mut response = ResponseBuilder::new().description(about);
        if let Some((media_type, schema)) = typed {
            response = response.content(media_type, content(schema));
        }
        self.responses.push((status, response.build()));
        self
    }

    pub(crate) fn gives<T: ToSchema>(mut self, status: u16, about: &str) -> Self {
        let schema = self.schema::<T>();
        self.answers(status, about, Some(("application/json", schema)))
    }

    /// One of two.
    pub(crate) fn gives_either<A: ToSchema, B: ToSchema>(mut self, status: u16, about: &str) -> Self {
        let either = OneOfBuilder::new().item(self.schema::<A>()).item(self.schema::<B>()).build();
        self.answers(status, about, Some(("application/json", RefOr::T(Schema::OneOf(either)))))
    }

    /// Another type of the same answer.
    pub(crate) fn or_gives_bytes(mut self, status: u16, media_type: &str, about: &str) -> Self {
        if let Some((_, response)) = self.responses.iter_mut().find(|(own, _)| *own == status) {
            response.description = format!("{} {about}", response.description);
            response.content.insert(media_type.to_owned(), RefOr::T(content(bytes(media_type))));
        }
        self
    }

    /// A page of a list.
    pub(crate) fn lists<T: ToSchema>(mut self, about: &str) -> Self {
        let item = self.schema::<T>();
        let next = ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("The `after` of the next page; null on the last."));
        let list = ObjectBuilder::new()
            .property("items", ArrayBuilder::new().items(item))
            .required("items")
            .property("next", next)
            .required("next");
        self.answers(200, about, Some(("application/json", RefOr::T(Schema::Object(list.build())))))
    }

    pub(crate) fn gives_bytes(self, status: u16, media_type: &str, about: &str) -> Self {
        self.answers(status, about, Some((media_type, bytes(media_type))))
    }

    pub(crate) fn gives_nothing(self, status: u16, about: &str) -> Self {
        self.answers(status, about, None)
    }

    pub(crate) fn problems(mut self, codes: &[ErrorCode]) -> Self {
        self.problems.extend(codes);
        self
    }

    /// The operation at its path, whose parameters are read off it.
    fn build(mut self, method: &Method, path: &str) -> utoipa::openapi::path::Operation {
        let named: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for name in named.iter().rev() {
            let before = std::mem::take(&mut self.parameters);
            let about = match *name {
                "id" => "The id.",
                "number" => "The example's number, from 0.",
                "name" => "The file's name.",
                _ => "The code.",
            };
            self = self.parameter(name, ParameterIn::Path, about, text());
            self.parameters.extend(before);
        }
        parameters::refine(path, &mut self.parameters);
        // Several codes may share a status; the description names each.
        let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
        let wanted = self.wanted(method);
        let barred: &[ErrorCode] = match wanted {
            None => &[],
            Some(Scope::Read) => &[ErrorCode::Unauthorized],
            Some(_) => &[ErrorCode::Unauthorized, ErrorCode::Forbidden],
        };
        let full: &[ErrorCode] = if wanted == Some(Scope::Write) { &[ErrorCode::StorageFull] } else { &[] };
        let always = [ErrorCode::RateLimited, ErrorCode::Unavailable, ErrorCode::Internal];
        for code in self.problems.iter().chain(barred).chain(full).chain(&always) {
            let codes = by_status.entry(about(*code).status.as_u16()).or_default();
            if !codes.contains(code) {
                codes.push(*code);
            }
        }
        let mut responses = self.responses;
        for (status, codes) in by_status {
            let texts: Vec<_> = codes.iter().map(|code| format!("`{code}`: {}.", about(*code).title)).collect();
            let response = ResponseBuilder::new()
                .description(texts.join(" "))
                .content("application/problem+json", content(reference("Problem")))
                .build();
            responses.push((status, response));
        }
        let mut operation = OperationBuilder::new()
            .tag(self.tag)
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description(self.description)
            .request_body(self.body);
        if let Some(scope) = wanted {
            for scheme in [BEARER, COOKIE] {
                operation = operation.security(SecurityRequirement::new(scheme, [scope.as_str()]));
            }
        }
        if !self.parameters.is_empty() {
            operation = operation.parameters(Some(self.parameters));
        }
        for (status, response) in responses {
            operation = operation.response(status.to_string(), response);
        }
        operation.build()
    }
}

/// What the document calls the usual way to send a key.
const BEARER: &str = "bearer";

/// The two ways to send a key.
fn schemes() -> [(&'static str, SecurityScheme); 2] {
    let about = "A key: `kindling keys create` makes one. The role named by an operation is the least scope that the key \
                 must have: `read`, `write`, which includes `read`, or `admin`, which includes both. A service without keys \
                 wants none.";
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("kdl_…").description(Some(about));
    let cookie = ApiKeyValue::with_description(COOKIE, "The same in a browser, set by /login.");
    [(BEARER, SecurityScheme::Http(bearer.build())), (COOKIE, SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))]
}

fn method(method: &Method) -> HttpMethod {
    match method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "PATCH" => HttpMethod::Patch,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// The document, as served at `/openapi.json`.
pub fn document() -> Value {
    let mut items: Vec<(&'static str, PathItem)> = Vec::new();
    let mut components = ComponentsBuilder::new();
    let mut schemas = Vec::new();
    <ProblemBody as ToSchema>::schemas(&mut schemas);
    schemas.push((ProblemBody::name().into_owned(), ProblemBody::schema()));
    for mut route in routes::table() {
        schemas.append(&mut route.op.schemas);
        let item = PathItem::new(method(&route.method), route.op.build(&route.method, route.path));
        match items.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, known)) => known.merge_operations(item),
            None => items.push((route.path, item)),
        }
    }
    components = components.schemas_from_iter(schemas);
    for (name, scheme) in schemes() {
        components = components.security_scheme(name, RefOr::T(scheme));
    }
    let mut paths = PathsBuilder::new();
    for (path, item) in items {
        paths = paths.path(path, item);
    }
    let info = InfoBuilder::new()
        .title("Kindling")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Tells pictures apart with small networks grown from examples. Upload examples, post a task, watch the \
             search, download the model's files. Errors are problems (RFC 9457); times are Unix milliseconds.",
        ))
        .build();
    let api = OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build();
    // utoipa's schema type does not know every keyword of JSON Schema, so the specification's own schema is
    // put in as it is.
    let mut document = serde_json::to_value(api).unwrap_or(Value::Null);
    if let Some(Value::Object(known)) = document.pointer_mut("/components/schemas") {
        add_spec(known, "TaskSpec", TaskSpec::json_schema());
        add_spec(known, "FleetSpec", FleetSpec::json_schema());
        bodies::refine(known);
    }
    document
}

/// Puts a specification's schema among the components, its definitions beside it.
fn add_spec(components: &mut Map<String, Value>, name: &str, mut schema: Value) {
    redirect(&mut schema);
    // Over HTTP it is of a data set that the service has; without a service it is of the folder that is named.
    if let Some(Value::Object(dataset)) = schema.pointer_mut("/properties/dataset") {
        dataset.remove("default");
        dataset.insert("pattern".to_owned(), bodies::id_pattern(DatasetId::PREFIX).into());
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.push("dataset".into());
    }
    if let Value::Object(members) = &mut schema {
        members.remove("$schema");
        if let Some(Value::Object(definitions)) = members.remove("$defs") {
            components.extend(definitions);
        }
    }
    components.insert(name.to_owned(), schema);
}

/// `#/$defs/X` -> `#/components/schemas/X`, everywhere.
fn redirect(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(target) if key == "$ref" => {
                        *target = target.replace("#/$defs/", "#/components/schemas/");
                    }
                    other => redirect(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redirect),
        _ => {}
    }
}
