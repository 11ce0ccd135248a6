//! Settings, listeners, signals, reload.
