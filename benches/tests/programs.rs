//! Each benchmark runs, and says what its readers look for.

use std::{env, fs, process::Command};

use serde_json::Value;

/// Runs the program and reads what it prints as JSON.
fn run(program: &str, arguments: &[&str]) -> Value {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn assert_positive(report: &Value, names: &[&str]) {
    for name in names {
        assert!(report[name].as_f64().unwrap_or(0.0) > 0.0, "{name} in {report}");
    }
}

const RPC: [&str; 6] = ["--calls", "200", "--concurrency", "4", "--json", "--nsqd"];

#[test]
fn rpc_measures_calls_in_one_process_and_in_two() {
    let rpc = env!("CARGO_BIN_EXE_rpc");
    let report = run(rpc, &[&RPC[..], &["embedded"]].concat());
    assert_positive(&report, &["calls_per_s", "p50_us", "p99_us", "max_us"]);
    assert_eq!(report["calls"], 200);

    let report = run(rpc, &[&RPC[..], &["embedded", "--split"]].concat());
    assert_positive(&report, &["calls_per_s", "p50_us", "p99_us"]);
    assert_eq!(
        (&report["split"], &report["transport"]),
        (&true.into(), &"native".into())
    );
}

#[test]
fn rpc_measures_tokio_nsq_too() {
    let arguments = [&RPC[..], &["embedded", "--split", "--transport", "tokio-nsq"]].concat();
    let report = run(env!("CARGO_BIN_EXE_rpc"), &arguments);
    assert_positive(&report, &["calls_per_s", "p50_us", "p99_us"]);
    assert_eq!(report["transport"], "tokio-nsq");
}

#[test]
fn pubsub_measures_small_and_large_messages() {
    for body in ["128", "65536"] {
        let arguments = [
            "--nsqd",
            "embedded",
            "--body",
            body,
            "--messages",
            "2000",
            "--json",
        ];
        let report = run(env!("CARGO_BIN_EXE_pubsub"), &arguments);
        let figures = [
            "messages_per_s",
            "published_per_s",
            "consumed_per_s",
            "p50_us",
            "p99_us",
        ];
        assert_positive(&report, &figures);
    }
}

#[test]
fn compare_measures_what_it_finds_and_says_what_it_left_out() {
    let file = env::temp_dir().join(format!("almanet-compare-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_compare"))
        .args([
            "--rounds",
            "1",
            "--seconds",
            "0.05",
            "--nats-server",
            "no-such-nats-server",
            "--output",
        ])
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let table = String::from_utf8(output.stdout).unwrap();
    let comparison: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    fs::remove_file(&file).unwrap();

    let rows = comparison["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2 * 5, "{comparison}");
    for row in rows {
        assert_positive(row, &["calls_per_s", "p50_us", "p99_us"]);
    }
    assert_eq!(comparison["skipped"][0]["peer"], "NATS");
    assert!(table.contains("| 1024 | almanet, embedded broker |"), "{table}");
}
