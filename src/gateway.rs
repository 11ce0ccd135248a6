//! `ProxyHttp`.
