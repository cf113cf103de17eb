//! The public routes, one file a noun.

mod accounts;
mod conversations;
mod groups;
mod locate;
mod members;
mod sessions;

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn_with_state;

pub(crate) use locate::NodeList;

use crate::state::Api;
use crate::table::RouteTable;
use crate::{page, replay, shell};

/// The OpenAPI document, as served at `/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("../../openapi.json");

/// The routes of protocol version 1; the OpenAPI document lists exactly these.
fn v1() -> RouteTable {
    RouteTable::default()
        .post("/v1/auth/register", sessions::register)
        .post("/v1/auth/login", sessions::login)
        .post("/v1/auth/refresh", sessions::refresh)
        .post("/v1/auth/logout", sessions::logout)
        .get("/v1/me", accounts::me)
        .patch("/v1/me", accounts::rename)
        .get("/v1/users/{uid}", accounts::user)
        .post("/v1/groups", groups::create)
        .get("/v1/groups/{id}", groups::get)
        .post("/v1/groups/{id}/leave", members::leave)
        .get("/v1/groups/{id}/members", members::list)
        .post("/v1/groups/{id}/members", members::add)
        .delete("/v1/groups/{id}/members/{uid}", members::remove)
        .get("/v1/conversations", conversations::list)
        .get("/v1/conversations/{conv}/messages", conversations::messages)
        .get("/v1/locate", locate::locate)
        .get("/v1/openapi.json", || async { ([(header::CONTENT_TYPE, "application/json")], OPENAPI) })
}

/// The public router: the API and the chat page.
pub fn router(api: &Arc<Api>) -> Router {
    let (router, _) = page::routes(v1()).into_parts();
    router
        .fallback(shell::no_such_path)
        .method_not_allowed_fallback(shell::no_such_method)
        .layer(from_fn_with_state(Arc::clone(api), replay::replay))
        .layer(from_fn_with_state(Arc::clone(api), shell::public))
        .with_state(Arc::clone(api))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_openapi_document_lists_exactly_the_routes() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let methods = ["get", "post", "put", "patch", "delete"];
        let documented: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let listed = item.as_object().unwrap().keys().filter(|key| methods.contains(&key.as_str()));
                listed.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
            })
            .collect();
        let (_, routes) = v1().into_parts();
        let served: BTreeSet<_> = routes.iter().map(|(method, path)| (method.to_string(), path.to_string())).collect();
        assert_eq!(documented, served);
    }

    #[test]
    fn every_reference_in_the_openapi_document_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                serde_json::Value::Array(items) => open.extend(items),
                serde_json::Value::Object(fields) => {
                    if let Some(target) = fields.get("$ref").and_then(|target| target.as_str()) {
                        let pointer = target.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{target}");
                    }
                    open.extend(fields.values());
                }
                _ => {}
            }
        }
    }
}
