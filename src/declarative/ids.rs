//! Ids of entities that a file gives none: the same for the same file, and Kong's wherever Kong's are not random.
//!
//! Kong derives them as UUIDv5: the namespace from the collection's name, the name from the entity's endpoint key or, for
//! plugins and targets, from what makes them unique. References count by id here, so that the nested and the flat form of an
//! entity get the same id; Kong takes a flat form's reference as it is written.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::entity::Kind;

const ENTITIES: Uuid = Uuid::from_u128(0xfd02_801f_0957_4a15_a55a_c8d9_606f_30b5);

/// The namespaces of all kinds.
#[derive(Debug)]
pub struct Ids([Uuid; Kind::ALL.len()]);

/// An id, and how sure it is to be one entity's alone.
#[derive(Debug, PartialEq, Eq)]
pub enum Derived {
    /// From a key that no other entity may have.
    Key(Uuid),
    /// From content, which two entities may share.
    Content(Uuid),
}

impl Ids {
    pub fn new() -> Self {
        Self(Kind::ALL.map(|kind| Uuid::new_v5(&ENTITIES, kind.collection().as_bytes())))
    }

    pub fn of(&self, kind: Kind, name: &str) -> Uuid {
        let namespace = self.0.get(kind as usize).unwrap_or(&ENTITIES);
        Uuid::new_v5(namespace, name.as_bytes())
    }

    /// The id of a document whose references have been resolved. `None`: it has nothing to derive one from.
    pub fn derive(&self, kind: Kind, document: &Map<String, Value>) -> Option<Derived> {
        let text = |field: &str| document.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        let reference =
            |field: &str| document.get(field).and_then(|to| to.get("id")).and_then(Value::as_str).unwrap_or_default();
        let key = |field: &str| text(field).map(|key| Derived::Key(self.of(kind, key)));
        let content = |content: &str| Some(Derived::Content(self.of(kind, content)));
        match kind {
            Kind::Service | Kind::Upstream | Kind::Sni => key("name"),
            Kind::Route => key("name").or_else(|| content(&canonical(document))),
            Kind::Consumer => key("username")
                .or_else(|| text("custom_id").map(|id| Derived::Key(self.of(kind, &format!("custom_id:{id}"))))),
            Kind::JwtSecret | Kind::KeyAuthCredential => key("key"),
            Kind::Oauth2Credential => key("client_id"),
            Kind::Oauth2Token => key("access_token"),
            Kind::Certificate | Kind::CaCertificate => text("cert").and_then(content),
            Kind::Plugin => text("name").map(|name| {
                let (route, service, consumer) = (reference("route"), reference("service"), reference("consumer"));
                Derived::Key(self.of(kind, &format!("plugins:*:{name}:{route}:{service}:{consumer}")))
            }),
            Kind::Target => text("target")
                .map(|target| Derived::Key(self.of(kind, &format!("targets:*:{}:{target}", reference("upstream"))))),
        }
    }
}

/// A document as text, whatever the order of its members.
fn canonical(document: &Map<String, Value>) -> String {
    fn write(value: &Value, output: &mut String) {
        match value {
            Value::Object(map) => {
                let mut members: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
                members.sort_by_key(|(key, _)| *key);
                output.push('{');
                for (key, value) in members {
                    output.push_str(&Value::from(key.as_str()).to_string());
                    output.push(':');
                    write(value, output);
                    output.push(',');
                }
                output.push('}');
            }
            Value::Array(list) => {
                output.push('[');
                for value in list {
                    write(value, output);
                    output.push(',');
                }
                output.push(']');
            }
            scalar => output.push_str(&scalar.to_string()),
        }
    }
    let mut output = String::new();
    write(&Value::Object(document.clone()), &mut output);
    output
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(kind: Kind, document: Value) -> Option<String> {
        let Value::Object(document) = document else { panic!() };
        Ids::new().derive(kind, &document).map(|derived| match derived {
            Derived::Key(id) | Derived::Content(id) => id.to_string(),
        })
    }

    #[test]
    fn ids_are_kongs() {
        for (kind, document, expected) in [
            (Kind::Service, json!({"name": "s"}), "b268827a-8f7f-551f-8769-e6bceb2f3ec6"),
            (Kind::Route, json!({"name": "r"}), "da7ba03a-f1be-52d4-8a7e-c8f32640689a"),
            (Kind::Consumer, json!({"username": "n"}), "022f868e-48db-54cf-a39a-6441057bd14f"),
            (Kind::Plugin, json!({"name": "oauth2"}), "bd47d91d-13e3-5bf3-b1be-9e1a3e27fc44"),
            (
                Kind::Plugin,
                json!({"name": "jwt", "route": {"id": "da7ba03a-f1be-52d4-8a7e-c8f32640689a"}}),
                "1a917d11-1196-5bf8-9312-021c98a85578",
            ),
        ] {
            assert_eq!(id(kind, document).as_deref(), Some(expected));
        }
    }

    #[test]
    fn where_kongs_are_random_ours_are_stable() {
        assert_eq!(id(Kind::JwtSecret, json!({"key": "k"})), id(Kind::JwtSecret, json!({"secret": "x", "key": "k"})));
        assert_eq!(id(Kind::JwtSecret, json!({"secret": "x"})), None);
        assert_eq!(
            id(Kind::Route, json!({"paths": ["/a"], "hosts": ["b"]})),
            id(Kind::Route, json!({"hosts": ["b"], "name": null, "paths": ["/a"]}))
        );
        assert_ne!(id(Kind::Route, json!({"paths": ["/a"]})), id(Kind::Route, json!({"paths": ["/b"]})));
        assert_ne!(id(Kind::Consumer, json!({"username": "a"})), id(Kind::Consumer, json!({"custom_id": "a"})));
    }
}
