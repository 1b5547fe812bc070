//! almanet-macros
