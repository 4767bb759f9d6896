//! Decides and acts.
