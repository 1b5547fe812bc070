//! How generated code asks a type for its schema, whether it has one or not.

use std::marker::PhantomData;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

use crate::event::Event;

/// Asks `T`. Its own methods are there when `T` has a schema; otherwise those of [`Unknown`] are found.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    /// Asks `T`.
    #[expect(
        clippy::new_without_default,
        reason = "generated code makes it, and nobody else"
    )]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

#[cfg(feature = "schema")]
impl<T: JsonSchema> Probe<T> {
    /// The schema of `T` as it is read.
    pub fn payload(&self) -> Option<Value> {
        let generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
        Some(generator.into_root_schema_for::<T>().to_value())
    }

    /// The schema of `T` as it is written.
    pub fn result(&self) -> Option<Value> {
        let generator = SchemaGenerator::new(SchemaSettings::draft2020_12().for_serialize());
        Some(generator.into_root_schema_for::<T>().to_value())
    }

    /// The schema of `T` as a part of `object`.
    pub fn part(&self, object: &mut ObjectSchema) -> Option<Value> {
        Some(object.generator.subschema_for::<T>().to_value())
    }
}

impl<T: Event> Probe<T> {
    /// The version of the event.
    pub fn version(&self) -> Option<u32> {
        Some(T::VERSION)
    }
}

impl<T, E> Probe<Result<T, E>> {
    /// Whether the type is a `Result`, whatever alias it goes by.
    pub const IS_RESULT: bool = true;
}

/// What is known of any type: nothing.
pub trait Unknown {
    /// Whether the type is a `Result`.
    const IS_RESULT: bool = false;

    /// No schema.
    fn payload(&self) -> Option<Value> {
        None
    }

    /// No schema.
    fn result(&self) -> Option<Value> {
        None
    }

    /// No version: it is no event.
    fn version(&self) -> Option<u32> {
        None
    }

    /// No schema.
    fn part(&self, _: &mut ObjectSchema) -> Option<Value> {
        None
    }
}

impl<T> Unknown for Probe<T> {}

/// The schema of a map whose keys are known.
#[derive(Debug)]
pub struct ObjectSchema {
    #[cfg(feature = "schema")]
    generator: SchemaGenerator,
    properties: serde_json::Map<String, Value>,
    required: Vec<Value>,
}

#[cfg(feature = "schema")]
impl ObjectSchema {
    /// A map that is read.
    pub fn of_payload() -> Self {
        Self::made_by(SchemaSettings::draft2020_12())
    }

    /// A map that is written.
    pub fn of_result() -> Self {
        Self::made_by(SchemaSettings::draft2020_12().for_serialize())
    }

    fn made_by(settings: SchemaSettings) -> Self {
        Self {
            generator: SchemaGenerator::new(settings),
            properties: serde_json::Map::new(),
            required: Vec::new(),
        }
    }

    /// The whole schema.
    pub fn finish(mut self) -> Option<Value> {
        let mut schema = serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": self.properties,
            "required": self.required,
        });
        let definitions = self.generator.take_definitions(true);
        if let (Some(schema), false) = (schema.as_object_mut(), definitions.is_empty()) {
            schema.insert("$defs".to_owned(), Value::Object(definitions));
        }
        Some(schema)
    }
}

#[cfg(not(feature = "schema"))]
impl ObjectSchema {
    /// A map that is read.
    pub fn of_payload() -> Self {
        Self {
            properties: serde_json::Map::new(),
            required: Vec::new(),
        }
    }

    /// A map that is written.
    pub fn of_result() -> Self {
        Self::of_payload()
    }

    /// No schema: nothing is known of its fields.
    pub fn finish(self) -> Option<Value> {
        None
    }
}

impl ObjectSchema {
    /// Adds a key; without a schema its value can be anything.
    pub fn field(&mut self, name: &str, required: bool, schema: Option<Value>) {
        let schema = schema.unwrap_or(Value::Bool(true));
        self.properties.insert(name.to_owned(), schema);
        if required {
            self.required.push(Value::String(name.to_owned()));
        }
    }
}
