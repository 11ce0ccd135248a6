//! Black-box tests: a gateway in this process, talked to over sockets.

mod blackbox {
    mod support {
        #[allow(dead_code, reason = "each theme looks at what it needs")]
        pub mod echo;
        pub mod gateway;
        #[allow(dead_code, reason = "the replay comes with the runtime")]
        pub mod golden;
        pub mod http;
    }
    mod authentication;
    mod connections;
    mod faults;
    mod forwarding;
    mod smuggling;
    mod streams;
}
