//! The JSON Schema of the manifest, for editors: made from the raw types and the defaults, so that names, shapes and
//! words cannot differ from what is accepted.
//!
//! It requires nothing: it describes one file, and a drop-in says only what it changes.

use super::{defaults, raw::RawManifest};
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The schema, as JSON Schema 2020-12 without references.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<RawManifest>().to_value();
    loosen(&mut schema);
    for (pointer, text) in [
        ("", defaults::SECTIONS),
        ("/properties/repo/additionalProperties", defaults::REPO),
        ("/properties/slot/additionalProperties", defaults::SLOT),
        ("/properties/node", defaults::NODE),
    ] {
        if let (Some(table), Ok(given)) = (schema.pointer_mut(pointer), toml::from_str(text)) {
            write_defaults(table, &given);
        }
    }
    schema
}

/// What is optional in Rust is `null` to schemars, and TOML has no null; what is missing is judged over all layers.
fn loosen(schema: &mut Value) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema["type"] = only;
        }
    }
    match schema {
        Value::Object(map) => {
            map.remove("required");
            map.values_mut().for_each(loosen);
        }
        Value::Array(items) => items.iter_mut().for_each(loosen),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Writes each default beside the property it is for.
fn write_defaults(schema: &mut Value, given: &Value) {
    let Value::Object(given) = given else { return };
    for (name, default) in given {
        let Some(property) = schema.pointer_mut(&format!("/properties/{name}")) else { continue };
        match (default, property) {
            (Value::Object(_), property) => write_defaults(property, default),
            (_, Value::Object(property)) => {
                property.insert("default".to_owned(), default.clone());
            }
            (_, _) => {}
        }
    }
}
