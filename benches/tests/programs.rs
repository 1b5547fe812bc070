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
fn pubsub_measures_the_framework_too() {
    for consumer in ["push", "pull"] {
        let arguments = [
            "--producer",
            "session",
            "--consumer",
            consumer,
            "--messages",
            "2000",
            "--json",
        ];
        let report = run(env!("CARGO_BIN_EXE_pubsub"), &arguments);
        assert_positive(&report, &["messages_per_s", "p50_us", "p99_us"]);
        assert_eq!(
            (&report["producer"], &report["consumer"]),
            (&"session".into(), &consumer.into())
        );
    }
}

#[test]
fn overhead_compares_the_framework_with_the_bare_client() {
    for bare in ["in-turn", "in-tasks"] {
        let arguments = [
            "--concurrency",
            "1,4",
            "--slices",
            "1",
            "--slice-ms",
            "20",
            "--bare",
            bare,
            "--json",
        ];
        let report = run(env!("CARGO_BIN_EXE_overhead"), &arguments);
        assert_eq!(report["rows"].as_array().unwrap().len(), 2, "{report}");
        for row in report["rows"].as_array().unwrap() {
            assert_positive(row, &["framework_calls_per_s", "bare_calls_per_s", "ratio"]);
        }
    }
}

#[test]
fn consuming_compares_each_consumer_with_the_bare_one() {
    let arguments = ["--slices", "1", "--slice-ms", "20", "--json"];
    let report = run(env!("CARGO_BIN_EXE_consuming"), &arguments);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["consumer"], &rows[1]["consumer"]),
        (&"push".into(), &"pull".into())
    );
    for row in rows {
        assert_positive(row, &["consumed_per_s", "bare_consumed_per_s", "ratio"]);
    }
}

#[test]
fn services_measures_start_connections_and_memory() {
    let arguments = ["--nodes", "2", "--procedures", "3", "--services", "4", "--json"];
    let rows = run(env!("CARGO_BIN_EXE_services"), &arguments);
    let rows = rows.as_array().unwrap();
    for row in rows {
        assert_positive(row, &["start_ms", "heap_bytes", "resident_kib"]);
    }
    let connections: Vec<_> = rows
        .iter()
        .map(|row| row["connections"].as_i64().unwrap())
        .collect();
    // For each node and session one to publish and one to be asked what it is; for each node and procedure one more.
    assert_eq!(connections, [2 * (2 + 3), 2 + 4, 4 * (2 + 1)], "{rows:?}");
}

#[test]
fn a_consumer_that_backs_off_is_measured() {
    for consumer in ["bare", "push"] {
        let arguments = ["--consumer", consumer, "--seconds", "0.1", "--json"];
        let report = run(env!("CARGO_BIN_EXE_idle"), &arguments);
        assert_positive(&report, &["failed_before"]);
        assert_eq!(report["failed_meanwhile"], 0, "{report}");
    }
}

#[test]
fn endless_reads_memory_after_each_step() {
    let arguments = ["--messages", "5000", "--steps", "2", "--json"];
    let rows = run(env!("CARGO_BIN_EXE_endless"), &arguments);
    let messages: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["messages"])
        .collect();
    assert_eq!(messages, [2560, 5120]);
    assert_positive(&rows[1], &["heap_bytes", "resident_kib", "messages_per_s"]);
}

#[test]
fn pending_measures_calls_in_tasks_and_in_one() {
    for more in [&["--json"][..], &["--json", "--in-one-task"]] {
        let report = run(
            env!("CARGO_BIN_EXE_pending"),
            &[&["--calls", "2000"][..], more].concat(),
        );
        assert_positive(&report, &["heap_bytes_while_pending", "heap_bytes_at_most"]);
        // What is kept for the next calls is less than what calls take that wait.
        let (pending, after) = (
            &report["heap_bytes_while_pending"],
            &report["heap_bytes_after_cancelling"],
        );
        assert!(after.as_i64() < pending.as_i64(), "{report}");
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
