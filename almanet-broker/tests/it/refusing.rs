//! nsqd's refusals as a table: what is sent, in which state, and the frame that comes back.
//!
//! nsqd looks at the connection's state first, then at the parameters, then at the body, and stops at the first fault.

use tokio::io::AsyncWriteExt;

use crate::support::{Client, Target, sized, unique};

const ID: &str = "0123456789abcdef";

/// How far the connection has come before the bytes are sent.
#[derive(Debug, Clone, Copy)]
enum Given {
    Fresh,
    Subscribed,
    Closing,
}

use Given::{Closing, Fresh, Subscribed};

async fn client(target: &Target, given: Given) -> Client {
    match given {
        Fresh => target.client().await,
        Subscribed => target.subscriber(&unique("table"), "c", 1).await,
        Closing => {
            let mut client = target.subscriber(&unique("table"), "c", 1).await;
            client.send(b"CLS\n").await;
            client.expect_response("CLOSE_WAIT").await;
            client
        }
    }
}

#[tokio::test]
async fn each_fault_has_nsqds_words_and_ends_the_connection() {
    let target = Target::start().await;
    let table: &[(Given, &[u8], &str)] = &[
        // The state comes before the parameters,
        (Fresh, b"RDY x\n", "E_INVALID cannot RDY in current state"),
        (Fresh, b"FIN\n", "E_INVALID cannot FIN in current state"),
        (Fresh, b"FIN short\n", "E_INVALID cannot FIN in current state"),
        (Fresh, b"REQ\n", "E_INVALID cannot REQ in current state"),
        (Fresh, b"TOUCH\n", "E_INVALID cannot TOUCH in current state"),
        (Fresh, b"CLS\n", "E_INVALID cannot CLS in current state"),
        (Subscribed, b"SUB\n", "E_INVALID cannot SUB in current state"),
        (
            Subscribed,
            b"IDENTIFY\n",
            "E_INVALID cannot IDENTIFY in current state",
        ),
        (
            Subscribed,
            b"IDENTIFY\n\0\0\0\x01{",
            "E_INVALID cannot IDENTIFY in current state",
        ),
        (
            Subscribed,
            b"AUTH too many\n",
            "E_INVALID cannot AUTH in current state",
        ),
        (Closing, b"CLS\n", "E_INVALID cannot CLS in current state"),
        (Closing, b"SUB t c\n", "E_INVALID cannot SUB in current state"),
        (
            Closing,
            b"IDENTIFY\n",
            "E_INVALID cannot IDENTIFY in current state",
        ),
        // what is known comes before what is sent,
        (Fresh, b"hello\n", "E_INVALID invalid command hello"),
        (Fresh, b"\n", "E_INVALID invalid command "),
        (Fresh, b" PUB t\n", "E_INVALID invalid command "),
        (Subscribed, b"NOPE\r\n", "E_INVALID invalid command NOPE"),
        // the parameters come before the body,
        (Fresh, b"SUB\n", "E_INVALID SUB insufficient number of parameters"),
        (
            Fresh,
            b"SUB t\n",
            "E_INVALID SUB insufficient number of parameters",
        ),
        (Fresh, b"SUB  c\n", "E_BAD_TOPIC SUB topic name \"\" is not valid"),
        (
            Fresh,
            b"SUB a/b c/d\n",
            "E_BAD_TOPIC SUB topic name \"a/b\" is not valid",
        ),
        (
            Fresh,
            b"SUB t c\"d\n",
            "E_BAD_CHANNEL SUB channel name \"c\\\"d\" is not valid",
        ),
        (
            Fresh,
            b"SUB t \xff\x01\n",
            "E_BAD_CHANNEL SUB channel name \"\\xff\\x01\" is not valid",
        ),
        (Subscribed, b"RDY x\n", "E_INVALID RDY could not parse count x"),
        (Subscribed, b"RDY -1\n", "E_INVALID RDY could not parse count -1"),
        (
            Subscribed,
            b"RDY 2501\n",
            "E_INVALID RDY count 2501 out of range 0-2500",
        ),
        (
            Subscribed,
            b"FIN\n",
            "E_INVALID FIN insufficient number of params",
        ),
        (Subscribed, b"FIN short\n", "E_INVALID invalid message ID"),
        (
            Closing,
            b"FIN 0123456789abcdef0\n",
            "E_INVALID invalid message ID",
        ),
        (
            Subscribed,
            b"REQ 0123456789abcdef\n",
            "E_INVALID REQ insufficient number of params",
        ),
        (Subscribed, b"REQ short x\n", "E_INVALID invalid message ID"),
        (
            Subscribed,
            b"REQ 0123456789abcdef x\n",
            "E_INVALID REQ could not parse timeout x",
        ),
        (
            Subscribed,
            b"REQ 0123456789abcdef -1\n",
            "E_INVALID REQ could not parse timeout -1",
        ),
        (
            Subscribed,
            b"TOUCH\n",
            "E_INVALID TOUCH insufficient number of params",
        ),
        (Subscribed, b"TOUCH short\n", "E_INVALID invalid message ID"),
        (Fresh, b"AUTH me\n", "E_INVALID AUTH invalid number of parameters"),
        (Fresh, b"AUTH\n\0\0\0\0", "E_BAD_BODY AUTH invalid body size 0"),
        (
            Fresh,
            b"AUTH\n\x7f\xff\xff\xff",
            "E_BAD_BODY AUTH body too big 2147483647 > 5242880",
        ),
        (Fresh, b"AUTH\n\0\0\0\x01x", "E_AUTH_DISABLED AUTH disabled"),
        (
            Fresh,
            b"IDENTIFY what ever\n\0\0\0\0",
            "E_BAD_BODY IDENTIFY invalid body size 0",
        ),
        (
            Fresh,
            b"IDENTIFY\n\x80\0\0\0",
            "E_BAD_BODY IDENTIFY invalid body size -2147483648",
        ),
        (
            Fresh,
            b"IDENTIFY\n\x7f\xff\xff\xff",
            "E_BAD_BODY IDENTIFY body too big 2147483647 > 5242880",
        ),
        (
            Fresh,
            b"AUTH\n\x80\0\0\0",
            "E_BAD_BODY AUTH invalid body size -2147483648",
        ),
        (
            Fresh,
            b"PUB t\n\x7f\xff\xff\xff",
            "E_BAD_MESSAGE PUB message too big 2147483647 > 1048576",
        ),
        (Fresh, b"DPUB t -1\n", "E_INVALID DPUB could not parse timeout -1"),
        (
            Fresh,
            b"DPUB t 1\n\xff\xff\xff\xff",
            "E_BAD_MESSAGE DPUB invalid message body size -1",
        ),
        (
            Fresh,
            b"MPUB t\n\xff\xff\xff\xff",
            "E_BAD_BODY MPUB invalid body size -1",
        ),
        (
            Fresh,
            b"MPUB t\n\0\0\0\x40\x7f\xff\xff\xff",
            "E_BAD_BODY MPUB invalid message count 2147483647",
        ),
        (
            Fresh,
            b"MPUB t\n\0\0\0\x40\0\0\0\x01\xff\xff\xff\xff",
            "E_BAD_MESSAGE MPUB invalid message(0) body size -1",
        ),
        (
            Subscribed,
            b"RDY 9223372036854775807\n",
            "E_INVALID RDY count 9223372036854775807 out of range 0-2500",
        ),
        (
            Fresh,
            b"IDENTIFY\n\0\0\0\x02[]",
            "E_BAD_BODY IDENTIFY failed to decode JSON body",
        ),
        (Fresh, b"PUB\n", "E_INVALID PUB insufficient number of parameters"),
        (
            Fresh,
            b"PUB a$\n\0\0\0\0",
            "E_BAD_TOPIC PUB topic name \"a$\" is not valid",
        ),
        (
            Fresh,
            b"PUB #ephemeral\n",
            "E_BAD_TOPIC PUB topic name \"#ephemeral\" is not valid",
        ),
        (
            Subscribed,
            b"PUB t\n\0\0\0\0",
            "E_BAD_MESSAGE PUB invalid message body size 0",
        ),
        (
            Fresh,
            b"PUB t\n\xff\xff\xff\xff",
            "E_BAD_MESSAGE PUB invalid message body size -1",
        ),
        (
            Fresh,
            b"PUB t\n\0\x10\0\x01",
            "E_BAD_MESSAGE PUB message too big 1048577 > 1048576",
        ),
        (
            Fresh,
            b"DPUB t\n",
            "E_INVALID DPUB insufficient number of parameters",
        ),
        (
            Fresh,
            b"DPUB a$ x\n",
            "E_BAD_TOPIC DPUB topic name \"a$\" is not valid",
        ),
        (Fresh, b"DPUB t x\n", "E_INVALID DPUB could not parse timeout x"),
        (
            Fresh,
            b"DPUB t 3600001\n\0\0\0\0",
            "E_INVALID DPUB timeout 3600001 out of range 0-3600000",
        ),
        (
            Fresh,
            b"DPUB t 1\n\0\0\0\0",
            "E_BAD_MESSAGE DPUB invalid message body size 0",
        ),
        (
            Fresh,
            b"DPUB t 1\n\0\x10\0\x01",
            "E_BAD_MESSAGE DPUB message too big 1048577 > 1048576",
        ),
        (
            Fresh,
            b"MPUB\n",
            "E_INVALID MPUB insufficient number of parameters",
        ),
        (
            Fresh,
            b"MPUB a$\n",
            "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"a$\" is not valid",
        ),
        (Fresh, b"MPUB t\n\0\0\0\0", "E_BAD_BODY MPUB invalid body size 0"),
        (
            Fresh,
            b"MPUB t\n\0\x50\0\x01",
            "E_BAD_BODY MPUB body too big 5242881 > 5242880",
        ),
        // and a fault in a body does not wait for the rest of it.
        (
            Fresh,
            b"MPUB t\n\0\0\0\x40\0\0\0\0",
            "E_BAD_BODY MPUB invalid message count 0",
        ),
        (
            Fresh,
            b"MPUB t\n\0\0\0\x40\xff\xff\xff\xff",
            "E_BAD_BODY MPUB invalid message count -1",
        ),
        (
            Fresh,
            b"MPUB t\n\0\0\0\x40\0\0\0\x02\0\0\0\x01a\0\0\0\0",
            "E_BAD_MESSAGE MPUB invalid message(1) body size 0",
        ),
        (
            Fresh,
            b"MPUB t\n\0\0\0\x40\0\0\0\x02\0\x10\0\x01",
            "E_BAD_MESSAGE MPUB message too big 1048577 > 1048576",
        ),
    ];
    for (given, bytes, words) in table {
        let mut client = client(&target, *given).await;
        client.send(bytes).await;
        let (kind, text) = client.frame().await;
        let case = format!("{given:?} {}", bytes.escape_ascii());
        assert_eq!(
            (kind, String::from_utf8_lossy(&text).as_ref()),
            (1, *words),
            "{case}"
        );
        client.expect_close().await;
    }
}

#[tokio::test]
async fn what_is_cut_off_is_named() {
    let target = Target::start().await;
    let table: &[(&[u8], &str)] = &[
        (b"IDENTIFY\n\0", "E_BAD_BODY IDENTIFY failed to read body size"),
        (
            b"IDENTIFY\n\0\0\0\x02{",
            "E_BAD_BODY IDENTIFY failed to read body",
        ),
        (b"AUTH\n", "E_BAD_BODY AUTH failed to read body size"),
        (b"AUTH\n\0\0\0\x02x", "E_BAD_BODY AUTH failed to read body"),
        (
            b"PUB t\n\0\0\0",
            "E_BAD_MESSAGE PUB failed to read message body size",
        ),
        (
            b"PUB t\n\0\0\0\x02x",
            "E_BAD_MESSAGE PUB failed to read message body",
        ),
        (
            b"DPUB t 1\n",
            "E_BAD_MESSAGE DPUB failed to read message body size",
        ),
        (
            b"DPUB t 1\n\0\0\0\x02x",
            "E_BAD_MESSAGE DPUB failed to read message body",
        ),
        (b"MPUB t\n\0", "E_BAD_BODY MPUB failed to read body size"),
        (
            b"MPUB t\n\0\0\0\x40\0",
            "E_BAD_BODY MPUB failed to read message count",
        ),
        (
            b"MPUB t\n\0\0\0\x40\0\0\0\x02\0\0\0\x01a\0",
            "E_BAD_MESSAGE MPUB failed to read message(1) body size",
        ),
        (
            b"MPUB t\n\0\0\0\x40\0\0\0\x02\0\0\0\x02a",
            "E_BAD_MESSAGE MPUB failed to read message body",
        ),
    ];
    for (bytes, words) in table {
        let mut client = target.client().await;
        client.send(bytes).await;
        client.stream.shutdown().await.unwrap();
        client.expect_fatal(words).await;
    }
}

#[tokio::test]
async fn a_line_that_is_cut_off_is_not_mentioned() {
    let target = Target::start().await;
    for bytes in [&b""[..], b"NOP", b"PUB t"] {
        let mut client = target.client().await;
        client.send(bytes).await;
        client.stream.shutdown().await.unwrap();
        client.expect_close().await;
    }
}

#[tokio::test]
async fn after_cls_a_ready_is_passed_over_and_answers_are_heard() {
    let target = Target::start().await;
    let mut client = client(&target, Closing).await;
    client.send(format!("RDY nonsense\nFIN {ID}\n").as_bytes()).await;
    client
        .expect_error(&format!("E_FIN_FAILED FIN {ID} failed ID not in flight"))
        .await;
    client.expect_quiet().await;
}

#[tokio::test]
async fn an_mpub_that_holds_more_or_less_than_it_announces_is_refused() {
    // Embedded only: nsqd does not compare the two, and would read the surplus as messages or commands.
    let target = Target::embedded(almanet_broker::BrokerConfig::default()).await;
    for (body, words) in [
        (&b"\0\0"[..], "E_BAD_BODY MPUB failed to read message count"),
        (
            b"\0\0\0\x02\0\0\0\x01a",
            "E_BAD_BODY MPUB invalid message count 2",
        ),
        (
            b"\0\0\0\x01\0\0\0\x02a",
            "E_BAD_MESSAGE MPUB failed to read message body",
        ),
    ] {
        let mut client = target.client().await;
        client.send(&[b"MPUB t\n", &sized(body)[..]].concat()).await;
        client.expect_fatal(words).await;
    }
}
