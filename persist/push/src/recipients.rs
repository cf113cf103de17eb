//! Who is to see a conversation: read from its id, or from the directory and remembered for a while.
//!
//! Bounded by `GROUPS_REMEMBERED_MAX`. Larger groups than the bound of write fan-out have no recipients here, nor have
//! notices of the server to nobody: gateways say such to themselves to see whether messages get through.

use std::collections::HashMap;
use std::sync::Arc;

use ringway_engine::ids::{ConversationId, ConversationKind, Uid};
use ringway_store::ports::{Directory, DirectoryError};

use crate::limits::{GROUP_MEMBERS_MS, GROUPS_REMEMBERED_MAX, MEMBERS_AT_ONCE};

struct Members {
    read_ms: u64,
    uids: Arc<[Uid]>,
}

/// See the module's doc.
pub(crate) struct Recipients {
    directory: Arc<dyn Directory>,
    members_max: u64,
    remembered: HashMap<ConversationId, Members>,
}

impl Recipients {
    pub(crate) fn new(directory: Arc<dyn Directory>, members_max: u64) -> Self {
        Self { directory, members_max, remembered: HashMap::new() }
    }

    /// Everybody in the conversation, its senders too.
    pub(crate) async fn of(&mut self, conv: &ConversationId, now_ms: u64) -> Result<Arc<[Uid]>, DirectoryError> {
        match conv.kind() {
            ConversationKind::P2p(low, high) => Ok([low, high].iter().filter_map(|uid| Uid::parse(uid).ok()).collect()),
            ConversationKind::Group(_) | ConversationKind::System(_) => self.looked_up(conv, now_ms).await,
        }
    }

    async fn looked_up(&mut self, conv: &ConversationId, now_ms: u64) -> Result<Arc<[Uid]>, DirectoryError> {
        let is_believed = |known: &&Members| now_ms.saturating_sub(known.read_ms) < GROUP_MEMBERS_MS;
        if let Some(known) = self.remembered.get(conv).filter(is_believed) {
            return Ok(Arc::clone(&known.uids));
        }
        let uids = match conv.kind() {
            ConversationKind::Group(id) => self.read_members(id).await?,
            ConversationKind::System(uid) => self.read_account(uid).await?,
            ConversationKind::P2p(..) => Arc::default(),
        };
        if self.remembered.len() >= GROUPS_REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(conv.clone(), Members { read_ms: now_ms, uids: Arc::clone(&uids) });
        Ok(uids)
    }

    async fn read_account(&self, uid: &str) -> Result<Arc<[Uid]>, DirectoryError> {
        let Ok(uid) = Uid::parse(uid) else { return Ok(Arc::default()) };
        let account = self.directory.account(&uid).await?;
        Ok(account.map(|_| uid).into_iter().collect())
    }

    async fn read_members(&self, id: &str) -> Result<Arc<[Uid]>, DirectoryError> {
        let Some(group) = self.directory.group(id).await? else { return Ok(Arc::default()) };
        if group.members > self.members_max {
            return Ok(Arc::default());
        }
        let mut uids: Vec<Uid> = Vec::new();
        loop {
            let after = uids.last().map_or("", Uid::as_str);
            let page = match self.directory.members(id, after, MEMBERS_AT_ONCE).await {
                // Dissolved meanwhile.
                Err(DirectoryError::NotFound) => return Ok(Arc::default()),
                other => other?,
            };
            let is_last = page.len() < MEMBERS_AT_ONCE;
            uids.extend(page.into_iter().map(|member| member.uid));
            if is_last || uids.len() as u64 > self.members_max {
                return Ok(uids.into());
            }
        }
    }
}
