//! Many calls at once: they go out together on the one connection, and are answered in their order.

use std::future::Future;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use ringway_store::ports::StoreError;

use crate::limits::CALLS_AT_ONCE;

/// Awaits calls, at most `CALLS_AT_ONCE` of them under way. The first error ends it; calls that were sent by then
/// may still be carried out.
pub(crate) async fn together<T, F>(calls: Vec<F>) -> Result<Vec<T>, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    stream::iter(calls).buffered(CALLS_AT_ONCE).try_collect().await
}
