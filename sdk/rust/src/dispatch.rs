//! What the code that `#[app]` writes calls. Not meant to be called by hand.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Reads a handler's params. Missing params (`null`, or nothing at all) are an empty object.
pub fn params<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let text = match text.trim_ascii() {
        "" | "null" => "{}",
        text => text,
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| invalid(&error.path().to_string(), &error.inner().to_string()))?;
    reader.end().map_err(|error| invalid(".", &error.to_string()))?;
    Ok(value)
}

/// Params are one line as far as a caller is concerned, so serde_json's "at line 1 column 9" would only distract.
fn invalid(path: &str, problem: &str) -> Error {
    let problem = problem.split(" at line ").next().unwrap_or(problem);
    let path = if path == "." { "" } else { path };
    // serde reports an absent or unknown member at the object around it: name the member itself.
    let member = ["missing field `", "unknown field `"]
        .iter()
        .find_map(|start| problem.strip_prefix(start))
        .and_then(|rest| rest.split('`').next());
    let field = match (path, member) {
        ("", None) => None,
        ("", Some(member)) => Some(member.to_owned()),
        (path, None) => Some(path.to_owned()),
        // With some types the path ends in the member already.
        (path, Some(member)) if path.ends_with(member) => Some(path.to_owned()),
        (path, Some(member)) => Some(format!("{path}.{member}")),
    };
    let message = match &field {
        Some(field) => format!("`{field}`: {problem}"),
        None => problem.to_owned(),
    };
    Error::InvalidParams { field, message }
}

/// Writes a handler's result.
pub fn reply<T: Serialize + ?Sized>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Internal(format!("the result is not JSON: {error}")))
}

/// Writes what a handler gave back, or its error.
pub fn result<T: Serialize, E: Into<Error>>(result: Result<T, E>) -> Result<String, Error> {
    reply(&result.map_err(Into::into)?)
}

/// No handler has this name: an error for a request, nothing at all for a notification.
pub fn unknown(method: &str, methods: &[&str]) -> Result<String, Error> {
    let told = ["events.message", "storage.changed", "timers.fired"].contains(&method);
    if told || method.starts_with("lifecycle.") || method.starts_with("ui.") {
        return Ok("null".to_owned());
    }
    Err(Error::MethodNotFound(format!("no method `{method}`; there are {}", methods.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Line {
        sku: String,
        quantity: u32,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        lines: Vec<Line>,
        #[serde(default)]
        note: String,
    }

    fn field(text: &str) -> (Option<String>, String) {
        match params::<Order>(text) {
            Err(Error::InvalidParams { field, message }) => (field, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_params() {
        let order: Order = params(r#"{"lines":[{"sku":"a","quantity":2}]}"#).unwrap();
        assert_eq!(order.lines, [Line { sku: "a".into(), quantity: 2 }]);
    }

    #[test]
    fn invalid_params_name_the_field() {
        let (at, message) = field(r#"{"lines":[{"sku":"a","quantity":"2"}]}"#);
        assert_eq!(at.as_deref(), Some("lines[0].quantity"));
        assert_eq!(message, "`lines[0].quantity`: invalid type: string \"2\", expected u32");
        assert_eq!(field(r#"{"lines":[{"sku":"a"}]}"#).0.as_deref(), Some("lines[0].quantity"));
        assert_eq!(field("{}").0.as_deref(), Some("lines"));
        assert_eq!(field(r#"{"lines":[],"nte":""}"#).0.as_deref(), Some("nte"));
        assert_eq!(field("[").0, None);
        assert_eq!(field(r#"{"lines":[]} x"#).0, None);
        assert_eq!(field("7").0, None);
    }

    #[test]
    fn missing_params_are_an_empty_object() {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            limit: u32,
        }
        for text in ["", "null", " {} "] {
            assert_eq!(params::<Page>(text).unwrap().limit, 0);
        }
    }

    #[test]
    fn unknown_methods_are_refused_and_unknown_notifications_ignored() {
        assert_eq!(unknown("a.b", &["c"]).unwrap_err().code(), -32601);
        for name in ["lifecycle.shown", "events.message", "storage.changed", "timers.fired", "ui.tap"] {
            assert_eq!(unknown(name, &[]).unwrap(), "null");
        }
    }
}
