//! The chat page: the files of `tools/web/page`, in the program itself.
//!
//! Browsers ask each time and get 304 while their copy is current, so a new server never runs with an
//! old page. The policy allows nothing but the page's own files and sockets.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::clock::{hex, sha256};
use crate::table::RouteTable;

const POLICY: &str =
    "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// (path, content type, bytes)
type Asset = (&'static str, &'static str, &'static [u8]);

const ASSETS: &[Asset] = &[
    ("/", "text/html; charset=utf-8", include_bytes!("../../../tools/web/page/index.html")),
    ("/api.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/api.js")),
    ("/app.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/app.js")),
    ("/connection.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/connection.js")),
    ("/conversation.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/conversation.js")),
    ("/dialogs.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/dialogs.js")),
    ("/dom.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/dom.js")),
    ("/link.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/link.js")),
    ("/list.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/list.js")),
    ("/log.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/log.js")),
    ("/outbox.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/outbox.js")),
    ("/reconnect.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/reconnect.js")),
    ("/session.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/session.js")),
    ("/store.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/store.js")),
    ("/text.js", JAVASCRIPT, include_bytes!("../../../tools/web/page/text.js")),
    ("/style.css", "text/css; charset=utf-8", include_bytes!("../../../tools/web/page/style.css")),
    ("/icon.svg", "image/svg+xml", include_bytes!("../../../tools/web/page/icon.svg")),
];

/// Adds the page's files to a router.
pub(crate) fn routes(table: RouteTable) -> RouteTable {
    ASSETS.iter().fold(table, |table, &(path, content_type, bytes)| {
        let mut digest = hex(&sha256(bytes));
        digest.truncate(32);
        let etag: Arc<str> = format!("\"{digest}\"").into();
        table.get(path, move |headers: HeaderMap| async move { answer(content_type, bytes, &etag, &headers) })
    })
}

fn answer(content_type: &'static str, bytes: &'static [u8], etag: &str, headers: &HeaderMap) -> Response {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let fixed = [(header::ETAG, etag), (header::CACHE_CONTROL, "no-cache"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    if known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, [(header::CONTENT_TYPE, content_type)], bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/web/page");
        let served = ["html", "js", "css", "svg", "png", "ico", "webmanifest"];
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.extension().is_some_and(|extension| served.iter().any(|served| extension == *served)) {
                let bytes = std::fs::read(&path).unwrap();
                assert!(ASSETS.iter().any(|(.., served)| *served == bytes), "{name} has no row in the table");
            }
        }
    }
}
