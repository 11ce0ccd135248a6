use serde_json::Value;
pub fn document(_writable: bool) -> Value {
    Value::Null
}
