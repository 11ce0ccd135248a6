//! Kong's Admin API.
