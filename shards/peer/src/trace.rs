//! The hops of a message from several nodes, put together.

use serde_json::Value;

/// Time of a hop, in microseconds of the clock of its node.
const TIME: &str = "at_us";
/// Says which node a hop is of.
const NODE: &str = "node";

/// One JSON array of all hops, oldest first, each with its node's name. An answer that is no array of objects is
/// logged and left out: a trace helps to find out, nothing depends on it.
pub(crate) fn merge(answers: impl IntoIterator<Item = (String, String)>) -> String {
    let mut hops = Vec::new();
    for (node, json) in answers {
        match serde_json::from_str::<Vec<serde_json::Map<String, Value>>>(&json) {
            Ok(found) => hops.extend(found.into_iter().map(|mut hop| {
                hop.insert(NODE.to_owned(), Value::String(node.clone()));
                hop
            })),
            Err(error) => tracing::warn!(node, %error, "a node's trace is no array of hops"),
        }
    }
    hops.sort_by_key(|hop| hop.get(TIME).and_then(Value::as_u64).unwrap_or(u64::MAX));
    serde_json::to_string(&hops).unwrap_or_else(|_| "[]".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_of_all_nodes_stand_by_their_time_with_their_node() {
        let answers = [
            ("b", r#"[{"at_us":2,"station":"pushed"},{"at_us":9}]"#),
            ("c", "no json"),
            ("d", r#"["no hop"]"#),
            ("a", r#"[{"at_us":1,"station":"logged"},{"at_us":5},{"station":"odd"}]"#),
        ];
        let merged = merge(answers.map(|(node, json)| (node.to_owned(), json.to_owned())));
        let hops: Vec<Value> = serde_json::from_str(&merged).unwrap();
        let seen: Vec<_> = hops.iter().map(|hop| (hop["node"].as_str().unwrap(), hop["at_us"].as_u64())).collect();
        assert_eq!(seen, [("a", Some(1)), ("b", Some(2)), ("a", Some(5)), ("b", Some(9)), ("a", None)]);
        assert_eq!(hops[0]["station"], "logged");
    }

    #[test]
    fn no_answer_is_no_hop() {
        assert_eq!(merge([]), "[]");
    }
}
