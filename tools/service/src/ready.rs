//! The line on standard output that scripts wait for: `{"ready":{…}}`, once, when everything serves.

use std::io::Write as _;

use serde::Serialize;

#[derive(Serialize)]
struct ReadyLine<'a, T> {
    ready: &'a T,
}

/// The line, without its end.
pub fn line<T: Serialize>(ready: &T) -> String {
    serde_json::to_string(&ReadyLine { ready }).unwrap_or_default()
}

/// Prints it.
pub fn announce<T: Serialize>(ready: &T) {
    let mut output = std::io::stdout().lock();
    // Whoever started us may not care.
    let _ = writeln!(output, "{}", line(ready)).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_one_object_on_one_line() {
        let addresses = [("admin", "http://127.0.0.1:3")].into_iter().collect::<std::collections::BTreeMap<_, _>>();
        assert_eq!(line(&addresses), r#"{"ready":{"admin":"http://127.0.0.1:3"}}"#);
    }
}
