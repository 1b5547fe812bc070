//! Every example runs as its first lines say. Examples that need a broker get an embedded one, or the nsqd that
//! `ALMANET_TEST_NSQD` names.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use almanet::{Broker, BrokerConfig};

/// The example `name`, which cargo has built beside this test.
fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().expect("the path of this test");
    path.pop();
    path.pop();
    let path: PathBuf = path
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    let mut command = Command::new(path);
    command.env_remove("ALMANET_NSQD").stdin(Stdio::null());
    command
}

/// Where a test's broker is, and what keeps it there.
async fn broker() -> (Option<Broker>, String) {
    match std::env::var("ALMANET_TEST_NSQD") {
        Ok(address) => (None, address),
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default())
                .await
                .expect("an embedded broker");
            let address = broker.tcp_addr().to_string();
            (Some(broker), address)
        }
    }
}

async fn output(mut command: Command) -> Output {
    let run = move || command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    tokio::task::spawn_blocking(run)
        .await
        .expect("a thread")
        .expect("the example is built and starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

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
async fn a_work_queue_serves_what_it_can_and_buries_the_rest() {
    let mut queue = example("nsq_work_queue");
    if let Ok(address) = std::env::var("ALMANET_TEST_NSQD") {
        queue.env("ALMANET_NSQD", address);
    }
    let output = output(queue).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let lines = [
        "served tea",
        "served coffee",
        "attempt 1 at a unicorn failed",
        "attempt 2 at a unicorn failed",
        "dead letter: a unicorn",
        "closed",
    ];
    for line in lines {
        assert!(
            stdout.contains(line),
            "{line:?} is missing in:\n{stdout}\n{stderr}"
        );
    }
}

#[tokio::test]
async fn a_pool_goes_on_without_one_of_its_nodes() {
    let output = output(example("nsq_pool")).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for line in [
        "archived 500\n",
        "archived 500 without the second node",
        "Lost",
        "BackingOff",
    ] {
        assert!(
            stdout.contains(line),
            "{line:?} is missing in:\n{stdout}\n{stderr}"
        );
    }
}

/// Runs an example that brings its own broker; returns what it printed, if it ended well.
async fn run_alone(name: &str) -> String {
    let mut command = example(name);
    if let Ok(address) = std::env::var("ALMANET_TEST_NSQD") {
        command.env("ALMANET_NSQD", address);
    }
    let output = output(command).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout
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
async fn workers_share_the_jobs_of_a_queue() {
    let stdout = run_alone("worker_queue").await;
    for worker in ["Ada", "Bob", "Eve"] {
        assert!(stdout.contains(&format!("{worker} made picture")), "{stdout}");
    }
    assert!(
        stdout.ends_with("done: 12 jobs, each by one worker\n"),
        "{stdout}"
    );
}

#[tokio::test]
async fn an_event_fans_out_to_every_channel() {
    assert_eq!(
        run_alone("fan_out").await,
        "accounting: books order 7\naccounting: books order 8\nmailer: says thanks for order 7\n\
         mailer: says thanks for order 8\nwarehouse: packs order 7\nwarehouse: packs order 8\n"
    );
}

#[tokio::test]
async fn dead_letters_are_listed_and_replayed() {
    assert_eq!(
        run_alone("dead_letters").await,
        "-5: permanent after 1: an amount is not negative\n10: attempts after 3: no bank, attempt 3\n\
         20: attempts after 3: no bank, attempt 3\n2 replayed, 1 stay\ncharged [10, 20]\n1 discarded\n"
    );
}

#[tokio::test]
async fn events_are_inserted_in_batches() {
    assert_eq!(
        run_alone("batch_to_database").await,
        "1010 events in at least 11 transactions are 1000 rows\n"
    );
}

#[tokio::test]
async fn every_cache_hears_of_a_change() {
    let lines = (0..3).map(|shop| format!("shop {shop} remembers tea: false, cake: true\n"));
    assert_eq!(run_alone("cache_invalidation").await, lines.collect::<String>());
}

/// A service in a process of its own, killed if the test fails.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn caller_and_service_meet_in_two_processes_and_the_service_drains_on_sigterm_and_sigint() {
    for (option, name) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
        serve_call_and_stop(option, name).await;
    }
}

/// Starts the service, calls it, and stops it by the signal that `kill` knows by `option` and the log by `name`.
#[cfg(unix)]
async fn serve_call_and_stop(option: &str, name: &str) {
    let (_broker, address) = broker().await;
    let mut command = example("greeting_service");
    command
        .env("ALMANET_NSQD", &address)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut service = Service(command.spawn().expect("greeting_service is built and starts"));
    let mut log = BufReader::new(service.0.stderr.take().expect("its log")).lines();
    // The log of the service says when it is ready; the rest of it is read on, so that it never has to wait.
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let log = std::thread::spawn(move || {
        let ready_line = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("serving")));
        let _ = ready.send(());
        ready_line
            .into_iter()
            .chain(log)
            .map_while(Result::ok)
            .collect::<Vec<String>>()
            .join("\n")
    });
    is_ready.await.expect("the service is ready");

    let mut caller = example("greeting_caller");
    caller
        .args(["Aidar", "Bob", "Sara"])
        .env("ALMANET_NSQD", &address);
    let output = output(caller).await;
    assert_eq!(
        text(&output.stdout),
        "Hello, Aidar!\n(Bob is denied)\nHello, Sara!\n",
        "{}",
        text(&output.stderr)
    );
    assert!(output.status.success());

    let pid = service.0.id().to_string();
    assert!(
        Command::new("kill")
            .args([option, &pid])
            .status()
            .expect("kill runs")
            .success()
    );
    let status = tokio::task::spawn_blocking(move || service.0.wait())
        .await
        .expect("a thread")
        .expect("it ends");
    let log = log.join().expect("the log");
    assert!(status.success(), "{log}");
    assert!(log.contains(name), "{log}");
}

#[tokio::test]
async fn a_wrong_address_is_one_clear_line() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = unused.local_addr().expect("its address").to_string();
    drop(unused);
    for name in ["greeting_caller", "greeting_service"] {
        let mut command = example(name);
        command.env("ALMANET_NSQD", &address);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            text(&output.stderr),
            format!(
                "{name}: cannot connect to {address}: connection refused; is nsqd or almanet-broker running there?\n"
            )
        );
    }
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
