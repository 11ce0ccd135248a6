//! Black-box tests: a gateway in this process, talked to over sockets.

mod blackbox {
    mod support {
        #[path = "../../support/answer.rs"]
        pub mod answer;
        #[allow(dead_code, reason = "each theme looks at what it needs")]
        pub mod echo;
        pub mod gateway;
        pub mod golden;
        #[path = "../../support/http.rs"]
        pub mod http;
        pub mod idp;
        pub mod process;
        #[path = "../../support/recorded.rs"]
        pub mod recorded;
    }
    mod authentication;
    mod configurations;
    mod connections;
    mod explain;
    mod faults;
    mod forwarding;
    mod golden;
    mod oauth2;
    mod oidc;
    mod plugins;
    mod routing;
    mod openid_connect {
        mod audiences;
        mod claims;
        mod issuers;
        mod key_sets;
        mod resource;
        mod rotation;
        mod storm;
        mod support;
    }
    mod smuggling;
    mod streams;
}
