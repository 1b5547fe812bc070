//! Each benchmark runs, and says what its readers look for.

mod broker;
mod calls;
mod comparing;
mod messages;
mod processes;
mod relay;

use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program, which must not fail.
fn output(program: &str, arguments: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(program).args(arguments).output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Runs the program and reads what it prints as JSON.
fn run(program: &str, arguments: &[&str]) -> Value {
    let text = output(program, arguments);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn assert_positive(report: &Value, names: &[&str]) {
    for name in names {
        assert!(report[name].as_f64().unwrap_or(0.0) > 0.0, "{name} in {report}");
    }
}

/// The cells of a table in Markdown, without its head.
fn cells(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// Asserts that these are a median ratio and its quartiles.
fn assert_ratio(median: &str, quartiles: &str) {
    let (low, high) = quartiles.split_once(" to ").unwrap();
    let [low, median, high] = [low, median, high].map(|figure| figure.parse::<f64>().unwrap());
    assert!(
        0.0 < low && low <= median && median <= high,
        "{low} {median} {high}"
    );
}
