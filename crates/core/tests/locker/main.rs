//! The rules of the locker, in simulated time: no server, no Node.js, no real waiting.
//!
//! Each test has a world of its own: a [server](simulation::server), lockers, and between them a
//! [network](simulation::Network) that loses, delays and repeats what it is told to.

#![expect(clippy::unwrap_used, reason = "all of this is tests")]

mod acquire;
mod close;
mod confirmation;
mod extend;
mod hand_over;
mod property;
mod query;
mod queue;
mod release;
mod renewal;
mod several;
mod sharing;
mod simulation;
mod stealing;
