//! The engine of the schema tables.
