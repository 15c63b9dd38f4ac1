//! The first difference between two documents, in words.
//!
//! Does not know: what the documents describe.

use serde_json::Value;

/// Where `now` differs from `before`, as in `inner.steps: 5 before, 3 now`; nothing where they are equal.
pub(super) fn difference(before: &Value, now: &Value) -> Option<String> {
    differ("", before, now)
}

fn differ(path: &str, before: &Value, now: &Value) -> Option<String> {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            let keys = before.keys().chain(now.keys().filter(|key| !before.contains_key(*key)));
            keys.into_iter().find_map(|key| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                differ(&path, before.get(key).unwrap_or(&Value::Null), now.get(key).unwrap_or(&Value::Null))
            })
        }
        (Value::Array(before), Value::Array(now)) if before.len() == now.len() => {
            let pairs = before.iter().zip(now).enumerate();
            pairs.into_iter().find_map(|(at, (before, now))| differ(&format!("{path}[{at}]"), before, now))
        }
        _ if same(before, now) => None,
        _ => Some(format!("{path}: {} before, {} now", shown(before), shown(now))),
    }
}

/// Numbers are compared as such: a document that was written and read again may hold a whole one in another type, and a
/// fraction with another last bit.
fn same(before: &Value, now: &Value) -> bool {
    let whole = |value: &Value| value.is_u64() || value.is_i64();
    match (before.as_f64(), now.as_f64()) {
        // Whole ones beyond 2^53, seeds for one, are others as fractions.
        _ if whole(before) && whole(now) => before == now,
        (Some(a), Some(b)) => a == b || (a - b).abs() <= 4.0 * f64::EPSILON * a.abs().max(b.abs()),
        _ => before == now,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        let before = json!({ "inner": { "steps": 5, "rate": 0.1 }, "names": ["a", "b"], "seed": null });
        let mut now = before.clone();
        assert_eq!(difference(&before, &now), None);
        now["inner"]["steps"] = 3.into();
        assert_eq!(difference(&before, &now).unwrap(), "inner.steps: 5 before, 3 now");
        now = before.clone();
        now["names"][1] = "c".into();
        assert_eq!(difference(&before, &now).unwrap(), "names[1]: \"b\" before, \"c\" now");
        now = before.clone();
        now["seed"] = 1.into();
        assert_eq!(difference(&before, &now).unwrap(), "seed: none before, 1 now");
        now = before.clone();
        now["more"] = true.into();
        assert_eq!(difference(&before, &now).unwrap(), "more: none before, true now");
    }

    #[test]
    fn numbers_survive_being_written() {
        let before = json!({ "rate": 0.1 + 0.2, "count": 3 });
        let read: Value = serde_json::from_str(&before.to_string()).unwrap();
        assert_eq!(difference(&before, &read), None);
        assert!(difference(&before, &json!({ "rate": 0.3000001, "count": 3 })).is_some());
        assert!(difference(&before, &json!({ "rate": 0.1 + 0.2, "count": "3" })).is_some());
        assert_eq!(difference(&json!({ "rate": 1.0 }), &json!({ "rate": 1 })), None);
        let seed = |seed: u64| json!({ "seed": seed });
        assert!(difference(&seed(u64::MAX), &seed(u64::MAX - 1)).is_some());
    }
}
