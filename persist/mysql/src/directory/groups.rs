//! Groups and their members: rows of `groups` and `group_members`, changed together with the outbox.
//!
//! Invariants: `groups.members` is the number of its rows in `group_members`; a group has one owner, a member
//! itself; a group without members does not exist. Every change locks the row of its group first, so the changes of
//! one group are one after the other.

use std::collections::HashSet;

use ringway_engine::ids::{ConversationId, Uid};
use ringway_store::limits::{GROUP_MEMBERS_MAX, GROUPS_PER_USER_MAX, SYSTEM_MESSAGE_UIDS_MAX};
use ringway_store::ports::{DirectoryError, Group, Member, Membership, Role, Signal};
use sqlx::MySqlConnection;

use super::outbox::Notice;
use super::{Failed, outbox};
use crate::database::Database;
use crate::fault::{is_duplicate, wrong};
use crate::limits::LIST_MAX;
use crate::lists::{filled, push_list, statement};
use crate::text::Text;

const OWNER: u8 = 0;
const MEMBER: u8 = 2;

fn role_of(code: u8) -> Role {
    match code {
        OWNER => Role::Owner,
        1 => Role::Admin,
        _ => Role::Member,
    }
}

fn conversation(id: &str) -> Result<ConversationId, DirectoryError> {
    ConversationId::group(id).map_err(|_| DirectoryError::NotFound)
}

fn notice_body(event: &str, by: &str, uids: &[&str]) -> String {
    let shown = uids.get(..SYSTEM_MESSAGE_UIDS_MAX).unwrap_or(uids);
    if shown.len() == uids.len() {
        return serde_json::json!({ "event": event, "by": by, "uids": shown }).to_string();
    }
    serde_json::json!({ "event": event, "by": by, "uids": shown, "count": uids.len() }).to_string()
}

fn distinct<'a>(uids: impl Iterator<Item = &'a Uid>) -> Vec<&'a str> {
    let mut uids: Vec<&str> = uids.map(Uid::as_str).collect();
    uids.sort_unstable();
    uids.dedup();
    uids
}

fn parse_uid(text: &str) -> Result<Uid, Failed> {
    Ok(Uid::parse(text).map_err(wrong)?)
}

/// Refuses users who do not exist or are in too many groups already.
async fn check_users(connection: &mut MySqlConnection, uids: &[&str]) -> Result<(), Failed> {
    for chunk in uids.chunks(LIST_MAX) {
        let mut select = statement("SELECT COUNT(*) FROM users WHERE uid IN ");
        push_list(&mut select, chunk.iter().copied());
        let known: i64 = select.build_query_scalar().fetch_one(&mut *connection).await?;
        if usize::try_from(known).ok() != Some(chunk.len()) {
            return Err(DirectoryError::NotFound.into());
        }
    }
    for chunk in uids.chunks(LIST_MAX) {
        let mut select = statement("SELECT uid FROM group_members WHERE uid IN ");
        push_list(&mut select, chunk.iter().copied());
        select.push(" GROUP BY uid HAVING COUNT(*) >= ").push_bind(GROUPS_PER_USER_MAX as u64).push(" LIMIT 1");
        let full: Option<Text> = select.build_query_scalar().fetch_optional(&mut *connection).await?;
        if full.is_some() {
            return Err(DirectoryError::Limit("groups of a user").into());
        }
    }
    Ok(())
}

async fn insert_members(
    connection: &mut MySqlConnection,
    id: &str,
    uids: &[&str],
    owner: Option<&str>,
    joined_ms: u64,
    joined_seq: u64,
) -> Result<(), Failed> {
    for chunk in uids.chunks(LIST_MAX) {
        let mut insert = statement("INSERT INTO group_members (group_id, uid, role, joined_ms, joined_seq) ");
        insert.push_values(filled(chunk), |mut row, uid| {
            let role = if owner == Some(*uid) { OWNER } else { MEMBER };
            row.push_bind(id).push_bind(*uid).push_bind(role).push_bind(joined_ms).push_bind(joined_seq);
        });
        insert.push(" ON DUPLICATE KEY UPDATE uid = VALUES(uid)");
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn create(
    database: &Database,
    id: &str,
    name: &str,
    owner: &Uid,
    members: &[Uid],
    now_ms: u64,
) -> Result<Group, Failed> {
    let conv = conversation(id)?;
    let uids = distinct(members.iter().chain([owner]));
    if uids.len() > GROUP_MEMBERS_MAX {
        return Err(DirectoryError::Limit("members of a group").into());
    }
    let mut change = database.write().await?;
    check_users(&mut change, &uids).await?;
    let made = sqlx::query("INSERT INTO `groups` (id, name, owner, members, created_ms) VALUES (?, ?, ?, ?, ?)")
        .bind(id)
        .bind(name)
        .bind(owner.as_str())
        .bind(uids.len() as u64)
        .bind(now_ms)
        .execute(&mut *change)
        .await;
    match made {
        Err(error) if is_duplicate(&error) => return Err(DirectoryError::Taken.into()),
        made => made.map(drop)?,
    }
    // A dissolved group's id may come back; what was said there before is not for the new members.
    let head: Option<u64> = sqlx::query_scalar("SELECT head FROM conversations WHERE conv = ?")
        .bind(conv.as_str())
        .fetch_optional(&mut *change)
        .await?;
    insert_members(&mut change, id, &uids, Some(owner.as_str()), now_ms, head.unwrap_or(0)).await?;
    let others: Vec<&str> = uids.iter().copied().filter(|uid| *uid != owner.as_str()).collect();
    let body = notice_body("created", owner.as_str(), &others);
    let signal = Signal::MembersAdded { conv: conv.to_string(), uids: uids.iter().map(ToString::to_string).collect() };
    outbox::put(&mut change, &signal, Some(Notice { conv: conv.as_str(), body: &body })).await?;
    change.commit().await?;
    let members = uids.len() as u64;
    Ok(Group { id: id.to_owned(), conv, name: name.to_owned(), owner: owner.clone(), members, created_ms: now_ms })
}

pub(super) async fn find(database: &Database, id: &str) -> Result<Option<Group>, Failed> {
    let row: Option<(Text, Text, u64, u64)> =
        sqlx::query_as("SELECT name, owner, members, created_ms FROM `groups` WHERE id = ?")
            .bind(id)
            .fetch_optional(database.primary())
            .await?;
    let Some((name, owner, members, created_ms)) = row else { return Ok(None) };
    let owner = parse_uid(&owner.0)?;
    Ok(Some(Group { id: id.to_owned(), conv: conversation(id)?, name: name.0, owner, members, created_ms }))
}

pub(super) async fn members(database: &Database, id: &str, after: &str, limit: usize) -> Result<Vec<Member>, Failed> {
    let rows: Vec<(Text, u8, u64)> = sqlx::query_as(
        "SELECT uid, role, joined_ms FROM group_members WHERE group_id = ? AND uid > ? ORDER BY uid LIMIT ?",
    )
    .bind(id)
    .bind(after)
    .bind(limit as u64)
    .fetch_all(database.primary())
    .await?;
    if rows.is_empty() && find(database, id).await?.is_none() {
        return Err(DirectoryError::NotFound.into());
    }
    let member = |(uid, role, joined_ms): (Text, u8, u64)| {
        Ok(Member { uid: parse_uid(&uid.0)?, role: role_of(role), joined_ms })
    };
    rows.into_iter().map(member).collect()
}

/// Locks a group; its number of members.
async fn lock(connection: &mut MySqlConnection, id: &str) -> Result<u64, Failed> {
    let members: Option<u64> = sqlx::query_scalar("SELECT members FROM `groups` WHERE id = ? FOR UPDATE")
        .bind(id)
        .fetch_optional(connection)
        .await?;
    members.ok_or_else(|| DirectoryError::NotFound.into())
}

async fn count_members(connection: &mut MySqlConnection, id: &str, members: u64) -> Result<(), Failed> {
    sqlx::query("UPDATE `groups` SET members = ? WHERE id = ?").bind(members).bind(id).execute(connection).await?;
    Ok(())
}

pub(super) async fn add(
    database: &Database,
    id: &str,
    by: &Uid,
    uids: &[Uid],
    joined_seq: u64,
    now_ms: u64,
) -> Result<Vec<Uid>, Failed> {
    let conv = conversation(id)?;
    let mut change = database.write().await?;
    let present = lock(&mut change, id).await?;
    let asked = distinct(uids.iter());
    let mut inside: HashSet<String> = HashSet::new();
    for chunk in asked.chunks(LIST_MAX) {
        let mut select = statement("SELECT uid FROM group_members WHERE group_id = ");
        select.push_bind(id).push(" AND uid IN ");
        push_list(&mut select, chunk.iter().copied());
        let rows: Vec<Text> = select.build_query_scalar().fetch_all(&mut *change).await?;
        inside.extend(rows.into_iter().map(|uid| uid.0));
    }
    let fresh: Vec<&str> = asked.into_iter().filter(|uid| !inside.contains(*uid)).collect();
    if fresh.is_empty() {
        return Ok(Vec::new());
    }
    let members = present + fresh.len() as u64;
    if members > GROUP_MEMBERS_MAX as u64 {
        return Err(DirectoryError::Limit("members of a group").into());
    }
    check_users(&mut change, &fresh).await?;
    insert_members(&mut change, id, &fresh, None, now_ms, joined_seq).await?;
    count_members(&mut change, id, members).await?;
    let body = notice_body("joined", by.as_str(), &fresh);
    let added = fresh.iter().map(|uid| parse_uid(uid)).collect::<Result<Vec<_>, _>>()?;
    let signal = Signal::MembersAdded { conv: conv.to_string(), uids: fresh.iter().map(ToString::to_string).collect() };
    outbox::put(&mut change, &signal, Some(Notice { conv: conv.as_str(), body: &body })).await?;
    change.commit().await?;
    Ok(added)
}

pub(super) async fn remove(database: &Database, id: &str, by: &Uid, uid: &Uid, now_ms: u64) -> Result<(), Failed> {
    let conv = conversation(id)?;
    let mut change = database.write().await?;
    let present = lock(&mut change, id).await?;
    let role: Option<u8> = sqlx::query_scalar("SELECT role FROM group_members WHERE group_id = ? AND uid = ?")
        .bind(id)
        .bind(uid.as_str())
        .fetch_optional(&mut *change)
        .await?;
    let role = role_of(role.ok_or(DirectoryError::NotFound)?);
    sqlx::query("DELETE FROM group_members WHERE group_id = ? AND uid = ?")
        .bind(id)
        .bind(uid.as_str())
        .execute(&mut *change)
        .await?;
    let heir: Option<Text> =
        sqlx::query_scalar("SELECT uid FROM group_members WHERE group_id = ? ORDER BY role, joined_ms, uid LIMIT 1")
            .bind(id)
            .fetch_optional(&mut *change)
            .await?;
    let signal = Signal::MembersRemoved { conv: conv.to_string(), uids: vec![uid.to_string()] };
    let event = if by == uid { "left" } else { "removed" };
    let body = notice_body(event, by.as_str(), &[uid.as_str()]);
    let mut notice = Some(Notice { conv: conv.as_str(), body: &body });
    match heir {
        None => {
            sqlx::query("DELETE FROM `groups` WHERE id = ?").bind(id).execute(&mut *change).await?;
            tracing::info!(group = id, now_ms, "the last member left: group dissolved");
            notice = None;
        }
        Some(heir) => {
            count_members(&mut change, id, present.saturating_sub(1)).await?;
            if role == Role::Owner {
                hand_over(&mut change, id, &heir.0).await?;
            }
        }
    }
    outbox::put(&mut change, &signal, notice).await?;
    change.commit().await?;
    Ok(())
}

async fn hand_over(connection: &mut MySqlConnection, id: &str, heir: &str) -> Result<(), Failed> {
    sqlx::query("UPDATE group_members SET role = ? WHERE group_id = ? AND uid = ?")
        .bind(OWNER)
        .bind(id)
        .bind(heir)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE `groups` SET owner = ? WHERE id = ?").bind(heir).bind(id).execute(connection).await?;
    Ok(())
}

pub(super) async fn membership(database: &Database, id: &str, uid: &Uid) -> Result<Option<Membership>, Failed> {
    let row: Option<(u8, u64)> =
        sqlx::query_as("SELECT role, joined_seq FROM group_members WHERE group_id = ? AND uid = ?")
            .bind(id)
            .bind(uid.as_str())
            .fetch_optional(database.primary())
            .await?;
    Ok(row.map(|(role, joined_seq)| Membership { role: role_of(role), joined_seq }))
}

pub(super) async fn of_user(database: &Database, uid: &Uid) -> Result<Vec<ConversationId>, Failed> {
    let ids: Vec<Text> = sqlx::query_scalar("SELECT group_id FROM group_members WHERE uid = ? ORDER BY group_id")
        .bind(uid.as_str())
        .fetch_all(database.primary())
        .await?;
    ids.iter().map(|id| Ok(conversation(&id.0)?)).collect()
}
