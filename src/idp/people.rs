//! Who may have tokens: users and clients, from flags or a YAML file.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A user of the password grant.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    pub password: String,
    /// Added to the user's tokens.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

/// A client of the token and introspection endpoints.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub id: String,
    /// None: a public client, which only says who it is.
    #[serde(default)]
    pub secret: Option<String>,
    /// Added to the client's own tokens.
    #[serde(default)]
    pub claims: Map<String, Value>,
    /// `aud` of the tokens that this client gets.
    #[serde(default)]
    pub audience: Option<Vec<String>>,
    /// Whether it gets opaque tokens; else as the provider does.
    #[serde(default)]
    pub opaque: Option<bool>,
    /// Seconds its tokens are good for; else as the provider says.
    #[serde(default)]
    pub lifetime: Option<u64>,
}

/// Users and clients, as in the YAML file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    #[serde(default)]
    pub users: Vec<User>,
    #[serde(default)]
    pub clients: Vec<Client>,
}

impl People {
    /// The user `john` with the password `doe`, and the client `gateway` with the secret `gateway-secret`.
    pub fn sample() -> Self {
        let mut people = Self::default();
        people.add_user("john", "doe");
        people.add_client("gateway", "gateway-secret");
        people
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        serde_yaml::from_str(text).map_err(|fault| fault.to_string())
    }

    /// Adds a user, or replaces the one of that name.
    pub fn add_user(&mut self, name: &str, password: &str) {
        self.users.retain(|user| user.name != name);
        self.users.push(User { name: name.into(), password: password.into(), claims: Map::new() });
    }

    /// Adds a client, or replaces the one of that id; an empty secret is none.
    pub fn add_client(&mut self, id: &str, secret: &str) {
        self.clients.retain(|client| client.id != id);
        let secret = (!secret.is_empty()).then(|| secret.to_owned());
        let (claims, audience, opaque, lifetime) = (Map::new(), None, None, None);
        self.clients.push(Client { id: id.into(), secret, claims, audience, opaque, lifetime });
    }

    pub(super) fn user(&self, name: &str, password: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name && same(&user.password, password))
    }

    pub(super) fn client(&self, id: &str, secret: Option<&str>) -> Option<&Client> {
        self.clients.iter().find(|client| {
            client.id == id
                && match (&client.secret, secret) {
                    (Some(own), Some(given)) => same(own, given),
                    (None, None | Some("")) => true,
                    _ => false,
                }
        })
    }
}

fn same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
