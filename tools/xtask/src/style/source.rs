//! A view of Rust source in which only code is left: comments, strings and character literals are blanked.
//!
//! Not a parser: it knows where literals and comments end, which is what is needed to count braces and find words.

/// The source with every comment and literal replaced by spaces. Lines and columns (in characters) stay as they are.
pub(super) fn code_only(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let end = literal_end(&characters, at);
        let skipped = characters.get(at..end).unwrap_or_default();
        if skipped.is_empty() {
            code.extend(characters.get(at));
            at += 1;
        } else {
            code.extend(skipped.iter().map(|&character| if character == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that starts at `at` ends; `at` itself when none starts there.
fn literal_end(text: &[char], at: usize) -> usize {
    let get = |index: usize| text.get(index).copied();
    let part_of_a_word = at > 0 && get(at - 1).is_some_and(|before| before.is_alphanumeric() || before == '_');
    match (get(at), get(at + 1)) {
        (Some('/'), Some('/')) => (at..text.len()).find(|&index| get(index) == Some('\n')).unwrap_or(text.len()),
        (Some('/'), Some('*')) => block_comment_end(text, at),
        (Some('"'), _) => string_end(text, at + 1),
        (Some('r' | 'b' | 'c'), Some(_)) if !part_of_a_word => prefixed_string_end(text, at),
        (Some('\''), _) => character_end(text, at),
        _ => at,
    }
}

/// Block comments nest.
fn block_comment_end(text: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut index = at;
    while index < text.len() {
        match (text.get(index), text.get(index + 1)) {
            (Some('/'), Some('*')) => {
                depth += 1;
                index += 2;
            }
            (Some('*'), Some('/')) => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return index;
                }
            }
            _ => index += 1,
        }
    }
    text.len()
}

/// The end of a string whose opening quote is before `at`.
fn string_end(text: &[char], at: usize) -> usize {
    let mut index = at;
    while let Some(&character) = text.get(index) {
        match character {
            '\\' => index += 2,
            '"' => return index + 1,
            _ => index += 1,
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br#"…"#`, `c"…"`, `b'…'`; anything else that starts with these letters is a word.
fn prefixed_string_end(text: &[char], at: usize) -> usize {
    let letters = text.iter().skip(at).take(2).take_while(|letter| matches!(letter, 'r' | 'b' | 'c')).count();
    let raw = text.iter().skip(at).take(letters).any(|&letter| letter == 'r');
    let hashes = text.iter().skip(at + letters).take_while(|&&character| character == '#').count();
    let quote = at + letters + hashes;
    match text.get(quote) {
        Some('"') if raw => {
            let closes = |index: usize| {
                text.get(index) == Some(&'"')
                    && text.iter().skip(index + 1).take(hashes).filter(|&&character| character == '#').count() == hashes
            };
            (quote + 1..text.len()).find(|&index| closes(index)).map_or(text.len(), |index| index + 1 + hashes)
        }
        Some('"') if hashes == 0 => string_end(text, quote + 1),
        Some('\'') if hashes == 0 && letters == 1 && text.get(at) == Some(&'b') => character_end(text, quote),
        _ => at,
    }
}

/// The end of a character literal; `at` itself when the quote begins a lifetime.
fn character_end(text: &[char], at: usize) -> usize {
    match (text.get(at + 1), text.get(at + 2)) {
        (Some('\\'), _) => {
            // The escaped character itself may be a quote.
            (at + 3..text.len()).find(|&index| text.get(index) == Some(&'\'')).map_or(text.len(), |index| index + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// Where `word` stands alone in a line, not as part of a longer one.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let part_of_a_word = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part_of_a_word) && !after.is_some_and(part_of_a_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &str) {
        let found = code_only(text);
        assert_eq!(found.chars().count(), text.chars().count());
        assert_eq!(found.lines().count(), text.lines().count());
        // How wide a gap is follows from the length.
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&found), words(code));
    }

    #[test]
    fn comments_are_blanked_and_lines_stay() {
        check("a // {\nb", "a\nb");
        check("a /* { /* } */ \n { */ b", "a\nb");
    }

    #[test]
    fn literals_are_blanked() {
        check(r#"f("a { \" b", x)"#, "f( , x)");
        check("f(r#\"a \" { \"#, x)", "f( , x)");
        check(r"f('{', '\'', b'}', '\u{7b}')", "f( , , , )");
        check(r##"f(b"{", c"{", br#"{"#)"##, "f( , , )");
    }

    #[test]
    fn lifetimes_and_words_stay() {
        check("fn f<'a>(x: &'a str) -> &'a r {}", "fn f<'a>(x: &'a str) -> &'a r {}");
        check("let r#type = bar;", "let r#type = bar;");
    }

    #[test]
    fn a_word_is_no_part_of_another() {
        assert!(has_word("x = fn;", "fn"));
        assert!(!has_word("my_fn(fnord)", "fn"));
    }
}
