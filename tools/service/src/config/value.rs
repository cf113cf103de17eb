//! Values of keys: read from TOML or from a variable's text, written as TOML.

use std::net::SocketAddr;
use std::path::PathBuf;

use toml::Value;

/// A value as it was given.
#[derive(Debug, Clone)]
pub enum Raw<'a> {
    /// In the file.
    Toml(&'a Value),
    /// In the environment or as an argument. Lists are separated by commas.
    Text(&'a str),
}

impl Raw<'_> {
    /// Reads it as a type.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn read<T: Setting>(&self) -> Result<T, String> {
        match self {
            Self::Toml(value) => T::from_toml(value),
            Self::Text(text) => T::from_text(text),
        }
    }
}

/// A type that a key can have.
pub trait Setting: Sized {
    /// Reads the value from a file.
    fn from_toml(value: &Value) -> Result<Self, String>;
    /// Reads the value from text.
    fn from_text(text: &str) -> Result<Self, String>;
    /// Writes the value.
    fn to_toml(&self) -> Value;
    /// The value, when it is a number that has bounds.
    fn number(&self) -> Option<u64> {
        None
    }
}

fn expected(what: &str, found: &Value) -> String {
    format!("expects {what}, not {found}")
}

fn string<'a>(what: &str, value: &'a Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| expected(what, value))
}

impl Setting for u64 {
    fn from_toml(value: &Value) -> Result<Self, String> {
        let number = value.as_integer().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| expected("a whole number", value))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("expects a whole number, not {text:?}"))
    }

    fn to_toml(&self) -> Value {
        Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }

    fn number(&self) -> Option<u64> {
        Some(*self)
    }
}

impl Setting for bool {
    fn from_toml(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| expected("true or false", value))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("expects true or false, not {text:?}"))
    }

    fn to_toml(&self) -> Value {
        Value::Boolean(*self)
    }
}

impl Setting for String {
    fn from_toml(value: &Value) -> Result<Self, String> {
        string("a text", value).map(str::to_owned)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn to_toml(&self) -> Value {
        Value::String(self.clone())
    }
}

impl Setting for SocketAddr {
    fn from_toml(value: &Value) -> Result<Self, String> {
        string("an address like \"127.0.0.1:7400\"", value).and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| format!("expects an IP address and port like 127.0.0.1:7400, not {text:?}"))
    }

    fn to_toml(&self) -> Value {
        Value::String(self.to_string())
    }
}

impl Setting for PathBuf {
    fn from_toml(value: &Value) -> Result<Self, String> {
        string("a path", value).map(Self::from)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }

    fn to_toml(&self) -> Value {
        Value::String(self.display().to_string())
    }
}

/// The empty text stands for none.
impl<T: Setting> Setting for Option<T> {
    fn from_toml(value: &Value) -> Result<Self, String> {
        if value.as_str() == Some("") { Ok(None) } else { T::from_toml(value).map(Some) }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::from_text(text).map(Some) }
    }

    fn to_toml(&self) -> Value {
        self.as_ref().map_or_else(|| Value::String(String::new()), Setting::to_toml)
    }
}

impl Setting for Vec<String> {
    fn from_toml(value: &Value) -> Result<Self, String> {
        let list = value.as_array().ok_or_else(|| expected("a list of texts", value))?;
        list.iter().map(|item| string("a list of texts", item).map(str::to_owned)).collect()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    fn to_toml(&self) -> Value {
        Value::Array(self.iter().cloned().map(Value::String).collect())
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Setting for LogFormat {
    fn from_toml(value: &Value) -> Result<Self, String> {
        string("\"text\" or \"json\"", value).and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("expects \"text\" or \"json\", not {text:?}")),
        }
    }

    fn to_toml(&self) -> Value {
        Value::String(match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    fn check<T: Setting + PartialEq + Debug>(text: &str, expected: T) {
        let read = T::from_text(text).unwrap();
        assert_eq!(read, expected, "{text:?}");
        assert_eq!(T::from_toml(&read.to_toml()).unwrap(), expected, "{text:?} through TOML");
    }

    #[test]
    fn every_type_of_value_survives_text_and_toml() {
        check("42", 42_u64);
        check("true", true);
        check("a \"b\"", "a \"b\"".to_owned());
        check("[::1]:7400", "[::1]:7400".parse::<SocketAddr>().unwrap());
        check("", None::<SocketAddr>);
        check("a/b", Some(PathBuf::from("a/b")));
        check("https://a, https://b", vec!["https://a".to_owned(), "https://b".to_owned()]);
        check("", Vec::<String>::new());
        check("json", LogFormat::Json);
    }

    #[test]
    fn values_of_another_type_are_refused_with_what_is_expected() {
        let wrong = [
            u64::from_toml(&Value::String("1".into())).unwrap_err(),
            u64::from_toml(&Value::Integer(-1)).unwrap_err(),
            u64::from_text("1.5").unwrap_err(),
            bool::from_text("yes").unwrap_err(),
            SocketAddr::from_text("localhost").unwrap_err(),
            Vec::<String>::from_toml(&Value::Array(vec![Value::Integer(1)])).unwrap_err(),
            LogFormat::from_text("xml").unwrap_err(),
        ];
        assert!(wrong.iter().all(|error| error.starts_with("expects ")), "{wrong:?}");
    }
}
