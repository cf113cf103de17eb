//! Messages as text that is safe to put on a terminal or into a line.

use ringway_client::schema::Message;
use serde_json::Value;

/// One line without control characters: a body from elsewhere must not steer the terminal, nor look
/// like two messages. Newlines become `\n`, others `\u{…}`.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => line.push_str("\\n"),
            '\t' => line.push(' '),
            // Marks that turn the direction of writing can disguise what follows.
            _ if letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                line.extend(letter.escape_unicode());
            }
            _ => line.push(letter),
        }
    }
    line
}

/// What a message says, whatever its type, with its line breaks but no other control characters.
pub(super) fn of_message(message: &Message) -> String {
    let raw = match message.kind.as_str() {
        _ if !message.enc.is_empty() => format!("[{}: cannot be read]", message.kind),
        "text" | "" => message.body.clone(),
        "system" => of_system(&message.body),
        other => format!("[{other}] {}", message.body),
    };
    raw.split('\n').map(one_line).collect::<Vec<_>>().join("\n")
}

/// Who said it; the server has no name.
pub(super) fn sender(message: &Message) -> &str {
    if message.from.is_empty() { "*" } else { &message.from }
}

fn of_system(body: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let listed = value.get("uids").and_then(Value::as_array);
    let uids: Vec<&str> = listed.into_iter().flatten().filter_map(Value::as_str).collect();
    let (by, uids) = (field("by"), uids.join(", "));
    match field("event") {
        "created" => format!("{by} created the group with {uids}"),
        "joined" => format!("{by} added {uids}"),
        "left" => format!("{by} left"),
        "removed" => format!("{by} removed {uids}"),
        _ => body.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\nbob: c\r"), "a\\u{1b}[2Jb\\nbob: c\\u{d}");
        assert_eq!(one_line("号 ñ"), "号 ñ");
    }

    #[test]
    fn system_messages_are_sentences() {
        let message = |body: &str| Message { kind: "system".into(), body: body.into(), ..Message::default() };
        let joined = message(r#"{"event":"joined","by":"alice","uids":["bob","carol"]}"#);
        assert_eq!(of_message(&joined), "alice added bob, carol");
        assert_eq!(of_message(&message("{")), "{");
        assert_eq!(sender(&joined), "*");
    }
}
