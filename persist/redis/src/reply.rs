//! Answers of the scripts, taken apart. An answer of another shape is an error, never a guess.

use bytes::Bytes;
use fred::types::Value;
use ringway_store::ports::StoreError;

/// The items of one answer, read from the front.
#[derive(Debug)]
pub(crate) struct Reply(std::vec::IntoIter<Value>);

fn unexpected(what: &str) -> StoreError {
    StoreError::new("redis", format!("a script answered without {what}"))
}

impl Reply {
    pub(crate) fn new(answer: Value) -> Result<Self, StoreError> {
        match answer {
            Value::Array(items) => Ok(Self(items.into_iter())),
            Value::Null => Ok(Self(Vec::new().into_iter())),
            _ => Err(unexpected("a list")),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64, StoreError> {
        self.0.next().and_then(|value| value.as_u64()).ok_or_else(|| unexpected("a number"))
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        self.0.next().and_then(Value::into_string).ok_or_else(|| unexpected("a text"))
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, StoreError> {
        match self.0.next() {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            Some(Value::String(text)) => Ok(text.into_inner()),
            _ => Err(unexpected("bytes")),
        }
    }

    /// The next item as it is.
    pub(crate) fn next(&mut self) -> Option<Value> {
        self.0.next()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

/// All items of an answer as texts.
pub(crate) fn texts(answer: Value) -> Result<Vec<String>, StoreError> {
    let mut reply = Reply::new(answer)?;
    let mut texts = Vec::new();
    while !reply.is_empty() {
        texts.push(reply.text()?);
    }
    Ok(texts)
}
