//! The programs that measure calls.

use serde_json::Value;

use crate::{assert_positive, broker::Nsqd, relay::Relay, run};

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

/// Calls for long enough that the kernel's count, in hundredths of a second, is not zero.
#[test]
fn rpc_says_what_each_process_costs() {
    let nsqd = Nsqd::start();
    let arguments = [
        "--calls",
        "3000",
        "--concurrency",
        "4",
        "--split",
        "--json",
        "--nsqd",
    ];
    let report = run(
        env!("CARGO_BIN_EXE_rpc"),
        &[&arguments[..], &[nsqd.address()]].concat(),
    );
    if cfg!(target_os = "linux") {
        let cpu = [
            "cpu_us_per_call",
            "service_cpu_us_per_call",
            "nsqd_cpu_us_per_call",
        ];
        assert_positive(&report, &cpu);
        assert_positive(&report, &["rss_end_kib"]);
    }
    // What shares the process has no figure of its own.
    let report = run(env!("CARGO_BIN_EXE_rpc"), &[&RPC[..], &["embedded"]].concat());
    assert_eq!(
        (
            &report["service_cpu_us_per_call"],
            &report["nsqd_cpu_us_per_call"]
        ),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn rpc_has_the_window_that_it_is_told_on_both_sides() {
    let nsqd = Nsqd::start();
    for (window, fixed, is_unbuffered) in [
        ("adaptive", None, false),
        ("fixed:7", Some("RDY 7"), false),
        ("unbuffered", None, true),
    ] {
        let relay = Relay::to(nsqd.address());
        let arguments = ["--split", "--window", window];
        let address = relay.address();
        let report = run(
            env!("CARGO_BIN_EXE_rpc"),
            &[&RPC[..], &[&address], &arguments].concat(),
        );
        assert_positive(&report, &["calls_per_s", "p50_us"]);
        assert_eq!(report["window"], window);
        // The caller reads its replies and the service its calls.
        for topic in ["SUB _rpc_._reply_.", "SUB _rpc_.bench.echo_"] {
            let heard = relay.heard(topic);
            assert_eq!(
                heard.contains("\"output_buffer_size\":-1"),
                is_unbuffered,
                "{window}"
            );
            let mut ready = heard.lines().filter(|line| line.starts_with("RDY "));
            match fixed {
                // Until the end, when nothing more is wanted.
                Some(fixed) => assert!(ready.all(|line| [fixed, "RDY 0"].contains(&line)), "{window}"),
                None => assert!(ready.any(|line| line != "RDY 7"), "{window}"),
            }
        }
    }
}

#[test]
fn rpc_measures_tokio_nsq_too() {
    let arguments = [&RPC[..], &["embedded", "--split", "--transport", "tokio-nsq"]].concat();
    let report = run(env!("CARGO_BIN_EXE_rpc"), &arguments);
    assert_positive(&report, &["calls_per_s", "p50_us", "p99_us"]);
    assert_eq!(report["transport"], "tokio-nsq");
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
fn allocations_are_counted_on_each_side() {
    let arguments = ["--calls", "500", "--concurrency", "4", "--json"];
    let report = run(env!("CARGO_BIN_EXE_allocations"), &arguments);
    assert_eq!(
        (&report["calls"], &report["concurrency"]),
        (&500.into(), &4.into())
    );
    for side in ["caller", "service"] {
        let per_call = |what: &str| report[format!("{side}_{what}_per_call")].as_f64().unwrap();
        // Two are the payload's own. What the first calls allocate and keep is not counted, and one call is not all of them.
        assert!((2.0..50.0).contains(&per_call("allocations")), "{report}");
        assert!((128.0..100_000.0).contains(&per_call("bytes")), "{report}");
    }
}
