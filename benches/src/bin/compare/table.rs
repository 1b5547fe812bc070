//! What was measured, as a table and for a file.

use std::{fmt, thread};

use almanet_benches::usage::load_average;
use serde::Serialize;

use crate::peer::NATS;

/// All that was measured in one run.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    cpus: usize,
    body: usize,
    seconds_per_cell: f64,
    rounds: u32,
    /// How many tasks wanted a CPU in the minute before, and in the last one.
    load_before: Option<f64>,
    load_after: Option<f64>,
    rows: Vec<Row>,
    skipped: Vec<Skipped>,
}

/// One cell: a peer at a concurrency.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) peer: &'static str,
    pub(crate) concurrency: u64,
    pub(crate) calls: u64,
    pub(crate) calls_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// User and system time of the process that holds caller and service.
    pub(crate) cpu_us_per_call: Option<f64>,
    /// User and system time of the broker's process; absent where it has none, or that cannot be seen.
    pub(crate) broker_cpu_us_per_call: Option<f64>,
}

/// A peer that could not be measured.
#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub(crate) peer: &'static str,
    pub(crate) reason: String,
}

impl Comparison {
    pub(crate) fn new(body: usize, seconds_per_cell: f64, rounds: u32) -> Self {
        Self {
            cpus: thread::available_parallelism().map_or(0, usize::from),
            body,
            seconds_per_cell,
            rounds,
            load_before: load_average(),
            load_after: None,
            rows: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Adds a row, or keeps the faster one of two for one cell.
    pub(crate) fn add(&mut self, row: Row) {
        match self.row(row.peer, row.concurrency) {
            Some(index) if self.rows[index].calls_per_s >= row.calls_per_s => {}
            Some(index) => self.rows[index] = row,
            None => self.rows.push(row),
        }
    }

    pub(crate) fn skip(&mut self, skipped: Skipped) {
        eprintln!("{} is left out: {}", skipped.peer, skipped.reason);
        self.skipped.push(skipped);
    }

    pub(crate) fn end(&mut self, load_after: Option<f64>) {
        self.load_after = load_after;
    }

    fn row(&self, peer: &str, concurrency: u64) -> Option<usize> {
        self.rows
            .iter()
            .position(|row| row.peer == peer && row.concurrency == concurrency)
    }

    /// The row's calls per second by those of NATS at the same concurrency.
    fn by_nats(&self, row: &Row) -> Option<f64> {
        let nats = self.row(NATS, row.concurrency)?;
        Some(row.calls_per_s / self.rows[nats].calls_per_s)
    }
}

impl fmt::Display for Comparison {
    /// A table in Markdown, by concurrency.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| calls under way | peer | calls/s | of NATS | p50 | p99 | CPU us/call, here | CPU us/call, broker |"
        )?;
        writeln!(f, "|---:|---|---:|---:|---:|---:|---:|---:|")?;
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| row.concurrency);
        for row in rows {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                row.concurrency,
                row.peer,
                row.calls_per_s,
                or_dash(self.by_nats(row).map(|ratio| format!("{ratio:.2}"))),
                time(row.p50_us),
                time(row.p99_us),
                or_dash(row.cpu_us_per_call),
                or_dash(row.broker_cpu_us_per_call),
            )?;
        }
        Ok(())
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn time(micros: f64) -> String {
    if micros < 1000.0 {
        format!("{micros:.0} us")
    } else {
        format!("{:.1} ms", micros / 1000.0)
    }
}
