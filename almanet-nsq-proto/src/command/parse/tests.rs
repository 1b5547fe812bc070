//! What is taken, what is refused, and in which words.

use super::*;
use crate::message::MessageId;

fn decode(bytes: &[u8]) -> Result<Option<Command>, ProtocolError> {
    let limits = Limits {
        max_line_length: 100,
        max_message_size: 10,
        max_body_size: 60,
        max_delay: Duration::from_millis(500),
    };
    CommandDecoder::new(limits).decode(&mut BytesMut::from(bytes))
}

fn refusal(bytes: &[u8]) -> String {
    decode(bytes).unwrap_err().to_string()
}

#[test]
fn nsqd_words_for_what_is_wrong() {
    let long = [b'x'; 101];
    let long_and_ended = [&long[..], b"\n"].concat();
    let cases: &[(&[u8], &str)] = &[
        (b"HELLO\n", "E_INVALID invalid command HELLO"),
        (b"\n", "E_INVALID invalid command "),
        (&long, "E_INVALID failed to read command: line too long"),
        (&long_and_ended, "E_INVALID failed to read command: line too long"),
        (b"PUB\n", "E_INVALID PUB insufficient number of parameters"),
        (b"PUB two$\n", "E_BAD_TOPIC PUB topic name \"two$\" is not valid"),
        (
            b"PUB t\n\0\0\0\0",
            "E_BAD_MESSAGE PUB invalid message body size 0",
        ),
        (
            b"PUB t\n\xff\xff\xff\xff",
            "E_BAD_MESSAGE PUB invalid message body size -1",
        ),
        (b"PUB t\n\0\0\0\x0b", "E_BAD_MESSAGE PUB message too big 11 > 10"),
        (
            b"MPUB t\n\x7f\xff\xff\xff",
            "E_BAD_BODY MPUB body too big 2147483647 > 60",
        ),
        (
            b"MPUB t\n\0\0\0\x03abc",
            "E_BAD_BODY MPUB failed to read message count",
        ),
        (
            b"MPUB t\n\0\0\0\x08\0\0\0\x09\0\0\0\x01",
            "E_BAD_BODY MPUB invalid message count 9",
        ),
        (
            b"MPUB t\n\0\0\0\x09\0\0\0\x01\0\0\0\0a",
            "E_BAD_MESSAGE MPUB invalid message(0) body size 0",
        ),
        (
            b"MPUB t\n\0\0\0\x09\0\0\0\x01\0\0\0\x63a",
            "E_BAD_MESSAGE MPUB message too big 99 > 10",
        ),
        (
            b"MPUB t\n\0\0\0\x09\0\0\0\x01\0\0\0\x02a",
            "E_BAD_MESSAGE MPUB failed to read message body",
        ),
        (b"DPUB t\n", "E_INVALID DPUB insufficient number of parameters"),
        (b"DPUB t soon\n", "E_INVALID DPUB could not parse timeout soon"),
        (b"DPUB t 501\n", "E_INVALID DPUB timeout 501 out of range 0-500"),
        (
            b"MPUB t\xff\n",
            "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"t\\xff\" is not valid",
        ),
        // Refused before the rest has come.
        (
            b"MPUB t\n\0\0\0\x3c\0\0\0\0",
            "E_BAD_BODY MPUB invalid message count 0",
        ),
        (
            b"MPUB t\n\0\0\0\x3c\0\0\0\x02\0\0\0\x01a\xff\xff\xff\xff",
            "E_BAD_MESSAGE MPUB invalid message(1) body size -1",
        ),
        (b"SUB t\n", "E_INVALID SUB insufficient number of parameters"),
        (
            b"SUB t c!\n",
            "E_BAD_CHANNEL SUB channel name \"c!\" is not valid",
        ),
        (b"RDY -1\n", "E_INVALID RDY could not parse count -1"),
        (b"FIN\n", "E_INVALID FIN insufficient number of params"),
        (b"FIN short\n", "E_INVALID invalid message ID"),
        (
            b"REQ 0123456789abcdef\n",
            "E_INVALID REQ insufficient number of params",
        ),
        (
            b"REQ 0123456789abcdef x\n",
            "E_INVALID REQ could not parse timeout x",
        ),
        (b"TOUCH\n", "E_INVALID TOUCH insufficient number of params"),
        (b"AUTH me\n", "E_INVALID AUTH invalid number of parameters"),
        (b"AUTH\n\0\0\0\0", "E_BAD_BODY AUTH invalid body size 0"),
        (
            b"IDENTIFY\n\0\0\0\x01{",
            "E_BAD_BODY IDENTIFY failed to decode JSON body",
        ),
    ];
    for (bytes, words) in cases {
        assert_eq!(refusal(bytes), *words, "{}", bytes.escape_ascii());
    }
}

#[test]
fn nsqd_words_for_what_is_missing() {
    let cases: &[(&[u8], Option<&str>)] = &[
        (b"", None),
        (b"PUB t", None),
        (
            b"PUB t\n\0",
            Some("E_BAD_MESSAGE PUB failed to read message body size"),
        ),
        (
            b"PUB t\n\0\0\0\x05hell",
            Some("E_BAD_MESSAGE PUB failed to read message body"),
        ),
        (
            b"DPUB t 1\n\0\0\0\x05",
            Some("E_BAD_MESSAGE DPUB failed to read message body"),
        ),
        (
            b"IDENTIFY\n",
            Some("E_BAD_BODY IDENTIFY failed to read body size"),
        ),
        (b"AUTH\n\0\0\0\x05", Some("E_BAD_BODY AUTH failed to read body")),
        (b"MPUB t\n\0\0", Some("E_BAD_BODY MPUB failed to read body size")),
        (
            b"MPUB t\n\0\0\0\x3c\0",
            Some("E_BAD_BODY MPUB failed to read message count"),
        ),
        (
            b"MPUB t\n\0\0\0\x3c\0\0\0\x02\0\0\0\x01a\0",
            Some("E_BAD_MESSAGE MPUB failed to read message(1) body size"),
        ),
        (
            b"MPUB t\n\0\0\0\x3c\0\0\0\x02\0\0\0\x02a",
            Some("E_BAD_MESSAGE MPUB failed to read message body"),
        ),
    ];
    for (bytes, words) in cases {
        let mut decoder = CommandDecoder::new(Limits::default());
        let mut wire = BytesMut::from(*bytes);
        assert_eq!(decoder.decode(&mut wire), Ok(None), "{}", bytes.escape_ascii());
        let refusal = decoder.cut_off(&wire).map(|refusal| refusal.to_string());
        assert_eq!(refusal.as_deref(), *words, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_carriage_return_before_the_line_feed_is_taken() {
    assert_eq!(decode(b"NOP\r\n"), Ok(Some(Command::Nop)));
    let id = MessageId::new(*b"0123456789abcdef");
    assert_eq!(decode(b"FIN 0123456789abcdef\r\n"), Ok(Some(Command::Fin(id))));
}

#[test]
fn a_ready_without_a_count_means_one() {
    assert_eq!(decode(b"RDY\n"), Ok(Some(Command::Rdy(1))));
}

#[test]
fn bodies_share_the_memory_of_the_buffer() {
    let mut wire = BytesMut::from(&b"PUB t\n\0\0\0\x05hello"[..]);
    let start = wire.as_ptr();
    let command = CommandDecoder::new(Limits::default()).decode(&mut wire);
    let Ok(Some(Command::Pub { body, .. })) = command else {
        panic!("not a PUB: {command:?}")
    };
    assert_eq!(body.as_ptr(), start.wrapping_add(10));
}
