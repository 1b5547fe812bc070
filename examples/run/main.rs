//! Every example runs as its first lines say. Examples that need a broker get an embedded one, or the nsqd that
//! `ALMANET_TEST_NSQD` names.

mod calls;
mod events;
mod processes;
mod program;
