//! Every table: what it accepts, what it supplies, and what it says.
