//! Any bytes: `Event::decode` neither panics nor over-reads, and what it takes it writes again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_engine::event::Event;

fuzz_target!(|data: &[u8]| {
    if let Ok(event) = Event::decode(data) {
        assert_eq!(Event::decode(&event.encode()), Ok(event));
    }
});
