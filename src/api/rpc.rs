//! JSON-RPC 2.0: what of some bytes is a call, and how an answer is written. Pure.

use serde_json::{Map, Value, json};

/// Calls of the largest batch.
pub const BATCH: usize = 100;

/// One thing that is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Comes back with the answer; without one, nobody waits for an answer.
    pub id: Option<Value>,
    /// The method's full name.
    pub method: String,
    /// What is given to it, in order.
    pub params: Vec<Value>,
}

/// What came in one message.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// One call, or why it is none.
    One(Result<Call, Unfit>),
    /// Several, which are answered in one list.
    Many(Vec<Result<Call, Unfit>>),
}

/// Something that is not a call, with the id that it has all the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfit {
    /// The id, as far as there is one.
    pub id: Value,
    /// Why.
    pub fault: Fault,
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// One of the codes below.
    pub code: i64,
    /// Why, and what to do.
    pub message: String,
}

impl Fault {
    /// It is not JSON.
    const PARSE: i64 = -32700;
    /// It is JSON and not a call.
    const REQUEST: i64 = -32600;
    /// There is no such method.
    const METHOD: i64 = -32601;
    /// Its parameters are not these.
    const PARAMS: i64 = -32602;
    /// It was understood and not done. Source: go-jsonrpc, errors without a code of their own.
    const REFUSED: i64 = 1;

    /// It was understood and not done.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: Self::REFUSED, message: message.into() }
    }

    /// There is no such method.
    pub fn no_method(message: impl Into<String>) -> Self {
        Self { code: Self::METHOD, message: message.into() }
    }

    /// The parameters are not those of the method.
    pub fn params(message: impl Into<String>) -> Self {
        Self { code: Self::PARAMS, message: message.into() }
    }

    fn request(message: impl Into<String>) -> Self {
        Self { code: Self::REQUEST, message: message.into() }
    }
}

/// What these bytes ask.
///
/// # Errors
/// They are not JSON, or a batch that is empty or too large: there is one answer, and no id in it.
pub fn read(bytes: &[u8]) -> Result<Asked, Fault> {
    let value = serde_json::from_slice(bytes)
        .map_err(|why| Fault { code: Fault::PARSE, message: format!("the request is not JSON: {why}") })?;
    match value {
        Value::Array(calls) if calls.is_empty() => Err(Fault::request("the batch is empty: give at least one call")),
        Value::Array(calls) if calls.len() > BATCH => {
            Err(Fault::request(format!("the batch has {} calls: give at most {BATCH}", calls.len())))
        }
        Value::Array(calls) => Ok(Asked::Many(calls.into_iter().map(call).collect())),
        one @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            Ok(Asked::One(call(one)))
        }
    }
}

fn call(value: Value) -> Result<Call, Unfit> {
    let Value::Object(mut object) = value else {
        return Err(Unfit {
            id: Value::Null,
            fault: Fault::request("a call is an object with jsonrpc, method and id"),
        });
    };
    let id = id(&mut object)?;
    let unfit = |fault| Unfit { id: id.clone().unwrap_or_default(), fault };
    let method = match object.remove("method") {
        Some(Value::String(method)) => method,
        Some(_) | None => return Err(unfit(Fault::request("the call has no method, a text such as Filecoin.Version"))),
    };
    let params = match object.remove("params") {
        Some(Value::Array(params)) => params,
        Some(Value::Null) | None => Vec::new(),
        Some(_) => return Err(unfit(Fault::params("params is not a list: give parameters in order, [] for none"))),
    };
    Ok(Call { id, method, params })
}

fn id(object: &mut Map<String, Value>) -> Result<Option<Value>, Unfit> {
    match object.remove("id") {
        Some(id @ (Value::Number(_) | Value::String(_))) => Ok(Some(id)),
        Some(Value::Null) | None => Ok(None),
        Some(_) => Err(Unfit { id: Value::Null, fault: Fault::request("an id is a number or a text") }),
    }
}

/// An answer as it is written. Exactly one of `result` and `error` is in it, and `result` also when it is null.
pub fn written(id: &Value, answer: Result<Value, Fault>) -> Value {
    match answer {
        Ok(result) => json!({ "jsonrpc": "2.0", "result": result, "id": id }),
        Err(Fault { code, message }) => {
            json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": id })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Call, Unfit> {
        match read(text.as_bytes()).unwrap() {
            Asked::One(call) => call,
            Asked::Many(_) => panic!("{text} is not a batch"),
        }
    }

    #[test]
    fn calls_are_read_as_tools_write_them() {
        let call = one(r#"{"jsonrpc":"2.0","method":"Filecoin.SectorsStatus","params":[3,false],"id":3}"#).unwrap();
        assert_eq!((call.id, call.method.as_str()), (Some(json!(3)), "Filecoin.SectorsStatus"));
        assert_eq!(call.params, [json!(3), json!(false)]);
        // no params and null are no parameters; an id may be a text; without one nobody waits
        assert_eq!(one(r#"{"method":"a","params":null,"id":"x"}"#).unwrap().id, Some(json!("x")));
        let told = one(r#"{"method":"a"}"#).unwrap();
        assert_eq!((told.id, told.params), (None, Vec::new()));
    }

    #[test]
    fn what_is_no_call_is_told_why() {
        let cases = [
            ("7", Value::Null, Fault::REQUEST),
            (r#"{"id":1}"#, json!(1), Fault::REQUEST),
            (r#"{"id":1,"method":7}"#, json!(1), Fault::REQUEST),
            (r#"{"id":[1],"method":"a"}"#, Value::Null, Fault::REQUEST),
            (r#"{"id":1,"method":"a","params":{"b":1}}"#, json!(1), Fault::PARAMS),
        ];
        for (text, id, code) in cases {
            let unfit = one(text).unwrap_err();
            assert_eq!((unfit.id, unfit.fault.code), (id, code), "{text}");
        }
        for text in ["", "{", "nonsense", "{\"id\":1}}", &"[".repeat(10_000)] {
            assert_eq!(read(text.as_bytes()).unwrap_err().code, Fault::PARSE, "{text:.20}");
        }
        let many = format!("[{}]", vec!["1"; BATCH + 1].join(","));
        for text in ["[]", many.as_str()] {
            assert_eq!(read(text.as_bytes()).unwrap_err().code, Fault::REQUEST, "{text:.20}");
        }
    }

    #[test]
    fn an_answer_has_either_a_result_or_an_error() {
        assert_eq!(written(&json!(1), Ok(Value::Null)), json!({"jsonrpc": "2.0", "result": null, "id": 1}));
        let refused = written(&json!("a"), Err(Fault::refused("no")));
        assert_eq!(refused, json!({"jsonrpc": "2.0", "error": {"code": 1, "message": "no"}, "id": "a"}));
    }
}
