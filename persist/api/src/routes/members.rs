//! Members of a group: list, add, remove, leave.
//!
//! Any member may see the list and add users. Removing takes a higher role than the removed one has:
//! the owner removes anybody, an admin removes plain members. Everybody may leave, and a `DELETE` of
//! oneself is leaving.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::{ConversationId, Uid};
use ringway_store::ports::{Member, Role};
use serde::{Deserialize, Serialize};

use super::groups::membership;
use crate::auth::Caller;
use crate::body::{JsonBody, List, Parameters, Segments, json};
use crate::clock::now_ms;
use crate::limits::{MEMBER_LIST_BYTES_MAX, MEMBER_LIST_MAX, MEMBERS_PAGE_MAX};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(default)]
    after: String,
    #[serde(default)]
    limit: usize,
}

#[derive(Deserialize)]
pub(crate) struct Uids {
    uids: Vec<String>,
}

#[derive(Serialize)]
struct MemberAnswer {
    uid: String,
    role: &'static str,
    joined_ms: u64,
}

#[derive(Serialize)]
struct Added {
    added: Vec<String>,
}

/// `GET /v1/groups/{id}/members?after=&limit=`
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Segments(id): Segments<String>,
    Parameters(page): Parameters<Page>,
) -> Result<Response, Problem> {
    membership(&api, &id, &caller.uid).await?;
    let limit = if page.limit == 0 { MEMBERS_PAGE_MAX } else { page.limit.min(MEMBERS_PAGE_MAX) };
    let mut members = api.parts.directory.members(&id, &page.after, limit + 1).await?;
    let more = members.len() > limit;
    members.truncate(limit);
    json(StatusCode::OK, &List { items: members.into_iter().map(answer).collect(), more })
}

/// `POST /v1/groups/{id}/members`
pub(crate) async fn add(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Segments(id): Segments<String>,
    JsonBody(body): JsonBody<Uids, MEMBER_LIST_BYTES_MAX>,
) -> Result<Response, Problem> {
    membership(&api, &id, &caller.uid).await?;
    let uids = parse_uids(&body.uids)?;
    if uids.is_empty() {
        return Err(Problem::invalid("uids is empty"));
    }
    // What was said before is not for those who join.
    let (_, joined_seq) = api.parts.state.head(&ConversationId::group(&id)?).await?;
    let added = api.parts.directory.add_members(&id, &caller.uid, &uids, joined_seq, now_ms()).await?;
    tracing::info!(by = %caller.uid, group = id, added = added.len(), "members added");
    json(StatusCode::OK, &Added { added: added.iter().map(Uid::to_string).collect() })
}

/// `DELETE /v1/groups/{id}/members/{uid}`
pub(crate) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Segments((id, uid)): Segments<(String, String)>,
) -> Result<Response, Problem> {
    let uid = Uid::parse(&uid)?;
    let own = membership(&api, &id, &caller.uid).await?;
    if uid != caller.uid {
        let theirs = api.parts.directory.membership(&id, &uid).await?;
        let theirs = theirs.ok_or_else(|| Problem::not_found("no such member"))?;
        if rank(own.role) <= rank(theirs.role) {
            return Err(Problem::new(ErrorCode::Forbidden, "your role does not allow to remove this member"));
        }
    }
    end(&api, &id, &caller.uid, &uid).await
}

/// `POST /v1/groups/{id}/leave`
pub(crate) async fn leave(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Response, Problem> {
    membership(&api, &id, &caller.uid).await?;
    end(&api, &id, &caller.uid, &caller.uid).await
}

async fn end(api: &Api, id: &str, by: &Uid, uid: &Uid) -> Result<Response, Problem> {
    api.parts.directory.remove_member(id, by, uid, now_ms()).await?;
    tracing::info!(%by, group = id, %uid, "member removed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A list of users, each named once.
///
/// # Errors
/// 400 for a text that is no user id, 413 for more than [`MEMBER_LIST_MAX`].
pub(crate) fn parse_uids(texts: &[String]) -> Result<Vec<Uid>, Problem> {
    if texts.len() > MEMBER_LIST_MAX {
        return Err(Problem::new(ErrorCode::TooLarge, format!("more than {MEMBER_LIST_MAX} users in one list")));
    }
    let mut seen = HashSet::with_capacity(texts.len());
    let mut uids = Vec::with_capacity(texts.len());
    for text in texts {
        let uid = Uid::parse(text)?;
        if seen.insert(uid.clone()) {
            uids.push(uid);
        }
    }
    Ok(uids)
}

fn rank(role: Role) -> u8 {
    match role {
        Role::Owner => 2,
        Role::Admin => 1,
        Role::Member => 0,
    }
}

fn answer(member: Member) -> MemberAnswer {
    let role = match member.role {
        Role::Owner => "owner",
        Role::Admin => "admin",
        Role::Member => "member",
    };
    MemberAnswer { uid: member.uid.to_string(), role, joined_ms: member.joined_ms }
}
