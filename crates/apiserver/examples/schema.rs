//! Writes `src/openapi/schema.txt` from the OpenAPI v3 documents of a server: `schema FOLDER > schema.txt`.
//!
//! Facts only: types, fields, formats, defaults, how lists and maps merge. See `src/openapi/schema.rs` for the format.

#![expect(clippy::print_stdout, reason = "the table is what this program prints")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

const REF: &str = "#/components/schemas/io.k8s.";
/// Types that every group lists with kinds of its own: their kinds say nothing.
const SHARED: [&str; 2] =
    ["apimachinery.pkg.apis.meta.v1.DeleteOptions", "apimachinery.pkg.apis.meta.v1.WatchEvent"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: schema FOLDER")?;
    let mut types: BTreeMap<String, Value> = BTreeMap::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let document: Value = serde_json::from_slice(&fs_err::read(&path)?)?;
        for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            let name = name.strip_prefix("io.k8s.").unwrap_or(name);
            types.insert(name.to_owned(), schema.clone());
        }
    }
    let mut out = String::new();
    for (name, schema) in &types {
        write_type(&mut out, name, schema)?;
    }
    print!("{out}");
    Ok(())
}

fn write_type(out: &mut String, name: &str, schema: &Value) -> std::fmt::Result {
    write!(out, "={name}")?;
    if !SHARED.contains(&name) {
        for kind in schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let part = |field: &str| kind[field].as_str().unwrap_or_default();
            write!(out, "\tk={}/{}/{}", part("group"), part("version"), part("kind"))?;
        }
    }
    if schema["x-kubernetes-map-type"] == "atomic" {
        out.push_str("\tA");
    }
    let Some(fields) = schema["properties"].as_object() else {
        let scalar = match (schema["type"].as_str(), schema["format"].as_str()) {
            _ if schema["oneOf"].is_array() && schema["format"] == "int-or-string" => "\tt=int-or-string",
            _ if schema["oneOf"].is_array() => "\tt=quantity",
            (Some("string"), Some("date-time")) => "\tt=time",
            (Some("object"), _) => "\tt=object",
            _ => "\tt=any",
        };
        out.push_str(scalar);
        out.push('\n');
        return Ok(());
    };
    out.push('\n');
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (field, schema) in fields {
        write!(out, "{field}\t{}", shape(schema))?;
        if required.contains(&field.as_str()) {
            out.push_str("\t!");
        }
        write_facts(out, schema)?;
        out.push('\n');
    }
    Ok(())
}

fn shape(schema: &Value) -> String {
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    if let Some(name) = reference {
        return format!("@{}", name.strip_prefix(REF).unwrap_or(name));
    }
    let code = match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("array"), _) => return format!("[{}", shape(&schema["items"])),
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            return format!("{{{}", shape(&schema["additionalProperties"]));
        }
        (Some("object"), _) => "o",
        (Some("string"), Some("byte")) => "y",
        (Some("string"), _) => "s",
        (Some("boolean"), _) => "b",
        (Some("integer"), Some("int64")) => "l",
        (Some("integer"), _) => "i",
        (Some("number"), _) => "d",
        _ => "?",
    };
    code.to_owned()
}

fn write_facts(out: &mut String, schema: &Value) -> std::fmt::Result {
    match &schema["default"] {
        Value::Null => {}
        zero if zero == ""
            || zero == 0
            || zero == false
            || zero.as_object().is_some_and(serde_json::Map::is_empty) =>
        {
            out.push_str("\tz");
        }
        other => write!(out, "\td={other}")?,
    }
    match schema["x-kubernetes-list-type"].as_str() {
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
            write!(out, "\tL={}", keys.join(","))?;
        }
        Some("set") => out.push_str("\tU"),
        Some("atomic") => out.push_str("\tA"),
        _ => {}
    }
    if schema["x-kubernetes-map-type"] == "atomic" {
        out.push_str("\tA");
    }
    if let Some(strategy) = schema["x-kubernetes-patch-strategy"].as_str() {
        write!(out, "\tS={strategy}")?;
    }
    if let Some(key) = schema["x-kubernetes-patch-merge-key"].as_str() {
        write!(out, "\tK={key}")?;
    }
    let choices = [&schema["enum"], &schema["items"]["enum"], &schema["additionalProperties"]["enum"]];
    if let Some(choices) = choices.into_iter().find_map(Value::as_array) {
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        write!(out, "\te={}", choices.join("|"))?;
    }
    Ok(())
}
