//! Reads a client's commands and executes them.

use std::sync::Arc;

use almanet_nsq_proto::{CommandDecoder, ErrorCode, Frame, HEARTBEAT, MAGIC_V2, ProtocolError, Verb};
use bytes::{Buf, Bytes, BytesMut};

use super::{
    End,
    handler::{Handler, Question, Stop},
    output::Output,
    pulse::{Beat, Pulse},
    transport::Source,
};
use crate::{
    auth::{AskError, Grant},
    limits::{ArrivingShare, Memory},
    step::Step,
};

/// What a quiet client's read buffer holds.
const SMALL_READ: usize = 4 * 1024;

/// What a busy client's read buffer holds.
const LARGE_READ: usize = 64 * 1024;

/// What a client has sent and was not executed yet.
pub(super) struct Received {
    pub(super) buffer: BytesMut,
    decoder: CommandDecoder,
    /// Whether the client has begun with the protocol's four bytes.
    greeted: bool,
    arriving: ArrivingShare,
}

impl Received {
    pub(super) fn new(decoder: CommandDecoder, memory: &Arc<Memory>) -> Self {
        Self {
            buffer: BytesMut::new(),
            decoder,
            greeted: false,
            arriving: ArrivingShare::new(Arc::clone(memory)),
        }
    }

    /// Takes the first four bytes off; says whether they were there.
    fn check_magic(&mut self) -> Result<bool, ProtocolError> {
        if self.greeted {
            return Ok(true);
        }
        let Some(magic) = self.buffer.first_chunk::<4>() else {
            return Ok(false);
        };
        if magic != MAGIC_V2 {
            return Err(ProtocolError::new(ErrorCode::from("E_BAD_PROTOCOL"), ""));
        }
        self.buffer.advance(MAGIC_V2.len());
        self.greeted = true;
        Ok(true)
    }

    /// Counts what is left of a command that is not there whole, unless any client may send as much.
    fn count(&mut self, handler: &Handler, step: &Step) -> Result<(), ProtocolError> {
        let left = self.buffer.len();
        let counted = if left > LARGE_READ { left } else { 0 };
        let Err(reached) = self.arriving.set(counted) else {
            return Ok(());
        };
        // The connection lasts until its client has read why it ends; what it sent need not.
        self.buffer = BytesMut::new();
        let (code, command) = match self.decoder.unfinished() {
            Some(Verb::Mpub) => (ErrorCode::MpubFailed, Verb::Mpub),
            Some(Verb::Dpub) => (ErrorCode::DpubFailed, Verb::Dpub),
            Some(Verb::Pub) => (ErrorCode::PubFailed, Verb::Pub),
            other => (ErrorCode::BadBody, other.unwrap_or(Verb::Nop)),
        };
        Err(handler.no_room(code, command, &reached, step))
    }

    /// Executes the commands that are there whole; says whether there was one.
    pub(super) fn execute(&mut self, handler: &mut Handler, step: &mut Step) -> Result<bool, Stop> {
        if !self.check_magic()? {
            return Ok(false);
        }
        let mut any = false;
        loop {
            let result = match self.decoder.decode_through(handler, &mut self.buffer) {
                Ok(Some(command)) => handler.execute(command, step),
                Ok(None) => {
                    self.count(handler, step)?;
                    return Ok(any);
                }
                Err(refusal) => Err(refusal.into()),
            };
            any = true;
            match result {
                Ok(()) => {}
                Err(Stop::Refused(refusal)) if !refusal.is_fatal() => handler.refuse(refusal, step),
                Err(stop) => return Err(stop),
            }
        }
    }
}

/// Reads commands and executes them, until the connection ends or changes its form.
pub(super) async fn read(
    source: &mut Source,
    received: &mut Received,
    handler: &mut Handler,
    output: &Arc<Output>,
) -> End {
    let mut pulse = Pulse::new(handler.heartbeat_interval());
    let mut chunk = SMALL_READ;
    loop {
        received.buffer.reserve(chunk);
        let read = tokio::select! {
            // The client's bytes are looked at first: a command that is there already is a sign of life.
            biased;
            read = source.read_buf(&mut received.buffer), if !output.is_full() => read,
            beat = pulse.beat() => match beat {
                Beat::Dead => return End::Silent,
                Beat::Send => {
                    if received.buffer.is_empty() {
                        // The client was idle or slow: a small buffer does. A busy one makes it large again.
                        received.buffer = BytesMut::new();
                        chunk = SMALL_READ;
                    }
                    if received.greeted {
                        send_heartbeat(output);
                    }
                    continue;
                }
            },
            () = output.drained(), if output.is_full() => continue,
        };
        match read {
            Ok(0) => return at_end(received, handler),
            Ok(length) if length >= SMALL_READ => chunk = LARGE_READ,
            Ok(_) => {}
            Err(error) => return End::Failed(error.kind()),
        }
        if let Err(end) = execute(received, handler, output, &mut pulse).await {
            return end;
        }
    }
}

/// Executes what is there, and asks on the way what only others know.
async fn execute(
    received: &mut Received,
    handler: &mut Handler,
    output: &Arc<Output>,
    pulse: &mut Pulse,
) -> Result<(), End> {
    let mut step = Step::begin();
    let mut result = received.execute(handler, &mut step);
    loop {
        let stop = match result {
            Ok(any) => {
                if any {
                    pulse.command(handler.heartbeat_interval(), step.now);
                }
                step.end();
                return Ok(());
            }
            Err(stop) => stop,
        };
        match stop {
            Stop::Refused(refusal) => {
                handler.refuse(refusal.clone(), &mut step);
                step.end();
                return Err(End::Refused(refusal));
            }
            Stop::Upgrade(upgrade) => {
                step.end();
                return Err(End::Upgrade(upgrade));
            }
            Stop::Ask(question) => {
                step.end();
                let answer = ask(&question, received, output, pulse).await;
                step = Step::begin();
                pulse.command(handler.heartbeat_interval(), step.now);
                result = match handler.resume(*question, answer, &mut step) {
                    Ok(()) => received.execute(handler, &mut step).map(|_| true),
                    Err(stop) => Err(stop),
                };
            }
        }
    }
}

/// Waits for an answer, with heartbeats meanwhile: the client is not to blame for the time that it takes.
async fn ask(
    question: &Question,
    received: &Received,
    output: &Arc<Output>,
    pulse: &mut Pulse,
) -> Result<Grant, AskError> {
    let mut asking = Box::pin(question.ask());
    let mut alive = true;
    loop {
        tokio::select! {
            answer = &mut asking => return answer,
            beat = pulse.beat(), if alive => match beat {
                Beat::Send if received.greeted => send_heartbeat(output),
                Beat::Send => {}
                Beat::Dead => alive = false,
            },
        }
    }
}

/// The client sends no more: what it left half said is refused, as nsqd does it.
fn at_end(received: &Received, handler: &Handler) -> End {
    match received.decoder.cut_off(&received.buffer) {
        Some(refusal) if received.greeted => {
            let mut step = Step::begin();
            handler.refuse(refusal.clone(), &mut step);
            step.end();
            End::Refused(refusal)
        }
        _ => End::Closed,
    }
}

fn send_heartbeat(output: &Arc<Output>) {
    let mut step = Step::begin();
    let heartbeat = Frame::Response(Bytes::from_static(HEARTBEAT));
    output.write(&heartbeat, &mut step.touched);
    step.end();
}
