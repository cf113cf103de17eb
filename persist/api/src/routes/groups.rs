//! Groups: create and look at.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::{ConversationId, Uid};
use ringway_store::ports::{Group, Membership};
use serde::{Deserialize, Serialize};

use super::accounts::check_name;
use super::members::parse_uids;
use crate::auth::Caller;
use crate::body::{JsonBody, Segments, json};
use crate::clock::{hex, now_ms, random};
use crate::limits::MEMBER_LIST_BYTES_MAX;
use crate::problem::Problem;
use crate::state::Api;

#[derive(Deserialize)]
pub(crate) struct NewGroup {
    name: String,
    #[serde(default)]
    members: Vec<String>,
}

#[derive(Serialize)]
struct GroupAnswer<'a> {
    id: &'a str,
    conv: &'a str,
    name: &'a str,
    owner: &'a str,
    members: u64,
    created_ms: u64,
}

/// `POST /v1/groups`
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    JsonBody(body): JsonBody<NewGroup, MEMBER_LIST_BYTES_MAX>,
) -> Result<Response, Problem> {
    check_name(&body.name)?;
    let members = parse_uids(&body.members)?;
    let id = hex(&random::<10>()?);
    let group = api.parts.directory.create_group(&id, &body.name, &caller.uid, &members, now_ms()).await?;
    tracing::info!(by = %caller.uid, group = id, members = group.members, "group created");
    let mut response = answer(StatusCode::CREATED, &group)?;
    let location = HeaderValue::from_str(&format!("/v1/groups/{id}")).map_err(Problem::internal)?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// `GET /v1/groups/{id}`: for members.
pub(crate) async fn get(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Response, Problem> {
    membership(&api, &id, &caller.uid).await?;
    let group = api.parts.directory.group(&id).await?.ok_or_else(no_such_group)?;
    answer(StatusCode::OK, &group)
}

/// The caller's place in a group.
///
/// # Errors
/// 400 for an id that is none, 404 for a group that does not exist, 403 for one the user is not in.
pub(crate) async fn membership(api: &Api, id: &str, uid: &Uid) -> Result<Membership, Problem> {
    ConversationId::group(id)?;
    match api.parts.directory.membership(id, uid).await? {
        Some(membership) => Ok(membership),
        None if api.parts.directory.group(id).await?.is_some() => {
            Err(Problem::new(ErrorCode::NotAMember, "you are not a member of this group"))
        }
        None => Err(no_such_group()),
    }
}

fn no_such_group() -> Problem {
    Problem::not_found("no such group")
}

fn answer(status: StatusCode, group: &Group) -> Result<Response, Problem> {
    let Group { id, conv, name, owner, members, created_ms } = group;
    let (conv, owner) = (conv.as_str(), owner.as_str());
    json(status, &GroupAnswer { id, conv, name, owner, members: *members, created_ms: *created_ms })
}
