//! The layer that measures: [`layer`] is around procedures, calls and consumers, [`meter`] is what it notes.

mod layer;
mod meter;

pub use layer::{MetricsLayer, MetricsService};
