//! What users see of events: consumers of every shape, retries, dead letters, and what becomes of events when something
//! goes wrong.

mod batches;
mod books;
mod contexts;
mod dead_letters;
mod delays;
mod drain;
mod emit;
mod faults;
mod forbidden;
mod in_process;
mod layers;
mod macros;
mod nodes;
mod patterns;
mod pull;
mod push;
mod refusing;
mod restart;
mod schemas;
mod slow;
mod stats;
mod steps;
mod tally;
mod versions;
mod ways;
