//! Black-box tests: a gateway in this process, talked to over sockets.

mod blackbox {
    mod support {
        #[allow(dead_code, reason = "each theme looks at what it needs")]
        pub mod echo;
        pub mod gateway;
        pub mod golden;
        pub mod http;
        pub mod process;
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
    mod smuggling;
    mod streams;
}
