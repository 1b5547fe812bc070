//! almanet-nsq
