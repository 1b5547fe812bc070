//! Examples of calls and services.

use crate::program::{example, output, run_alone, text};

#[tokio::test]
async fn quickstart_shows_each_step() {
    let mut quickstart = example("quickstart");
    if let Ok(address) = std::env::var("ALMANET_TEST_NSQD") {
        quickstart.env("ALMANET_NSQD", address);
    }
    let output = output(quickstart).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let steps = [
        "typed call  greet(\"Aidar\") = \"Hello, Aidar!\"",
        "typed call  add(2, 3) = 5",
        "by name     net.example.greet(\"Sara\") = \"Hello, Sara!\"",
        "typed error Bob was denied: he ate all the cake",
        "bad payload net.example.greet refused the payload: invalid type: integer `42`, expected a string",
        "timeout     net.example.nobody did not answer within ",
        "event       Aidar joined",
        "event       Sara joined",
        "done        service drained, session left",
    ];
    for step in steps {
        assert!(
            stdout.contains(step),
            "{step:?} is missing in:\n{stdout}\n{stderr}"
        );
    }
    assert_eq!(stderr, "", "quickstart warns");
}

#[tokio::test]
async fn a_stream_is_read_as_far_as_one_likes() {
    let mut streaming = example("streaming");
    if let Ok(address) = std::env::var("ALMANET_TEST_NSQD") {
        streaming.env("ALMANET_NSQD", address);
    }
    let output = output(streaming).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let expected = [
        "failed      page 100 is torn, behind 99 others",
        "refused     there is no account \"tips\"",
        "tick        0",
        "tick        1",
        "tick        2",
        "stopped     nobody reads the ticks",
        "done",
    ];
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected, "{stderr}");
}

#[tokio::test]
async fn deadlines_end_what_nobody_waits_for() {
    let stdout = run_alone("deadlines").await;
    for line in [
        "delivering  tea, for which there are 1 seconds\n",
        "timeout     net.example.slow.order\n",
        "stopped     delivering tea\n",
        "delivering  cake, for which there are 30 seconds\n",
        "dropped     the call for cake\n",
        "stopped     delivering cake\n",
    ] {
        assert!(stdout.contains(line), "{line:?} is missing in:\n{stdout}");
    }
    assert!(stdout.ends_with("done\n"), "{stdout}");
}

#[tokio::test]
async fn retries_do_what_they_say() {
    let stdout = run_alone("retries").await;
    let expected = "retried     the rate is 1.25\n\
        keyed       payment 1\n\
        keyed       payment 1\n\
        counter     served\n\
        overloaded  too many calls wait\n\
        patient     served and served\n\
        circuit     closed: net.example.bank.audit failed: its service's log says why\n\
        circuit     closed: net.example.bank.audit failed: its service's log says why\n\
        circuit     open: net.example.bank.audit failed: its service's log says why\n\
        circuit     open: net.example.bank.audit was not called: too many calls failed lately, try again in ";
    let rest = stdout.strip_prefix(expected);
    assert!(rest.is_some_and(|rest| rest.ends_with("s\ndone\n")), "{stdout}");
}

#[tokio::test]
async fn calls_are_made_in_all_ways() {
    assert_eq!(
        run_alone("ways_to_call").await,
        "developed   [\"spring 1\", \"spring 2\"]\n\
         reminded    Aidar\n\
         reminded    Sara\n\
         on the wall summer 1, summer 2\n\
         lost        holidays\n\
         too late    at most 3600s from now\n\
         done\n"
    );
}

#[tokio::test]
async fn every_instance_answers_a_multicall() {
    assert_eq!(
        run_alone("multicall").await,
        "sizes     [(\"Almaty\", 2), (\"Bern\", 1), (\"Cairo\", 0)]\n\
         forgotten 2 times\n\
         answers   1\n\
         done\n"
    );
}

#[tokio::test]
async fn contract_serves_calls_and_tells_what_it_is() {
    let mut contract = example("contract");
    if let Ok(address) = std::env::var("ALMANET_TEST_NSQD") {
        contract.env("ALMANET_NSQD", address);
    }
    let output = output(contract).await;
    assert_eq!(
        text(&output.stdout),
        "greeting    Good morning!\n\
         ordered     2 cakes, 1 left\n\
         sold out    1 of cake left\n\
         stock       1 cake\n\
         running     net.example.shop with 3 procedures\n\
         errors      net.example.shop.order raises sold_out\n",
        "{}",
        text(&output.stderr)
    );
    assert!(output.status.success());
}

#[tokio::test]
async fn middleware_lets_only_those_with_a_token_pass() {
    let output = output(example("middleware")).await;
    assert_eq!(
        text(&output.stdout),
        "with a token     the balance of alice is 100\n\
         without one      authorization is missing: send `Bearer <token>`\n\
         of another       bob may not see the account of alice\n\
         one at a time    net.example.accounts.balance was not run: the service runs all the calls that it may run at once\n",
        "{}",
        text(&output.stderr)
    );
    assert!(output.status.success());
}

#[tokio::test]
async fn observability_shows_one_trace_and_the_metrics() {
    let output = output(example("observability")).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let count = |side, procedure| {
        format!(
            "almanet_{side}_duration_seconds_count{{procedure=\"net.example.shop.{procedure}\",outcome=\"ok\"}} 1\n"
        )
    };
    let [calls, handlers] = ["call", "handler"].map(|side| count(side, "order") + &count(side, "pay"));
    let shipping = "topic=\"example.shop.ordered\",channel=\"shipping\"";
    let events = format!(
        "almanet_event_age_seconds_count{{{shipping}}} 1\n\
         almanet_event_duration_seconds_count{{{shipping},outcome=\"ok\"}} 1\n"
    );
    assert_eq!(
        stdout,
        format!("placed and paid: true\n{calls}{events}{handlers}")
    );
    for line in ["an order came in", "paid", "shipped"] {
        let line = stderr.lines().find(|found| found.contains(line)).expect(&stderr);
        assert!(
            line.contains("trace_id=4bf92f3577b34da6a3ce929d0e0e4736"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn testing_makes_things_go_wrong() {
    let output = output(example("testing")).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(
        stdout,
        "a lost reply      a timeout after 60s, at once\n\
         a duplicated call the till took money 2 times\n\
         a dead node       the other one carries the call: 5\n"
    );
}

#[tokio::test]
async fn blocking_needs_no_runtime() {
    let output = output(example("blocking")).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(stdout, "called    Hello, Aidar!\nconsumed  Hello, Aidar!\n");
}

#[tokio::test]
async fn wire_calls_a_procedure_with_json_alone() {
    assert_eq!(
        run_alone("wire").await,
        concat!(
            r#"> {"id":"11111111111111111111111111111111","caller_id":"22222222222222222222222222222222","#,
            r#""payload":"\"Aidar\"","reply_topic":"_rpc_._reply_.22222222222222222222222222222222#ephemeral","timeout_ms":5000}"#,
            "\n",
            r#"< {"call_id":"11111111111111111111111111111111","is_exception":false,"payload":"\"Hello, Aidar!\""}"#,
            "\n",
            r#"> {"id":"33333333333333333333333333333333","caller_id":"22222222222222222222222222222222","#,
            r#""payload":"42","reply_topic":"_rpc_._reply_.22222222222222222222222222222222#ephemeral","timeout_ms":5000}"#,
            "\n",
            r#"< {"call_id":"33333333333333333333333333333333","is_exception":true,"payload":"#,
            r#""{\"name\":\"rpc_invalid_payload\",\"payload\":\"\\\"invalid type: integer `42`, expected a string at line 1 column 2\\\"\"}"}"#,
            "\n",
        )
    );
}

#[tokio::test]
async fn errors_reach_the_caller_as_what_they_are() {
    assert_eq!(
        run_alone("errors").await,
        "ok          70\n\
         typed       70 are missing\n\
         typed       closed\n\
         unknown     closed\n\
         payload     field `amount`: invalid type: string \"much\", expected u64\n\
         internal    net.example.bank.transfer failed: its service's log says why\n\
         timeout     net.example.nobody\n"
    );
}
