//! What the driver and the measurement by part share: the events that are sent, and how processor
//! time is read.

pub mod cpu;
pub mod event;
