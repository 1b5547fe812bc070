//! Random operations of several clients and an operator, on several topics and channels, against a reference that is
//! simple enough to be right: a list of messages for each channel, each in one place.
//!
//! Clients speak in bytes, as over a connection; time is what the test says it is. The reference does not know whose
//! turn it is, so it does not say who gets a message: it judges each delivery that happens, and that none is left out.

mod connected;
mod operation;
mod reference;
mod run;

use proptest::{collection::vec, prelude::*};

use self::{operation::operation, run::Run};

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_broker_does_what_the_reference_says(operations in vec(operation(), 1..150)) {
        let mut run = Run::new();
        for operation in operations {
            run.apply(&operation);
        }
        run.end();
    }
}
