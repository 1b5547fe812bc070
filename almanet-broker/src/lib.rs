//! almanet-broker
