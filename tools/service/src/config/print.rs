//! The configuration as a file: every key with its value, default, unit, reload and doc.

use std::fmt::Write as _;

use super::key::Settings;

/// Width of a line of comment.
const COLUMNS: usize = 100;

/// A valid configuration file that says what `config` says.
#[must_use]
pub fn print<C: Settings>(config: &C) -> String {
    let defaults = C::default();
    let keys = C::keys();
    let mut text = format!(
        "# {}'s configuration: every key with its value. `{}` prints this page.\n\
         #\n\
         # A file with some of these lines is given with --config. Variables of the environment are stronger than\n\
         # the file, arguments are stronger than both. A key marked \"reload\" follows the file on SIGHUP.\n",
        C::OWNER,
        C::PRINTED_BY,
    );
    for (section, doc) in C::SECTIONS {
        // Writing into a string has no way to fail.
        text.push('\n');
        comment(&mut text, doc.trim());
        let _ = writeln!(text, "[{section}]");
        for key in keys.iter().filter(|key| key.section == *section) {
            text.push('\n');
            comment(&mut text, key.doc);
            let mut facts = vec![format!("default {}", defaults.get(key))];
            if !key.unit.is_empty() {
                facts.push(key.unit.to_owned());
            }
            if let Some((min, max)) = key.bounds {
                facts.push(if max == i64::MAX as u64 { format!("from {min}") } else { format!("{min} to {max}") });
            }
            facts.push(if key.reloads { "reload".to_owned() } else { "restart".to_owned() });
            facts.push(key.variable());
            comment(&mut text, &facts.join("; "));
            let _ = writeln!(text, "{} = {}", key.name, config.get(key));
        }
    }
    text
}

fn comment(text: &mut String, doc: &str) {
    let mut line = String::from("#");
    for word in doc.split_whitespace() {
        if line.len() + 1 + word.len() > COLUMNS {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::config::sample::Config;

    fn read_back(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ringway.toml");
        std::fs::write(&path, text).unwrap();
        Sources { file: Some(path), variables: Vec::new(), flags: Vec::new() }.load().unwrap()
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_configuration() {
        let mut config = Config::default();
        assert_eq!(read_back(&print(&config)), config);
        config.gateway.shards = 3;
        config.gateway.allowed_origins = vec!["https://a\"b".to_owned()];
        config.gateway.conformance_echo = Some("[::1]:9".parse().unwrap());
        config.tls.cert = Some("a b.pem".into());
        assert_eq!(read_back(&print(&config)), config);
    }

    #[test]
    fn the_keys_of_two_tables_stand_in_their_one_section() {
        let text = print(&Config::default());
        let sections: Vec<&str> = text.lines().filter(|line| line.starts_with('[')).collect();
        assert_eq!(sections, ["[gateway]", "[tls]", "[api]", "[log]"], "{text}");
        let (of_both, node) = (text.split("[tls]").next().unwrap(), "\nnode = 0\n");
        assert!(of_both.contains(node) && of_both.contains("\nshards = 0\n"), "{text}");
    }
}
