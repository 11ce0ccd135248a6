//! Portcullis: an edge proxy that authenticates every request before it reaches a service.
//!
//! The rooms, from the ground up; a room may use those above it in this list, never those below:
//!
//! | room | owns |
//! |---|---|
//! | [`diagnostic`] | faults and warnings about a configuration, with place and remedy |
//! | [`shared_table`] | the copy-on-write index under consumers and credentials |
//! | [`jose`] | compact JWS, algorithms, prepared keys, key sets, claims |
//! | [`entity`] | Kong's entities as typed values, and their schema tables |
//! | [`auth`] | request view, identity, rejections, and a room for each way of authenticating |

#![forbid(unsafe_code)]

pub mod auth;
pub mod diagnostic;
pub mod entity;
pub mod jose;
pub mod shared_table;
