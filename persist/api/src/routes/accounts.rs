//! Accounts: one's own, and what others may see.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ringway_engine::ids::Uid;
use ringway_store::ports::Account;
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::body::{JsonBody, Segments, json};
use crate::limits::NAME_CHARACTERS_MAX;
use crate::problem::Problem;
use crate::state::Api;

#[derive(Serialize)]
struct User<'a> {
    uid: &'a str,
    name: &'a str,
    created_ms: u64,
}

#[derive(Deserialize)]
pub(crate) struct Profile {
    name: String,
}

/// `GET /v1/me`
pub(crate) async fn me(State(api): State<Arc<Api>>, caller: Caller) -> Result<Response, Problem> {
    answer(&account(&api, &caller.uid).await?)
}

/// `PATCH /v1/me`
pub(crate) async fn rename(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(body): JsonBody<Profile>,
) -> Result<Response, Problem> {
    check_name(&body.name)?;
    api.parts.directory.rename_account(&caller.uid, &body.name).await?;
    answer(&account(&api, &caller.uid).await?)
}

/// `GET /v1/users/{uid}`
pub(crate) async fn user(
    State(api): State<Arc<Api>>,
    _caller: Caller,
    Segments(uid): Segments<String>,
) -> Result<Response, Problem> {
    answer(&account(&api, &Uid::parse(&uid)?).await?)
}

async fn account(api: &Api, uid: &Uid) -> Result<Account, Problem> {
    api.parts.directory.account(uid).await?.ok_or_else(|| Problem::not_found("no such user"))
}

fn answer(account: &Account) -> Result<Response, Problem> {
    let user = User { uid: account.uid.as_str(), name: &account.name, created_ms: account.created_ms };
    json(StatusCode::OK, &user)
}

/// A display name: 1 to 64 characters, not blank, no control characters.
///
/// # Errors
/// 400.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    if name.trim().is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || name.chars().any(char::is_control) {
        let bounds = format!("a name has 1 to {NAME_CHARACTERS_MAX} characters, none of them control characters");
        return Err(Problem::invalid(bounds));
    }
    Ok(())
}
