//! Lists in statements.
//!
//! A list is filled up to one of a few lengths by repeating its last item, so that the texts are few and every statement
//! stays prepared. That saves a round trip each; and the driver closes one that does not stay with a packet of its own,
//! after which the next waits 40 ms for the server's acknowledgement, for its sockets have no `TCP_NODELAY`. A repeated
//! item must make no difference: it finds nothing more, and an insert of it is an update of the row just inserted.

use sqlx::{Encode, MySql, QueryBuilder, Type};

use crate::limits::LIST_SIZES;

/// A statement that begins with this text.
pub(crate) fn statement(text: impl Into<String>) -> QueryBuilder<MySql> {
    QueryBuilder::new(text)
}

/// The items, and the last of them again up to one of the fixed lengths.
pub(crate) fn filled<T: Clone>(items: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
    let items: Vec<T> = items.into_iter().collect();
    let length = LIST_SIZES.into_iter().find(|size| items.len() <= *size).unwrap_or(items.len());
    let last = items.last().cloned();
    let missing = length - items.len();
    items.into_iter().chain(std::iter::repeat_n(last, missing).flatten())
}

/// `(?, ?, …)` with the values bound; at least one.
pub(crate) fn push_list<T>(statement: &mut QueryBuilder<MySql>, values: impl IntoIterator<Item = T>)
where
    T: for<'e> Encode<'e, MySql> + Type<MySql> + Clone,
{
    statement.push("(");
    let mut list = statement.separated(", ");
    for value in filled(values) {
        list.push_bind(value);
    }
    statement.push(")");
}

/// `(… OR …)`, each part pushed by `push`; at least one.
pub(crate) fn push_any<T: Clone>(
    statement: &mut QueryBuilder<MySql>,
    parts: impl IntoIterator<Item = T>,
    mut push: impl FnMut(&mut QueryBuilder<MySql>, T),
) {
    for (at, part) in filled(parts).enumerate() {
        statement.push(if at == 0 { "((" } else { " OR (" });
        push(statement, part);
        statement.push(")");
    }
    statement.push(")");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_few_lengths() {
        assert_eq!(filled(0..0).count(), 0);
        for (length, expected) in [(1, 1), (2, 8), (8, 8), (9, 64), (65, 512), (512, 512)] {
            let items: Vec<usize> = filled(0..length).collect();
            assert_eq!(items.len(), expected);
            assert!(items.iter().enumerate().all(|(at, item)| *item == at.min(length - 1)));
        }
    }
}
