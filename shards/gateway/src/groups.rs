//! The groups that one session is in.

use std::ops::Deref;
use std::sync::Arc;

use ringway_engine::ids::ConversationId;

/// A list that takes a word while it is empty. Shard and uplink share one copy until either of them changes it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Groups(Option<Arc<Vec<ConversationId>>>);

impl Groups {
    /// Adds a group that is not in it.
    pub(crate) fn push(&mut self, group: ConversationId) {
        Arc::make_mut(self.0.get_or_insert_default()).push(group);
    }

    /// Takes a group out; false when it was not in it.
    pub(crate) fn remove(&mut self, group: &ConversationId) -> bool {
        let Some(at) = self.iter().position(|held| held == group) else { return false };
        if let Some(groups) = &mut self.0 {
            Arc::make_mut(groups).swap_remove(at);
        }
        self.0.take_if(|groups| groups.is_empty());
        true
    }
}

impl From<Vec<ConversationId>> for Groups {
    fn from(mut groups: Vec<ConversationId>) -> Self {
        groups.shrink_to_fit();
        Self((!groups.is_empty()).then(|| Arc::new(groups)))
    }
}

impl Deref for Groups {
    type Target = [ConversationId];

    fn deref(&self) -> &[ConversationId] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_changes_alone() {
        let group = |id: &str| ConversationId::group(id).unwrap();
        let mut one = Groups::from(vec![group("a")]);
        let mut other = one.clone();
        other.push(group("b"));
        assert!(other.remove(&group("a")) && !other.remove(&group("a")));
        assert_eq!((&*one, &*other), (&[group("a")][..], &[group("b")][..]));
        assert!(one.remove(&group("a")));
        one.push(group("c"));
        assert_eq!(&*one, [group("c")]);
    }
}
