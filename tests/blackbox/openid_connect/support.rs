//! Gateways with openid-connect in front of an echo service.

use serde_json::{Value, json};

use crate::blackbox::support::echo::Echo;
use crate::blackbox::support::gateway::{Gateway, dataset, plugin};
use crate::blackbox::support::http::{self, Answer};
use crate::blackbox::support::idp::Idp;

/// A gateway with one route for each configuration: `/0/`, `/1/` and so on.
pub struct Guarded {
    pub gateway: Gateway,
    pub echo: Echo,
}

/// A configuration for a provider's bearer tokens, with more fields.
pub fn bearer(idp: &Idp, more: Value) -> Value {
    let mut config = json!({"issuer": idp.issuer, "auth_methods": ["bearer"]});
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

impl Guarded {
    pub fn start(configs: &[Value]) -> Self {
        let echo = Echo::start();
        let route = |number: usize| json!({"paths": [format!("/{number}/")], "strip_path": false, "service": 0});
        let routes: Vec<Value> = (0..configs.len()).map(route).collect();
        let mut dataset = dataset(&[json!({"port": echo.port})], &routes);
        for (number, config) in configs.iter().enumerate() {
            plugin(&mut dataset, Some(number), "openid-connect", config.clone());
        }
        Self { gateway: Gateway::start(dataset), echo }
    }

    /// One route, `/0/`, for a provider's bearer tokens.
    pub fn one(idp: &Idp, more: Value) -> Self {
        Self::start(&[bearer(idp, more)])
    }

    pub fn send(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        http::get(self.gateway.endpoint(), path, headers)
    }

    /// The status that a token gets on a route.
    pub fn status(&self, route: usize, token: &str) -> u16 {
        self.send(&format!("/{route}/"), &[("Authorization", &format!("Bearer {token}"))]).status
    }
}
