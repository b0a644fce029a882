//! The OpenAPI document, made from the table that the router is made from: neither can have a route that the other has
//! not.

use std::sync::OnceLock;

use bytes::Bytes;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::auth::Access;
use crate::routes::{Kind, Route, routes};

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    if let Some(query) = route.query {
        let schema = query(schemas).to_value();
        parameters.push(
            json!({ "name": "query", "in": "query", "style": "form", "explode": true, "schema": schema }),
        );
    }
    let mut header = |name: &str, what: &str| {
        let schema = json!({ "type": "string" });
        parameters.push(
            json!({ "name": name, "in": "header", "required": true, "description": what, "schema": schema }),
        );
    };
    if matches!(route.kind, Kind::Change | Kind::Go | Kind::Stop) {
        header("Idempotency-Key", "Another one for each change; the same for a request that is sent again.");
    }
    if route.kind == Kind::Go {
        header("If-Match", "The ETag of what was seen.");
    }
    let content = |media: &str, schema: Value| json!({ media: { "schema": schema } });
    let success = match route.answer {
        Some(answer) => content("application/json", answer(schemas).to_value()),
        None => content(route.media, json!({})),
    };
    let error = content("application/json", json!({ "$ref": "#/components/schemas/Error" }));
    let mut operation = json!({
        "summary": route.summary,
        "operationId": route.id(),
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": success },
            "default": { "description": "Refused.", "content": error },
        },
    });
    let Some(members) = operation.as_object_mut() else { return operation };
    if let Some(body) = route.body {
        let body = content("application/json", body(schemas).to_value());
        members.insert("requestBody".into(), json!({ "required": true, "content": body }));
    } else if route.upload {
        let body = content("application/octet-stream", json!({ "type": "string", "format": "binary" }));
        members.insert("requestBody".into(), json!({ "required": true, "content": body }));
    }
    if let Access::Roles(roles) = route.access {
        let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
        members.insert("security".into(), json!([{ "token": [] }]));
        members.insert("x-roles".into(), json!(names));
    }
    operation
}

fn make() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut schemas = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let operation = operation(&route, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_lowercase(), operation);
        }
    }
    let mut components = schemas.take_definitions(true);
    let text = json!({ "type": "string" });
    components.insert(
        "Error".into(),
        json!({
            "type": "object",
            "required": ["error"],
            "properties": { "error": {
                "type": "object",
                "required": ["code", "message", "hint"],
                "properties": { "code": text, "message": text, "hint": text },
            }},
        }),
    );
    json!({
        "openapi": "3.1.0",
        "info": { "title": "mpkg registry", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// The document, made once.
pub(crate) fn document() -> Bytes {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    DOCUMENT.get_or_init(|| make().to_string().into()).clone()
}
