//! W3C Trace Context: where in which trace something happens.

use std::{fmt, str::FromStr, sync::Arc};

use crate::{id::Id, wire::Headers};

/// The header that names the trace and the caller's span.
const TRACEPARENT: &str = "traceparent";
/// The header in which tracing systems keep notes of their own.
const TRACESTATE: &str = "tracestate";

/// `<version>-<trace id>-<span id>-<flags>`, in hexadecimal digits: 2, 32, 16 and 2.
const LENGTH: usize = 55;
/// What all systems must pass on of a `tracestate`; a longer one may be left out.
const LONGEST_STATE: usize = 512;
/// The flag that says that the caller may have recorded the trace.
const SAMPLED: u8 = 0x01;

/// Where in which trace something happens: the ids and flags of a W3C `traceparent`, with the `tracestate` that came with
/// it.
///
/// ```
/// use almanet::telemetry::TraceContext;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context: TraceContext = text.parse()?;
/// assert!(context.is_sampled());
/// assert_eq!(context.to_string(), text);
/// # Ok::<(), almanet::telemetry::InvalidTraceContext>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: Option<Arc<str>>,
}

impl TraceContext {
    /// The beginning of a new trace, which is recorded.
    pub fn begin() -> Self {
        Self {
            trace_id: *Id::random().as_bytes(),
            span_id: random_span_id(),
            flags: SAMPLED,
            state: None,
        }
    }

    /// A step that this one causes: in the same trace, with an id of its own.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: random_span_id(),
            ..self.clone()
        }
    }

    #[cfg(feature = "opentelemetry")]
    pub(super) fn from_parts(trace_id: [u8; 16], span_id: [u8; 8], flags: u8, state: &str) -> Self {
        Self {
            trace_id,
            span_id,
            flags,
            state: checked_state(state),
        }
    }

    /// The trace.
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The step in the trace.
    pub fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    /// All flags, the unknown ones included.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the trace may be recorded somewhere.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The `tracestate`, as it came.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// What the headers of a call say; `None` when they say nothing, or nothing that is valid.
    pub fn from_headers(headers: &Headers) -> Option<Self> {
        let mut context: Self = headers.get(TRACEPARENT)?.parse().ok()?;
        context.state = headers.get(TRACESTATE).and_then(checked_state);
        Some(context)
    }

    /// Sets the headers by which a call carries this context.
    pub fn write_to(&self, headers: &mut Headers) {
        headers.insert(TRACEPARENT, self.to_string());
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, &**state);
        }
    }

    /// The trace id as it is written, for spans and log lines.
    pub(super) fn trace_id_text(&self) -> impl fmt::Display {
        Hex(self.trace_id)
    }
}

fn random_span_id() -> [u8; 8] {
    // The second half of a random UUID has two fixed bits, one of which is set, so it is never the id of nothing.
    let [.., a, b, c, d, e, f, g, h] = *Id::random().as_bytes();
    [a, b, c, d, e, f, g, h]
}

fn checked_state(state: &str) -> Option<Arc<str>> {
    let valid = state.len() <= LONGEST_STATE && state.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (valid && !state.trim().is_empty()).then(|| state.into())
}

/// The text of a `traceparent`.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            Hex(self.trace_id),
            Hex(self.span_id),
            self.flags
        )
    }
}

struct Hex<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a traceparent: it is <2 digits of version>-<32 of trace id>-<16 of span id>-<2 of flags>, in lower-case hexadecimal, and no id is all zeros"
)]
pub struct InvalidTraceContext;

impl FromStr for TraceContext {
    type Err = InvalidTraceContext;

    fn from_str(text: &str) -> Result<Self, InvalidTraceContext> {
        parse(text.as_bytes()).ok_or(InvalidTraceContext)
    }
}

/// As the recommendation has it: version 00 has nothing after the flags, a later one has nothing or a dash and more, and ff
/// is no version.
fn parse(text: &[u8]) -> Option<TraceContext> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split(|&byte| byte == b'-');
    let [version] = digits(parts.next()?)?;
    let trace_id = digits(parts.next()?)?;
    let span_id = digits(parts.next()?)?;
    let [flags] = digits(parts.next()?)?;
    let ends_well = match version {
        0x00 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.first() == Some(&b'-'),
    };
    let valid = ends_well && parts.next().is_none() && trace_id != [0; 16] && span_id != [0; 8];
    valid.then_some(TraceContext {
        trace_id,
        span_id,
        flags,
        state: None,
    })
}

/// Exactly N bytes, two digits each.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let context: TraceContext = VALID.parse().unwrap();
        assert_eq!(context.trace_id()[..2], [0x4b, 0xf9]);
        assert_eq!(context.span_id()[6..], [0x02, 0xb7]);
        assert!(context.is_sampled());
        assert_eq!(context.to_string(), VALID);
        let unsampled = VALID.replace("-01", "-02").parse::<TraceContext>().unwrap();
        assert!(!unsampled.is_sampled());
        assert_eq!(unsampled.flags(), 2);
    }

    #[test]
    fn what_is_not_exactly_one_is_refused() {
        for text in [
            "",
            "00",
            &VALID[..54],
            &format!("{VALID}0"),
            &format!("{VALID}-"),
            &format!("{VALID}-00"),
            &format!(" {VALID}"),
            &VALID.to_uppercase(),
            &VALID.replace("4bf9", "4bg9"),
            &VALID.replace("-00f0", "_00f0"),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &VALID.replacen("00", "ff", 1),
            // The parts are of other lengths than theirs.
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
            "0-04bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            // A letter of more than one byte at the very end of what is looked at.
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0é",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(InvalidTraceContext), "{text}");
        }
    }

    #[test]
    fn a_later_version_may_say_more() {
        for text in [
            VALID.replacen("00", "cc", 1),
            VALID.replacen("00", "cc", 1) + "-what-the-future-will-be-like",
        ] {
            // It is passed on as the version that is understood.
            assert_eq!(text.parse::<TraceContext>().unwrap().to_string(), VALID, "{text}");
        }
        let glued = VALID.replacen("00", "cc", 1) + ".what";
        assert_eq!(glued.parse::<TraceContext>(), Err(InvalidTraceContext));
    }

    #[test]
    fn headers_carry_it_with_its_state() {
        let mut headers = Headers::new();
        assert_eq!(TraceContext::from_headers(&headers), None);
        headers.insert(TRACESTATE, "vendor=1");
        assert_eq!(
            TraceContext::from_headers(&headers),
            None,
            "a state is of no use alone"
        );
        headers.insert(TRACEPARENT, VALID);
        let context = TraceContext::from_headers(&headers).unwrap();
        assert_eq!(context.state(), Some("vendor=1"));

        let mut onward = Headers::new();
        let child = context.child();
        child.write_to(&mut onward);
        assert_eq!(TraceContext::from_headers(&onward), Some(child.clone()));
        assert_eq!(child.trace_id(), context.trace_id());
        assert_ne!(child.span_id(), context.span_id());
        assert_eq!(child.state(), Some("vendor=1"));
    }

    #[test]
    fn a_state_that_nobody_has_to_pass_on_is_left_out() {
        for state in ["", " ", "a=\n", "ä=1", &"a".repeat(513)] {
            let mut headers = Headers::new();
            headers.insert(TRACEPARENT, VALID);
            headers.insert(TRACESTATE, state);
            assert_eq!(
                TraceContext::from_headers(&headers).unwrap().state(),
                None,
                "{state:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text in "\\PC{0,80}") {
            if let Ok(context) = text.parse::<TraceContext>() {
                prop_assert_eq!(context.to_string().parse::<TraceContext>().unwrap(), context);
            }
        }

        #[test]
        fn what_is_begun_can_be_read(_ in 0..8) {
            let context = TraceContext::begin();
            prop_assert_eq!(context.to_string().parse::<TraceContext>().unwrap(), context);
        }
    }
}
