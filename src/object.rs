//! JSON objects of many members, made now and then.
//!
//! `serde_json::json!` writes out the making of every key, the insertion and the way of every value into JSON where it
//! stands: some 300 bytes of code a member. [`object!`] calls functions, which are there once.

use serde::Serialize;
use serde_json::{Map, Value};

/// The object of these members, in this order. A value is whatever can be serialized, an object inside another
/// `object!`.
macro_rules! object {
    ($($name:literal: $value:expr),+ $(,)?) => {{
        let mut object = $crate::object::empty();
        $($crate::object::insert(&mut object, $name, $crate::object::value(&$value));)+
        ::serde_json::Value::Object(object)
    }};
}

pub(crate) use object;

/// No members yet.
#[inline(never)]
pub(crate) fn empty() -> Map<String, Value> {
    Map::new()
}

/// One more member.
#[inline(never)]
pub(crate) fn insert(object: &mut Map<String, Value>, name: &str, value: Value) {
    object.insert(name.to_owned(), value);
}

/// A value as JSON: there once for each type. `null` for what JSON cannot hold: a number that is none.
#[inline(never)]
pub(crate) fn value<T: Serialize + ?Sized>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn an_object_is_what_json_makes_of_it() {
        let (name, none) = ("echo".to_owned(), None::<u64>);
        let object = object! {
            "name": name,
            "none": none,
            "ratio": f64::NAN,
            "list": ["a", "b"],
            "inner": object! { "z": 1, "a": -1.5 },
        };
        let expected = json!({
            "name": name,
            "none": none,
            "ratio": f64::NAN,
            "list": ["a", "b"],
            "inner": { "z": 1, "a": -1.5 },
        });
        assert_eq!(object.to_string(), expected.to_string());
    }
}
