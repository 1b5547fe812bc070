//! Both languages on one broker: what the Python package `almanet` 1.3.4 sends and expects, byte for byte as it was
//! recorded, and the package itself where `ALMANET_TEST_PYTHON` names a Python that has it.

mod callers;
mod calls;
mod envelopes;
mod guide;
mod package;
mod peer;
mod program;
mod replies;
