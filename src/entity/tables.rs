//! The schema table of every entity: the only source of its fields, defaults and checks.
