//! Builds a router and keeps the list of its routes, so that the OpenAPI document can be checked against it.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, delete, get, patch, post};

use crate::state::Api;

/// A router and its routes as (method, path pattern).
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    router: Router<Arc<Api>>,
    routes: Vec<(&'static str, &'static str)>,
}

impl RouteTable {
    fn add(mut self, method: &'static str, path: &'static str, handler: MethodRouter<Arc<Api>>) -> Self {
        self.router = self.router.route(path, handler);
        self.routes.push((method, path));
        self
    }

    pub(crate) fn get<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<Api>>) -> Self {
        self.add("GET", path, get(handler))
    }

    pub(crate) fn post<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<Api>>) -> Self {
        self.add("POST", path, post(handler))
    }

    pub(crate) fn patch<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<Api>>) -> Self {
        self.add("PATCH", path, patch(handler))
    }

    pub(crate) fn delete<T: 'static>(self, path: &'static str, handler: impl Handler<T, Arc<Api>>) -> Self {
        self.add("DELETE", path, delete(handler))
    }

    /// The router, and the list.
    pub(crate) fn into_parts(self) -> (Router<Arc<Api>>, Vec<(&'static str, &'static str)>) {
        (self.router, self.routes)
    }
}
