//! The configuration table of every plugin.
