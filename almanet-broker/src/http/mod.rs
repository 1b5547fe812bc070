//! nsqd's HTTP interface, which its tools rely on, and metrics for Prometheus.
//!
//! The paths, their parameters, their answers and the texts of their refusals are nsqd's; `/metrics` is not. What is
//! refused by a limit of the broker gets status 503 with the limit in words, where nsqd says `EXITING`.

mod answer;
mod api;
mod body;
mod channels;
mod info;
mod listeners;
mod publish;
mod query;
mod routes;
mod server;
mod settings;
mod statistics;
mod topics;

pub(crate) use self::listeners::Listeners;
