//! Where a conversation's messages lie: which months hold which of its numbers (`conversation_months`).

use std::collections::HashMap;

use sqlx::MySqlConnection;

use crate::limits::{LIST_MAX, NUMBERS_AT_ONCE};
use crate::lists::{push_list, statement};
use crate::months::{Month, or_dropped};
use crate::text::Text;

/// The numbers of one conversation in one month, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) month: Month,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// A conversation that has a row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) id: u64,
    /// Rising, in month and numbers.
    pub(crate) spans: Vec<Span>,
}

impl Known {
    /// The month that holds a number, if any does.
    pub(crate) fn month_of(&self, seq: u64) -> Option<Month> {
        self.spans.iter().find(|span| seq <= span.last).filter(|span| span.first <= seq).map(|span| span.month)
    }
}

fn span(month: Option<u32>, first: Option<u64>, last: Option<u64>) -> Option<Span> {
    Some(Span { month: Month::from_number(month?)?, first: first?, last: last? })
}

/// The conversations of these names that have a row.
pub(crate) async fn of_names(
    connection: &mut MySqlConnection,
    convs: &[&str],
) -> Result<HashMap<String, Known>, sqlx::Error> {
    type Found = (Text, u64, Option<u32>, Option<u64>, Option<u64>);
    let mut known: HashMap<String, Known> = HashMap::with_capacity(convs.len());
    for chunk in convs.chunks(LIST_MAX) {
        let mut select = statement(
            "SELECT c.conv, c.id, m.month, m.first_seq, m.last_seq FROM conversations c \
             LEFT JOIN conversation_months m ON m.conversation = c.id WHERE c.conv IN ",
        );
        push_list(&mut select, chunk.iter().copied());
        select.push(" ORDER BY c.id, m.month");
        let rows: Vec<Found> = select.build_query_as().fetch_all(&mut *connection).await?;
        for (conv, id, month, first, last) in rows {
            let of = known.entry(conv.0).or_insert(Known { id, spans: Vec::new() });
            of.spans.extend(span(month, first, last));
        }
    }
    Ok(known)
}

/// The spans of conversations by their row numbers.
pub(crate) async fn of_rows(connection: &mut MySqlConnection, ids: &[u64]) -> Result<HashMap<u64, Known>, sqlx::Error> {
    type Found = (u64, u32, u64, u64);
    let mut known: HashMap<u64, Known> = ids.iter().map(|id| (*id, Known { id: *id, spans: Vec::new() })).collect();
    for chunk in ids.chunks(LIST_MAX) {
        let mut select = statement(
            "SELECT conversation, month, first_seq, last_seq FROM conversation_months WHERE conversation IN ",
        );
        push_list(&mut select, chunk.iter().copied());
        select.push(" ORDER BY conversation, month");
        let rows: Vec<Found> = select.build_query_as().fetch_all(&mut *connection).await?;
        for (id, month, first, last) in rows {
            if let Some(of) = known.get_mut(&id) {
                of.spans.extend(span(Some(month), Some(first), Some(last)));
            }
        }
    }
    Ok(known)
}

/// Archived numbers above `above`, rising, a bounded number of them; empty when there is none.
async fn numbers_above(connection: &mut MySqlConnection, known: &Known, above: u64) -> Result<Vec<u64>, sqlx::Error> {
    for span in known.spans.iter().filter(|span| span.last > above) {
        let text =
            format!("SELECT seq FROM {} WHERE conversation = ? AND seq > ? ORDER BY seq LIMIT ?", span.month.table());
        let numbers = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
            .bind(known.id)
            .bind(above)
            .bind(NUMBERS_AT_ONCE)
            .fetch_all(&mut *connection)
            .await;
        let numbers: Vec<u64> = or_dropped(numbers)?;
        if !numbers.is_empty() {
            return Ok(numbers);
        }
    }
    Ok(Vec::new())
}

/// The end of the run of archived numbers that goes on from `dense`.
pub(crate) async fn dense_end(
    connection: &mut MySqlConnection,
    known: &Known,
    mut dense: u64,
) -> Result<u64, sqlx::Error> {
    loop {
        let numbers = numbers_above(connection, known, dense).await?;
        let run = numbers.iter().zip(dense + 1..).take_while(|(number, expected)| *number == expected).count();
        dense += run as u64;
        if run < numbers.len() || numbers.is_empty() {
            return Ok(dense);
        }
    }
}

/// The numbers between `dense` and `head` that no archived message holds.
pub(crate) async fn holes(
    connection: &mut MySqlConnection,
    known: &Known,
    dense: u64,
    head: u64,
) -> Result<Vec<u64>, sqlx::Error> {
    let (mut holes, mut last) = (Vec::new(), dense);
    while last < head {
        let numbers = numbers_above(connection, known, last).await?;
        if numbers.is_empty() {
            // What holds `head` was dropped a moment ago: nothing up to it is a hole.
            break;
        }
        for number in numbers {
            holes.extend(last + 1..number.min(head.saturating_add(1)));
            last = number;
        }
    }
    Ok(holes)
}
