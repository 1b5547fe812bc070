//! almanet
