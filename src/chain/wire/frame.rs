//! What is read of a websocket frame to know whom it is for. The rest of it is passed over, not kept.

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// Whatever comes over a websocket: an answer has a number, a notification a method.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Frame {
    /// That of the request.
    #[serde(default)]
    pub id: Option<u64>,
    /// What the node wants to say.
    #[serde(default)]
    pub method: Option<String>,
    /// About which channel: the first parameter.
    #[serde(default)]
    pub params: First,
    /// The number of a channel, in the answer that opens it.
    #[serde(default, rename = "result")]
    pub channel: Number,
    /// The refusal.
    #[serde(default)]
    pub error: Option<IgnoredAny>,
}

/// A number; `None` where something else is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Number(pub Option<u64>);

/// The number that a list begins with; `None` where something else is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct First(pub Option<u64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader { list: false }).map(Self)
    }
}

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader { list: true }).map(Self)
    }
}

/// Reads a number, or the one that a list begins with.
struct Reader {
    list: bool,
}

impl<'de> Visitor<'de> for Reader {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok((!self.list).then_some(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let first = if self.list { list.next_element::<Number>()? } else { None };
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first.and_then(|Number(number)| number))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<u64>, Option<String>, Option<u64>, Option<u64>, bool) {
        let Frame { id, method, params: First(first), channel: Number(number), error } =
            serde_json::from_str(text).unwrap();
        (id, method, first, number, error.is_some())
    }

    #[test]
    fn what_a_frame_is_for_is_read_whatever_else_is_in_it() {
        let value = r#"{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[5,[{"Type":"current","Val":{}}]]}"#;
        assert_eq!(read(value), (None, Some("xrpc.ch.val".to_owned()), Some(5), None, false));
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":1,"result":5}"#), (Some(1), None, None, Some(5), false));
        assert_eq!(
            read(r#"{"id":1,"error":{"code":1,"message":"no"},"result":null}"#),
            (Some(1), None, None, None, true)
        );
        for odd in ["[]", "{}", r#"{"a":[1]}"#, r#""5""#, "-5", "5.5", "true", "null", "[[5]]", r#"["5",5]"#, "7"] {
            assert_eq!(read(&format!(r#"{{"params":{odd}}}"#)).2, None, "{odd}");
            let number = read(&format!(r#"{{"result":{odd}}}"#)).3;
            assert_eq!(number, (odd == "7").then_some(7), "{odd}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for wrong in ["", "28", "{", r#"{"id":"1"}"#, r#"{"id":-1}"#, r#"{"id":1,"id":2}"#, r#"{"method":1}"#] {
            assert!(serde_json::from_str::<Frame>(wrong).is_err(), "{wrong}");
        }
    }
}
