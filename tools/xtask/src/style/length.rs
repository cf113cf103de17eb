//! How long files and functions may be.

use super::source::{code_only, has_word};
use super::{File, Offence};

/// Lines of a file before its tests.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function, from its first to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// A comment with these words before a longer function says why it is one.
const REASON: &str = "Long because";
/// Languages in which we write code by hand.
const WRITTEN: &[&str] = &["rs", "py", "sh", "js", "mjs", "ts"];

/// A file holds one noun; past 500 lines it holds more.
pub(super) fn files(files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| WRITTEN.contains(&file.extension()) && !file.is_only_tests()) {
        let lines = file.text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if lines > FILE_LINES_MAX {
            let what = format!("{lines} lines before its tests; more than {FILE_LINES_MAX} want splitting");
            offences.push(Offence::new(file, 0, what));
        }
    }
    offences
}

/// A function past 70 lines gives its reason.
pub(super) fn functions(files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (line, length) in functions_of(&file.text) {
            if length > FUNCTION_LINES_MAX && !has_reason(&file.text, line) {
                let what = format!(
                    "a function of {length} lines; past {FUNCTION_LINES_MAX}, a comment before it says `// {REASON} …`"
                );
                offences.push(Offence::new(file, line, what));
            }
        }
    }
    offences
}

/// The first line and the length of every function with a body.
fn functions_of(text: &str) -> Vec<(usize, usize)> {
    let code = code_only(text);
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if has_word(line, "fn")
            && let Some(length) = body_end(lines.get(index..).unwrap_or_default())
        {
            found.push((index + 1, length));
        }
    }
    found
}

/// How many lines it takes to the brace that closes the body of the function in the first line; `None` when it has
/// none: a declaration in a trait, or a pointer type.
fn body_end(lines: &[&str]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut brackets = 0_isize;
    for (index, line) in lines.iter().enumerate() {
        // In the first line, what stands before the function does not count.
        let from = if index == 0 { line.find("fn ").or_else(|| line.find("fn("))? } else { 0 };
        for character in line.get(from..)?.chars() {
            match character {
                '(' | '[' => brackets += 1,
                // A pointer type in an argument list ends with the list.
                ')' | ']' => brackets -= 1,
                '{' => depth += 1,
                '}' => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(index + 1);
                    }
                }
                ';' | ',' | '=' if depth == 0 && brackets <= 0 && character != '=' => return None,
                _ => {}
            }
            if brackets < 0 {
                return None;
            }
        }
    }
    None
}

/// Whether the comments and attributes right before the line hold the reason.
fn has_reason(text: &str, line: usize) -> bool {
    let before: Vec<&str> = text.lines().take(line.saturating_sub(1)).map(str::trim).collect();
    before
        .iter()
        .rev()
        .take_while(|line| line.starts_with("//") || line.starts_with("#["))
        .any(|line| line.contains(REASON))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{check, file};
    use super::*;

    fn function(lines: usize) -> String {
        format!("pub(crate) fn long<T>(\n    a: [u8; 4],\n) -> u8 {{\n{}}}\n", "    // {\n".repeat(lines - 4))
    }

    #[test]
    fn a_long_file_is_found_its_tests_aside() {
        let tests = format!("{}#[cfg(test)]\nmod tests {{}}\n{}", "\n".repeat(500), "\n".repeat(500));
        let files = [
            file("a.rs", &"\n".repeat(500)),
            file("b.rs", &"\n".repeat(501)),
            file("c.rs", &tests),
            file("tests/d.rs", &"\n".repeat(501)),
            file("e.json", &"\n".repeat(501)),
        ];
        check(super::files, &files, &["b.rs: 501 lines before its tests; more than 500 want splitting"]);
    }

    #[test]
    fn a_long_function_is_found_unless_it_gives_a_reason() {
        let reason = format!("// Long because it is a table.\n#[inline]\n{}", function(71));
        let elsewhere = format!("// Long because it is a table.\n\n{}", function(71));
        let files =
            [file("a.rs", &function(70)), file("b.rs", &function(71)), file("c.rs", &reason), file("d.rs", &elsewhere)];
        let what = "a function of 71 lines; past 70, a comment before it says `// Long because …`";
        check(functions, &files, &[&format!("b.rs:1: {what}"), &format!("d.rs:3: {what}")]);
    }

    #[test]
    fn declarations_and_pointer_types_have_no_length() {
        assert!(functions_of("trait T {\n    fn f(&self) -> [u8; 4];\n}\n").is_empty());
        assert!(functions_of("struct S {\n    f: fn(u8) -> u8,\n    g: Box<dyn Fn()>,\n}\n").is_empty());
        assert!(functions_of("type F = fn(u8) -> u8;\n").is_empty());
    }

    #[test]
    fn functions_within_functions_are_both_seen() {
        let text = "fn a() {\n    fn b() {\n    }\n}\nconst fn c() -> u8 { 1 }\n";
        assert_eq!(functions_of(text), [(1, 4), (2, 2), (5, 1)]);
    }
}
