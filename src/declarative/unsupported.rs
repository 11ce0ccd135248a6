//! What Kong knows and Portcullis does not, so that a file which uses it is told so instead of being told of a typing mistake;
//! and the guess at what was meant by a name nobody knows.

/// Collections of Kong's that are not supported.
const COLLECTIONS: &[&str] = &[
    "acls",
    "acme_storage",
    "admins",
    "basicauth_credentials",
    "clustering_data_planes",
    "consumer_group_consumers",
    "consumer_group_plugins",
    "consumer_groups",
    "custom_entities",
    "degraphql_routes",
    "document_objects",
    "filter_chains",
    "files",
    "graphql_ratelimiting_advanced_cost_decoration",
    "groups",
    "hmacauth_credentials",
    "jwt_signer_jwks",
    "key_sets",
    "keys",
    "licenses",
    "mtls_auth_credentials",
    "oauth2_authorization_codes",
    "parameters",
    "partials",
    "plugin_schemas",
    "ratelimiting_metrics",
    "rbac_roles",
    "rbac_users",
    "service_packages",
    "sessions",
    "sm_vaults",
    "vaults",
    "vault_auth_vaults",
    "workspaces",
];

/// Plugins that keep requests out. Without them more passes than the configuration says.
const GUARDS: &[&str] = &[
    "acl",
    "app-dynamics",
    "basic-auth",
    "bot-detection",
    "header-cert-auth",
    "hmac-auth",
    "injection-protection",
    "ip-restriction",
    "json-threat-protection",
    "jwt-signer",
    "key-auth-enc",
    "ldap-auth",
    "ldap-auth-advanced",
    "mtls-auth",
    "oas-validation",
    "oauth2-introspection",
    "opa",
    "pre-function",
    "rate-limiting",
    "rate-limiting-advanced",
    "request-size-limiting",
    "request-validator",
    "response-ratelimiting",
    "route-by-header",
    "saml",
    "session",
    "tls-handshake-modifier",
    "tls-metadata-headers",
    "upstream-oauth",
    "vault-auth",
    "xml-threat-protection",
];

/// Other plugins of Kong's.
const PLUGINS: &[&str] = &[
    "acme",
    "ai-azure-content-safety",
    "ai-prompt-decorator",
    "ai-prompt-guard",
    "ai-prompt-template",
    "ai-proxy",
    "ai-proxy-advanced",
    "ai-rate-limiting-advanced",
    "ai-request-transformer",
    "ai-response-transformer",
    "ai-semantic-cache",
    "aws-lambda",
    "azure-functions",
    "canary",
    "confluent",
    "correlation-id",
    "cors",
    "datadog",
    "degraphql",
    "exit-transformer",
    "file-log",
    "forward-proxy",
    "graphql-proxy-cache-advanced",
    "graphql-rate-limiting-advanced",
    "grpc-gateway",
    "grpc-web",
    "http-log",
    "jq",
    "kafka-log",
    "kafka-upstream",
    "key-auth",
    "jwt",
    "loggly",
    "mocking",
    "oauth2",
    "opentelemetry",
    "openid-connect",
    "post-function",
    "prometheus",
    "proxy-cache",
    "proxy-cache-advanced",
    "redirect",
    "request-callout",
    "request-termination",
    "request-transformer",
    "request-transformer-advanced",
    "response-transformer",
    "response-transformer-advanced",
    "route-transformer-advanced",
    "service-protection",
    "standard-webhooks",
    "statsd",
    "statsd-advanced",
    "syslog",
    "tcp-log",
    "udp-log",
    "upstream-timeout",
    "websocket-size-limit",
    "websocket-validator",
    "zipkin",
];

/// Whether Kong has a collection of this name.
pub fn is_collection(name: &str) -> bool {
    COLLECTIONS.contains(&name)
}

/// Whether Kong has a plugin of this name.
pub fn is_plugin(name: &str) -> bool {
    GUARDS.contains(&name) || PLUGINS.contains(&name)
}

/// Whether a plugin is known to keep requests out.
pub fn is_guard(name: &str) -> bool {
    GUARDS.contains(&name)
}

/// The name that was probably meant.
pub fn suggest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let lower = name.to_ascii_lowercase();
    names
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().min(name.len()) / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// [`suggest`] as a remedy.
pub fn did_you_mean<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    suggest(name, names).map(|candidate| format!("did you mean '{candidate}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses() {
        let names = ["services", "routes", "jwt", "key-auth", "jwt_secrets"];
        for (name, expected) in [
            ("service", Some("services")),
            ("Routes", Some("routes")),
            ("jwt_secret", Some("jwt_secrets")),
            ("key-auht", Some("key-auth")),
            ("jtw", Some("jwt")),
            ("acl", None),
            ("x", None),
        ] {
            assert_eq!(suggest(name, names), expected, "{name}");
        }
    }
}
