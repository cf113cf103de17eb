//! How far back a device that was away is sent messages: a bound by age, over what a shared state knows.

use ringway_engine::limits::OFFLINE_MS;

use crate::ports::{DevicePoint, Records, StoreError};

/// Raises the floors of devices whose oldest unacknowledged messages are older than [`OFFLINE_MS`].
///
/// # Errors
/// The records could not answer.
pub async fn bound_by_age(records: &dyn Records, points: &mut [DevicePoint], now_ms: u64) -> Result<(), StoreError> {
    // The age of a queue costs a look-up, so it is only looked at where something is queued.
    let oldest = |point: &DevicePoint| point.device_cursor.or(point.user_cursor).unwrap_or(0).max(point.floor) + 1;
    let queued: Vec<(&str, u64)> = points
        .iter()
        .filter(|point| oldest(point) <= point.head)
        .map(|point| (point.conv.as_str(), oldest(point)))
        .collect();
    if queued.is_empty() {
        return Ok(());
    }
    let times = records.times(&queued).await?;
    let cutoff_ms = now_ms.saturating_sub(OFFLINE_MS);
    for point in points {
        let first = oldest(point);
        let conv = point.conv.to_string();
        if times.get(&(conv.clone(), first)).is_some_and(|ts_ms| *ts_ms < cutoff_ms) {
            point.floor = last_before(records, &conv, first, point.head, cutoff_ms).await?;
        }
    }
    Ok(())
}

/// The last number from `first` (which is old) to `head` whose message was taken before `cutoff_ms`:
/// a binary search, as times rise with numbers but for small steps of the clock.
async fn last_before(
    records: &dyn Records,
    conv: &str,
    first: u64,
    head: u64,
    cutoff_ms: u64,
) -> Result<u64, StoreError> {
    let (mut old, mut young) = (first, head + 1);
    while young - old > 1 {
        let middle = old + (young - old) / 2;
        let times = records.times(&[(conv, middle)]).await?;
        // What is not archived yet is young.
        if times.get(&(conv.to_owned(), middle)).is_some_and(|ts_ms| *ts_ms < cutoff_ms) {
            old = middle;
        } else {
            young = middle;
        }
    }
    Ok(old)
}
