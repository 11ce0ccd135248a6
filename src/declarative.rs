//! kong.yml ⇄ entities.
