//! Conformance of [`Directory`].

use super::{device, uid};
use crate::limits::{GROUP_MEMBERS_MAX, SYSTEM_MESSAGE_UIDS_MAX};
use crate::ports::{Account, Directory, DirectoryError, NewSession, Role, Signal};

/// Creates accounts with these ids.
pub async fn create_accounts(directory: &dyn Directory, uids: &[&str]) {
    for id in uids {
        let account = Account { uid: uid(id), name: id.to_uppercase(), created_ms: 5 };
        directory.create_account(&account, "").await.unwrap();
    }
}

/// An account is created once, found and renamed.
pub async fn accounts(directory: &dyn Directory) {
    let alice = Account { uid: uid("alice"), name: "Alice".into(), created_ms: 5 };
    assert!(directory.account(&alice.uid).await.unwrap().is_none());
    assert!(matches!(directory.rename_account(&alice.uid, "A").await, Err(DirectoryError::NotFound)));
    directory.create_account(&alice, "$argon2id$x").await.unwrap();
    assert!(matches!(directory.create_account(&alice, "other").await, Err(DirectoryError::Taken)));
    assert_eq!(directory.account(&alice.uid).await.unwrap(), Some(alice.clone()));
    assert_eq!(directory.password_hash(&alice.uid).await.unwrap().as_deref(), Some("$argon2id$x"));
    assert_eq!(directory.password_hash(&uid("bob")).await.unwrap(), None);
    directory.rename_account(&alice.uid, "爱丽丝").await.unwrap();
    assert_eq!(directory.account(&alice.uid).await.unwrap().unwrap().name, "爱丽丝");
}

fn session(sid: &str, hash: &[u8]) -> NewSession {
    NewSession {
        sid: sid.into(),
        uid: uid("alice"),
        device: device("Phone-1"),
        platform: "ios".into(),
        refresh_hash: hash.to_vec(),
        created_ms: 10,
        expires_ms: 100,
    }
}

/// A refresh token serves once; a spent one ends its session, and gateways are told.
pub async fn sessions(directory: &dyn Directory) {
    create_accounts(directory, &["alice"]).await;
    directory.open_session(&session("s1", b"h1")).await.unwrap();
    directory.open_session(&session("s2", b"other")).await.unwrap();
    let rotated = directory.rotate_session(b"h1", b"h2", 20, 200).await.unwrap();
    assert_eq!((rotated.sid.as_str(), rotated.uid, rotated.expires_ms), ("s1", uid("alice"), 200));
    assert_eq!(rotated.device, device("Phone-1"));
    let not_found = |answer| assert!(matches!(answer, Err(DirectoryError::NotFound)));
    not_found(directory.rotate_session(b"unknown", b"h3", 20, 200).await);
    assert!(directory.outbox(10).await.unwrap().is_empty(), "an unknown token revokes nothing");
    not_found(directory.rotate_session(b"other", b"h3", 100, 200).await);
    directory.rotate_session(b"h2", b"h3", 20, 300).await.unwrap();
    not_found(directory.rotate_session(b"h1", b"h4", 20, 200).await);
    not_found(directory.rotate_session(b"h3", b"h4", 20, 200).await);
    let outbox = directory.outbox(10).await.unwrap();
    assert_eq!(outbox.len(), 1);
    assert_eq!(outbox[0].signal, Some(Signal::SessionRevoked { sid: "s1".into(), until_ms: 300 }));
    not_found(directory.rotate_session(b"h1", b"h4", 20, 200).await);
    assert_eq!(directory.outbox(10).await.unwrap().len(), 1, "revoked once");

    assert!(matches!(directory.revoke_session("none", 20, 50).await, Err(DirectoryError::NotFound)));
    directory.revoke_session("s2", 20, 50).await.unwrap();
    let mut revoked = directory.revoked_sessions(20).await.unwrap();
    revoked.sort();
    assert_eq!(revoked, [("s1".to_owned(), 300), ("s2".to_owned(), 50)]);
    assert_eq!(directory.revoked_sessions(50).await.unwrap(), [("s1".to_owned(), 300)]);
    let outbox = directory.outbox(10).await.unwrap();
    assert!(outbox.len() == 2 && outbox[0].id < outbox[1].id);
    directory.outbox_done(outbox[0].id).await.unwrap();
    assert_eq!(directory.outbox(10).await.unwrap()[0].id, outbox[1].id);
    directory.outbox_done(outbox[1].id).await.unwrap();
    directory.revoke_session("s2", 20, 60).await.unwrap();
    let again = directory.outbox(1).await.unwrap();
    assert!(again[0].id > outbox[1].id, "ids rise though the outbox was empty");
}

/// Groups are created, joined, left, inherited and dissolved; each change tells members in the same commit.
pub async fn groups(directory: &dyn Directory) {
    create_accounts(directory, &["alice", "bob", "carol", "dave"]).await;
    let (alice, bob, carol, dave) = (uid("alice"), uid("bob"), uid("carol"), uid("dave"));
    let not_found = directory.create_group("g", "G", &alice, &[uid("nobody")], 7).await;
    assert!(matches!(not_found, Err(DirectoryError::NotFound)));
    assert!(directory.group("g").await.unwrap().is_none(), "nothing is left of a refused change");
    let group = directory.create_group("g", "G", &alice, &[bob.clone(), bob.clone()], 7).await.unwrap();
    assert_eq!((group.conv.as_str(), group.members), ("group:g", 2));
    assert_eq!(directory.group("g").await.unwrap(), Some(group));
    assert!(matches!(directory.create_group("g", "G", &alice, &[], 7).await, Err(DirectoryError::Taken)));
    let created = directory.outbox(10).await.unwrap();
    let uids = vec!["alice".to_owned(), "bob".to_owned()];
    assert_eq!(created[0].signal, Some(Signal::MembersAdded { conv: "group:g".into(), uids }));
    let message = created[0].message.clone().unwrap();
    assert_eq!((message.conv.as_str(), message.kind.as_str()), ("group:g", "system"));
    let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!(body, serde_json::json!({"event":"created","by":"alice","uids":["bob"]}));
    assert_eq!(directory.outbox(10).await.unwrap()[0].message.as_ref(), Some(&message), "an entry never changes");

    let uids = [carol.clone(), bob.clone()];
    let added = directory.add_members("g", &alice, &uids, 41, 8).await.unwrap();
    assert!(added.len() == 1 && added[0] == carol);
    assert!(directory.add_members("g", &alice, &uids, 50, 9).await.unwrap().is_empty());
    assert_eq!(directory.outbox(10).await.unwrap().len(), 2, "nothing is told where nothing changed");
    let place = directory.membership("g", &carol).await.unwrap().unwrap();
    assert_eq!((place.role, place.joined_seq), (Role::Member, 41));
    assert_eq!(directory.membership("g", &dave).await.unwrap(), None);
    assert_eq!(directory.membership("none", &bob).await.unwrap(), None);
    let members = directory.members("g", "", 2).await.unwrap();
    assert_eq!(
        (members[0].uid.clone(), members[0].role, members[1].uid.clone()),
        (alice.clone(), Role::Owner, bob.clone())
    );
    assert_eq!(directory.members("g", "bob", 10).await.unwrap().len(), 1);
    assert!(matches!(directory.members("none", "", 1).await, Err(DirectoryError::NotFound)));
    assert!(matches!(directory.add_members("none", &alice, &uids, 0, 8).await, Err(DirectoryError::NotFound)));
    assert_eq!(directory.groups_of(&carol).await.unwrap()[0].as_str(), "group:g");

    directory.remove_member("g", &alice, &alice, 9).await.unwrap();
    assert_eq!(directory.group("g").await.unwrap().unwrap().owner, bob, "the longest-standing member inherits");
    assert_eq!(directory.membership("g", &bob).await.unwrap().unwrap().role, Role::Owner);
    directory.remove_member("g", &bob, &carol, 9).await.unwrap();
    let told = directory.outbox(10).await.unwrap().pop().unwrap();
    assert_eq!(told.signal, Some(Signal::MembersRemoved { conv: "group:g".into(), uids: vec!["carol".into()] }));
    assert!(told.message.unwrap().body.contains("\"removed\""));
    assert!(matches!(directory.remove_member("g", &bob, &carol, 9).await, Err(DirectoryError::NotFound)));
    assert_eq!(directory.group("g").await.unwrap().unwrap().members, 1);
    directory.remove_member("g", &bob, &bob, 9).await.unwrap();
    assert!(directory.group("g").await.unwrap().is_none());
    assert!(directory.groups_of(&bob).await.unwrap().is_empty());
}

/// The names of the accounts that must exist for [`the_largest_group`]: one more than it may hold.
#[must_use]
pub fn many_names() -> Vec<String> {
    (0..=GROUP_MEMBERS_MAX).map(|n| format!("u{n:05}")).collect()
}

/// The largest group is made in one call; one more member is refused. The accounts of [`many_names`]
/// exist: the adapter's test makes them, in bulk.
pub async fn the_largest_group(directory: &dyn Directory) {
    let uids: Vec<_> = many_names().iter().map(|name| uid(name)).collect();
    let refused = directory.create_group("big", "Big", &uids[0], &uids, 1).await;
    assert!(matches!(refused, Err(DirectoryError::Limit(_))));
    let group = directory.create_group("big", "Big", &uids[0], &uids[..GROUP_MEMBERS_MAX], 1).await.unwrap();
    assert_eq!(group.members, GROUP_MEMBERS_MAX as u64);
    let refused = directory.add_members("big", &uids[0], &uids[GROUP_MEMBERS_MAX..], 0, 1).await;
    assert!(matches!(refused, Err(DirectoryError::Limit(_))));
    let entry = directory.outbox(1).await.unwrap().pop().unwrap();
    let body: serde_json::Value = serde_json::from_str(&entry.message.unwrap().body).unwrap();
    assert_eq!(body["uids"].as_array().unwrap().len(), SYSTEM_MESSAGE_UIDS_MAX);
    assert_eq!(body["count"], GROUP_MEMBERS_MAX - 1);
}
