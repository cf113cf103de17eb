//! Groups and their members: rows of `groups` and `group_members`, changed together with the outbox.
//!
//! Invariants: `groups.members` is the number of its rows in `group_members`; a group has one owner, a
//! member itself; a group without members does not exist. Lists of users go to SQLite as one JSON
//! value, so ten thousand members cost one statement.

use ringway_engine::ids::{ConversationId, Uid};
use sqlx::{Sqlite, Transaction};

use super::outbox::Notice;
use super::{Database, failed, json_list, outbox, signed, unsigned};
use crate::limits::{GROUP_MEMBERS_MAX, GROUPS_PER_USER_MAX, SYSTEM_MESSAGE_UIDS_MAX};
use crate::ports::{DirectoryError, Group, Member, Membership, Role, Signal, StoreError};

type Change = Transaction<'static, Sqlite>;

fn role_of(code: i64) -> Role {
    match code {
        0 => Role::Owner,
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

/// Refuses users who do not exist or are in too many groups already.
async fn check_users(change: &mut Change, uids: &str, count: usize) -> Result<(), DirectoryError> {
    let known: i64 = sqlx::query_scalar("SELECT count(*) FROM json_each(?1) j JOIN users u ON u.uid = j.value")
        .bind(uids)
        .fetch_one(&mut **change)
        .await
        .map_err(failed)?;
    if unsigned(known) != count as u64 {
        return Err(DirectoryError::NotFound);
    }
    let full: i64 = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM json_each(?1) j \
         WHERE (SELECT count(*) FROM group_members m WHERE m.uid = j.value) >= ?2)",
    )
    .bind(uids)
    .bind(signed(GROUPS_PER_USER_MAX as u64))
    .fetch_one(&mut **change)
    .await
    .map_err(failed)?;
    if full == 0 { Ok(()) } else { Err(DirectoryError::Limit("groups of a user")) }
}

pub(super) async fn create(
    database: &Database,
    id: &str,
    name: &str,
    owner: &Uid,
    members: &[Uid],
    now_ms: u64,
) -> Result<Group, DirectoryError> {
    let conv = conversation(id)?;
    let uids = distinct(members.iter().chain([owner]));
    if uids.len() > GROUP_MEMBERS_MAX {
        return Err(DirectoryError::Limit("members of a group"));
    }
    let list = json_list(&uids)?;
    let mut change = database.write().await?;
    check_users(&mut change, &list, uids.len()).await?;
    let made = sqlx::query(
        "INSERT INTO groups (id, name, owner, members, created_ms) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
    )
    .bind(id)
    .bind(name)
    .bind(owner.as_str())
    .bind(signed(uids.len() as u64))
    .bind(signed(now_ms))
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    if made.rows_affected() == 0 {
        return Err(DirectoryError::Taken);
    }
    // A dissolved group's id may come back; what was said there before is not for the new members.
    sqlx::query(
        "INSERT INTO group_members (group_id, uid, role, joined_ms, joined_seq) \
         SELECT ?1, value, iif(value = ?2, 0, 2), ?3, \
                coalesce((SELECT head FROM conversations WHERE conv = ?4), 0) FROM json_each(?5)",
    )
    .bind(id)
    .bind(owner.as_str())
    .bind(signed(now_ms))
    .bind(conv.as_str())
    .bind(&list)
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    let others: Vec<&str> = uids.iter().copied().filter(|uid| *uid != owner.as_str()).collect();
    let body = notice_body("created", owner.as_str(), &others);
    let signal = Signal::MembersAdded { conv: conv.to_string(), uids: uids.iter().map(ToString::to_string).collect() };
    outbox::put(&mut change, Some(&signal), Some(Notice { conv: conv.as_str(), body: &body })).await?;
    change.commit().await.map_err(failed)?;
    database.outbox_filled.notify_one();
    let members = uids.len() as u64;
    Ok(Group { id: id.to_owned(), conv, name: name.to_owned(), owner: owner.clone(), members, created_ms: now_ms })
}

pub(super) async fn find(database: &Database, id: &str) -> Result<Option<Group>, DirectoryError> {
    let row: Option<(String, String, i64, i64)> =
        sqlx::query_as("SELECT name, owner, members, created_ms FROM groups WHERE id = ?1")
            .bind(id)
            .fetch_optional(&database.readers)
            .await
            .map_err(failed)?;
    let Some((name, owner, members, created_ms)) = row else { return Ok(None) };
    let owner = parse_uid(&owner)?;
    let (members, created_ms) = (unsigned(members), unsigned(created_ms));
    Ok(Some(Group { id: id.to_owned(), conv: conversation(id)?, name, owner, members, created_ms }))
}

fn parse_uid(text: &str) -> Result<Uid, StoreError> {
    Uid::parse(text).map_err(|error| StoreError::new("sqlite", error))
}

pub(super) async fn members(
    database: &Database,
    id: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<Member>, DirectoryError> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT uid, role, joined_ms FROM group_members WHERE group_id = ?1 AND uid > ?2 ORDER BY uid LIMIT ?3",
    )
    .bind(id)
    .bind(after)
    .bind(signed(limit as u64))
    .fetch_all(&database.readers)
    .await
    .map_err(failed)?;
    if rows.is_empty() && find(database, id).await?.is_none() {
        return Err(DirectoryError::NotFound);
    }
    rows.into_iter()
        .map(|(uid, role, joined_ms)| {
            Ok(Member { uid: parse_uid(&uid)?, role: role_of(role), joined_ms: unsigned(joined_ms) })
        })
        .collect()
}

pub(super) async fn add(
    database: &Database,
    id: &str,
    by: &Uid,
    uids: &[Uid],
    joined_seq: u64,
    now_ms: u64,
) -> Result<Vec<Uid>, DirectoryError> {
    let conv = conversation(id)?;
    let mut change = database.write().await?;
    let present: Option<i64> = sqlx::query_scalar("SELECT members FROM groups WHERE id = ?1")
        .bind(id)
        .fetch_optional(&mut *change)
        .await
        .map_err(failed)?;
    let present = unsigned(present.ok_or(DirectoryError::NotFound)?);
    let asked = json_list(&distinct(uids.iter()))?;
    let fresh: Vec<String> = sqlx::query_scalar(
        "SELECT j.value FROM json_each(?1) j WHERE NOT EXISTS \
         (SELECT 1 FROM group_members m WHERE m.group_id = ?2 AND m.uid = j.value)",
    )
    .bind(&asked)
    .bind(id)
    .fetch_all(&mut *change)
    .await
    .map_err(failed)?;
    if fresh.is_empty() {
        return Ok(Vec::new());
    }
    if present + fresh.len() as u64 > GROUP_MEMBERS_MAX as u64 {
        return Err(DirectoryError::Limit("members of a group"));
    }
    let list = json_list(&fresh)?;
    check_users(&mut change, &list, fresh.len()).await?;
    sqlx::query(
        "INSERT INTO group_members (group_id, uid, role, joined_ms, joined_seq) \
         SELECT ?1, value, 2, ?2, ?3 FROM json_each(?4)",
    )
    .bind(id)
    .bind(signed(now_ms))
    .bind(signed(joined_seq))
    .bind(&list)
    .execute(&mut *change)
    .await
    .map_err(failed)?;
    count_members(&mut change, id, signed(fresh.len() as u64)).await?;
    let shown: Vec<&str> = fresh.iter().map(String::as_str).collect();
    let body = notice_body("joined", by.as_str(), &shown);
    let added = fresh.iter().map(|uid| parse_uid(uid)).collect::<Result<Vec<_>, _>>()?;
    let signal = Signal::MembersAdded { conv: conv.to_string(), uids: fresh };
    outbox::put(&mut change, Some(&signal), Some(Notice { conv: conv.as_str(), body: &body })).await?;
    change.commit().await.map_err(failed)?;
    database.outbox_filled.notify_one();
    Ok(added)
}

async fn count_members(change: &mut Change, id: &str, by: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE groups SET members = members + ?2 WHERE id = ?1")
        .bind(id)
        .bind(by)
        .execute(&mut **change)
        .await
        .map_err(failed)?;
    Ok(())
}

pub(super) async fn remove(
    database: &Database,
    id: &str,
    by: &Uid,
    uid: &Uid,
    now_ms: u64,
) -> Result<(), DirectoryError> {
    let conv = conversation(id)?;
    let mut change = database.write().await?;
    let role: Option<i64> =
        sqlx::query_scalar("DELETE FROM group_members WHERE group_id = ?1 AND uid = ?2 RETURNING role")
            .bind(id)
            .bind(uid.as_str())
            .fetch_optional(&mut *change)
            .await
            .map_err(failed)?;
    let role = role_of(role.ok_or(DirectoryError::NotFound)?);
    count_members(&mut change, id, -1).await?;
    let heir: Option<String> =
        sqlx::query_scalar("SELECT uid FROM group_members WHERE group_id = ?1 ORDER BY role, joined_ms, uid LIMIT 1")
            .bind(id)
            .fetch_optional(&mut *change)
            .await
            .map_err(failed)?;
    let signal = Signal::MembersRemoved { conv: conv.to_string(), uids: vec![uid.to_string()] };
    let event = if by == uid { "left" } else { "removed" };
    let body = notice_body(event, by.as_str(), &[uid.as_str()]);
    let mut notice = Some(Notice { conv: conv.as_str(), body: &body });
    match heir {
        None => {
            sqlx::query("DELETE FROM groups WHERE id = ?1").bind(id).execute(&mut *change).await.map_err(failed)?;
            tracing::info!(group = id, now_ms, "the last member left: group dissolved");
            notice = None;
        }
        Some(heir) if role == Role::Owner => {
            for statement in [
                "UPDATE group_members SET role = 0 WHERE group_id = ?1 AND uid = ?2",
                "UPDATE groups SET owner = ?2 WHERE id = ?1",
            ] {
                sqlx::query(statement).bind(id).bind(&heir).execute(&mut *change).await.map_err(failed)?;
            }
        }
        Some(_) => {}
    }
    outbox::put(&mut change, Some(&signal), notice).await?;
    change.commit().await.map_err(failed)?;
    database.outbox_filled.notify_one();
    Ok(())
}

pub(super) async fn membership(database: &Database, id: &str, uid: &Uid) -> Result<Option<Membership>, DirectoryError> {
    let row: Option<(i64, i64)> =
        sqlx::query_as("SELECT role, joined_seq FROM group_members WHERE group_id = ?1 AND uid = ?2")
            .bind(id)
            .bind(uid.as_str())
            .fetch_optional(&database.readers)
            .await
            .map_err(failed)?;
    Ok(row.map(|(role, joined_seq)| Membership { role: role_of(role), joined_seq: unsigned(joined_seq) }))
}

pub(super) async fn of_user(database: &Database, uid: &Uid) -> Result<Vec<ConversationId>, DirectoryError> {
    Ok(database.gathers.groups.ask(database, uid.clone(), of_users).await?)
}

/// The groups of each user, in the order of the users.
async fn of_users(database: Database, uids: Vec<Uid>) -> Result<Vec<Vec<ConversationId>>, StoreError> {
    let asked: Vec<&str> = uids.iter().map(Uid::as_str).collect();
    let rows: Vec<(i64, String)> = sqlx::query_as(
        "SELECT j.key, m.group_id FROM json_each(?1) j CROSS JOIN group_members m ON m.uid = j.value \
         ORDER BY j.key, m.group_id",
    )
    .bind(json_list(&asked)?)
    .fetch_all(&database.readers)
    .await
    .map_err(failed)?;
    let mut groups: Vec<Vec<ConversationId>> = vec![Vec::new(); uids.len()];
    for (at, id) in rows {
        let group = ConversationId::group(&id).map_err(|error| StoreError::new("sqlite", error))?;
        if let Some(groups) = usize::try_from(at).ok().and_then(|at| groups.get_mut(at)) {
            groups.push(group);
        }
    }
    Ok(groups)
}
