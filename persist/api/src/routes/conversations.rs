//! Conversations: the list, and the history of one.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::{ConversationId, ConversationKind};
use ringway_engine::limits::{CONVERSATIONS_MAX, PAGE_MESSAGES_MAX};
use ringway_engine::packet::schema::Message;
use ringway_store::ports::PageFrom;
use serde::{Deserialize, Serialize};

use super::groups::membership;
use crate::auth::Caller;
use crate::body::{Parameters, Segments, json};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Deserialize)]
pub(crate) struct ListPage {
    #[serde(default)]
    after: String,
    #[serde(default)]
    limit: usize,
}

#[derive(Deserialize)]
pub(crate) struct HistoryPage {
    after_seq: Option<u64>,
    before_seq: Option<u64>,
    #[serde(default)]
    limit: usize,
}

/// A page of history. `head` above the last item of an upward page that says `more: false` does not
/// occur; with `more: true` and no items the rest is not readable yet (a hole being filled).
#[derive(Serialize)]
struct History<'a> {
    conv: &'a str,
    items: Vec<Arc<Message>>,
    epoch: u64,
    head: u64,
    more: bool,
}

/// `GET /v1/conversations?after=&limit=`
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Parameters(page): Parameters<ListPage>,
) -> Result<Response, Problem> {
    let limit = clamp(page.limit, CONVERSATIONS_MAX);
    json(StatusCode::OK, &api.parts.state.conversations(&caller.uid, &page.after, limit).await?)
}

/// `GET /v1/conversations/{conv}/messages?after_seq=|before_seq=&limit=`
pub(crate) async fn messages(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Segments(conv): Segments<String>,
    Parameters(page): Parameters<HistoryPage>,
) -> Result<Response, Problem> {
    let conv = ConversationId::parse(&conv)?;
    let floor = visible_from(&api, &caller, &conv).await?;
    let from = match (page.after_seq, page.before_seq) {
        (Some(_), Some(_)) => return Err(Problem::invalid("after_seq and before_seq exclude each other")),
        (Some(after), None) => PageFrom::After(after.max(floor)),
        (None, before) => PageFrom::Before(before.unwrap_or(u64::MAX)),
    };
    let mut read = api.parts.state.page(&conv, from, clamp(page.limit, PAGE_MESSAGES_MAX)).await?;
    if matches!(from, PageFrom::Before(_)) {
        read.items.retain(|message| message.seq > floor);
        // Below the floor there is nothing for this user, whatever the store still has.
        read.more &= read.items.first().is_some_and(|lowest| lowest.seq > floor + 1);
    }
    let history =
        History { conv: conv.as_str(), items: read.items, epoch: read.epoch, head: read.head, more: read.more };
    json(StatusCode::OK, &history)
}

/// The sequence above which the caller may read: 0 for one's own conversations, the head at the time of
/// joining for a group's.
async fn visible_from(api: &Api, caller: &Caller, conv: &ConversationId) -> Result<u64, Problem> {
    match conv.kind() {
        ConversationKind::Group(id) => Ok(membership(api, id, &caller.uid).await?.joined_seq),
        _ if conv.names(caller.uid.as_str()) => Ok(0),
        _ => Err(Problem::new(ErrorCode::NotAMember, "you are not part of this conversation")),
    }
}

fn clamp(limit: usize, max: usize) -> usize {
    if limit == 0 { max } else { limit.min(max) }
}
